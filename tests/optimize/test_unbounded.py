"""Likelihoods without bound beside a local maximum, and regular ones."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

import pmlik
from pmlik import FlagCode
from pmlik.results.flags import Severity

QUIET = {"random_seed": 1, "progressbar": False}


def codes(estimate: pmlik.PointEstimate) -> set[FlagCode]:
    return {flag.code for flag in estimate.flags}


def lognormal_profile(y: NDArray[np.float64], shift: float) -> float:
    """The log-likelihood of a shift, maximised over the other two parameters: a closed form."""
    logs = np.log(y - shift)
    return float(stats.norm.logpdf(logs, logs.mean(), logs.std()).sum() - logs.sum())


@pytest.mark.parametrize(
    ("seed", "n", "prior"), [(5, 6, "uniform"), (2, 10, "uniform"), (2, 8, "half")]
)
def test_a_shift_towards_the_smallest_observation_has_no_bound(
    seed: int, n: int, prior: str
) -> None:
    y = 0.3 + np.random.default_rng(seed).lognormal(-1, 0.6, n)
    with pm.Model() as model:
        mu, sd = pm.Normal("mu", -1, 2), pm.HalfNormal("sd", 2)
        if prior == "uniform":
            shift = pm.Uniform("shift", 0, y.min())
        else:
            shift = pm.HalfNormal("shift", 1, initval=y.min() / 2)
        pm.CustomDist(
            "y",
            mu,
            sd,
            shift,
            logp=lambda v, mu, sd, shift: pm.logp(pm.LogNormal.dist(mu, sd), v - shift),
            observed=y,
        )
    mle = pmlik.find_MLE(model, **QUIET)
    assert FlagCode.UNBOUNDED in codes(mle)
    shifts = y.min() * np.linspace(0, 0.99, 400)
    local = max(lognormal_profile(y, at) for at in shifts)
    nearest = y.min() * (1 - 1e-13)
    assert lognormal_profile(y, nearest) > local  # there is no bound, and doubles see it
    assert mle.log_likelihood == pytest.approx(local, abs=1e-3)
    assert float(mle.values["shift"]) < 0.99 * y.min()


def test_the_edge_of_a_shifted_exponential_is_no_direction_without_bound() -> None:
    y = 0.3 + np.random.default_rng(3).exponential(1, 12)
    with pm.Model() as model:
        rate, shift = pm.HalfNormal("rate", 5), pm.Normal("shift", 0, 1, initval=y.min() / 2)
        pm.Potential("y", pm.logp(pm.Exponential.dist(rate), pt.as_tensor(y) - shift))
    mle = pmlik.find_MLE(model, **QUIET)
    assert FlagCode.UNBOUNDED not in codes(mle)
    assert float(mle.values["shift"]) == pytest.approx(y.min(), abs=1e-9)
    assert mle.log_likelihood == pytest.approx(-12 * np.log((y - y.min()).mean()) - 12, abs=1e-6)


@pytest.mark.parametrize("family", ["gamma", "normal", "beta"])
def test_regular_models_have_a_bound(family: str) -> None:
    rng = np.random.default_rng(7)
    with pm.Model() as model:
        if family == "gamma":
            a, b = pm.HalfNormal("a", 5), pm.HalfNormal("b", 5)
            pm.Gamma("y", a, b, observed=rng.gamma(2, 1, 15))
        elif family == "normal":
            mu, s, share = pm.Normal("mu"), pm.HalfNormal("s", 2), pm.Uniform("share")
            pm.Normal("y", mu, s * (0.5 + share), observed=rng.normal(size=15))
            pm.Normal("z", share, 0.3, observed=rng.normal(0.4, 0.3, 5))
        else:
            a, b = pm.HalfNormal("a", 5), pm.HalfNormal("b", 5)
            pm.Beta("y", a, b, observed=rng.beta(2, 3, 15))
    mle = pmlik.find_MLE(model, **QUIET)
    assert FlagCode.UNBOUNDED not in codes(mle)
    assert mle.trusted


def test_a_hazard_with_empty_intervals_has_a_bound() -> None:
    rng = np.random.default_rng(0)
    deaths = np.zeros(24, int)
    deaths[rng.choice(24, 7, replace=False)] = rng.integers(1, 3, 7)
    exposure, x = rng.uniform(5, 20, (24, 2)), np.array([0.0, 1.0])
    counts = np.column_stack([deaths, deaths[::-1]])
    with pm.Model() as model:
        hazard, slope = pm.Gamma("hazard", 0.01, 0.01, shape=24), pm.Normal("slope", 0, 10)
        pm.Poisson("y", exposure * hazard[:, None] * pt.exp(slope * x), observed=counts)
    mle = pmlik.find_MLE(model, **QUIET)
    assert FlagCode.UNBOUNDED not in codes(mle)

    def profile(at: float) -> float:
        weights = exposure * np.exp(at * x)
        rate = counts.sum(axis=1) / weights.sum(axis=1)
        return -float(stats.poisson.logpmf(counts, weights * rate[:, None]).sum())

    best = optimize.minimize_scalar(profile, bounds=(-3, 3), method="bounded")
    assert mle.log_likelihood == pytest.approx(-best.fun, abs=1e-6)


def test_two_terms_that_merge_are_not_certified_below_a_limit_with_infinite_amplitudes() -> None:
    """The rates of two exponentials meet at infinite amplitudes of opposite sign."""
    t = np.linspace(0, 4, 30)
    y = np.exp(-t) + 0.01 * np.random.default_rng(3).normal(size=30)
    with pm.Model() as model:
        a, rates = pm.Normal("a", 0, 3, shape=2), pm.math.exp(pm.Normal("r", 0, 1, shape=2))
        s = pm.HalfNormal("s", 1)
        pm.Normal("y", pt.exp(-rates * t[:, None]) @ a, s, observed=y)
    mle = pmlik.find_MLE(model, **QUIET)

    def profile(log_rate: float) -> float:
        basis = np.column_stack([np.exp(-np.exp(log_rate) * t), t * np.exp(-np.exp(log_rate) * t)])
        rest = y - basis @ np.linalg.lstsq(basis, y)[0]
        return 15 * np.log(2 * np.pi * (rest @ rest) / 30) + 15

    supremum = -optimize.minimize_scalar(profile, bounds=(-1, 1), method="bounded").fun
    serious = [flag for flag in mle.flags if flag.severity is Severity.ERROR]
    assert mle.log_likelihood > supremum - 1e-6 or serious
