"""The losses against their equations, written out literally, and against cases worked by hand."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from itertools import combinations, product
from math import exp, log

import numpy as np
import pytest
import torch
from torch import Tensor

from hrec.models.hetero.duration import DURation
from hrec.models.losses import (
    alignment,
    bce,
    bpr,
    topology,
    weighted_logistic,
    weighted_squares,
    weighted_squares_of_all,
)


def rows(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def three_samples() -> list[Tensor]:
    """Three samples of different sizes around different places."""
    return [rows(2, 3), 1 + rows(5, 3, seed=1), 0.5 * rows(4, 3, seed=2)]


# -------------------------------------------------------------------------------- alignment, Eq. 2-4


def kernel(x: np.ndarray, y: np.ndarray, gamma: float) -> float:
    return float(np.exp(-gamma * np.sum((x - y) ** 2)))


def gram(samples: Sequence[np.ndarray], gamma: float) -> np.ndarray:
    """Eq. 3."""
    return np.array([[np.mean([kernel(x, y, gamma) for x in a for y in b]) for b in samples] for a in samples])


def equation_4(samples: Sequence[np.ndarray], gamma: float) -> float:
    p, total = len(samples), 0.0
    for i, j in product(range(p), repeat=2):
        n_i, n_j = len(samples[i]), len(samples[j])
        for k, m in product(range(n_i), range(n_j)):
            factor = (p - 1) / (p**2 * n_i**2) if i == j else -1 / (p**2 * n_i * n_j)
            total += factor * kernel(samples[i][k], samples[j][m], gamma)
    return total


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
def test_alignment_is_the_distributional_variance_of_equations_2_and_3(gamma: float):
    samples = three_samples()
    g = gram([s.numpy() for s in samples], gamma)
    p = len(g)
    assert alignment(samples, gamma).item() == pytest.approx(np.trace(g) / p - g.sum() / p**2, rel=1e-12)
    centring = np.eye(p) - np.ones((p, p)) / p  # 1_P of the paper must hold 1 / P: else Eq. 2's two sides differ
    assert alignment(samples, gamma).item() == pytest.approx(np.trace(centring @ g @ centring) / p, rel=1e-12)


@pytest.mark.parametrize("number", [2, 3])
def test_alignment_is_the_quadruple_sum_of_equation_4_for_samples_of_different_sizes(number: int):
    samples = three_samples()[:number]
    assert alignment(samples, 0.5).item() == pytest.approx(equation_4([s.numpy() for s in samples], 0.5), rel=1e-12)


def test_alignment_with_no_gamma_takes_one_over_the_mean_squared_distance_of_all_pairs():
    samples = three_samples()
    x = torch.cat(samples).numpy()
    width = np.mean([np.sum((a - b) ** 2) for a in x for b in x])
    assert alignment(samples).item() == pytest.approx(equation_4([s.numpy() for s in samples], 1 / width), rel=1e-12)


@pytest.mark.parametrize("gamma", [None, 0.5])
def test_alignment_is_0_where_all_samples_are_the_same_rows_in_any_order(gamma: float | None):
    sample = rows(6, 3)
    assert abs(alignment([sample, sample.flip(0), sample], gamma).item()) < 1e-12
    assert abs(alignment([sample, sample.repeat(2, 1)], gamma).item()) < 1e-12


@pytest.mark.parametrize("gamma", [None, 0.5])
def test_alignment_is_above_0_and_below_its_bound_for_different_samples(gamma: float | None):
    near, far = rows(50, 3), rows(50, 3, seed=1)
    values = [alignment([near, far + shift], gamma).item() for shift in (0, 1, 3)]
    assert 0 < values[0] < values[1] < values[2] < 1 / 2
    tight = [torch.full((4, 2), 1e3 * i) for i in range(3)]
    assert alignment(tight, 0.5).item() == pytest.approx(2 / 3, rel=1e-6)  # (P - 1) / P: nothing in common


def test_alignment_of_all_rows_in_one_place_is_0_and_its_gradient_finite():
    samples = [torch.ones(3, 2, requires_grad=True), torch.ones(4, 2, requires_grad=True)]
    value = alignment(samples)
    value.backward()
    assert value.item() == 0 and all(torch.isfinite(s.grad).all() for s in samples)


def test_alignment_with_no_gamma_does_not_change_with_the_scale_or_the_origin():
    samples = three_samples()
    expected = alignment(samples).item()
    for factor, shift in ((1e-3, 0.0), (1e3, 0.0), (1.0, 50.0)):
        assert alignment([factor * s + shift for s in samples]).item() == pytest.approx(expected, rel=1e-9)
    assert alignment([2 * s for s in samples], 0.5).item() != pytest.approx(alignment(samples, 0.5).item(), rel=1e-3)


def test_alignment_of_two_single_rows_worked_by_hand():
    """G = [[1, e], [e, 1]] with e = exp(-gamma d^2): 2 / 2 - (2 + 2 e) / 4 = (1 - e) / 2. Here d^2 = 9 + 16."""
    samples = [torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[3.0, 4.0]], dtype=torch.float64)]
    assert alignment(samples, 0.04).item() == pytest.approx((1 - exp(-1)) / 2, rel=1e-12)
    # no gamma: the mean over the four pairs of rows is 25 / 2
    assert alignment(samples).item() == pytest.approx((1 - exp(-2)) / 2, rel=1e-12)


def test_alignment_in_single_precision_is_as_good_far_from_the_origin():
    samples = [s + 1000 for s in three_samples()]
    assert alignment([s.float() for s in samples]).item() == pytest.approx(alignment(samples).item(), rel=1e-3)


def test_alignment_of_half_precision_is_computed_in_single_precision():
    samples = [s.bfloat16() for s in three_samples()]
    value = alignment(samples)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(alignment([s.double() for s in samples]).item(), rel=1e-5)


def test_alignment_has_the_right_gradient():
    samples = [s.requires_grad_() for s in three_samples()]
    assert torch.autograd.gradcheck(lambda *s: alignment(s, 0.5), samples)


def test_alignment_with_no_gamma_takes_its_gradient_at_the_width_it_found():
    samples = [s.requires_grad_() for s in three_samples()]
    x = torch.cat(samples).detach()
    width = (x[:, None] - x[None]).square().sum(2).mean().item()
    free, fixed = (torch.autograd.grad(alignment(samples, gamma), samples) for gamma in (None, 1 / width))
    for a, b in zip(free, fixed, strict=True):
        torch.testing.assert_close(a, b)


# --------------------------------------------------------------------------------- topology, Eq. 5-6


def covariance(features: np.ndarray) -> np.ndarray:
    """Eq. 5, [N, N] over the d features of each sample."""
    d = features.shape[1]
    ones = np.ones((d, 1))
    sums = ones.T @ features.T
    return (features @ features.T - sums.T @ sums / d) / (d - 1)


def equation_6(raw: np.ndarray, mapped: np.ndarray) -> float:
    return float(np.sum((covariance(raw) - covariance(mapped)) ** 2) / (4 * len(raw)))


@pytest.mark.parametrize(("width", "mapped_width"), [(4, 4), (7, 3), (2, 9)])
def test_topology_is_equation_6_with_the_covariances_of_equation_5(width: int, mapped_width: int):
    raw, mapped = 1 + rows(6, width), 2 * rows(6, mapped_width, seed=1)
    assert topology(raw, mapped).item() == pytest.approx(equation_6(raw.numpy(), mapped.numpy()), rel=1e-12)


def test_the_covariance_of_equation_5_is_that_of_numpy_with_samples_for_variables():
    x = rows(5, 4).numpy()
    np.testing.assert_allclose(covariance(x), np.cov(x), rtol=1e-12)


def test_topology_is_0_where_nothing_is_mapped_and_where_each_row_is_only_shifted():
    raw = rows(6, 4)
    assert topology(raw, raw).item() == pytest.approx(0, abs=1e-12)
    assert topology(raw, raw + rows(6, 1, seed=1)).item() == pytest.approx(0, abs=1e-12)
    assert topology(raw, 1.1 * raw).item() > 1e-3


def test_topology_of_a_two_by_two_case_worked_by_hand():
    """Centred over d = 2 features: rows (1, -1) and (2, -2), so C = [[2, 4], [4, 8]]; mapped only the first row is
    not 0, C = [[2, 0], [0, 0]]. The squared differences are 16 + 16 + 64 = 96, over 4 * 2: 12."""
    raw = torch.tensor([[3.0, 1.0], [4.0, 0.0]], dtype=torch.float64)
    mapped = torch.tensor([[1.0, -1.0], [5.0, 5.0]], dtype=torch.float64)
    assert topology(raw, mapped).item() == pytest.approx(12, rel=1e-12)


def test_topology_of_features_of_width_1_has_nothing_to_compare():
    assert topology(rows(4, 1), rows(4, 1, seed=1)).item() == 0


def test_topology_of_half_precision_is_computed_in_single_precision():
    raw, mapped = rows(6, 4).bfloat16(), rows(6, 3, seed=1).bfloat16()
    value = topology(raw, mapped)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(topology(raw.double(), mapped.double()).item(), rel=1e-5)


def test_topology_has_the_right_gradient():
    assert torch.autograd.gradcheck(topology, (rows(5, 4).requires_grad_(), rows(5, 3, seed=1).requires_grad_()))


# ------------------------------------------------------------------------------------------- BPR-Opt


def test_bpr_worked_by_hand():
    """Differences of ln 3 and 0: -ln(3 / 4) and -ln(1 / 2). Of several negatives the largest counts."""
    positive = torch.tensor([log(3) + 1, 5], dtype=torch.float64)
    negative = torch.tensor([[1.0, -7.0], [2.0, 5.0]], dtype=torch.float64)
    assert bpr(negative - positive[:, None]).item() == pytest.approx((log(4 / 3) + log(2)) / 2, rel=1e-12)
    assert bpr(negative[:1, :1] - positive[:1, None]).item() == pytest.approx(log(4 / 3), rel=1e-12)


def test_bpr_stays_finite_where_a_chance_rounds_to_0_or_1():
    value = bpr(torch.tensor([[-1e4], [1e4]]))
    assert value.item() == pytest.approx(5e3)


# -------------------------------------------------------------------------------------- bce, Eq. 7


def test_bce_worked_by_hand():
    """Probabilities 3/4 and 1/5: positive and negative cost -log 3/4 and -log 4/5."""
    logit = torch.tensor([log(3), -log(4)], dtype=torch.float64)
    value = bce(logit, torch.tensor([1.0, 0.0], dtype=torch.float64)).item()
    assert value == pytest.approx(-(log(3 / 4) + log(4 / 5)) / 2, rel=1e-12)


def test_bce_stays_finite_where_a_probability_rounds_to_0_or_1():
    assert bce(torch.tensor([1e4, -1e4]), torch.tensor([0.0, 1.0])).item() == pytest.approx(1e4)


# -------------------------------------------------------------------- weighted sums over cells, DualNet, Eq. 4


def test_weighted_squares_and_logistic_worked_by_hand():
    """Two ones of weight 3 and two zeros of weight 1/2."""
    score = torch.tensor([[log(3), 0.0], [-log(4), 2.0]], dtype=torch.float64)
    ones = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    squares = 3 * (1 - log(3)) ** 2 + 0.5 * (0 + log(4) ** 2) + 3 * (1 - 2) ** 2
    assert weighted_squares(score, ones, 3.0, 0.5).item() == pytest.approx(squares, rel=1e-12)
    logistic = -3 * log(3 / 4) - 0.5 * (log(1 / 2) + log(4 / 5)) + 3 * log(1 + exp(-2))
    assert weighted_logistic(score, ones, 3.0, 0.5).item() == pytest.approx(logistic, rel=1e-12)


def test_weighted_squares_of_all_is_the_sum_over_every_cell():
    user, item = rows(4, 3), rows(6, 3, seed=1)
    cells = (torch.tensor([0, 0, 2, 3]), torch.tensor([1, 5, 0, 5]))
    target = torch.zeros(4, 6, dtype=torch.float64)
    target[cells] = 1
    expected = weighted_squares(user @ item.T, target, 1.5, 0.2)
    torch.testing.assert_close(weighted_squares_of_all(user, item, cells, 1.5, 0.2), expected)


# ------------------------------------------------------------------- what the docstring works out


def test_the_translation_of_the_papers_alpha_is_as_its_docstring_says():
    """alpha = 5e8 m / (n_i n_j), with the catalogue sizes of the paper's Table 2."""
    text = " ".join(inspect.getsource(DURation.Config).split())
    m = int(re.search(r"sums m = (\d+) pairs", text)[1])
    sizes = re.search(r"Douban has n = ([\d,]+), ([\d,]+) and ([\d,]+),", text)
    n = [int(size.replace(",", "")) for size in sizes.groups()]
    said = re.search(
        r"gives (\S+) within books, (\S+) within music, (\S+) within films and (\S+) to (\S+) across", text
    )
    assert (m, n) == (128, [150_955, 102_571, 50_299])
    across = [5e8 * m / (a * b) for a, b in combinations(n, 2)]
    worked_out = [*(5e8 * m / a**2 for a in n), min(across), max(across)]
    assert [float(f"{value:.2g}") for value in worked_out] == [float(value) for value in said.groups()]


def test_relative_topology_of_items_whose_features_are_all_alike_is_0():
    flat = torch.full((4, 3), 2.0).requires_grad_()
    mapped = rows(4, 5).float().requires_grad_()
    value = topology(flat, mapped, relative=True)
    value.backward()
    assert value.item() == 0 and not mapped.grad.any() and topology(flat, mapped).item() > 0


def test_relative_topology_is_0_for_the_same_features_1_for_none_and_the_same_at_any_scale():
    raw = torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mapped = torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert topology(raw, raw, relative=True) == pytest.approx(0, abs=1e-12)
    assert topology(raw, torch.zeros(50, 4, dtype=torch.float64), relative=True) == pytest.approx(1)
    both = topology(torch.cat([raw, raw]), torch.cat([mapped, mapped]), relative=True)
    for same in (topology(1e-3 * raw, 1e-3 * mapped, relative=True), both):
        assert same == pytest.approx(topology(raw, mapped, relative=True))
    of_zero = topology(raw, torch.zeros_like(raw))
    assert topology(raw, mapped, relative=True) == pytest.approx(topology(raw, mapped) / of_zero)


def test_relative_topology_takes_what_it_divides_by_as_a_constant():
    raw, mapped = rows(6, 4).requires_grad_(), rows(6, 3, seed=1)
    (relative,) = torch.autograd.grad(topology(raw, mapped, relative=True), [raw])
    (absolute,) = torch.autograd.grad(topology(raw, mapped), [raw])
    torch.testing.assert_close(relative, absolute / topology(raw, 0 * mapped).detach())


@pytest.mark.parametrize("loss", [lambda a, b: alignment([a, b]), topology])
def test_mixed_precision_does_not_reach_a_loss_of_small_differences(loss):
    rows = torch.randn(2, 64, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(*rows)
    assert torch.equal(mixed, loss(*rows))
