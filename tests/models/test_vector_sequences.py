"""UniSRec, VQRec, MISSRec, PGG, CB2CF and UAE against a literal reading of their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hrec.datasets.batches import Draw, ItemPairs, Pairs, Rows
from hrec.datasets.columns import Dense
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Feedback, Interactions, Table, TrainData
from hrec.datasets.sequences import SequenceBatch
from hrec.models import find_model
from hrec.models.layers.in_batch import in_batch
from hrec.models.layers.kmeans import kmeans, nearest, product_codes
from hrec.models.sequential import _vectors, unisrec
from hrec.models.sequential._interests import diversity, visible
from hrec.models.sequential.pgg import Purified, most_confident
from hrec.models.sequential.sasrec import attended

ITEMS = 9
ROWS = {0: [3, 1, 4, 1, 5], 1: [2, 6, 7], 2: [8, 3], 3: []}
"""The positive items of each user, oldest first; item 0 is of nobody."""
SMALL: dict[str, Any] = {"embedding_size": 4, "inner_size": 6, "num_heads": 2, "sequences": {"max_length": 4}}
SETTINGS: dict[str, dict[str, Any]] = {
    "UniSRec": SMALL | {"experts": 3, "init_std": 0.5},
    "VQRec": SMALL | {"parts": 3, "codes": 2, "init_std": 0.5},
    "MISSRec": SMALL | {"interests": 0.4, "init_std": 0.5},
    "PGG": {"embedding_size": 4, "subsample": None},
    "CB2CF": {"embedding_size": 4, "hidden": [5], "subsample": None},
    "UAE": {"embedding_size": 4, "hidden": [5]},
}
sequential = pytest.mark.parametrize("name", ["UniSRec", "VQRec"])


def texts() -> np.ndarray:
    value = np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32)
    value[7] = np.nan
    return value


def images() -> np.ndarray:
    value = np.random.default_rng(1).normal(size=(ITEMS, 3)).astype(np.float32)
    value[[2, 4, 7]] = np.nan
    return value


def made(**columns: np.ndarray) -> TrainData:
    """The rows of ROWS; item 7 has no vector."""
    pairs = [(u, i) for u, items in ROWS.items() for i in items]
    user, item = (np.array(a, np.int32) for a in zip(*pairs, strict=True))
    x = Interactions(user, item, np.zeros(len(pairs), np.int16), time=np.arange(len(pairs)) + 0.0)
    dense = {name: Dense(value) for name, value in (columns or {"text": texts()}).items()}
    return TrainData(Table(len(ROWS)), {"film": Table(ITEMS, 0, dense)}, x, feedback=Feedback("01", negatives=1))


def model_of(name: str, data: TrainData | None = None, **settings: Any) -> Any:
    """In float64, without dropout; weights that begin at 0 are drawn."""
    cls = find_model(name)
    torch.manual_seed(0)
    model = cls(cls.Config(**SETTINGS[name] | settings), data or made()).double().eval()
    for weight in model.parameters():
        if weight.dim() < 2 or not weight.any():
            torch.nn.init.normal_(weight)
    return model


def batch_of(model: Any, data: TrainData | None = None) -> Any:
    draw = Draw(8, torch.Generator().manual_seed(0), torch.device("cpu"))
    return next(iter(model.sampler(data or made()).epoch(draw)))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def everything() -> Tensor:
    return torch.arange(ITEMS)


# ------------------------------------------------------------------------------------------- clusters


def test_centres_are_the_means_of_the_rows_nearest_to_them():
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [8, 9]])
    centre = kmeans(x, 2, seed=0)
    assert sorted(centre.tolist()) == [pytest.approx([1 / 3, 1 / 3]), pytest.approx([26 / 3, 26 / 3])]
    place = nearest(x, centre)
    assert place[:3].unique().numel() == place[3:].unique().numel() == 1 and place[0] != place[3]


def test_there_are_no_more_clusters_than_rows_and_the_seed_chooses_the_first_ones():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert kmeans(x[:2], 5, 0).shape == (2, 3) and kmeans(x[:0], 5, 0).shape == (0, 3)
    assert torch.equal(kmeans(x, 6, 1), kmeans(x, 6, 1)) and not torch.equal(kmeans(x, 6, 1), kmeans(x, 6, 2))


def test_a_code_is_the_cluster_of_its_part_learnt_from_the_rows_named():
    first, second = torch.tensor([0, 0, 5, 5, 0]), torch.tensor([0, 3, 0, 3, 3])
    x = torch.stack([first, first, second], 1).float()  # the last part is filled up with a zero
    codes = product_codes(x, torch.tensor([True, True, True, True, False]), 2, 2, 0, 0)
    assert torch.equal(codes[:, 0] == codes[0, 0], first == 0)
    assert torch.equal(codes[:, 1] == codes[0, 1], second == 0)
    one = product_codes(x, torch.tensor([True, False, False, False, False]), 2, 2, 0, 0)
    assert not one.any()  # one row, one cluster


def test_a_rotation_lowers_the_error_of_parts_that_depend_on_each_other():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(2, (300, 4), generator=generator).double() * torch.tensor([4.0, 2, 3, 1])
    turn = torch.linalg.qr(torch.eye(4, dtype=torch.float64) + 0.3 * torch.ones(4, 4).triu(1) - 0.3).Q
    x = x @ turn

    def error(codes: Tensor) -> float:
        """Of the best vectors of the codes: a linear model of which code each part has."""
        design = torch.cat([F.one_hot(c).double() for c in codes.T], 1)
        return float((design @ torch.linalg.lstsq(design, x, driver="gelsd").solution - x).square().sum())

    known = torch.ones(300, dtype=torch.bool)
    assert error(product_codes(x, known, 2, 4, 8, 0)) < 0.5 * error(product_codes(x, known, 2, 4, 0, 0))


# ------------------------------------------------------------------------------------- contrast in a batch


def test_a_row_with_the_same_number_is_no_negative():
    logit = torch.tensor([[1.0, 2, 3, 4], [0, 1, 2, 0], [5, 1, 0, 1]], dtype=torch.float64)
    target = torch.tensor([7, 8, 7])
    e = np.exp
    terms = [np.log(e(1) + e(2) + e(4)) - 1, np.log(e(0) + e(1) + e(2) + e(0)) - 1, np.log(e(0) + e(1) + e(1)) - 0]
    assert in_batch(logit, target).item() == pytest.approx(np.mean(terms))


def test_rows_of_the_same_user_are_none_either():
    logit = torch.randn(3, 3, dtype=torch.float64)
    both = in_batch(logit, torch.tensor([1, 1, 2]), torch.tensor([1, 2, 2]))
    kept = [[0, 2], [1], [0, 2]]
    terms = [torch.logsumexp(logit[i, kept[i]], 0) - logit[i, i] for i in range(3)]
    torch.testing.assert_close(both, torch.stack(terms).mean())


# ------------------------------------------------------------------------------------------ UniSRec, VQRec


def mixture(model: Any, x: np.ndarray) -> np.ndarray:
    m = model.of_vectors
    share = softmax(array(m.gate.weight) @ x)
    return sum(g * array(linear.weight) @ (x - array(b)) for g, linear, b in zip(share, m.maps, m.shift, strict=True))


def of_codes(model: Any, code: np.ndarray) -> np.ndarray:
    table = array(model.of_vectors.table.weight).reshape(3, 3, 4)  # parts, codes and the one of no vector, width
    return np.mean([table[part, code[part]] for part in range(3)], 0)


@pytest.mark.parametrize("ids", [True, False])
def test_unisrec_mixes_whitened_texts(ids: bool):
    model = model_of("UniSRec", ids=ids)
    found = array(model.inputs(everything()))
    for item in range(ITEMS):
        content = array(model.of_vectors.missing) if item == 7 else mixture(model, unit(texts()[item]))
        own = array(model.table.weight[item]) if ids else 0
        np.testing.assert_allclose(found[item], content + own, rtol=1e-5, atol=1e-7)


def test_the_gate_has_noise_of_a_trained_size_in_training_alone():
    model = model_of("UniSRec", adapter_dropout=0.0)
    still = model.of_vectors(everything())
    torch.testing.assert_close(model.of_vectors(everything()), still)
    model.train()
    torch.manual_seed(3)
    noise = torch.randn(ITEMS, 3, dtype=torch.float64)
    torch.manual_seed(3)
    m, x = model.of_vectors, model.of_vectors.vectors.value
    logit = m.gate(x) + noise * (F.softplus(m.gate_noise(x)) + 0.01)
    torch.testing.assert_close(m._shares(x), logit.softmax(1))
    silent = model_of("UniSRec", adapter_dropout=0.0, gate_noise=0).train()
    assert not torch.equal(m(everything()), silent.of_vectors(everything()))


def test_vqrec_is_the_mean_of_the_vectors_of_the_codes():
    model = model_of("VQRec")
    codes = model.of_vectors.codes
    assert codes.shape == (ITEMS, 3) and set(codes[7].tolist()) == {2} and int(codes[:7].max()) < 2
    np.testing.assert_allclose(
        array(model.inputs(everything())), [of_codes(model, c) for c in codes.numpy()], rtol=1e-12
    )


def test_codes_are_learnt_from_items_with_training_rows_and_saved():
    data = made()
    moved = texts()
    moved[0] = -50 * moved[3]  # item 0 has no row
    seen = data.has_rows() & np.isfinite(texts()).all(1)
    codes = [model_of("VQRec", made(text=t), scale="raw").of_vectors.codes for t in (texts(), moved)]
    assert torch.equal(*(c[torch.from_numpy(seen)] for c in codes))
    model, other = model_of("VQRec"), model_of("VQRec", code_seed=5)
    assert not torch.equal(other.of_vectors.codes, model.of_vectors.codes)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.of_vectors.codes, model.of_vectors.codes)


def states(model: Any, items: list[int]) -> np.ndarray:
    """h at each position of one sequence without padding, from the parts that test_sequential.py tests."""
    x = model.inputs(torch.tensor(items))[None] + model.positions.weight[-len(items) :]
    for block in model.blocks:
        x = block(x, attended(torch.ones(1, len(items), dtype=torch.bool)))
    return unit(array(model.norm(x))[0])


@sequential
def test_a_score_is_the_cosine_over_tau_of_the_newest_state(name: str):
    model = model_of(name, temperature=0.3)
    score = array(model.ranker()(Queries(torch.arange(4))))
    items = unit(array(model.inputs(everything())))
    for user in range(3):
        np.testing.assert_allclose(score[user], items @ states(model, ROWS[user][-4:])[-1] / 0.3, rtol=1e-9)
    assert not score[3].any()  # no sequence


@sequential
def test_the_cross_entropy_is_over_all_items_at_all_positions(name: str):
    model = model_of(name, temperature=0.3)
    batch = batch_of(model)
    items, terms = unit(array(model.inputs(everything()))), []
    for row in range(len(batch)):
        places = batch.mask[row].nonzero()[:, 0].tolist()
        for t, h in zip(places, states(model, batch.item[row, places].tolist()), strict=True):
            logit = items @ h / 0.3
            terms.append(np.log(np.exp(logit).sum()) - logit[int(batch.target[row, t])])
    assert len(terms) == 7
    assert model.loss(batch)["ce"].item() == pytest.approx(np.mean(terms), rel=1e-6)


def newest(batch: SequenceBatch) -> tuple[Tensor, Tensor]:
    return torch.arange(len(batch)), torch.full((len(batch),), batch.mask.shape[1] - 1)


def test_unisrec_sets_sequences_against_targets_and_against_copies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unisrec, "drawn_position", newest)
    model = model_of("UniSRec", loss="in_batch", temperature=0.3, seq_weight=0.5, left_out=0.0)
    batch = batch_of(model)
    h = np.stack([states(model, r[m].tolist())[-1] for r, m in zip(batch.item, batch.mask, strict=True)])
    target = unit(array(model.inputs(batch.target[:, -1])))
    terms = model.loss(batch)

    def nce(logit: np.ndarray) -> float:
        return float(np.mean([np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(logit)]))

    assert len(set(batch.target[:, -1].tolist())) == len(batch) == 3
    assert terms["seq_item"].item() == pytest.approx(nce(h @ target.T / 0.3), rel=1e-6)
    assert terms["seq_seq"].item() == pytest.approx(0.5 * nce(h @ h.T / 0.3), rel=1e-6)  # nothing was left out
    assert set(model_of("UniSRec", loss="in_batch", seq_weight=0).loss(batch)) == {"seq_item"}


def test_a_copy_lacks_some_entries_and_never_the_drawn_one():
    model = model_of("UniSRec", left_out=0.5)
    mask = torch.ones(400, 4, dtype=torch.bool)
    mask[:, 0] = False
    batch = SequenceBatch(torch.zeros(400, 4, dtype=torch.int64), torch.zeros(400, 4), mask)
    kept = model._left_out(batch, (torch.arange(400), torch.full((400,), 2)))
    assert not kept[:, 0].any() and kept[:, 2].all() and 150 < int(kept[:, 1].sum()) < 250


def test_a_drawn_position_is_an_entry_and_each_may_come():
    mask = torch.tensor([[False, True, True], [False, False, True]]).repeat(50, 1)
    row, at = _vectors.drawn_position(SequenceBatch(mask.long(), mask.long(), mask))
    assert mask[row, at].all() and set(at[::2].tolist()) == {1, 2}


def test_vqrec_adds_a_copy_of_the_target_with_other_codes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_vectors, "drawn_position", newest)
    model = model_of("VQRec", loss="in_batch", temperature=0.3, replaced=1.0)
    batch = batch_of(model)
    torch.manual_seed(4)
    loss = model.loss(batch)["seq_item"]
    torch.manual_seed(4)
    other = torch.randint(2, (len(batch), 3)).numpy()
    h = np.stack([states(model, r[m].tolist())[-1] for r, m in zip(batch.item, batch.mask, strict=True)])
    target = unit(array(model.inputs(batch.target[:, -1])))
    logit = h @ target.T / 0.3
    own = [h[i] @ unit(of_codes(model, c)) / 0.3 for i, c in enumerate(other)]
    terms = [np.log(np.exp(row).sum() + np.exp(own[i])) - row[i] for i, row in enumerate(logit)]
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-6)


# --------------------------------------------------------------------------------------------- MISSRec


def missrec(**settings: Any) -> Any:
    return model_of("MISSRec", made(text=texts(), image=images()), **settings)


@pytest.mark.parametrize("ids", [True, False])
def test_modalities_count_by_their_own_scores_and_missing_ones_not_at_all(ids: bool):
    model = missrec(ids=ids, temperature=0.3)
    with torch.no_grad():
        model.beta.fill_(2.0)
    score = array(model.ranker()(Queries(torch.arange(3))))
    h = array(model.query_states(Queries(torch.arange(3))))
    np.testing.assert_allclose(np.linalg.norm(h, axis=1), 1)
    for user in range(3):
        for item in range(ITEMS):
            s = []
            for m, x in zip(model.modalities, (texts(), images()), strict=True):
                if np.isfinite(x[item]).all():
                    s.append(h[user] @ unit(array(m.map.weight) @ unit(x[item]) + array(m.map.bias)))
            fused = softmax(2 * np.array(s)) @ s if s else 0.0
            if ids:
                own = h[user] @ unit(array(model.table.weight[item]))
                fused = 2 / 3 * fused + own / 3 if s else own
            assert score[user, item] == pytest.approx(fused / 0.3, rel=1e-5, abs=1e-9)


def test_scores_of_pairs_are_those_of_the_ranker_and_the_loss_is_their_cross_entropy():
    model, data = missrec(ids=True, diversity=0.0), made(text=texts(), image=images())
    batch = batch_of(model, data)
    state = model.states(batch.item, batch.mask)[0]
    parts, known = model.item_parts(everything())
    logit = torch.stack([model.fused(h @ parts.flatten(0, 1).T, known) for h in state])
    plain = F.cross_entropy(logit[batch.mask], batch.target[batch.mask])
    loss = model.loss(batch)
    torch.testing.assert_close(loss["ce"], plain)
    weights = [model.beta, model.table.weight, *model.decoder.parameters()]
    found, expected = (torch.autograd.grad(x, weights, retain_graph=True) for x in (loss["ce"], plain))
    torch.testing.assert_close(found, expected)
    assert all(bool(torch.isfinite(g).all()) for g in found) and found[0] != 0


def test_the_vector_of_an_item_is_the_mean_of_the_modalities_that_it_has():
    model = missrec()
    parts = model.item_parts(everything())[0]
    found = model.item_vectors(everything())
    torch.testing.assert_close(found[3], F.normalize(parts[0, 3] + parts[1, 3], dim=0))
    torch.testing.assert_close(found[2], parts[0, 2])
    assert not found[7].any()


def attention(q: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Of one query, two heads."""
    heads = slice(0, 2), slice(2, 4)
    return np.concatenate([softmax(keys[:, h] @ q[h] / np.sqrt(2)) @ values[:, h] for h in heads])


def norm(layer: Any, x: np.ndarray) -> np.ndarray:
    return array(layer(torch.from_numpy(np.asarray(x))))


def block(layer: Any, x: list[np.ndarray], read: list[list[int]]) -> list[np.ndarray]:
    q, k, v = np.split(norm(layer.before_attention, x) @ array(layer.project.weight).T, 3, 1)
    x = [x[t] + attention(q[t], k[r], v[r]) for t, r in enumerate(read)]
    return [a + norm(layer.perceptron, norm(layer.before_perceptron, a)) for a in x]


def cross(layer: Any, x: list[np.ndarray], memory: list[np.ndarray], read: list[list[int]]) -> list[np.ndarray]:
    q = norm(layer.norm, x) @ array(layer.query.weight).T
    k, v = np.split(norm(layer.norm_memory, memory) @ array(layer.key_value.weight).T, 2, 1)
    return [x[t] + attention(q[t], k[r], v[r]) for t, r in enumerate(read)]


def literal_state(model: Any, items: list[int]) -> np.ndarray:
    """h after the last of these items: tokens of all modalities, one after another, in the order of time."""
    n, both = len(items), list(zip(model.modalities, (texts(), images()), strict=True))
    known = [[bool(np.isfinite(x[i]).all()) for i in items] for _, x in both]
    known[0] = [k or not known[1][t] for t, k in enumerate(known[0])]
    token, interest, first = [], [], []
    for m, x in both:
        w, b = array(m.map.weight), array(m.map.bias)
        for t, i in enumerate(items):
            has = np.isfinite(x[i]).all()
            token.append((w @ unit(x[i]) + b if has else 0) + array(model.positions.weight[t - n]) + np.zeros(4))
            cluster = int(m.cluster[i])
            interest.append(w @ array(m.centre[cluster]) + b if has else np.zeros(4))
            first.append(has and cluster not in [int(m.cluster[j]) for j in items[:t]])
    valid = [known[s // n][s % n] for s in range(2 * n)]

    def read(allowed: list[bool]) -> list[list[int]]:
        rows = [[s for s in range(2 * n) if allowed[s] and s % n <= t % n] for t in range(2 * n)]
        return [row or [t] for t, row in enumerate(rows)]

    for layer in model.encoder:
        interest = block(layer, interest, read(first))
    x = list(norm(model.decoder.first, np.stack(token)))
    for layer, own in zip(model.decoder.cross, model.decoder.blocks, strict=True):
        x = block(own, cross(layer, x, interest, read(first)), read(valid))
    x = norm(model.decoder.norm, np.stack(x))
    return unit(sum(x[s] for s in range(2 * n) if s % n == n - 1 and valid[s]))


@pytest.mark.parametrize("items", [[3, 1, 4, 1], [2, 6, 7], [8]])
def test_the_decoder_attends_to_the_interests_of_a_sequence(items: list[int]):
    model = missrec()
    padded = torch.tensor([[0] * (4 - len(items)) + items])
    mask = torch.tensor([[False] * (4 - len(items)) + [True] * len(items)])
    state, _, first = model.states(padded, mask)
    np.testing.assert_allclose(array(state[0, -1]), literal_state(model, items), rtol=1e-5)
    assert not state[0, : 4 - len(items)].any()
    assert not bool(first[0, :4][~mask[0]].any())


def test_later_items_change_no_earlier_state():
    model, mask = missrec(ids=True), torch.ones(1, 4, dtype=torch.bool)
    one, other = (model.states(torch.tensor([items]), mask)[0] for items in ([3, 1, 4, 8], [3, 1, 5, 6]))
    torch.testing.assert_close(one[:, :2], other[:, :2])
    assert not torch.allclose(one[:, 2], other[:, 2])


def test_interests_are_clusters_and_an_item_without_a_vector_has_none():
    model = missrec()
    text, image = model.modalities
    assert text.centre.shape == (4, 6) and image.centre.shape == (3, 3)  # .4 of 8 and of 6, rounded up
    assert text.cluster[7] == -1 and (image.cluster[[2, 4, 7]] == -1).all()
    some = text.vectors.known
    assert torch.equal(text.cluster[some], nearest(text.vectors.value[some], text.centre))


def test_a_token_without_one_to_read_reads_its_own_place():
    allowed = visible(torch.tensor([0, 1]), torch.tensor([[False, True], [True, True]]))[:, 0]
    assert allowed.tolist() == [[[True, False], [False, True]], [[True, False], [True, True]]]


def test_the_diversity_is_the_mean_squared_cosine_of_different_interests():
    x = torch.tensor([[[1.0, 0], [1, 1], [0, 2]], [[1, 0], [1, 0], [5, 5]]], dtype=torch.float64)
    valid = torch.tensor([[True, True, True], [True, False, False]])
    assert diversity(x, valid).item() == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert diversity(x[1:], valid[1:]).item() == 0


# --------------------------------------------------------------------------------------------- PGG


def test_the_rows_of_a_user_that_fit_the_others_least_are_dropped():
    v = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [1, 0.2], [-1, 0], [1, 0], [0, 1]], dtype=torch.float64)
    user = torch.tensor([1, 1, 1, 1, 0, 0, 2])
    kept = most_confident(F.normalize(v, dim=1), user, 4, 0.75)
    assert kept.tolist() == [True, True, False, True, True, True, True]  # two of user 0 stay, and the one of user 2


def test_the_confidence_is_that_of_the_equation():
    rng = np.random.default_rng(3)
    v = unit(rng.normal(size=(12, 3)))
    user = np.repeat([2, 0], [7, 5])
    expected = np.zeros(12, bool)
    for u in (0, 2):
        own = np.flatnonzero(user == u)
        confidence = softmax(np.array([v[i] @ unit(v[own].sum(0) - v[i]) for i in own]))
        expected[own[np.argsort(-confidence)[: int(np.ceil(0.5 * len(own)))]]] = True
    assert most_confident(torch.from_numpy(v), torch.from_numpy(user), 3, 0.5).tolist() == expected.tolist()


def test_pairs_of_the_second_stage_are_of_the_purified_sets():
    data, model = made(), model_of("PGG", kept=0.5)
    with torch.no_grad():
        model.raw.inputs.weight.copy_(torch.eye(4)[torch.tensor([0, 1, 0, 1, 1, 2, 0, 1, 0])])
    data_left = model.without_doubtful(data)
    left = [data_left.interactions.item[data_left.interactions.user == u].tolist() for u in (0, 1, 2)]
    assert left == [[3, 1, 4], [2, 6], [8, 3]]  # 5 is unlike the others of user 0, and 7 of user 1
    pairs = next(iter(Purified(model, data).epoch(Draw(64, torch.Generator().manual_seed(0), torch.device("cpu")))))
    assert isinstance(pairs, ItemPairs)
    assert {5, 7}.isdisjoint(pairs.anchor.tolist() + pairs.positive.tolist()) and len(pairs) == 7


def test_the_score_is_of_the_purified_vectors_and_the_newest_item():
    model = model_of("PGG")
    score = array(model.score(torch.tensor([0, 1]), torch.tensor([2, 3])))
    v = unit(array(model.purified.inputs.weight))
    np.testing.assert_allclose(score, [v[5] @ v[2], v[7] @ v[3]])


# ------------------------------------------------------------------------------------------ CB2CF, UAE


def perceptron(layers: Any, x: np.ndarray) -> np.ndarray:
    one, _, two = layers.layers
    hidden = np.maximum(array(one.weight) @ x + array(one.bias), 0)
    return array(two.weight) @ hidden + array(two.bias)


@pytest.mark.parametrize("cosine", [True, False])
def test_the_network_learns_collaborative_vectors_of_items_that_have_both(cosine: bool):
    model = model_of("CB2CF", cosine=cosine)
    v, terms = unit(array(model.item2vec.inputs.weight)), []
    for item in (1, 5):
        f = perceptron(model.network, unit(texts()[item]))
        terms.append(1 - unit(f) @ v[item] if cosine else ((f - v[item]) ** 2).sum())
    batch = Rows(torch.tensor([1, 7, 5, 0]))  # 7 has no vector, and 0 no row
    assert model.loss(batch)["regression"].item() == pytest.approx(np.mean(terms), rel=1e-6)
    model.loss(batch)["regression"].backward()
    assert model.item2vec.inputs.weight.grad is None


@pytest.mark.parametrize("own", [True, False])
def test_an_item_is_its_mapped_content_and_a_known_one_may_stay_collaborative(own: bool):
    model = model_of("CB2CF", own_vectors=own)
    v, found = unit(array(model.item2vec.inputs.weight)), array(model.item_vectors(everything()))
    for item in range(ITEMS):
        mapped = item != 7 and not (own and item != 0)
        expected = unit(perceptron(model.network, unit(texts()[item]))) if mapped else v[item]
        np.testing.assert_allclose(found[item], expected, rtol=1e-5)


def test_uae_sets_a_users_item_against_those_of_the_batch():
    model = model_of("UAE", temperature=0.3)
    w = array(model.history.table.weight)
    linear = model.users.layers[0]
    seen = {0: {1, 3, 4, 5}, 1: {2, 6, 7}, 2: {3, 8}}
    items = [perceptron(model.items, unit(x)) if np.isfinite(x).all() else array(model.missing) for x in texts()]
    items = unit(np.stack(items))

    def user(u: int, without: int | None = None) -> np.ndarray:
        own = sorted(seen[u] - {without})
        return unit(array(linear.weight) @ w[own].mean(0) + array(linear.bias)) / 0.3

    batch = Pairs(torch.tensor([0, 1, 2, 0]), torch.tensor([3, 2, 3, 5]), torch.tensor([[6], [0], [1], [2]]))
    terms = []
    for b, (u, i, n) in enumerate([(0, 3, 6), (1, 2, 0), (2, 3, 1), (0, 5, 2)]):
        negatives = [j for a, j in ((0, 3), (1, 2), (2, 3), (0, 5)) if a != u and j != i]
        logit = items @ user(u, i)
        terms.append(np.log(np.exp(logit[[i, *negatives, n]]).sum()) - logit[i])
        assert len(negatives) == [1, 3, 2, 2][b]
    assert model.loss(batch)["contrast"].item() == pytest.approx(np.mean(terms), rel=1e-5)
    score = array(model.score(torch.tensor([0, 2]), torch.tensor([8, 7])))
    np.testing.assert_allclose(score, [items[8] @ user(0), items[7] @ user(2)], rtol=1e-5)


# ------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("name", ["UniSRec", "VQRec", "MISSRec", "CB2CF", "UAE"])
def test_data_without_vectors_is_refused(name: str):
    bare = made()
    bare = TrainData(bare.users, {"film": Table(ITEMS)}, bare.interactions, feedback=Feedback("01", negatives=1))
    with pytest.raises(ValueError, match=f"^{name} needs vectors of items"):
        model_of(name, bare)


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="a multiple of num_heads, got 9"):
        find_model("MISSRec").Config(embedding_size=9)
