"""A model that starts from the weights of a finished run, on the same data and on data with other ids."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hrec.config import ConfigError, load
from hrec.datasets.columns import FIRST
from hrec.datasets.recdata import RecData
from hrec.models import find_model
from hrec.models.base import BaseModel
from hrec.pipeline.building import build_model
from hrec.pipeline.devices import Processes
from hrec.pipeline.finished import load_finished
from hrec.pipeline.measured import Metrics
from hrec.pipeline.prepare import prepare
from hrec.pipeline.run import run

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
OLD, NEW = (range(100, 124), range(500, 532)), (range(110, 130), range(508, 540))
"""Ids of the users and of the items of two data sets that overlap; even items are books."""


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def write_shop(folder: Path, users: range, items: range, kinds: tuple[str, ...], towns: str) -> dict[str, Any]:
    """Files whose rows stand in descending order of ids where ``kinds`` begins with film. -> the section data."""
    rng, step = np.random.default_rng(0), -1 if kinds[0] == "film" else 1
    folder.mkdir(exist_ok=True)
    user, item = np.nonzero(rng.random((len(users), len(items))) < 0.5)
    rows = {"user_id": np.array(users)[user], "item_id": np.array(items)[item], "rating": 1 + (user + item) % 5}
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    ids = np.array(users)[::step]
    pd.DataFrame({"user_id": ids, "town": [towns[i % 3] for i in ids]}).to_csv(folder / "users.csv", index=False)
    for kind in kinds:
        ids = np.array([i for i in items if (i % 2 == 0) == (kind == "book")])[::step]
        pd.DataFrame({"item_id": ids, "year": 1400 + ids}).to_csv(folder / f"{kind}.csv", index=False)
    return {
        "name": folder.name,
        "inter_feat_path": str(folder / "rows.csv"),
        "user_feat_path": str(folder / "users.csv"),
        "item_feat_path": {kind: str(folder / f"{kind}.csv") for kind in kinds},
        "feat": {"year": {"type": "float"}, "town": {"type": "token", "source": "user"}},
        "label": {"from": "rating", "above": 3},
    }


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> dict[str, Any]:
    return write_shop(tmp_path_factory.mktemp("data") / "old", *OLD, ("book", "film"), "abc")


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> dict[str, Any]:
    """Other ids, kinds, rows and categories in another order."""
    return write_shop(tmp_path_factory.mktemp("data") / "new", *NEW, ("film", "book"), "bcd")


def config_of(name: str, data: dict[str, Any], output: Path, **model: Any) -> Any:
    given = [f"data={json.dumps(data)}", *(f"model.{key}={json.dumps(value)}" for key, value in model.items())]
    fixed = ["opt.epochs=1", "opt.hyper_params.lr=0.01", "path.cache=null", f"path.output={output}", "device=cpu"]
    return load(str(ROOT / "configs" / f"{name}.json"), find_model, [*fixed, *given])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, old) -> Callable[[str], Path]:
    """Model -> the folder of a run of it on the old data, trained once."""
    kept: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in kept:
            output = tmp_path_factory.mktemp("runs")
            run(config_of(name, old, output), show=False)
            (kept[name],) = output.iterdir()
        return kept[name]

    return get


def started(config: Any) -> tuple[BaseModel, BaseModel, RecData, list[str]]:
    """(the model before training, the same without init_from, its data, the log)"""
    said: list[str] = []
    parts, model = prepare(config, Metrics.parse(config), CPU, Processes(), said.append)
    return model, build_model(config, parts.train, CPU), parts.train, said


def item_ids(data: RecData) -> list[tuple[str, str]]:
    return [(kind, one) for kind, table in data.kinds.items() for one in table.ids]


def assert_rows_by_id(ours, drawn, theirs, own_ids: list, their_ids: list) -> None:
    """Rows of ids that both have are theirs, the others as they were drawn; each sort occurs."""
    place = {one: row for row, one in enumerate(their_ids)}
    known = [one in place for one in own_ids]
    assert any(known) and not all(known)
    for row, one in enumerate(own_ids):
        assert torch.equal(ours[row], theirs[place[one]] if one in place else drawn[row])


def test_rows_of_users_and_items_are_matched_by_id_and_kind_on_other_data(finished, new, tmp_path):
    source = finished("bprmf")
    model, drawn, data, said = started(config_of("bprmf", new, tmp_path, init_from=str(source)))
    theirs = load_finished(source, CPU)
    there = theirs.parts.train
    assert_rows_by_id(
        model.users.weight, drawn.users.weight, theirs.model.users.weight, list(data.users.ids), list(there.users.ids)
    )
    assert_rows_by_id(
        model.items.weight, drawn.items.weight, theirs.model.items.weight, item_ids(data), item_ids(there)
    )
    assert f"starts from {source}: users.weight (14 of 20 rows), items.weight (24 of 32 rows)" in said


def test_rows_of_a_matrix_of_fields_are_matched_by_id_and_by_category(finished, new, tmp_path):
    source = finished("fm")
    model, drawn, data, _ = started(config_of("fm", new, tmp_path, init_from=str(source)))
    theirs = load_finished(source, CPU)
    there, at, other = theirs.parts.train, model.fields.id_rows, theirs.model.fields.id_rows
    ours, first, their = model.fields.table.weight, drawn.fields.table.weight, theirs.model.fields.table.weight
    for side, own_ids, their_ids in (
        ("user", list(data.users.ids), list(there.users.ids)),
        ("item", item_ids(data), item_ids(there)),
    ):
        assert_rows_by_id(ours[at[side] :], first[at[side] :], their[other[side] :], own_ids, their_ids)
    towns = [("missing", "unseen", *d.users.columns["town"].values) for d in (data, there)]
    assert_rows_by_id(ours[data.n_users :], first[data.n_users :], their[there.n_users :], *map(list, towns))
    assert towns[0].index("b") == FIRST and torch.equal(ours[data.n_users + FIRST], their[there.n_users + FIRST + 1])
    years = slice(at["item"] + data.n_items, None), slice(other["item"] + there.n_items, None)
    assert torch.equal(ours[years[0]], their[years[1]]) and torch.equal(model.constant, theirs.model.constant)


def test_parts_of_a_kind_are_matched_by_its_name(finished, new, tmp_path):
    source = finished("duration")
    model, _, _, said = started(config_of("duration", new, tmp_path, init_from=str(source)))
    theirs = load_finished(source, CPU).model
    assert model.maps.index != theirs.maps.index
    for kind in ("book", "film"):
        weights = zip(model.maps[kind].parameters(), theirs.maps[kind].parameters(), strict=True)
        assert all(torch.equal(own, other) for own, other in weights)
    assert any("maps.film." in line for line in said)


def test_the_same_data_gives_the_same_weights_and_the_run_keeps_its_source(finished, old, tmp_path):
    source = finished("fm")
    config = config_of("fm", old, tmp_path / "runs", init_from=[{"run": str(source)}])
    model, _, _, _ = started(config)
    theirs = load_finished(source, CPU).model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())
    run(config, show=False)
    (folder,) = (tmp_path / "runs").iterdir()
    saved = json.loads((folder / "config.json").read_text())
    assert saved["model"]["init_from"] == [{"run": str(source), "weights": {}}]


def test_a_resumed_run_does_not_read_its_source_again(finished, old, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(finished("bprmf"), source)
    first = run(config_of("bprmf", old, tmp_path / "runs", init_from=str(source)), show=False)
    (folder,) = (tmp_path / "runs").iterdir()
    shutil.rmtree(source)
    again = run(load(str(folder / "config.json"), find_model), resume=folder, show=False)
    assert json.dumps(again["test"]) == json.dumps(first["test"])  # as text, for NaN
    assert load_finished(folder, CPU).config.init_from[0].run == str(source)


def test_pairs_of_names_start_from_another_model(finished, old, tmp_path):
    source = finished("wmf")
    width = load_finished(source, CPU).model.items.weight.shape[1]
    pairs = [{"run": str(source), "weights": {"items": "items"}}]
    model, drawn, _, said = started(config_of("bprmf", old, tmp_path, init_from=pairs, embedding_size=width))
    assert torch.equal(model.items.weight, load_finished(source, CPU).model.items.weight)
    assert torch.equal(model.users.weight, drawn.users.weight)
    assert any("items.weight (32 of 32 rows)" in line for line in said)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"item": "items"}, r"'item' is no weight or module of this model\..*Weights: users\.weight, items\.weight"),
        ({"items": "itemz"}, r"'itemz' is no weight or module of .*Weights: users\.weight"),
        ({"items": "users"}, r"items\.weight is \[32, 64\] here and \[24, 64\] there\. Correct"),
    ],
)
def test_a_pair_that_cannot_be_is_refused(finished, old, tmp_path, weights, sentence):
    config = config_of("bprmf", old, tmp_path, init_from=[{"run": str(finished("bprmf")), "weights": weights}])
    with pytest.raises(ConfigError, match=r"^model\.init_from\.weights: " + sentence):
        started(config)


def test_a_run_without_a_matching_weight_is_refused_before_a_folder_is_made(finished, old, tmp_path):
    with pytest.raises(ConfigError, match=r"no weight of .* matches one of this model: users\.weight is \[24, 5\]"):
        run(config_of("bprmf", old, tmp_path, init_from=str(finished("bprmf")), embedding_size=5), show=False)
    with pytest.raises(ConfigError, match=r"no/run: no such run folder"):
        run(config_of("bprmf", old, tmp_path, init_from="no/run"), show=False)
    assert not list(tmp_path.iterdir())


def test_a_wrong_setting_is_named(old, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.init_from.*runs: unknown key\. Did you mean 'run'"):
        config_of("bprmf", old, tmp_path, init_from=[{"runs": "x"}])
