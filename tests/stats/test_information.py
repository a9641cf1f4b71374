"""How much is data and how much is prior, against closed forms."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

import pmlik
from pmlik import FlagCode


def shares(model: pm.Model) -> pmlik.InformationShares:
    return pmlik.share_information(pmlik.find_MAP(model, random_seed=1, progressbar=False))


def test_a_probability_has_the_closed_share() -> None:
    n, y, a, b = 10, 2, 3.0, 5.0
    with pm.Model() as model:
        p = pm.Beta("p", a, b)
        pm.Binomial("y", n, p, observed=y)
    mode = (y + a - 1) / (n + a + b - 2)
    data = y / mode**2 + (n - y) / (1 - mode) ** 2
    prior = (a - 1) / mode**2 + (b - 1) / (1 - mode) ** 2
    found = shares(model)
    assert float(found.shares["p"]) == pytest.approx(data / (data + prior), rel=1e-8)
    assert found.effective_parameters == pytest.approx(data / (data + prior), rel=1e-8)


def test_a_scale_has_the_closed_share_in_natural_units() -> None:
    y, s = np.array([1.0, -2.0, 0.5, 3.0, -1.5]), 0.8
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma", s)
        pm.Normal("y", 0, sigma, observed=y)
    found = shares(model)
    mode = float(pmlik.find_MAP(model, random_seed=1, progressbar=False).values["sigma"])
    data = -len(y) / mode**2 + 3 * (y @ y) / mode**4
    assert float(found.shares["sigma"]) == pytest.approx(data / (data + s**-2), rel=1e-7)


def regression(X: np.ndarray, widths: np.ndarray) -> pm.Model:
    with pm.Model(coords={"column": [f"x{i}" for i in range(X.shape[1])]}) as model:
        beta = pm.Normal("beta", 0, widths, dims="column")
        pm.Normal("y", X @ beta, 0.5, observed=X.sum(axis=1))
    return model


def test_of_a_regression_it_is_the_contraction_of_each_variance() -> None:
    X = np.random.default_rng(0).normal(size=(12, 3)) * [1.0, 100.0, 0.01]
    X[:, 0] += X[:, 1] / 50
    widths = np.array([0.5, 3.0, 2.0])
    information = X.T @ X / 0.25
    posterior = np.linalg.inv(information + np.diag(widths**-2.0))
    found = shares(regression(X, widths))
    expected = 1 - np.diag(posterior) / widths**2
    np.testing.assert_allclose(found.shares["beta"], expected, rtol=1e-7)
    assert found.effective_parameters == pytest.approx(np.trace(posterior @ information), rel=1e-8)
    s = found.directions["share"].to_numpy()
    v = found.directions.to_numpy()
    both = information + np.diag(widths**-2.0)
    np.testing.assert_allclose(v @ information, s[:, None] * (v @ both), atol=1e-6 * both.max())


def test_what_the_data_do_not_tell_apart_is_the_prior_alone() -> None:
    x = np.arange(8.0)
    found = shares(regression(np.column_stack([x, x]), np.array([1.0, 1.0])))
    assert found.prior_only == ("beta[x0] - beta[x1]",)
    expected = 1 / (1 + 0.25 / (2 * x @ x))
    assert found.effective_parameters == pytest.approx(expected, rel=1e-8)
    np.testing.assert_allclose(found.shares["beta"], expected / 2, rtol=1e-8)


def test_a_simplex_has_one_parameter_less_than_elements() -> None:
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(4))
        pm.Multinomial("y", 20, p, observed=[3, 4, 5, 8])
    found = shares(model)
    np.testing.assert_allclose(found.shares["p"], 0.75, rtol=1e-8)
    assert found.effective_parameters == pytest.approx(3, rel=1e-8)


def test_a_parameter_that_the_data_do_not_touch_has_share_zero() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("other", 1, 2)
        pm.Normal("y", mu, 1, observed=[1.0])
    found = shares(model)
    assert float(found.shares["other"]) == pytest.approx(0, abs=1e-12)
    assert float(found.shares["mu"]) == pytest.approx(0.5, rel=1e-9)
    assert found.prior_only == ("other",)
    assert "other" in str(found)


def test_without_a_mode_inside_there_are_no_shares() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Binomial("y", 10, p, observed=0)
    found = shares(model)
    assert np.isnan(found.shares["p"])
    assert np.isnan(found.effective_parameters)
    assert [flag.code for flag in found.flags] == [FlagCode.NO_SHARES]


def test_an_mle_is_refused() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=[1.0])
    with pytest.raises(pmlik.ValuesError, match="got mle, need a MAP"):
        pmlik.share_information(pmlik.find_MLE(model, progressbar=False))
