"""Where the likelihood is defined: the prior gives its support and nothing else."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from pymc.distributions import transforms as tr
from scipy import stats

from oracles import zoo
from oracles.likelihoods import Y, likelihood_of, with_cholesky, with_ordered


def scaled(prior):
    def make():
        with pm.Model() as model:
            pm.Normal("y", 3, prior("s"), observed=Y)
        return model, "s", lambda s: stats.norm.logpdf(Y, 3, s).sum()

    return make


def located(prior):
    def make():
        with pm.Model() as model:
            pm.Normal("y", prior("m"), 2.0, observed=Y)
        return model, "m", lambda m: stats.norm.logpdf(Y, m, 2.0).sum()

    return make


def a_probability(**options):
    def make():
        with pm.Model() as model:
            pm.Binomial("y", n=10, p=pm.Beta("p", 1, 1, **options), observed=2)
        return model, "p", lambda p: stats.binom.logpmf(2, 10, p)

    return make


def a_simplex(**options):
    def make():
        with pm.Model() as model:
            p = pm.Dirichlet("p", np.ones(3), **options)
            pm.Multinomial("y", n=7, p=p, observed=[4, 2, 1])
        return model, "p", lambda p: stats.multinomial.logpmf([4, 2, 1], 7, p)

    return make


def make_ordered():
    model, _, oracle, _ = with_ordered()
    return model, "mu", lambda mu: oracle(np.asarray(mu))


def make_cholesky():
    model, _, oracle, _ = with_cholesky()
    return model, "chol", lambda packed: oracle(np.asarray(packed))


def make_zero_sum():
    y = np.array([0.3, 1.2, -0.9])
    with pm.Model() as model:
        pm.Normal("y", pm.ZeroSumNormal("e", shape=3), 1.0, observed=y)
    return model, "e", lambda e: stats.norm.logpdf(y, e, 1.0).sum()


#: Model, values inside, values outside.
SUPPORTS = {
    "half-normal": (scaled(lambda n: pm.HalfNormal(n, 2)), [0.5, 3.0], [-0.5, -1e-9]),
    "half-normal without transform": (
        scaled(lambda n: pm.HalfNormal(n, 2, default_transform=None)),
        [0.5, 3.0],
        [-0.5, -1e-9],
    ),
    "interval": (scaled(lambda n: pm.Uniform(n, 0.5, 4)), [0.5, 0.51, 3.99, 4.0], [0.49, 4.01, -1]),
    "interval without transform": (
        scaled(lambda n: pm.Uniform(n, 0.5, 4, default_transform=None)),
        [0.5, 0.51, 3.99, 4.0],
        [0.49, 4.01, -1],
    ),
    "location in an interval": (located(lambda n: pm.Uniform(n, -1, 4)), [-1, 0, 4], [-1.01, 4.01]),
    "truncated": (
        located(lambda n: pm.TruncatedNormal(n, 0, 5, lower=1.0, upper=6.0)),
        [1.0, 5.9, 6.0],
        [0.99, 6.01],
    ),
    "truncated below": (
        located(lambda n: pm.TruncatedNormal(n, 0, 5, lower=1.0)),
        [1.0, 500.0],
        [0.99, -500.0],
    ),
    "truncated above": (
        located(lambda n: pm.TruncatedNormal(n, 0, 5, upper=4.0)),
        [-500.0, 4.0],
        [4.01, 500.0],
    ),
    "a user's interval": (
        located(lambda n: pm.Normal(n, 1, 5, transform=tr.Interval(0, None))),
        [0.0, 3.0],
        [-0.01, -3.0],
    ),
    "no border": (located(lambda n: pm.Normal(n, 0, 0.1)), [-90.0, 40.0], [np.inf, -np.inf]),
    "probability": (a_probability(), [0.3, 1e-12], [-0.1, 1.1, 2.0]),
    "probability without transform": (
        a_probability(default_transform=None),
        [0.3, 1e-12],
        [-0.1, 1.1, 2.0],
    ),
    "simplex": (
        a_simplex(),
        [[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]],
        [[0.5, 0.3, 0.3], [0.5, 0.3, 0.1], [0.9, 0.3, -0.2], [1.0, 2.0, 4.0]],
    ),
    "simplex without transform": (
        a_simplex(default_transform=None),
        [[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]],
        [[0.5, 0.3, 0.3], [0.5, 0.3, 0.1], [0.9, 0.3, -0.2], [1.0, 2.0, 4.0]],
    ),
    "ordered": (
        make_ordered,
        [[1.0, 2.0, 3.0], [-5.0, 4.0, 4.5], [1.0, 2.0, 2.0]],
        [[2.0, 1.0, 3.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0]],
    ),
    "cholesky": (
        make_cholesky,
        [[1.3, 0.4, 0.9, 0.1, -0.2, 1.1], [0.5, -2.0, 1.9, 3.1, -0.2, 2.1]],
        [[-1.3, 0.4, 0.9, 0.1, -0.2, 1.1], [1.3, 0.4, 0.9, 0.1, -0.2, -1.1]],
    ),
    "sum to zero": (
        make_zero_sum,
        [[0.5, -0.3, -0.2], [1.0, 1.0, -2.0]],
        [[0.5, -0.3, -0.1], [1.0, 0.0, 0.0]],
    ),
}


@pytest.mark.parametrize("case", SUPPORTS)
def test_the_prior_gives_its_support_and_nothing_else(case):
    make, inside, outside = SUPPORTS[case]
    model, name, oracle = make()
    lik = likelihood_of(model)
    expected = [oracle(value) for value in inside]
    found = lik.log({name: [*inside, *outside]})
    np.testing.assert_allclose(found[: len(inside)], expected, rtol=1e-10)
    np.testing.assert_array_equal(found[len(inside) :], -np.inf)
    for value, log in zip(inside, expected, strict=True):
        assert float(lik.log({name: value})) == pytest.approx(log, rel=1e-10)
    for value in outside:
        assert float(lik.log({name: value})) == -np.inf


def test_on_the_closed_border_the_likelihood_is_scipys():
    for observed in (0, 4, 10):
        case = zoo.binomial(y=observed)
        found = likelihood_of(case.model).log(p=[0.0, 1.0])
        np.testing.assert_array_equal(found, stats.binom.logpmf(observed, 10, [0.0, 1.0]))
    with pm.Model() as model:
        pm.Multinomial("y", n=10, p=pm.Dirichlet("p", np.ones(3)), observed=[6, 4, 0])
    found = likelihood_of(model).log(p=[[0.6, 0.4, 0.0], [0.6, 0.0, 0.4], [1.0, 0.0, 0.0]])
    expected = stats.multinomial.logpmf([6, 4, 0], 10, [0.6, 0.4, 0.0])
    np.testing.assert_allclose(found, [expected, -np.inf, -np.inf], rtol=1e-12)


def test_a_likelihood_of_one_at_the_border_is_one():
    found = likelihood_of(zoo.binomial(2, 2, y=0).model)(p=0.0)
    assert float(found) == 1.0


def test_a_rate_of_zero_gives_zero_counts_for_sure():
    with pm.Model() as model:
        pm.Poisson("y", pm.HalfNormal("rate"), observed=[0, 0, 0])
    assert float(likelihood_of(model).log(rate=0.0)) == 0.0


def test_a_scale_of_zero_is_impossible(normal):
    np.testing.assert_array_equal(normal.log(mu=3.0, sigma=[0.0, 0.0]), -np.inf)


def test_outside_the_support_every_observation_is_impossible(normal):
    found = normal.pointwise(mu=3.0, sigma=[-1.0, 1.2])["y"]
    np.testing.assert_array_equal(found[0], -np.inf)
    np.testing.assert_allclose(found[1], stats.norm.logpdf(Y, 3.0, 1.2), rtol=1e-12)


def test_a_density_of_zero_at_the_border_of_the_prior_does_not_move_the_support():
    # Beta(2, 2) is zero at zero; the likelihood does not ask how dense the prior is.
    for transform in ({}, {"default_transform": None}):
        with pm.Model() as model:
            pm.Binomial("y", n=10, p=pm.Beta("p", 2, 2, **transform), observed=0)
        assert float(likelihood_of(model).log(p=0.0)) == 0.0


def test_data_outside_the_support_that_parameters_give_them_are_impossible():
    lik = likelihood_of(zoo.end_of_support().model)
    found = lik.log(top=[2.9, 3.0, 6.0])
    np.testing.assert_allclose(found, [-np.inf, -3 * np.log(3.0), -3 * np.log(6.0)], rtol=1e-12)
