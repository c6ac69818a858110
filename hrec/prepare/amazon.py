"""Amazon 2014, 5-core (McAuley et al.): what the same users bought of beauty, clothing, sports and toys, in order.

hrec prepare amazon                    downloads the reviews and the product data of the four kinds
hrec prepare amazon --from FOLDER      FOLDER holds reviews_*_5.json.gz and meta_*.json.gz of the four,
                                                    or the folders amazon_multidomain, amazon_clothing and
                                                    amazon_beauty_jrl with their parquet files
hrec prepare amazon --min-kinds 2      users alone who bought of two kinds or more, into data/amazon-2kinds
hrec prepare amazon --category Musical_Instruments
                                       any categories, with ratings, the words of reviews and titles, and, where the
                                       folder holds them, image_features_*.b and the split of JRL's authors (true_train,
                                       true_test): see hrec/prepare/amazon_category.py; into data/amazon-<category>
"""

from __future__ import annotations

import html
from collections.abc import Container, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hrec.prepare import amazon_category
from hrec.prepare.amazon_files import PLACE, RELATED, objects, product
from hrec.prepare.base import Prepared, PrepareError, Source, arguments, distinct, find, ids_of, need, prepare, words

PUBLISHED = {
    "beauty": "Beauty",
    "clothing": "Clothing_Shoes_and_Jewelry",
    "sports": "Sports_and_Outdoors",
    "toys": "Toys_and_Games",
}
NAMES = [name for published in PUBLISHED.values() for name in (f"reviews_{published}_5", f"meta_{published}")]
CHECKSUMS: dict[str, str] = {}
"""Name -> 'sha256:...'. The publishers give none; a file that is not here must stay as it was at its first download."""
FILES = {f"{name}.json.gz": Source(f"{PLACE}/{name}.json.gz", CHECKSUMS.get(name)) for name in NAMES}

# What is known of each kind. S3-Rec numbered the attributes of each kind on their own, so each has its own column.
COLUMNS = {
    "beauty": ("brand", "categories", "related", "title_words", "beauty_attributes"),
    "clothing": ("brand", "categories", "related"),
    "sports": ("title_words", "sports_attributes"),
    "toys": ("title_words", "toys_attributes"),
}
Tables = tuple[pd.DataFrame, dict[str, pd.DataFrame]]


def read(folder: Path) -> Tables:
    """Purchases (user_id, item_id, type, timestamp) and, by kind, at least the items bought with their columns."""
    return read_original(folder) if find(folder, *FILES) else read_parquet(folder)


def read_parquet(folder: Path) -> Tables:
    """The tables that others made of the four kinds: see data/README.md for who made which column."""
    domains = {kind.capitalize(): kind for kind in PUBLISHED}
    rows = pd.read_parquet(need(folder, "amazon_multidomain/interactions.parquet", *FILES))
    rows = rows.assign(type=rows["domain"].astype(str).map(domains), timestamp=rows["position"])
    text = pd.read_parquet(need(folder, "amazon_multidomain/items.parquet"))
    text["title_words"] = text["title_keywords"].map(words)
    items = {}
    for domain, kind in domains.items():
        own = text.loc[text["domain"] == domain, ["item_id", "title_words", "s3rec_attributes"]]
        items[kind] = own.rename(columns={"s3rec_attributes": f"{kind}_attributes"})
    products = {
        kind: with_related(pd.read_parquet(need(folder, f"{name}/items.parquet")))
        for kind, name in (("beauty", "amazon_beauty_jrl"), ("clothing", "amazon_clothing"))
    }
    columns = ["item_id", "brand", "categories", "related"]
    items["beauty"] = items["beauty"].merge(products["beauty"][columns], on="item_id", how="left")
    return rows, items | {"clothing": products["clothing"][columns]}


def with_related(items: pd.DataFrame) -> pd.DataFrame:
    """Add the items bought or viewed with each item, in one list."""
    lists = items[list(RELATED)].itertuples(index=False)
    return items.assign(related=[[other for part in row for other in part] for row in lists])


def read_original(folder: Path) -> Tables:
    """The published files; product data only of items that were bought."""
    parts, items = [], {}
    for kind, published in PUBLISHED.items():
        reviews = objects(need(folder, f"reviews_{published}_5.json.gz"))
        rows = pd.DataFrame(
            ((r["reviewerID"], r["asin"], r["unixReviewTime"]) for r in reviews),
            columns=["user_id", "item_id", "time"],
        ).sort_values("time", kind="stable", ignore_index=True)
        # days are all that is known, so the order within a day is that of the file
        parts.append(rows.assign(type=kind, timestamp=rows.groupby("user_id").cumcount()))
        products = objects(need(folder, f"meta_{published}.json.gz"), set(rows["item_id"]))
        items[kind] = pd.DataFrame([product(p) for p in products], columns=list(product({"asin": ""})))
    print("S3-Rec's attributes are not among the published files: the tables go without them")
    return pd.concat(parts, ignore_index=True), items


def build(folder: Path, min_kinds: int = 1) -> Prepared:
    rows, items = read(folder)
    rows = rows[["user_id", "item_id", "type", "timestamp"]].astype({"timestamp": "float64"})
    if min_kinds > 1:
        rows = core(rows[rows.groupby("user_id")["type"].transform("nunique") >= min_kinds])
        if set(rows["type"]) != set(PUBLISHED):
            raise PrepareError(f"--min-kinds {min_kinds}: too few users; of some kind no item is left.")
    rows = rows.sort_values(["type", "user_id", "timestamp"], ignore_index=True)  # from either source in this order
    catalogue = set(rows["item_id"])
    kinds = {
        kind: tidy(ids_of(rows, kind).merge(items[kind], on="item_id", how="left", validate="1:1"), kind, catalogue)
        for kind in PUBLISHED
    }
    names = {name for table in kinds.values() for name in table}
    return Prepared(
        users=ids_of(rows),
        kinds=kinds,
        interactions=rows,
        label={"negatives": 1},
        feat={name: column for name, column in features().items() if name in names},
    )


def core(rows: pd.DataFrame, least: int = 5) -> pd.DataFrame:
    """The rows of users and of items that have ``least`` or more among these rows.

    A sample must keep items that are read several times in it: of an item with one row, that row is in the training
    part or it is what is to be predicted, so that the number of its training rows reveals the answer.
    """
    while True:
        users = rows.groupby("user_id")["user_id"].transform("size")
        items = rows.groupby(["type", "item_id"])["item_id"].transform("size")
        enough = (users >= least) & (items >= least)
        if enough.all():
            return rows
        rows = rows[enough]


def tidy(items: pd.DataFrame, kind: str, catalogue: Container[str]) -> pd.DataFrame:
    """The columns of one kind that the source has: distinct texts in lists, related items that are in the catalogue."""
    items = items[["item_id", *(name for name in COLUMNS[kind] if name in items)]].copy()
    if "brand" in items:
        items["brand"] = items["brand"].fillna("").map(html.unescape).str.strip().replace("", None)
    for name in items.columns.drop(["item_id", "brand"], errors="ignore"):
        # a product without an object in the meta file has no list at all
        lists = [distinct(value) if isinstance(value, (list, np.ndarray)) else [] for value in items[name]]
        if name == "related":
            lists = [[other for other in value if other in catalogue] for value in lists]
        elif name == "categories":
            lists = [distinct(map(html.unescape, value)) for value in lists]
        items[name] = lists
    return items


def features() -> dict[str, dict[str, Any]]:
    """The data settings' columns: those of the same name share one vocabulary."""
    shared: dict[str, dict[str, Any]] = {
        "brand": {"type": "token", "source": "item", "min_count": 2},
        "categories": {"type": "token_seq", "source": "item", "min_count": 2},
        "related": {"type": "token_seq", "source": "item", "min_count": 2},
        "title_words": {"type": "token_seq", "source": "item", "min_count": 2},
    }
    own = {f"{kind}_attributes": {"type": "token_seq", "source": f"item_{kind}", "min_count": 2} for kind in COLUMNS}
    return shared | own


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    parser = arguments(__doc__, "amazon", prog)
    text = "keep users who bought of N kinds or more, and of them users and items with five rows or more"
    parser.add_argument("--min-kinds", type=int, default=1, metavar="N", help=text)
    parser.add_argument("--category", nargs="+", metavar="NAME", help="as the files are named: Beauty, Toys_and_Games")
    numbers = "the type of the numbers of images.parquet (%(default)s)"
    parser.add_argument("--images", choices=list(amazon_category.IMAGES), default="float16", help=numbers)
    args = parser.parse_args(argv)
    if args.category and args.min_kinds > 1:
        parser.error("--min-kinds is for the four kinds together: leave it or --category out")
    if args.category:
        if args.out == parser.get_default("out"):
            args.out = args.out.with_name(amazon_category.name_of(args.category))
        files = amazon_category.files(args.category)
        return prepare(args, files, partial(amazon_category.build, categories=args.category, images=args.images))
    if args.min_kinds > 1 and args.out == parser.get_default("out"):
        args.out = args.out.with_name(f"{args.out.name}-{args.min_kinds}kinds")
    return prepare(args, FILES, partial(build, min_kinds=args.min_kinds))
