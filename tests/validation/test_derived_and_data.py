"""Derived quantities, data containers, missing values, potentials: numbers against SciPy."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc.exceptions import ImputationWarning
from scipy import stats

import pmlik
from oracles import zoo
from oracles.fits import codes, fit
from oracles.samples import CENTRE, SD, SE_MU, SE_SD, Y
from pmlik import FlagCode

# --- Derived quantities ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def derived():
    with pm.Model(coords={"obs": np.arange(10, 18), "q": ["low", "high"]}) as model:
        mu = pm.Normal("mu", 0, 10)
        sigma = pm.HalfNormal("sigma", 5)
        weight = pm.Data("weight", np.linspace(1, 2, 8), dims="obs")
        pm.Deterministic("ratio", sigma / mu)
        pm.Deterministic("quantiles", mu + sigma * np.array([-1.5, 1.5]), dims="q")
        pm.Deterministic("fitted", weight * mu, dims="obs")
        pm.Deterministic("whole", pt.floor(mu).astype("int64"))
        pm.Deterministic("above", mu > 3)
        pm.Deterministic("constant", pt.as_tensor(7.0))
        pm.Deterministic("total_weight", weight.sum())
        pm.Normal("y", mu, sigma, observed=Y)
    return fit(model)


def test_a_derived_scalar_has_its_delta_method_standard_error(derived):
    zoo.assert_values(derived.values, {"ratio": SD / CENTRE})
    variance = (SE_SD / CENTRE) ** 2 + (SD / CENTRE**2 * SE_MU) ** 2
    zoo.assert_values(derived.std_error, {"ratio": np.sqrt(variance)})


def test_a_derived_vector_keeps_its_dims_and_coords(derived):
    se = np.hypot(SE_MU, 1.5 * SE_SD)
    zoo.assert_values(derived.values, {"quantiles": [CENTRE - 1.5 * SD, CENTRE + 1.5 * SD]})
    zoo.assert_values(derived.std_error, {"quantiles": [se, se]})
    assert list(derived.std_error["quantiles"].coords["q"].values) == ["low", "high"]


def test_a_quantity_for_each_observation_has_a_standard_error_for_each(derived):
    weight = np.linspace(1, 2, 8)
    zoo.assert_values(derived.values, {"fitted": weight * CENTRE})
    zoo.assert_values(derived.std_error, {"fitted": weight * SE_MU})
    assert list(derived.values["fitted"].coords["obs"].values) == list(range(10, 18))


def test_an_integer_quantity_has_a_value_and_a_flag_instead_of_a_standard_error(derived):
    zoo.assert_values(derived.values, {"whole": np.floor(CENTRE), "above": 1.0})
    zoo.assert_values(derived.std_error, {"whole": np.nan, "above": np.nan})
    (flag,) = [flag for flag in derived.flags if flag.code is FlagCode.NO_STANDARD_ERROR]
    assert set(flag.variables) >= {"whole", "above"}


def test_what_does_not_depend_on_the_parameters_has_no_error(derived):
    zoo.assert_values(derived.values, {"constant": 7.0, "total_weight": 12.0})
    zoo.assert_values(derived.std_error, {"constant": np.nan, "total_weight": np.nan})


@pytest.mark.parametrize("function", [pt.floor, pt.sign, lambda mu: pt.cast(mu > 3, "float64")])
def test_a_step_function_held_in_floats_has_no_standard_error_of_zero(function):
    # PyTensor gives floor and comparisons the derivative zero; the delta method has none.
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Deterministic("step", function(mu))
        pm.Normal("y", mu, 1, observed=Y)
    mle = fit(model)
    assert np.isnan(mle.std_error["step"])
    assert FlagCode.NO_STANDARD_ERROR in codes(mle)


def test_a_quantity_at_a_stationary_point_has_the_standard_error_of_its_derivative():
    # (mu - ybar)^2 has derivative zero at the MLE: the delta method gives zero, as it should.
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Deterministic("square", (mu - CENTRE) ** 2)
        pm.Normal("y", mu, 1, observed=Y)
    assert float(fit(model).std_error["square"]) == pytest.approx(0, abs=1e-7)


# --- Data -----------------------------------------------------------------------------------------


def test_two_observed_variables_add_their_log_likelihoods():
    x, counts = np.array([1.2, 0.7, 2.2]), np.array([4, 6])
    with pm.Model() as model:
        rate = pm.HalfNormal("rate", 3)
        pm.Exponential("x", rate, observed=x)
        pm.Poisson("counts", rate, observed=counts)
    # 3 log r - r sum(x) + sum(c) log r - 2 r
    mle = (3 + counts.sum()) / (x.sum() + 2)
    found = fit(model)
    zoo.assert_values(found.values, {"rate": mle})
    zoo.assert_values(found.std_error, {"rate": mle / np.sqrt(3 + counts.sum())})
    expected = stats.expon.logpdf(x, scale=1 / mle).sum() + stats.poisson.logpmf(counts, mle).sum()
    assert found.log_likelihood == pytest.approx(expected, rel=1e-12)
    assert found.n_observations == 5


def test_data_containers_hold_observations_and_covariates():
    with pm.Model() as model:
        x = pm.Data("x", np.arange(4.0))
        y = pm.Data("y_data", np.array([0.0, 1.0, 5.0, 3.0]))
        slope = pm.Normal("slope", 0, 10)
        pm.Normal("y", slope * x, 1, observed=y)
    found = fit(model)
    zoo.assert_values(found.values, {"slope": 20 / 14})
    zoo.assert_values(found.std_error, {"slope": 14**-0.5})
    with model:
        pm.set_data({"x": np.arange(1.0, 6.0), "y_data": np.ones(5)})
    found = fit(model)  # new data of another length, same model
    zoo.assert_values(found.values, {"slope": 15 / 55})
    zoo.assert_values(found.std_error, {"slope": 55**-0.5})


def with_missing(distribution, data):
    with pm.Model() as model, warnings.catch_warnings(action="ignore", category=ImputationWarning):
        distribution(data)
    return model


@pytest.mark.parametrize(
    "mask",
    [
        lambda y, gone: np.where(gone, np.nan, y),
        lambda y, gone: np.ma.masked_array(y, mask=gone),
    ],
    ids=["nan", "masked"],
)
def test_missing_values_leave_mle_and_map_as_with_the_observed_rows_alone(mask):
    y, gone = np.array([1.0, 9.9, 3.0, 2.5, 9.9, 4.0]), np.array([0, 1, 0, 0, 1, 0], bool)
    x = np.array([0.0, 1.0, 2.0, -1.0, 3.0, 1.5])

    def regression(x, y):
        intercept, slope = pm.Normal("intercept", 0, 2), pm.Normal("slope", 0, 1)
        pm.Normal("y", intercept + slope * x, 0.5, observed=y)

    whole = with_missing(lambda data: regression(x, data), mask(y, gone))
    X = np.column_stack([np.ones(4), x[~gone]])
    for find, prior in ((pmlik.find_MLE, np.zeros((2, 2))), (pmlik.find_MAP, np.diag([0.25, 1]))):
        information = X.T @ X / 0.25 + prior
        at = np.linalg.solve(information, X.T @ y[~gone] / 0.25)
        se = np.sqrt(np.diag(np.linalg.inv(information)))
        found = find(whole, progressbar=False)
        zoo.assert_values(found.values, {"intercept": at[0], "slope": at[1]})
        zoo.assert_values(found.std_error, {"intercept": se[0], "slope": se[1]})
        assert FlagCode.MISSING_INTEGRATED_OUT in codes(found)
        likelihood = stats.norm.logpdf(y[~gone], X @ at, 0.5).sum()
        assert found.log_likelihood == pytest.approx(likelihood, rel=1e-10)
        assert found.n_observations == 4


def test_missing_counts_integrate_out_too():
    # A sum over the missing counts is one, as an integral is: nothing discrete is estimated.
    def counts(data):
        pm.Poisson("y", pm.HalfNormal("rate", 5), observed=data)

    model = with_missing(counts, np.ma.masked_array([3, 99, 5, 1], mask=[0, 1, 0, 0]))
    found = fit(model)
    zoo.assert_values(found.values, {"rate": 3.0})
    zoo.assert_values(found.std_error, {"rate": 1.0})


def test_missing_elements_of_a_multivariate_row_are_integrated_out():
    data = np.array([[1.0, 2.0], [np.nan, 1.0], [0.5, 0.0]])

    def rows(data):
        pm.MvNormal("y", pm.Normal("mu", 0, 1, shape=2), np.eye(2), observed=data)

    mle = fit(with_missing(rows, data))
    np.testing.assert_allclose(mle.values["mu"], [0.75, 1.0], atol=1e-8)
    np.testing.assert_allclose(mle.std_error["mu"], [1 / np.sqrt(2), 1 / np.sqrt(3)], rtol=1e-7)
    residuals = [0.25, -0.25, 1.0, 0.0, -1.0]
    assert mle.log_likelihood == pytest.approx(stats.norm.logpdf(residuals).sum(), abs=1e-9)


def potential_model():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        pm.Normal("y", mu, 1, observed=np.array([1.0, 2.0]))
        pm.Potential("extra", -0.5 * 3.0 * (mu - 4.0) ** 2)
    return model


@pytest.mark.parametrize(
    ("potentials", "mle", "information"), [("likelihood", 3.0, 5.0), ("prior", 1.5, 2.0)]
)
def test_a_potential_counts_as_what_it_is_said_to_be(potentials, mle, information):
    model = potential_model()
    found = fit(model, potentials=potentials)
    zoo.assert_values(found.values, {"mu": mle})
    zoo.assert_values(found.std_error, {"mu": information**-0.5})
    data = stats.norm.logpdf([1.0, 2.0], mle, 1).sum()
    extra, prior = -1.5 * (mle - 4) ** 2, stats.norm.logpdf(mle, 0, 2)
    parts = (data + extra, prior) if potentials == "likelihood" else (data, prior + extra)
    assert (found.log_likelihood, found.log_prior) == pytest.approx(parts, rel=1e-7)
    # The MAP is the same however its terms are shared out.
    both = pmlik.find_MAP(model, potentials=potentials, progressbar=False)
    zoo.assert_values(both.values, {"mu": 15 / 5.25})
    zoo.assert_values(both.std_error, {"mu": 5.25**-0.5})


def test_a_potential_alone_is_a_likelihood():
    y = np.array([0.2, 0.5, 0.9])
    with pm.Model() as model:
        a = pm.HalfNormal("a", 5)
        pm.Potential("power_law", pt.log(a) + (a - 1) * pt.log(y))
    mle = -3 / np.log(y).sum()
    found = fit(model)
    zoo.assert_values(found.values, {"a": mle})
    zoo.assert_values(found.std_error, {"a": mle / np.sqrt(3)})
