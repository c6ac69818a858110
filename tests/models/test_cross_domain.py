"""SMF, CMF, MPF and CAT-ART against literal readings of their equations, in loops and float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hrec.config import ConfigError, LoadedConfig
from hrec.datasets.batches import Draw, Pairs
from hrec.datasets.queries import Queries, UnknownUserError
from hrec.datasets.recdata import Feedback, Interactions, Split, Table, TrainData
from hrec.datasets.samplers import Users, WithSecondPair
from hrec.datasets.sequences import Sequences
from hrec.models import find_model, losses
from hrec.models.base import BaseModel
from hrec.models.cross_domain.cat_art import CATART
from hrec.models.cross_domain.cmf import CMF
from hrec.models.cross_domain.mpf import MPF
from hrec.models.cross_domain.smf import SMF
from hrec.models.general.bprmf import BPRMF
from hrec.models.layers.contrastive import ContrastiveAutoencoder, one_of
from hrec.models.layers.transfer import Attention, Mean, Transfer
from hrec.pipeline.checkpoints import Checkpoints
from hrec.pipeline.checks import check_data
from hrec.pipeline.measured import Metrics
from hrec.pipeline.records import Progress
from hrec.pipeline.trainer import Trainer
from hrec.settings import NegativeSettings, OptSettings, RunSettings

KINDS = {"book": 6, "music": 5, "film": 4}
POSITIVES = {
    "book": {0: [0, 1], 1: [2], 2: [0, 3], 3: [1]},
    "music": {0: [0, 2], 1: [1], 2: [3]},
    "film": {0: [1], 2: [0, 2], 4: [3]},
}
"""User 3 has books alone, user 4 films alone, and user 5 nothing."""
USERS = 6
OPT = {"hyper_params": {"lr": 0.05}, "batch_size": 4, "epochs": 3, "early_stop": None}
D = 3


def tiny(order: tuple[str, ...] = ("book", "music", "film")) -> TrainData:
    """The likes, the kinds in this order; rows come in the same order of kind and user for all."""
    tables, start = {}, 0
    for kind in order:
        tables[kind] = Table(KINDS[kind], start)
        start += KINDS[kind]
    rows = [
        (user, tables[kind].start + item, order.index(kind))
        for kind, likes in POSITIVES.items()
        for user, items in likes.items()
        for item in items
    ]
    user, item, kind = (np.array(a) for a in zip(*rows, strict=True))
    x = Interactions(user.astype(np.int32), item.astype(np.int32), kind.astype(np.int16))
    return TrainData(Table(USERS), tables, x, feedback=Feedback("01"))


def build(cls: type[BaseModel], data: TrainData | None = None, seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    return cls(cls.Config(**{"embedding_size": D, "init_std": 0.5} | settings), data or tiny())


def trained(model: BaseModel, data: TrainData | None = None, **opt: Any) -> Any:
    Trainer(OptSettings.model_validate(OPT | opt), 0, lambda m: {}).fit(model, data or tiny())
    return model.eval()


def weights(model: BaseModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def array(x: Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def close(found: Tensor, expected: Any, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(array(found), expected, rtol=1e-4, atol=atol)


# ---------------------------------------------------------------------------------------- InfoNCE


def literal_info_nce(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))

    total = 0.0
    for left, right in ((one, other), (other, one)):
        for a in range(len(left)):
            logits = [cosine(left[a], right[b]) / temperature for b in range(len(right))]
            total += math.log(sum(math.exp(x) for x in logits)) - logits[a]
    return total / (2 * len(one))


@pytest.mark.parametrize("chunk", [1, 14, 2**22])
def test_info_nce_is_that_of_a_loop_and_its_gradient_too_in_chunks_of_any_size(
    chunk: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(losses, "LOGITS", chunk)
    g = torch.Generator().manual_seed(0)
    one, other = (torch.randn(7, 4, generator=g, dtype=torch.float64).requires_grad_() for _ in range(2))
    value = losses.info_nce(one, other, 0.1)
    assert value.item() == pytest.approx(literal_info_nce(array(one), array(other), 0.1), rel=1e-9)
    torch.autograd.gradcheck(lambda a, b: losses.info_nce(a, b, 0.5), (one, other))


def test_info_nce_never_makes_more_logits_than_it_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(losses, "LOGITS", 64)
    sizes: list[int] = []
    cross_entropy = F.cross_entropy

    def seen(logits: Tensor, *args: Any, **named: Any) -> Tensor:
        sizes.append(logits.numel())
        return cross_entropy(logits, *args, **named)

    monkeypatch.setattr(F, "cross_entropy", seen)
    x = torch.randn(32, 4, requires_grad=True)
    losses.info_nce(x, x.flip(0), 0.1).backward()
    assert max(sizes) <= 64 and sum(sizes) == 2 * 2 * 32 * 32  # both directions, forward and again for the gradient


# -------------------------------------------------------------------------------------------- CAT


def perceptron(x: np.ndarray, layers: torch.nn.Sequential) -> np.ndarray:
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            x = x @ array(layer.weight).T + array(layer.bias)
        else:
            x = np.where(x > 0, x, array(layer.weight) * x)
    return x


PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], bool)
HIDDEN = [2, 0, 1, 0, 1]


@pytest.mark.parametrize("pad", [True, False])
def test_the_loss_of_cat_is_its_equation_user_by_user(pad: bool):
    torch.manual_seed(0)
    cat, x = ContrastiveAutoencoder(3, D, pad, 0.5), torch.randn(5, 3, D)
    assert [layer.out_features for layer in cat.encoder[::2]] == [5 * D, 3 * D, D]
    assert [layer.out_features for layer in cat.decoder[::2]] == [3 * D, 5 * D, 3 * D]
    p, e = array(cat.mask), array(x)
    square, masked_square, slots, masked_slots, views = 0.0, 0.0, 0, 0, []
    for u in range(5):
        slot = [e[u, k] if PRESENT[u, k] else (p if pad else 0 * p) for k in range(3)]
        g = perceptron(np.concatenate(slot), cat.encoder)
        out = perceptron(g, cat.decoder).reshape(3, D)
        square += sum(((out[k] - e[u, k]) ** 2).sum() for k in range(3) if PRESENT[u, k])
        slots += PRESENT[u].sum() * D
        if PRESENT[u].sum() > 1:
            slot[HIDDEN[u]] = p
            seen = perceptron(np.concatenate(slot), cat.encoder)
            out = perceptron(seen, cat.decoder).reshape(3, D)
            masked_square += sum(((out[k] - e[u, k]) ** 2).sum() for k in range(3) if PRESENT[u, k])
            masked_slots += PRESENT[u].sum() * D
            views.append((g, seen))
    terms = cat.loss(x, torch.from_numpy(PRESENT), torch.tensor(HIDDEN), (0.2, 0.4), 0.1)
    close(terms["reconstruction"], 0.4 * square / slots)
    close(terms["masked"], 0.4 * masked_square / masked_slots)
    one, other = (np.array(side) for side in zip(*views, strict=True))
    close(terms["contrastive"], 0.2 * literal_info_nce(one, other, 0.1), atol=1e-5)
    alone = cat.reconstruction(x, torch.from_numpy(PRESENT))
    assert list(alone) == ["reconstruction"]
    close(alone["reconstruction"], square / slots)


def test_where_no_user_has_two_kinds_cat_only_reconstructs():
    cat, one = ContrastiveAutoencoder(3, D, True, 0.5), torch.eye(3, dtype=torch.bool)
    assert list(cat.loss(torch.randn(3, 3, D), one, one.int().argmax(1), (0.2, 0.4), 0.1)) == ["reconstruction"]


def test_the_kind_that_is_hidden_is_one_that_is_there_each_as_likely():
    torch.manual_seed(0)
    present = torch.tensor([[True, False, True, True]]).expand(6000, -1)
    count = torch.bincount(one_of(present), minlength=4)
    assert count[1] == 0
    assert (count[[0, 2, 3]] - 2000).abs().max() < 4 * math.sqrt(6000 * 2 / 9)


# -------------------------------------------------------------------------------------------- ART


def test_attention_is_its_equation_over_the_kinds_that_are_there_and_0_without_one():
    torch.manual_seed(0)
    part = Attention(3, D, 0.0, zero=False)
    torch.nn.init.normal_(part.maps.bias)
    e, sources = torch.randn(5, D), torch.randn(5, 3, D)
    expected = np.zeros((5, D))
    for u in range(5):
        there = [s for s in range(3) if PRESENT[u, s]]
        mapped = {s: array(part.maps.weight)[s] @ array(sources)[u, s] + array(part.maps.bias)[s] for s in there}
        q = array(part.query.weight) @ array(e)[u] + array(part.query.bias)
        logit = {s: q @ (array(part.key.weight) @ mapped[s]) / math.sqrt(D) for s in there}
        total = sum(math.exp(x) for x in logit.values())
        for s in there:
            v = array(part.value.weight) @ mapped[s] + array(part.value.bias)
            expected[u] += math.exp(logit[s]) / total * (array(part.out.weight) @ v)
    close(part(e, sources, torch.from_numpy(PRESENT)), expected)
    assert not expected[3].any() and expected[2].any()


def test_what_an_absent_kind_holds_changes_nothing_and_gives_no_nan_gradient():
    part, present = Attention(3, D, 0.0, zero=False), torch.from_numpy(PRESENT)
    e, sources = torch.randn(5, D), torch.randn(5, 3, D)
    other = torch.where(present[:, :, None], sources, 1e4).requires_grad_()
    out = part(e, other, present)
    torch.testing.assert_close(out, part(e, sources, present))
    out.square().sum().backward()
    assert torch.isfinite(other.grad).all() and not other.grad[~present].any()


def test_without_attention_the_mapped_sources_are_averaged():
    torch.manual_seed(0)
    part, e, sources = Mean(3, D, 0.0, zero=False), torch.randn(5, D), torch.randn(5, 3, D)
    expected = np.zeros((5, D))
    for u, s in np.argwhere(PRESENT):
        expected[u] += array(part.maps.weight)[s] @ array(sources)[u, s] / PRESENT[u].sum()
    close(part(e, sources, torch.from_numpy(PRESENT)), expected)


def test_a_transfer_that_starts_at_zero_adds_nothing_and_learns():
    part = Transfer(1, 3, D, "attention", 0.0, zero=True)
    args = torch.randn(5, D), torch.randn(5, 3, D), torch.from_numpy(PRESENT), torch.randn(5, D)
    assert not part(*args).any()
    part(*args).sum().backward()
    assert part.map.weight.grad.any() and part.sources.out.weight.grad.any()


def test_the_score_of_cat_art_is_its_equation():
    model = build(CATART, zero_start=False).eval()
    user = torch.arange(USERS)
    tables = np.stack([array(model.users[k].weight) for k in KINDS], 1)
    present = np.array([[bool(POSITIVES[k].get(u)) for k in KINDS] for u in range(USERS)])
    mean = np.stack([tables[present[:, k], k].mean(0) for k in range(3)])
    g = perceptron(np.where(present[:, :, None], tables, array(model.cat.mask)).reshape(USERS, -1), model.cat.encoder)
    found = model.user_vectors(user).view(USERS, 3, D)
    for t, kind in enumerate(KINDS):
        e = np.where(present[:, t, None], tables[:, t], mean[t])
        part, others = model.transfers[kind], [s for s in range(3) if s != t]
        a = part.sources(
            torch.from_numpy(e).float(),
            torch.from_numpy(tables[:, others]).float(),
            torch.from_numpy(present[:, others]),
        )
        close(found[:, t], e + array(a) + g @ array(part.map.weight).T + array(part.map.bias))


MISSING: dict[str, Callable[[Any], Tensor]] = {
    "pad": lambda model: model.users["music"].weight[:3].mean(0),
    "zero": lambda model: torch.zeros(D),
    "row": lambda model: model.users["music"].weight[3],
}


@pytest.mark.parametrize("missing", MISSING)
def test_a_user_new_to_a_kind_is_scored_by_what_missing_says(missing: str):
    """Before anything is transferred; user 3 has no music."""
    model = build(CATART, missing=missing).eval()
    model.carried = set()
    found = model.user_vectors(torch.tensor([3])).view(3, D)[1]
    torch.testing.assert_close(found, MISSING[missing](model))


def test_a_user_new_to_a_kind_is_known_by_the_other_kinds():
    """Users 1 and 3 have no film: SMF ranks films the same for both, CAT-ART once trained does not."""
    smf, model = trained(build(SMF)), trained(build(CATART), epochs=10)
    film = torch.arange(11, 15)
    for cls, same in ((smf, True), (model, False)):
        scores = [cls.score(torch.full((4,), user), film) for user in (1, 3)]
        assert torch.allclose(*scores, atol=1e-6) == same


# ------------------------------------------------------------------------------------- the stages


def test_the_stages_train_what_the_slides_say_and_the_rest_keeps_its_bits():
    model = build(CATART, dropout=0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    kinds = list(KINDS)
    before, moved = weights(model), {}
    for stage in model.stages(tiny()):
        only = OptSettings.model_validate(OPT | {"epochs": 2})
        model_stages = model.stages
        model.stages = lambda data, stage=stage: iter([stage])
        Trainer(only, 0, lambda m: {}).fit(model, tiny())
        model.stages = model_stages
        after = weights(model)
        moved[stage.name] = {
            name.split(".")[0] + "/" + part(name)
            for name in names.values()
            if not torch.equal(before[name], after[name])
        }
        before = after
    expected = {f"mf/{kind}": {f"users/{index}", f"items/{index}"} for index, kind in enumerate(kinds)}
    expected |= {"cat": {"cat/encoder", "cat/decoder", "cat/mask"}}
    expected |= {f"art/{kind}": {f"transfers/{index}", f"items/{index}"} for index, kind in enumerate(kinds)}
    assert moved == expected


def part(name: str) -> str:
    """The kind's number, or the part of CAT, in the name of a weight."""
    words = name.split(".")
    return words[2] if words[1] == "parts" else words[1]


MOVED = {
    "freeze_items": ({"freeze_items": True}, {"transfers"}),
    "continued": ({"control": "continued"}, {"items"}),
    "permuted": ({"control": "permuted"}, {"items", "transfers"}),
    "released": ({"variant": "released"}, {"items", "transfers", "copies"}),
    "+Autoencoder": ({"encoder": "reconstruction", "sources": "none"}, {"items", "transfers"}),
    "-Attention": ({"sources": "mean"}, {"items", "transfers"}),
}


@pytest.mark.parametrize("case", MOVED)
def test_settings_choose_what_stage_3_trains(case: str):
    settings, expected = MOVED[case]
    model = build(CATART, **settings)
    of_stage = [list(stage.params) for stage in model.stages(tiny()) if stage.group == "art"]
    ids = {id(p) for params in of_stage for p in params}
    assert {name.split(".")[0] for name, p in model.named_parameters() if id(p) in ids} == expected
    assert torch.isfinite(trained(model).user_vectors(torch.arange(USERS))).all()


def test_stage_1_of_cat_art_is_smf_bit_for_bit_and_stage_3_starts_there():
    smf, one = trained(build(SMF)), build(CATART)
    all_stages = one.stages
    one.stages = lambda data: (s for s in all_stages(data) if s.group == "mf")
    trained(one)
    expected = weights(smf)
    assert all(torch.equal(value, expected[name]) for name, value in weights(one).items() if name in expected)
    user = torch.arange(USERS)
    one.carried = set(KINDS)  # as at the start of stage 3: W_o, W_g and b are 0
    assert torch.equal(one.user_vectors(user), smf.user_vectors(user))


def test_the_control_permuted_lends_each_user_the_vectors_of_another():
    model = build(CATART, control="permuted", zero_start=False).eval()
    partner = model.partner
    assert sorted(partner.tolist()) == list(range(USERS)) and not (partner == torch.arange(USERS)).any()
    own = model.of_users(torch.tensor([0]))
    lent = model.of_users(partner[[0]])
    book = model.transfers["book"]
    expected = own.vectors[:, 0] + book(own.vectors[:, 0], *lent, model.cat(*lent))
    close(model.user_vectors(torch.tensor([0]))[:, :D], array(expected))
    history = Sequences.of(tiny(), tiny().interactions, USERS)
    with pytest.raises(UnknownUserError, match="permuted"):
        model.query_vectors(Queries(torch.full((USERS,), -1), history))


def test_the_variant_released_trains_a_copy_of_the_sources_for_each_target():
    model = trained(build(CATART, variant="released"))
    for target in KINDS:
        for kind in KINDS:
            if kind != target:
                copy, table = model.copies[target][kind].weight, model.users[kind].weight
                moved = (copy != table).any(1)
                # they begin where stage 1 ended, and move for users who have rows in the target and in the source
                assert moved.tolist() == [
                    bool(POSITIVES[target].get(u) and POSITIVES[kind].get(u)) for u in range(USERS)
                ]


def test_continued_and_freeze_items_leave_nothing_to_train():
    with pytest.raises(ValueError, match="leave out freeze_items"):
        CATART.Config(control="continued", freeze_items=True)


def permuted(model: CATART, order: tuple[str, ...]) -> CATART:
    """The model of data whose kinds come in another order, with the same weights in their new places."""
    out, old = build(CATART, tiny(order), seed=7), list(KINDS)
    at = [old.index(kind) for kind in order]
    columns = torch.cat([torch.arange(k * D, (k + 1) * D) for k in at])
    state = weights(out)
    source = weights(model)
    for name in state:
        words, index = name.split("."), None
        if words[1] == "parts":
            target = at[int(words[2])]
            words[2] = str(target)
            sources = [k for k in range(3) if k != target]
            index = [sources.index(k) for k in at if k != target] if "maps" in words else None
        value = source[".".join(words)]
        state[name] = value if index is None else value[index]
    state["cat.encoder.0.weight"] = source["cat.encoder.0.weight"][:, columns]
    for name in ("weight", "bias"):
        state[f"cat.decoder.4.{name}"] = source[f"cat.decoder.4.{name}"][columns]
    out.load_state_dict(state)
    return out.eval()


def test_kinds_in_another_order_give_the_same_scores_and_the_same_loss():
    order = ("film", "book", "music")
    model = trained(build(CATART, zero_start=False))
    other = permuted(model, order)
    user = torch.arange(USERS)
    columns = torch.cat([torch.arange(tiny().kinds[k].start, tiny().kinds[k].stop) for k in order])
    with torch.no_grad():
        expected = model.ranker()(Queries(user))[:, columns]
        close(other.ranker()(Queries(user)), array(expected))
        at = [list(KINDS).index(kind) for kind in order]
        hidden = torch.tensor([0, 1, 2, 0, 2, 0])
        terms = [
            m.cat.loss(*m.of_users(user), torch.tensor([place.index(k) for k in hidden.tolist()]), (0.2, 0.4), 0.1)
            for m, place in ((model, [0, 1, 2]), (other, at))
        ]
    for name, value in terms[0].items():
        close(terms[1][name], value.item())


def test_there_may_be_any_number_of_kinds():
    two = TrainData(Table(USERS), {k: t for k, t in tiny().kinds.items() if k != "film"}, _first_two(tiny()))
    assert torch.isfinite(trained(build(CATART, two), two).user_vectors(torch.arange(USERS))).all()


def _first_two(data: TrainData) -> Interactions:
    return data.interactions.take(data.interactions.kind < 2)


# ------------------------------------------------------------------------------- SMF, CMF and MPF


def test_smf_is_a_bprmf_of_each_kind():
    model = build(SMF, reg_weight=0.3)
    item = torch.tensor([6, 7, 8])
    user = torch.tensor([0, 1, 2])
    batch = Pairs(user, item, item[:, None] + 1)
    terms = model.of_kind("music", batch)
    one = build(BPRMF, TrainData(Table(USERS), {"music": Table(5)}, tiny().only("music").interactions), reg_weight=0.3)
    one.users.weight.data.copy_(model.users["music"].weight)
    one.items.weight.data.copy_(model.items["music"].weight)
    expected = one.loss(Pairs(user, item - 6, batch.negative - 6))
    assert terms.keys() == expected.keys() and all(torch.equal(terms[k], expected[k]) for k in terms)
    close(model.score(user, item), array(one.score(user, item - 6)))


def test_a_user_without_a_positive_in_a_kind_has_the_mean_of_those_who_have_one():
    model = build(SMF)
    films = model.users["film"].weight
    close(model.user_vectors(torch.tensor([1]))[0, 2 * D :], array(films[[0, 2, 4]].mean(0)))
    model = build(SMF, untrained_rows=True)
    close(model.user_vectors(torch.tensor([1]))[0, 2 * D :], array(model.users["film"].weight[1]))


def test_a_negative_row_is_no_presence():
    data = tiny()
    label = np.ones(len(data.interactions), np.float32)
    label[data.interactions.user == 3] = 0
    model = build(SMF, data.with_interactions(replace(data.interactions, label=label)))
    assert model.present.tolist()[3] == [False] * 3 and model.present.tolist()[0] == [True] * 3


def test_negatives_of_other_kinds_are_refused_where_each_kind_has_its_own_tables():
    with pytest.raises(ValueError, match="same_kind false"):
        SMF.Config(negatives={"same_kind": False})


@pytest.mark.parametrize("by_rows", [True, False])
def test_cmf_weighs_pairs_by_rows_or_kinds_alike(by_rows: bool):
    model = build(CMF, reg_weight=0.3, weight_by_rows=by_rows)
    user, item = torch.tensor([0, 0, 2]), torch.tensor([1, 8, 11])
    negative = torch.tensor([[2], [9], [12]])
    p, q = array(model.users.weight), array(model.items.weight)
    rows = [6, 4, 4]
    alpha = [14 / (3 * n) if not by_rows else 1.0 for n in rows]
    loss, norm = 0.0, 0.0
    for kind, (u, i, (j,)) in enumerate(zip(user.tolist(), item.tolist(), negative.tolist(), strict=True)):
        loss += alpha[kind] * math.log(1 + math.exp(p[u] @ (q[j] - q[i]))) / 3
        norm += alpha[kind] * 0.15 * (p[u] @ p[u] + q[i] @ q[i] + q[j] @ q[j]) / 3
    terms = model.loss(Pairs(user, item, negative))
    close(terms["bpr"], loss)
    close(terms["norm"], norm)


@pytest.mark.parametrize("same_kind", [True, False])
def test_negatives_of_cmf_are_of_the_same_kind_or_of_the_union(same_kind: bool):
    sampler = build(CMF, negatives={"same_kind": same_kind}).sampler(tiny())
    starts, alike = torch.tensor([0, 6, 11]), []
    for seed in range(20):
        for batch in sampler.epoch(Draw(8, torch.Generator().manual_seed(seed), torch.device("cpu"))):
            kind = [torch.searchsorted(starts, x, right=True) for x in (batch.positive, batch.negative[:, 0])]
            alike.append((kind[0] == kind[1]).all().item())
    assert all(alike) == same_kind


def test_mpf_is_its_equation():
    model = build(MPF, reg_weight=0.3)
    user, positive = torch.tensor([0, 2, 0, 2]), torch.tensor([0, 9, 8, 3])
    negative = torch.tensor([[3], [10], [9], [1]])
    g, tables = array(model.shared.weight), {k: array(model.users[k].weight) for k in KINDS}
    q = np.concatenate([array(model.items[k].weight) for k in KINDS])
    kind = ["book", "music"]
    both = [
        math.log(1 + math.exp((g[u] + tables[k][u]) @ (q[j] - q[i])))
        for k, u, i, j in zip(kind, (0, 2), (0, 9), (3, 10), strict=True)
    ]
    shared = [math.log(1 + math.exp(g[u] @ (q[j] - q[i]))) for u, i, j in ((0, 8, 9), (2, 3, 1))]
    norms = [
        g[u] @ g[u] + tables[k][u] @ tables[k][u] + q[i] @ q[i] + q[j] @ q[j]
        for k, u, i, j in zip(kind, (0, 2), (0, 9), (3, 10), strict=True)
    ]
    norms += [g[u] @ g[u] + q[i] @ q[i] + q[j] @ q[j] for u, i, j in ((0, 8, 9), (2, 3, 1))]
    terms = model.loss(Pairs(user, positive, negative))
    close(terms["bpr"], np.mean(both))
    close(terms["shared"], np.mean(shared))
    close(terms["norm"], 0.15 * sum(norms) / 2)
    close(model.score(torch.tensor([2, 3]), torch.tensor([6, 6])), [(g[2] + tables["music"][2]) @ q[6], g[3] @ q[6]])


def test_the_second_pair_is_of_the_same_user_of_each_kind_as_often():
    """User 2 has two books, one record and two films: each kind comes a third of the time, its items equally often."""
    sampler = WithSecondPair(tiny(), NegativeSettings(), torch.device("cpu"))
    seen = np.zeros(15)
    for seed in range(300):
        for batch in sampler.epoch(Draw(64, torch.Generator().manual_seed(seed), torch.device("cpu"))):
            half = len(batch) // 2
            assert torch.equal(batch.user[:half], batch.user[half:])
            kinds = [
                np.searchsorted([0, 6, 11], x.numpy(), side="right") for x in (batch.positive, batch.negative[:, 0])
            ]
            assert (kinds[0] == kinds[1]).all()
            for u, i, j in zip(
                batch.user.tolist(), batch.positive.tolist(), batch.negative[:, 0].tolist(), strict=True
            ):
                likes = [tiny().kinds[k].start + one for k in KINDS for one in POSITIVES[k].get(u, [])]
                assert i in likes and j not in likes
            mine = batch.positive[half:][batch.user[half:] == 2]
            seen += np.bincount(mine.numpy(), minlength=15)
    share = seen / seen.sum()
    np.testing.assert_allclose(share[[0, 3, 9, 11, 13]], [1 / 6, 1 / 6, 1 / 3, 1 / 6, 1 / 6], atol=0.04)


def test_two_processes_have_halves_of_the_batch_that_one_draws():
    sampler = WithSecondPair(tiny(), NegativeSettings(), torch.device("cpu"))

    def epoch(rank: int, world: int) -> list[Pairs]:
        return list(sampler.epoch(Draw(6, torch.Generator().manual_seed(1), torch.device("cpu"), rank, world)))

    for whole, *parts in zip(epoch(0, 1), epoch(0, 2), epoch(1, 2), strict=True):
        rows = [
            list(zip(b.user.tolist(), b.positive.tolist(), b.negative.flatten().tolist(), strict=True))
            for b in (whole, *parts)
        ]
        half = [len(r) // 2 for r in rows]
        for piece in (lambda r, h: r[:h], lambda r, h: r[h:]):
            assert sorted(piece(rows[0], half[0])) == sorted(piece(rows[1], half[1]) + piece(rows[2], half[2]))


def test_users_come_once_each_and_those_without_a_row_never():
    batches = list(Users(tiny()).epoch(Draw(2, torch.Generator().manual_seed(0), torch.device("cpu"))))
    assert sorted(torch.cat([b.row for b in batches]).tolist()) == [0, 1, 2, 3, 4]


def test_a_history_without_a_kind_is_that_of_a_user_without_it():
    model = trained(build(CATART), epochs=5)
    x = tiny().interactions
    queries = Queries(torch.full((USERS,), -1), Sequences.of(tiny(), x, USERS))
    assert torch.equal(model.of_histories(queries.history).present, model.present)
    empty = model.query_vectors(queries)[5]
    torch.testing.assert_close(empty, model.user_vectors(torch.tensor([5]))[0], rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------ what a stage watches


def test_each_stage_of_a_kind_keeps_the_weights_that_were_best_for_its_kind(board: Split, tmp_path: Path):
    """The metric of another kind, which rises for ever, does not count."""
    seen: list[dict[str, Any]] = []

    calls = count(1)

    def measure(model: BaseModel) -> dict[str, float]:
        n = next(calls)
        return {"auc": n, "auc/book": -n, "auc/music": n, "auc/film": n}

    class Rows(Progress):
        def epoch(self, row: Any) -> None:
            seen.append(row)

    opt = OptSettings.model_validate(OPT | {"early_stop": {"metric": "auc", "stop_step": 9}})
    Trainer(opt, 0, measure, Checkpoints(tmp_path), Rows()).fit(build(SMF, board.train), board.train)
    best = {
        stage: [row["epoch"] for row in seen if row["stage"] == stage and row.get("best")]
        for stage in ("mf/book", "mf/film")
    }
    assert best == {"mf/book": [1], "mf/film": [1, 2, 3]}


def loaded(**settings: Any) -> LoadedConfig:
    run = RunSettings(data={"name": "board", "planted": {}}, model={"name": "SMF"}, **settings)
    return LoadedConfig(run, find_model("SMF"), SMF.Config(), {})


def check_watched(config: LoadedConfig, parts: Split) -> None:
    check_data(config, Metrics.parse(config), parts)


def test_a_kind_whose_metric_has_no_value_is_named_before_training(board: Split):
    x = board.valid.interactions
    films = board.valid.with_interactions(x.take(x.kind != 2))
    check_watched(loaded(), board)
    with pytest.raises(ConfigError, match=r"opt.early_stop.metric: 'auc/film' has no value on the validation split"):
        check_watched(loaded(), Split(board.train, films, board.test))
    check_watched(loaded(opt={"early_stop": None}), Split(board.train, films, board.test))


def test_a_metric_that_kinds_do_not_have_is_refused_before_training(board: Split):
    settings = {"opt": {"early_stop": {"metric": "ndcg@5"}}, "ranking": {"sampled": 5}}
    with pytest.raises(ConfigError, match=r"watches 'ndcg@5/book', and 'ndcg@5' has no value for each kind"):
        check_watched(loaded(**settings), board)
    check_watched(loaded(opt={"early_stop": {"metric": "ndcg@5"}}), board)
