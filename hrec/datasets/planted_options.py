"""Options of planted data: reviews, times that matter, images, a knowledge graph.

Each reveals another part of the hidden truth:

    reviews   the user's taste and the item's topics, in words; each word is a weak sign
    times     how the user's taste changes: the newest rows predict the next item better than the oldest
    image     the item's style. Users have a taste for styles, which decides which items they come across.
              Ratings, words, other columns and relations are independent of it
    graph     the item's topics, by one or two steps, and across kinds
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hrec.datasets.columns import FIRST, CategoricalList, Dense, Tokens
from hrec.datasets.planted_columns import Views, names
from hrec.datasets.relations import Relations

# ------------------------------------------------------------------------------------------- times

PERIODS = 8
DRIFT = 1.0
"""How far a taste is from its mean, in logits of topics, in the first and the last period."""


def no_drift(n_users: int, topics: int) -> np.ndarray:
    """float64[1, users, topics]: one period, and nothing that changes."""
    return np.zeros((1, n_users, topics))


def drift(rng: Generator, n_users: int, topics: int) -> np.ndarray:
    """float64[PERIODS, users, topics]: a straight way from one taste to its opposite; its direction is the user's own
    and the same in all kinds."""
    direction = rng.standard_normal((n_users, topics))
    return DRIFT * np.linspace(-1, 1, PERIODS)[:, None, None] * direction


# ----------------------------------------------------------------------------------- styles, images

STYLES = 4
STYLE_CONCENTRATION = 0.2
STYLE_SELECTION = 1.0
IMAGE_WIDTH, SCENES, IMAGE_NOISE, IMAGES_MISSING = 32, 6, 0.5, 0.05


@dataclass(frozen=True, eq=False)
class Styles:
    """taste: float64[users, S], logits of what users come across. items: kind -> float64[n, S], rows sum to 1."""

    taste: np.ndarray
    items: Mapping[str, np.ndarray]


def one_style(n_users: int, counts: Mapping[str, int]) -> Styles:
    """All items are of one style."""
    return Styles(np.zeros((n_users, 1)), {kind: np.ones((n, 1)) for kind, n in counts.items()})


def styles(rng: Generator, n_users: int, counts: Mapping[str, int]) -> Styles:
    items = {kind: rng.dirichlet(np.full(STYLES, STYLE_CONCENTRATION), n) for kind, n in counts.items()}
    return Styles(STYLE_SELECTION * rng.standard_normal((n_users, STYLES)), items)


def images(rng: Generator, style: Mapping[str, np.ndarray]) -> dict[str, Dense]:
    """Kind -> float32[n, IMAGE_WIDTH]: the style, a scene (noise of low rank) and noise. All kinds mix the same way."""
    of_style = rng.standard_normal((STYLES, IMAGE_WIDTH))
    of_scene = rng.standard_normal((SCENES, IMAGE_WIDTH)) / np.sqrt(SCENES)
    return {kind: _image(rng, (items - 1 / STYLES) @ of_style, of_scene) for kind, items in style.items()}


def _image(rng: Generator, view: np.ndarray, of_scene: np.ndarray) -> Dense:
    scene = rng.standard_normal((len(view), SCENES)) @ of_scene
    value = view + scene + IMAGE_NOISE * rng.standard_normal(view.shape)
    value[rng.random(len(view)) < IMAGES_MISSING] = np.nan
    return Dense(value.astype(np.float32))


# ----------------------------------------------------------------------------------------- reviews

WORDS, WORD_TAIL = 400, 2.0
REVIEW_LENGTH = 12
ABOUT_ITEM, ABOUT_USER = 0.3, 0.2
"""Shares of the words that are of the item's topics, and of what the user has a taste for; the rest are noise."""
SHARPNESS = 1.5


def reviews(rng: Generator, taste: np.ndarray, topics: np.ndarray) -> Tokens:
    """A review for each of N rows, of a user with this taste and an item of these topics, float64[N, T].

    Each word is drawn independently. With the probability ABOUT_ITEM topics_t + ABOUT_USER softmax(SHARPNESS taste)_t
    it is a word of topic t, else one of general use. The rating has no part in it.
    """
    by_word = rng.lognormal(0, WORD_TAIL, (topics.shape[1] + 1, WORDS))
    cared = np.exp(SHARPNESS * taste)
    about = ABOUT_ITEM * topics + ABOUT_USER * cared / cared.sum(1, keepdims=True)
    chance = np.concatenate([about, 1 - about.sum(1, keepdims=True)], axis=1)
    length = 1 + rng.poisson(REVIEW_LENGTH - 1, len(topics))
    source = np.repeat(np.tile(np.arange(chance.shape[1]), len(chance)), rng.multinomial(length, chance).ravel())
    row = np.repeat(np.arange(len(length)), length)
    source = source[np.lexsort((rng.random(len(row)), row))]  # the words of a review in random order
    share = np.cumsum(by_word, axis=1)
    shares = (share / share[:, -1:] + np.arange(len(share))[:, None]).ravel()
    word = np.minimum(np.searchsorted(shares, source + rng.random(len(source)), "right") - source * WORDS, WORDS - 1)
    return Tokens(np.concatenate([[0], np.cumsum(length)]), word.astype(np.int32), names("word_", WORDS))


# ------------------------------------------------------------------------------------------- graph

SUBJECTS, PLACES = 40, 30
WITHOUT_TRIPLE, PAIRS_MISSING = 0.1, 0.3


def graph(rng: Generator, topics: np.ndarray, item_ids: np.ndarray, pairs: np.ndarray) -> Relations:
    """A knowledge graph of items with these topics, float64[n, T], all kinds together; pairs int[m, 2], (book, film).

    made_by: people, near the item's topics; about: subjects, less near; set_in: places, at random;
    adapted_as: a book's film; part_of: the field of a subject, the topic that most of its items are of.
    A share of WITHOUT_TRIPLE of the items is in no triple.
    """
    known = np.flatnonzero(rng.random(len(topics)) >= WITHOUT_TRIPLE)
    views = Views(rng, topics[known])
    lists = {
        "made_by": views.categories("person", 1 + len(topics) // 6, looks=24, mean=1.2, missing=0.15),
        "about": views.categories("subject", SUBJECTS, looks=12, mean=2, missing=0.2),
        "set_in": views.categories("place", PLACES, looks=1, mean=1, missing=0.3),
    }
    adapted = pairs[(rng.random(len(pairs)) >= PAIRS_MISSING) & np.isin(pairs, known).all(1)]
    field, fields = np.unique(_topics_of(lists["about"], topics[known]), return_inverse=True)
    entities = [item_ids, *(column.values for column in lists.values()), names("field_", field)]
    people, subjects, places, first_field = np.cumsum([len(part) for part in entities[:-1]])
    triples = {}
    for (name, column), start in zip(lists.items(), (people, subjects, places), strict=True):
        row, category = _entries(column)
        triples[name] = (known[row], category + start)
    triples["adapted_as"] = (adapted[:, 0], adapted[:, 1])
    triples["part_of"] = (subjects + np.arange(len(fields)), first_field + fields)
    return _relations(triples, np.concatenate(entities))


def _relations(triples: Mapping[str, tuple[np.ndarray, np.ndarray]], entities: np.ndarray) -> Relations:
    """Relation -> (heads, tails), one after another."""
    relation = np.repeat(np.arange(len(triples)), [len(head) for head, _ in triples.values()])
    head, tail = (np.concatenate([ends[side] for ends in triples.values()]) for side in (0, 1))
    names_of = np.array(list(triples))
    return Relations(head.astype(np.int32), relation.astype(np.int32), tail.astype(np.int32), entities, names_of)


def _entries(lists: CategoricalList) -> tuple[np.ndarray, np.ndarray]:
    """(row, category from 0) of every entry."""
    return np.repeat(np.arange(len(lists)), np.diff(lists.offset)), lists.code - FIRST


def _topics_of(lists: CategoricalList, topics: np.ndarray) -> np.ndarray:
    """int64[categories]: the topic that the rows of each category are of most."""
    row, category = _entries(lists)
    total = np.zeros((len(lists.values), topics.shape[1]))
    np.add.at(total, category, topics[row])
    return total.argmax(1)
