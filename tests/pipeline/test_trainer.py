"""The loop, its optimisers and schedulers, stages, early stopping, and going on after an interruption."""

from __future__ import annotations

import copy
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hrec
from hrec.config import ConfigError
from hrec.datasets import planted
from hrec.datasets.batches import Draw
from hrec.datasets.recdata import Interactions, RecData, Table, TrainData
from hrec.datasets.samplers import Pointwise
from hrec.datasets.sequence_samplers import NextItem
from hrec.models.base import BaseModel, Stage
from hrec.models.general.dmf import DMF
from hrec.models.layers.bags import EmbeddingTable
from hrec.pipeline.checkpoints import Checkpoints
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.optimizers import Optimizers, RowWiseAdam, Scheduler, clip_gradients
from hrec.pipeline.records import Progress
from hrec.pipeline.stage_run import LOG_EVERY, DivergedError, Interrupted, no_batch
from hrec.pipeline.trainer import Trainer
from hrec.settings import OptSettings, Settings, StageSettings

CPU = torch.device("cpu")


class Recorder(Progress):
    """Keeps what the trainer reports."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.started: list[tuple[str, int, int]] = []
        self.counted = 0
        self.said: list[str] = []

    def say(self, line):
        self.said.append(line)

    def start_epoch(self, stage, epoch, epochs, done=0):
        self.started.append((stage, epoch, epochs))

    def steps(self, count, losses):
        self.counted += count

    def epoch(self, row):
        self.rows.append(dict(row))


class Killed(BaseException):
    """Stands for kill -9: nothing is saved on the way out."""


class Drawn:
    """A sampler whose epochs are those of a function."""

    def __init__(self, data: TrainData, epoch: Callable[[Draw], Iterator[Tensor]]) -> None:
        self.data, self.epoch = data, epoch


class Toy(BaseModel):
    """Two layers with dropout, fitted one after the other to a fixed target, then a number solved in sweeps."""

    class Config(Settings):
        pass

    stage_groups = ("first", "second", "solve")

    def __init__(self, only: tuple[str, ...] = ("first", "second", "solve")) -> None:
        super().__init__(self.Config(), NOTHING)
        torch.manual_seed(0)
        self.a = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.3))
        self.b = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.3))
        self.register_buffer("solved", torch.zeros(()))
        self.solved: Tensor
        self.only = only
        self.events: list[tuple[str, bool, bool]] = []
        self.then_weights: dict[str, dict[str, Tensor]] = {}
        self.steps = {"first": 0, "second": 0, "solve": 0}
        self.on_step: Callable[[str, int], None] = lambda stage, step: None
        self.poison: tuple[int, float] | None = None

    def stages(self, data):
        every = {
            "first": Stage("first", self.loss_a, Drawn(data, self.draw), self.a.parameters(), group="first"),
            "second": Stage("second", self.loss_b, Drawn(data, self.draw), self.b.parameters(), group="second"),
            "solve": Stage("solve", solve=self.sweep, group="solve"),
        }
        for name in self.only:
            stage = every[name]
            yield Stage(**{**vars(stage), "then": lambda name=name: self.then(name)})

    def then(self, name: str) -> None:
        self.then_weights[name] = copy.deepcopy(self.state_dict())

    def draw(self, draw: Draw) -> Iterator[Tensor]:
        for rows in torch.randperm(40, generator=draw.generator).split(draw.batch_size):
            yield INPUTS[rows]

    def loss_a(self, x: Tensor) -> dict[str, Tensor]:
        return self._terms("first", self.a(x), x)

    def loss_b(self, x: Tensor) -> dict[str, Tensor]:
        return self._terms("second", self.b(self.a(x)), x)

    def _terms(self, stage: str, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        self.events.append((stage, self.a.training, self.b.training))
        self._count(stage)
        miss = (out - x @ TARGET).square().mean()
        if self.poison and self.steps[stage] == self.poison[0]:
            miss = miss * self.poison[1]
        return {"fit": miss, "small": 0.01 * out.square().mean()}

    def _count(self, stage: str) -> None:
        self.steps[stage] += 1
        self.on_step(stage, self.steps[stage])

    def sweep(self) -> float:
        self._count("solve")
        self.solved += torch.rand(()) + 1  # what is drawn differs from sweep to sweep
        return 1 / float(self.solved)

    def score(self, user, item):
        return torch.zeros(len(user))


NOTHING = TrainData(
    Table(1), {"item": Table(1)}, Interactions(np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(1, np.int16))
)
INPUTS = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
TARGET = torch.randn(3, 3, generator=torch.Generator().manual_seed(2))


def opt(**changes: Any) -> OptSettings:
    toy = {"hyper_params": {"lr": 0.05}, "epochs": 4, "batch_size": 8, "save_step": 1, "early_stop": None}
    return OptSettings(**toy | changes)


def trainer(settings: OptSettings, folder: Path | None = None, measure: Any = None, **more: Any) -> Trainer:
    return Trainer(
        settings, 0, measure or (lambda model: {"auc": 0.5}), Checkpoints(folder) if folder else None, **more
    )


def fit(model: BaseModel, settings: OptSettings, folder: Path | None = None, measure: Any = None) -> Recorder:
    recorder = Recorder()
    trainer(settings, folder, measure, progress=recorder).fit(model, NOTHING)
    return recorder


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def tiny() -> TrainData:
    return TrainData.of(planted.make("tiny", 0).data)


def dmf(data: RecData) -> DMF:
    widths = {"user_emb_size": 8, "item_emb_size": 8, "user_hidden_size_list": (8,), "item_hidden_size_list": (8,)}
    torch.manual_seed(0)
    return DMF(DMF.Config(**widths, dropout=0.0, history={"dropout": 0.0}), data)


# ----------------------------------------------------------------------------------------- optimisers


def test_row_wise_with_another_optimiser_than_adam_is_refused():
    with pytest.raises(ValueError, match="'row_wise' is a form of Adam"):
        opt(name="SGD", row_wise=True)
    with pytest.raises(ValueError, match="'row_wise' has no 'amsgrad'"):
        opt(row_wise=True, hyper_params={"lr": 0.001, "amsgrad": True})


@pytest.mark.parametrize(
    ("name", "hyper", "row_wise"),
    [
        ("Adam", {"lr": 0.01}, False),
        ("Adam", {"lr": 0.01}, True),
        ("AdamW", {"lr": 0.01, "weight_decay": 0.01}, False),
        ("Adagrad", {"lr": 0.05}, False),
        ("Adadelta", {"lr": 1.0}, False),
        ("SGD", {"lr": 0.05, "momentum": 0.9}, False),
        ("RMSprop", {"lr": 0.005}, False),
    ],
)
def test_every_optimiser_brings_the_loss_down(tiny, name, hyper, row_wise):
    recorder = Recorder()
    settings = opt(name=name, hyper_params=hyper, row_wise=row_wise, epochs=5, batch_size=256)
    model = dmf(tiny)
    before = copy.deepcopy(model.state_dict())
    trainer(settings, progress=recorder).fit(model, tiny)
    losses = [row["loss"] for row in recorder.rows]
    assert losses[-1] < losses[0] - 0.005
    assert all(not torch.equal(value, before[key]) for key, value in model.state_dict().items())


def sparse(rows: list[int], values: list[list[float]], size: int) -> Tensor:
    return torch.sparse_coo_tensor(
        torch.tensor([rows]), torch.tensor(values), (size, len(values[0])), check_invariants=True
    )


def test_row_wise_adam_takes_the_two_steps_worked_by_hand():
    weight = nn.Parameter(torch.zeros(3, 2))
    adam = RowWiseAdam([weight], lr=0.1, beta=0.5, eps=0.0)
    # row 0: v = 0.5 * mean(9, 16) = 6.25, corrected by 1 - 0.5: 12.5, so the step is 0.1 / sqrt(12.5)
    weight.grad = sparse([0], [[3.0, 4.0]], 3)
    adam.step()
    torch.testing.assert_close(weight.data, torch.tensor([[-0.0848528, -0.1131371], [0, 0], [0, 0]]))
    # row 0: v = 0.5 * 6.25 + 0.5 * 1 = 3.625, corrected by 1 - 0.25: 29 / 6. row 1 takes its first step: v -> 2
    weight.grad = sparse([0, 1], [[1.0, 1.0], [0.0, 2.0]], 3)
    adam.step()
    second = 0.1 / math.sqrt(29 / 6)
    expected = [[-0.0848528 - second, -0.1131371 - second], [0, -0.2 / math.sqrt(2)], [0, 0]]
    torch.testing.assert_close(weight.data, torch.tensor(expected))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_row_wise_adam_equals_a_plain_loop_over_rows(decay):
    g = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(6, 4, generator=g))
    adam = RowWiseAdam([weight], lr=0.03, beta=0.9, eps=1e-6, weight_decay=decay)
    w, v, n = weight.detach().double().numpy().copy(), np.zeros(6), np.zeros(6)
    for _ in range(20):
        rows = torch.randperm(6, generator=g)[:3].sort().values
        values = torch.randn(3, 4, generator=g)
        weight.grad = torch.sparse_coo_tensor(rows[None], values.clone(), (6, 4), check_invariants=True)
        adam.step()
        for row, given in zip(rows.tolist(), values.double().numpy(), strict=True):
            gradient = given + decay * w[row]
            n[row] += 1
            v[row] = 0.9 * v[row] + 0.1 * (gradient**2).mean()
            w[row] -= 0.03 * gradient / (math.sqrt(v[row] / (1 - 0.9 ** n[row])) + 1e-6)
    np.testing.assert_allclose(weight.detach().numpy(), w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_row_wise_adam_leaves_rows_that_are_not_used_bit_for_bit(decay):
    weight = nn.Parameter(torch.randn(50, 4))
    before = weight.detach().clone()
    adam = RowWiseAdam([weight], weight_decay=decay)
    for _ in range(3):
        weight.grad = sparse([3, 17], [[1.0] * 4, [-1.0] * 4], 50)
        adam.step()
    changed = (weight != before).any(1).nonzero().squeeze(1).tolist()
    assert changed == [3, 17]


@pytest.mark.parametrize("clip", [None, 0.05])
def test_adam_on_sparse_gradients_equals_torchs_adam_on_dense_ones(tiny, clip):
    ours, theirs = dmf(tiny), dmf(tiny)
    for module in theirs.modules():
        if isinstance(module, EmbeddingTable):
            module.weight.dense_up_to = math.inf
    hyper = {"lr": 0.01, "weight_decay": 1e-3}
    optimizers = Optimizers(ours.parameters(), StageSettings(hyper_params=hyper, clip_grad=clip))
    for module in ours.modules():
        if isinstance(module, EmbeddingTable):
            module.weight.dense_up_to = 0.0
    reference = torch.optim.Adam(theirs.parameters(), **hyper)
    for batch in Pointwise(tiny).epoch(Draw(512, torch.Generator().manual_seed(0), CPU)):
        optimizers.zero_grad()
        ours.loss(batch)["bce"].backward()
        optimizers.step()
        reference.zero_grad()
        theirs.loss(batch)["bce"].backward()
        if clip:
            nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        reference.step()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


class Lookup(BaseModel):
    """A table whose rows are read one by one."""

    class Config(Settings):
        pass

    def __init__(self, rows: int) -> None:
        super().__init__(self.Config(), NOTHING)
        self.table = EmbeddingTable(rows, 2, 1.0)

    def stages(self, data):
        yield Stage("train", self.loss, Drawn(data, self.draw), list(self.parameters()))

    def draw(self, draw: Draw) -> Iterator[Tensor]:
        yield torch.arange(draw.batch_size)

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        return {"square": self.table.rows(batch).square().sum()}

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize(("rows", "row_wise", "dense"), [(40, False, True), (41, False, False), (40, True, False)])
def test_small_tables_have_dense_gradients_of_the_same_value(rows: int, row_wise: bool, dense: bool):
    model, index = Lookup(rows), torch.tensor([3, 0, 3, 7, 1])
    settings = {"epochs": 1, "batch_size": 5, "early_stop": None, "row_wise": row_wise, "hyper_params": {"lr": 0.0}}
    Trainer(OptSettings(**settings), 0, lambda m: {}).fit(model, None)
    model.zero_grad()
    model.table.rows(index).square().sum().backward()
    grad = model.table.weight.grad
    assert grad.is_sparse is not dense
    times = torch.bincount(index, minlength=rows)[:, None]
    torch.testing.assert_close(grad.to_dense(), 2 * times * model.table.weight.detach())


def test_clipping_scales_sparse_and_dense_gradients_by_their_joint_norm():
    table, dense, unused = (nn.Parameter(torch.zeros(4, 2)) for _ in range(3))
    table.grad = sparse([1, 3], [[3.0, 0.0], [0.0, 4.0]], 4)
    dense.grad = torch.full((4, 2), 12 / math.sqrt(8))
    clip_gradients([table, dense, unused], 1.3)
    torch.testing.assert_close(table.grad.to_dense(), torch.tensor([[0, 0], [0.3, 0], [0, 0], [0, 0.4]]))
    torch.testing.assert_close(dense.grad, torch.full((4, 2), 1.2 / math.sqrt(8)))
    assert unused.grad is None


def test_clipping_reaches_a_sparse_gradient_that_came_in_two_parts():
    table = nn.Parameter(torch.zeros(3, 1))
    table.grad = sparse([1, 1], [[3.0], [1.0]], 3)
    clip_gradients([table], 2.0)
    torch.testing.assert_close(table.grad.to_dense(), torch.tensor([[0], [2.0], [0]]))


def test_gradients_within_the_norm_are_left_bit_for_bit():
    dense = nn.Parameter(torch.zeros(3))
    dense.grad = torch.tensor([0.1, 0.2, 0.3])
    clip_gradients([dense], 1.0)
    assert dense.grad.tolist() == torch.tensor([0.1, 0.2, 0.3]).tolist()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hyper_params": {"lr": 0.1, "weight_decy": 1}}, r"opt.hyper_params.weight_decy: Adam .*'weight_decay'"),
        ({"hyper_params": {"lr": -1}}, r"opt.hyper_params: Adam refuses"),
        ({"hyper_params": {"lr": None}}, r"opt.hyper_params.lr: should be a number, got null"),
        ({"hyper_params": {"lr": [0.1]}}, r"opt.hyper_params.lr: should be a number, got \[0.1\]"),
        ({"hyper_params": {"betas": [None, 0.9]}}, r"betas: should be a list of numbers, got \[null, 0.9\]"),
        ({"hyper_params": {"betas": 0.9}}, r"opt.hyper_params.betas: should be a list of 2 numbers, got 0.9"),
        ({"hyper_params": {"betas": [0.9]}}, r"opt.hyper_params.betas: should be a list of 2 numbers, got \[0.9\]"),
        ({"name": "SGD", "hyper_params": {"lr": 0.1, "betas": [0.9, 0.9]}}, r"opt.hyper_params.betas: SGD has no such"),
    ],
)
def test_wrong_hyper_parameters_of_an_optimiser_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Optimizers([nn.Parameter(torch.zeros(2))], StageSettings(**settings))


# ------------------------------------------------------------------------------------------ schedulers


def test_step_lr_changes_the_learning_rate_after_its_epochs():
    rows = fit(Toy(("first",)), opt(scheduler={"name": "StepLR", "hyper_params": {"step_size": 2, "gamma": 0.1}})).rows
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.05, 0.005, 0.005])


def test_reduce_on_plateau_changes_the_learning_rate_once_the_metric_gets_no_better():
    values = iter([0.6, 0.7, 0.7, 0.7, 0.7, 0.7])
    settings = opt(
        epochs=6,
        early_stop={"metric": "auc", "stop_step": 100},
        scheduler={"name": "ReduceLROnPlateau", "hyper_params": {"patience": 1, "factor": 0.5}},
    )
    rows = fit(Toy(("first",)), settings, measure=lambda model: {"auc": next(values)}).rows
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.05, 0.05, 0.05, 0.025, 0.025])


@pytest.mark.parametrize(
    ("scheduler", "more", "sentence"),
    [
        ({"name": "StepLR", "hyper_params": {"step_sise": 2}}, {}, "opt.scheduler.hyper_params.step_sise.*'step_size'"),
        ({"name": "StepLR"}, {}, "opt.scheduler: StepLR refuses .*step_size"),
        ({"name": "ReduceLROnPlateau"}, {"early_stop": None}, "watches the metric of opt.early_stop"),
        ({"name": "ReduceLROnPlateau", "hyper_params": {"mode": "min"}}, {}, "maximal; leave the key out"),
    ],
)
def test_wrong_hyper_parameters_of_a_scheduler_are_refused(scheduler, more, sentence):
    settings = StageSettings(scheduler=scheduler, **more)
    with pytest.raises(ConfigError, match=sentence):
        Scheduler(Optimizers([nn.Parameter(torch.zeros(2))], settings), settings)


SCHEDULERS = {
    "ReduceLROnPlateau": {"patience": 0},
    "StepLR": {"step_size": 1},
    "MultiStepLR": {"milestones": [1, 3]},
    "ExponentialLR": {"gamma": 0.5},
    "CosineAnnealingLR": {"T_max": 4},
    "LinearLR": {"total_iters": 3},
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_resumed_run_goes_on_with_the_learning_rate_where_it_was(tmp_path, name):
    settings = opt(
        epochs=5,
        early_stop={"metric": "auc", "stop_step": 100},
        scheduler={"name": name, "hyper_params": SCHEDULERS[name]},
    )
    whole = fit(Toy(("first",)), settings, tmp_path)
    broken = Toy(("first",))
    broken.on_step = kill_at("first", 12)
    with pytest.raises(Killed):
        fit(broken, settings, tmp_path)
    rest = Recorder()
    trainer(settings, tmp_path, progress=rest).fit(Toy(("first",)), NOTHING, Checkpoints(tmp_path).load_last(CPU))
    assert [r["lr"] for r in rest.rows] == [r["lr"] for r in whole.rows[2:]]
    assert len({r["lr"] for r in whole.rows}) > 1


# ---------------------------------------------------------------------------------------------- stages


def kill_at(stage: str, step: int) -> Callable[[str, int], None]:
    """Kills the run in the loss (or the sweep) of the step of this number of the stage."""

    def on_step(name: str, count: int) -> None:
        if (name, count) == (stage, step):
            raise Killed

    return on_step


def test_a_stage_moves_its_own_weights_alone_and_keeps_the_others_in_evaluation_mode():
    model = Toy(("first", "second"))
    start = copy.deepcopy(model.state_dict())
    rows = fit(model, opt()).rows
    after_first, after_second = model.then_weights["first"], model.then_weights["second"]
    moved_first = {name for name in start if not torch.equal(start[name], after_first[name])}
    moved_second = {name for name in start if not torch.equal(after_first[name], after_second[name])}
    assert moved_first == {"a.0.weight", "a.0.bias"} and moved_second == {"b.0.weight", "b.0.bias"}
    # the dropout of a layer whose weights stand still is off too
    assert {e for e in model.events if e[0] == "first"} == {("first", True, False)}
    assert {e for e in model.events if e[0] == "second"} == {("second", False, True)}
    assert [(r["stage"], r["epoch"]) for r in rows] == [(s, e) for s in ("first", "second") for e in (1, 2, 3, 4)]
    assert all(p.requires_grad for p in model.parameters()) and not model.training


def test_then_is_called_once_a_stage_is_over_with_its_best_weights_in_place(tmp_path):
    values, seen = iter([0.5, 0.9, 0.6, 0.7]), []

    def measure(model: Toy) -> dict[str, float]:
        seen.append(copy.deepcopy(model.state_dict()))
        return {"auc": next(values)}

    model = Toy(("first",))
    fit(model, opt(early_stop={"metric": "auc"}), tmp_path, measure)
    assert list(model.then_weights) == ["first"]
    assert all(torch.equal(value, seen[1][name]) for name, value in model.then_weights["first"].items())


class Seeded(Toy):
    """Stages whose draws are seeded by a number of their own."""

    def stages(self, data):
        for stage in super().stages(data):
            yield replace(stage, stream=7)


@pytest.mark.parametrize(("model", "same"), [(Seeded, True), (Toy, False)])
def test_a_stage_with_a_stream_draws_the_same_in_every_position(model: type[Toy], same: bool):
    alone, second = model(("solve",)), model(("first", "solve"))
    for one in (alone, second):
        fit(one, opt())
    assert torch.equal(alone.solved, second.solved) == same


def test_a_group_of_stages_has_its_own_settings():
    groups = {"second": {"epochs": 2, "batch_size": 40, "hyper_params": {"lr": 0.5}}, "solve": {"epochs": 3}}
    recorder = fit(Toy(), opt(stages=groups))
    count = {stage: [r for r in recorder.rows if r["stage"] == stage] for stage in ("first", "second", "solve")}
    assert {stage: len(rows) for stage, rows in count.items()} == {"first": 4, "second": 2, "solve": 3}
    assert {r["lr"] for r in count["second"]} == {0.5} and {r["lr"] for r in count["first"]} == {0.05}
    assert recorder.counted == 4 * 5 + 2 * 1


def test_a_solved_stage_sweeps_once_an_epoch_and_stops_early_like_any_other(tmp_path):
    values = iter([0.5, 0.6, 0.6, 0.6])
    model = Toy(("solve",))
    settings = opt(epochs=9, early_stop={"metric": "auc", "stop_step": 2})
    rows = fit(model, settings, tmp_path, lambda m: {"auc": next(values)}).rows
    assert len(rows) == 4 and [r["best"] for r in rows] == [True, True, False, False]
    assert model.solved == torch.tensor(1 / rows[1]["loss"])  # the best sweep's, brought back
    assert all(r["lr"] == 0.0 for r in rows)


def test_early_stopping_brings_back_the_best_weights(tmp_path):
    values, seen = iter([0.5, 0.7, 0.8, 0.6, 0.8, 0.1]), []

    def measure(model: Toy) -> dict[str, float]:
        seen.append(copy.deepcopy(model.state_dict()))
        return {"auc": next(values)}

    model = Toy(("first",))
    rows = fit(model, opt(epochs=50, early_stop={"metric": "auc", "stop_step": 3}), tmp_path, measure).rows
    assert [row["best"] for row in rows] == [True, True, True, False, False, False]
    assert all(torch.equal(value, seen[2][name]) for name, value in model.state_dict().items())
    assert not torch.equal(seen[2]["a.0.weight"], seen[5]["a.0.weight"])


def test_a_metric_that_is_better_when_small_is_watched_downwards(tmp_path):
    values = iter([0.5, 0.4, 0.6, 0.7])
    settings = opt(epochs=50, early_stop={"metric": "logloss", "stop_step": 2})
    rows = fit(Toy(("first",)), settings, tmp_path, lambda m: {"logloss": next(values)}).rows
    assert [row["best"] for row in rows] == [True, True, False, False]


def test_weights_are_measured_every_eval_step_and_after_the_last_epoch():
    rows = fit(Toy(("first",)), opt(epochs=5, eval_step=2)).rows
    assert [row["epoch"] for row in rows if "auc" in row] == [2, 4, 5]


def test_a_stage_that_is_not_measured_trains_to_its_end_and_keeps_the_last_weights(tmp_path):
    def never(model: Toy) -> dict[str, float]:
        raise AssertionError("nothing is to be measured")

    model = Toy(("first",))
    (stage,) = model.stages(NOTHING)
    model.stages = lambda data: iter([replace(stage, measured=False)])  # type: ignore[method-assign]
    rows = fit(model, opt(early_stop={"metric": "auc", "stop_step": 1}), tmp_path, never).rows
    plain = Toy(("first",))
    fit(plain, opt())
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4] and "auc" not in rows[0]
    assert same(model, plain) and not (tmp_path / "best.safetensors").exists()


def test_a_scheduler_that_waits_for_a_metric_is_reported_to_do_nothing_in_a_stage_that_is_not_measured():
    def said(measured: bool) -> list[str]:
        model = Toy(("first",))
        (stage,) = model.stages(NOTHING)
        model.stages = lambda data: iter([replace(stage, measured=measured)])  # type: ignore[method-assign]
        plateau = {"name": "ReduceLROnPlateau", "hyper_params": {"patience": 1}}
        return fit(model, opt(early_stop={"metric": "auc", "stop_step": 1}, scheduler=plateau)).said

    assert said(measured=True) == []
    assert "ReduceLROnPlateau does nothing in stage 'first'" in said(measured=False)[0]


# ---------------------------------------------------------------------------------------------- resume


def resume(folder: Path, settings: OptSettings, measure: Any = None) -> tuple[Toy, Recorder]:
    model, recorder = Toy(), Recorder()
    trainer(settings, folder, measure, progress=recorder).fit(model, NOTHING, Checkpoints(folder).load_last(CPU))
    return model, recorder


def by_weights(model: Toy) -> dict[str, float]:
    """A metric that goes up and down, made of the weights, so that it is the same when they are."""
    return {"auc": math.sin(40 * sum(value.sum().item() for value in model.state_dict().values()))}


# 5 steps an epoch
@pytest.mark.parametrize("save_step", [1, 2, 4])
@pytest.mark.parametrize("moment", [("first", 8), ("second", 1), ("second", 13), ("solve", 1), ("solve", 3)])
@pytest.mark.parametrize("early_stop", [None, {"metric": "auc", "stop_step": 3}], ids=["all_epochs", "early_stop"])
def test_a_killed_run_goes_on_to_the_weights_of_one_that_was_not(tmp_path, save_step, moment, early_stop):
    whole_run, broken_run = tmp_path / "whole", tmp_path / "broken"
    whole_run.mkdir()
    broken_run.mkdir()
    settings = opt(save_step=save_step, epochs=6, early_stop=early_stop)
    whole, broken = Toy(), Toy()
    rows = fit(whole, settings, whole_run, by_weights).rows
    broken.on_step = kill_at(*moment)
    with pytest.raises(Killed):
        fit(broken, settings, broken_run, by_weights)
    if not (broken_run / "last.pt").exists():
        assert moment[0] == "first" and save_step > 1  # killed before the first save
        return
    model, recorder = resume(broken_run, settings, by_weights)
    assert same(model, whole)
    if early_stop:
        assert (broken_run / "best.safetensors").read_bytes() == (whole_run / "best.safetensors").read_bytes()
    assert 0 < len(recorder.rows) <= len(rows)
    for again, before in zip(recorder.rows[::-1], rows[::-1], strict=False):
        assert again | {"seconds": 0} == before | {"seconds": 0}


@pytest.mark.parametrize(
    "moment", [("first", 1), ("first", 5), ("second", 3), ("second", 15), ("solve", 1), ("solve", 3)]
)
def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_to_the_same_weights(tmp_path, moment):
    settings = opt(save_step=4, epochs=6)
    whole, broken = Toy(), Toy()
    rows = fit(whole, settings).rows
    running = trainer(settings, tmp_path)

    def ask(stage: str, step: int) -> None:
        if (stage, step) == moment:
            running.context.stop.set()

    broken.on_step = ask
    with pytest.raises(Interrupted):
        running.fit(broken, NOTHING)
    assert broken.steps[moment[0]] == moment[1]  # right after that step, not later
    model, recorder = resume(tmp_path, settings)
    assert same(model, whole)
    assert 0 < len(recorder.rows) <= len(rows)
    for again, before in zip(recorder.rows[::-1], rows[::-1], strict=False):
        assert again | {"seconds": 0} == before | {"seconds": 0}


class Alternating(Toy):
    """A number solved before each epoch, with what is drawn at random, and weights that descend towards it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def stages(self, data):
        yield Stage(
            "first", self.loss_a, Drawn(data, self.draw), self.a.parameters(), group="first", each_epoch=self.before
        )

    def before(self) -> None:
        self.calls += 1
        self.solved += torch.rand(()) + self.a[0].weight.detach().sum()

    def loss_a(self, x: Tensor) -> dict[str, Tensor]:
        return self._terms("first", self.a(x) - 0.01 * self.solved, x)


@pytest.mark.parametrize("step", [1, 3, 5, 6, 8, 10, 12])
def test_a_run_with_a_step_before_each_epoch_goes_on_to_the_same_weights(tmp_path, step):
    """5 steps an epoch: the step before an epoch is not taken again when the run stopped in the middle of one."""
    whole, broken = Alternating(), Alternating()
    fit(whole, opt())
    assert whole.calls == 4
    running = trainer(opt(), tmp_path)

    def ask(stage: str, number: int) -> None:
        if number == step:
            running.context.stop.set()

    broken.on_step = ask
    with pytest.raises(Interrupted):
        running.fit(broken, NOTHING)
    rest = Alternating()
    torch.rand(3)
    trainer(opt(), tmp_path).fit(rest, NOTHING, Checkpoints(tmp_path).load_last(CPU))
    assert same(rest, whole) and broken.calls + rest.calls == 4


@pytest.mark.parametrize("step", [3, 6, 8, 13])
def test_a_killed_run_with_a_step_before_each_epoch_goes_on_to_the_same_weights(tmp_path, step):
    whole, broken, rest = Alternating(), Alternating(), Alternating()
    fit(whole, opt())
    broken.on_step = kill_at("first", step)
    with pytest.raises(Killed):
        fit(broken, opt(), tmp_path)
    trainer(opt(), tmp_path).fit(rest, NOTHING, Checkpoints(tmp_path).load_last(CPU))
    assert same(rest, whole)


def test_a_finished_run_that_is_resumed_trains_nothing_and_has_the_same_weights(tmp_path):
    whole = Toy()
    fit(whole, opt(), tmp_path)
    model, recorder = resume(tmp_path, opt())
    assert same(model, whole) and recorder.rows == [] and not any(model.steps.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops_and_the_handlers_are_put_back(tmp_path, number):
    before = signal.getsignal(number)
    model = Toy()
    model.on_step = lambda stage, step: signal.raise_signal(number) if step == 7 else None
    with pytest.raises(Interrupted):
        trainer(opt(), tmp_path).fit(model, NOTHING)
    assert signal.getsignal(number) is before
    position = Checkpoints(tmp_path).load_last(CPU)["position"]
    assert (position["stage"], position["epoch"], position["step"]) == (0, 1, 2)


def test_without_checkpoints_the_weights_of_the_last_epoch_stay():
    values = iter([0.9, 0.1, 0.1, 0.1])
    seen = []

    def measure(model: Toy) -> dict[str, float]:
        seen.append(copy.deepcopy(model.state_dict()))
        return {"auc": next(values)}

    model = Toy(("first",))
    fit(model, opt(early_stop={"metric": "auc"}), None, measure)
    assert all(torch.equal(value, seen[-1][name]) for name, value in model.state_dict().items())


def test_one_seed_gives_one_result_whatever_was_drawn_before(tmp_path):
    first, second = Toy(), Toy()
    fit(first, opt())
    torch.rand(17)
    fit(second, opt())
    assert same(first, second)


# ------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_reported_with_step_term_and_the_last_checkpoint(tmp_path, value):
    model = Toy()
    model.poison = (8, value)  # epoch 2, step 3
    with pytest.raises(DivergedError) as caught:
        fit(model, opt(), tmp_path)
    message = str(caught.value)
    assert f"stage 'first', epoch 2, step 3: the term 'fit' of the loss became {value}" in message
    assert str(tmp_path / "last.pt") in message and "lr" in message
    assert Checkpoints(tmp_path).load_last(CPU)["position"]["epoch"] == 1


@pytest.mark.parametrize("eval_step", [1, 100])
def test_weights_that_are_not_finite_are_neither_saved_nor_measured(tmp_path, eval_step):
    """The step that spoils them is the last of an epoch, so no loss tells."""
    model, measured = Toy(), []
    model.on_step = lambda stage, step: step == 10 and model.a[0].weight.data.fill_(float("inf"))
    settings = opt(eval_step=eval_step, early_stop={"metric": "auc"})
    with pytest.raises(DivergedError, match=r"after epoch 2: the weights 'a.0.weight' are no longer finite") as caught:
        fit(model, settings, tmp_path, measure=lambda m: measured.append(m) or {"auc": 0.5})
    assert f"checkpoint is {tmp_path / 'last.pt'}, the state after epoch 1 of stage 1" in str(caught.value)
    assert len(measured) == (eval_step == 1)
    assert all(bool(w.isfinite().all()) for w in Checkpoints(tmp_path).load_last(CPU)["model"].values())


def test_weights_that_are_not_finite_are_not_saved_when_the_run_is_stopped(tmp_path):
    model = Toy()

    def spoil_and_stop(stage: str, step: int) -> None:
        if step == 8:
            model.a[0].weight.data.fill_(float("inf"))
            signal.raise_signal(signal.SIGTERM)

    model.on_step = spoil_and_stop
    with pytest.raises(DivergedError, match=r"no longer finite|became"):
        fit(model, opt(), tmp_path)
    assert all(bool(w.isfinite().all()) for w in Checkpoints(tmp_path).load_last(CPU)["model"].values())


def test_the_step_that_diverged_is_counted_right_after_many_steps():
    model = Toy()
    step = LOG_EVERY + 7
    model.poison = (step, float("nan"))
    with pytest.raises(DivergedError, match=f"epoch 2, step {step - 40}:"):
        fit(model, opt(batch_size=1, epochs=3))
    model = Toy()
    model.poison = (37, float("nan"))
    with pytest.raises(DivergedError, match="epoch 1, step 37:") as caught:
        fit(model, opt(batch_size=1))
    assert "checkpoint" not in str(caught.value)


def test_scores_that_are_nan_are_reported_as_divergence(tiny):
    settings = opt(hyper_params={"lr": 1e30}, batch_size=5000)
    with pytest.raises(DivergedError, match=r"stage 'train', after epoch 1: .*NaN"):
        trainer(settings, measure=lambda m: Evaluator(["auc"]).measure(m, tiny)).fit(dmf(tiny), tiny)


# --------------------------------------------------------------------------------------------- progress


def test_a_progress_row_holds_the_loss_its_terms_the_rate_the_metrics_and_the_time():
    recorder = fit(Toy(("first",)), opt(early_stop={"metric": "auc"}), measure=lambda m: {"auc": 0.5, "auc/x": 0.4})
    assert [list(row) for row in recorder.rows] == [
        ["stage", "epoch", "loss", "fit", "small", "lr", "auc", "auc/x", "best", "seconds"]
    ] * 4
    for row in recorder.rows:
        assert row["loss"] == pytest.approx(row["fit"] + row["small"])
    assert [row["epoch"] for row in recorder.rows] == [1, 2, 3, 4]
    seconds = [row["seconds"] for row in recorder.rows]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    assert recorder.started == [("first", epoch, 4) for epoch in (1, 2, 3, 4)] and recorder.counted == 20


def test_a_term_of_a_row_is_its_mean_over_the_steps_of_the_epoch():
    model, terms = Toy(("first",)), []
    inner = model.loss_a

    def loss_a(x: Tensor) -> dict[str, Tensor]:
        terms.append(inner(x))
        return terms[-1]

    model.loss_a = loss_a  # type: ignore[method-assign]
    rows = fit(model, opt(epochs=1)).rows
    assert rows[0]["fit"] == pytest.approx(np.mean([t["fit"].item() for t in terms]))


def test_a_stage_without_a_batch_is_refused_with_a_sentence():
    model = Toy(("first",))
    model.draw = lambda draw: iter(())  # type: ignore[method-assign,assignment]
    with pytest.raises(ConfigError, match="stage 'first' has no batch"):
        fit(model, opt())


def test_a_sampler_of_sequences_says_why_it_has_no_batch(tiny):
    first = np.unique(tiny.interactions.user, return_index=True)[1]
    once = tiny.with_interactions(tiny.interactions.take(first))
    stage = Stage("train", sampler=NextItem(once, 4, torch.device("cpu")))
    assert "No user has two positive training rows" in no_batch(stage)
    assert "pairs" not in no_batch(stage) and "Models of pairs" in no_batch(Stage("train"))


def test_a_frozen_module_stays_in_training_only_if_it_says_so():
    model = Toy(("second",))
    model.a[1].stays_in_training = True
    modes = set()
    model.on_step = lambda stage, step: modes.add((model.a[0].training, model.a[1].training, model.b[1].training))
    fit(model, opt())
    assert modes == {(False, True, True)}


@pytest.mark.parametrize("name", ["trainer", "stage_run", "context", "distributed"])
def test_training_knows_no_layer_by_name(name: str):
    text = (Path(hrec.__file__).parent / "pipeline" / f"{name}.py").read_text(encoding="utf-8")
    assert "hrec.models.layers" not in text and "TYPE_CHECKING" not in text
