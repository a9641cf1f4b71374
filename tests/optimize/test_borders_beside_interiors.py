"""A parameter inside its support is not taken for one at a border because another one is there."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import optimize, stats

from oracles.fits import codes, fit
from pmlik import FlagCode, find_MAP

INSIDE, OUTSIDE = np.array([0.9, 1.1, 1.0, 0.8, 1.2]), np.array([-0.2, 0.1, -0.3, 0.0, -0.1])


def two_means(scale: float, width: float) -> pm.Model:
    with pm.Model() as model:
        a, b = pm.HalfNormal("a", width * scale), pm.HalfNormal("b", width * scale)
        pm.Normal("y", a, scale, observed=scale * INSIDE)
        pm.Normal("z", b, scale, observed=scale * OUTSIDE)
    return model


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("width", [50, 2000])
def test_means_inside_and_at_zero_at_any_scale(scale: float, width: float) -> None:
    mle = fit(two_means(scale, width))
    assert float(mle.values["a"]) == pytest.approx(scale, rel=1e-7)
    assert float(mle.std_error["a"]) == pytest.approx(scale / np.sqrt(5), rel=1e-6)
    assert float(mle.values["b"]) == 0
    data = [
        stats.norm.logpdf(scale * INSIDE, scale, scale),
        stats.norm.logpdf(OUTSIDE * scale, 0, scale),
    ]
    assert mle.log_likelihood == pytest.approx(np.sum(data), rel=1e-9)
    assert FlagCode.AT_BOUNDARY in codes(mle)
    mode = find_MAP(two_means(scale, width), random_seed=1, progressbar=False)
    shrunk = scale * 5 / (5 + 1 / width**2)
    assert float(mode.values["a"]) == pytest.approx(shrunk, rel=1e-7)
    assert float(mode.values["b"]) == 0


@pytest.mark.parametrize("counts", [[0, 1], [3, 0], [0, 0], [2, 5000], [0, 2500]])
def test_rare_events_beside_none(counts: list[int]) -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1, shape=2)
        pm.Binomial("y", n=5000, p=p, observed=counts)
    mle = fit(model)
    expected = np.array(counts) / 5000
    np.testing.assert_allclose(mle.values["p"], expected, rtol=1e-6, atol=1e-12)
    border = (expected == 0) | (expected == 1)
    assert (mle.values["p"].to_numpy()[border] == expected[border]).all()  # exactly
    errors = np.sqrt(expected * (1 - expected) / 5000)
    np.testing.assert_allclose(mle.std_error["p"], np.where(border, np.nan, errors), rtol=1e-6)
    assert mle.log_likelihood == pytest.approx(stats.binom.logpmf(counts, 5000, expected).sum())


def test_small_rates_beside_a_rate_of_zero() -> None:
    exposure, counts = np.array([2e4, 1e5, 3.0]), np.array([2, 0, 40])
    with pm.Model() as model:
        rate = pm.HalfFlat("rate", shape=3)
        pm.Poisson("y", rate * exposure, observed=counts)
    mle = fit(model)
    np.testing.assert_allclose(mle.values["rate"], counts / exposure, rtol=1e-6, atol=1e-13)


def test_coefficients_that_may_not_be_negative_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(4)
    X = rng.gamma(2, 1, (40, 4)) * [1.0, 1e-3, 1e2, 1.0]
    y = X @ [0.5, 300.0, -0.002, -0.3] + rng.normal(size=40)
    with pm.Model() as model:
        b = pm.HalfNormal("b", 1e3, shape=4)
        pm.Normal("y", X @ b, 1.0, observed=y)
    mle, (expected, distance) = fit(model), optimize.nnls(X, y)
    np.testing.assert_allclose(mle.values["b"], expected, rtol=1e-6, atol=1e-9)
    assert mle.log_likelihood == pytest.approx(
        -(distance**2) / 2 - 20 * np.log(2 * np.pi), abs=1e-8
    )


@pytest.mark.parametrize("scale", [1e-2, 1e4])
def test_mean_just_inside_beside_one_at_the_upper_end(scale: float) -> None:
    data = scale * np.array([[1e-3, 1.2], [2e-3, 1.1], [3e-3, 0.9]])
    with pm.Model() as model:
        a = pm.Uniform("a", 0, scale, shape=2)
        pm.Normal("y", a, scale, observed=data)
    np.testing.assert_allclose(fit(model).values["a"], [2e-3 * scale, scale], rtol=1e-6)


@pytest.mark.parametrize("mean", [1e-3, 1e-4])
def test_log_likelihood_is_that_of_the_values_next_to_a_border(mean: float) -> None:
    data = INSIDE - 1 + mean
    with pm.Model() as model:
        a, b = pm.HalfNormal("a", 50), pm.HalfNormal("b", 50)
        pm.Normal("y", a, 1, observed=data)
        pm.Normal("z", b, 1, observed=OUTSIDE)
    mle = fit(model)
    at, best = (
        stats.norm.logpdf(data, m).sum() + stats.norm.logpdf(OUTSIDE).sum()
        for m in (float(mle.values["a"]), mean)
    )
    assert float(mle.values["b"]) == 0
    assert mle.log_likelihood == pytest.approx(at, abs=1e-6)
    assert mle.log_likelihood == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_variance_inside_far_from_the_start_beside_a_variance_of_zero(scale: float) -> None:
    y = scale * np.array([[1, -1, 0.5, -0.5], [-0.9, 1, 0.4, -0.5], [0.8, -1, -0.3, 0.5]])
    within, between = ((y.T - y.mean(1)) ** 2).sum(), 4 * (y.mean(1) ** 2).sum()
    with pm.Model() as model:
        t, s = pm.HalfFlat("t"), pm.HalfFlat("s")
        total = s + 4 * t
        terms = 9 * pm.math.log(s) + within / s + 3 * pm.math.log(total) + between / total
        pm.Potential("y", -terms / 2)
    mle = fit(model)
    assert float(mle.values["t"]) == 0
    assert float(mle.values["s"]) == pytest.approx((within + between) / 12, rel=1e-7)
