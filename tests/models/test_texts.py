"""Models of features read texts: the mean of the words' vectors, or how often each word stands there."""

import numpy as np
import pytest
import torch

from hrec.datasets.columns import Tokens
from hrec.datasets.queries import Queries
from hrec.datasets.recdata import Table
from hrec.models.layers.content import as_sparse
from hrec.models.layers.entries import of_tokens
from hrec.models.layers.fields import Fields

TITLES = Tokens(np.array([0, 3, 3, 4]), np.array([1, 0, 1, 2], np.int32), np.array(["a", "b", "c"], object))


def test_a_text_is_the_mean_of_its_words_and_none_is_missing():
    found = of_tokens(TITLES)
    assert found.size == 5 and found.offset.tolist() == [0, 3, 4, 5] and found.code.tolist() == [3, 2, 3, 0, 4]
    np.testing.assert_allclose(found.weight, [1 / 3, 1 / 3, 1 / 3, 1, 1])


def test_fields_look_up_the_words_of_a_title():
    fields = Fields(Table(3, 0, {"title": TITLES}), 4, 1.0)
    vectors = fields.table.weight
    expected = torch.stack([(2 * vectors[3] + vectors[2]) / 3, vectors[0], vectors[4]])
    torch.testing.assert_close(fields(torch.arange(3)), expected)


def test_a_new_user_without_a_text_reads_the_missing_vector():
    fields = Fields(Table(3, 0, {"about": TITLES}), 4, 1.0)
    own = {"about": TITLES.take(np.array([1, 2]))}
    torch.testing.assert_close(fields.of_queries(Queries(torch.tensor([-1, 0])))[0], fields.table.weight[0])
    given = fields.of_queries(Queries(torch.tensor([-1, -1]), columns=own))
    torch.testing.assert_close(given, fields.table.weight[[0, 4]])


@pytest.mark.parametrize("rows", [[0, 1, 2], [1]])
def test_content_counts_the_words(rows):
    counts = np.array([[1, 2, 0], [0, 0, 0], [0, 0, 1]])[rows]
    found = as_sparse(TITLES.take(np.array(rows)))
    dense = np.zeros((len(rows), found.width))
    dense[np.repeat(np.arange(len(rows)), np.diff(found.offset)), found.index] = found.value
    assert found.width == 3 and dense.tolist() == counts.tolist()
