"""Refits with weights and new data against rows repeated and statsmodels."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import statsmodels.api as sm

import pmlik
from oracles.fits import fit
from oracles.regressions import COUNTS, SPREAD, N, X, normal, poisson
from pmlik.stats.refit import Refitter
from pmlik.stats.refit_status import RefitStatus


def reweighted(estimate: pmlik.PointEstimate, weights, kind="mle") -> np.ndarray:
    weights = np.atleast_2d(np.asarray(weights, float))
    refitter = Refitter(estimate.prepared, kind, estimate.unconstrained, {"y": (N,)})
    refits = refitter({"y": weights})
    assert refits.outcome == [RefitStatus.CERTIFIED] * len(weights)
    return refits.values


@pytest.mark.parametrize("build", [poisson, normal])
def test_integer_weights_are_rows_repeated(build) -> None:
    estimate = fit(build())
    for seed in range(3):
        counts = np.random.default_rng(seed).multinomial(N, np.full(N, 1 / N))
        repeated = fit(build(np.repeat(np.arange(N), counts)))
        expected = np.concatenate([np.ravel(array) for array in repeated.values.values()])
        np.testing.assert_allclose(reweighted(estimate, counts)[0], expected, rtol=1e-8)


def test_weight_two_everywhere_is_data_twice(spread) -> None:
    once, twice = reweighted(spread, [np.ones(N), np.full(N, 2.0)])
    np.testing.assert_allclose(twice, once, rtol=1e-9)
    expected = np.concatenate([np.ravel(array) for array in spread.values.values()])
    np.testing.assert_allclose(once, expected, rtol=1e-9)


def test_weights_are_statsmodels_frequency_weights(counted) -> None:
    weights = np.random.default_rng(2).exponential(size=(4, N))
    ours = reweighted(counted, weights)
    for row, weight in zip(ours, weights, strict=True):
        theirs = sm.GLM(COUNTS, X, family=sm.families.Poisson(), freq_weights=weight)
        params = theirs.fit(tol=1e-14, maxiter=200).params
        np.testing.assert_allclose(row[:2], params, rtol=1e-8)
        np.testing.assert_allclose(row[2], np.exp(params[1]), rtol=1e-8)


def test_weights_of_a_normal_regression_are_weighted_least_squares(spread) -> None:
    weights = np.random.default_rng(3).exponential(size=N)
    row = reweighted(spread, weights)[0]
    theirs = sm.WLS(SPREAD, X, weights=weights).fit()
    np.testing.assert_allclose(row[:2], theirs.params, rtol=1e-8)
    variance = np.sum(weights * theirs.resid**2) / weights.sum()
    assert row[2] == pytest.approx(np.sqrt(variance), rel=1e-8)


def test_weights_leave_the_prior_of_a_map_alone() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 1, 0.1)
        pm.Normal("y", mu, 1, observed=SPREAD)
    estimate = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    weights = np.random.default_rng(3).exponential(size=N)
    expected = (1 / 0.1**2 + weights @ SPREAD) / (1 / 0.1**2 + weights.sum())
    assert reweighted(estimate, weights, "map")[0, 0] == pytest.approx(expected, rel=1e-10)


def test_new_data_are_what_find_MLE_gives_for_them(counted) -> None:
    drawn = np.random.default_rng(4).poisson(2.0, size=(3, N))
    refits = Refitter(counted.prepared, "mle", counted.unconstrained)({"y": drawn})
    for row, log_likelihood, y in zip(refits.values, refits.log_likelihood, drawn, strict=True):
        theirs = sm.GLM(y, X, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=200)
        np.testing.assert_allclose(row[:2], theirs.params, rtol=1e-8, atol=1e-9)
        assert log_likelihood == pytest.approx(theirs.llf, rel=1e-12)


def test_one_at_a_time_is_all_at_once(spread) -> None:
    weights = np.random.default_rng(6).exponential(size=(5, N))
    options = (spread.prepared, "mle", spread.unconstrained, {"y": (N,)})
    together, alone = (Refitter(*options, together=t)({"y": weights}) for t in (None, False))
    np.testing.assert_allclose(together.values, alone.values, rtol=1e-9)
    np.testing.assert_allclose(together.log_likelihood, alone.log_likelihood, rtol=1e-12)
