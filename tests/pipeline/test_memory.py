"""Memory that cannot be had is refused before it is asked for, with the setting and the size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hrec import memory
from hrec.config import LoadedConfig, load
from hrec.datasets import load_split
from hrec.datasets.problems import DataError
from hrec.memory import TooLargeError, free_memory, in_gb, require_memory
from hrec.models import find_model
from hrec.pipeline.building import build_model
from hrec.pipeline.memory import check_training, memory_errors
from hrec.pipeline.run import run

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def config_of(name: str, *overrides: str) -> LoadedConfig:
    return load(name, find_model, ["data=planted-tiny", "path.cache=null", "device=cpu", *overrides])


@pytest.mark.parametrize(
    ("name", "overrides", "shown"),
    [
        ("popularity", ['metrics=["ndcg@1000000000000"]'], r"metrics: 'ndcg@1000000000000': .* GB"),
        ("popularity", ['metrics=["recall@' + "9" * 40 + '"]'], r"metrics: 'recall@9+': .* bytes of memory"),
        ("popularity", ["opt.early_stop.metric=map@1000000000000"], r"metrics: 'map@1000000000000': .* GB"),
        ("popularity", ["ranking.sampled=1e12"], r"ranking.sampled=1,000,000,000,000: .* GB"),
        ("bprmf", ["model.embedding_size=100000000000"], r"model.embedding_size=100,000,000,000: .* GB"),
        ("bprmf", ["model.embedding_size=1" + "0" * 18], r"model.embedding_size=1,0.*: .* GB of memory"),
        ("bprmf", ["model.negatives.pool=100000000000"], r"model.negatives.pool=100,000,000,000: .* GB"),
        ("ncf", ["model.mlp_hidden_size=[64,100000000000]"], r"model.mlp_hidden_size=100,000,000,000: .* GB"),
        ("fm", ["model.embedding_size=100000000000"], r"model.embedding_size=100,000,000,000: .* GB"),
        ("cdl", ["model.widths=[100000000000,50]"], r"model.widths=100,000,000,000: .* GB"),
        ("dualnet", ["model.levels=[200,100000000000]"], r"model.levels=100,000,000,000: .* GB"),
        ("duration", ["model.token_emb_size=100000000000"], r"model.token_emb_size=100,000,000,000: .* GB"),
    ],
)
def test_a_size_that_memory_cannot_hold_is_refused_by_name(name: str, overrides: list[str], shown: str, tmp_path: Path):
    with pytest.raises(TooLargeError, match=shown):
        run(config_of(name, f"path.output={tmp_path}", *overrides), show=False)
    assert not list(tmp_path.iterdir())


def test_chunks_of_users_larger_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**5)
    with pytest.raises(TooLargeError, match=r"ranking.eval_memory_mb=512: .* and 0.0001 GB are free"):
        run(config_of("popularity", f"path.output={tmp_path}"), show=False)


def test_ease_refuses_more_than_the_machine_has_whatever_memory_mb_allows(monkeypatch: pytest.MonkeyPatch):
    config = config_of("ease", "model.memory_mb=1000000000000")
    train = load_split(config.run.data, None).train
    monkeypatch.setattr(memory, "free_memory", lambda: 12 * train.n_items**2 - 1)
    with pytest.raises(TooLargeError, match=r"model.memory_mb=1,000,000,000,000: three matrices .* GB of memory"):
        build_model(config, train, CPU)
    monkeypatch.setattr(memory, "free_memory", lambda: 12 * train.n_items**2)
    build_model(config, train, CPU)


def test_negatives_of_a_part_larger_than_memory_are_refused(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("user_id,item_id\n" + "".join(f"u{n},i{n % 7}\n" for n in range(40)))
    data = f'{{"inter_feat_path":"{tmp_path}/rows.csv","label":{{"negatives":100000000000}}}}'
    with pytest.raises(DataError, match=r"data.label.negatives=100,000,000,000: .* GB"):
        run(load("fm", find_model, [f"data={data}", "path.cache=null", f"path.output={tmp_path}/out"]), show=False)


def test_many_tensors_that_fit_one_by_one_are_refused_together(monkeypatch: pytest.MonkeyPatch):
    config = config_of("bprmf")
    train = load_split(config.run.data, None).train
    largest = 4 * 64 * max(train.n_users, train.n_items)
    monkeypatch.setattr(memory, "free_memory", lambda: largest)
    with pytest.raises(TooLargeError, match=r"model.embedding_size=64: the weights of BPRMF"):
        build_model(config, train, CPU)


def test_gradients_and_moments_count_beside_the_weights(monkeypatch: pytest.MonkeyPatch):
    config = config_of("bprmf")
    model = build_model(config, load_split(config.run.data, None).train, CPU)
    weights = sum(4 * p.numel() for p in model.parameters())
    monkeypatch.setattr("hrec.pipeline.memory.free_memory", lambda: 3 * weights)
    check_training(config, model, CPU)
    monkeypatch.setattr("hrec.pipeline.memory.free_memory", lambda: 3 * weights - 1)
    with pytest.raises(TooLargeError, match="with their gradients and moments"):
        check_training(config, model, CPU)
    check_training(config_of("bprmf", "opt.name=SGD"), model, CPU)


@pytest.mark.parametrize(
    "error", [MemoryError("no"), RuntimeError("CUDA out of memory"), RuntimeError("x: not enough memory: y")]
)
def test_what_runs_out_of_memory_all_the_same_ends_with_a_sentence(error: Exception):
    with (
        pytest.raises(TooLargeError, match=r"memory is short .*model.embedding_size=64"),
        memory_errors(config_of("bprmf")),
    ):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match=r"^shapes$"), memory_errors(config_of("bprmf")):
        raise RuntimeError("shapes")


def test_free_memory_is_some_and_sizes_are_written_in_gigabytes():
    assert 2**20 < free_memory() < 2**50
    assert [in_gb(size) for size in (10**6, 25 * 10**8, 4 * 10**13)] == ["0.001 GB", "2.5 GB", "40,000 GB"]
    require_memory(0, "a", "b")
