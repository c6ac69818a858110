"""scripts/prepare_*.py: on tiny made-up originals, and on the real files where they are there."""

import gzip
import hashlib
import json
import lzma
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import savemat

from hrec.datasets import load, load_split
from hrec.prepare import amazon, base, citeulike, douban, epinions, movielens
from hrec.settings import DataSettings

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("HREC_SHARED", ROOT.parent / "shared"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """The scripts write below the folder that they are run in."""
    monkeypatch.chdir(tmp_path)


def table(name, part):
    return pd.read_parquet(f"data/{name}/{part}.parquet")


def settings(name):
    return DataSettings.model_validate_json(Path(f"configs/data/{name}.json").read_text(encoding="utf-8"))


def same(a, b):
    """The two folders hold the same tables."""
    assert {p.name for p in Path(a).iterdir()} == {p.name for p in Path(b).iterdir()}
    for path in Path(a).iterdir():
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(Path(b) / path.name), check_dtype=False)


# ------------------------------------------------------------------------------------------------ epinions

RATINGS = np.array(
    [  # user, item, category, rating, helpfulness
        [1, 10, 4, 5, 1],
        [1, 10, 4, 2, 1],  # again: this one is kept
        [1, 11, 3, 4, 1],
        [2, 11, 5, 1, 1],  # item 11 is filed twice as a film, once as music
        [3, 11, 3, 3, 1],
        [3, 12, 5, 5, 1],
        [4, 13, 7, 5, 1],  # another category, and user 4 has no other row
    ]
)
TRUST = np.array([[1, 2], [1, 2], [2, 2], [2, 4], [3, 1], [3, 2]], dtype=np.uint16)


def write_mats(folder):
    folder.mkdir()
    savemat(folder / "rating.mat", {"rating": RATINGS})
    savemat(folder / "trustnetwork.mat", {"trustnetwork": TRUST})


def test_epinions(tmp_path, capsys):
    write_mats(tmp_path / "mats")
    assert epinions.main(["--from", "mats"]) == 0
    rows = table("epinions", "interactions")
    assert rows.values.tolist() == [
        ["1", "10", "book", 2],
        ["1", "11", "film", 4],
        ["2", "11", "film", 1],
        ["3", "11", "film", 3],
        ["3", "12", "music", 5],
    ]
    users = table("epinions", "users").set_index("user_id")
    assert users["trusts"].map(list).to_dict() == {"1": ["2"], "2": [], "3": ["1", "2"]}
    assert users["n_trusts"].to_dict() == {"1": 1, "2": 1, "3": 2}  # user 4 counts, though not in the table
    assert users["n_trusted_by"].to_dict() == {"1": 1, "2": 2, "3": 0}
    assert table("epinions", "film")["item_id"].tolist() == ["11"]
    assert settings("epinions").type == ("book", "film", "music")
    said = capsys.readouterr().out
    assert "1 of 6 rows repeat" in said
    assert "items in two kinds: 1;" in said


def test_epinions_zip_mats_and_parquet_give_the_same_tables(tmp_path):
    write_mats(tmp_path / "mats")
    Path("zip").mkdir()
    with zipfile.ZipFile("zip/epinions.zip", "w") as archive:
        for path in Path("mats").iterdir():
            archive.write(path, f"epinions/{path.name}")
    Path("parquet").mkdir()
    names = ["user_id", "item_id", "category_id", "rating"]
    pd.DataFrame(RATINGS[:, :4], columns=names).to_parquet("parquet/ratings.parquet")
    pd.DataFrame(TRUST, columns=["user_id", "trusts"]).to_parquet("parquet/trust.parquet")
    for source in ("mats", "zip", "parquet"):
        assert epinions.main(["--from", source, "--out", f"data/{source}"]) == 0
    same("data/mats", "data/zip")
    same("data/mats", "data/parquet")


# -------------------------------------------------------------------------------------------------- douban


def write_douban(folder):
    folder.mkdir()
    (folder / "douban_book_ratings.dat").write_text("1\t1\t4\n2\t1\t5\n2\t1\t1\n")
    (folder / "douban_music_ratings.dat").write_text("2\t1\t3\n3\t1\t5\n")


def test_douban(tmp_path):
    write_douban(tmp_path / "dat")
    assert douban.main(["--from", "dat"]) == 0
    assert table("douban-ga", "interactions").values.tolist() == [
        ["1", "1", "book", 4],
        ["2", "1", "book", 1],
        ["2", "1", "music", 3],
        ["3", "1", "music", 5],
    ]
    assert table("douban-ga", "users")["user_id"].tolist() == ["1", "2", "3"]
    assert settings("douban-ga").label.above == 3


# ----------------------------------------------------------------------------------------------- movielens


def film_line(number, title, date, *genres):
    return "|".join([number, title, date, "", "url", *("01"[g in genres] for g in movielens.GENRES)])


def test_movielens_zip_and_atomic_files_give_the_same_tables():
    Path("zip").mkdir()
    films = [
        film_line("1", "Toy Story, The (1995)", "01-Jan-1996", "Animation", "Children's"),
        film_line("2", "Café (1994) (V)", "01-Jan-1994", "Film-Noir"),
        film_line("3", "unknown", "", "unknown"),
    ]
    with zipfile.ZipFile("zip/ml-100k.zip", "w") as archive:
        archive.writestr("ml-100k/u.data", "7\t1\t3\t881250949\n8\t2\t5\t881250950\n")
        archive.writestr("ml-100k/u.user", "7|24|M|technician|85711\n8|53|F|none|94043\n")
        archive.writestr("ml-100k/u.item", "\n".join(films).encode("latin-1"))
    Path("atomic").mkdir()
    with lzma.open("atomic/ml-100k.inter.xz", "wt") as file:
        file.write(
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t1\t3\t881250949\n8\t2\t5\t881250950\n"
        )
    Path("atomic/ml-100k.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "7\t24\tM\ttechnician\t85711\n8\t53\tF\tnone\t94043\n"
    )
    Path("atomic/ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story, The\t1995\tAnimation Children's\n2\tCafé (1994)\tV\tFilm-Noir\n3\tunkonwn\tunkonwn\tunknown\n",
        encoding="utf-8",
    )
    for source in ("zip", "atomic"):
        assert movielens.main(["--from", source, "--out", f"data/{source}"]) == 0
    same("data/zip", "data/atomic")
    films = table("zip", "film")
    assert films["release_year"].tolist()[:2] == ["1995", "1994"]
    assert films["release_year"].isna().tolist() == [False, False, True]
    assert films["class"].map(list).tolist() == [["Animation", "Children's"], ["Film-Noir"], []]
    assert films["title_words"].map(list).tolist() == [["toy", "story", "the"], ["café"], []]
    assert table("zip", "users").values.tolist() == [["7", 24, "M", "technician"], ["8", 53, "F", "none"]]
    assert settings("zip").feat["class"].type == "token_seq"


# -------------------------------------------------------------------------------------------------- amazon

BOUGHT = {  # kind: (user, item, day), as the reviews are filed: by item
    "beauty": [("A", "B1", 9), ("A", "B2", 5), ("C", "B2", 5)],
    "clothing": [("A", "X1", 3), ("D", "X2", 1)],
    "sports": [("A", "X1", 3)],
    "toys": [("E", "T1", 3)],
}
PRODUCTS = {
    "beauty": [
        {
            "asin": "B1",
            "title": "Nail &amp; Nail Oil",
            "brand": "L&#39;Oreal",
            "categories": [["Beauty", "Nail"], ["Beauty"]],
        },
        {"asin": "B9", "title": "never bought"},
    ],
    "clothing": [{"asin": "X1", "brand": "", "related": {"also_bought": ["B1", "B9"], "also_viewed": ["X2", "B1"]}}],
    "sports": [{"asin": "X1", "title": "It's a Boot"}],
    "toys": [{"asin": "T1"}],
}


def write_amazon_originals(folder):
    folder.mkdir()
    for kind, name in amazon.PUBLISHED.items():
        with gzip.open(folder / f"reviews_{name}_5.json.gz", "wt") as file:
            for user, item, day in BOUGHT[kind]:
                file.write(json.dumps({"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": day}) + "\n")
        with gzip.open(folder / f"meta_{name}.json.gz", "wt") as file:
            for i, record in enumerate(PRODUCTS[kind]):
                file.write((json.dumps(record) if i % 2 else repr(record)) + "\n")


def write_amazon_parquet(folder):
    for name in ("amazon_multidomain", "amazon_beauty_jrl", "amazon_clothing"):
        (folder / name).mkdir(parents=True)
    rows, text = [], []
    for kind, filed in BOUGHT.items():
        bought = sorted(filed, key=lambda row: row[2])
        for i, (user, item, _) in enumerate(bought):
            rows.append((kind.capitalize(), user, item, sum(user == u for u, _, _ in bought[:i])))
        if kind != "clothing":
            for item in sorted({item for _, item, _ in bought}):
                title = {p["asin"]: p.get("title", "") for p in PRODUCTS[kind]}.get(item, "")
                text.append((kind.capitalize(), item, title.replace("&amp;", "&"), [4, 4, 5]))
    pd.DataFrame(rows, columns=["domain", "user_id", "item_id", "position"]).to_parquet(
        folder / "amazon_multidomain/interactions.parquet"
    )
    pd.DataFrame(text, columns=["domain", "item_id", "title_keywords", "s3rec_attributes"]).to_parquet(
        folder / "amazon_multidomain/items.parquet"
    )
    columns = ["item_id", "brand", "categories", *amazon.RELATED]
    beauty = [("B1", "L&#39;Oreal", ["Beauty", "Nail"], [], [], []), ("B2", "", [], [], [], [])]
    clothing = [("X1", "", [], ["B1", "B9"], ["X2", "B1"], []), ("X2", "", [], [], [], [])]
    pd.DataFrame(beauty, columns=columns).to_parquet(folder / "amazon_beauty_jrl/items.parquet")
    pd.DataFrame(clothing, columns=columns).to_parquet(folder / "amazon_clothing/items.parquet")


def test_amazon_from_the_published_files(tmp_path, capsys):
    write_amazon_originals(tmp_path / "original")
    assert amazon.main(["--from", "original"]) == 0
    rows = table("amazon", "interactions")
    assert rows.values.tolist() == [
        ["A", "B2", "beauty", 0],
        ["A", "B1", "beauty", 1],
        ["C", "B2", "beauty", 0],
        ["A", "X1", "clothing", 0],
        ["D", "X2", "clothing", 0],
        ["A", "X1", "sports", 0],
        ["E", "T1", "toys", 0],
    ]
    beauty = table("amazon", "beauty").set_index("item_id")
    assert beauty.loc["B1", "brand"] == "L'Oreal"
    assert pd.isna(beauty.loc["B2", "brand"])  # no object in the meta file
    assert list(beauty.loc["B1", "categories"]) == ["Beauty", "Nail"]
    assert list(beauty.loc["B1", "title_words"]) == ["nail", "oil"]
    assert list(table("amazon", "clothing").set_index("item_id").loc["X1", "related"]) == ["B1", "X2"]
    assert list(table("amazon", "sports").columns) == ["item_id", "title_words"]
    assert set(settings("amazon").feat) == {"brand", "categories", "related", "title_words"}
    assert "attributes are not among the published files" in capsys.readouterr().out


def test_amazon_parquet_gives_the_same_tables_and_attributes(tmp_path):
    write_amazon_originals(tmp_path / "original")
    write_amazon_parquet(tmp_path / "parquet")
    for source in ("original", "parquet"):
        assert amazon.main(["--from", source, "--out", f"data/{source}"]) == 0
    for part in ("users", "interactions", *amazon.PUBLISHED):
        found = table("parquet", part)
        if part in ("beauty", "sports", "toys"):
            assert found.pop(f"{part}_attributes").map(list).tolist() == [["4", "5"]] * len(found)
        pd.testing.assert_frame_equal(found, table("original", part), check_dtype=False)
    assert settings("parquet").feat["toys_attributes"].source == "item_toys"


def test_amazon_core_is_what_is_left_when_users_and_items_with_few_rows_are_gone_again_and_again():
    pairs = [(u, i) for u in "abc" for i in "xyz"] + [("d", "x"), ("d", "y"), ("d", "v"), ("e", "v"), ("e", "w")]
    rows = pd.DataFrame(pairs, columns=["user_id", "item_id"]).assign(type="toys")
    left = amazon.core(rows, least=3)  # w goes, then e, then v, then d
    assert sorted(zip(left["user_id"], left["item_id"], strict=True)) == pairs[:9]


def test_amazon_users_of_several_kinds_are_a_data_set_of_their_own(tmp_path, monkeypatch, capsys):
    write_amazon_originals(tmp_path / "original")
    assert amazon.main(["--from", "original", "--min-kinds", "2"]) == 1
    assert "--min-kinds 2: too few users; of some kind no item is left." in capsys.readouterr().err
    monkeypatch.setattr(
        amazon, "PUBLISHED", {kind: amazon.PUBLISHED[kind] for kind in ("beauty", "clothing", "sports")}
    )
    monkeypatch.setattr(amazon, "core", lambda rows: rows)
    assert amazon.main(["--from", "original", "--min-kinds", "2"]) == 0
    rows = table("amazon-2kinds", "interactions")
    assert set(rows["user_id"]) == {"A"}  # C, D and E bought of one kind
    for kind in amazon.PUBLISHED:
        assert set(table("amazon-2kinds", kind)["item_id"]) == set(rows.loc[rows["type"] == kind, "item_id"])
    assert settings("amazon-2kinds").inter_feat_path == "data/amazon-2kinds/interactions.parquet"


def test_amazon_names_a_broken_line(tmp_path, capsys):
    write_amazon_originals(tmp_path / "original")
    with gzip.open("original/meta_Beauty.json.gz", "at") as file:
        file.write("{'asin': 'B2', 'title'\n")
    assert amazon.main(["--from", "original"]) == 1
    assert "meta_Beauty.json.gz, line 3: neither JSON nor a Python literal" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------- citeulike

KEPT = {0: [0, 2], 1: [1, 2, 3], 2: [0]}  # user: articles
TITLES = ["The Small World of Networks", "Networks: a review", "A cell's 100 proteins", ""]
TAGS = [["small_world", "networks"], [], ["Cell-Biology"], ["networks", "todo"]]


def lists(rows):
    return "".join(f"{' '.join(map(str, [len(row), *row]))}\n" for row in rows)


def write_citeulike(folder, *more):
    """users.dat, and of the published files those named."""
    (folder / "cdl_splits").mkdir(parents=True)
    (folder / "users.dat").write_text(lists(KEPT.values()))
    names = sorted({tag for row in TAGS for tag in row})
    raw = pd.DataFrame({"doc.id": range(1, 5), "title": "?", "raw.title": TITLES, "raw.abstract": "?"})
    published = {
        "tags.dat": "\n".join(names),
        "item-tag.dat": lists([[names.index(tag) for tag in row] for row in TAGS]),
        "raw-data.csv": raw.to_csv(index=False),
        "mult.dat": "2 0:3 4:1\n1 1:1\n0\n1 4:2",
        "vocabulary.dat": "cell\nnetwork\nprotein\nreview\nworld\n",
    }
    for name in more:
        (folder / name).write_text(published[name], encoding="latin-1")


def bag(name, folder="data/citeulike"):
    matrix = sparse.load_npz(f"{folder}/{name}.npz").toarray()
    terms = pd.read_parquet(f"{folder}/{name}_terms.parquet")["term"]
    return [{terms[i]: int(row[i]) for i in np.flatnonzero(row)} for row in matrix]


def test_citeulike_titles_and_tags(tmp_path, capsys):
    write_citeulike(tmp_path / "raw", "raw-data.csv", "tags.dat", "item-tag.dat")
    assert citeulike.main(["--from", "raw"]) == 0
    assert table("citeulike", "interactions")[["user_id", "item_id"]].values.tolist() == [
        [str(user), str(item)] for user, items in KEPT.items() for item in items
    ]
    assert table("citeulike", "article")["title"].tolist() == TITLES
    assert bag("words") == [
        {"small": 2, "world": 2, "networks": 2},
        {"networks": 1, "review": 1},
        {"cell": 2, "proteins": 1, "biology": 1},
        {"networks": 1, "todo": 1},
    ]
    assert bag("titles")[2:] == [{"cell": 1, "proteins": 1}, {}]
    read = settings("citeulike")
    assert read.feat["words"].path == "data/citeulike/words.npz" and read.split.by == "in_matrix"
    assert settings("citeulike-titles").feat["words"].path == "data/citeulike/titles.npz"
    said = capsys.readouterr().out
    assert "mult.dat is not there: words are those of titles and tags, not of the papers'" in said
    assert "splits as columns: none, their files are not there" in said
    data = load(settings("citeulike"), None)
    assert data.n_items == 4 and data.kinds["article"].columns["words"].width == 8


def test_citeulike_mult_dat_is_what_the_papers_read(tmp_path, capsys):
    write_citeulike(tmp_path / "raw", "mult.dat", "vocabulary.dat", "raw-data.csv")
    assert citeulike.main(["--from", "raw"]) == 0
    assert bag("words") == [{"cell": 3, "world": 1}, {"network": 1}, {}, {"world": 2}]
    assert "title and abstract, as in the papers" in capsys.readouterr().out
    Path("raw/vocabulary.dat").write_text("cell\nnetwork\nprotein\nreview\nworld\nzebra\n")
    Path("raw/raw-data.csv").unlink()
    assert citeulike.main(["--from", "raw", "--force"]) == 0
    assert sparse.load_npz("data/citeulike/words.npz").shape == (4, 6)  # a word that no article has is a word too
    assert "citeulike-titles.json reads data/citeulike too and was not written now" in capsys.readouterr().out


def test_citeulike_terms_are_those_of_the_largest_mean_tf_idf():
    matrix, terms = citeulike.counts_of_terms(["cell", "cell net net net", "cell net", "rare"], most=2)
    # cell: 3 log(4 / 3) / 4 = .22; net: 4 log(4 / 2) / 4 = .69; rare: log(4) / 4 = .35
    assert terms == ["net", "rare"] and matrix.toarray().tolist() == [[0, 0], [3, 0], [1, 0], [0, 1]]


def test_citeulike_splits_become_columns(tmp_path):
    write_citeulike(tmp_path / "raw", "raw-data.csv")
    with lzma.open("raw/cdl_splits/cf-train-1-users.dat.xz", "wt") as file:
        file.write(lists([[2], [1], [0]]))
    Path("raw/heater_cold_start").mkdir()
    for name, rows in {"train": "0,0\n2,0\n0,2\n", "vali": "1,1\n", "test": "1,3\n"}.items():
        Path(f"raw/heater_cold_start/{name}.csv").write_text(f"uid,iid\n{rows}")
    assert citeulike.main(["--from", "raw"]) == 0
    rows = table("citeulike", "interactions")
    assert rows["p1"].tolist() == ["test", "train", "train", "test", "test", "train"]
    assert [shown if isinstance(shown, str) else None for shown in rows["cold"]] == [
        *("train", "train", "valid", None, "test", "train")
    ]
    how = settings("citeulike-p1")
    assert (
        how.split.column == "p1" and how.name == "citeulike-p1" and not Path("configs/data/citeulike-p10.json").exists()
    )
    parts = load_split(how, None)
    # beside the test rows drawn ones, but for one row: nothing is new but its own item
    assert [len(p.interactions) for p in (parts.train, parts.valid, parts.test)] == [3, 0, 3 + 2]


def test_citeulike_says_what_does_not_fit(tmp_path, capsys):
    write_citeulike(tmp_path / "raw", "mult.dat", "raw-data.csv")
    Path("raw/cf-train-1-users.dat").write_text(lists([[3], [1], [0]]))
    assert citeulike.main(["--from", "raw"]) == 1
    assert "cf-train-1-users.dat: 1 of 3 pairs are not in users.dat" in capsys.readouterr().err
    Path("raw/mult.dat").write_text("2 0:3 4\n")
    assert citeulike.main(["--from", "raw"]) == 1
    assert "mult.dat, line 1: '4' is not word:count" in capsys.readouterr().err
    Path("raw/mult.dat").write_text("1 0:3\n")
    assert citeulike.main(["--from", "raw"]) == 1
    assert "mult.dat: there are 1 texts and 4 articles. Fetch the files again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("mult.dat", "1 0:3\n3 0:1 1:1\n", "mult.dat, line 2: says '3' entries and has 2"),
        ("mult.dat", "1 x:1\n", "mult.dat, line 1: 'x' is not a whole number"),
        ("mult.dat", "1 0:x\n", "mult.dat, line 1: 'x' is not a whole number"),
        ("mult.dat", "1 0:1\n1 5:1\n", "mult.dat, line 2: has a word 5, and the vocabulary has 5 words"),
        ("mult.dat", "2 0:3 4:1\n1 1:1\n0\n", "a user keeps article 3, and there are 3 lines of mult.dat"),
        ("users.dat", "1 0\n1 4\n", "a user keeps article 4, and there are 4 lines of mult.dat"),
        ("users.dat", "", "users.dat or interactions.parquet is empty"),
        ("users.dat", "1 0\n2 0 b\n", "users.dat, line 2: 'b' is not a whole number"),
        ("users.dat", "2 0\n", "users.dat, line 1: says '2' entries and has 1"),
    ],
)
def test_citeulike_says_which_line_is_damaged(tmp_path, capsys, name, text, sentence):
    write_citeulike(tmp_path / "raw", "mult.dat", "vocabulary.dat")
    Path(f"raw/{name}").write_text(text)
    assert citeulike.main(["--from", "raw"]) == 1
    assert sentence in capsys.readouterr().err


def test_citeulike_articles_without_words_or_readers_are_articles_too(tmp_path, capsys):
    write_citeulike(tmp_path / "raw", "mult.dat", "vocabulary.dat")
    Path("raw/mult.dat").write_text("1 0:3\n1 1:1\n0\n1 4:2\n1 2:1\n0\n")  # nobody keeps the last two
    assert citeulike.main(["--from", "raw"]) == 0
    assert len(table("citeulike", "article")) == 6 and bag("words")[4:] == [{"protein": 1}, {}]


def test_citeulike_without_any_text_has_no_words(tmp_path, capsys):
    write_citeulike(tmp_path / "raw")
    assert citeulike.main(["--from", "raw"]) == 0
    assert "articles have no words" in capsys.readouterr().out and not settings("citeulike").feat


# ----------------------------------------------------------------------------------------- what they share


def test_tables_that_are_there_stay_without_force(tmp_path, capsys):
    write_douban(tmp_path / "dat")
    assert douban.main(["--from", "dat"]) == 0
    Path("data/douban-ga/mine.txt").write_text("mine")
    assert douban.main(["--from", "dat"]) == 1
    assert "data/douban-ga is there already: --force replaces it." in capsys.readouterr().err
    assert Path("data/douban-ga/mine.txt").exists()
    assert douban.main(["--from", "dat", "--force"]) == 0
    assert sorted(p.name for p in Path("data/douban-ga").iterdir()) == [
        "book.parquet",
        "interactions.parquet",
        "music.parquet",
        "users.parquet",
    ]
    assert [p.name for p in Path("data").iterdir()] == ["douban-ga"]


def test_a_failure_leaves_the_tables_that_are_there(tmp_path, monkeypatch):
    write_douban(tmp_path / "dat")
    douban.main(["--from", "dat"])
    before = {p.name: p.read_bytes() for p in Path("data/douban-ga").iterdir()}

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="no space"):
        douban.main(["--from", "dat", "--force"])
    assert {p.name: p.read_bytes() for p in Path("data/douban-ga").iterdir()} == before
    assert [p.name for p in Path("data").iterdir()] == ["douban-ga"]


@pytest.mark.parametrize("script", [epinions, amazon, douban, movielens, citeulike])
def test_a_missing_file_is_named(script, capsys):
    Path("empty").mkdir()
    assert script.main(["--from", "empty"]) == 1
    assert "empty does not hold" in capsys.readouterr().err


def test_a_cut_zip_is_named(capsys):
    Path("cut").mkdir()
    Path("cut/ml-100k.zip").write_bytes(b"PK\x03\x04 and no more")
    assert movielens.main(["--from", "cut"]) == 1
    assert "ml-100k.zip is not a whole zip file" in capsys.readouterr().err


def test_download_says_the_sha256_where_no_checksum_is_known(tmp_path, monkeypatch, capsys):
    write_mats(tmp_path / "mats")
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append((url, known_hash))
        path.mkdir(parents=True)
        with zipfile.ZipFile(path / fname, "w") as archive:
            for mat in Path("mats").iterdir():
                archive.write(mat, f"epinions/{mat.name}")
        return str(path / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert epinions.main([]) == 0
    assert asked == [("https://www.cse.msu.edu/~tangjili/datasetcode/epinions.zip", None)]
    assert "epinions.zip: no checksum is known for it; its sha256 is " in capsys.readouterr().out
    assert len(table("epinions", "interactions")) == 5


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Epinions' archive as a server gives it, where pooch looks in place of the network; its checksum is checked."""
    write_mats(tmp_path / "mats")
    archive = tmp_path / "published.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for mat in Path("mats").iterdir():
            packed.write(mat, mat.name)
    source = epinions.FILES["epinions.zip"]
    monkeypatch.setitem(epinions.FILES, "epinions.zip", replace(source, url="https://example.org/epinions.zip"))
    monkeypatch.setattr(
        "pooch.core.choose_downloader", lambda url, **_: lambda url, out, pooch: shutil.copyfile(archive, out)
    )
    return archive


def test_a_later_download_must_be_the_file_of_the_first(published, capsys):
    assert epinions.main([]) == 0
    record = Path("data/.downloads/checksums.json")
    sha = hashlib.sha256(published.read_bytes()).hexdigest()
    assert json.loads(record.read_text()) == {"epinions.zip": f"sha256:{sha}"} and sha in capsys.readouterr().out
    before = record.read_bytes()
    Path("data/.downloads/epinions.zip").write_bytes(b"PK\x03\x04 damaged here")  # so it is fetched again
    assert epinions.main(["--force"]) == 0 and record.read_bytes() == before
    Path("data/.downloads/epinions.zip").unlink()
    published.write_bytes(published.read_bytes() + b"more")
    capsys.readouterr()
    assert epinions.main(["--force"]) == 1
    said = capsys.readouterr().err
    assert "https://example.org/epinions.zip: the file does not have the checksum" in said
    assert f"{record}" in said and "--from FOLDER" in said
    assert not Path("data/.downloads/epinions.zip").exists() and record.read_bytes() == before


def test_a_published_checksum_wins_and_is_not_recorded(published, monkeypatch, capsys):
    sha = hashlib.sha256(published.read_bytes()).hexdigest()
    known = replace(epinions.FILES["epinions.zip"], checksum=f"sha256:{sha}")
    monkeypatch.setitem(epinions.FILES, "epinions.zip", known)
    assert epinions.main([]) == 0 and not Path("data/.downloads/checksums.json").exists()
    monkeypatch.setitem(epinions.FILES, "epinions.zip", replace(known, checksum=f"sha256:{'0' * 64}"))
    assert epinions.main(["--force"]) == 1
    assert "does not have the checksum that is published" in capsys.readouterr().err


def test_what_no_tables_can_be_made_from_is_not_trusted(published, capsys):
    published.write_bytes(b"<html>moved</html>")
    assert epinions.main([]) == 1
    assert "is not a whole zip file" in capsys.readouterr().err
    assert not Path("data/.downloads/checksums.json").exists()


@pytest.mark.parametrize("record", ["[]", '{"epinions.zip": 5}', '{"epinions.zip": "50d2"}', "{", "[" * 100_000])
def test_a_record_of_checksums_that_cannot_be_read_is_named(published, capsys, record):
    Path("data/.downloads").mkdir(parents=True)
    Path("data/.downloads/checksums.json").write_text(record)
    assert epinions.main([]) == 1
    said = capsys.readouterr().err
    assert "checksums.json" in said and "Delete it" in said


@pytest.mark.parametrize(
    "content", [b"<html>moved</html>", gzip.compress(b'{"asin": "a"}\n' * 1000)[:-20]], ids=["no gzip", "cut"]
)
def test_a_cut_gzip_is_named(content, tmp_path):
    (tmp_path / "meta.json.gz").write_bytes(content)
    with pytest.raises(base.PrepareError, match=r"meta\.json\.gz is not a whole gzip file .*Delete it"):
        list(amazon.objects(tmp_path / "meta.json.gz"))


def test_a_failed_download_names_the_address_and_the_way_out(monkeypatch, capsys):
    def retrieve(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    assert douban.main([]) == 1
    said = capsys.readouterr().err
    assert "GA-DTCDR/11a1dc6fda5148c8b1ce412ed4e2f0c4f124e2d0/Data/douban_book/ratings.dat" in said
    assert "--from FOLDER. It should hold: douban_book_ratings.dat, douban_music_ratings.dat." in said


# -------------------------------------------------------------------------------------------- the real ones

REAL = {  # kind: users, items, rows
    "epinions": (
        epinions,
        "epinions",
        {"book": (10_744, 59_015, 102_625), "film": (14_198, 28_562, 166_611), "music": (9_010, 34_532, 85_159)},
        (17_744, 122_109, 354_395),
    ),
    "amazon": (
        amazon,
        ".",
        {
            "beauty": (22_363, 12_101, 198_502),
            "clothing": (39_387, 23_033, 278_677),
            "sports": (35_598, 18_357, 296_337),
            "toys": (19_412, 11_924, 167_597),
        },
        (103_446, 65_415, 941_113),
    ),
    "douban-ga": (
        douban,
        "douban_ga_dtcdr",
        {"book": (2_110, 6_777, 96_041), "music": (1_672, 5_567, 69_709)},
        (2_216, 12_344, 165_750),
    ),
    "movielens": (movielens, "movielens_100k_text", {"film": (943, 1_682, 100_000)}, (943, 1_682, 100_000)),
    "citeulike": (citeulike, "citeulike_a", {"article": (5_551, 16_980, 204_986)}, (5_551, 16_980, 204_986)),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "amazon" else n for n in REAL])
def test_real_counts_and_committed_settings(name):
    script, folder, kinds, in_all = REAL[name]
    source = SHARED / "data" / folder
    if not source.is_dir():
        pytest.skip(f"the real files are not in {source} (HREC_SHARED names the parent of data/)")
    prepared = script.build(source)
    rows = prepared.interactions
    for kind, expected in kinds.items():
        part = rows[rows["type"] == kind]
        assert (part["user_id"].nunique(), len(prepared.kinds[kind]), len(part)) == expected
        assert set(part["item_id"]) == set(prepared.kinds[kind]["item_id"])
    assert (len(prepared.users), sum(map(len, prepared.kinds.values())), len(rows)) == in_all
    assert set(rows["user_id"]) == set(prepared.users["user_id"])
    written = base.write_settings(prepared, Path("data") / name).read_text(encoding="utf-8")
    assert written == (ROOT / "configs" / "data" / f"{name}.json").read_text(encoding="utf-8")
    for variant in prepared.variants:
        path = base.write_settings(prepared, Path("data") / name, variant)
        assert path.read_text(encoding="utf-8") == (ROOT / path).read_text(encoding="utf-8")
    for column, feature in DataSettings.model_validate_json(written).feat.items():
        if feature.path:
            (n_items,) = map(len, prepared.kinds.values())
            assert prepared.matrices[Path(feature.path).stem].shape[0] == n_items
            continue
        tables = [prepared.users] if feature.source == "user" else list(prepared.kinds.values())
        assert any(column in t for t in tables)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 0\n1 77\n0\n0\n", "item-tag.dat, line 2: has tag 77, and raw/tags.dat has"),
        ("1 0\n0\n0\n", "there are 4 titles, and tags of 3 articles"),
    ],
)
def test_citeulike_tags_that_do_not_fit_are_refused(tmp_path, capsys, text, sentence):
    write_citeulike(tmp_path / "raw", "raw-data.csv", "tags.dat", "item-tag.dat")
    Path("raw/item-tag.dat").write_text(text)
    assert citeulike.main(["--from", "raw"]) == 1
    assert sentence in capsys.readouterr().err
