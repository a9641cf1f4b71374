"""Down from far away: which coordinates are scales, where they belong, and the region's steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytest

import pmlik
from pmlik.optimize.objective import CachedObjective
from pmlik.optimize.trust_region import TRUST_REGION_OPTIONS, find_scales, run_trust_region

Y = np.array([3.1, 2.2, 4.8, 3.9, 2.7])
# NIST StRD BoxBOD and Misra1a: response, predictor, first start, certified values (public domain).
BOXBOD = (
    [109, 149, 149, 191, 213, 224],
    [1, 2, 3, 5, 7, 10],
    [1, 1],
    [213.80940889, 0.54723748542],
)
MISRA1A = (
    [
        10.07,
        14.73,
        17.94,
        23.93,
        29.61,
        35.18,
        40.02,
        44.82,
        50.76,
        55.05,
        61.01,
        66.4,
        75.47,
        81.78,
    ],
    [77.6, 114.9, 141.1, 190.8, 239.9, 289, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760],
    [500, 0.0001],
    [238.94212918, 0.00055015643181],
)


@dataclass
class Plain:
    """An objective given by hand."""

    function: object
    hessian: object
    period = None

    def value_and_gradient(self, z):
        value, gradient = self.function(z)
        ok = np.isfinite(value) and np.isfinite(gradient).all()
        return (value, gradient) if ok else (np.inf, np.zeros(len(z)))

    def product(self, z, v):
        return self.hessian(z) @ v


def normal(power: float) -> Plain:
    """Mean and logarithm of the scale (power 1), the variance (1/2) or the precision (-1/2)."""
    n = len(Y)

    def function(z):
        r, w = Y - z[0], np.exp(-2 * power * z[1])
        value = n * power * z[1] + w * (r @ r) / 2
        return value, np.array([-w * r.sum(), n * power - power * w * (r @ r)])

    def hessian(z):
        r, w = Y - z[0], np.exp(-2 * power * z[1])
        cross = 2 * power * w * r.sum()
        return np.array([[n * w, cross], [cross, 2 * power**2 * w * (r @ r)]])

    return Plain(function, hessian)


@pytest.mark.parametrize("power", [1.0, 0.5, -0.5])
@pytest.mark.parametrize("start", [-12.0, 0.0, 9.0])
def test_a_scale_is_found_and_placed_from_wherever_it_starts(power, start) -> None:
    examiner = CachedObjective(normal(power))
    z = np.array([1.0, start])
    with np.errstate(all="ignore"):
        scales = find_scales(examiner, z)
        placed = scales.place(examiner, z)
    assert list(scales.where) == [1]
    assert scales.slopes == pytest.approx([len(Y) * power])
    assert placed[0] == 1.0
    assert power * placed[1] == pytest.approx(0.5 * np.log(np.mean((Y - 1.0) ** 2)), abs=1e-8)


def test_neither_a_mean_nor_a_coefficient_nor_a_straight_line_is_a_scale() -> None:
    def function(z):
        # A mean, the logarithm of a positive coefficient, and something without an end.
        value = (z[0] - 1) ** 2 + (np.exp(z[1]) - 2) ** 2 + z[2]
        return value, np.array([2 * (z[0] - 1), 2 * (np.exp(z[1]) - 2) * np.exp(z[1]), 1.0])

    with np.errstate(all="ignore"):
        assert not find_scales(CachedObjective(Plain(function, None)), np.zeros(3)).where.size


@pytest.mark.parametrize("way", TRUST_REGION_OPTIONS)
def test_both_ways_go_down_a_curved_valley(way) -> None:
    def function(z):
        a, b = z[1] - z[0] ** 2, 1 - z[0]
        return 100 * a**2 + b**2, np.array([-400 * z[0] * a - 2 * b, 200 * a])

    def hessian(z):
        first = -400 * (z[1] - 3 * z[0] ** 2) + 2
        return np.array([[first, -400 * z[0]], [-400 * z[0], 200.0]])

    found = run_trust_region(CachedObjective(Plain(function, hessian)), np.array([-1.2, 1.0]), way)
    np.testing.assert_allclose(found, 1.0, atol=2e-2)


def test_a_saddle_with_no_slope_is_left() -> None:
    def function(z):
        return z[0] ** 2 - z[1] ** 2 + z[1] ** 4, np.array([2 * z[0], -2 * z[1] + 4 * z[1] ** 3])

    def hessian(z):
        return np.diag([2.0, -2 + 12 * z[1] ** 2])

    found = run_trust_region(
        CachedObjective(Plain(function, hessian)), np.zeros(2), TRUST_REGION_OPTIONS[0]
    )
    assert abs(found[1]) == pytest.approx(np.sqrt(0.5), abs=1e-2)


@pytest.mark.parametrize("problem", [BOXBOD, MISRA1A], ids=["BoxBOD", "Misra1a"])
@pytest.mark.parametrize("sigma", [0.01, 1e4])
def test_a_far_start_reaches_the_certified_digits(problem, sigma) -> None:
    y, x, start, certified = problem
    with pm.Model() as model:
        b = [pm.Flat(f"b{i}", initval=float(value)) for i, value in enumerate(start)]
        s = pm.HalfNormal("sigma", sigma)
        pm.Normal("y", b[0] * (1 - pm.math.exp(-b[1] * np.array(x, float))), s, observed=y)
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    found = [float(mle.values[f"b{i}"]) for i in range(2)]
    np.testing.assert_allclose(found, certified, rtol=1e-9)
    assert mle.certificate.converged
    assert mle.certificate.start == "initial point"
