"""What every model in the table of models must do. A new model gets all of these tests by being in the table."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrec import config
from hrec.datasets import PROBABILITY
from hrec.datasets.batches import Draw, ItemPairs, Joint, Pairs, Rows, Walks
from hrec.datasets.columns import Numeric
from hrec.datasets.histories import CELLS
from hrec.datasets.queries import Queries, UnknownUserError
from hrec.datasets.recdata import Feedback, RecData, Split, Table
from hrec.datasets.sequences import Sequences
from hrec.datasets.tokens import text_columns_of_rows
from hrec.inference.queries import answering
from hrec.models import MODELS, find_model
from hrec.models.base import BaseModel, InnerProductModel, Needs, Stage
from hrec.models.layers.context import PairFields
from hrec.models.layers.fields import Fields
from hrec.models.layers.wide import WideLinear
from hrec.pipeline import prepare, reports
from hrec.pipeline import run as pipeline_run
from hrec.pipeline.checkpoints import CheckpointError, Checkpoints, load_into
from hrec.pipeline.evaluator import Evaluator, scores
from hrec.pipeline.records import Progress
from hrec.pipeline.stage_run import Interrupted
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings, RunSettings

ROOT = Path(__file__).parents[1]

VIEWS = {"embedding_size": 8, "ranking": "log_sigmoid", "init_half_width": 0.1}  # few rows leave the first weights
SEQUENCES: dict[str, Any] = {
    "ids": True,  # only films have vectors
    "embedding_size": 16,
    "inner_size": 16,
    "sequences": {"max_length": 21},
    "dropout": 0.1,
    "temperature": 0.2,
}
"""Settings of the models of sequences that read vectors of items."""
SKIP_GRAM: dict[str, Any] = {"embedding_size": 16, "subsample": None, "negatives": {"pool": 2, "same_kind": False}}
SETTINGS: dict[str, dict[str, Any]] = {
    "NCF": {"embedding_size": 16, "mlp_hidden_size": [32, 16], "pretrain": True},  # all the stages that it may have
    "BPRHFT": {"embedding_size": 64, "text_weight": 0.001, "init_std": 0.1},
    "CKE": {"text": {"activation": "tanh"}, "vectors": {"hidden": 16}, "reg_weight": 0.05},
    "VBPR": {"visual_size": 16},
    "CDL": {"widths": [24, 16], "b": 0.1, "lambda_u": 0.1, "lambda_n": 10},
    "DeepCoNN": {
        "loss": "bpr",  # a label turned round does not turn the rating
        "word_size": 16,
        "width": 2,
        "kernels": 48,
        "latent_size": 20,
        "init_std": 0.5,
        "dropout": 0.2,
    },
    "DualNet": {"levels": [24, 16], "block_items": 20},
    "CATART": {"reg_weight": 0.2, "embedding_size": 8},
    "SMF": {"reg_weight": 0.2},
    "JRL": VIEWS,
    "eJRL": VIEWS,
    "DCNv2": {"mlp_hidden_size": [16], "cross_layers": 2},
    "DIN": {"attention_hidden_size": [8], "mlp_hidden_size": [16], "max_length": 15},
    "FinalMLP": {"mlp1_hidden_size": [20], "mlp2_hidden_size": [10], "gate_hidden_size": [16]},
    "GRU4Rec": {"embedding_size": 16, "hidden_size": 16, "dropout": 0.0},
    "SASRec": {"embedding_size": 16, "sequences": {"max_length": 20}, "dropout": 0.1},
    "BiTGCF": {"embedding_size": 16},
    "GAMTCDR": {"embedding_size": 16, "hidden": [1], "negatives": {"pool": 2}, "walk": {"length": 20}},
    "HeroGRAPH": {"embedding_size": 16, "neighbours": 32, "init_std": 0.3},  # as many neighbours as there are
    "Item2Vec": {"embedding_size": 16, "subsample": None, "negatives": {"pool": 2, "same_kind": False}},
    "CB2CF": SKIP_GRAM | {"hidden": [8], "own_vectors": True},
    "MISSRec": SEQUENCES | {"n_layers": 1, "interests": 0.3, "dropout": 0.3},
    "PGG": SKIP_GRAM,
    "UAE": {"embedding_size": 16, "hidden": [8], "ids": True, "temperature": 0.2},
    "UniSRec": SEQUENCES | {"experts": 2},
    "VQRec": SEQUENCES | {"parts": 3, "codes": 4},
    "UniEmbedding": {  # all the stages that it may have; only films have vectors
        "embedding_size": 16,
        "hidden": 12,
        "experts": {"of_kind": 1, "shared": 2},
        "view": {"num_heads": 2, "init_std": 0.2},
        "max_length": 20,
        "item2vec_weight": 1.0,
        "item2vec": {"subsample": None, "negatives": {"pool": 2, "same_kind": False}},
    },
}
"""Model settings, by name of the model, where the defaults do not do well on the checkerboard."""
OPT: dict[str, dict[str, Any]] = {
    "BPRHFT": {"epochs": 12},
    "BPRMF": {"epochs": 15},
    "CATART": {"batch_size": 16, "epochs": 15},  # there are few users, and a kind alone has few rows
    "CDL": {"batch_size": 16, "epochs": 12},  # rows are items, of which there are few
    "CKE": {"epochs": 20},
    "VBPR": {"epochs": 15},
    "DSSM": {"epochs": 16},  # angles between towers take off late: after 8 epochs half of the seeds know nothing yet
    "DeepCoNN": {"batch_size": 16, "hyper_params": {"lr": 0.003}},
    "DualNet": {"batch_size": 16},
    "SMF": {"batch_size": 16, "epochs": 20},
    "JRL": {"epochs": 12},
    "eJRL": {"epochs": 12},
    "DCNv2": {"epochs": 4},
    "DIN": {"epochs": 4},
    "FinalMLP": {"epochs": 4},
    "GRU4Rec": {"batch_size": 8, "epochs": 20, "hyper_params": {"lr": 0.02}},  # rows are users, of which there are few
    "SASRec": {"batch_size": 8, "epochs": 12},
    "GAMTCDR": {"batch_size": 16, "hyper_params": {"lr": 0.03}},  # walks start from few nodes
    "Item2Vec": {"epochs": 15, "hyper_params": {"lr": 0.03}},
    "CB2CF": {"epochs": 15, "hyper_params": {"lr": 0.03}},
    "MISSRec": {"batch_size": 8, "epochs": 12},
    "PGG": {"epochs": 15, "hyper_params": {"lr": 0.03}},
    "UniSRec": {"batch_size": 8, "epochs": 12},
    "VQRec": {"batch_size": 8, "epochs": 12},
    "UniEmbedding": {  # rows are users, of whom there are few
        "batch_size": 16,
        "epochs": 2,
        "stages": {"item2vec": {"batch_size": 64, "epochs": 15, "hyper_params": {"lr": 0.03}}},
    },
}
"""The same for the section opt."""
QUICK: dict[str, Any] = {"hyper_params": {"lr": 0.01}, "epochs": 8, "batch_size": 64, "early_stop": None}

ADDITIVE = {"LR", "Popularity"}
"""Models without a product of user and item, which cannot learn who likes what, only how popular items are."""
IMPERSONAL = {"Popularity"}
"""Models that score an item alike for every user."""
UNTRAINED = {"TextVectors"}
"""Models that take over vectors of items as they are, and learn nothing from the rows."""
SEEDLESS = {"CoOccurrence", "EASE", "ItemKNN", "Popularity", "TextVectors"}
"""Models in closed form: nothing is drawn, and an untrained one scores everything 0."""

ANSWER_UNKNOWN_USERS = {
    "BPRHFT",
    "BPRMF",
    "CATART",
    "CB2CF",
    "CDL",
    "CKE",
    "CMF",
    "CoOccurrence",
    "DMF",
    "DualNet",
    "DURation",
    "EASE",
    "FISM",
    "FREEDOM",
    "eJRL",
    "GRU4Rec",
    "Item2Vec",
    "ItemKNN",
    "JRL",
    "LightGCN",
    "MISSRec",
    "MPF",
    "NAIS",
    "PGG",
    "SASRec",
    "TextVectors",
    "UniEmbedding",
    "VBPR",
    "SMF",
    "UAE",
    "UniSRec",
    "VQRec",
    "WMF",
}
"""Models that answer from a history alone."""

each_model = pytest.mark.parametrize("name", MODELS)


def built(name: str, train: RecData, seed: int = 0, **settings: Any) -> BaseModel:
    cls = find_model(name)
    torch.manual_seed(seed)
    return cls(cls.Config(**SETTINGS.get(name, {}) | settings), train)


def options(model: str, **changes: Any) -> OptSettings:
    return OptSettings.model_validate(QUICK | OPT.get(model, {}) | changes)


def trained(name: str, train: RecData, seed: int = 0, **opt: Any) -> BaseModel:
    model = built(name, train, seed)
    Trainer(options(name, **opt), seed, no_metric).fit(model, train)
    return model


def no_metric(model: BaseModel) -> dict[str, float]:
    return {}


def pairs(part: RecData) -> tuple[Tensor, Tensor]:
    x = part.interactions
    return torch.from_numpy(x.user).long(), torch.from_numpy(x.item).long()


def all_pairs(data: RecData) -> tuple[Tensor, Tensor]:
    user, item = torch.meshgrid(torch.arange(data.n_users), torch.arange(data.n_items), indexing="ij")
    return user.flatten(), item.flatten()


def scored(model: BaseModel, data: RecData) -> Tensor:
    return scores(model, *all_pairs(data)).view(data.n_users, data.n_items)


def margin(score: Tensor, label: np.ndarray) -> float:
    """Mean score of the positives, less that of the others."""
    positive = torch.from_numpy(label > 0)
    return float(score[positive].mean() - score[~positive].mean())


def with_labels(data: RecData, label: np.ndarray | None) -> RecData:
    return data.with_interactions(replace(data.interactions, label=label))


def same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def weights(model: BaseModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


class Drawn:
    """A sampler whose epochs are those of a function."""

    def __init__(self, data: RecData, epoch: Callable[[Draw], Iterator[Any]]) -> None:
        self.data, self.epoch = data, epoch


@pytest.fixture(scope="module")
def ready(board: Split) -> Callable[[str], BaseModel]:
    """A trained model of each name, trained once for all tests that only look at it."""
    kept: dict[str, BaseModel] = {}

    def get(name: str) -> BaseModel:
        if name not in kept:
            kept[name] = trained(name, board.train)
        return kept[name]

    return get


# -------------------------------------------------------------------------------------- it learns


@each_model
def test_a_hidden_positive_item_outranks_a_hidden_negative_one(
    name: str, board: Split, make_board: Callable[..., Split], ready: Callable
):
    if name in UNTRAINED:
        pytest.skip("learns nothing")
    if name in ADDITIVE:
        board = make_board(agreed=True)
    model = trained(name, board.train) if name in ADDITIVE else ready(name)
    measured = Evaluator(["auc"]).measure(model, board.test)
    assert min(measured.values()) > 0.9, measured


@each_model
@pytest.mark.parametrize("who", ["user", "item"])
def test_number_zero_is_a_user_and_an_item_like_any_other(
    name: str, who: str, board: Split, make_board: Callable[..., Split], ready: Callable
):
    """With its training labels turned round, number 0 is scored the other way round, as far as number 5 is."""
    if name in UNTRAINED:
        pytest.skip("learns nothing")
    model = ready(name)
    if name in IMPERSONAL:  # where half the users like an item and half do not, turning them changes nothing
        board = make_board(agreed=True)
        model = trained(name, board.train)
    x, moved = board.train.interactions, {}
    for number in (0, 5):
        its = getattr(x, who) == number
        turned = trained(name, with_labels(board.train, np.where(its, 1 - x.label, x.label).astype(np.float32)))
        user, item = (a[torch.from_numpy(its)] for a in pairs(board.train))
        if name in IMPERSONAL:
            moved[number] = float((scores(model, user, item) - scores(turned, user, item)).abs().mean())
            continue
        before, after = (margin(scores(m, user, item), x.label[its]) for m in (model, turned))
        moved[number] = before - after
    assert moved[0] > 0.5 * moved[5] > 0


@each_model
def test_a_new_user_and_new_items_have_finite_scores(name: str, board: Split, ready: Callable):
    score = scored(ready(name), board.train)
    rows = board.train.interactions
    assert not np.isin(board.train.n_users - 1, rows.user) and len(np.unique(rows.item)) < board.train.n_items
    assert torch.isfinite(score).all()


@each_model
def test_a_ranker_scores_queries_of_known_users_as_pairs(name: str, board: Split, ready: Callable):
    model, n = ready(name), board.train.n_users
    with torch.no_grad():
        ranked = model.ranker()(Queries(torch.arange(n).flip(0)))
    torch.testing.assert_close(ranked.flip(0), scored(model, board.train).view(n, -1), rtol=1e-4, atol=1e-5)


@each_model
def test_a_history_stands_for_an_unknown_user_or_is_refused(name: str, board: Split, ready: Callable):
    """The training rows of a known user, as the history of an unknown one, find the positives that were held out."""
    model, train = ready(name), board.train
    queries = Queries(torch.full((train.n_users,), -1), Sequences.of(train, train.interactions, train.n_users))
    if name in IMPERSONAL:
        return
    with torch.no_grad():
        if name not in ANSWER_UNKNOWN_USERS:
            with pytest.raises(UnknownUserError):
                model.ranker()(queries)
            return
        score = model.ranker()(queries)
    user, item = pairs(board.test)
    assert margin(score[user, item], board.test.interactions.label) > 0
    if not {"id", "columns"} & set(model.reads.user):  # nothing but the history: the same scores to the last digits
        torch.testing.assert_close(score, scored(model, train), rtol=1e-4, atol=1e-5)


@each_model
def test_the_answer_to_a_query_depends_on_no_other_query(name: str, board: Split, ready: Callable):
    if name not in ANSWER_UNKNOWN_USERS:
        pytest.skip("answers for known users alone")
    train, rows = board.train, torch.tensor([5, 2, 9])
    history = Sequences.of(train, train.interactions, train.n_users)
    with torch.no_grad():
        ranker = ready(name).ranker()
        together = ranker(Queries(torch.tensor([-1, 2, -1]), history.take(rows)))
        alone = [ranker(Queries(torch.tensor([-1]), history.take(rows[[i]]))) for i in (0, 2)]
    torch.testing.assert_close(together[[0, 2]], torch.cat(alone), rtol=1e-4, atol=1e-5)


@each_model
def test_new_items_with_different_columns_have_different_scores(name: str, board: Split, ready: Callable):
    model = ready(name)
    if not any(isinstance(m, Fields | WideLinear) for m in model.modules()):
        pytest.skip("reads no columns")
    score = scored(model, board.train)[np.unique(board.train.interactions.user)]  # of a new user CDL knows nothing
    for table in board.train.kinds.values():
        one, other = score[:, table.stop - 2], score[:, table.stop - 1]
        assert (one - other).abs().min() > 1e-4


# ------------------------------------------------------------------------------ weights and losses


def strays(loss: Tensor, owned: set[int]) -> tuple[list[tuple[int, ...]], int]:
    """Shapes of the weights that the loss depends on and that are not owned, and how many are."""
    seen, todo, out, found = set(), [loss.grad_fn], [], 0
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found += 1
            if id(node.variable) not in owned:
                out.append(tuple(node.variable.shape))
        todo += [before for before, _ in node.next_functions]
    return out, found


@each_model
def test_every_weight_in_the_loss_is_owned_by_the_model(name: str, board: Split):
    model = built(name, board.train)
    owned = {id(p) for p in model.parameters()}
    for stage in model.stages(board.train):
        assert all(id(p) in owned for p in stage.params)
        if stage.loss is None:
            continue
        draw = Draw(32, torch.Generator().manual_seed(0), torch.device("cpu"))
        for batch in stage.sampler.epoch(draw):
            terms = stage.loss(batch)
            assert all(term.shape == () and torch.isfinite(term) for term in terms.values())
            stray, found = strays(torch.stack(list(terms.values())).sum(), owned)
            assert found and not stray, f"{stage.name}: weights of these shapes are not the model's: {stray}"


@each_model
def test_every_weight_is_moved_by_some_stage(name: str, board: Split):
    before = weights(built(name, board.train))
    model = trained(name, board.train, epochs=1)
    still = [n for n, p in model.named_parameters() if torch.equal(before[n], p)]
    assert not still


@each_model
def test_the_stages_are_of_the_groups_that_settings_may_name(name: str, board: Split):
    model = built(name, board.train)
    stages = list(model.stages(board.train))
    assert {s.group for s in stages} == set(model.stage_groups)
    assert len({s.name for s in stages}) == len(stages)


# ------------------------------------------------------------------------------------- it repeats


@each_model
def test_the_same_seed_gives_the_same_scores_bit_for_bit(name: str, board: Split, ready: Callable):
    torch.rand(7)  # what others drew before must not matter
    np.random.seed(5)  # noqa: NPY002
    again = trained(name, board.train)
    assert torch.equal(scored(again, board.train), scored(ready(name), board.train))
    other = trained(name, board.train, seed=1)
    assert torch.equal(scored(other, board.train), scored(again, board.train)) == (name in SEEDLESS)


@each_model
def test_a_saved_model_once_loaded_scores_the_same_bit_for_bit(
    name: str, board: Split, ready: Callable, tmp_path: Path
):
    model, checkpoints = ready(name), Checkpoints(tmp_path)
    checkpoints.save_best(model, {"epoch": "1"})
    checkpoints.save_last({"model": model.state_dict()})
    best, last = built(name, board.train, seed=9), built(name, board.train, seed=9)
    assert not torch.equal(scored(best, board.train), scored(model, board.train))
    checkpoints.load_best(best)
    load_into(last, checkpoints.load_last(torch.device("cpu"))["model"], checkpoints.last)
    assert torch.equal(scored(best, board.train), scored(model, board.train))
    assert torch.equal(scored(last, board.train), scored(model, board.train))


@each_model
def test_weights_of_other_data_are_refused(name: str, board: Split, ready: Callable, tmp_path: Path):
    if not find_model(name).reads.user | find_model(name).reads.item:
        pytest.skip("reads texts of rows alone, so that no weight is of a user or item")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(ready(name), {})
    last = list(board.train.kinds)[-1]
    table = board.train.kinds[last]
    columns = {key: column.take(np.arange(table.count - 1)) for key, column in table.columns.items()}
    kinds = {**board.train.kinds, last: replace(table, count=table.count - 1, columns=columns)}  # its last item is new
    other = replace(board.train, users=Table(board.train.n_users + 1), kinds=kinds)
    with pytest.raises(CheckpointError, match="does not fit this model"):
        checkpoints.load_best(built(name, other))


class Killed(BaseException):
    """Stands for a process that is no more: nothing is saved on the way out."""


class KillAfter(Progress):
    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def epoch(self, row: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class Steps:
    """Counts the steps of a model's training, and presses Ctrl-C in one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.done, self.stop_at = 0, stop_at

    def count(self) -> None:
        self.done += 1
        if self.done == self.stop_at:
            signal.raise_signal(signal.SIGINT)

    def watch(self, model: BaseModel) -> BaseModel:
        stages = model.stages

        def watched(data: RecData) -> Iterator[Stage]:
            for stage in stages(data):
                yield replace(stage, sampler=self._sampler(stage), solve=self._solve(stage))

        model.stages = watched  # type: ignore[method-assign]
        return model

    def _sampler(self, stage: Stage) -> Any:
        def epoch(draw: Draw) -> Iterator[Any]:
            for batch in stage.sampler.epoch(draw):
                self.count()
                yield batch

        return stage.sampler and Drawn(stage.sampler.data, epoch)

    def _solve(self, stage: Stage) -> Any:
        def solve() -> float:
            self.count()
            return stage.solve()

        return stage.solve and solve


def with_dropout(name: str, chance: float) -> dict[str, Any]:
    """Settings that set every dropout and every noise the model has."""
    names = ("dropout", "noise", "user_noise", "item_noise", "pretrain_noise", "adapter_dropout", "gate_noise")
    settings = {"history": {"dropout": chance}} | dict.fromkeys(names, chance)
    return {key: value for key, value in settings.items() if key in find_model(name).Config.model_fields}


def resumable(name: str, board: Split, folder: Path, progress: Progress | None = None, **opt: Any) -> Trainer:
    """A trainer with all that has a state: early stopping, a scheduler, momentum, saves less frequent than epochs."""
    more = {
        "epochs": 5,
        "save_step": 2,
        "early_stop": {"metric": "logloss", "stop_step": 4},  # gets better for longer than auc
        "scheduler": {"name": "CosineAnnealingLR", "hyper_params": {"T_max": 7}},
    }
    evaluator = Evaluator(["auc", "logloss"])
    folder.mkdir(exist_ok=True)
    return Trainer(
        options(name, **more | opt), 3, lambda m: evaluator.measure(m, board.valid), Checkpoints(folder), progress
    )


@each_model
@pytest.mark.parametrize("row_wise", [False, True], ids=["adam", "row_wise"])
def test_a_run_that_was_killed_and_resumed_ends_with_the_same_weights(
    name: str, row_wise: bool, board: Split, tmp_path: Path
):
    """With opt.row_wise at fewer places, as nothing but the optimiser's state is another."""
    opt = {"row_wise": True, "early_stop": {"metric": "auc", "stop_step": 4}} if row_wise else {}

    def fresh(seed: int = 0) -> BaseModel:
        return built(name, board.train, seed, **with_dropout(name, 0.2))  # torch's own generator matters

    whole, steps = fresh(), Steps()
    if whole.one_epoch:
        pytest.skip("one sweep is the whole run: there is no state in between")
    resumable(name, board, tmp_path / "whole", **opt).fit(steps.watch(whole), board.train)

    def resumed(folder: Path, state: dict[str, Any]) -> BaseModel:
        model = fresh(seed=8)  # other first weights: all must come from the file
        torch.rand(3)
        resumable(name, board, folder, **opt).fit(model, board.train, state)
        return model

    places = []
    middle = steps.done // 2
    for stop_at in (middle, middle + 1) if row_wise else (1, middle, middle + 1, steps.done - 1):
        folder = tmp_path / f"step{stop_at}"
        model, trainer = fresh(), resumable(name, board, folder, **opt)
        with pytest.raises(Interrupted):
            trainer.fit(Steps(stop_at).watch(model), board.train)
        state = trainer.context.checkpoints.load_last(torch.device("cpu"))
        places.append(state["position"]["step"])
        assert same_weights(weights(resumed(folder, state)), weights(whole)), f"stopped at step {stop_at}"
    assert sum(step > 1 for step in places) or whole.stage_groups == ("solve",)

    for epochs in (3,) if row_wise else (2, 3, 4):
        folder = tmp_path / f"epoch{epochs}"
        trainer = resumable(name, board, folder, KillAfter(epochs), **opt)
        with pytest.raises(Killed):
            trainer.fit(fresh(), board.train)
        if trainer.context.checkpoints.last.exists():
            state = trainer.context.checkpoints.load_last(torch.device("cpu"))
            assert same_weights(weights(resumed(folder, state)), weights(whole)), f"killed after epoch {epochs}"


@each_model
def test_a_run_that_was_over_when_it_was_resumed_stays_as_it_is(name: str, board: Split, tmp_path: Path):
    trainer, model = resumable(name, board, tmp_path), built(name, board.train)
    trainer.fit(model, board.train)
    again = built(name, board.train, seed=8)
    resumable(name, board, tmp_path).fit(again, board.train, trainer.context.checkpoints.load_last(torch.device("cpu")))
    assert same_weights(weights(again), weights(model))


@each_model
def test_validation_and_test_rows_do_not_reach_the_weights(
    name: str, board: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The whole experiment twice, with other validation and test rows the second time."""
    cls = find_model(name)
    run = RunSettings(
        data={"name": "board", "planted": {}},
        model={"name": name},
        opt=options(name, epochs=2),
        path={"output": str(tmp_path), "cache": None},
        device="cpu",
    )
    loaded = config.LoadedConfig(run, cls, cls.Config(**SETTINGS.get(name, {})), {})
    x = board.test.interactions
    turned = with_labels(board.test, 1 - x.label).with_interactions(x.take(np.arange(0, len(x), 3)))
    monkeypatch.setattr(reports, "draw_curves", lambda *args: None)
    ends, results = [], []
    for parts in (board, Split(board.train, turned, board.valid)):
        monkeypatch.setattr(prepare, "load_split", lambda *args, parts=parts: parts)
        before = set(tmp_path.iterdir())
        results.append(pipeline_run.run(loaded, show=False))
        (folder,) = set(tmp_path.iterdir()) - before
        ends.append(Checkpoints(folder).load_last(torch.device("cpu"))["model"])
    assert same_weights(*ends)
    assert results[0]["test"] != results[1]["test"]


# -------------------------------------------------------------------------- what a score depends on


@each_model
def test_a_score_does_not_depend_on_the_batch_it_stands_in(name: str, board: Split, ready: Callable):
    model = ready(name)
    user, item = pairs(board.test)
    with torch.no_grad():
        together = model.score(user, item)
        alone = torch.cat([model.score(u, i) for u, i in zip(user.split(1), item.split(1), strict=True)])
        order = torch.randperm(len(user), generator=torch.Generator().manual_seed(0))
        shuffled = model.score(user[order], item[order])
    assert together.shape == user.shape and together.dtype == torch.float32
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shuffled, together[order], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores(model, user, item), together, rtol=1e-5, atol=1e-5)


@each_model
def test_the_vectors_of_an_inner_product_model_give_its_score(name: str, board: Split, ready: Callable):
    model = ready(name)
    if not isinstance(model, InnerProductModel):
        pytest.skip("its score is no inner product")
    with torch.no_grad():
        left = model.user_vectors(torch.arange(board.train.n_users))
        right = model.item_vectors(torch.arange(board.train.n_items))
        one_by_one = model.score(*all_pairs(board.train)).view(len(left), len(right))
    torch.testing.assert_close(left @ right.T, one_by_one, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def relabelling(board: Split) -> dict[int, np.ndarray]:
    """New numbers of the users, of all items, and of the items of each kind within it, by how many there are."""
    rng = np.random.default_rng(4)
    tables = board.train.kinds.values()
    within = [rng.permutation(t.count) for t in tables]
    items = np.concatenate([t.start + new for t, new in zip(tables, within, strict=True)])
    new = [rng.permutation(board.train.n_users), items, *within]
    assert all(numbers[0] != 0 for numbers in new)
    by_count = {len(numbers): numbers for numbers in new}
    assert len(by_count) == len(new)
    return by_count


def relabelled(data: RecData, new: dict[int, np.ndarray]) -> RecData:
    def rows(table: Table) -> Table:
        old = np.argsort(new[table.count])
        return replace(table, columns={name: c.take(old) for name, c in table.columns.items()})

    x = data.interactions
    moved = replace(x, user=new[data.n_users][x.user].astype(np.int32), item=new[data.n_items][x.item].astype(np.int32))
    kinds = {kind: rows(table) for kind, table in data.kinds.items()}
    return replace(data, users=rows(data.users), kinds=kinds, interactions=moved)


UNNUMBERED = [f"{name}.maps.0.{part}" for name in ("decoder", "decoders") for part in ("weight", "bias")]
"""Weights whose rows are inputs of content, by chance as many as there are users."""


def relabelled_twin(name: str, model: BaseModel, data: RecData, new: dict[int, np.ndarray]) -> BaseModel:
    """A model of the relabelled data whose tables hold the same rows, in their new places."""
    twin = built(name, data, seed=8, **with_dropout(name, 0.0))
    state = {
        key: value[np.argsort(new[len(value)])]
        if value.dim() and len(value) in new and key not in UNNUMBERED
        else value
        for key, value in weights(model).items()
    }
    for key, module in model.named_modules():
        if isinstance(module, PairFields):
            place = np.arange(len(module.table.weight))
            for side, count in (("user", data.n_users), ("item", data.n_items)):
                start = module.id_rows[side]
                place[start : start + count] = start + np.argsort(new[count])
            state[f"{key}.table.weight"] = weights(model)[f"{key}.table.weight"][place]
    twin.load_state_dict(state)
    return twin


DRAWN = Pairs | Joint | ItemPairs | Walks
"""Batches with items that are drawn."""


def renumbered(batch: DRAWN, data: RecData, new: dict[int, np.ndarray]) -> DRAWN:
    user, item = (torch.from_numpy(new[n]) for n in (data.n_users, data.n_items))
    if isinstance(batch, ItemPairs):
        return ItemPairs(item[batch.anchor], item[batch.positive], user[batch.user], item[batch.negative])
    if isinstance(batch, Joint):
        return Joint(renumbered(batch.pairs, data, new), batch.items and Rows(item[batch.items.row]))
    if isinstance(batch, Walks):
        node = torch.cat([user, data.n_users + item])
        return Walks(node[batch.node], node[batch.negative])
    return Pairs(user[batch.user], item[batch.positive], item[batch.negative], batch.row)


def with_draws_of(model: BaseModel, data: RecData, twin: BaseModel, new: dict[int, np.ndarray]) -> BaseModel:
    """The twin, learning from the negatives that are drawn for ``model``, by their new numbers.

    Which items are drawn depends on their numbers, as it does on the seed. Batches without drawn items stay as they
    are: they must be the same for both.
    """
    stages = twin.stages

    def both(own: Stage, stage: Stage) -> Stage:
        def epoch(draw: Draw) -> Iterator[Any]:
            same = replace(draw, generator=draw.generator.clone_state())
            if isinstance(next(own.sampler.epoch(replace(draw, generator=torch.Generator())), None), DRAWN):
                yield from (renumbered(batch, data, new) for batch in own.sampler.epoch(same))
            else:
                yield from stage.sampler.epoch(draw)

        return replace(stage, sampler=stage.sampler and Drawn(stage.sampler.data, epoch))

    twin.stages = lambda moved: map(both, model.stages(data), stages(moved))  # type: ignore[method-assign]
    return twin


@each_model
@pytest.mark.parametrize("epochs", [0, 1], ids=["untrained", "trained"])
def test_relabelled_ids_give_relabelled_scores(
    name: str, epochs: int, board: Split, relabelling: dict[int, np.ndarray]
):
    """No number has a meaning: 0 is no padding, and a position is no feature. Rows come in the same order to both."""
    if name in SEEDLESS and not epochs:
        pytest.skip("an untrained one scores everything 0")
    moved = relabelled(board.train, relabelling)
    model = built(name, board.train, **with_dropout(name, 0.0))
    twin = with_draws_of(model, board.train, relabelled_twin(name, model, moved, relabelling), relabelling)
    if epochs:
        opt = options(name, epochs=epochs, name="SGD", hyper_params={"lr": 0.05})
        for m, data in ((model, board.train), (twin, moved)):
            Trainer(opt, 0, no_metric).fit(m, data)
    user, item = all_pairs(board.train)
    new_user = torch.from_numpy(relabelling[board.train.n_users])[user]
    new_item = torch.from_numpy(relabelling[board.train.n_items])[item]
    expected = scores(model, user, item)
    torch.testing.assert_close(scores(twin, new_user, new_item), expected, rtol=1e-5, atol=1e-5)
    assert (scores(twin, user, item) - expected).abs().max() > 1e-5


@each_model
@pytest.mark.parametrize("cells", CELLS)
def test_every_sort_of_history_cell_can_be_trained_on(name: str, cells: str, board: Split):
    model = trained(name, replace(board.train, feedback=Feedback(cells)), epochs=1)
    assert torch.isfinite(scored(model, board.train)).all()


@each_model
def test_one_kind_alone_and_implicit_rows_can_be_trained_on(name: str, board: Split):
    train = board.train
    if find_model(name).needs.min_kinds == 1:
        film = train.kinds["film"]
        rows = train.only("film").interactions
        rows = replace(rows, item=rows.item - film.start, kind=np.zeros_like(rows.kind))
        alone = replace(train, kinds={"film": replace(film, start=0)}, interactions=rows)
        assert torch.isfinite(scored(trained(name, alone, epochs=1), alone)).all()
    if not find_model(name).needs.ratings:
        positive = train.with_interactions(train.interactions.take(train.interactions.label > 0))
        implicit = replace(with_labels(positive, None), feedback=Feedback("01", negatives=2))
        assert torch.isfinite(scored(trained(name, implicit, epochs=1), implicit)).all()


@each_model
@pytest.mark.parametrize("names", [("type", "items", "a.b"), ("train", "keys", "pop")], ids="-".join)
def test_a_kind_may_have_any_name(name: str, names: tuple[str, str, str], board: Split):
    """Names that torch refuses for a module, or that a dict has for a method; the scores are those of other names."""
    kinds = dict(zip(names, board.train.kinds.values(), strict=True))
    renamed = replace(board.train, kinds=kinds)
    expected = scored(trained(name, board.train, epochs=1), board.train)
    assert torch.equal(scored(trained(name, renamed, epochs=1), renamed), expected)


# ------------------------------------------------------------------------------ settings and needs


@each_model
def test_settings_go_to_json_and_back(name: str):
    cls = find_model(name).Config
    for settings in (cls(), cls(**SETTINGS.get(name, {})), cls(**with_dropout(name, 0.2))):
        assert cls(**json.loads(json.dumps(settings.model_dump(mode="json")))) == settings


@each_model
def test_what_a_model_needs_and_the_data_lacks_is_said_in_a_sentence(name: str, board: Split):
    cls, train = find_model(name), board.train
    without = replace(with_labels(train, None), feedback=Feedback("01"))
    if cls.needs.labels:
        with pytest.raises(ValueError, match=rf"^{cls.__name__} needs .*a label"):
            cls(cls.Config(), without)
    else:
        built(name, without)
    if cls.needs.ratings:
        unrated = train.with_interactions(replace(train.interactions, rating=None))
        with pytest.raises(ValueError, match=rf"^{cls.__name__} needs .*ratings"):
            cls(cls.Config(), unrated)
    if cls.needs.texts:
        silent = train.with_interactions(replace(train.interactions, columns={}))
        with pytest.raises(ValueError, match=rf"^{cls.__name__} needs .*texts of the interactions"):
            cls(cls.Config(), silent)
    if cls.needs.min_kinds > 1:
        alone = replace(train.only("book"), kinds={"book": train.kinds["book"]})
        with pytest.raises(ValueError, match=rf"^{cls.__name__} needs .*kinds"):
            cls(cls.Config(), alone)


def test_needs_name_every_thing_that_is_missing(board: Split):
    needs = Needs(labels=True, ratings=True, texts=True, min_kinds=4, item_columns=("author", "price"))
    bare = board.train.with_interactions(replace(board.train.interactions, label=None, rating=None, columns={}))
    assert needs.missing_from(bare) == [
        "at least 4 kinds of item; 'checkerboard' has 3 (book, music, film)",
        "a label: name the column in data.LABEL_FIELD, or make one with data.label",
        "ratings: name the column in data.RATING_FIELD",
        "texts of the interactions, such as reviews: name their column in data.feat with "
        '"type": "tokens" and "source": "interaction"',
        "item column 'author', which these kinds lack: music, film",
        "item column 'price', which these kinds lack: book, music, film",
    ]
    assert not Needs(labels=True).missing_from(replace(bare, feedback=Feedback("01", negatives=1)))
    assert not Needs(labels=True, ratings=True, texts=True, min_kinds=3).missing_from(board.train)


# ---------------------------------------------------------------------------------- the table itself


@each_model
def test_a_name_in_the_table_leads_to_a_model_that_names_its_source(name: str):
    cls = find_model(name)
    assert issubclass(cls, BaseModel) and cls.__name__ == name
    assert MODELS[name] == f"{cls.__module__}:{cls.__name__}"
    own = vars(cls).get("__doc__") or ""
    about = f"{sys.modules[cls.__module__].__doc__}\n{own}"
    assert own and re.search(r"\b(19|20)\d\d\b", about), "the docstring names no paper with its year"
    assert vars(cls)["Config"].__doc__


@each_model
def test_some_file_in_configs_names_the_model_and_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    files = [p for p in sorted(Path("configs").rglob("*.json")) if p.parent.name not in ("data", "sweeps")]
    own = [p for p in files if json.loads(p.read_text())["model"]["name"] == name]
    assert own
    for path in own:
        loaded = config.load(str(path), find_model)
        assert loaded.model_class is find_model(name) and not loaded.warnings


def test_every_model_file_is_in_the_table():
    """A class that can be built and is in no row of the table cannot be reached from a settings file."""
    listed = {find_model(name) for name in MODELS}
    found = set()
    for path in (ROOT / "hrec" / "models").rglob("*.py"):
        if "layers" not in path.parts:
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
            found |= {v for v in vars(module).values() if isinstance(v, type) and issubclass(v, BaseModel)}
    assert {cls for cls in found if not cls.__abstractmethods__} == listed


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(KeyError, match=r"no model called 'duratoin'\. Did you mean 'DURation'"):
        find_model("duratoin")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_which_columns_of_interactions_it_leaves_unread(name: str, board: Split):
    x = board.train.interactions
    columns = {**x.columns, "hour": Numeric(np.zeros(len(x), np.float32)), PROBABILITY: Numeric(np.ones(len(x)))}
    texts = text_columns_of_rows(board.train)
    data = board.train.with_interactions(replace(x, columns=columns, time=None))
    said = "columns of interactions are not read: "
    (line,) = (line.removeprefix(said) for line in built(name, data).remarks if line.startswith(said))
    unread = [] if "texts" in find_model(name).reads.interaction else texts
    assert set(line.split(", ")) == {*unread, "hour"}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_sequences_says_what_it_takes_for_the_order_of_time(name: str, board: Split):
    for time in (None, np.arange(len(board.train.interactions), dtype=np.float64)):
        data = board.train.with_interactions(replace(board.train.interactions, time=time))
        said = [
            line for line in built(name, data).remarks if "the order of its rows counts as the order of time" in line
        ]
        assert len(said) == (time is None and "sequence" in find_model(name).reads.user)


def test_the_models_that_the_message_of_unknown_users_names_answer_for_them():
    text = inspect.getsource(answering)
    named = [name for name in MODELS if re.search(rf"\b{name}\b", text)]
    assert len(named) >= 3 and set(named) <= ANSWER_UNKNOWN_USERS


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_a_use_for_columns_says_which_it_leaves_unread(name: str, board: Split):
    data = board.train
    names = {column for table in (data.users, *data.kinds.values()) for column in table.columns}
    said = [line for line in built(name, data).remarks if line.startswith("columns are not read: ")]
    model = find_model(name)
    unread = set(data.users.columns) if "columns" not in model.reads.user else set()
    unread |= names if "columns" not in model.reads.item else set()
    assert len(said) == bool(unread) and all(column in line for line in said for column in unread)
