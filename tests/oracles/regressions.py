"""A Poisson and a normal regression; the spread of the normal one depends on its covariate."""

from __future__ import annotations

import numpy as np
import pymc as pm

N = 80
RNG = np.random.default_rng(11)
X = np.column_stack([np.ones(N), RNG.normal(size=N)])
COUNTS = RNG.poisson(np.exp(X @ [0.7, 0.4]))
SPREAD = X @ [1.0, -0.5] + RNG.normal(size=N) * np.exp(0.6 * X[:, 1])


def poisson(rows=slice(None), **dims) -> pm.Model:
    with pm.Model(coords={"term": ["one", "a"], **dims}) as model:
        beta = pm.Normal("beta", 0, 10, dims="term")
        pm.Deterministic("ratio", pm.math.exp(beta[1]))
        rate = pm.math.exp(X[rows] @ beta)
        pm.Poisson("y", rate, observed=COUNTS[rows], dims=next(iter(dims), None))
    return model


def normal(rows=slice(None)) -> pm.Model:
    with pm.Model(coords={"term": ["one", "a"]}) as model:
        beta = pm.Normal("beta", 0, 10, dims="term")
        sigma = pm.HalfNormal("sigma", 10)
        pm.Normal("y", X[rows] @ beta, sigma, observed=SPREAD[rows])
    return model
