"""Published answers of R's packages; their sources are in tests/oracles/reference/*/NOTE.md."""

from __future__ import annotations

import numpy as np
import pytest

import pmlik
from oracles.fits import fit_case, flat
from oracles.reference_models import CASES, gev_portpirie, truth


@pytest.mark.parametrize("case", CASES)
def test_estimates_and_errors_are_the_published_ones(case) -> None:
    expected, names = truth(case), CASES[case][1]
    mle = fit_case(case)
    se = np.array(list(expected["se"].values()))
    estimates = np.array(list(expected["estimates"].values()))
    np.testing.assert_allclose((flat(mle.values, names) - estimates) / se, 0, atol=1e-6)
    np.testing.assert_allclose(flat(mle.std_error, names), se, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_likelihood_and_criteria_are_the_published_ones(case) -> None:
    expected, mle = truth(case), fit_case(case)
    assert mle.log_likelihood == pytest.approx(expected["loglik"], abs=1e-8)
    assert mle.n_parameters == expected["n_params"]
    assert mle.n_observations == expected["n_obs"]
    assert mle.aic == pytest.approx(expected["aic"], abs=1e-8)
    assert mle.bic == pytest.approx(expected["bic"], abs=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_the_optimum_is_certified_and_no_error_is_flagged(case) -> None:
    mle = fit_case(case)
    assert mle.certificate.converged
    assert mle.certificate.newton_decrement < 1e-6
    assert mle.certificate.eigenvalue_signs == (mle.n_parameters, 0, 0)
    assert mle.trusted


def test_a_derived_return_level_has_the_published_delta_error() -> None:
    expected = truth("07_gev_portpirie")["return_level_100"]
    mle = pmlik.find_MLE(gev_portpirie(), random_seed=1, progressbar=False)
    level, error = mle.values["return_level_100"], mle.std_error["return_level_100"]
    assert float(level) == pytest.approx(expected["estimate"], abs=1e-6 * expected["se_delta"])
    assert float(error) == pytest.approx(expected["se_delta"], rel=1e-6)


def test_the_unbounded_t_likelihood_is_not_chased() -> None:
    # Below 4/17 degrees of freedom the likelihood grows without bound; the published answer is
    # the interior maximum, and that is said.
    mle = fit_case("08_t_regression_stackloss")
    codes = {flag.code for flag in mle.flags}
    assert pmlik.FlagCode.UNBOUNDED in codes


def test_complete_separation_gives_no_finite_estimate() -> None:
    import pymc as pm

    from oracles.reference_models import data

    iris = data("04_separation_iris")
    with pm.Model() as model:
        intercept = pm.Normal("intercept", 0, 20)
        slope = pm.Normal("slope", 0, 20)
        eta = intercept + slope * iris["Petal.Length"].to_numpy()
        pm.Bernoulli("versicolor", logit_p=eta, observed=iris["versicolor"].to_numpy())
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    assert not mle.trusted
    assert np.isnan(mle.values["slope"])
    assert np.isnan(mle.std_error["slope"])
    assert np.isnan(mle.aic)
    ends = {"intercept": pmlik.Status.MINUS_INFINITY, "slope": pmlik.Status.PLUS_INFINITY}
    assert mle.statuses == ends
    # The prior makes the MAP exist.
    assert pmlik.find_MAP(model, random_seed=1, progressbar=False).trusted
