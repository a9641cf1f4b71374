"""A comparison that was loaded is joined to its model, and to no other."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import optimize, stats

import pmlik

Y = np.array([1, 0, 2, 4, 1, 3])


def poisson(data: np.ndarray) -> pm.Model:
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        pm.Poisson("y", rate, observed=data)
    return model


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    comparison = pmlik.compare(poisson(Y), sample=False, progressbar=False)
    return pmlik.load(comparison.save(tmp_path_factory.mktemp("attach") / "it.nc"))


def test_after_it_profiles_and_derived_quantities_are_to_be_had(loaded):
    with pytest.raises(pmlik.ValuesError, match="compiled model"):
        pmlik.interval_profile(loaded, progressbar=False)
    joined = loaded.attach(poisson(Y))
    ends = pmlik.interval_profile(joined, progressbar=False)["rate"].to_numpy()
    top, half = stats.poisson.logpmf(Y, Y.mean()).sum(), stats.chi2.ppf(0.95, 1) / 2

    def drop(rate):
        return top - stats.poisson.logpmf(Y, rate).sum() - half

    exact = [optimize.brentq(drop, 0.1, Y.mean()), optimize.brentq(drop, Y.mean(), 9)]
    np.testing.assert_allclose(ends, exact, rtol=1e-6)
    derived = joined.derive({"none": lambda v: np.exp(-v["rate"])}, progressbar=False)
    row = derived.table.loc["none"]
    zero = np.exp(-Y.mean())
    assert row["MLE"] == pytest.approx(zero, rel=1e-8)
    assert row["SE"] == pytest.approx(zero * np.sqrt(Y.mean() / len(Y)), rel=1e-6)


def test_other_data_or_another_model_are_refused(loaded):
    with pytest.raises(pmlik.ValuesError, match="not of this model and its data"):
        loaded.attach(poisson(Y + 1))
    with pm.Model() as other:
        pm.Poisson("y", pm.Gamma("level", 2, 1), observed=Y)
    with pytest.raises(pmlik.ValuesError, match="not of this model: level, rate differ"):
        loaded.attach(other)
