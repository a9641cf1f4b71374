"""Shrinkage priors read as latents; few latents for their parameters; deterministics renamed."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import statsmodels.api as sm

import pmlik
from oracles import fits
from pmlik.model.roles import read_roles

RNG = np.random.default_rng(1)
X = RNG.normal(size=(60, 4))
Y = X @ [1.0, 0.0, 0.0, -0.5] + RNG.normal(size=60)
GROUP = np.arange(60) % 12

fit = partial(fits.fit, n_starts=1)


def scales(kind: str):
    """The standard deviation of each coefficient."""
    if kind == "ridge":
        return pm.HalfNormal("tau", 1)
    if kind == "mixture":  # of which the Laplace distribution is one
        return pt.sqrt(pm.Exponential("variance", pm.Gamma("rate", 1, 1) ** 2 / 2, shape=4))
    tau, local = pm.HalfCauchy("tau", 1), pm.HalfCauchy("local", 1, shape=4)
    if kind == "horseshoe":
        return tau * local
    slab = pm.InverseGamma("slab", 2, 2)  # Piironen and Vehtari (2017), doi:10.1214/17-EJS1337SI
    return tau * local * pt.sqrt(slab) / pt.sqrt(slab + tau**2 * local**2)


def regression(kind: str, *, centred: bool, data=False) -> pm.Model:
    with pm.Model() as model:
        scale, sigma = scales(kind), pm.HalfNormal("sigma", 2)
        if centred:
            beta = pm.Normal("beta", 0, scale, shape=4)
        else:
            beta = pm.Deterministic("beta", scale * pm.Normal("z", 0, 1, shape=4))
        covariates = pm.Data("X", X) if data else X
        pm.Normal("y", covariates @ beta, sigma, observed=Y)
    return model


KINDS = ["ridge", "mixture", "horseshoe", "regularised"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centred", [True, False])
def test_coefficients_with_free_scales_read_as_latents_and_are_known_for_what_they_are(
    kind, centred
) -> None:
    roles = read_roles(regression(kind, centred=centred))
    name = "beta" if centred else "z"
    assert name in roles.latents
    assert roles.coefficients == (name,)
    with_data = read_roles(regression(kind, centred=centred, data=True))
    assert with_data.coefficients == (name,)


def test_a_sum_of_products_with_a_matrix_is_one_too() -> None:
    with pm.Model() as model:
        beta = pm.Laplace("beta", 0, pm.HalfNormal("tau"), shape=4)
        pm.Normal("y", (X * beta).sum(axis=1), 1.0, observed=Y)
    assert read_roles(model).coefficients == ("beta",)


def test_effects_of_groups_are_no_coefficients() -> None:
    indicator = (GROUP[:, None] == np.arange(12)).astype(float)
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("s"), shape=12)
        slope = pm.Normal("slope", 0, pm.HalfNormal("t"), shape=12)
        v = pm.Normal("v", 0, pm.HalfNormal("w"), shape=12)
        eta = u[GROUP] + slope[GROUP] * X[:, 0] + indicator @ v + X @ pm.Normal("b", 0, 1, shape=4)
        pm.Normal("y", eta, 1.0, observed=Y)
    roles = read_roles(model)
    assert roles.latents == ("u", "slope", "v")
    assert roles.coefficients == ()


def flags_of(estimate) -> dict[str, pmlik.Flag]:
    return {flag.code.name: flag for flag in estimate.flags}


def test_the_flag_says_how_to_have_the_unpenalised_estimate_and_that_is_what_one_gets() -> None:
    mle = fit(regression("ridge", centred=True))
    flag = flags_of(mle)["SHRINKAGE"]
    assert flag.variables == ("beta",)
    assert "parameters=['beta'] gives the unpenalised MLE" in flag.action
    free = fit(regression("horseshoe", centred=True), parameters=["beta"])
    expected = sm.OLS(Y, X).fit()
    np.testing.assert_allclose(free.values["beta"], expected.params, rtol=1e-7, atol=1e-9)
    assert free.log_likelihood == pytest.approx(expected.llf, abs=1e-8)
    assert np.isnan(free.values["tau"])
    assert set(flags_of(free)["NOT_IN_LIKELIHOOD"].variables) >= {"tau"}
    assert "SHRINKAGE" not in flags_of(free)


def test_the_ridge_of_the_marginal_likelihood_is_that_of_its_closed_form() -> None:
    mle = fit(regression("ridge", centred=True))
    tau, sigma = float(mle.values["tau"]), float(mle.values["sigma"])
    whole = tau**2 * X @ X.T + sigma**2 * np.eye(60)
    _, log_determinant = np.linalg.slogdet(2 * np.pi * whole)
    exact = -(log_determinant + Y @ np.linalg.solve(whole, Y)) / 2
    assert mle.log_likelihood == pytest.approx(exact, abs=1e-9)


def test_the_flag_of_a_whitened_one_asks_for_the_centred_form() -> None:
    assert "centred" in flags_of(fit(regression("ridge", centred=False)))["SHRINKAGE"].action


# --- What tells of a parameter that the likelihood does not depend on ---


def sentences(mle: pmlik.PointEstimate) -> dict[str, str]:
    found = [flag for flag in mle.flags if flag.code.name == "NOT_IN_LIKELIHOOD"]
    return {label: flag.action for flag in found for label in flag.variables}


def test_the_scale_of_coefficients_that_were_named_is_informed_by_them() -> None:
    with pm.Model() as model:
        rate, alone = pm.HalfNormal("rate"), pm.HalfNormal("alone")
        tau = pm.Exponential("tau", rate)
        pm.Deterministic("variance", tau**2)
        pm.Deterministic("twice", 2 * alone)
        pm.Normal("sibling", 0, tau)
        beta = pm.Normal("beta", 0, tau, shape=4)
        pm.Normal("y", X @ beta, 1.0, observed=Y)
    mle = fit(model, parameters=["beta", "sibling"])
    told = "It is informed by beta through the prior."
    alone = "Its posterior is its prior."
    assert sentences(mle) == {
        **dict.fromkeys(["rate", "tau", "sibling", "variance"], told),
        **dict.fromkeys(["alone", "twice"], alone),
    }


def test_a_potential_of_the_prior_joins_what_it_contains() -> None:
    with pm.Model() as model:
        a, b = pm.Normal("a"), pm.Normal("b")
        pm.Potential("tie", -((a - b) ** 2))
        pm.Normal("y", a, 1.0, observed=Y)
    assert sentences(fit(model, potentials="prior")) == {
        "b": "It is informed by a through the prior."
    }


def test_a_group_without_data_is_informed_by_the_others_where_they_share_a_prior() -> None:
    def groups(mean, covariance=None) -> pm.Model:
        with pm.Model() as model:
            if covariance is None:
                u = pm.Normal("u", mean() if callable(mean) else mean, 1.0, shape=3)
            else:
                u = pm.MvNormal("u", np.zeros(3), covariance)
            pm.Normal("y", u[GROUP % 2], 1.0, observed=Y)
        return model

    told, alone = "It is informed by u through the prior.", "Its posterior is its prior."
    fits_of = {
        "hyper": fit(groups(lambda: pm.Normal("mu")), parameters=["u"]),
        "covariance": fit(groups(0.0, np.eye(3) + 0.5)),
        "independent": fit(groups(0.0)),
    }
    found = {name: sentences(mle)["u[2]"] for name, mle in fits_of.items()}
    assert found == {"hyper": told, "covariance": told, "independent": alone}


# --- Few latents --------------------------------------------------------------------------------


def hierarchy(groups: int, hyperparameters: int) -> pm.Model:
    z = RNG.normal(size=(groups, hyperparameters - 1))
    with pm.Model() as model:
        gamma = pm.Normal("gamma", 0, 1, shape=hyperparameters - 1)
        u = pm.Normal("u", pm.math.dot(z, gamma), pm.HalfNormal("s", 1), shape=groups)
        pm.Normal("y", u[GROUP % groups], 1.0, observed=Y)
    return model


@pytest.mark.parametrize(("groups", "hyperparameters", "few"), [(3, 4, True), (6, 3, False)])
def test_latents_are_counted_against_the_scalars_of_their_distribution(
    groups, hyperparameters, few
) -> None:
    assert ("FEW_LATENTS" in flags_of(fit(hierarchy(groups, hyperparameters)))) == few


def test_groups_that_share_their_parameters_are_counted_together() -> None:
    with pm.Model() as model:
        mu, s, own = pm.Normal("mu"), pm.HalfNormal("s"), pm.HalfNormal("own")
        one, other = pm.Normal("one", mu, s), pm.Normal("other", mu, s)
        many = pm.Normal("many", mu, s, shape=10)
        lone = pm.Normal("lone", mu, own)
        pm.Normal("y", many[GROUP % 10] + one + other + lone, 1.0, observed=Y)
    flag = flags_of(fit(model))["FEW_LATENTS"]
    assert flag.variables == ("lone",)
    assert flag.detail == "lone: 1, with 1 in own."


def test_groups_that_are_few_together_are_named_together() -> None:
    with pm.Model() as model:
        mu, s = pm.Normal("mu"), pm.HalfNormal("s")
        pm.Normal("y", pm.Normal("one", mu, s), 1.0, observed=Y)
        pm.Normal("z", pm.Normal("other", mu, s), 1.0, observed=Y)
    assert flags_of(fit(model))["FEW_LATENTS"].detail == "one, other: 2, with 2 in mu, s."


def test_missing_values_are_never_too_few() -> None:
    x = X[:, 0].copy()
    x[7] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = pm.Normal("x", pm.Normal("m"), pm.HalfNormal("s"), observed=x)
        pm.Normal("y", pm.Normal("b") * seen, 1.0, observed=Y)
    mle = fit(model)
    assert mle.prepared.roles.gaps == ("x_unobserved",)
    assert "INTEGRATED_OUT" in flags_of(mle)
    assert "FEW_LATENTS" not in flags_of(mle)


# --- Deterministics that are other names --------------------------------------------------------


def test_a_deterministic_may_be_another_name_for_one() -> None:
    with pm.Model() as model:
        half = pm.HalfNormal.dist(1.0, shape=2)
        chol, _, sd = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=half)
        again = pm.Deterministic("sd", sd)
        pm.Deterministic("third", again)
        pm.MvNormal("y", np.zeros(2), chol=chol, observed=X[:, :2])
    mle = fit(model)
    expected = np.sqrt(np.diag(X[:, :2].T @ X[:, :2] / 60))
    for name in ("chol_stds", "sd", "third"):
        np.testing.assert_allclose(mle.values[name], expected, rtol=1e-6)
    np.testing.assert_array_equal(mle.std_error["sd"], mle.std_error["chol_stds"])


def test_another_name_for_data_a_parameter_or_a_derived_quantity_keeps_its_dims() -> None:
    with pm.Model(coords={"g": ["a", "b"]}) as model:
        pm.Deterministic("seen", pm.Data("x", Y, dims=None))
        mu = pm.Normal("mu", 0, 9, dims="g")
        twice = pm.Deterministic("twice", 2 * mu, dims="g")
        pm.Deterministic("same", mu)
        other = pm.Deterministic("other", twice)
        pm.Normal("y", other[np.arange(60) % 2], 1.0, observed=Y)
    mle = fit(model)
    expected = np.array([Y[::2].mean(), Y[1::2].mean()])
    np.testing.assert_allclose(mle.values["other"], expected, rtol=1e-8)
    np.testing.assert_allclose(mle.values["same"], expected / 2, rtol=1e-8)
    assert mle.values["twice"].dims == ("g",)
    likelihood = pmlik.likelihood_model(model)
    names = [var.name for var in model.deterministics]
    assert [var.name for var in likelihood.deterministics] == names
