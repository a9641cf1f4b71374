"""Series and Gaussian processes: numbers against SciPy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats

from oracles import zoo
from oracles.fits import check_against_scipy, fit

SERIES = np.array([0.5, 1.1, 0.4, -0.3, 0.2, 0.9, 1.6, 1.0, 0.1, -0.6, -0.2, 0.7, 1.2])


def test_an_autoregression_is_least_squares_on_the_lag():
    # The first value has a density of its own, Normal(0, 2), without parameters.
    with pm.Model() as model:
        rho, sigma = pm.Normal("rho", 0, 1), pm.HalfNormal("sigma", 2)
        first = pm.Normal.dist(0, 2)
        pm.AR("y", rho=pt.stack([rho]), sigma=sigma, init_dist=first, observed=SERIES)
    before, after = SERIES[:-1], SERIES[1:]
    mle = before @ after / (before @ before)
    sd = np.sqrt(np.mean((after - mle * before) ** 2))
    found = fit(model)
    zoo.assert_values(found.values, {"rho": mle, "sigma": sd})
    zoo.assert_values(
        found.std_error, {"rho": sd / np.sqrt(before @ before), "sigma": sd / 24**0.5}
    )
    expected = stats.norm.logpdf(after, mle * before, sd).sum() + stats.norm.logpdf(0.5, 0, 2)
    assert found.log_likelihood == pytest.approx(expected, rel=1e-9)


def test_a_random_walk_has_the_root_mean_square_of_its_steps():
    steps = np.diff(SERIES)
    with pm.Model() as model:
        drift, sigma = pm.Normal("drift", 0, 1), pm.HalfNormal("sigma", 2)
        first = pm.Normal.dist(0, 2)
        pm.GaussianRandomWalk("y", mu=drift, sigma=sigma, init_dist=first, observed=SERIES)
    found = fit(model)
    sd = steps.std()
    zoo.assert_values(found.values, {"drift": steps.mean(), "sigma": sd}, atol=1e-8)
    zoo.assert_values(found.std_error, {"drift": sd / 12**0.5, "sigma": sd / 24**0.5})
    assert found.n_observations == 13


def gaussian_process(initval):
    x = np.linspace(0, 3, 13)
    with pm.Model() as model:
        length = pm.HalfNormal("length", 2, initval=initval)
        noise = pm.HalfNormal("noise", 1)
        process = pm.gp.Marginal(cov_func=pm.gp.cov.ExpQuad(1, ls=length))
        process.marginal_likelihood("y", X=x[:, None], y=SERIES, sigma=noise, jitter=0.0)
    return x, model


def test_a_gaussian_process_with_free_length_scale_is_what_scipy_finds():
    x, model = gaussian_process(0.5)

    def log_likelihood(t):
        if min(t) <= 0:
            return -np.inf
        cov = np.exp(-0.5 * ((x[:, None] - x) / t[0]) ** 2) + t[1] ** 2 * np.eye(13)
        return stats.multivariate_normal.logpdf(SERIES, np.zeros(13), cov)

    mle = check_against_scipy(model, ["length", "noise"], log_likelihood, [0.5, 0.3], rtol=1e-5)
    assert mle.n_observations == 13


def test_a_length_scale_that_runs_off_is_not_certified():
    # From PyMC's start the length grows: as the process becomes a constant, the likelihood
    # levels off, at -14.25 where the maximum is -8.69.
    _, model = gaussian_process(None)
    found = fit(model, random_seed=1)
    assert not found.trusted or found.log_likelihood == pytest.approx(-8.6859145, rel=1e-7)


def garch_variances(t, y):
    variances = [1.0]
    for value in y[:-1]:
        variances.append(t[0] + t[1] * value**2 + t[2] * variances[-1])
    return np.array(variances)


def test_garch_is_what_scipy_finds_for_its_recursion():
    rng = np.random.default_rng(11)
    y, variance = [], 1.0
    for _ in range(300):
        y.append(rng.normal(0, np.sqrt(variance)))
        variance = 0.3 + 0.35 * y[-1] ** 2 + 0.4 * variance
    y = np.array(y)
    with pm.Model() as model:
        omega = pm.HalfNormal("omega", 1)
        alpha, beta = pm.Beta("alpha", 1, 1), pm.Beta("beta", 1, 1)
        pm.GARCH11("y", omega=omega, alpha_1=alpha, beta_1=beta, initial_vol=1.0, observed=y)

    def log_likelihood(t):
        if min(t) <= 0:
            return -np.inf
        return stats.norm.logpdf(y, 0, np.sqrt(garch_variances(t, y))).sum()

    check_against_scipy(
        model, ["omega", "alpha", "beta"], log_likelihood, [0.3, 0.3, 0.4], rtol=1e-5
    )


def test_a_users_scan_is_differentiated_through():
    # Exponential smoothing: each value is expected at the level that the errors so far made.
    with pm.Model() as model:
        gain = pm.Normal("gain", 0.5, 1)
        levels = pytensor.scan(
            lambda y, level, gain: level + gain * (y - level),
            sequences=[pt.as_tensor(SERIES[:-1])],
            outputs_info=[pt.as_tensor(0.0, dtype="float64")],
            non_sequences=[gain],
            return_updates=False,
        )
        pm.Normal("y", levels, 0.5, observed=SERIES[1:])

    def log_likelihood(t):
        level, total = 0.0, 0.0
        for y, after in pairwise(SERIES):
            level += t[0] * (y - level)
            total += stats.norm.logpdf(after, level, 0.5)
        return total

    check_against_scipy(model, ["gain"], log_likelihood, [0.5])
