"""BPR-HFT and DeepCoNN against literal readings of their equations, in float64 and with loops."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hrec.datasets.batches import Draw, Joint, Pairs, Points, Rows
from hrec.datasets.columns import Tokens
from hrec.datasets.recdata import Feedback, Interactions, Table, TrainData
from hrec.datasets.tokens import chosen_texts
from hrec.models.content.bpr_hft import BPRHFT
from hrec.models.content.deepconn import NO_ROW, DeepCoNN, Documents
from hrec.models.layers.bags import EmbeddingTable
from hrec.models.layers.rows import declared_rows
from hrec.models.layers.text_cnn import NO_WORD, TextCNN
from hrec.pipeline.init_from import _matches

WORDS = ["amp", "bow", "cap", "dot", "ear"]
REVIEWS = [[0, 1], [2, 2, 3], [], [1, 4, 0, 0], [3], [2, 0]]
USER, ITEM = [0, 0, 1, 1, 2, 2], [0, 1, 0, 2, 2, 3]
RATING = [5.0, 1, 4, np.nan, 3, 2]


def tiny(**changes: Any) -> TrainData:
    """Four users, the last without a row, and five items, the last without one; six rows with a review each."""
    offset = np.cumsum([0, *map(len, REVIEWS)])
    text = Tokens(offset, np.array(list(chain(*REVIEWS)), np.int32), np.array(WORDS, object))
    user, item = np.array(USER, np.int32), np.array(ITEM, np.int32)
    x = Interactions(user, item, np.zeros(6, np.int16), rating=np.array(RATING, np.float32), columns={"review": text})
    return TrainData(Table(4), {"film": Table(5)}, replace(x, **changes))


def build(cls: Any, data: TrainData | None = None, **settings: Any) -> Any:
    """A model in float64, all of its weights other than 0."""
    torch.manual_seed(3)
    model = cls(cls.Config(**settings), data or tiny()).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in model.named_parameters()}


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


# ----------------------------------------------------------------------------------------- BPR-HFT


@pytest.mark.parametrize("log_background", [True, False])
def test_the_words_of_bpr_hft_have_the_likelihood_of_the_topics(log_background: bool):
    settings = {"embedding_size": 3, "text_weight": 0.7, "kappa": 1.5, "log_background": log_background}
    model = build(BPRHFT, **settings)
    w, item = weights(model), [2, 0]
    count = np.bincount(list(chain(*REVIEWS)), minlength=5)
    background = count / count.sum()
    background = np.log(background) if log_background else background
    phi = np.stack([softmax(background + w["topics.psi"][:, k]) for k in range(3)])
    total = 0.0
    for i in item:
        theta = softmax(w["topics.kappa"] * w["items.weight"][i])
        for row, words in enumerate(REVIEWS):
            total += sum(np.log(theta @ phi[:, word]) for word in words) * (ITEM[row] == i)
    batch = Joint(Pairs(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]])), Rows(torch.tensor(item)))
    loss = model.loss(batch)
    # two of the four items with a row stand for all of them, and there are six positives
    assert loss["text"].item() == pytest.approx(-0.7 * (total / 2) * 4 / 6, rel=1e-5)
    score = w["bias.weight"][:, 0] + w["users.weight"][0] @ w["items.weight"].T
    assert loss["bpr"].item() == pytest.approx(np.log1p(np.exp(score[2] - score[1])))
    ranked = model.score(torch.zeros(5, dtype=torch.int64), torch.arange(5)).detach().numpy()
    np.testing.assert_allclose(ranked, score)


def test_an_epoch_of_bpr_hft_takes_the_words_of_each_item_once():
    model = build(BPRHFT, embedding_size=3)
    draw = Draw(3, torch.Generator().manual_seed(0), torch.device("cpu"))
    items = torch.cat([batch.items.row for batch in model.sampler(tiny()).epoch(draw)])
    assert sorted(items.tolist()) == [0, 1, 2, 3]


def test_the_factors_of_an_item_learn_from_its_words():
    model = build(BPRHFT, embedding_size=3)
    model.topics(model.items.weight, torch.arange(5)).sum().backward()
    moved = model.items.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [True, True, True, True, False]


# ---------------------------------------------------------------------------------------- DeepCoNN


def pooled(model: Any, words: list[int], side: str) -> np.ndarray:
    """c of a document, NO_WORD where a word is left out, window by window."""
    w = weights(model)
    weight, bias = w[f"{side}.cnn.weight"], w[f"{side}.cnn.bias"]
    out = np.zeros(len(bias))
    for t, word in enumerate(words):
        if word == NO_WORD:
            continue
        value = bias.copy()
        for o in range(len(weight)):
            at = t + o - (len(weight) - 1) // 2
            if 0 <= at < len(words) and words[at] != NO_WORD:
                value += weight[o] @ w["words.weight"][words[at]]
        out = np.maximum(out, value)
    return out


def expected(model: Any, of_user: list[int], of_item: list[int]) -> float:
    """w_0 + w . z + sum over j < k of <v_j, v_k> z_j z_k, for the two documents."""
    w, z = weights(model), []
    for side, words in (("user", of_user), ("item", of_item)):
        c = pooled(model, words, side)
        z.append(np.maximum(w[f"{side}.latent.weight"] @ c + w[f"{side}.latent.bias"], 0))
    z = np.concatenate(z)
    v = np.concatenate([w["user.factors"], w["item.factors"]])
    first = np.concatenate([w["user.first_order"], w["item.first_order"]])
    second = sum(v[j] @ v[k] * z[j] * z[k] for j in range(len(z)) for k in range(j + 1, len(z)))
    return float(w["mean"] + first @ z + second)


def document(owners: list[int], owner: int, without: int = NO_ROW, rows: tuple[int, ...] = (0, 1, 2, 4, 5)) -> list:
    """The reviews of rows with a rating, one after another; NO_WORD in place of the words of one row."""
    of = [[NO_WORD] * len(REVIEWS[r]) if r == without else REVIEWS[r] for r in rows if owners[r] == owner]
    return list(chain(*of))


SMALL = {"word_size": 4, "kernels": 6, "latent_size": 9, "factors": 3, "length_quantile": 1.0, "init_std": 0.5}


@pytest.mark.parametrize("width", [1, 2, 3])
def test_deepconn_is_a_factorisation_machine_over_both_documents(width: int):
    model = build(DeepCoNN, **SMALL, width=width)
    user, item = (a.flatten() for a in torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij"))
    score = model.score(user, item).detach().numpy()
    pairs = zip(user.tolist(), item.tolist(), strict=True)
    want = [expected(model, document(USER, u), document(ITEM, i)) for u, i in pairs]
    np.testing.assert_allclose(score, want, rtol=1e-8)
    assert len(set(np.round(want, 6))) >= 8  # two users have no words; two items have one maximum


@pytest.mark.parametrize("exclude_target", [True, False])
def test_the_loss_of_ratings_leaves_the_own_review_out_of_both_documents(exclude_target: bool):
    model = build(DeepCoNN, **SMALL, exclude_target=exclude_target)
    rows = [5, 0, 2]
    user, item = (torch.tensor([a[r] for r in rows]) for a in (USER, ITEM))
    rating = torch.tensor([RATING[r] for r in rows], dtype=torch.float64)
    loss = model.loss(Points(user, item, torch.ones(3), row=torch.tensor(rows), rating=rating))
    out = [r if exclude_target else NO_ROW for r in rows]
    want = [
        (expected(model, document(USER, USER[r], o), document(ITEM, ITEM[r], o)) - RATING[r]) ** 2
        for r, o in zip(rows, out, strict=True)
    ]
    assert loss["rating"].item() == pytest.approx(np.mean(want), rel=1e-6)


def test_the_loss_of_pairs_leaves_the_own_review_out_of_the_positive_and_the_user():
    data = tiny()
    model = build(DeepCoNN, data, **SMALL, loss="bpr")
    batch = Pairs(torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([[2], [0]]), torch.tensor([1, 5]))
    rows = range(6)

    def vectors(side: str, owners: list[int], owner: int, without: int = NO_ROW) -> Tensor:
        words = torch.tensor([document(owners, owner, without, tuple(rows))])
        part = getattr(model, side)
        z = F.relu(part.latent(part.cnn(model.words, words)))
        return model._user(_machine(part, z)) if side == "user" else model._item(_machine(part, z))

    ahead = [
        (vectors("user", USER, u, r) * (vectors("item", ITEM, j) - vectors("item", ITEM, i, r))).sum()
        for u, i, j, r in ((0, 1, 2, 1), (2, 3, 0, 5))
    ]
    want = F.softplus(torch.stack(ahead)).mean()
    torch.testing.assert_close(model.loss(batch)["bpr"], want)


def _machine(side: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    pairs = torch.einsum("bj,bk,jf,kf->bjk", z, z, side.factors, side.factors)
    own = torch.triu(pairs, diagonal=1).sum((1, 2)) + (0 if side.first_order is None else z @ side.first_order)
    return z @ side.factors, own[:, None]


def test_the_gradient_of_the_maximum_is_that_of_all_windows():
    torch.manual_seed(0)
    cnn, words = TextCNN(4, 6, 3).double(), EmbeddingTable(5, 4, 0.5).double()
    texts = torch.tensor([[0, 1, 2, 3, 4, 2], [3, NO_WORD, 0, 1, NO_WORD, NO_WORD], [NO_WORD] * 6])
    up = torch.randn(3, 6, dtype=torch.float64)
    (cnn(words, texts) * up).sum().backward()
    found = [p.grad.to_dense().clone() for p in (words.weight, cnn.weight, cnn.bias)]
    for p in (words.weight, cnn.weight, cnn.bias):
        p.grad = None
    there = texts != NO_WORD
    vectors = words.weight[texts.clamp(min=0)] * there[..., None]
    all_windows = F.relu(F.conv1d(vectors.mT, cnn.weight.permute(1, 2, 0), cnn.bias, padding=1)) * there[:, None]
    out = all_windows.amax(2)
    torch.testing.assert_close(cnn(words, texts), out)
    (out * up).sum().backward()
    for gradient, p in zip(found, (words.weight, cnn.weight, cnn.bias), strict=True):
        torch.testing.assert_close(gradient, p.grad)


def test_documents_are_cut_at_the_length_of_a_quantile():
    data = tiny()
    of_user = Documents(data, np.arange(6), "user", "review", 0.5)
    assert of_user(torch.arange(4)).tolist() == [[0, 1, 2, 2], [1, 4, 0, 0], [3, 2, 0, -1], [-1] * 4]  # 5, 4 and 3
    assert of_user(torch.tensor([0, 2]), torch.tensor([1, 4])).tolist() == [[0, 1, -1, -1], [-1, 2, 0, -1]]


def test_ratings_are_learnt_from_the_rows_that_have_one():
    data = replace(tiny(), feedback=Feedback("01", negatives=2))
    model = build(DeepCoNN, data, **SMALL)
    batches = list(model.sampler(data).epoch(Draw(4, torch.Generator().manual_seed(0), torch.device("cpu"))))
    row, rating = (torch.cat([getattr(b, name) for b in batches]) for name in ("row", "rating"))
    assert sorted(row.tolist()) == [0, 1, 2, 4, 5]
    assert rating.tolist() == [RATING[r] for r in row.tolist()]
    assert float(DeepCoNN(DeepCoNN.Config(**SMALL), data).mean) == pytest.approx(3.0)


def test_deepconn_without_ratings_names_the_loss_that_needs_none():
    with pytest.raises(ValueError, match=r"model.loss 'rating' needs ratings: .* or set it to bpr"):
        build(DeepCoNN, tiny(rating=None))
    assert build(DeepCoNN, tiny(rating=None), loss="bpr", **SMALL).mean is None


# --------------------------------------------------------------------------------- columns of texts


def test_the_only_column_of_texts_is_read_and_others_are_named():
    text = tiny().interactions.columns["review"]
    assert chosen_texts(tiny(), None) == chosen_texts(tiny(), "review") == "review"
    both = tiny(columns={"review": text, "summary": text})
    assert chosen_texts(both, "summary") == "summary"
    with pytest.raises(ValueError, match=r"model.column: 'data' has several columns.*: review, summary; name one"):
        BPRHFT(BPRHFT.Config(), both)
    with pytest.raises(ValueError, match=r"model.column: 'data' has no texts 'title'. .*interactions: review$"):
        DeepCoNN(DeepCoNN.Config(column="title"), tiny())
    with pytest.raises(ValueError, match=r'has no texts. .*: none; name one in data.feat with "type": "tokens"'):
        chosen_texts(tiny(columns={}), None)


@pytest.mark.parametrize("cls", [BPRHFT, DeepCoNN])
def test_words_are_found_again_by_their_text(cls: Any):
    text = tiny().interactions.columns["review"]
    fewer = tiny(columns={"review": replace(text, vocabulary=np.array(["dot", *"xyz", "amp"], object))})
    data, models = (tiny(), fewer), (build(cls), build(cls, fewer))
    of_words = [m.topics.psi if cls is BPRHFT else m.words.weight for m in models]
    (ours,), (theirs,) = map(declared_rows, of_words)
    here, there = _matches(ours, theirs, *data)
    assert [here.tolist(), there.tolist()] == [[0, 3], [4, 0]]


@pytest.mark.parametrize("name", ["bpr_hft", "deepconn"])
def test_the_configs_read_the_column_of_reviews(name: str):
    config = json.loads((Path(__file__).parents[2] / "configs" / f"{name}.json").read_text())
    assert config["model"]["column"] == "review" and config["data"]["planted"]["reviews"]
