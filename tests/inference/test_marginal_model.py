"""Model in, model out: the marginal model is one that PyMC's own verbs take."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytest

import pmlik
from oracles.fits import numbers
from oracles.latent_models import one_way, sleepstudy
from oracles.reference_models import truth


@pytest.fixture(scope="module")
def marginal() -> pm.Model:
    return pmlik.marginal_model(one_way("05_dyestuff", centred=True))


def host(model: pm.Model) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pm.find_MAP(model=model, progressbar=False)


def test_find_map_of_the_marginal_likelihood_model_is_the_marginal_mle(marginal) -> None:
    found, expected = host(pmlik.likelihood_model(marginal)), truth("05_dyestuff")
    estimates, se = numbers(expected["estimates"]), numbers(expected["se"])
    at = np.array([float(found[name]) for name in ("b0", "sigma", "sd")])
    np.testing.assert_allclose((at - estimates) / se, 0, atol=1e-2)


def test_find_map_of_the_marginal_model_is_the_marginal_map(marginal) -> None:
    found = host(marginal)
    expected = pmlik.find_MAP(one_way("05_dyestuff", centred=False), progressbar=False)
    for name in ("b0", "sigma", "sd"):
        error = float(expected.std_error[name])
        assert float(found[name]) == pytest.approx(float(expected.values[name]), abs=1e-2 * error)


def test_the_marginal_model_keeps_dims_initvals_and_the_model_given() -> None:
    model = sleepstudy(centred=True)
    model.rvs_to_initial_values[model["sigma"]] = 33.0
    before = [var.name for var in model.basic_RVs]
    marginal = pmlik.marginal_model(model)
    assert [rv.name for rv in marginal.free_RVs] == ["b", "sigma", "chol"]
    assert marginal.named_vars_to_dims["b"] == ("term",)
    assert marginal.initial_point(0)["sigma_log__"] == pytest.approx(np.log(33.0))
    assert "chol_stds" in marginal.named_vars
    assert "u" not in marginal.named_vars
    assert [var.name for var in model.basic_RVs] == before


def test_a_model_without_latents_has_no_marginal_model() -> None:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu"), 1.0, observed=[1.0])
    with pytest.raises(pmlik.ModelError, match="no latents"):
        pmlik.marginal_model(model)


@pytest.mark.slow
@pytest.mark.parametrize("cores", [1, 2])
def test_pm_sample_draws_from_the_marginal_posterior(cores) -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        a = pm.Normal("a", mu, 3)
        pm.Normal("y", a, 2, observed=4.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = pm.sample(
            model=pmlik.marginal_model(model),
            draws=1000,
            tune=500,
            chains=2,
            cores=cores,
            random_seed=1,
            progressbar=False,
        )
    draws = tree["posterior"]["mu"].to_numpy().ravel()
    variance = 1 / (1 / 13 + 1 / 100)
    assert draws.mean() == pytest.approx(4 * 100 / 113, abs=4 * np.sqrt(variance / 500))
    assert draws.var() == pytest.approx(variance, rel=0.3)
