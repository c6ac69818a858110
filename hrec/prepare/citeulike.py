"""CiteULike-a (Wang and Blei, KDD 2011; tags by Wang, Chen and Li, IJCAI 2013): who keeps which article, with words.

hrec prepare citeulike                  downloads the published files. Among them is mult.dat, the 8,000 words of title
                                        and abstract that CTR, CDL and DualNet read.
hrec prepare citeulike --from FOLDER    FOLDER (or FOLDER/js05212, ...) holds users.dat, and perhaps mult.dat,
                                        raw-data.csv, item-tag.dat and tags.dat, also compressed (.xz).
                                        Or it holds interactions.parquet and items.parquet.

Without mult.dat the words are those of titles and tags, the 8,000 with the largest mean tf-idf. CDL's splits, and
others that are there, become columns of the interactions that say train, valid or test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from hrec.prepare.base import Prepared, PrepareError, Source, arguments, find, prepare, read_lines

REPOSITORY = "https://raw.githubusercontent.com/js05212/citeulike-a/91b603922d7f2d3db18071d4798bf78c9c5d1680"
CHECKSUMS: dict[str, str | None] = {
    "users.dat": "sha256:53211d82c14ff261e595634d285ed9fbf8049cf81dcb751d924d695b9612a02c",
    "mult.dat": None,
    "vocabulary.dat": "sha256:f3ffa75f7524a9ff2ecc2a0cb1a0f29f4d46e32f17bc8e2f8472a1c7c814f319",
    "raw-data.csv": None,
    "item-tag.dat": "sha256:0f7b432796a5038ed2631c02b99d70e636123673afc11bf9e051de5b49467890",
    "tags.dat": "sha256:c02b3e5ee1a57f88f3a598b2040018bb198f54cd0c11116fa7a0db905b6f60e3",
}
FILES = {name: Source(f"{REPOSITORY}/{name}", checksum) for name, checksum in CHECKSUMS.items()}
FOLDERS = ("", "js05212", "cdl_splits", "topicmodelsvb")
"""Where in the folder the files may stand."""
KIND = "article"
TERMS = 8000
SPLITS = {
    "p1": "cf-train-1-users.dat",
    "p10": "cf-train-10-users.dat",
    **{f"p{p}_{fold}": f"deeprec_splits/P{p}/train_P{p}_{fold}.dat" for p in (1, 5, 10) for fold in (1, 2, 3)},
}
"""Column -> the file of its training rows; all others are test rows. p1 and p10 are CDL's own."""
COLD = {"train": "train.csv", "valid": "vali.csv", "test": "test.csv"}
"""Files of a split by item, in heater_cold_start: the column 'cold'."""
Pairs = tuple[np.ndarray, np.ndarray]


def seek(folder: Path, *names: str) -> Path | None:
    """The first of the files, in any of the folders where it may stand, as it is or compressed."""
    places = [Path(place) / name for name in names for place in FOLDERS]
    return find(folder, *(f"{place}{end}" for place in places for end in ("", ".xz")))


# ---------------------------------------------------------------------------------------------- rows


def counted(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of the line, its cells) of lines that begin with how many cells there are."""
    for number, line in enumerate(read_lines(path), start=1):
        count, *cells = line.split() or ["0"]
        if count != str(len(cells)):
            raise PrepareError(
                f"{path}, line {number}: says '{count}' entries and has {len(cells)}. Fetch the file again."
            )
        yield number, cells


def counted_lists(path: Path) -> Pairs:
    """Lines of a number and so many numbers: (line, number) of each."""
    rows = [[whole(cell, path, number) for cell in cells] for number, cells in counted(path)]
    listed = np.array([item for row in rows for item in row], np.int64)
    return np.repeat(np.arange(len(rows)), [len(row) for row in rows]), listed


def whole(cell: str, path: Path, number: int) -> int:
    """A whole number, at least 0. PrepareError for anything else."""
    if not cell.isdecimal():
        raise PrepareError(f"{path}, line {number}: '{cell}' is not a whole number.")
    return int(cell)


def keys(pairs: Pairs, n_items: int) -> np.ndarray:
    """A number for each pair of user and item."""
    return pairs[0] * n_items + pairs[1]


def library(folder: Path) -> Pairs:
    """(user, item) of each article that a user keeps."""
    if path := seek(folder, "users.dat"):
        return counted_lists(path)
    if path := find(folder, "interactions.parquet"):
        rows = pd.read_parquet(path)
        return rows["user"].to_numpy(np.int64), rows["item"].to_numpy(np.int64)
    raise PrepareError(f"{folder} does not hold users.dat or interactions.parquet.")


def parts(folder: Path, own: np.ndarray, n_items: int) -> Iterator[tuple[str, np.ndarray]]:
    """(column, part of each row) for each split whose files are there; own: the key of each row."""
    for column, name in SPLITS.items():
        if path := seek(folder, name):
            yield column, np.where(in_file(path, own, counted_lists(path), n_items), "train", "test")
    paths = {part: seek(folder, f"heater_cold_start/{name}") for part, name in COLD.items()}
    if all(paths.values()):
        part_of = np.full(len(own), None, object)
        for part, path in paths.items():
            rows = pd.read_csv(path)
            part_of[in_file(path, own, (rows["uid"].to_numpy(), rows["iid"].to_numpy()), n_items)] = part
        yield "cold", part_of


def in_file(path: Path | None, own: np.ndarray, pairs: Pairs, n_items: int) -> np.ndarray:
    """bool: which rows are in the file. PrepareError where it holds others: it is another numbering."""
    theirs = keys(pairs, n_items)
    if strange := np.count_nonzero(~np.isin(theirs, own)):
        raise PrepareError(f"{path}: {strange:,} of {len(theirs):,} pairs are not in users.dat.")
    return np.isin(own, theirs)


# --------------------------------------------------------------------------------------------- words


def bag_of_words(path: Path, vocabulary: Sequence[str] | None) -> sparse.csr_matrix:
    """mult.dat: a line for each article, the number of its words, and word:count for each. [articles, words]"""
    row, word, count, lines = [], [], [], 0
    for number, cells in counted(path):
        lines = number
        for cell in cells:
            left, colon, right = cell.partition(":")
            if not colon:
                raise PrepareError(f"{path}, line {number}: '{cell}' is not word:count.")
            row.append(number - 1)
            word.append(whole(left, path, number))
            count.append(whole(right, path, number))
            if vocabulary is not None and word[-1] >= len(vocabulary):
                raise PrepareError(
                    f"{path}, line {number}: has a word {word[-1]:,}, and the vocabulary has "
                    f"{len(vocabulary):,} words, counted from 0."
                )
    wide = max(word, default=-1) + 1 if vocabulary is None else len(vocabulary)
    return sparse.csr_matrix((np.array(count, np.float32), (row, word)), (lines, wide))


def titles(folder: Path) -> list[str] | None:
    if path := find(folder, "items.parquet"):
        return pd.read_parquet(path, columns=["title"])["title"].fillna("").tolist()
    if path := seek(folder, "raw-data.csv"):
        return pd.read_csv(path, encoding="latin-1")["raw.title"].fillna("").tolist()
    if path := seek(folder, "citeutitles.txt"):
        return read_lines(path)
    return None


def tags(folder: Path) -> list[list[str]] | None:
    if path := find(folder, "items.parquet"):
        return [list(row) for row in pd.read_parquet(path, columns=["tags"])["tags"]]
    texts, lists = seek(folder, "tags.dat"), seek(folder, "item-tag.dat")
    if not texts or not lists:
        return None
    names = read_lines(texts)
    rows = [(number, [whole(cell, lists, number) for cell in cells]) for number, cells in counted(lists)]
    for number, row in rows:
        if row and max(row) >= len(names):
            problem = f"has tag {max(row):,}, and {texts} has {len(names):,} lines, counted from 0."
            raise PrepareError(f"{lists}, line {number}: {problem}")
    return [[names[tag] for tag in row] for _, row in rows]


def terms(text: str) -> list[str]:
    """The words of a text that hold a letter, in lower case, without stop words; _ and - separate a tag's words."""
    found = re.findall(r"[^\W_]+", text.lower())
    return [w for w in found if len(w) > 1 and not w.isdigit() and w not in ENGLISH_STOP_WORDS]


def counts_of_terms(texts: Sequence[str], most: int = TERMS) -> tuple[sparse.csr_matrix, list[str]]:
    """(how often each term is in each text, the terms): the ``most`` terms with the largest mean tf-idf.

    Of term t that is (1 / n) sum over texts of count(t) * log(n / texts with t); of equal terms the first by alphabet.
    """
    found = [terms(text) for text in texts]
    known = sorted({term for row in found for term in row})
    index = {term: i for i, term in enumerate(known)}
    row = np.repeat(np.arange(len(found)), [len(each) for each in found])
    column = np.array([index[term] for each in found for term in each], np.int64)
    matrix = sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), (len(found), len(known)))
    within = np.bincount(matrix.tocsr().indices, minlength=len(known))
    weight = np.asarray(matrix.sum(0)).ravel() * np.log(len(found) / np.maximum(within, 1)) / len(found)
    kept = np.sort(np.argsort(-weight, kind="stable")[:most])
    return matrix[:, kept], [known[i] for i in kept]


def words_of(folder: Path, n_items: int) -> tuple[dict[str, sparse.csr_matrix], dict[str, list[str]]]:
    """(matrices, their terms) by the name of their file: ``words``, and ``titles``, the words of titles alone."""
    named, tagged, bag = titles(folder), tags(folder), seek(folder, "mult.dat")
    matrices: dict[str, sparse.csr_matrix] = {}
    known: dict[str, list[str]] = {}
    if named is not None:
        matrices["titles"], known["titles"] = counts_of_terms(named)
    if bag:
        listed = seek(folder, "vocabulary.dat")
        vocabulary = read_lines(listed) if listed else None
        matrices["words"] = bag_of_words(bag, vocabulary)
        known["words"] = vocabulary or [str(i) for i in range(matrices["words"].shape[1])]
        print(f"words are those of {bag}: title and abstract, as in the papers")
    elif named is not None or tagged is not None:
        all_titles, all_tags = named or [""] * n_items, tagged or [[]] * n_items
        if len(all_titles) != len(all_tags):
            raise PrepareError(
                f"{folder}: there are {len(all_titles):,} titles, and tags of {len(all_tags):,} articles."
            )
        texts = [" ".join([title, *tag]) for title, tag in zip(all_titles, all_tags, strict=True)]
        matrices["words"], known["words"] = counts_of_terms(texts)
        read = " and ".join(name for name, there in (("titles", named), ("tags", tagged)) if there is not None)
        print(f"mult.dat is not there: words are those of {read}, not of the papers' titles and abstracts")
    else:
        print("neither mult.dat nor titles nor tags are there: articles have no words")
    for name, matrix in matrices.items():
        if matrix.shape[0] != n_items:
            of = bag if bag and name == "words" else f"{folder}, {name}"
            raise PrepareError(
                f"{of}: there are {matrix.shape[0]:,} texts and {n_items:,} articles. Fetch the files again."
            )
    return matrices, known


# -------------------------------------------------------------------------------------------- tables


def articles_of(folder: Path, named: list[str] | None, item: np.ndarray) -> int:
    """How many articles there are: those with a title, or with a line in mult.dat, else up to the last that is kept."""
    if named is not None:
        return len(named)
    bag = seek(folder, "mult.dat")
    return len(read_lines(bag)) if bag else int(item.max()) + 1


def build(folder: Path) -> Prepared:
    user, item = library(folder)
    if not len(item):
        raise PrepareError(f"{folder}: users.dat or interactions.parquet is empty: no user keeps an article.")
    named = titles(folder)
    n_items = articles_of(folder, named, item)
    matrices, known = words_of(folder, n_items)
    if (last := int(item.max())) >= n_items:
        named_by = "titles" if named is not None else "lines of mult.dat"
        raise PrepareError(
            f"{folder}: a user keeps article {last:,}, and there are {n_items:,} {named_by}, one for each article "
            "from 0 on. Fetch both files again."
        )
    rows = pd.DataFrame({"user_id": user.astype(str), "item_id": item.astype(str), "type": KIND})
    columns = dict(parts(folder, keys((user, item), n_items), n_items))
    print(f"splits as columns: {', '.join(columns) or 'none, their files are not there'}")
    articles = pd.DataFrame({"item_id": np.arange(n_items).astype(str)})
    return Prepared(
        users=pd.DataFrame({"user_id": np.arange(int(user.max()) + 1).astype(str)}),
        kinds={KIND: articles if named is None else articles.assign(title=named)},
        interactions=rows.assign(**columns),
        label={"negatives": 1},
        feat={"words": {"type": "sparse", "source": "item", "path": "words.npz"}} if "words" in matrices else {},
        more={"split": {"by": "in_matrix", "ratio": [3, 1, 1], "seed": 0}},
        matrices=matrices,
        tables={f"{name}_terms": pd.DataFrame({"term": listed}) for name, listed in known.items()},
        variants=variants(matrices, columns),
    )


def variants(matrices: dict, columns: dict) -> dict[str, dict]:
    """What the settings of citeulike-<name> say instead."""
    out: dict[str, dict] = {}
    if "titles" in matrices:
        out["titles"] = {"feat": {"words": {"type": "sparse", "source": "item", "path": "titles.npz"}}}
    for name in ("p1", "p10"):
        if name in columns:
            # a tenth of the test rows to stop training by: the share of positives found has the same mean without
            out[name] = {"split": {"by": "column", "column": name, "valid_share": 0.1}}
    return out


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return prepare(arguments(__doc__, "citeulike", prog).parse_args(argv), FILES, build)
