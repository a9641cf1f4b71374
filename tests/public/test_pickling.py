"""What was estimated can be pickled, and goes on working on the other side."""

from __future__ import annotations

import pickle

import numpy as np
import pymc as pm
import pytest

import pmlik

Y = np.array([1.0, 2.0, 3.0, 4.0, 2.0, 1.0])


@pytest.fixture(scope="module")
def comparison() -> pmlik.Comparison:
    with pm.Model() as model:
        mu, s = pm.Normal("mu", 0, 1), pm.HalfNormal("s", 1)
        pm.Deterministic("ratio", mu / s)
        # A density with a function of its own, which pickle alone can't take along.
        pm.CustomDist(
            "y", mu, s, logp=lambda v, mu, s: pm.logp(pm.Normal.dist(mu, s), v), observed=Y
        )
    return pmlik.compare(model, sample=False, extras=False, random_seed=1, progressbar=False)


def test_a_comparison_profiles_after_pickling(comparison) -> None:
    again = pickle.loads(pickle.dumps(comparison))
    assert again.table.equals(comparison.table)
    found = pmlik.interval_profile(again, var_names=["mu"], progressbar=False, ci_prob=0.9)
    expected = pmlik.interval_profile(comparison, var_names=["mu"], progressbar=False, ci_prob=0.9)
    np.testing.assert_allclose(found["mu"], expected["mu"], rtol=1e-9)


def test_a_likelihood_evaluates_after_pickling(comparison) -> None:
    likelihood = pickle.loads(pickle.dumps(pmlik.Likelihood.of(comparison, progressbar=False)))
    n, spread = len(Y), ((Y - 2) ** 2).sum()
    expected = -n / 2 * np.log(2 * np.pi) - n * np.log(1.5) - spread / (2 * 1.5**2)
    assert float(likelihood.log(mu=2, s=1.5)) == pytest.approx(expected, rel=1e-12)
    assert float(likelihood.mle.values["mu"]) == pytest.approx(Y.mean())


def test_profiles_and_bootstraps_are_the_same_after_pickling(comparison) -> None:
    profile = pmlik.profile(comparison, var_names=["s"], progressbar=False)
    assert pickle.loads(pickle.dumps(profile)).interval.identical(profile.interval)
    spread = pmlik.bootstrap(
        comparison.mle, 5, kind="nonparametric", random_seed=1, progressbar=False
    )
    assert pickle.loads(pickle.dumps(spread)).draws.identical(spread.draws)
