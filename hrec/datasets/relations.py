"""Triples (head, relation, tail) of a knowledge graph whose first entities are the items of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Relations:
    """T triples. The entity index of an item is its item index; the other entities follow the items.

    head, tail: int32[T], entity indices. relation: int32[T], index in ``relations``.
    entities: the name of each entity, an item's included, as the graph has it. relations: the name of each relation.
    """

    head: np.ndarray
    relation: np.ndarray
    tail: np.ndarray
    entities: np.ndarray
    relations: np.ndarray

    @property
    def n_entities(self) -> int:
        return len(self.entities)

    @property
    def n_relations(self) -> int:
        return len(self.relations)

    def __len__(self) -> int:
        return len(self.head)

    def with_items(self, items: np.ndarray, n_items: int) -> Relations:
        """The same graph when the catalogue is the items at ``items``, int[m], of the ``n_items`` there were.

        An item that leaves the catalogue stays as another entity if a triple names it: what it links is still true.
        """
        named = np.zeros(self.n_entities, bool)
        named[self.head], named[self.tail] = True, True
        named[items] = False  # they come first, in the order given
        named[n_items:] = True  # entities that are no items all stay
        others = np.flatnonzero(named)
        kept = np.concatenate([items, others])
        index = np.full(self.n_entities, -1, np.int32)
        index[kept] = np.arange(len(kept))
        return replace(self, head=index[self.head], tail=index[self.tail], entities=self.entities[kept])
