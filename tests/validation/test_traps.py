"""Points that look like an optimum and are none, and the ones beside them that are."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pmlik
from oracles.fits import codes, fit
from pmlik import FlagCode


def test_a_step_function_of_a_parameter_is_not_certified() -> None:
    # A change point: no slope leads to it, and what is found for the rest holds only where the
    # search happened to start.
    t = np.arange(40)
    y = np.where(t < 25, 1.0, 4.0) + np.sin(t)
    with pm.Model() as model:
        tau = pm.Uniform("tau", 0, 40)
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        pm.Normal("y", pm.math.switch(t < tau, a, b), 1, observed=y)
    estimate = fit(model)
    assert not estimate.trusted
    assert np.isnan(estimate.values["a"])
    assert FlagCode.NOT_IN_LIKELIHOOD not in codes(estimate)


def test_a_lesser_optimum_beside_a_higher_one_is_left() -> None:
    # -(x^2/2 - x^3 + 0.35 x^4) has a local maximum at 0 and the global one at
    # x = (3 + sqrt(9 - 5.6)) / 2.8, the larger root of 1 - 3x + 1.4x^2.
    with pm.Model() as model:
        x = pm.Normal("x", 0, 10)
        pm.Potential("objective", -(x**2 / 2 - x**3 + 0.35 * x**4))
    estimate = fit(model)
    best = (3 + np.sqrt(9 - 5.6)) / 2.8
    assert float(estimate.values["x"]) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("extra", [0, 2100])
def test_a_saddle_is_left_with_and_without_a_dense_matrix(extra: int) -> None:
    # y ~ N(a b, 1) with y = 1 has its saddle at the start a = b = 0.
    rng = np.random.default_rng(0)
    data = rng.normal(size=extra)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 2)
        pm.Deterministic("product", a * b)
        pm.Normal("y", a * b, 1, observed=1.0)
        if extra:
            alpha = pm.Normal("alpha", 0, 1, shape=extra)
            pm.Normal("z", alpha, 1, observed=data)
    estimate = fit(model)
    product = float(estimate.values["product"])
    # Where it can't be certified (a b is identified, a and b are not) it is not called trusted.
    assert product == pytest.approx(1.0, abs=1e-6) or not estimate.trusted


def test_names_alone_do_not_make_a_variable_missing() -> None:
    with pm.Model() as model:
        n = pm.Normal("n_unobserved", 0, 10)
        pm.Normal("n_observed", n, 1, observed=[1.0, 3.0])
    assert float(fit(model).values["n_unobserved"]) == pytest.approx(2.0)


def test_log_prior_is_unknown_where_a_parameter_is() -> None:
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("y", a + b, 1, observed=[1.0, 2.0])
    estimate = fit(model)
    assert np.isnan(estimate.values["a"])
    assert np.isnan(estimate.log_prior)
    assert FlagCode.NOT_IDENTIFIED in codes(estimate)


def test_a_parameter_in_neither_density_has_no_map() -> None:
    with pm.Model() as model:
        pm.Flat("idle")
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=[1.0])
    estimate = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    assert FlagCode.NOT_IN_OBJECTIVE in codes(estimate)
    assert float(estimate.values["mu"]) == pytest.approx(0.5)


def test_a_singular_matrix_at_the_start_is_left_for_another_start() -> None:
    # NumPy raises LinAlgError at r = 0. The mean is 1 / r, so the MLE is r = 1/2.
    with pm.Model() as model:
        r = pm.Normal("r", 0, 1)
        matrix = pt.stack([pt.stack([r, 0.0]), pt.stack([0.0, 1.0])])
        pm.Normal("y", pt.linalg.inv(matrix)[0, 0], 1, observed=2.0)
    assert float(fit(model).values["r"]) == pytest.approx(0.5, abs=1e-6)


def test_a_backend_that_is_not_installed_is_named(monkeypatch) -> None:
    monkeypatch.setattr("pmlik.logp.compile.find_spec", lambda name: None)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=[1.0])
    with pytest.raises(pmlik.ModelError, match=r"jax.*not installed"):
        fit(model, backend="jax")


def test_a_covariate_that_makes_all_terms_zero_is_named_with_its_place() -> None:
    rate = np.array([1.0, 2.0, 3.0, np.nan, 1.0])
    with pm.Model() as model:
        a = pm.HalfNormal("a", 1)
        pm.Poisson("y", a * rate, observed=[1, 2, 3, 1, 1])
    with pytest.raises(pmlik.ModelError, match=r"NaN at index \[3\]"):
        fit(model)


@pytest.mark.slow
def test_a_compiled_backend_gives_the_numbers_of_the_interpreted_one() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 2)), rng.integers(0, 2, 50)
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 2, shape=2)
        pm.Bernoulli("y", logit_p=X @ beta, observed=y)
    interpreted, compiled = fit(model), fit(model, backend="numba")
    np.testing.assert_allclose(compiled.values["beta"], interpreted.values["beta"], rtol=1e-8)
    np.testing.assert_allclose(compiled.std_error["beta"], interpreted.std_error["beta"], rtol=1e-8)
    assert compiled.log_likelihood == pytest.approx(interpreted.log_likelihood, rel=1e-12)
