"""Every animal of the zoo: the MLE and MAP that theory says, or a flag that says why not."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

import pmlik
from oracles import zoo
from pmlik import FlagCode, Severity


@pytest.fixture(scope="module", params=zoo.REGULAR)
def regular(request):
    case = zoo.REGULAR[request.param]()
    return case, pmlik.compare(case.model, sample=False, progressbar=False, extras=False)


def flagged(estimate, code):
    return [v for flag in estimate.flags if flag.code is code for v in flag.variables]


def test_mle_is_the_closed_form(regular):
    case, found = regular
    zoo.assert_values(found.mle.values, case.mle)


def test_standard_errors_of_the_mle_are_the_closed_form(regular):
    case, found = regular
    zoo.assert_values(found.mle.std_error, case.mle_se)


def test_map_is_the_closed_form(regular):
    case, found = regular
    zoo.assert_values(found.map.values, case.map)


def test_standard_errors_of_the_map_are_the_closed_form(regular):
    case, found = regular
    zoo.assert_values(found.map.std_error, case.map_se)


def test_covariance_is_the_closed_form_and_labelled(regular):
    case, found = regular
    names = [rv.name for rv in case.model.free_RVs if rv.name in case.mle]
    for estimate in (found.mle, found.map):
        zoo.assert_covariance_matches(estimate, names)
    if case.covariance is not None:
        np.testing.assert_allclose(found.mle.covariance, case.covariance, rtol=1e-7, atol=1e-12)


def test_log_densities_at_the_mle_are_those_of_scipy(regular):
    case, found = regular
    if case.log_likelihood is not None:
        assert found.mle.log_likelihood == pytest.approx(case.log_likelihood, rel=1e-12)
    if case.log_prior is not None:
        # PyMC folds 1 / 3 in single precision before pmlik sees it; see the next test.
        assert found.mle.log_prior == pytest.approx(case.log_prior, rel=1e-7, abs=1e-12)


def test_constants_of_the_prior_are_in_double_precision():
    # pm.Gamma takes the reciprocal of its rate: as a float32, 1 / 3 is 3e-8 off.
    case = zoo.poisson()
    mle = pmlik.find_MLE(case.model, progressbar=False)
    assert mle.log_prior == pytest.approx(case.log_prior, rel=1e-10)


def test_regular_cases_are_certified_and_carry_no_warning(regular):
    _, found = regular
    for estimate in (found.mle, found.map):
        assert estimate.certificate.converged
        assert [f for f in estimate.flags if f.severity is not Severity.INFO] == []


@pytest.mark.slow
def test_posterior_has_the_moments_of_the_conjugate_posterior():
    for make in zoo.REGULAR.values():
        case = make()
        if not case.posterior:
            continue
        found = pmlik.sample_posterior(case.model, random_seed=1, progressbar=False)
        for name, (mean, sd) in case.posterior.items():
            # Monte Carlo: 4000 draws, of which a thousand effective at the least.
            assert float(found.values[name]) == pytest.approx(mean, abs=5 * sd / 1000**0.5)
            assert float(found.std_error[name]) == pytest.approx(sd, rel=0.15)


# --- Said nothing about ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=zoo.UNIDENTIFIED)
def unidentified(request):
    case = zoo.UNIDENTIFIED[request.param]()
    return case, pmlik.find_MLE(case.model, progressbar=False)


def test_what_the_likelihood_does_not_determine_is_nan_and_the_rest_is_right(unidentified):
    case, mle = unidentified
    zoo.assert_values(mle.values, case.mle, rtol=1e-6)
    zoo.assert_values(mle.std_error, case.mle_se, rtol=1e-6)
    assert mle.log_likelihood == pytest.approx(case.log_likelihood, rel=1e-10)
    assert np.isnan(mle.std_error.to_array().to_numpy()).any()


def test_what_the_likelihood_does_not_determine_is_flagged_by_name(unidentified):
    _, mle = unidentified
    about = flagged(mle, FlagCode.NOT_IDENTIFIED) + flagged(mle, FlagCode.NOT_IN_LIKELIHOOD)
    expected = [
        label for label, value in pmlik.labels.labelled(mle.values).items() if np.isnan(value)
    ]
    assert sorted(about) == sorted(expected)
    assert mle.certificate.converged


def test_covariance_with_unidentified_parameters_is_nan_in_their_rows_only(unidentified):
    case, mle = unidentified
    if case.covariance is not None:
        np.testing.assert_allclose(mle.covariance, case.covariance, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("make", [zoo.collinear, zoo.empty_group])
def test_the_prior_identifies_what_the_likelihood_does_not(make):
    case = make()
    found = pmlik.find_MAP(case.model, progressbar=False)
    zoo.assert_values(found.values, case.map)
    zoo.assert_values(found.std_error, case.map_se)
    assert found.trusted


def test_flat_priors_leave_the_map_as_unidentified_as_the_mle():
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Flat("b")
        pm.Deterministic("total", a + b)
        pm.Normal("y", a + b, 1, observed=np.array([1.0, 2.0, 6.0]))
    found = pmlik.find_MAP(model, progressbar=False)
    zoo.assert_values(found.values, {"a": np.nan, "b": np.nan, "total": 3.0})
    zoo.assert_values(found.std_error, {"a": np.nan, "b": np.nan, "total": 3**-0.5})
    assert flagged(found, FlagCode.NOT_IDENTIFIED) == ["a", "b"]


def test_the_number_of_parameters_counts_only_identified_directions():
    for make, k in ((zoo.collinear, 1), (zoo.empty_group, 2), (zoo.collinear_design, 3)):
        assert pmlik.find_MLE(make().model, progressbar=False).n_parameters == k


# --- Ugly -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo.WITHOUT_MLE)
def test_a_likelihood_without_maximum_gives_nan_and_an_error_flag(name):
    mle = pmlik.find_MLE(zoo.WITHOUT_MLE[name]().model, progressbar=False)
    assert not mle.certificate.converged
    assert not mle.trusted
    assert np.isnan(mle.values.to_array()).all()
    assert np.isnan(mle.std_error.to_array()).all()


@pytest.mark.parametrize("name", zoo.AT_BORDER)
def test_a_maximum_on_the_border_is_exact_and_has_no_standard_error(name):
    case = zoo.AT_BORDER[name]()
    mle = pmlik.find_MLE(case.model, progressbar=False)
    zoo.assert_values(mle.values, case.mle)
    assert np.isnan(mle.std_error.to_array()).all()
    assert flagged(mle, FlagCode.AT_BOUNDARY) == list(case.mle)
    assert mle.trusted


def test_strict_raises_where_there_is_no_maximum():
    with pytest.raises(pmlik.EstimationError):
        pmlik.find_MLE(zoo.separation().model, progressbar=False, strict=True)


def test_a_prior_gives_separated_data_a_map():
    case = zoo.separation()
    found = pmlik.find_MAP(case.model, progressbar=False)
    zoo.assert_values(found.values, case.map, rtol=1e-6)
    zoo.assert_values(found.std_error, case.map_se, rtol=1e-6)


def test_a_saddle_at_the_start_is_left():
    case = zoo.saddle()
    mle = pmlik.find_MLE(case.model, progressbar=False, random_seed=1)
    zoo.assert_values(mle.values, case.mle)
    zoo.assert_values(mle.std_error, case.mle_se)
    assert abs(float(mle.values["theta"])) == pytest.approx(2.0)
    assert mle.log_likelihood == pytest.approx(case.log_likelihood)


def test_one_of_two_equal_modes_is_found():
    case = zoo.two_modes()
    mle = pmlik.find_MLE(case.model, progressbar=False)
    assert abs(float(mle.values["mu"])) == pytest.approx(case.mle["mu"], rel=1e-7)
    zoo.assert_values(mle.std_error, case.mle_se, rtol=1e-6)
    assert mle.log_likelihood == pytest.approx(case.log_likelihood)
