"""A JSON file -> typed settings, or one message that lists everything that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from hrec.config import CONFIG_DIR, ConfigError, LoadedConfig, load
from hrec.datasets import load as read
from hrec.models import find_model
from hrec.pipeline.run import run
from hrec.settings import DataSettings

PUBLISHED = Path(__file__).parent / "published"
ROOT = Path(__file__).parent.parent
PLANTED = {"name": "made", "planted": {"size": "tiny"}}
DMF = {"name": "DMF"}


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def write(tmp_path) -> Callable[..., str]:
    """Writes a settings file and returns its path; sections that are not given are right ones."""

    def write(text: str | None = None, **sections: Any) -> str:
        path = tmp_path / "mine.json"
        path.write_text(text if text is not None else json.dumps({"data": PLANTED, "model": DMF} | sections))
        return str(path)

    return write


def problems(path: str, *overrides: str) -> list[str]:
    """The lines of the ConfigError that loading gives; the first one names the file."""
    with pytest.raises(ConfigError) as caught:
        load(path, find_model, overrides)
    return [line.strip() for line in str(caught.value).split("\n")]


def loaded(path: str, *overrides: str) -> LoadedConfig:
    return load(path, find_model, overrides)


# ------------------------------------------------------------------------------------------ problems


def test_all_problems_of_a_file_are_listed_at_once_under_its_name(write):
    path = write(model={"name": "DURaton"}, opt={"epochs": "many", "batchsize": 64}, sed=1)
    first, *lines = problems(path)
    assert first == f"{path}: 4 problems"
    assert len(lines) == 4
    assert "opt.epochs: should be a whole number, got 'many'" in lines
    assert any(line.startswith("model.name: no model called 'DURaton'. Did you mean 'DURation'?") for line in lines)
    assert any(line.startswith("opt.batchsize: unknown key. Did you mean 'batch_size'?") for line in lines)
    assert any(line.startswith("sed: unknown key. Did you mean 'seed'?") for line in lines)


@pytest.mark.parametrize(
    ("sections", "path", "near"),
    [
        ({"data": PLANTED | {"split": {"by": "time", "ratioo": [1, 1, 1]}}}, "data.split.ratioo", "ratio"),
        ({"data": PLANTED | {"split": {"ratioo": [1, 1, 1]}}}, "data.split.ratioo", "ratio"),
        ({"data": PLANTED | {"split": {"by": "cold_users", "maxtrain": 3}}}, "data.split.maxtrain", "max_train"),
        ({"data": PLANTED | {"feat": {"x": {"type": "token", "typ": "token"}}}}, "data.feat.x.typ", "type"),
        ({"data": PLANTED | {"feat": {"str": {"type": "token", "sorce": "user"}}}}, "data.feat.str.sorce", "source"),
        ({"data": PLANTED | {"label": {"negative": 4}}}, "data.label.negative", "negatives"),
        ({"data": {"planted": {"sise": "tiny"}}}, "data.planted.sise", "size"),
        ({"model": DMF | {"history": {"scal": "sum"}}}, "model.history.scal", "scale"),
        ({"model": DMF | {"user_emb_sise": 8}}, "model.user_emb_sise", "user_emb_size"),
        ({"opt": {"early_stop": {"stopstep": 3}}}, "opt.early_stop.stopstep", "stop_step"),
        ({"opt": {"scheduler": {"name": "StepLR", "hyperparams": {}}}}, "opt.scheduler.hyperparams", "hyper_params"),
        ({"opt": {"stages": {"train": {"epoch": 3}}}}, "opt.stages.train.epoch", "epochs"),
        ({"path": {"ouput": "x"}}, "path.ouput", "output"),
        ({"metrik": ["auc"]}, "metrik", "metrics"),
    ],
)
def test_an_unknown_key_is_named_by_its_path_with_the_nearest_known_key(write, sections, path, near):
    assert any(line.startswith(f"{path}: unknown key. Did you mean '{near}'?") for line in problems(write(**sections)))


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"opt": {"epochs": 2.5}}, "opt.epochs: should be a whole number, got 2.5"),
        ({"opt": {"epochs": 0}}, "opt.epochs: should be greater than 0, got 0"),
        ({"opt": {"row_wise": "maybe"}}, "opt.row_wise: should be true or false, got 'maybe'"),
        ({"opt": {"hyper_params": [1]}}, "opt.hyper_params: should be an object {...}, got [1]"),
        ({"opt": None}, "opt: should be an object {...}, got None"),
        ({"opt": {"stages": {"train": 3}}}, "opt.stages.train: should be an object {...}, got 3"),
        ({"data": PLANTED | {"user_feat_path": 3}}, "data.user_feat_path: should be text in quotes, got 3"),
        ({"data": PLANTED | {"split": {"ratio": [1, 1]}}}, "data.split.ratio.2: is missing"),
        ({"data": PLANTED | {"split": {"ratio": [1, 1, "a"]}}}, "data.split.ratio.2: should be a number, got 'a'"),
        ({"data": PLANTED | {"feat": {"x": {}}}}, "data.feat.x.type: is missing"),
        ({"metrics": 3}, "metrics: should be a list [...], got 3"),
        ({"metrics": ""}, "metrics: should be a list [...], got ''"),
        ({"seed": -1}, "seed: should be greater than or equal to 0, got -1"),
        ({"seed": True}, "seed: should be a whole number, got 'true'"),
        ({"opt": {"clip_grad": True}}, "opt.clip_grad: should be a number, got 'true'"),
        ({"ranking": {"sampled": True}}, "ranking.sampled: should be a whole number, got 'true'"),
        (
            {"data": PLANTED | {"split": {"ratio": [1, 1, True]}}},
            "data.split.ratio.2: should be a number, got 'true'",
        ),
        ({"model": DMF | {"dropout": True}}, "model.dropout: should be a number, got 'true'"),
        ({"model": "DMF"}, "model: should be an object {...}, got 'DMF'"),
        ({"model": DMF | {"dropout": 1}}, "model.dropout: should be less than 1, got 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_should_be(write, sections, line):
    assert line in problems(write(**sections))


@pytest.mark.parametrize(
    ("sections", "path", "near"),
    [
        ({"opt": {"name": "adam"}}, "opt.name", "Adam"),
        ({"opt": {"scheduler": {"name": "StepLr"}}}, "opt.scheduler.name", "StepLR"),
        ({"data": PLANTED | {"split": {"by": "tim"}}}, "data.split", "time"),
        ({"data": {"planted": {"size": "tinny"}}}, "data.planted.size", "tiny"),
        ({"model": DMF | {"history": {"scale": "sums"}}}, "model.history.scale", "sum"),
        ({"model": {"name": "dmf"}}, "model.name", "DMF"),
    ],
)
def test_a_wrong_choice_is_answered_with_the_nearest_one(write, sections, path, near):
    lines = problems(write(**sections))
    assert any(line.startswith(f"{path}: ") and f"Did you mean '{near}'?" in line for line in lines)


def test_a_group_of_stages_that_the_model_lacks_is_refused(write):
    assert problems(write(opt={"stages": {"trian": {"epochs": 3}}}))[1:] == [
        "opt.stages.trian: no such stage. Did you mean 'train'? Stages: train"
    ]


def test_rules_between_fields_are_reported_in_a_sentence(write):
    lines = problems(write(data={"planted": {}, "inter_feat_path": "x.csv", "label": {"from": "rating"}}))
    assert any(line.startswith("data.label: 'from' and 'above' go together") for line in lines)
    lines = problems(write(model=DMF | {"user_hidden_size_list": [8], "item_hidden_size_list": [4]}))
    assert any("must end in the same width" in line for line in lines)


@pytest.mark.parametrize("name", [["DMF"], {"DMF": 1}, 7, None])
def test_a_model_name_of_any_json_type_gives_a_sentence(write, name):
    assert any(line.startswith("model.name: no model called") for line in problems(write(model={"name": name})))


def test_one_problem_is_counted_once(write):
    assert problems(write(opt={"stages": {"train": 3}}))[0].endswith(": 1 problem")


# ------------------------------------------------------------------------------------ files and names


def test_broken_json_is_reported_with_line_and_column(write):
    path = write(text='{\n  "data": "planted-tiny",\n  "seed" 3\n}')
    assert problems(path)[0].startswith(f"{path}: line 3, column 10: ")


@pytest.mark.parametrize("text", ["[1, 2]", "null", '"duration"'])
def test_json_that_is_no_object_is_refused(write, text):
    assert "should hold one object {...}" in problems(write(text=text))[0]


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "latin.json").write_bytes('{"data": "b\xfccher"}'.encode("latin-1"))
    assert "not UTF-8 text" in problems(str(tmp_path / "latin.json"))[0]


def test_a_key_that_stands_twice_is_refused(write):
    assert "the key 'seed' is twice" in problems(write(text='{"seed": 1, "model": {}, "seed": 2}'))[0]


def test_an_unknown_name_is_answered_with_the_nearest_one():
    line = problems("duratoin")[0]
    assert "no settings called 'duratoin'" in line and "Did you mean 'duration'?" in line and "deepmf" in line


def test_an_unknown_data_name_is_answered_with_the_nearest_one(write):
    line = problems(write(data="planted-tinny"))[0]
    assert "no data called 'planted-tinny'" in line and "Did you mean 'planted-tiny'?" in line


def test_a_problem_in_a_data_file_is_reported_with_that_files_name(write):
    first, *lines = problems(write(data="planted-tiny"), "data.split.ratioo=3")
    assert str(CONFIG_DIR / "data" / "planted-tiny.json") in first and "mine.json" in first
    assert lines[0].startswith("data.split.ratioo: unknown key")


@pytest.mark.parametrize("path", sorted((ROOT / CONFIG_DIR).glob("*.json")), ids=lambda p: p.stem)
def test_every_config_of_the_repository_loads_without_a_warning(path):
    assert loaded(path.stem).warnings == []
    assert loaded(str(path)) == loaded(path.stem)


@pytest.mark.parametrize("path", sorted((ROOT / CONFIG_DIR / "data").glob("*.json")), ids=lambda p: p.stem)
def test_every_data_file_of_the_repository_loads_with_any_config(path):
    assert loaded("deepmf", f"data={path.stem}").run.data.name == path.stem


# ------------------------------------------------------------------------------------------ overrides


def test_an_override_sets_a_key_by_its_path_as_json_or_as_text(write):
    config = loaded(
        write(),
        "opt.epochs=7",
        "opt.hyper_params.lr=1e-2",
        "opt.row_wise=true",
        "opt.early_stop=null",
        "opt.name=Adam",
        "data.name=other",
        "model.user_hidden_size_list=[8, 64]",
        'data.split={"by": "user"}',
        "path.output=some/where=1",
    )
    opt = config.run.opt
    assert (opt.epochs, opt.hyper_params, opt.row_wise, opt.early_stop) == (7, {"lr": 0.01}, True, None)
    assert (opt.name, config.run.data.name, config.run.path.output) == ("Adam", "other", "some/where=1")
    assert config.model.user_hidden_size_list == (8, 64) and config.run.data.split.by == "user"
    assert config.source["opt"]["epochs"] == 7


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("recall@10", ("recall@10",)),
        ("recall@10,ndcg@10", ("recall@10", "ndcg@10")),
        ("AUC, logloss", ("auc", "logloss")),
        ("[recall@10,ndcg@10]", ("recall@10", "ndcg@10")),  # a shell took the quotation marks
        ('["recall@10","ndcg@10"]', ("recall@10", "ndcg@10")),
    ],
)
def test_metrics_can_be_given_without_json(write, text, names):
    assert load(str(write()), find_model, [f"metrics={text}"]).run.metrics == names


def test_an_override_reaches_into_the_data_file_that_a_name_stands_for(write):
    config = loaded(write(data="planted-tiny"), "data.planted.seed=5", "data.split.by=user", "data.name=five")
    assert config.run.data.planted.seed == 5 and config.run.data.planted.size == "tiny"
    assert config.run.data.split.by == "user" and config.run.data.name == "five"


def test_the_section_metrics_may_be_called_metric_as_in_the_papers_text(tmp_path):
    path = tmp_path / "named.json"
    path.write_text('{"data": {"planted": {"size": "tiny"}}, "model": {"name": "DMF"}, "metric": ["AUC"]}')
    assert load(str(path), find_model).run.metrics == ("auc",)


@pytest.mark.parametrize("order", [1, -1])
def test_the_data_file_and_keys_inside_it_can_be_overridden_together(order):
    overrides = ["data=planted-tiny", "data.planted.seed=5"][::order]
    data = loaded("deepmf", *overrides).run.data
    assert (data.name, data.planted.seed) == ("planted-tiny", 5)


def test_null_leaves_a_column_out(write):
    own = {"inter_feat_path": "rows.csv", "feat": {"brand": {"type": "token"}, "price": {"type": "float"}}}
    config = loaded(write(data=own), "data.feat.brand=null")
    assert list(config.run.data.feat) == ["price"] == list(config.source["data"]["feat"])
    assert "brand" in loaded("duration", "data=amazon", "data.feat.related=null").run.data.feat
    assert "related" not in loaded("duration", "data=amazon", "data.feat.related=null").run.data.feat
    (line,) = problems(write(data=own), "data.feat.brnd=null")[1:]
    assert line == "data.feat.brnd: no such column to leave out. Did you mean 'brand'? Columns: brand, price"


def test_a_split_that_does_not_say_by_what_is_the_random_one(write):
    split = loaded(write(), "data.split.seed=5").run.data.split
    assert (split.by, split.seed, split.ratio) == ("ratio", 5, (0.7, 0.2, 0.1))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("opt.epochs", "'opt.epochs': an override is written key.path=value"),
        ("=5", "'=5': an override is written key.path=value"),
        ("seed.of=5", "seed: holds 3, so 'seed.of=5' cannot set a key inside it"),
        ("opt.epoch=5", "opt.epoch: unknown key. Did you mean 'epochs'?"),
        ("opt.epochs=five", "opt.epochs: should be a whole number, got 'five'"),
    ],
)
def test_a_bad_override_is_among_the_problems(write, override, line):
    lines = problems(write(seed=3, sed=1), override)
    assert any(each.startswith(line) for each in lines) and any(each.startswith("sed:") for each in lines)


def test_a_wrong_entry_of_a_list_is_one_problem(write):
    (line,) = problems(write(model={"name": "DMF", "user_hidden_size_list": [0]}))[1:]
    assert line.startswith("model.user_hidden_size_list.0:") and "greater than 0" in line
    (line,) = problems(write(model={"name": "DualNet", "levels": [0]}))[1:]
    assert line.startswith("model.levels.0:")


def test_settings_cannot_be_changed_once_loaded(write):
    with pytest.raises(ValueError, match="frozen"):
        loaded(write()).run.seed = 3


# ------------------------------------------------------------------------------------ published files


def make_douban(folder: Path) -> None:
    """Files as the paper's supplement and the published settings describe them, small.

    The kind in all_rate and all_item is a code. Scores and votes are numbers in all_item, and codes in all_item_token
    and in the files of the kinds.
    """
    rng = np.random.default_rng(0)
    n, users, kinds = 20, [f"u{i}" for i in range(30)], ("book", "music", "movie")
    columns: dict[str, dict[str, Any]] = {
        "book": {
            "authors": rng.choice(["Ann", "Bob", ""], n),
            "publisher": rng.choice(["P1", "P2"], n),
            "price": rng.uniform(5, 50, n).round(2),
        },
        "music": {"performer_ids": rng.choice(["7", "8"], n), "style": rng.choice(["Pop", "Jazz"], n)},
        "movie": {
            "genres": rng.choice(["Drama|Crime", "Crime"], n),
            "directors": rng.choice(["Cid", "Dora"], n),
            "mins": rng.integers(60, 180, n),
        },
    }
    pd.DataFrame({"user_id": users}).to_csv(folder / "all_users.csv", index=False)
    items, tokens, rates = [], [], []
    for code, kind in enumerate(kinds):
        own = {"item_id": [f"{kind}{i}" for i in range(n)]}
        score, votes = rng.uniform(2, 10, n).round(1), rng.integers(10, 9000, n)
        score_code, votes_code = score.astype(int), votes // 1000
        shown = {f"{kind}_douban_score": score_code, f"{kind}_douban_votes": votes_code}
        pd.DataFrame(own | columns[kind] | shown).to_csv(folder / f"{kind}_item.csv", index=False)
        items.append(pd.DataFrame(own | {"type": code, "douban_score": score, "douban_votes": votes}))
        tokens.append(pd.DataFrame(own | {"type": code, "douban_score": score_code, "douban_votes": votes_code}))
        user, item = np.nonzero(rng.random((len(users), n)) < 0.4)
        label = rng.integers(0, 2, len(user))
        named = {"user_id": np.take(users, user), "item_id": np.take(own["item_id"], item)}
        rates.append(pd.DataFrame(named | {"label": label, "type": code}))
    for name, frames in {"all_item": items, "all_item_token": tokens, "all_rate": rates}.items():
        pd.concat(frames).to_csv(folder / f"{name}.csv", index=False)


def published(name: str, folder: Path) -> str:
    """A published file after the one edit that its README asks for: the paths."""
    path = folder / f"{name}.json"
    path.write_text((PUBLISHED / f"{name}.json").read_text().replace("/Your/Local/Path", str(folder)))
    return str(path)


OPT = ["opt.adjust_lr", "opt.scheduler"]
WIDTHS = ["model.user_emb_size", "model.item_emb_size"]
NEVER_HAD_EFFECT = {
    "afm": OPT,
    "autoint": OPT,
    "cccf": ["data.pin_mem", *OPT],
    "ddtcdr": ["data.pin_mem", *OPT],
    "deepfm": [*OPT, *WIDTHS],
    "deepmf": OPT,
    "dssm": [*OPT, *WIDTHS, "model.double_tower"],
    "duration": [
        "data.pin_mem",
        *OPT,
        "model.mlp_hidden_size",
        "model.dropout_prob",
        "model.align_sample_size",
    ],
    "fism": [*OPT, "model.split_to"],
    "nais": [*OPT, "model.split_to", "model.pretrain_path"],
    "widedeep": [*OPT, *WIDTHS],
    "xdeepfm": ["opt.adjust_lr", *WIDTHS],
}
"""Every published file, and its keys that changed nothing in the published code."""


IDS = ["data.feat.user_id", "data.feat.item_id"]
"""The published code kept a random vector for each id among the columns and never trained it."""


@pytest.mark.parametrize("name", NEVER_HAD_EFFECT)
def test_a_published_key_that_never_had_an_effect_draws_one_warning_line(tmp_path, name):
    warnings = loaded(published(name, tmp_path)).warnings
    assert [line.split(": ")[0] for line in warnings] == [*NEVER_HAD_EFFECT[name], *IDS]
    assert all("\n" not in line for line in warnings)
    assert all("had no effect in the published code" in line for line in warnings[: -len(IDS)])
    assert all("an id is not read as a column" in line for line in warnings[-len(IDS) :])


def test_what_changes_nothing_in_a_run_draws_one_warning_line():
    """Of a model that is solved in closed form, and of lists where no metric is of lists."""
    opt = ["opt.hyper_params.lr=3", "opt.batch_size=3", "opt.clip_grad=1", "opt.epochs=2"]
    warnings = load("wmf", find_model, opt).warnings
    assert [line.split(":")[0] for line in warnings] == ["opt.hyper_params", "opt.batch_size", "opt.clip_grad"]
    assert all("WMF is solved in closed form" in line for line in warnings)
    assert load("lr", find_model, ["ranking.sampled=5"]).warnings == [
        'ranking: has no effect without a metric of lists, such as "ndcg@10"'
    ]
    assert load("lr", find_model, ["ranking.sampled=5", "opt.early_stop.metric=recall@5"]).warnings == []


def test_a_scheduler_without_adjust_lr_is_a_setting_and_draws_no_warning(write):
    config = loaded(write(opt={"scheduler": {"name": "StepLR", "hyper_params": {"step_size": 2}}}))
    assert config.warnings == [] and config.run.opt.scheduler.name == "StepLR"


def test_the_published_settings_mean_what_they_meant(tmp_path):
    config = loaded(published("duration", tmp_path))
    assert config.run.metrics == ("auc",) and config.run.opt.scheduler is None
    assert config.run.data.inter_matrix_type == "01" and config.run.data.type == ("book", "music", "movie")
    assert config.run.opt.hyper_params == {"lr": 0.001, "weight_decay": 0.01} and config.run.opt.eval_step == 2
    assert config.model.item_map_hidden_size_list == (256, 64)


@pytest.mark.parametrize("name", NEVER_HAD_EFFECT)
def test_every_column_that_a_published_file_names_is_read(tmp_path, name):
    make_douban(tmp_path)
    settings = loaded(published(name, tmp_path)).run.data
    kinds = read(settings, None).kinds
    named = [(f.source, column) for column, f in settings.feat.items() if column not in ("user_id", "item_id")]
    expected = {(kind, column) for kind in kinds for source, column in named if source in ("item", f"item_{kind}")}
    assert {(kind, column) for kind, table in kinds.items() for column in table.columns} == expected
    assert len({column for _, column in expected}) == len(named)


def test_every_published_file_is_among_those_tested():
    assert {path.stem for path in PUBLISHED.glob("*.json")} == set(NEVER_HAD_EFFECT)


@pytest.mark.parametrize("name", NEVER_HAD_EFFECT)
def test_a_published_file_loads_and_trains(tmp_path, name):
    make_douban(tmp_path)
    config = loaded(published(name, tmp_path), "opt.epochs=1", "path.cache=null", "device=cpu")
    result = run(config, show=False)
    kinds = ("book", "music", "movie") if config.model_class.reads.per_kind else ("0", "1", "2")
    assert set(result["test"]) == {"auc", "auc/pooled", *(f"auc/{kind}" for kind in kinds)}
    assert 0 <= result["test"]["auc/pooled"] <= 1
    (log,) = (tmp_path / "output").glob("*/log.txt")
    for key in NEVER_HAD_EFFECT[name]:
        assert log.read_text().count(f"warning: {key}:") == 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"label": {"from": "rating", "above": 3, "popularity": 1}}, "without 'negatives' none is drawn"),
        ({"feat": {"age": {"type": "float", "separator": ";"}}}, "'separator' is of columns of type token_seq or"),
        ({"feat": {"age": {"type": "float", "min_count": 2}}}, "'min_count' is of columns of type token or token_seq"),
        ({"type": []}, "name each kind once, and one at least"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        DataSettings(inter_feat_path="x.csv", **settings)


def test_settings_of_data_come_back_from_their_own_dump():
    """A run's config.json has every key, and is a config that can be run."""
    data = DataSettings(inter_feat_path="x.csv", feat={"age": {"type": "float"}, "tags": {"type": "token_seq"}})
    assert DataSettings.model_validate(data.model_dump(mode="json", by_alias=True)) == data
