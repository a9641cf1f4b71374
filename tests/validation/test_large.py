"""Models without a dense matrix: ten thousand parameters, against closed forms."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import statsmodels.api as sm

import pmlik

GROUPS = 10_000


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    group, X = rng.integers(0, GROUPS, 5 * GROUPS), rng.normal(size=(5 * GROUPS, 3))
    y = rng.normal(size=GROUPS)[group] + X @ [0.5, -0.3, 0.2] + 0.7 * rng.normal(size=len(X))
    return group, X, y


@pytest.fixture(scope="module")
def mle(data) -> pmlik.PointEstimate:
    group, X, y = data
    with pm.Model() as model:
        alpha = pm.Normal("alpha", 0, 1, shape=GROUPS)
        beta = pm.Normal("beta", 0, 1, shape=3)
        sigma = pm.HalfNormal("sigma", 1)
        pm.Deterministic("twice", 2 * beta[0])
        pm.Normal("y", alpha[group] + X @ beta, sigma, observed=y)
    names = ["beta", "sigma", "twice"]
    return pmlik.find_MLE(model, var_names=names, random_seed=1, progressbar=False)


@pytest.fixture(scope="module")
def within(data):
    """Least squares after the group means are taken out: the closed form."""
    group, X, y = data
    counts = np.bincount(group, minlength=GROUPS)

    def centred(v: np.ndarray) -> np.ndarray:
        return v - (np.bincount(group, v, GROUPS) / np.maximum(counts, 1))[group]

    Xc, yc = np.column_stack([centred(column) for column in X.T]), centred(y)
    beta = np.linalg.solve(Xc.T @ Xc, Xc.T @ yc)
    variance = np.mean((yc - Xc @ beta) ** 2)
    return beta, variance, np.sqrt(np.diag(np.linalg.inv(Xc.T @ Xc)) * variance), counts


def test_the_estimate_is_that_of_least_squares_within_groups(mle, within) -> None:
    beta, variance, error, _ = within
    np.testing.assert_allclose(mle.values["beta"], beta, atol=1e-6 * error.min())
    assert float(mle.values["sigma"]) == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert mle.certificate.converged


def test_requested_errors_come_from_conjugate_gradients(mle, within) -> None:
    _, variance, error, _ = within
    np.testing.assert_allclose(mle.std_error["beta"], error, rtol=1e-7)
    assert float(mle.std_error["twice"]) == pytest.approx(2 * error[0], rel=1e-7)
    sigma_error = np.sqrt(variance / (2 * 5 * GROUPS))
    assert float(mle.std_error["sigma"]) == pytest.approx(sigma_error, rel=1e-7)


def test_no_dense_matrix_and_no_unrequested_error(mle) -> None:
    assert mle.covariance is None
    assert mle.certificate.eigenvalue_signs is None
    assert np.isnan(mle.std_error["alpha"]).all()
    assert pmlik.FlagCode.NO_STANDARD_ERROR in {flag.code for flag in mle.flags}


def test_groups_without_data_have_no_estimate(mle, within) -> None:
    empty = within[3] == 0
    assert empty.any()
    np.testing.assert_array_equal(np.isnan(mle.values["alpha"]), empty)
    assert mle.n_parameters == GROUPS + 4 - empty.sum()


def test_many_rows_take_few_evaluations_and_give_statsmodels_numbers() -> None:
    rng = np.random.default_rng(1)
    X = sm.add_constant(rng.normal(size=(60_000, 4)))
    y = rng.binomial(1, 1 / (1 + np.exp(-X @ [0.3, -0.5, 0.2, 0.4, 0.0])))
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 5, shape=5)
        pm.Bernoulli("y", logit_p=X @ beta, observed=y)
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    theirs = sm.Logit(y, X).fit(disp=False, tol=1e-12)
    error = theirs.bse
    np.testing.assert_allclose(mle.values["beta"], theirs.params, rtol=0, atol=1e-6 * error.min())
    np.testing.assert_allclose(mle.std_error["beta"], error, rtol=1e-7)
    assert mle.trusted
    assert mle.certificate.n_gradients < 80
