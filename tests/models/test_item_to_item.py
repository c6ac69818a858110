"""UniEmbedding, Item2Vec, co-occurrence counts and text vectors against their equations, in double precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hrec.datasets.batches import Draw, ItemPairs
from hrec.datasets.columns import Dense
from hrec.datasets.excerpts import Excerpt, Excerpts
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Feedback, Interactions, Table, TrainData
from hrec.datasets.sequence_samplers import WithinSequence
from hrec.datasets.sequences import Sequences
from hrec.models.layers.cooccurrence import pairs_within
from hrec.models.layers.domain_contrast import Candidates, multi_domain_contrast
from hrec.models.layers.skip_gram import SkipGram, kept
from hrec.models.sequential.cooccurrence import CoOccurrence
from hrec.models.sequential.item2vec import Item2Vec
from hrec.models.sequential.text_vectors import TextVectors
from hrec.models.sequential.uniembedding import UniEmbedding

CPU = torch.device("cpu")
USERS, BOOKS, FILMS, WIDTH = 7, 9, 6, 5
SMALL: dict[str, Any] = {"embedding_size": 8, "hidden": 6, "items_per_step": 4, "max_length": 6, "dropout": 0.0}


def data(image_width: int | None = None, seed: int = 0) -> TrainData:
    """Users with sequences of books and films; user 0 has one item. Books have a text, films a text and an image; book
    3 has no text, film 11 no image, film 12 neither."""
    rng = np.random.default_rng(seed)
    item = np.concatenate([[2], *(rng.permutation(BOOKS + FILMS)[: 4 + user] for user in range(1, USERS))])
    user = np.repeat(np.arange(USERS), [1, *(4 + u for u in range(1, USERS))])
    kind = (item >= BOOKS).astype(np.int16)
    time = rng.permutation(len(item)).astype(np.float64)
    x = Interactions(user.astype(np.int32), item.astype(np.int32), kind, time=time)
    text = rng.normal(size=(BOOKS + FILMS, WIDTH)).astype(np.float32)
    text[[3, 12]] = np.nan
    image = rng.normal(size=(FILMS, image_width or WIDTH)).astype(np.float32)
    image[[2, 3]] = np.nan
    films = {"text": Dense(text[BOOKS:])} | ({} if image_width == 0 else {"image": Dense(image)})
    kinds = {"book": Table(BOOKS, 0, {"text": Dense(text[:BOOKS])}), "film": Table(FILMS, BOOKS, films)}
    return TrainData(Table(USERS), kinds, x, "tiny", feedback=Feedback("01"))


def draw(batch_size: int = 4, seed: int = 0) -> Draw:
    return Draw(batch_size, torch.Generator().manual_seed(seed), CPU)


def build(**settings: Any) -> UniEmbedding:
    torch.manual_seed(0)
    return UniEmbedding(UniEmbedding.Config(**SMALL | settings), data()).double()


def batch_of(model: UniEmbedding, batch_size: int = 4) -> Excerpt:
    return next(iter(model.sampler(data()).epoch(draw(batch_size))))


def unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt()


# ---------------------------------------------------------------------------- Eq. 1, adapters and modalities


def literal_adapter(model: UniEmbedding, number: int, m: Tensor, kind: str) -> Tensor:
    """Eq. 1 of one vector, expert by expert."""
    adapter = model.adapters[number]
    m = m * adapter.scale
    outputs = []
    for experts in (adapter.own[kind], adapter.shared):
        for k in range(experts.count):
            rows = slice(k * experts.hidden, (k + 1) * experts.hidden)
            inner = experts.first.weight[rows] @ m + experts.first.bias[rows]
            inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
            outputs.append(experts.second[k].T @ inner + experts.bias[k])
    gate = torch.exp(adapter.gates[kind].weight @ m + adapter.gates[kind].bias)
    return torch.stack(outputs, 1) @ (gate / gate.sum())


def test_an_item_is_the_normalised_mean_of_mixtures_of_experts():
    """Eq. 1. Without an image the text stands for it, and a text is missing only where both are."""
    model, made = build(experts={"of_kind": 2, "shared": 3}), data()
    found = model.content(torch.arange(BOOKS + FILMS))
    for item in range(BOOKS + FILMS):
        kind = "book" if item < BOOKS else "film"
        text = torch.from_numpy(made.kinds[kind].columns["text"].value[item - BOOKS * (kind == "film")])
        image = text if kind == "book" else torch.from_numpy(made.kinds["film"].columns["image"].value[item - BOOKS])
        image = text if image.isnan().any() else image
        if text.isnan().any():
            assert not found[item].any()  # nothing is known of book 3 and film 12
            continue
        parts = [literal_adapter(model, i, unit(m.float()).double(), kind) for i, m in enumerate((text, image))]
        torch.testing.assert_close(found[item], unit((parts[0] + parts[1]) / 2), rtol=0, atol=1e-7)


def test_a_modality_of_another_width_is_left_out_of_the_mean_of_an_item_without_it():
    torch.manual_seed(0)
    model = UniEmbedding(UniEmbedding.Config(**SMALL), data(image_width=4)).double()
    text = model.adapters[0](torch.tensor([11, 0]))
    torch.testing.assert_close(model.content(torch.tensor([11, 0])), unit(text))
    both = [adapter(torch.tensor([9])) for adapter in model.adapters]
    torch.testing.assert_close(model.content(torch.tensor([9])), unit(both[0] + both[1]))


def test_vectors_may_be_normalised_before_the_mean():
    after, before = build(), build(normalise="before")
    item = torch.tensor([10])
    parts = [unit(adapter(item)) for adapter in before.adapters]
    torch.testing.assert_close(before.content(item), unit(parts[0] + parts[1]))
    assert (before.content(item) - after.content(item)).abs().max() > 1e-3


def test_without_experts_one_perceptron_maps_the_vectors_of_all_kinds():
    model = build(experts=None)
    assert not any("gates" in name or "own" in name for name, _ in model.named_parameters())
    shared = model.adapters[0].shared
    assert shared.count == 1
    m = model.adapters[0].vectors.value[[0, 9]] * model.adapters[0].scale
    torch.testing.assert_close(model.adapters[0].scale.double() ** -2 * 5, torch.ones((), dtype=torch.float64))
    expected = torch.nn.functional.gelu(shared.first(m)) @ shared.second[0] + shared.bias[0]
    torch.testing.assert_close(model.adapters[0](torch.tensor([0, 9])), expected)


def test_the_experts_of_a_kind_read_its_items_alone():
    model = build()
    model.content(torch.tensor([0, 1])).sum().backward()
    own = [model.adapters[0].own[kind].second.grad.abs().sum() for kind in ("book", "film")]
    assert own[0] > 0 and own[1] == 0
    assert model.adapters[0].shared.second.grad.abs().sum() > 0


# ---------------------------------------------------------------------------------- Eq. 2-3, the user view


def literal_matrix(model: UniEmbedding, z: Tensor, number: int) -> Tensor:
    """M: head h maps its slice of z to d / H rows."""
    heads, d = model.config.view.num_heads, len(z)
    part = d // heads
    rows = []
    for h in range(heads):
        weight = model.view.projection[number, h]  # [part, part * d]
        flat = sum(z[h * part + i] * weight[i] for i in range(part))
        rows += [flat[r * d : (r + 1) * d] for r in range(part)]
    return torch.stack(rows)


def with_large_views(**view: Any) -> UniEmbedding:
    return build(view={"num_heads": 2, "init_std": 1.0, "bound": None} | view)


def test_an_anchor_is_seen_through_the_matrices_of_the_mix_and_of_its_kind():
    """Eq. 2-3: E_ui = (M_M + M_j) E_i + E_i, z the mean of the outputs at the entries that may be read."""
    model = with_large_views()
    batch = batch_of(model)
    view, vectors = model.view, model.content(batch.item.flatten()).unflatten(0, batch.item.shape)
    mask = batch.mask & model.known[batch.item]
    seen, square = model._viewed(view, batch, vectors, mask)
    squares = []
    for b in range(len(batch)):
        read = batch.context.mask[b].nonzero().squeeze(1)
        z = torch.zeros(8, dtype=torch.float64)
        if len(read):  # the same alone, without padding
            length = batch.context.mask.shape[1]
            place = read - length
            x = view.items.weight[batch.context.item[b, read]] + view.positions[place]
            x = x + view.kinds[batch.context.kind[b, read]]
            z = view.encoder(x[None])[0].mean(0)
        for slot in mask[b].nonzero().squeeze(1).tolist():
            kind = int(batch.item[b, slot] >= BOOKS)
            added = (literal_matrix(model, z, -1) + literal_matrix(model, z, kind)) @ vectors[b, slot]
            squares.append(added.square().sum())
            torch.testing.assert_close(seen[b, slot], unit(added + vectors[b, slot]), rtol=0, atol=1e-9)
    torch.testing.assert_close(square, torch.stack(squares).mean())
    assert square > 0.1  # or the view would not matter here


def test_what_a_view_adds_keeps_its_direction_and_is_bounded():
    free, bounded = with_large_views(), with_large_views(bound=0.5)
    added = 30 * torch.randn(3, 4, 8, dtype=torch.float64)
    assert free.view.bounded(added) is added
    held = bounded.view.bounded(added)
    assert held.norm(dim=2).max() < 0.5 and held.norm(dim=2).min() > 0.45
    torch.testing.assert_close(unit(held), unit(added))
    small = 1e-3 * added
    torch.testing.assert_close(bounded.view.bounded(1e-3 * small), 1e-3 * small, rtol=1e-2, atol=0)


def test_a_view_begins_near_nothing_and_its_size_is_a_term_of_the_loss():
    model = build(view={"num_heads": 2, "penalty": 0.25})
    terms = model.loss(batch_of(model))
    assert 0 < terms["view"] < 1e-2
    large = with_large_views(penalty=0.25)
    assert large.loss(batch_of(large))["view"] > 0.02
    assert set(build(user_view=False).loss(batch_of(model))) == {"contrast"}


def test_a_user_without_an_entry_to_read_has_no_view():
    model = with_large_views()
    batch = batch_of(model)
    empty = replace(batch.context, mask=torch.zeros_like(batch.context.mask))
    vectors = torch.randn(*batch.item.shape, 8, dtype=torch.float64)
    seen, square = model._viewed(model.view, replace(batch, context=empty), vectors, batch.mask)
    torch.testing.assert_close(seen, unit(vectors))
    assert square == 0
    seen.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.view.parameters() if p.grad is not None)


# --------------------------------------------------------------------------------------------- Eq. 4, the loss


def literal_loss(model: UniEmbedding, batch: Excerpt, made: TrainData) -> Tensor:
    """Eq. 4, anchor by anchor."""
    c = model.config
    vectors = model.content(batch.item.flatten()).unflatten(0, batch.item.shape)
    mask = batch.mask & model.known[batch.item]
    seen = vectors if model.view is None else model._viewed(model.view, batch, vectors, mask)[0]
    x, terms = made.interactions, []
    for b in range(len(batch)):
        own = set(x.item[x.user == int(batch.user[b])].tolist())
        for a in mask[b].nonzero().squeeze(1).tolist():
            score = {(r, s): (seen[b, a] @ vectors[r, s]) / c.temperature for r, s in mask.nonzero().tolist()}
            positives = [v for (r, s), v in score.items() if r == b and s != a]
            negatives = [
                v for (r, s), v in score.items() if batch.user[r] != batch.user[b] and int(batch.item[r, s]) not in own
            ]
            if positives and negatives:
                below = negatives + (positives if c.denominator == "all" else [])
                total = torch.stack(below).exp().sum()
                terms.append(-sum(torch.log(p.exp() / total) for p in positives) / len(positives))
    return torch.stack(terms).mean()


CASES: list[dict[str, Any]] = [
    {},
    {"denominator": "all"},
    {"cross_domain": False},
    {"user_view": False, "temperature": 0.5},
    {"view": {"num_heads": 2, "init_std": 1.0, "reads_positives": True}},
]


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_the_loss_is_that_of_eq_4(settings: dict[str, Any]):
    model = build(**{"view": {"num_heads": 2, "init_std": 1.0}} | settings)
    batch = batch_of(model, 5)
    torch.testing.assert_close(model.loss(batch)["contrast"], literal_loss(model, batch, data()), rtol=0, atol=1e-10)


def made_batch(rows: int = 6, m: int = 3, n: int = 12) -> tuple[Tensor, Tensor, Tensor, Candidates]:
    g = torch.Generator().manual_seed(0)
    place = torch.stack([torch.randperm(n, generator=g)[:m] for _ in range(rows)])
    mask = torch.ones(rows, m, dtype=torch.bool)
    mask[1, 2] = mask[2, 1:] = False
    vectors = unit(torch.randn(n, 4, generator=g, dtype=torch.float64)).requires_grad_()
    anchor = unit(torch.randn(rows, m, 4, generator=g, dtype=torch.float64)).requires_grad_()
    owner = torch.arange(rows).repeat_interleave(m)
    count = torch.bincount(place[mask], minlength=n)
    return anchor, place, mask, Candidates(vectors, count, owner, place.flatten())


def with_gradients(cells: int, positives_too: bool) -> list[Tensor]:
    anchor, place, mask, candidates = made_batch()
    loss = multi_domain_contrast(anchor, place, mask, candidates, 0.07, positives_too, cells)
    return [loss.detach(), *torch.autograd.grad(loss, [anchor, candidates.vectors])]


def plain(positives_too: bool) -> list[Tensor]:
    """The loss with whole matrices and torch's own gradients."""
    anchor, place, mask, c = made_batch()
    logit = torch.einsum("bmd,ud->bmu", anchor, c.vectors) / 0.07
    own = torch.zeros(len(mask), len(c.vectors), dtype=torch.bool)
    own[c.owner, c.column] = True
    negatives = (logit + c.count.double().log()).masked_fill(own[:, None], -torch.inf)
    terms = []
    for b, a in mask.nonzero().tolist():
        positive = [logit[b, a, place[b, s]] for s in mask[b].nonzero().squeeze(1).tolist() if s != a]
        if positive:
            below = torch.cat([negatives[b, a], torch.stack(positive)]) if positives_too else negatives[b, a]
            terms.append(below.logsumexp(0) - torch.stack(positive).mean())
    loss = torch.stack(terms).mean()
    return [loss.detach(), *torch.autograd.grad(loss, [anchor, c.vectors])]


@pytest.mark.parametrize("positives_too", [False, True])
@pytest.mark.parametrize("cells", [1, 50, 10**6])
def test_chunks_give_the_plain_loss_and_its_gradients(cells: int, positives_too: bool):
    for found, expected in zip(with_gradients(cells, positives_too), plain(positives_too), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def largest_result(rows: int) -> int:
    """Numbers of the largest tensor that a sum over chunks of one row makes, forward and backward."""
    made = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            made.extend(x.numel() for x in torch.utils._pytree.tree_leaves(out) if isinstance(x, Tensor))
            return out

    anchor, place, mask, candidates = made_batch(rows, 3, 2 * rows)
    with Watch():
        multi_domain_contrast(anchor, place, mask, candidates, 0.07, cells=1).backward()
    return max(made)


def test_no_tensor_grows_with_the_square_of_the_batch():
    small, large = (largest_result(rows) for rows in (20, 80))
    assert large <= 4 * small


def test_a_loss_of_one_user_has_no_negative_and_is_0():
    model = build()
    batch = batch_of(model, 1)
    loss = model.loss(batch)["contrast"]
    assert loss == 0
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# ----------------------------------------------------------------------------------------------- excerpts


def sequences(made: TrainData) -> dict[int, list[int]]:
    x = made.interactions
    order = np.lexsort((x.time, x.user))
    return {user: [int(i) for i in x.item[order][x.user[order] == user]] for user in range(made.n_users)}


def rows_of(batches: Any) -> list[tuple[int, list[int], list[int]]]:
    """(user, drawn items, items of the context) of each row."""
    return [
        (int(b.user[r]), b.item[r][b.mask[r]].tolist(), b.context.item[r][b.context.mask[r]].tolist())
        for b in batches
        for r in range(len(b))
    ]


def test_every_user_with_two_items_comes_once_with_disjoint_parts():
    made = data()
    found, whole = rows_of(Excerpts(made, 3, 6, CPU).epoch(draw(2))), sequences(made)
    assert sorted(user for user, _, _ in found) == list(range(1, USERS))  # user 0 has one item
    for user, drawn, left in found:
        newest = whole[user][-6:]
        assert len(set(drawn)) == len(drawn) == min(3, -(-len(newest) // 2))
        assert left == [item for item in newest if item not in drawn]  # oldest first, the rest in its order


def test_the_context_may_be_the_whole_sequence():
    made = data()
    for user, drawn, read in rows_of(Excerpts(made, 4, 6, CPU, disjoint=False).epoch(draw(3))):
        assert read == sequences(made)[user][-6:] and set(drawn) <= set(read) and len(drawn) == min(4, len(read))


def test_entries_of_a_context_keep_their_places():
    made = data()
    for batch in Excerpts(made, 3, 6, CPU).epoch(draw(2)):
        for row in range(len(batch)):
            newest = sequences(made)[int(batch.user[row])][-6:]
            width = batch.context.mask.shape[1]
            for at in batch.context.mask[row].nonzero().squeeze(1).tolist():
                assert newest[at - width] == int(batch.context.item[row, at])
                assert int(batch.context.kind[row, at]) == int(batch.context.item[row, at] >= BOOKS)


def test_without_cross_domain_a_sequence_is_of_one_kind():
    found = rows_of(Excerpts(data(), 4, 6, CPU, across_kinds=False).epoch(draw(3)))
    assert any(all(i < BOOKS for i in drawn) for _, drawn, _ in found)
    for _, drawn, left in found:
        assert len({item >= BOOKS for item in drawn + left}) == 1


def test_an_item_that_comes_twice_is_never_both_drawn_and_read():
    made = data()
    x = made.interactions
    twice = x.take(np.tile(np.arange(len(x)), 2))
    made = made.with_interactions(replace(twice, time=np.arange(len(twice), dtype=np.float64)))
    for _, drawn, left in rows_of(Excerpts(made, 3, 6, CPU).epoch(draw(2))):
        assert len(set(drawn + left)) == len(drawn + left)


def test_other_epochs_draw_other_items_and_the_same_seed_the_same():
    sampler = Excerpts(data(), 3, 6, CPU)
    one, again, other = (rows_of(sampler.epoch(draw(2, seed))) for seed in (0, 0, 1))
    assert one == again != other


def test_too_few_items_to_draw_are_refused():
    with pytest.raises(ValueError, match="at least 2 items"):
        Excerpts(data(), 1, 6, CPU)


# ---------------------------------------------------------------------------------- queries, fused vectors


def test_the_newest_item_is_the_query_and_a_history_of_one_item_gives_similar_items():
    model, made = build(), data()
    vectors = model.content(torch.arange(made.n_items))
    for user, items in sequences(made).items():
        torch.testing.assert_close(model.user_vectors(torch.tensor([user]))[0], vectors[items[-1]])
    x = Interactions(np.array([0], np.int32), np.array([9], np.int32), np.array([1], np.int16))
    similar = model.ranker()(Queries(torch.tensor([-1]), Sequences.of(made, x, 1)))
    torch.testing.assert_close(similar[0], vectors @ vectors[9])


def test_a_user_without_a_history_scores_everything_0():
    model, made = build(), data()
    nothing = Sequences.of(made, made.interactions.take(np.zeros(0, np.int64)), 1)
    assert not model.ranker()(Queries(torch.tensor([-1]), nothing)).any()


def test_the_fusion_adds_the_cosines_of_item2vec():
    model = build(item2vec_weight=0.5)
    item, other = torch.tensor([1, 4]), torch.tensor([9, 10])
    own, both = (a(item) * a(other) for a in (model.content, model.item_vectors))
    u = model.skip_gram.inputs.weight
    expected = own.sum(1) + 0.5 * (unit(u[item]) * unit(u[other])).sum(1)
    torch.testing.assert_close(both.sum(1), expected)
    assert [stage.name for stage in model.stages(data())] == ["item2vec", "train"]
    assert [stage.name for stage in build().stages(data())] == ["train"]


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"multiple of view\.num_heads"):
        UniEmbedding.Config(embedding_size=10)
    UniEmbedding.Config(embedding_size=10, user_view=False)


# ------------------------------------------------------------------------------------------------ Item2Vec


def test_item2vec_is_the_logistic_loss_of_a_pair_and_its_negatives():
    made = data()
    model = SkipGram(made, 4).double()
    torch.nn.init.normal_(model.outputs.weight)
    batch = ItemPairs(torch.tensor([1, 5]), torch.tensor([2, 9]), torch.tensor([3, 4]), torch.tensor([[7, 8], [0, 1]]))
    u, v = model.inputs.weight, model.outputs.weight
    terms = []
    for a, p, negatives in zip(batch.anchor, batch.positive, batch.negative, strict=True):
        term = torch.log(torch.sigmoid(u[a] @ v[p]))
        terms.append(-term - sum(torch.log(torch.sigmoid(-u[a] @ v[n])) for n in negatives))
    torch.testing.assert_close(model.loss(batch), torch.stack(terms).mean())


def test_frequent_items_are_kept_with_the_root_of_rho_over_their_share():
    np.testing.assert_allclose(kept(np.array([90, 9, 1, 0]), 0.1), [(0.1 / 0.9) ** 0.5, 1, 1, 1])


def test_subsampling_leaves_out_pairs_as_often_as_both_chances_say():
    made = data()
    keep = np.ones(made.n_items)
    keep[sequences(made)[6]] = 0.5
    full, thin = (
        sum(len(b) for seed in range(100) for b in WithinSequence(made.only("book"), CPU, keep=k).epoch(draw(99, seed)))
        for k in (None, np.where(keep < 1, keep, 1.0))
    )
    both_halved = WithinSequence(made.only("book"), CPU, keep=np.full(made.n_items, 0.5))
    quarter = sum(len(b) for seed in range(100) for b in both_halved.epoch(draw(99, seed)))
    assert abs(quarter / full - 0.25) < 0.02 and quarter < thin < full
    none = WithinSequence(made, CPU, keep=np.zeros(made.n_items))
    assert not list(none.epoch(draw()))


def test_item2vec_gives_an_item_without_a_training_row_no_vector():
    made = data()
    new = int(np.setdiff1d(np.arange(made.n_items), made.interactions.take(made.interactions.user < 2).item)[0])
    few = made.with_interactions(made.interactions.take(made.interactions.user < 2))
    model = Item2Vec(Item2Vec.Config(embedding_size=4), few)
    assert not model.item_vectors(torch.tensor([new])).any()
    torch.testing.assert_close(model.item_vectors(torch.tensor([2])).norm(), torch.tensor(1.0))


# ------------------------------------------------------------------------------------- co-occurrence counts


@pytest.mark.parametrize("window", [None, 1, 3])
def test_counts_are_of_pairs_of_entries_within_the_window(window: int | None):
    made = data()
    model = CoOccurrence(CoOccurrence.Config(window=window), made)
    next(iter(model.stages(made))).solve()
    expected = np.zeros((made.n_items, made.n_items))
    for items in sequences(made).values():
        for i, a in enumerate(items):
            for j, b in enumerate(items):
                if i != j and (window is None or abs(i - j) <= window):
                    expected[a, b] += 1
    last = [items[-1] for items in sequences(made).values()]
    ranked = model.ranker()(Queries(torch.arange(USERS)))
    np.testing.assert_array_equal(ranked.detach().numpy(), expected[last])


def test_repeated_items_count_each_pair_of_entries():
    item = torch.tensor([0, 1, 0, 2])
    one = Sequences(torch.tensor([0, 4]), item, item * 0, None, torch.ones(4), torch.ones(4, dtype=torch.bool))
    for window, both in ((None, 2), (1, 2), (3, 2)):
        ((_, counts),) = pairs_within(one, window, 3)
        assert counts.toarray()[0, 1] == counts.toarray()[1, 0] == both
    ((_, near),) = pairs_within(one, 1, 3)
    assert near.toarray()[1, 2] == 0 and near.toarray()[0, 2] == 1


def test_only_the_largest_counts_are_kept():
    made = data()
    whole, few = (CoOccurrence(CoOccurrence.Config(neighbours=k), made) for k in (99, 2))
    for model in (whole, few):
        next(iter(model.stages(made))).solve()
    every, kept_two = (m.ranker()(Queries(torch.arange(USERS))).detach() for m in (whole, few))
    best = every.topk(2, dim=1).values
    torch.testing.assert_close(kept_two.topk(2, dim=1).values, best)
    assert ((kept_two > 0).sum(1) <= 2).all()


# --------------------------------------------------------------------------------------------- text vectors


def solved(made: TrainData, **settings: Any) -> TextVectors:
    model = TextVectors(TextVectors.Config(**settings), made)
    next(iter(model.stages(made))).solve()
    return model


def test_text_vectors_are_the_mean_of_the_columns_that_an_item_has():
    made = data()
    text = unit(torch.from_numpy(np.concatenate([made.kinds[k].columns["text"].value for k in made.kinds])))
    image = unit(torch.from_numpy(made.kinds["film"].columns["image"].value))
    vectors = solved(made).item_vectors(torch.arange(made.n_items)).detach()
    torch.testing.assert_close(vectors[0], text[0])
    torch.testing.assert_close(vectors[10], unit(text[10] + image[1]))
    torch.testing.assert_close(vectors[11], text[11])
    assert not vectors[[3, 12]].any()
    alone = solved(made, columns=("text",)).item_vectors(torch.tensor([10])).detach()
    torch.testing.assert_close(alone[0], text[10])


def test_vectors_of_different_widths_are_joined_or_refused():
    made = data(image_width=3)
    with pytest.raises(ValueError, match=r"model.modalities: .* \(text 5, image 3\)"):
        TextVectors(TextVectors.Config(), made)
    joined = solved(made, modalities="concat").item_vectors(torch.tensor([0, 10])).detach()
    assert joined.shape == (2, WIDTH + 3)
    torch.testing.assert_close(joined.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("cls", [TextVectors, UniEmbedding])
def test_data_without_vectors_is_refused_in_a_sentence(cls: type):
    made = data()
    bare = replace(made, kinds={k: replace(t, columns={}) for k, t in made.kinds.items()})
    with pytest.raises(ValueError, match=f"^{cls.__name__} needs vectors of items"):
        cls(cls.Config(), bare)
