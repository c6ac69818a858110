"""Whose history a test list is made from, and candidates that are sampled within a kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrec.datasets.recdata import Feedback, Interactions, RecData, Split, Table, TrainData
from hrec.models.base import BaseModel
from hrec.models.general.ease import EASE
from hrec.models.general.itemknn import ItemKNN
from hrec.pipeline.checks import groups_of
from hrec.pipeline.ranking import Ranking, describe_candidates
from hrec.settings import RankingSettings

ITEMS = 5
CPU = torch.device("cpu")


def part(pairs: list[tuple[int, int]], label: list[float] | None = None, feedback: Feedback | None = None) -> TrainData:
    """Rows (user, item) of four users; items 0 to 2 are books, 3 and 4 are films."""
    user, item = np.array(pairs, np.int32).reshape(-1, 2).T
    given = None if label is None else np.array(label, np.float32)
    x = Interactions(user, item, (item >= 3).astype(np.int16), given)
    return TrainData(Table(4), {"book": Table(3), "film": Table(2, 3)}, x, "data", feedback or Feedback("01"))


# ------------------------------------------------------------------------- validation rows in the history

# User 0 has item 0 in training, 1 in validation and 2 in test. Item 0 is next to item 3, and item 1 next to item 2.
HISTORIES = Split(
    part([(0, 0), (1, 1), (1, 2), (2, 1), (2, 2), (3, 0), (3, 3)]),
    part([(0, 1)]),
    part([(0, 2)]),
)


def solved(cls: type[BaseModel], settings: dict) -> BaseModel:
    model = cls(cls.Config(**settings), HISTORIES.train)  # type: ignore[attr-defined]
    for stage in model.stages(HISTORIES.train):
        assert stage.solve is not None
        stage.solve()
    return model


@pytest.mark.parametrize(("cls", "settings"), [(ItemKNN, {}), (EASE, {"l2": 1.0})], ids=["ItemKNN", "EASE"])
def test_validation_rows_in_the_history_lead_to_their_neighbours_in_test_lists_alone(cls, settings):
    model = solved(cls, settings)

    def first(of: RecData, **more: bool) -> int:
        ranking = Ranking(RankingSettings(mask_valid=True, **more), ["recall@1"], HISTORIES)
        (lists,) = ranking.lists(model, of, [slice(0, ITEMS)])
        assert ranking.measure(model, of)["recall@1"] == lists.hit[0, 0]
        return int(lists.item[0, 0])

    assert first(HISTORIES.test) == 3
    assert first(HISTORIES.test, valid_in_history=True) == 2  # which is the item of the test row
    assert first(HISTORIES.valid) == first(HISTORIES.valid, valid_in_history=True) == 3


@pytest.mark.parametrize("negatives", [0, 1])
def test_drawn_validation_negatives_are_in_no_history(negatives: int):
    train = part([(0, 0)], feedback=Feedback("01", negatives))
    parts = Split(train, part([(0, 1), (0, 3)], [1, 0]), part([(0, 2)]))
    ranking = Ranking(RankingSettings(valid_in_history=True), ["recall@1"], parts)
    history = ranking._queries(torch.tensor([0]), parts.test).history
    assert history is not None
    _, item, _ = history.cells()
    assert item.tolist() == ([0, 1] if negatives else [0, 1, 3])  # without drawing, a dislike is a row like others


# ------------------------------------------------------------------------------ sampled within the kind


def wide(seed: int = 0) -> Split:
    """40 users, 30 books and 25 films, 900 rows."""
    rng = np.random.default_rng(seed)
    user, item = (a.astype(np.int32) for a in np.divmod(rng.permutation(40 * 55)[:900], 55))
    x = Interactions(user, item, (item >= 30).astype(np.int16))
    data = TrainData(Table(40), {"book": Table(30), "film": Table(25, 30)}, x, feedback=Feedback("01"))
    train, valid, test = (
        data.with_interactions(x.take(np.arange(a, b))) for a, b in ((0, 780), (780, 840), (840, 900))
    )
    return Split(train, valid, test)


def test_candidates_are_sampled_within_the_kind_of_each_positive():
    parts = wide()
    ranking = Ranking(RankingSettings(sampled=4, sampled_per_kind=True), ["recall@3"], parts)
    drawn = ranking._drawn(parts.test, CPU)
    assert drawn is not None
    seen = {(int(u), int(i)) for u, i in zip(*ranking.hidden(parts.test), strict=True)}
    positive = {divmod(key, 55) for key in ranking.relevant(parts.test).tolist()}
    both = 0
    for user in range(40):
        of_user = set(drawn.item[drawn.offset[user] : drawn.offset[user + 1]].tolist())
        assert len(of_user) == drawn.offset[user + 1] - drawn.offset[user]
        assert not {(user, i) for i in of_user} & seen
        here = 0
        for start, stop in ((0, 30), (30, 55)):
            inside = {i for i in of_user if start <= i < stop}
            own = {i for u, i in positive if u == user and start <= i < stop}
            assert own <= inside and len(inside) == (len(own) + 4 if own else 0)
            here += bool(own)
        both += here == 2
    assert both > 3
    again = ranking._drawn(parts.test, CPU)
    assert again is not None and torch.equal(drawn.item, again.item)


class Fixed(BaseModel):
    def __init__(self, parts: Split) -> None:
        super().__init__(self.Config(), parts.train)
        table = torch.rand(parts.train.n_users, parts.train.n_items, generator=torch.Generator().manual_seed(0))
        self.table = torch.nn.Parameter(table)

    def score(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        return self.table[user, item]


def test_as_many_samples_as_the_kind_has_items_rank_its_whole_list():
    parts = wide()
    model = Fixed(parts)
    full = Ranking(RankingSettings(), ["ndcg@5"], parts).measure(model, parts.test)
    all_sampled = Ranking(RankingSettings(sampled=30, sampled_per_kind=True), ["ndcg@5"], parts)
    few = Ranking(RankingSettings(sampled=3, sampled_per_kind=True), ["ndcg@5"], parts).measure(model, parts.test)
    found = all_sampled.measure(model, parts.test)
    for kind in ("book", "film"):
        assert found[f"ndcg@5/{kind}"] == full[f"ndcg@5/{kind}"] < few[f"ndcg@5/{kind}"]
    together = Ranking(RankingSettings(sampled=30), ["ndcg@5"], parts).measure(model, parts.test)
    assert not {name for name in together if name.endswith(("/book", "/film"))}
    assert set(all_sampled._spans(parts.test)) == {"", "/book", "/film"}


def test_a_list_of_all_kinds_has_the_candidates_of_the_kinds_of_the_positives():
    """User 0 has a positive book: no film is a candidate, though films score more."""
    parts = Split(part([(1, 0)]), part([]), part([(0, 1)]))
    model = Fixed(parts)
    model.table.data = torch.tensor([[1.0, 3, 2, 9, 8]]).repeat(4, 1)
    for settings, hit in (({"sampled": 5}, 0.0), ({"sampled": 5, "sampled_per_kind": True}, 1.0)):
        ranking = Ranking(RankingSettings(**settings), ["hit@1"], parts)
        assert ranking.measure(model, parts.test)["hit@1"] == hit


def test_lists_of_kinds_can_be_watched_and_the_heading_says_how_candidates_were_drawn():
    per_kind = RankingSettings(sampled=9, sampled_per_kind=True)
    assert groups_of("ndcg@5", ["book", "film"], per_kind)[:2] == ("book", "film")
    assert "book" not in groups_of("ndcg@5", ["book", "film"], RankingSettings(sampled=9))
    assert "9 SAMPLED items of each of their kinds" in describe_candidates(per_kind)
    with pytest.raises(ValueError, match="'sampled_per_kind' is of sampled candidates"):
        RankingSettings(sampled_per_kind=True)
