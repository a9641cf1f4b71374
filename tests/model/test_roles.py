"""Who is a parameter and who is a latent, in the ways in which people write models."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor.tensor as pt
import pytest

import pmlik
from oracles.models_with_latents import (
    LATENT,
    centred_random_intercepts,
    horseshoe_centred,
    two_levels_of_effects,
    whitened_effects,
)
from oracles.models_without_latents import (
    PLAIN,
    group_intercepts_under_independent_priors,
    response_with_gaps,
)
from oracles.role_data import GROUP, TABLE, XX, J, N, Y
from pmlik.model.roles import read_roles


class SamplerReachedError(Exception):
    """Stands for sampling itself, which these tests don't need."""


def test_these_models_are_enough_to_judge_by():
    assert len(LATENT) > 30
    assert len(PLAIN) > 40


@pytest.mark.parametrize("name", LATENT)
def test_latents_are_recognised_and_nothing_else_is(name):
    build, expected = LATENT[name]
    assert set(read_roles(build()).latents) == set(expected)


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_without_latents_has_none(name):
    model = PLAIN[name]()
    roles = read_roles(model)
    assert roles.latents == ()
    assert {*roles.parameters, *roles.missing} == {rv.name for rv in model.free_RVs}


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_without_latents_gives_a_likelihood_model(name):
    model = PLAIN[name]()
    likelihood = pmlik.likelihood_model(model)
    assert [rv.name for rv in likelihood.free_RVs] == [rv.name for rv in model.free_RVs]


@pytest.mark.parametrize(
    "name", ["centred_random_intercepts", "whitened_effects", "covariate_with_gaps"]
)
def test_the_likelihood_model_refuses_latents_and_says_what_takes_them(name):
    build, (expected,) = LATENT[name]
    with pytest.raises(pmlik.ModelError, match=f"^{expected}: latent .*marginal_model"):
        pmlik.likelihood_model(build())


def test_several_latents_are_all_named_and_no_parameter_is():
    with pytest.raises(pmlik.ModelError, match=r"^schools, pupils: latent"):
        pmlik.likelihood_model(two_levels_of_effects())


def factor_model() -> pm.Model:
    with pm.Model() as model:
        loadings = pm.Normal("loadings", 0, 1, shape=(2, 3))
        scores = pm.Normal("scores", 0, 1, shape=(8, 2))
        pm.Normal("y", scores @ loadings, pm.HalfNormal("sigma"), observed=Y.reshape(8, 3))
    return model


def test_a_factor_model_is_ambiguous_and_the_error_shows_how_to_choose():
    with pytest.raises(pmlik.ModelError, match=r"loadings, scores: latent or parameter\?.*Choose"):
        read_roles(factor_model())


def test_naming_one_side_of_a_factor_model_settles_it():
    assert read_roles(factor_model(), parameters=["loadings"]).latents == ("scores",)
    assert read_roles(factor_model(), parameters=["scores"]).latents == ("loadings",)
    assert read_roles(factor_model(), latent=["scores"]).parameters == ("loadings", "sigma")
    assert read_roles(factor_model(), parameters=["loadings", "scores"]).latents == ()


def test_overrides_go_before_the_reading():
    model = centred_random_intercepts()
    assert read_roles(model, parameters=["u"]).latents == ()
    roles = read_roles(PLAIN["group_intercepts_under_independent_priors"](), latent=["a"])
    assert roles.latents == ("a",)


def test_a_shrinkage_prior_read_as_latent_is_a_parameter_with_its_scales_when_asked():
    roles = read_roles(horseshoe_centred(), parameters=["beta"])
    assert set(roles.parameters) == {"tau", "local", "beta"}
    assert roles.latents == ()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"latent": ["nobody"]}, r"latent: 'nobody' not among .* mu, tau, u"),
        ({"latent": "u"}, r"latent: got 'u', need 'auto' or a list"),
        ({"parameters": "u"}, r"parameters: got 'u', need a list"),
        ({"latent": ["u"], "parameters": ["u"]}, r"u: named as latent and as a parameter"),
        ({"latent": ["mu", "tau", "u", "sigma"]}, r"all free variables are latents"),
    ],
)
def test_wrong_choices_get_one_clear_error(choice, message):
    with pytest.raises(pmlik.ModelError, match=message):
        read_roles(centred_random_intercepts(), **choice)


def test_a_latent_that_no_data_depend_on_integrates_to_one():
    with pm.Model() as model:
        tau = pm.HalfNormal("tau")
        u = pm.Normal("u", 0, tau, shape=J)
        pm.Normal("u_new", 0, tau)
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    roles = read_roles(model)
    assert roles.latents == ("u",)
    assert roles.missing == ("u_new",)


@pytest.mark.parametrize("name", LATENT)
def test_sampling_accepts_a_model_with_latents(name, monkeypatch):
    def reached(**kwargs):
        raise SamplerReachedError

    monkeypatch.setattr("pmlik.inference.sample.pm.sample", reached)
    with pytest.raises(SamplerReachedError):
        pmlik.sample_posterior(LATENT[name][0](), progressbar=False)


def test_latents_are_part_of_a_sampled_posterior():
    posterior = pmlik.sample_posterior(
        centred_random_intercepts(),
        random_seed=1,
        progressbar=False,
        sample_kwargs={"draws": 20, "tune": 20, "chains": 2, "cores": 1},
    )
    assert posterior.values["u"].shape == (J,)
    assert np.isfinite(posterior.std_error["u"]).all()


def test_each_role_is_in_the_order_of_the_model():
    with pm.Model() as model:
        z, a = pm.Normal("z"), pm.Normal("a")
        m = pm.Deterministic("m", a + z)
        pm.Deterministic("d", a - z)
        pm.Normal("y", m, 1.0, observed=Y)
        pm.Normal("b", z, 1.0, observed=Y)
        pm.Potential("p", -(a**2))
    roles = read_roles(model)
    assert roles.parameters == ("z", "a")
    assert roles.observed == ("y", "b")
    assert roles.derived == ("m", "d")
    assert roles.potentials == ("p",)
    assert roles.missing == roles.latents == ()


def test_missing_responses_are_neither_parameters_nor_latents():
    roles = read_roles(response_with_gaps())
    assert roles.missing == ("y_unobserved",)
    assert roles.parameters == ("b", "sigma")
    assert roles.observed == ("y_observed",)


def test_a_missing_response_that_only_a_deterministic_uses_is_no_latent():
    with_gaps = Y.copy()
    with_gaps[0] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = pm.Normal("y", pm.Normal("mu"), 1.0, observed=with_gaps)
        pm.Deterministic("total", y.sum())
    assert read_roles(model).latents == ()


def test_a_missing_response_that_a_potential_uses_is_a_latent():
    with_gaps = Y.copy()
    with_gaps[0] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = pm.Normal("y", pm.Normal("mu"), 1.0, observed=with_gaps)
        pm.Potential("penalty", -(y.sum() ** 2))
    assert read_roles(model).latents == ("y_unobserved",)


def test_a_free_variable_that_is_only_named_like_a_missing_one_is_a_parameter():
    with pm.Model() as model:
        sea = pm.Normal("sea_unobserved")
        pm.Normal("y", sea, 1.0, observed=Y)
    assert read_roles(model).parameters == ("sea_unobserved",)


def test_reading_the_roles_leaves_the_model_as_it_was():
    model = whitened_effects()
    before = [var.name for var in model.basic_RVs], dict(model.rvs_to_values)
    read_roles(model)
    assert before == ([var.name for var in model.basic_RVs], dict(model.rvs_to_values))


def test_a_potential_counted_as_prior_is_still_listed():
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("y", mu, 1.0, observed=Y)
        pm.Potential("p", -(mu**2))
    assert read_roles(model, "prior").potentials == ("p",)


def test_a_model_with_the_verbs_called_inside_its_context_needs_no_argument():
    with group_intercepts_under_independent_priors():
        assert pmlik.likelihood_model().free_RVs[0].name == "a"
    with centred_random_intercepts():
        assert [rv.name for rv in pmlik.marginal_model().free_RVs] == ["mu", "tau", "sigma"]


def test_a_scale_that_multiplies_observed_data_is_no_reason_to_call_coefficients_latent():
    # y / scale has coefficients in units of the scale, as in R-side standardised regressions.
    with pm.Model() as model:
        b, scale = pm.Normal("b", 0, 1, shape=3), pm.HalfNormal("scale")
        z = Y / scale - XX @ b
        pm.Potential("loglike", (-0.5 * z**2 - pt.log(scale)).sum())
    assert read_roles(model).latents == ()


def test_a_model_in_named_dimensions_has_standard_errors_for_transformed_variables():
    with pm.Model(coords={"g": range(J), "rep": range(N // J)}) as model:
        a, sigma = pmd.Normal("a", 0, 1, dims=("g",)), pmd.HalfNormal("sigma")
        pmd.Deterministic("variance", sigma**2)
        pmd.Normal("y", a, sigma, observed=TABLE)
    mle = pmlik.find_MLE(model, progressbar=False)
    rows = Y.reshape(J, -1)
    sigma_hat = float(np.sqrt(((rows - rows.mean(axis=1, keepdims=True)) ** 2).mean()))
    assert float(mle.values["sigma"]) == pytest.approx(sigma_hat)
    assert float(mle.std_error["sigma"]) == pytest.approx(sigma_hat / np.sqrt(2 * N))
    assert float(mle.std_error["variance"]) == pytest.approx(sigma_hat**2 * np.sqrt(2 / N))
    assert mle.certificate.start == "pm.find_MAP"
