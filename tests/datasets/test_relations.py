"""Knowledge graphs: read from RecBole's files and from tables, kept consistent, and drawn from with corrupted tails."""

from __future__ import annotations

import gzip
import lzma
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hrec.datasets import samplers
from hrec.datasets.batches import Draw
from hrec.datasets.problems import DataError
from hrec.datasets.reading import read
from hrec.datasets.recdata import Interactions, RecData, Split, Table, TrainData, keep_kinds
from hrec.datasets.relations import Relations
from hrec.datasets.samplers import Triplewise
from hrec.pipeline.fingerprint import digests
from hrec.settings import DataSettings

SHARED = Path(os.environ.get("HREC_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared"))

KG = "head_id:token\trelation_id:token\ttail_id:token\n"
KG += "e.1\tby\te.ann\ne.2\tby\te.ann\ne.ann\tborn\te.rome\ne.3\tby\te.9\n"
LINK = "item_id:token\tentity_id:token\nb2\te.2\n0000031887\te.1\nm1\te.3\ngone\te.4\n"
CSV = "head,relation,tail\nb2,by,ann\nm1,by,ann\nann,born,rome\n"


def named(data: RecData) -> list[tuple[str, str, str]]:
    """Every triple by its names."""
    r = data.relations
    return list(zip(r.entities[r.head], r.relations[r.relation], r.entities[r.tail], strict=True))


def item_ids(data: RecData) -> np.ndarray:
    return np.concatenate([table.ids for table in data.kinds.values()])


def test_recboles_files_are_read_with_the_items_first(files):
    data = files.read(relations={"path": files.write("g.kg", KG), "link": files.write("g.link", LINK)})
    r = data.relations
    assert named(data) == [
        ("e.1", "by", "e.ann"),
        ("e.2", "by", "e.ann"),
        ("e.ann", "born", "e.rome"),
        ("e.3", "by", "e.9"),
    ]
    assert list(item_ids(data)[[r.head[0], r.head[1], r.head[3]]]) == ["0000031887", "b2", "m1"]
    assert all(array.dtype == np.int32 for array in (r.head, r.relation, r.tail))
    assert (r.n_entities, r.n_relations) == (data.n_items + 3, 2)
    assert r.tail.min() >= data.n_items
    log = "\n".join(files.said)
    assert "1 row of items that are not in the catalogue are left out" in log
    assert f"4 triples, 2 relations, {data.n_items + 3} entities; triples name 3 of 5 items" in log


def test_an_item_without_a_link_is_no_entity_even_if_one_has_its_id(files):
    triples = KG + "b3\tby\te.rome\n"
    data = files.read(relations={"path": files.write("g.kg", triples), "link": files.write("g.link", LINK)})
    assert data.relations.head[-1] >= data.n_items
    assert named(data)[-1] == ("b3", "by", "e.rome")


@pytest.mark.parametrize(("ending", "opened"), [(".xz", lzma.open), (".gz", gzip.open)])
def test_compressed_files_are_the_same(files, ending: str, opened):
    for name, text in (("g.kg", KG), ("g.link", LINK)):
        with opened(files.folder / f"{name}{ending}", "wt") as file:
            file.write(text)
    paths = [str(files.folder / f"g.{one}{ending}") for one in ("kg", "link")]
    plain = files.read(relations={"path": files.write("g.kg", KG), "link": files.write("g.link", LINK)})
    assert named(files.read(relations={"path": paths[0], "link": paths[1]})) == named(plain)


@pytest.mark.parametrize("name", ["g.csv", "g.tsv", "g.parquet"])
def test_tables_name_items_by_their_ids(files, name: str):
    path = files.folder / name
    frame = pd.DataFrame([line.split(",") for line in CSV.splitlines()[1:]], columns=["head", "relation", "tail"])
    if name == "g.parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if name == "g.tsv" else ",")
    data = files.read(relations={"path": str(path)})
    assert named(data) == [("b2", "by", "ann"), ("m1", "by", "ann"), ("ann", "born", "rome")]
    assert list(item_ids(data)[data.relations.head[:2]]) == ["b2", "m1"]
    assert list(data.relations.entities) == [*item_ids(data), "ann", "rome"]


def test_duplicate_triples_count_once(files):
    data = files.read(relations={"path": files.write("g.csv", CSV + "b2,by,ann\n")})
    assert len(data.relations) == 3
    assert any("1 duplicate triple left out" in line for line in files.said)


@pytest.mark.parametrize(
    ("triples", "link", "message"),
    [
        (CSV.replace("relation", "relatoin"), None, r"g\.csv, line 1: no column 'relation'\. Did you mean 'relatoin'"),
        (CSV + ",by,ann\n", None, r"line 5, column 'head': an empty cell is no name.*drop_bad_rows"),
        ("head,relation,tail\nx,by,y\n", None, r"no head or tail is the id of an item\. Name a file of links"),
        (CSV, "item_id,entity\nb2,e2\n", r"no head or tail is an entity of .*l\.csv"),
        (CSV, "item_id,entity\nx,b2\n", r"l\.csv: links none of the 5 items"),
        (CSV, "item_id,entity\nb2,ann\nb2,rome\n", r"line 2, column 'item_id': 'b2' is linked again further down"),
        (CSV, "item_id,entity\nb2,ann\nm1,ann\n", r"line 2, column 'entity': 'ann' is linked again further down"),
        (CSV, "item_id,entity\nb2,\n", r"line 2, column 'entity': an empty cell is no id"),
        (CSV, "item_id,thing\nb2,ann\n", r"no column 'entity'.*Call it 'entity' or 'entity_id'"),
        (CSV, "book,entity\nb2,ann\n", r"no column 'item_id'.*ITEM_ID_FIELD"),
    ],
)
def test_what_is_wrong_is_said(files, triples: str, link: str | None, message: str):
    how = {"path": files.write("g.csv", triples)} | ({"link": files.write("l.csv", link)} if link else {})
    with pytest.raises(DataError, match=message):
        files.read(relations=how)


def test_a_missing_file_names_its_setting(files):
    files.write("graph.kg", KG)
    with pytest.raises(DataError, match=r"Did you mean 'graph\.kg'\? Correct data\.relations\.path"):
        files.read(relations={"path": str(files.folder / "grap.kg")})
    with pytest.raises(DataError, match=r"Correct data\.relations\.link"):
        files.read(relations={"path": str(files.folder / "graph.kg"), "link": str(files.folder / "none.link")})


@pytest.mark.parametrize("bad", [{"link": "x"}, {"path": "x", "lnik": "y"}])
def test_the_setting_is_strict(bad: dict):
    with pytest.raises(ValueError, match=r"relations\.(path|lnik)"):
        DataSettings.model_validate({"inter_feat_path": "x", "relations": bad})


def test_bad_rows_can_be_dropped(files):
    data = files.read(relations={"path": files.write("g.csv", CSV + ",by,ann\n")}, drop_bad_rows=True)
    assert len(data.relations) == 3 and any("left out 1 row" in line for line in files.said)


def shared_ids(files) -> None:
    """The first book and the first song get one id, which the kinds of the rows resolve."""
    files.spoil("book.csv", "b2,", "1,")
    files.spoil("music.csv", "m1,", "1,")
    kinds = ["type", "book", "music", "book", "book", "music", "book"]
    rates = (files.folder / "rates.csv").read_text().replace("b2", "1").replace("m1", "1").splitlines()
    files.write("rates.csv", "".join(f"{row},{kind}\n" for row, kind in zip(rates, kinds, strict=True)))


def test_an_id_that_two_kinds_share_needs_a_link_with_kinds(files):
    shared_ids(files)
    triples = files.write("g.csv", "head,relation,tail\n1,by,ann\ne.1,by,ann\n")
    with pytest.raises(DataError, match=r"several kinds have the id '1'\. Name a file of links with a column 'type'"):
        files.read(relations={"path": triples})
    with pytest.raises(DataError, match=r"several kinds have the id '1'\. Give the file of links a column 'type'"):
        files.read(relations={"path": triples, "link": files.write("l.csv", "item_id,entity\n1,e.1\n")})
    link = files.write("l.csv", "item_id,type,entity\n1,music,e.1\n1,book,e.2\n")
    data = files.read(relations={"path": triples, "link": link})
    assert data.relations.head[1] == data.kinds["music"].start
    assert named(data) == [("1", "by", "ann"), ("e.1", "by", "ann")]
    music = files.read(relations={"path": triples, "link": link}, single_type="music")
    assert music.relations.head[1] == 0 and music.relations.head[0] >= music.n_items


def test_a_column_that_names_no_kind_does_not_matter(files):
    link = files.write("l.csv", "item_id,type,entity\nb2,paper,ann\n")
    data = files.read(relations={"path": files.write("g.csv", CSV), "link": link})
    assert item_ids(data)[data.relations.tail[0]] == "b2"


def test_a_link_without_its_kind_is_refused(files):
    link = files.write("l.csv", "item_id,type,entity\nb2,,ann\nm1,music,rome\n")
    with pytest.raises(DataError, match=r"line 2, column 'item_id': 'b2' is no id, or has no kind"):
        files.read(relations={"path": files.write("g.csv", CSV), "link": link})


def test_the_cache_keeps_relations_and_knows_their_files(files):
    cache, how = files.folder / "cache", {"path": files.write("g.csv", CSV)}
    first = files.read(cache, relations=how)
    files.said.clear()
    again = files.read(cache, relations=how)
    assert any("read from the cache" in line for line in files.said)
    assert any("3 triples" in line for line in files.said)
    assert named(again) == named(first)
    files.spoil("g.csv", "rome", "oslo")
    assert named(files.read(cache, relations=how))[-1] == ("ann", "born", "oslo")
    assert files.read(cache).relations is None


def graph() -> TrainData:
    """Two kinds of three items, four other entities, triples between all of them."""
    rows = Interactions(*(np.zeros(2, t) for t in (np.int32, np.int32, np.int16)))
    head = np.array([0, 1, 3, 4, 6, 0, 5], np.int32)
    relation = np.array([0, 0, 0, 1, 1, 1, 0], np.int32)
    tail = np.array([6, 6, 7, 0, 8, 9, 2], np.int32)
    entities = np.array(["b0", "b1", "b2", "m0", "m1", "m2", "p", "q", "r", "s"])
    relations = Relations(head, relation, tail, entities, np.array(["by", "of"]))
    kinds = {"book": Table(3), "music": Table(3, 3)}
    return TrainData(Table(1), kinds, rows, relations=relations)


def test_kinds_that_stay_keep_their_triples_and_others_are_entities():
    whole = graph()
    swapped = keep_kinds(whole, ["music", "book"])
    assert list(swapped.relations.entities[:6]) == ["m0", "m1", "m2", "b0", "b1", "b2"]
    one = keep_kinds(whole, ["music"])
    assert named(swapped) == named(one) == named(whole)
    assert list(one.relations.entities) == ["m0", "m1", "m2", "b0", "b1", "b2", "p", "q", "r", "s"]
    rows = whole.relations.tail != 2
    less = replace(
        whole.relations, **{name: getattr(whole.relations, name)[rows] for name in ("head", "relation", "tail")}
    )
    assert "b2" not in keep_kinds(replace(whole, relations=less), ["music"]).relations.entities


def test_other_relations_are_other_data():
    whole = graph()
    other = replace(whole, relations=replace(whole.relations, tail=whole.relations.tail[::-1]))
    one, two = (digests(_split_of(data)) for data in (whole, other))
    assert one["relations"] != two["relations"]
    assert {k: v for k, v in one.items() if k != "relations"} == {k: v for k, v in two.items() if k != "relations"}


def _split_of(data: TrainData):
    return Split(data, data, data)


# ---------------------------------------------------------------------------------------- sampler

CPU = torch.device("cpu")


def draw(batch_size: int, seed: int = 0, rank: int = 0, world: int = 1) -> Draw:
    return Draw(batch_size, torch.Generator().manual_seed(seed), CPU, rank, world)


def rows(batches) -> list[tuple[int, ...]]:
    return [
        t for b in batches for t in zip(*(getattr(b, n).tolist() for n in ("head", "relation", "tail")), strict=True)
    ]


def true(data: TrainData) -> list[tuple[int, ...]]:
    r = data.relations
    return list(zip(r.head.tolist(), r.relation.tolist(), r.tail.tolist(), strict=True))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_an_epoch_holds_every_triple_once_with_a_false_tail(batch_size: int):
    data = graph()
    batches = list(Triplewise(data, CPU).epoch(draw(batch_size)))
    assert Counter(rows(batches)) == Counter(true(data))
    assert {len(b) for b in batches[:-1]} <= {batch_size}
    for batch in batches:
        drawn = zip(batch.head.tolist(), batch.relation.tolist(), batch.negative.tolist(), strict=True)
        assert not set(drawn) & set(true(data))


def test_corrupted_tails_are_uniform_over_the_entities_that_are_false():
    data = graph()
    sampler, count = Triplewise(data, CPU), Counter()
    state = torch.Generator().manual_seed(0)
    for _ in range(3000):
        for batch in sampler.epoch(Draw(10, state, CPU)):
            count.update(batch.negative[(batch.head == 0) & (batch.relation == 0)].tolist())
    assert set(count) == set(range(10)) - {6}
    assert max(count.values()) < 1.25 * min(count.values())


def test_several_processes_share_what_one_would_draw(monkeypatch):
    data = graph()
    whole = list(Triplewise(data, CPU).epoch(draw(4)))
    monkeypatch.setattr(samplers, "DRAWN_AHEAD", 1)
    parts = [list(Triplewise(data, CPU).epoch(draw(4, 0, rank, 2))) for rank in range(2)]
    monkeypatch.undo()
    alone = list(Triplewise(data, CPU).epoch(draw(4)))
    assert rows(whole) == rows(alone)
    assert Counter(rows(parts[0]) + rows(parts[1])) == Counter(rows(whole))


def test_a_triple_that_no_tail_makes_false_is_left_out():
    data = graph()
    n = data.relations.n_entities
    every = Relations(
        np.append(np.zeros(n, np.int32), 1).astype(np.int32),
        np.zeros(n + 1, np.int32),
        np.append(np.arange(n), 2).astype(np.int32),
        data.relations.entities,
        data.relations.relations,
    )
    assert rows(Triplewise(replace(data, relations=every), CPU).epoch(draw(4))) == [(1, 0, 2)]


def test_data_without_relations_is_refused():
    with pytest.raises(ValueError, match=r"name its files in data\.relations"):
        Triplewise(replace(graph(), relations=None), CPU)


@pytest.mark.skipif(not (SHARED / "data/movielens_100k_text").is_dir(), reason="shared data are not here")
def test_movielens_as_recbole_publishes_it():
    folder, said = SHARED / "data/movielens_100k_text", []
    settings = DataSettings.model_validate(
        {
            "inter_feat_path": str(folder / "ml-100k.inter.xz"),
            "label": {"from": "rating", "above": 3},
            "relations": {"path": str(folder / "ml-100k.kg.xz"), "link": str(folder / "ml-100k.link.xz")},
        }
    )
    data = read(settings, None, said.append)
    r = data.relations
    assert (len(r), r.n_relations, data.n_items, r.n_entities) == (91_631, 24, 1682, 1682 + 33_030)
    items = np.unique(np.concatenate([r.head, r.tail]))
    assert np.count_nonzero(items < data.n_items) == 1598
    assert any("triples name 1,598 of 1,682 items" in line for line in said)
