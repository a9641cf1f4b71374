"""The log-density of each observation, and the likelihood as a loss, against SciPy."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from pymc.exceptions import ImputationWarning
from scipy import special, stats

# --- Each observation -----------------------------------------------------------------------------
from oracles.likelihoods import IDS, Y, likelihood_of

RNG = np.random.default_rng(20250611)


def labelled_normal():
    with pm.Model(coords={"id": IDS}) as model:
        pm.Normal("y", pm.Normal("mu"), pm.HalfNormal("s"), observed=Y, dims="id")
    return model, {"mu": 3.0, "s": 1.7}, {"y": (("id",), stats.norm.logpdf(Y, 3, 1.7))}


def two_way_poisson():
    y = np.array([[3, 0, 5], [2, 2, 9]])
    with pm.Model(coords={"year": [1990, 2000], "site": list("xyz")}) as model:
        rate = pm.Gamma("rate", 2, 1, dims="site")
        pm.Poisson("y", rate, observed=y, dims=("year", "site"))
    rates = [2.5, 0.8, 6.0]
    return model, {"rate": rates}, {"y": (("year", "site"), stats.poisson.logpmf(y, rates))}


def logistic():
    x, y = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([0, 1, 0, 1])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 2)
        pm.Bernoulli("y", logit_p=slope * x, observed=y)
    return (
        model,
        {"slope": 1.3},
        {"y": (("y_dim_0",), stats.bernoulli.logpmf(y, special.expit(1.3 * x)))},
    )


def multinomial_rows():
    y, p = np.array([[3, 5, 2], [10, 4, 6], [0, 1, 0]]), np.array([0.3, 0.5, 0.2])
    with pm.Model(coords={"year": [1990, 2000, 2010], "party": list("abc")}) as model:
        share = pm.Dirichlet("p", np.ones(3), dims="party")
        pm.Multinomial("y", n=y.sum(1), p=share, observed=y, dims=("year", "party"))
    return model, {"p": p}, {"y": (("year",), stats.multinomial.logpmf(y, y.sum(1), p))}


def mvnormal_rows():
    y = np.array([[1.0, 2.0], [0.2, 3.1], [2.2, 1.4], [-1.0, 0.0]])
    cov = np.array([[2.0, 0.7], [0.7, 1.0]])
    with pm.Model(coords={"row": [3, 5, 7, 9], "axis": ["u", "v"]}) as model:
        mu = pm.Normal("mu", 0, 2, dims="axis")
        pm.MvNormal("y", mu, cov, observed=y, dims=("row", "axis"))
    logpdf = stats.multivariate_normal.logpdf(y, [0.5, 1.5], cov)
    return model, {"mu": [0.5, 1.5]}, {"y": (("row",), logpdf)}


def two_observed():
    counts = np.array([4, 1, 7])
    with pm.Model(coords={"id": IDS, "site": list("xyz")}) as model:
        theta = pm.HalfNormal("theta", 3)
        pm.Normal("size", theta, 2.0, observed=Y, dims="id")
        pm.Poisson("count", theta, observed=counts, dims="site")
    expected = {
        "size": (("id",), stats.norm.logpdf(Y, 2.2, 2.0)),
        "count": (("site",), stats.poisson.logpmf(counts, 2.2)),
    }
    return model, {"theta": 2.2}, expected


def censored():
    t = np.array([0.5, 2.0, 3.0, 1.0, 3.0])
    with pm.Model(coords={"patient": [1, 2, 3, 4, 5]}) as model:
        rate = pm.Gamma("rate", 2, 1)
        time = pm.Exponential.dist(rate)
        pm.Censored("t", time, lower=0.5, upper=3.0, observed=t, dims="patient")
    law = stats.expon(scale=1 / 0.4)
    inside = law.logpdf(t)
    expected = np.where(t == 0.5, law.logcdf(0.5), np.where(t == 3.0, law.logsf(3.0), inside))
    return model, {"rate": 0.4}, {"t": (("patient",), expected)}


def potential():
    z = np.array([0.2, 1.1, -0.4])
    with pm.Model(coords={"id": IDS, "extra": [10, 20, 30]}) as model:
        mu = pm.Normal("mu", 0, 5)
        pm.Normal("y", mu, 1.5, observed=Y, dims="id")
        pm.Potential("laplace", -pt.abs(z - mu) - np.log(2), dims="extra")
    return (
        model,
        {"mu": 2.0},
        {
            "y": (("id",), stats.norm.logpdf(Y, 2.0, 1.5)),
            "laplace": (("extra",), stats.laplace.logpdf(z, 2.0)),
        },
    )


POINTWISE = {
    f.__name__: f
    for f in (
        labelled_normal,
        two_way_poisson,
        logistic,
        multinomial_rows,
        mvnormal_rows,
        two_observed,
        censored,
        potential,
    )
}


@pytest.mark.parametrize("case", POINTWISE)
def test_pointwise_is_scipys_log_density_of_each_observation(case):
    model, at, expected = POINTWISE[case]()
    lik = likelihood_of(model)
    found = lik.pointwise(at)
    assert list(found.data_vars) == list(expected)
    for name, (dims, values) in expected.items():
        assert found[name].dims == dims
        np.testing.assert_allclose(found[name], values, rtol=1e-12)
        for dim in dims:
            if dim in model.coords:
                assert found[name][dim].values.tolist() == list(model.coords[dim])
    total = sum(np.sum(values) for _, values in expected.values())
    assert float(lik.log(at)) == pytest.approx(total, rel=1e-12)
    # Several points at once: the dims of the batch come first.
    batch = {
        name: xr.DataArray(
            np.stack([value] * 3), dims=("k", *lik.template[name].dims), coords={"k": [7, 8, 9]}
        )
        for name, value in at.items()
    }
    several = lik.pointwise(batch)
    for name, (dims, values) in expected.items():
        assert several[name].dims == ("k", *dims)
        np.testing.assert_allclose(several[name].sel(k=9), values, rtol=1e-12)


def test_missing_observations_are_no_part_of_the_likelihood():
    data = np.array([4.1, np.nan, 5.9, 7.2, np.nan])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        with warnings.catch_warnings(action="ignore", category=ImputationWarning):
            pm.Normal("y", mu, 1.5, observed=data)
    lik, seen = likelihood_of(model), data[np.isfinite(data)]
    expected = stats.norm.logpdf(seen, 5.0, 1.5)
    assert float(lik.log(mu=5.0)) == pytest.approx(expected.sum(), rel=1e-12)
    assert float(lik.nll(mu=5.0, reduction="mean")) == pytest.approx(-expected.mean(), rel=1e-12)
    (found,) = lik.pointwise(mu=5.0).data_vars.values()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # Draws of a posterior hold the missing values too: they change nothing.
    draws = xr.Dataset(
        {"mu": ("draw", [4.0, 5.0]), "y_unobserved": (("draw", "z"), np.ones((2, 2)))}
    )
    np.testing.assert_allclose(
        lik.log(draws), stats.norm.logpdf(seen, [[4.0], [5.0]], 1.5).sum(1), rtol=1e-12
    )


def test_a_masked_array_is_as_data_with_gaps():
    data = np.ma.masked_equal([3, -1, 0, 5], -1)
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        with warnings.catch_warnings(action="ignore", category=ImputationWarning):
            pm.Poisson("y", rate, observed=data)
    expected = stats.poisson.logpmf([3, 0, 5], 2.5).sum()
    assert float(likelihood_of(model).log(rate=2.5)) == pytest.approx(expected, rel=1e-12)


def test_a_potential_may_count_as_prior():
    model, at, expected = potential()
    lik = likelihood_of(model, potentials="prior")
    assert list(lik.pointwise(at)) == ["y"]
    assert float(lik.log(at)) == pytest.approx(expected["y"][1].sum(), rel=1e-12)


def test_a_data_container_labels_the_observations_and_is_read_when_built():
    with pm.Model(coords={"id": [3, 1, 2]}) as model:
        x = pm.Data("x", [1.0, 2.0, 4.0], dims="id")
        y = pm.Data("obs", [0.5, 1.5, 5.0], dims="id")
        pm.Normal("y", pm.Normal("slope") * x, 2.0, observed=y, dims="id")
    lik = likelihood_of(model)
    expected = stats.norm.logpdf([0.5, 1.5, 5.0], 1.1 * np.array([1.0, 2.0, 4.0]), 2.0)
    found = lik.pointwise(slope=1.1)["y"]
    np.testing.assert_allclose(found.sel(id=[3, 1, 2]), expected, rtol=1e-12)
    with model:
        pm.set_data({"x": [0.0, 0.0, 0.0]})
    assert float(lik.log(slope=1.1)) == pytest.approx(expected.sum(), rel=1e-12)
    again = likelihood_of(model)
    expected = stats.norm.logpdf([0.5, 1.5, 5.0], 0, 2.0).sum()
    assert float(again.log(slope=1.1)) == pytest.approx(expected, rel=1e-12)


# --- As a loss ------------------------------------------------------------------------------------


def test_nll_reductions_are_those_of_a_loss(normal):
    terms = -stats.norm.logpdf(Y, 3.0, 1.2)
    at = {"mu": 3.0, "sigma": 1.2}
    assert float(normal.nll(at)) == pytest.approx(terms.sum(), rel=1e-13)
    assert float(normal.nll(at, reduction="sum")) == pytest.approx(terms.sum(), rel=1e-13)
    assert float(normal.nll(at, reduction="mean")) == pytest.approx(terms.mean(), rel=1e-13)
    none = normal.nll(at, reduction="none")["y"]
    np.testing.assert_allclose(none.sel(id=IDS), terms, rtol=1e-13)


def test_mean_nll_of_logits_is_the_cross_entropy_loss():
    # As torch.nn.CrossEntropyLoss()(logits, target), by hand.
    x, target = RNG.normal(size=(7, 2)), np.array([0, 2, 1, 1, 0, 2, 2])
    weights = RNG.normal(size=(2, 3))
    with pm.Model() as model:
        W = pm.Normal("W", 0, 1, shape=(2, 3))
        pm.Categorical("y", logit_p=x @ W, observed=target)
    lik, logits = likelihood_of(model), x @ weights
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    losses = -log_p[np.arange(7), target]
    assert float(lik.nll(W=weights, reduction="mean")) == pytest.approx(losses.mean(), rel=1e-12)
    np.testing.assert_allclose(lik.nll(W=weights, reduction="none")["y"], losses, rtol=1e-12)
    residual = np.exp(log_p) - np.eye(3)[target]
    np.testing.assert_allclose(lik.gradient(W=weights)["W"], -x.T @ residual, rtol=1e-10)


def test_the_mean_runs_over_the_entries_of_all_observed_variables():
    model, at, expected = two_observed()
    entries = np.concatenate([values for _, values in expected.values()])
    found = likelihood_of(model).nll(at, reduction="mean")
    assert float(found) == pytest.approx(-entries.mean(), rel=1e-12)


def test_rows_of_multivariate_data_are_one_entry_each_of_the_mean():
    model, at, expected = multinomial_rows()
    found = likelihood_of(model).nll(at, reduction="mean")
    assert float(found) == pytest.approx(-expected["y"][1].mean(), rel=1e-12)
