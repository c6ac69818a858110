"""MovieLens 100k (Harper and Konstan, TiiS 2015): films rated 1 to 5, with columns of users and films.

hrec prepare movielens                  downloads ml-100k.zip
hrec prepare movielens --from FOLDER    FOLDER holds ml-100k.zip, or RecBole's atomic files
                                                     ml-100k.inter, .user and .item, also compressed (.xz)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from hrec.prepare.base import Prepared, Source, arguments, find, need, open_zip, prepare, without_repeats, words

FILES = {
    "ml-100k.zip": Source(
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        "sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    )
}
# fmt: off
GENRES = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]
# fmt: on
YEAR = r"\((\d{4})\)"
RATING_COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def read(folder: Path) -> Tables:
    """Ratings, users and films, each cell a text; of films: item_id, title, release_year, class (spaces between)."""
    archive = find(folder, "ml-100k.zip")
    return read_zip(archive) if archive else read_atomic(folder)


def read_atomic(folder: Path) -> Tables:
    """RecBole's atomic files: tab separated, with name:type in the header."""
    tables = []
    for part in ("inter", "user", "item"):
        path = need(folder, f"ml-100k.{part}", f"ml-100k.{part}.xz", *FILES)
        table = pd.read_csv(path, sep="\t", dtype=str, quoting=3, keep_default_na=False)
        tables.append(table.rename(columns=lambda name: name.split(":")[0]))
    ratings, users, films = tables
    # film 267 has no title, no year and no class; RecBole's file spells that so
    return ratings, users, films.rename(columns={"movie_title": "title"}).replace("unkonwn", "")


def read_zip(archive: Path) -> Tables:
    """GroupLens's own files, in Latin-1."""
    with open_zip(archive) as files:

        def table(name: str, separator: str, columns: list[str]) -> pd.DataFrame:
            content = BytesIO(files.read(f"ml-100k/{name}"))
            options = {"dtype": str, "quoting": 3, "keep_default_na": False, "encoding": "latin-1"}
            return pd.read_csv(content, sep=separator, names=columns, **options)

        ratings = table("u.data", "\t", RATING_COLUMNS)
        users = table("u.user", "|", ["user_id", "age", "gender", "occupation", "zip_code"])
        films = table("u.item", "|", ["item_id", "title", "date", "video_date", "url", *GENRES])
    films["title"] = films["title"].replace("unknown", "")
    films["release_year"] = ""  # it is in the title; the date is that of the release in the United States
    flags = films[GENRES].itertuples(index=False)
    films["class"] = [" ".join(genre for genre, flag in zip(GENRES, row, strict=True) if flag == "1") for row in flags]
    return ratings, users, films


def title_words(title: str) -> list[str]:
    """The words of a title, without the year and "V" for video that GroupLens adds in brackets."""
    return words(re.sub(r"\((\d{4}|V)\)", "", title))


def build(folder: Path) -> Prepared:
    ratings, users, films = read(folder)
    rows = ratings[RATING_COLUMNS].astype({"rating": "float32", "timestamp": "float64"})
    rows.insert(2, "type", "film")
    rows = without_repeats(rows, ["user_id", "item_id"])
    # a year in the title goes first: RecBole's file moved it out of every title but that of film 1412
    in_title, given = films["title"].str.extract(YEAR, expand=False), films["release_year"]
    items = pd.DataFrame(
        {
            "item_id": films["item_id"],
            "release_year": in_title.fillna(given.where(given.str.isdigit())),
            "class": films["class"].map(lambda text: [name for name in text.split() if name != "unknown"]),
            "title_words": films["title"].map(title_words),
        }
    )
    return Prepared(
        users=users[["user_id", "age", "gender", "occupation"]].astype({"age": "float32"}),
        kinds={"film": items},
        interactions=rows,
        label={"from": "rating", "above": 3},
        feat={
            "age": {"type": "float", "source": "user"},
            "gender": {"type": "token", "source": "user"},
            "occupation": {"type": "token", "source": "user"},
            "release_year": {"type": "token", "source": "item"},
            "class": {"type": "token_seq", "source": "item"},
            "title_words": {"type": "token_seq", "source": "item", "min_count": 2},
        },
    )


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    return prepare(arguments(__doc__, "movielens", prog).parse_args(argv), FILES, build)
