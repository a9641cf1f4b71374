"""Every transform of PyMC: estimates and standard errors come out in the user's units."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc.distributions import transforms as tr
from pymc.logprob.transforms import Transform
from scipy import optimize, special, stats

import pmlik
from oracles import zoo
from oracles.fits import fit
from oracles.likelihoods import GROUP, STEPS, Y
from pmlik import FlagCode

RNG = np.random.default_rng(20240501)


def check(model, values, errors, *, covariance=None, rtol=1e-6):
    """MLE, SE, labelled covariance; and the certificate. Returns the estimate."""
    mle = fit(model)
    assert mle.certificate.converged, mle.flags
    zoo.assert_values(mle.values, values, rtol=rtol)
    zoo.assert_values(mle.std_error, errors, rtol=rtol)
    zoo.assert_covariance_matches(mle, [rv.name for rv in model.free_RVs])
    if covariance is not None:
        np.testing.assert_allclose(mle.covariance, covariance, rtol=rtol, atol=1e-9)
    return mle


# --- Scalars --------------------------------------------------------------------------------------

SCALE = np.sqrt(np.mean(Y**2))


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(lambda: pm.HalfNormal("s", 2), id="log"),
        pytest.param(lambda: pm.HalfNormal("s", 2, default_transform=None), id="none"),
        pytest.param(lambda: pm.HalfNormal("s", 2, default_transform=tr.log_exp_m1), id="softplus"),
        pytest.param(lambda: pm.Uniform("s", 0.5, 9.0), id="interval"),
        pytest.param(lambda: pm.TruncatedNormal("s", 2, 3, lower=0.25), id="interval-lower"),
        pytest.param(lambda: pm.Pareto("s", 1.5, 0.5), id="interval-pareto"),
        pytest.param(lambda: pm.TruncatedNormal("s", 2, 3, upper=50.0, initval=1.0), id="upper"),
        pytest.param(
            lambda: pm.Normal("s", 2, 3, transform=tr.Interval(0.1, None)), id="interval-user"
        ),
        pytest.param(
            lambda: pm.Triangular("s", lower=0.0, c=3.0, upper=8.0), id="interval-triangular"
        ),
        pytest.param(
            lambda: pm.Normal("s", 2, 3, transform=tr.Chain([tr.log, Sinh()])), id="chained-user"
        ),
    ],
)
def test_a_scale_does_not_depend_on_the_transform_it_is_estimated_with(scale):
    with pm.Model() as model:
        pm.Normal("y", 0, scale(), observed=Y)
    check(model, {"s": SCALE}, {"s": SCALE / np.sqrt(2 * len(Y))})


class Sinh(Transform):
    """A user's transform, as PyMC's documentation has users write them."""

    name = "arcsinh"
    ndim_supp = 0

    def forward(self, value, *inputs):
        return pt.arcsinh(value)

    def backward(self, value, *inputs):
        return pt.sinh(value)

    def log_jac_det(self, value, *inputs):
        return pt.log(pt.cosh(value))


def test_a_location_with_a_users_transform_has_the_mean_and_its_standard_error():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, transform=Sinh())
        pm.Normal("y", mu, 2, observed=Y)
    check(model, {"mu": Y.mean()}, {"mu": 2 / np.sqrt(6)})


@pytest.mark.parametrize(
    ("y", "n"), [(1, 3), (299, 300)], ids=["few", "near the end of the support"]
)
def test_a_probability_by_log_odds_has_the_binomial_standard_error(y, n):
    case = zoo.binomial(2.0, 3.0, y=y, n=n)
    check(case.model, case.mle, case.mle_se, covariance=case.covariance)


def test_a_maximum_beyond_an_interval_is_its_end_and_has_no_standard_error():
    # The likelihood still rises where the prior's support ends (at 3).
    with pm.Model() as model:
        mu = pm.Uniform("mu", 0, 3)
        pm.Normal("y", mu, 1, observed=Y)
    mle = fit(model)
    assert float(mle.values["mu"]) == 3.0
    assert np.isnan(mle.std_error["mu"])
    assert FlagCode.AT_BOUNDARY in {flag.code for flag in mle.flags}


def test_an_upper_bound_only_gives_the_mean_below_it():
    with pm.Model() as model:
        mu = pm.TruncatedNormal("mu", 0, 5, upper=4.0)
        pm.Normal("y", mu, 2, observed=Y)
    check(model, {"mu": Y.mean()}, {"mu": 2 / np.sqrt(6)})


def test_bounds_may_be_arrays_with_another_interval_for_each_element():
    with pm.Model() as model:
        mu = pm.Uniform("mu", lower=[0.0, -3.0], upper=[5.0, 7.0], shape=2)
        pm.Normal("y", mu[[0, 0, 0, 1, 1, 1]], 1, observed=Y)
    se = np.full(2, 3**-0.5)
    check(model, {"mu": Y.reshape(2, 3).mean(1)}, {"mu": se}, covariance=np.diag(se**2))


def test_a_direction_that_wraps_around_has_the_closed_form_of_the_circle():
    # Observations on both sides of +-pi: a mean on the line would point the opposite way.
    y, kappa = np.array([3.0, -3.1, 2.9, -2.8, -3.0]), 4.0
    with pm.Model() as model:
        mu = pm.VonMises("mu", mu=0.3, kappa=0.5)
        pm.VonMises("y", mu=mu, kappa=kappa, observed=y)
    centre = np.arctan2(np.sin(y).sum(), np.cos(y).sum())
    length = np.hypot(np.sin(y).sum(), np.cos(y).sum())
    mle = check(model, {"mu": centre}, {"mu": (kappa * length) ** -0.5})
    assert mle.log_likelihood == pytest.approx(stats.vonmises.logpdf(y, kappa, centre).sum())


# --- Ordered --------------------------------------------------------------------------------------


MEANS = np.array([STEPS[k == GROUP].mean() for k in range(3)])


@pytest.mark.parametrize(
    ("transform", "order"),
    [
        (tr.ordered, [0, 1, 2]),
        (tr.Ordered(positive=True), [0, 1, 2]),
        (tr.Ordered(ascending=False), [2, 1, 0]),
        (tr.Ordered(positive=True, ascending=False), [2, 1, 0]),
    ],
    ids=["ascending", "positive", "descending", "positive descending"],
)
def test_ordered_means_are_the_group_means_where_the_data_are_ordered(transform, order):
    start = np.array([1.0, 2.0, 3.0])[order]
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=3, transform=transform, initval=start)
        pm.Normal("y", mu[np.array(order)[GROUP]], 0.5, observed=STEPS)
    variance = 0.25 / np.array([2, 3, 4])[order]
    check(model, {"mu": MEANS[order]}, {"mu": np.sqrt(variance)}, covariance=np.diag(variance))


def test_ordered_means_against_the_data_are_pooled():
    # The constrained maximum pools the groups, where the transform's log-difference is -inf.
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=2, transform=tr.ordered, initval=[0.0, 1.0])
        pm.Normal("y", mu[[0, 0, 1, 1]], 1, observed=np.array([3.0, 4.0, 1.0, 2.0]))
    mle = fit(model)
    np.testing.assert_allclose(mle.values["mu"], [2.5, 2.5], rtol=1e-8)
    np.testing.assert_allclose(mle.std_error["mu"], [0.5, np.nan], rtol=1e-8)
    assert FlagCode.AT_BOUNDARY in {flag.code for flag in mle.flags}


def test_a_chain_of_log_odds_and_ordered_gives_the_binomial_shares():
    y, n = np.array([2, 6, 15]), np.array([20, 25, 30])
    with pm.Model() as model:
        p = pm.Beta(
            "p",
            1,
            1,
            shape=3,
            transform=tr.ordered,  # chained after the default, log-odds
            initval=[0.2, 0.4, 0.6],
        )
        pm.Binomial("y", n=n, p=p, observed=y)
    mle = y / n
    variance = mle * (1 - mle) / n
    check(model, {"p": mle}, {"p": np.sqrt(variance)}, covariance=np.diag(variance))


# --- Simplex and sum to zero ----------------------------------------------------------------------


def test_a_simplex_has_the_multinomial_covariance_of_deficient_rank():
    case = zoo.shares()
    mle = check(case.model, case.mle, case.mle_se, covariance=case.covariance)
    covariance = mle.covariance.to_numpy()
    assert np.linalg.matrix_rank(covariance, tol=1e-10) == 3
    np.testing.assert_allclose(covariance.sum(0), 0, atol=1e-12)  # shares add up to one
    assert mle.n_parameters == 3


def test_a_batch_of_simplexes_has_a_block_of_covariance_each():
    y = np.array([[3, 5, 2], [10, 4, 6]])
    with pm.Model(coords={"year": [1990, 2000], "party": list("abc")}) as model:
        p = pm.Dirichlet("p", np.ones(3), shape=(2, 3), dims=("year", "party"))
        pm.Multinomial("y", n=y.sum(1), p=p, observed=y)
    n = y.sum(1, keepdims=True)
    share = y / n
    blocks = [(np.diag(q) - np.outer(q, q)) / m for q, m in zip(share, n[:, 0], strict=True)]
    covariance = np.zeros((6, 6))
    covariance[:3, :3], covariance[3:, 3:] = blocks
    mle = check(model, {"p": share}, {"p": np.sqrt(share * (1 - share) / n)}, covariance=covariance)
    assert mle.values["p"].dims == ("year", "party")
    assert list(mle.covariance.parameter.values)[3] == "p[2000, a]"


def test_a_simplex_by_sum_to_one_is_the_same_simplex():
    y = np.array([5, 9, 2])
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(3), default_transform=tr.SumTo1())
        pm.Multinomial("y", n=16, p=p, observed=y)
    share = y / 16
    covariance = (np.diag(share) - np.outer(share, share)) / 16
    check(model, {"p": share}, {"p": np.sqrt(np.diag(covariance))}, covariance=covariance)


def test_effects_that_sum_to_zero_are_deviations_from_the_grand_mean():
    y, sigma = RNG.normal(np.arange(4.0), 1.0, size=(5, 4)), 1.3
    with pm.Model(coords={"day": list("abcd")}) as model:
        mu = pm.Normal("mu", 0, 10)
        effect = pm.ZeroSumNormal("effect", sigma=2, dims="day")
        pm.Normal("y", mu + effect, sigma, observed=y)
    centring = np.eye(4) - 1 / 4
    covariance = np.zeros((5, 5))
    covariance[0, 0] = sigma**2 / 20
    covariance[1:, 1:] = sigma**2 / 5 * centring
    mle = check(
        model,
        {"mu": y.mean(), "effect": y.mean(0) - y.mean()},
        {"mu": sigma / np.sqrt(20), "effect": np.full(4, sigma * np.sqrt(3 / 20))},
        covariance=covariance,
    )
    assert np.linalg.matrix_rank(mle.covariance.to_numpy()[1:, 1:], tol=1e-10) == 3
    assert mle.n_parameters == 4


def test_effects_that_sum_to_zero_along_two_axes_are_doubly_centred():
    y, sigma = RNG.normal(size=(6, 3, 4)), 0.7
    with pm.Model(coords={"row": [10, 20, 30], "column": list("abcd")}) as model:
        effect = pm.ZeroSumNormal("effect", n_zerosum_axes=2, dims=("row", "column"))
        pm.Normal("y", effect, sigma, observed=y)
    cells = y.mean(0)
    centred = cells - cells.mean(0) - cells.mean(1, keepdims=True) + cells.mean()
    covariance = sigma**2 / 6 * np.kron(np.eye(3) - 1 / 3, np.eye(4) - 1 / 4)
    mle = check(
        model,
        {"effect": centred},
        {"effect": np.sqrt(np.diag(covariance)).reshape(3, 4)},
        covariance=covariance,
    )
    assert np.linalg.matrix_rank(mle.covariance.to_numpy(), tol=1e-10) == 2 * 3


# --- Covariances ----------------------------------------------------------------------------------

ROWS = RNG.multivariate_normal([1, -1, 2], [[2, 0.8, 0.2], [0.8, 1, -0.3], [0.2, -0.3, 1.5]], 40)
SIGMA = np.cov(ROWS.T, ddof=0)
LOWER = np.tril_indices(3)


def covariance_of_sigma(sigma, n):
    """``Cov(S_ij, S_kl) = (S_ik S_jl + S_il S_jk) / n`` for the lower triangle.

    Source: Anderson (2003), An introduction to multivariate statistical analysis, 3.4.
    """
    i, j = LOWER
    ik, jl = sigma[np.ix_(i, i)], sigma[np.ix_(j, j)]
    il, jk = sigma[np.ix_(i, j)], sigma[np.ix_(j, i)]
    return (ik * jl + il * jk) / n


def full(lower):
    sigma = np.zeros((3, 3))
    sigma[LOWER] = lower
    return sigma + np.tril(sigma, -1).T


@pytest.fixture(scope="module")
def lkj():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10, shape=3)
        chol, _, _ = pm.LKJCholeskyCov("chol", n=3, eta=2, sd_dist=pm.HalfNormal.dist(2, size=3))
        pm.Deterministic("sigma", chol @ chol.T)
        pm.MvNormal("y", mu, chol=chol, observed=ROWS)
    return fit(model)


def test_lkj_cholesky_gives_the_covariance_matrix_of_the_sample(lkj):
    assert lkj.certificate.converged
    zoo.assert_values(lkj.values, {"mu": ROWS.mean(0), "sigma": SIGMA})
    likelihood = stats.multivariate_normal.logpdf(ROWS, ROWS.mean(0), SIGMA).sum()
    assert lkj.log_likelihood == pytest.approx(likelihood, rel=1e-10)


def test_lkj_cholesky_gives_wishart_standard_errors(lkj):
    variance = np.diag(covariance_of_sigma(SIGMA, 40))
    errors = {"mu": np.sqrt(np.diag(SIGMA) / 40), "sigma": full(np.sqrt(variance))}
    zoo.assert_values(lkj.std_error, errors)


def test_lkj_factor_has_the_delta_method_covariance_of_the_cholesky_factor(lkj):
    def packed(lower):
        return np.linalg.cholesky(full(lower))[LOWER]

    covariance = zoo.delta(packed, SIGMA[LOWER], covariance_of_sigma(SIGMA, 40))
    zoo.assert_values(lkj.values, {"chol": np.linalg.cholesky(SIGMA)[LOWER]})
    zoo.assert_values(lkj.std_error, {"chol": np.sqrt(np.diag(covariance))})
    found = lkj.covariance.to_numpy()
    np.testing.assert_allclose(found[3:, 3:], covariance, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[:3, :3], SIGMA / 40, rtol=1e-7)
    # The mean and the covariance of a Gaussian sample are independent.
    np.testing.assert_allclose(found[:3, 3:], 0, atol=1e-10)


def test_lkj_correlations_and_deviations_have_their_textbook_standard_errors(lkj):
    deviations = np.sqrt(np.diag(SIGMA))
    correlation = SIGMA / np.outer(deviations, deviations)
    zoo.assert_values(lkj.values, {"chol_corr": correlation, "chol_stds": deviations})
    # (1 - rho^2) / sqrt(n), and none on the diagonal, which is one whatever the data.
    errors = (1 - correlation**2) / np.sqrt(40)
    np.fill_diagonal(errors, np.nan)
    expected = {"chol_corr": errors, "chol_stds": deviations / np.sqrt(80)}
    zoo.assert_values(lkj.std_error, expected, atol=1e-8)


def test_lkj_correlation_with_known_variances_solves_the_cubic():
    y = RNG.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 30)
    with pm.Model() as model:
        factor = pm.LKJCorr("factor", n=2, eta=1)
        pm.Deterministic("rho", factor[1, 0])
        pm.MvNormal("y", np.zeros(2), chol=factor, observed=y)
    a, b, c = np.mean(y[:, 0] ** 2), np.mean(y[:, 1] ** 2), np.mean(y[:, 0] * y[:, 1])
    # The derivative of the log-likelihood vanishes: Kendall and Stuart, volume 2, 18.3.
    rho = optimize.brentq(lambda r: r * (1 - r**2) + (1 + r**2) * c - r * (a + b), -0.999, 0.999)

    def log_likelihood(r):
        return stats.multivariate_normal.logpdf(y, [0, 0], [[1, r[0]], [r[0], 1]]).sum()

    se = (-zoo.hessian_of(log_likelihood, [rho])[0, 0]) ** -0.5
    root = np.sqrt(1 - rho**2)
    check(
        model,
        {"rho": rho, "factor": [[1, 0], [rho, root]]},
        {"rho": se, "factor": [[np.nan, np.nan], [se, abs(rho) / root * se]]},
    )


def test_a_wishart_matrix_of_free_covariances_is_that_of_the_sample():
    if not hasattr(tr, "CholeskyCovTransform"):
        pytest.skip("Wishart has no unconstraining transform before PyMC 6.4")
    with pm.Model() as model:
        sigma = pm.Wishart("sigma", nu=5, V=np.eye(3))
        pm.MvNormal("y", ROWS.mean(0), sigma, observed=ROWS)
    errors = full(np.sqrt(np.diag(covariance_of_sigma(SIGMA, 40))))
    mle = check(model, {"sigma": SIGMA}, {"sigma": errors})
    # Nine labels, six free numbers: the upper triangle repeats the lower.
    assert np.linalg.matrix_rank(mle.covariance.to_numpy(), tol=1e-8) == 6


# --- Transforms of the MAP ------------------------------------------------------------------------


def test_map_has_no_jacobian_whatever_the_transform():
    # Half-normal prior and a single observation: mode of log p(y | s) + log p(s), solved by hand.
    def slope(s):
        return -1 / s + 9 / s**3 - s / 4

    mode = optimize.brentq(slope, 0.5, 5)
    curvature = -1 / mode**2 + 27 / mode**4 + 1 / 4
    for transform in (tr.log, tr.log_exp_m1, tr.Interval(0, 20)):
        with pm.Model() as model:
            s = pm.HalfNormal("s", 2, default_transform=transform)
            pm.Normal("y", 0, s, observed=3.0)
        found = pmlik.find_MAP(model, progressbar=False)
        zoo.assert_values(found.values, {"s": mode})
        zoo.assert_values(found.std_error, {"s": curvature**-0.5})


def test_probabilities_with_ordered_cutpoints_have_the_shares_of_the_categories():
    y = np.repeat([0, 1, 2, 3], [5, 8, 4, 3])
    with pm.Model() as model:
        cut = pm.Normal("cut", 0, 5, shape=3, transform=tr.ordered, initval=[-1.0, 0.0, 1.0])
        pm.OrderedLogistic("y", eta=0, cutpoints=cut, observed=y, compute_p=False)
    below = np.cumsum([5, 8, 4]) / 20
    slope = 1 / (below * (1 - below))
    shared = np.minimum.outer(below, below) - np.outer(below, below)
    covariance = shared / 20 * np.outer(slope, slope)
    check(
        model,
        {"cut": special.logit(below)},
        {"cut": np.sqrt(np.diag(covariance))},
        covariance=covariance,
    )


def test_a_single_element_of_a_simplex_without_data_stays_at_the_border():
    # No one voted for the last: its share is zero at the maximum, on the edge of the simplex.
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.full(3, 2.0))
        pm.Multinomial("y", n=10, p=p, observed=np.array([6, 4, 0]))
    mle = fit(model)
    assert np.isnan(mle.std_error["p"][2])
    # The data do determine it, and no combination is at fault: it is at a border.
    codes = {flag.code for flag in mle.flags}
    assert FlagCode.NOT_IDENTIFIED not in codes
    # A share can't run off, and what has no value is flagged.
    assert FlagCode.AT_INFINITY not in codes
    named = {label for flag in mle.flags for label in flag.variables}
    lacking = np.flatnonzero(np.isnan(mle.values["p"]))
    assert {f"p[{i}]" for i in lacking} <= named
    assert not mle.trusted or not lacking.size
