"""How often intervals cover what the data were simulated from. Slow: hundreds of data sets.

All data sets of a model go through one compiled problem, whose observed values are replaced.
"""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmlik
from pmlik.optimize.multistart import minimize
from pmlik.stats.profile_endpoints import ProfileTracer

pytestmark = pytest.mark.slow

N_SETS = 400
LEVEL = stats.chi2.ppf(0.95, 1) / 2


def error_of(coverage: float) -> float:
    """Three binomial standard errors of a share of the data sets."""
    return 3 * np.sqrt(coverage * (1 - coverage) / N_SETS)


def covered(model: pm.Model, data: np.ndarray, place: int, true: float) -> dict[str, float]:
    """The share of data sets whose Wald and profile intervals cover the true value."""
    prepared = pmlik.find_MLE(model, random_seed=1, progressbar=False).prepared
    problem, start = prepared.problem, prepared.start
    shared = problem.model["data"]
    hits = {"wald": 0, "profile": 0}
    for y in data:
        shared.set_value(y)
        optimum = minimize(problem.objective("mle", start), start, "start")
        assert optimum.usable
        tracer = ProfileTracer(problem, optimum.z)
        ends = tracer.endpoints(place, LEVEL)
        assert np.isfinite([ends.lower, ends.upper]).all()
        hits["profile"] += ends.lower <= true <= ends.upper
        low, high = tracer.symmetric(place, stats.norm.ppf(0.975))  # of an untransformed scalar
        hits["wald"] += low <= true <= high
    return {kind: n / len(data) for kind, n in hits.items()}


def normal(n: int) -> tuple[pm.Model, np.ndarray]:
    data = np.random.default_rng(n).normal(1.0, 2.0, size=(N_SETS, n))
    with pm.Model() as model:
        y = pm.Data("data", data[0])
        mu = pm.Normal("mu", 0, 10)
        sigma = pm.HalfNormal("sigma", 10)
        pm.Normal("y", mu, sigma, observed=y)
    return model, data


def exact_profile(n: int) -> float:
    """P(n log(1 + t^2/(n-1)) <= 2 level), as the profile of a normal mean is a function of t."""
    t = np.sqrt((n - 1) * np.expm1(2 * LEVEL / n))
    return float(1 - 2 * stats.t.sf(t, n - 1))


def exact_wald(n: int) -> float:
    """With the ML standard error, ``|t| <= 1.96 sqrt((n-1)/n)``."""
    t = stats.norm.ppf(0.975) * np.sqrt((n - 1) / n)
    return float(1 - 2 * stats.t.sf(t, n - 1))


def test_a_normal_mean_is_covered_as_often_as_theory_says() -> None:
    n = 8
    found = covered(*normal(n), place=0, true=1.0)
    assert abs(found["profile"] - exact_profile(n)) < error_of(exact_profile(n))
    assert abs(found["wald"] - exact_wald(n)) < error_of(exact_wald(n))
    assert abs(found["wald"] - 0.95) > error_of(0.95)  # the control: it must fail


def test_a_normal_mean_of_twenty_is_covered_in_95_of_100() -> None:
    found = covered(*normal(20), place=0, true=1.0)
    assert abs(found["profile"] - 0.95) < error_of(0.95)


def test_a_logistic_slope_is_covered_in_95_of_100() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=80)
    p = 1 / (1 + np.exp(-(0.3 + 0.8 * x)))
    data = (rng.random(size=(N_SETS, len(x))) < p).astype("int32")
    with pm.Model() as model:
        y = pm.Data("data", data[0])
        a = pm.Normal("a", 0, 5)
        b = pm.Normal("b", 0, 5)
        pm.Bernoulli("y", logit_p=a + b * x, observed=y)
    found = covered(model, data, place=1, true=0.8)
    assert abs(found["profile"] - 0.95) < error_of(0.95)
