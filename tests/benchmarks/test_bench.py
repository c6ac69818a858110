"""scripts/bench.py: what is timed and what the table of models says, on tiny planted data."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hrec.benchmarks import lists, models, timing, view_data, views
from hrec.benchmarks.literal_jrl import LiteralJRL
from hrec.datasets.batches import Draw
from hrec.datasets.recdata import RecData, Split, keep_kinds
from hrec.models import MODELS, find_model
from hrec.models.views.jrl import JRL
from hrec.settings import StageSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def timed(name: str, train: RecData, steps: int, batch_size: int) -> timing.Steps:
    torch.manual_seed(0)
    model = find_model(name)(find_model(name).Config(), train)
    return timing.time_steps(model, train, StageSettings(batch_size=batch_size), steps)


def test_the_steps_after_the_first_three_are_timed_piece_by_piece_epoch_after_epoch(board: Split):
    n = len(board.train.interactions)
    steps = timed("LR", board.train, 4, n - 1)  # an epoch is a batch of all rows but one, and one of one row
    assert steps.rows == [1, n - 1, 1, n - 1]
    assert all(len(seconds) == 4 and min(seconds) > 0 for seconds in steps.pieces.values())
    assert steps.seconds == pytest.approx([sum(step) for step in zip(*steps.pieces.values(), strict=True)])


def test_the_rows_of_a_step_are_those_of_all_kinds(board: Split):
    assert timed("DURation", board.train, 2, 8).rows == [24, 24]


def test_there_is_a_config_for_every_model_in_the_order_of_the_table():
    configs = models.all_configs()
    assert [models.load(name, find_model).run.model["name"] for name in configs] == list(MODELS)


def test_data_that_is_not_prepared_is_reported_and_replaced(tmp_path: Path, capsys: pytest.CaptureFixture):
    absent = tmp_path / "absent.json"
    absent.write_text('{"name": "absent", "inter_feat_path": "nowhere/rows.csv"}')
    assert models.prepared("planted-tiny", "deepmf") == "planted-tiny"
    assert not capsys.readouterr().out
    assert models.prepared(str(absent), "deepmf") == models.STAND_IN
    assert "no nowhere/rows.csv; data/README.md has the command" in capsys.readouterr().out


def test_a_model_that_needs_more_than_the_data_has_is_passed_over_with_its_reason(board: Split):
    alone = keep_kinds(board.train, ["book"])
    first, *others = models.row_of("ddtcdr", [], alone, argparse.Namespace())
    assert first == "DDTCDR needs at least 2 kinds of item" and set(others) == {"-"}


def test_a_model_that_refuses_the_data_is_passed_over_with_its_reason(
    board: Split, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def refuse(*_: object) -> None:
        raise ValueError("too many items")

    monkeypatch.setattr(models, "in_own_process", refuse)
    first, *others = models.row_of("ease", [], board.train, argparse.Namespace())
    assert first == "EASE refuses the data" and set(others) == {"-"}
    assert "too many items" in capsys.readouterr().err


@pytest.mark.slow
def test_the_table_of_models_has_an_epoch_of_each():
    command = [sys.executable, "scripts/bench.py", "--parts", "models", "--data", "planted-tiny", "--steps", "2"]
    command += ["--models", "lr", "duration", "--batch-size", "256", "--threads", "1", "--set", "opt.row_wise=true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    heading, lr, duration = (line.split() for line in done.stdout.splitlines() if line.count("  ") > 4)
    assert heading[:3] == ["model", "steps", "samples"] and heading[-4:] == ["epoch", "s", "peak", "MB"]
    train = timing.training_part("tiny").interactions
    longest = max(sum(train.kind == kind) for kind in range(3))
    assert lr[:3] == ["LR", str(-(-len(train) // 256)), f"{len(train):,}"]
    assert duration[:2] == ["DURation", str(-(-longest // 256))]
    for row in (lr, duration):
        samples, per_second, epoch = (float(row[i].replace(",", "")) for i in (2, 4, 5))
        assert samples / per_second == pytest.approx(epoch, abs=0.06)


@pytest.mark.parametrize("way", [*lists.LOOPS, *(name for name in lists.SOLVERS if name.startswith("hrec"))])
def test_every_way_to_train_for_lists_takes_some_time(way: str, board: Split, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lists, "ROWS", 1)
    args = argparse.Namespace(batch_size=64, threads=1)
    assert (lists.LOOPS | lists.SOLVERS)[way](board.train, args) > 0


def test_a_row_of_the_textbook_loop_is_a_positive_and_a_negative(board: Split):
    rows = lists.Triples(board.train)
    assert len(rows) == len(lists._positive(board.train)[0]) > 0
    for user, positive, negative in (rows[i] for i in range(len(rows))):
        assert positive in rows.seen[user] and negative not in rows.seen[user]


def test_a_library_that_is_not_installed_leaves_its_line_empty(board: Split, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    assert lists.implicit_sweep(board.train, argparse.Namespace(threads=1), use_cg=True) is None


def test_full_ranking_is_timed_beside_the_bare_product(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lists, "USERS", 20)
    monkeypatch.setattr(lists, "ITEMS", 300)
    assert all(way(None, argparse.Namespace()) > 0 for way in lists.RANKERS.values())


TINY = view_data.Shape(users=12, items=9, reviews=60, words=4, vocabulary=7, numbers=5)
FEW = argparse.Namespace(batch_size=16, threads=1, steps=2, reference_steps=2)


def test_made_reviews_have_the_shape_asked_for_and_no_pair_twice():
    rows = view_data.made(TINY).interactions
    assert len(set(zip(rows.user.tolist(), rows.item.tolist(), strict=True))) == 60
    text = rows.columns["review"]
    assert len(text.word) == 240 and set(np.diff(text.offset)) == {4} and 0 <= text.word.min() <= text.word.max() < 7


def test_the_loop_over_reviews_has_the_loss_and_the_gradients_of_the_model():
    """Of one distinct word, as then the negative words that each draws are the same."""
    train = view_data.made(TINY._replace(vocabulary=1))
    both = [views.model_of(cls, train) for cls in (JRL, LiteralJRL)]
    batch = next(iter(both[0].sampler(train).epoch(Draw(20, torch.Generator().manual_seed(1), torch.device("cpu")))))
    losses = [torch.stack(list(model.loss(batch).values())).sum() for model in both]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    grads = [{n: p.grad.to_dense() for n, p in model.named_parameters()} for model in both]
    torch.testing.assert_close(*grads)


def test_the_steps_of_jrl_and_of_the_loop_are_timed_and_an_epoch_is_estimated():
    looped, whole = (views.steps_of(literal, TINY, FEW) for literal in (True, False))
    assert looped.rows == [60, 60] and whole.rows == [12, 16]
    known = timing.Steps({"drawing": [1.0], "forward": [2.0], "backward": [3.0], "optimiser": [4.0]}, [10])
    assert views.epochs(known, known, reviews=100, batch_size=20) == (5 * 5 + 10 * 5, 5 * 10)


def test_words_per_second_are_of_the_reviews_that_were_seen():
    assert views.hrec_words(TINY, FEW) > 0


def test_without_gensim_its_line_is_empty(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gensim.models.doc2vec", None)
    assert views.gensim_words(TINY, FEW) is None
