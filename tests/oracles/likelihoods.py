"""Models whose likelihood many tests evaluate, and the same likelihoods by SciPy."""

from __future__ import annotations

import numpy as np
import pymc as pm
from pymc.distributions import transforms as tr
from scipy import special, stats

import pmlik
from oracles import zoo

RNG = np.random.default_rng(20250611)
Y = np.array([2.3, 4.1, 3.3, 5.2, 2.9, 4.4])
IDS = ["a", "b", "c", "d", "e", "f"]


def likelihood_of(model, **options):
    """Return a model's likelihood, without a progress bar."""
    return pmlik.Likelihood(model, progressbar=False, **options)


# --- Evaluated by several tests -------------------------------------------------------------------


def normal_log(mu, sigma, y=Y):
    """The sum of normal log-densities, broadcast over ``mu`` and ``sigma``."""
    mu, sigma = np.broadcast_arrays(np.asarray(mu, float), np.asarray(sigma, float))
    return stats.norm.logpdf(y, mu[..., None], sigma[..., None]).sum(-1)


def normal():
    with pm.Model(coords={"id": IDS}) as model:
        mu = pm.Normal("mu", 0, 5)
        sigma = pm.HalfNormal("sigma", 2)
        pm.Deterministic("cv", sigma / mu)
        pm.Normal("y", mu, sigma, observed=Y, dims="id")
    return likelihood_of(model)


def line():
    """A regression with an intercept, a labelled slope for each of two columns, and sigma."""
    X = np.column_stack([RNG.normal(size=12), RNG.uniform(1, 3, size=12)])
    y = 1 + X @ [2.0, -1.0] + RNG.normal(0, 0.7, size=12)
    with pm.Model(coords={"term": ["age", "dose"]}) as model:
        alpha = pm.Normal("alpha", 0, 5)
        beta = pm.Normal("beta", 0, 5, dims="term")
        sigma = pm.HalfNormal("sigma", 2)
        pm.Normal("y", alpha + X @ beta, sigma, observed=y)
    return likelihood_of(model), X, y


def shares():
    return likelihood_of(zoo.shares().model)


# --- Parameters with constraints ------------------------------------------------------------------


GROUP = np.repeat([0, 1, 2], [2, 3, 4])
STEPS = np.array([1.0, 1.6, 2.0, 2.4, 3.1, 4.0, 4.4, 5.2, 3.6])
ROWS = RNG.multivariate_normal([1, -1, 2], [[2, 0.8, 0.2], [0.8, 1, -0.3], [0.2, -0.3, 1.5]], 15)


def with_probability():
    with pm.Model() as model:
        pm.Binomial("y", n=[10, 8], p=pm.Beta("p", 2, 2), observed=[2, 5])
    return model, {"p": 0.3}, lambda p: stats.binom.logpmf([2, 5], [10, 8], p[0]).sum(), np.eye(1)


def with_interval():
    with pm.Model() as model:
        pm.Normal("y", 3, pm.Uniform("s", 0.5, 9.0), observed=Y)
    return model, {"s": 1.4}, lambda s: stats.norm.logpdf(Y, 3, s[0]).sum(), np.eye(1)


def with_softplus():
    with pm.Model() as model:
        s = pm.HalfNormal("s", 2, default_transform=tr.log_exp_m1)
        pm.StudentT("y", nu=4, mu=3, sigma=s, observed=Y)
    return model, {"s": 1.4}, lambda s: stats.t.logpdf(Y, 4, 3, s[0]).sum(), np.eye(1)


def with_simplex():
    y = np.array([5, 9, 2, 4])
    with pm.Model(coords={"party": list("ABCD")}) as model:
        p = pm.Dirichlet("p", np.ones(4), dims="party")
        pm.Multinomial("y", n=20, p=p, observed=y)
    constant = special.gammaln(21) - special.gammaln(y + 1).sum()
    tangents = np.eye(4)[:3] - np.eye(4)[3]
    at = {"p": [0.3, 0.4, 0.1, 0.2]}
    return model, at, lambda p: constant + (y * np.log(p)).sum(), tangents


def with_ordered():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=3, transform=tr.ordered, initval=[1.0, 2.0, 3.0])
        pm.Normal("y", mu[GROUP], 0.5, observed=STEPS)
    at = {"mu": [1.0, 2.2, 4.6]}
    return model, at, lambda mu: stats.norm.logpdf(STEPS, mu[GROUP], 0.5).sum(), np.eye(3)


def with_zero_sum():
    y = RNG.normal(np.arange(4.0), 1.0, size=(5, 4))
    with pm.Model(coords={"day": list("abcd")}) as model:
        mu = pm.Normal("mu", 0, 10)
        effect = pm.ZeroSumNormal("effect", sigma=2, dims="day")
        pm.Normal("y", mu + effect, 1.3, observed=y)
    tangents = np.zeros((4, 5))
    tangents[0, 0] = 1
    tangents[1:, 1:] = np.eye(4)[:3] - np.eye(4)[3]
    at = {"mu": 1.0, "effect": [-1.0, -0.5, 0.25, 1.25]}
    return model, at, lambda x: stats.norm.logpdf(y, x[0] + x[1:], 1.3).sum(), tangents


def with_cholesky():
    with pm.Model() as model:
        chol, _, _ = pm.LKJCholeskyCov("chol", n=3, eta=2, sd_dist=pm.HalfNormal.dist(2, size=3))
        pm.MvNormal("y", np.array([1.0, -1.0, 2.0]), chol=chol, observed=ROWS)

    def log_likelihood(packed):
        factor = np.zeros((3, 3))
        factor[np.tril_indices(3)] = packed
        return stats.multivariate_normal.logpdf(ROWS, [1, -1, 2], factor @ factor.T).sum()

    return model, {"chol": [1.3, 0.4, 0.9, 0.1, -0.2, 1.1]}, log_likelihood, np.eye(6)


#: Makers of (model, values, log-likelihood by SciPy, directions inside the support).
CONSTRAINED = {
    f.__name__: f
    for f in (
        with_probability,
        with_interval,
        with_softplus,
        with_simplex,
        with_ordered,
        with_zero_sum,
        with_cholesky,
    )
}
