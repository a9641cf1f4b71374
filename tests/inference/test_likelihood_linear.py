"""The likelihood itself and relative to its maximum: products, underflow, overflow."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmlik
from oracles.likelihoods import Y, likelihood_of, normal_log


def test_the_likelihood_is_the_product_of_the_densities(normal):
    mu, sigma = np.array([3.0, 3.7]), np.array([1.2, 0.9])
    product = [np.prod(stats.norm.pdf(Y, m, s)) for m, s in zip(mu, sigma, strict=True)]
    np.testing.assert_allclose(normal(mu=mu, sigma=sigma), product, rtol=1e-12)


def test_outside_the_support_the_likelihood_is_zero_and_that_is_no_underflow(normal):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = normal(mu=3.0, sigma=[-1.0, 1.2])
    np.testing.assert_allclose(found, [0, np.prod(stats.norm.pdf(Y, 3.0, 1.2))], rtol=1e-12)


@pytest.fixture(scope="module")
def large():
    y = np.random.default_rng(5).normal(3.0, 2.0, size=100_000)
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 10), 2.0, observed=y)
    return likelihood_of(model), y


def test_underflow_is_said_with_the_number_of_observations_and_what_to_use(large):
    lik, y = large
    with pytest.warns(pmlik.UnderflowWarning, match="100000") as caught:
        assert float(lik(mu=3.0)) == 0.0
    assert "`log`" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert float(lik.log(mu=3.0)) == pytest.approx(normal_log(3.0, 2.0, y), rel=1e-12)


def test_a_likelihood_too_large_for_a_number_is_said_too():
    with pm.Model() as model:
        pm.Normal("y", 0, pm.HalfNormal("s"), observed=np.zeros(400))
    with pytest.warns(pmlik.UnderflowWarning, match=r"400 observations overflows.*`log`"):
        assert float(likelihood_of(model)(s=1e-3)) == np.inf


def test_relative_likelihood_of_many_observations_does_not_underflow(large):
    lik, y = large
    mu = y.mean() + np.array([0.0, 0.005, -0.02])
    expected = np.exp(-len(y) * (mu - y.mean()) ** 2 / (2 * 2.0**2))
    np.testing.assert_allclose(lik.relative(mu=mu), expected, rtol=1e-6)


def test_relative_likelihood_is_the_ratio_to_the_one_at_the_mle(normal):
    highest = normal_log(Y.mean(), Y.std())
    mu, sigma = np.array([Y.mean(), 3.0, 2.0, 3.0]), np.array([Y.std(), 1.2, 3.0, -1.0])
    expected = np.exp(normal_log(mu[:3], sigma[:3]) - highest)
    found = normal.relative(mu=mu, sigma=sigma)
    np.testing.assert_allclose(found, [*expected, 0.0], rtol=1e-9)
