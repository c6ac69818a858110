"""The best items for each user: ties, masks, chunks, and what is measured for whom."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Feedback, Interactions, RecData, Split, Table, TrainData
from hrec.models.base import BaseModel, InnerProductModel
from hrec.models.layers.top_k import top_k
from hrec.pipeline.devices import Processes
from hrec.pipeline.evaluator import Evaluator
from hrec.pipeline.metrics import ScoreError
from hrec.pipeline.ranking import Ranking
from hrec.pipeline.topn import Masked, masked_scores, users_at_once
from hrec.settings import RankingSettings

INF = torch.inf


def slow_top_k(row: list[float], k: int) -> list[int]:
    order = sorted((i for i, s in enumerate(row) if s > -INF), key=lambda i: (-row[i], i))[:k]
    return order + [-1] * (k - len(order))


@pytest.mark.parametrize("k", [1, 3, 7, 8, 12])
def test_top_k_is_a_stable_sort_also_of_ties_and_of_short_lists(k: int):
    generator = torch.Generator().manual_seed(k)
    scores = torch.randint(0, 4, (200, 8), generator=generator).float()
    scores[torch.rand(200, 8, generator=generator) < 0.3] = -INF
    assert top_k(scores, k).tolist() == [slow_top_k(row, k) for row in scores.tolist()]


def test_equal_scores_rank_in_the_order_of_the_items():
    assert top_k(torch.zeros(2, 5), 3).tolist() == [[0, 1, 2]] * 2
    assert top_k(torch.full((1, 4), -INF), 2).tolist() == [[-1, -1]]


def test_masked_cells_are_those_of_each_user():
    masked = Masked.of(np.array([2, 0, 2]), np.array([1, 3, 0]), 4, torch.device("cpu"))
    row, item = masked.cells(torch.tensor([2, 1, 2, 0]))
    assert sorted(zip(row.tolist(), item.tolist(), strict=True)) == [(0, 0), (0, 1), (2, 0), (2, 1), (3, 3)]


def test_chunks_keep_to_the_budget_and_change_nothing():
    n, table = 1000, torch.randn(50, 1000, generator=torch.Generator().manual_seed(0))
    masked = Masked.of(np.arange(50), np.arange(50), 50, torch.device("cpu"))
    assert users_at_once(n, 0.1) == 6 and users_at_once(n, 1e-9) == 1
    found = []
    for memory in (0.1, 512):
        chunks = list(masked_scores(lambda q: table[q.user].clone(), Queries(torch.arange(50)), n, masked, memory))
        found.append(torch.cat([scores for _, scores in chunks]))
        assert len(chunks) == math.ceil(50 / users_at_once(n, memory))
    assert torch.equal(*found) and (found[0].diagonal() == -INF).all()


def test_nan_scores_are_refused_and_infinite_ones_are_not():
    masked = Masked.of(np.array([0]), np.array([0]), 2, torch.device("cpu"))
    with pytest.raises(ScoreError, match="1 of 6 scores are NaN"):
        bad = torch.tensor([[1.0, math.nan, 2], [0, 0, 0]])
        next(masked_scores(lambda queries: bad, Queries(torch.arange(2)), 3, masked, 1))
    good, none = torch.tensor([[1.0, -INF, INF]]), Masked.of(np.zeros(0, int), np.zeros(0, int), 1, torch.device("cpu"))
    (_, scores), *_ = masked_scores(lambda queries: good, Queries(torch.tensor([1])), 3, none, 1)
    assert top_k(scores, 3).tolist() == [[2, 0, -1]]


# ------------------------------------------------------------------------------------- measured

# two books (0, 1) and three films (2, 3, 4); user 0 has seen 0 and 2, user 1 nothing, user 2 has seen 4
TRAIN, VALID, TEST = [(0, 0), (0, 2), (2, 4)], [(0, 1)], [(0, 1), (0, 3), (1, 2), (2, 0), (2, 3)]
SCORES = torch.tensor([[9.0, 1, 8, 3, 2], [5, 4, 3, 2, 1], [1, 2, 3, 4, 5]])


def part(pairs: list[tuple[int, int]], label: list[float] | None = None) -> RecData:
    user, item = (np.array([p[i] for p in pairs], np.int32) for i in (0, 1))
    positive = None if label is None else np.array(label, np.float32)
    x = Interactions(user, item, (item >= 2).astype(np.int16), positive)
    return TrainData(Table(3), {"book": Table(2), "film": Table(3, 2)}, x, "data")


PARTS = Split(part(TRAIN), part(VALID), part(TEST))


class Fixed(BaseModel):
    """Scores that are given."""

    def __init__(self, scores: Tensor = SCORES) -> None:
        super().__init__(self.Config(), PARTS.train)
        self.table = nn.Parameter(scores)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.table[user, item]


def measured(*metrics: str, parts: Split = PARTS, scores: Tensor = SCORES, **settings: object) -> dict[str, float]:
    return Ranking(RankingSettings(**settings), metrics, parts).measure(Fixed(scores), parts.test)


def test_seen_items_are_no_candidates_and_recall_divides_by_what_the_user_likes():
    # user 0: 3, 4, 1 -> hits at 1 and 3 of 2; user 1: 0, 1, 2 -> hit at 3 of 1; user 2: 3, 2, 1, 0 -> hits at 1 and 4
    got = measured("recall@1", "recall@3", "mrr@3")
    assert got["recall@1"] == pytest.approx((1 / 2 + 0 + 1 / 2) / 3)
    assert got["recall@3"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert got["mrr@3"] == pytest.approx((1 + 1 / 3 + 1) / 3)


def test_lists_of_a_kind_hold_that_kind_alone_and_count_its_users():
    got = measured("recall@1")
    # books: user 0 has 1 left (hit), user 2 ranks 1 before 0 (no hit); films: 3 (hit), 2 (hit), 3 (hit)
    assert got["recall@1/book"] == pytest.approx(1 / 2) and got["recall@1/film"] == pytest.approx(1)


def test_metrics_of_the_catalogue_see_the_lists_of_users_who_like_something_of_the_kind():
    got = measured("coverage@1")
    # first books: user 0 gets 1, user 2 gets 1; user 1, who would get 0, likes no book
    assert got["coverage@1/book"] == 1 / 2 and got["coverage@1/film"] == 2 / 3


def test_cold_and_warm_users_head_and_tail_items():
    got = measured("recall@3", cold_rows=0, head_share=0.2)  # the head is one item: 0, the first of those with one row
    assert got["recall@3/cold_users"] == 1 and got["recall@3/warm_users"] == pytest.approx(3 / 4)
    assert got["recall@3/head_items"] == 0  # user 2 alone likes it and finds it fourth
    assert got["recall@3/tail_items"] == pytest.approx((2 / 2 + 1 + 1) / 3)


def test_validation_rows_are_hidden_in_test_lists_if_asked():
    assert measured("hit@3")["hit@3"] == 1
    with_valid = measured("recall@3", mask_valid=True)
    assert with_valid["recall@3"] == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)  # user 0 cannot get item 1 any more


def test_drawn_negatives_of_validation_are_not_hidden():
    valid = part([(0, 1), (0, 3)], [1, 0])
    drawn = Split(replace(part(TRAIN), feedback=Feedback(negatives=1)), valid, part(TEST))
    assert Ranking(RankingSettings(mask_valid=True), ["hit@1"], drawn).hidden(drawn.test)[1].tolist() == [0, 2, 4, 1]
    explicit = Split(part(TRAIN), valid, part(TEST))
    hidden = Ranking(RankingSettings(mask_valid=True), ["hit@1"], explicit).hidden(explicit.test)
    assert hidden[1].tolist() == [0, 2, 4, 1, 3]


def test_known_and_new_items_are_tables_of_their_own():
    # known: 0, 2, 4; new: 1, 3. user 0 likes 1 and 3, user 1 likes 2, user 2 likes 0 and 3
    known = measured("recall@1", "coverage@2", items="known")
    assert known["recall@1"] == 0 and known["coverage@2"] == pytest.approx(2 / 3)  # user 1 gets 0, 2; user 2 gets 2, 0
    new = measured("recall@1", items="new")
    assert new["recall@1"] == pytest.approx((1 / 2 + 1) / 2)


def test_new_items_of_the_part_are_those_that_somebody_likes_there():
    # new: 1 and 3, both liked in test; once user 0's row with 1 is disliked, 3 is the only candidate
    assert measured("coverage@1", items="new_of_part")["coverage@1"] == pytest.approx(1 / 2)
    labels = Split(part(TRAIN), part(VALID), part(TEST, [0, 1, 1, 1, 1]))
    got = measured("recall@1", "coverage@1", parts=labels, items="new_of_part")
    assert got == got | {"recall@1": 1.0, "coverage@1": 1.0}


def test_negative_rows_are_not_relevant_and_a_part_without_users_has_no_value():
    labels = Split(part(TRAIN), part(VALID), part(TEST, [1, 0, 0, 0, 1]))
    assert measured("recall@3", parts=labels)["recall@3"] == 1
    nothing = Split(part(TRAIN), part(VALID), part([]))
    assert math.isnan(measured("recall@3", parts=nothing)["recall@3"])


def test_lists_longer_than_the_catalogue_end():
    assert measured("recall@50")["recall@50"] == 1 and measured("precision@50")["precision@50"] == pytest.approx(
        (2 + 1 + 2) / 50 / 3
    )


def test_all_equal_scores_recommend_the_first_items():
    assert measured("hit@1", scores=torch.zeros(3, 5))["hit@1"] == pytest.approx(2 / 3)  # 1, 0 and 0 come first


def test_sampled_candidates_are_the_positives_and_that_many_others_drawn_once():
    rng = np.random.default_rng(0)
    user, item = np.divmod(rng.permutation(40 * 60)[:600], 60)
    x = Interactions(user.astype(np.int32), item.astype(np.int32), np.zeros(600, np.int16))
    data = TrainData(Table(40), {"item": Table(60)}, x)
    parts = Split(*(data.with_interactions(x.take(np.arange(a, b))) for a, b in ((0, 400), (400, 500), (500, 600))))
    ranking = Ranking(RankingSettings(sampled=7), ["recall@3"], parts)
    drawn = ranking._drawn(parts.test, torch.device("cpu"))
    assert drawn is not None
    positive, seen = set(ranking.relevant(parts.test).tolist()), set((user[:400] * 60 + item[:400]).tolist())
    for u in range(40):
        of_user = drawn.item[drawn.offset[u] : drawn.offset[u + 1]].tolist()
        own = [i for i in of_user if u * 60 + i in positive]
        assert len(set(of_user)) == len(of_user) and not {u * 60 + i for i in of_user} & seen
        assert len(of_user) == (len(own) + 7 if own else 0)
    again = ranking._drawn(parts.test, torch.device("cpu"))
    assert again is not None and torch.equal(drawn.item, again.item)


class Inner(InnerProductModel):
    def __init__(self) -> None:
        super().__init__(self.Config(), PARTS.train)
        torch.manual_seed(0)
        self.users, self.items = nn.Embedding(3, 4), nn.Embedding(5, 4)

    def user_vectors(self, user: Tensor) -> Tensor:
        return self.users(user)

    def item_vectors(self, item: Tensor) -> Tensor:
        return self.items(item)


@pytest.mark.parametrize("rows_at_once", [1, 2, 7, 16_384])
def test_a_ranker_gives_what_score_gives(rows_at_once: int):
    user, item = torch.arange(3), torch.arange(5)
    for model in (Fixed(), Inner()):
        model.rows_at_once = rows_at_once  # type: ignore[misc]
        with torch.no_grad():
            pairs = model.score(user.repeat_interleave(5), item.repeat(3)).view(3, 5)
            torch.testing.assert_close(model.ranker()(Queries(user)), pairs)


@pytest.mark.parametrize("world", [2, 5])
def test_processes_that_share_the_users_measure_what_one_does(monkeypatch: pytest.MonkeyPatch, world: int):
    """Each process in turn, with what the others would send taken from a run of one process."""
    metrics, whole = ["recall@2", "coverage@2"], []
    with monkeypatch.context() as patch:
        patch.setattr(Processes, "gather", lambda self, mine, n: whole.append(mine) or mine)
        alone = measured(*metrics)
    for rank in range(world):
        turn = iter(whole)

        def send(parts: list[np.ndarray], mine: np.ndarray, turn=turn, rank=rank) -> None:
            array = next(turn)
            parts[:] = [array[k::world] for k in range(world)]
            np.testing.assert_array_equal(mine, parts[rank])

        monkeypatch.setattr(torch.distributed, "all_gather_object", send)
        ranking = Ranking(RankingSettings(), metrics, PARTS, Processes(rank, world))
        assert ranking.measure(Fixed(), PARTS.test) == pytest.approx(alone, nan_ok=True)


def test_the_evaluator_measures_rows_and_lists_together():
    labelled = replace(PARTS, test=part(TEST, [1, 0, 1, 0, 1]))
    got = Evaluator(["auc", "recall@2"], ranking=(RankingSettings(), labelled)).measure(Fixed(), labelled.test)
    assert {"auc", "auc/pooled", "recall@2", "recall@2/film", "recall@2/warm_users"} <= got.keys()
    with pytest.raises(ValueError, match="recall@2 needs"):
        Evaluator(["recall@2"])


def test_each_users_value_stands_at_the_users_number():
    only = replace(PARTS, test=part([(0, 1), (0, 3), (2, 0), (2, 3)]))
    of_each = Ranking(RankingSettings(), ["recall@1", "coverage@1"], only).of_each_user(Fixed(), only.test)
    assert of_each.keys() == {"recall@1", "recall@1/book", "recall@1/film"}
    np.testing.assert_array_equal(of_each["recall@1"], [1 / 2, np.nan, 1 / 2])
