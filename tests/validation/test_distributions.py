"""Families of likelihoods: numbers against SciPy."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import special, stats

from oracles import zoo
from oracles.fits import check_against_scipy, codes, fit
from oracles.samples import CENTRE, SD, SE_MU, SE_SD, Y
from pmlik import FlagCode

RNG = np.random.default_rng(7)


# --- Censored, truncated, mixed -------------------------------------------------------------------


def test_censored_exponential_is_failures_over_time_at_risk():
    y, limit = np.array([0.5, 1.2, 3.0, 0.8, 3.0, 3.0]), 3.0
    with pm.Model() as model:
        rate = pm.HalfNormal("rate", 2)
        pm.Censored("y", pm.Exponential.dist(rate), lower=None, upper=limit, observed=y)
    found = fit(model)
    mle = 3 / y.sum()
    zoo.assert_values(found.values, {"rate": mle})
    zoo.assert_values(found.std_error, {"rate": mle / np.sqrt(3)})


def test_censored_normal_is_the_tobit_likelihood():
    y = np.array([0.0, 0.0, 0.0, 1.3, 0.4, 2.2, 0.9, 1.8])
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", 5)
        pm.Censored("y", pm.Normal.dist(mu, sigma), lower=0.0, upper=None, observed=y)

    def tobit(t):
        inside = stats.norm.logpdf(y[3:], t[0], t[1]).sum()
        return inside + 3 * stats.norm.logcdf(0, t[0], t[1]) if t[1] > 0 else -np.inf

    check_against_scipy(model, ["mu", "sigma"], tobit, [0.5, 1.0])


@pytest.fixture(scope="module")
def censored_gamma():
    y = np.array([0.6, 1.4, 2.2, 3.1, 0.9, 1.8, 4.0, 4.0, 2.7, 4.0])
    with pm.Model() as model:
        alpha, beta = pm.HalfNormal("alpha", 5), pm.HalfNormal("beta", 5)
        pm.Censored("y", pm.Gamma.dist(alpha, beta), lower=None, upper=4.0, observed=y)
    return y, model, fit(model)


@pytest.mark.slow  # its fixture takes half a minute
def test_censored_gamma_is_right_although_its_cdf_has_no_second_derivative(censored_gamma):
    y, model, mle = censored_gamma

    def log_likelihood(t):
        if min(t) <= 0:
            return -np.inf
        gamma = stats.gamma(t[0], scale=1 / t[1])
        return gamma.logpdf(y[y < 4]).sum() + 3 * gamma.logsf(4.0)

    check_against_scipy(model, ["alpha", "beta"], log_likelihood, [2.0, 0.7], rtol=1e-5, mle=mle)
    assert FlagCode.HESSIAN_BY_DIFFERENCES in codes(mle)


def test_truncated_exponential_solves_its_moment_equation():
    y, limit = np.array([0.2, 0.9, 0.4, 1.1, 0.3]), 2.0
    with pm.Model() as model:
        rate = pm.Normal("rate", 1, 5, initval=1.0, transform=pm.distributions.transforms.log)
        pm.Truncated("y", pm.Exponential.dist(rate), upper=limit, observed=y)

    def log_likelihood(t):
        if t[0] <= 0:
            return -np.inf
        return len(y) * np.log(t[0] / -np.expm1(-t[0] * limit)) - t[0] * y.sum()

    check_against_scipy(model, ["rate"], log_likelihood, [1.0])


def test_truncated_normal_is_the_normal_over_its_mass():
    y = np.array([0.3, 1.7, 2.2, 0.8, 1.1, 3.4, 0.5])
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu", 1, 5), pm.HalfNormal("sigma", 3)
        pm.Truncated("y", pm.Normal.dist(mu, sigma), lower=0.0, upper=4.0, observed=y)

    def log_likelihood(t):
        if t[1] <= 0:
            return -np.inf
        normal = stats.norm(t[0], t[1])
        return normal.logpdf(y).sum() - len(y) * np.log(normal.cdf(4) - normal.cdf(0))

    check_against_scipy(model, ["mu", "sigma"], log_likelihood, [1.5, 1.0], rtol=1e-5)


MIXED = np.concatenate([RNG.normal(-2, 0.8, 25), RNG.normal(2, 1.1, 35)])


@pytest.mark.parametrize("how", ["NormalMixture", "Mixture"])
def test_a_mixture_of_two_normals_is_what_scipy_finds(how):
    with pm.Model() as model:
        w = pm.Beta("w", 1, 1)
        left, right = pm.Normal("left", -1, 5), pm.Normal("right", 1, 5)
        sd = pm.HalfNormal("sd", 2)
        weights, centres = pt.stack([w, 1 - w]), pt.stack([left, right])
        if how == "Mixture":
            parts = pm.Normal.dist(centres, sd)
            pm.Mixture("y", w=weights, comp_dists=parts, observed=MIXED)
        else:
            pm.NormalMixture("y", w=weights, mu=centres, sigma=sd, observed=MIXED)

    def log_likelihood(t):
        if not (0 < t[0] < 1 and t[3] > 0):
            return -np.inf
        left = np.log(t[0]) + stats.norm.logpdf(MIXED, t[1], t[3])
        return np.logaddexp(left, np.log1p(-t[0]) + stats.norm.logpdf(MIXED, t[2], t[3])).sum()

    names = ["w", "left", "right", "sd"]
    check_against_scipy(model, names, log_likelihood, [0.4, -2, 2, 1], rtol=1e-5)


# --- Custom densities -----------------------------------------------------------------------------


def laplace_logp(value, mu, b):
    return -pt.log(2 * b) - pt.sqrt((value - mu) ** 2 + 0.01) / b


def smooth_laplace_dist(mu, b, size):
    return mu + b * pm.Normal.dist(0, 1, size=size)


def test_a_custom_logp_is_maximised_as_it_is_written():
    with pm.Model() as model:
        mu, b = pm.Normal("mu", 5, 5), pm.HalfNormal("b", 3)
        pm.CustomDist("y", mu, b, logp=laplace_logp, observed=Y)

    def log_likelihood(t):
        if t[1] <= 0:
            return -np.inf
        return -8 * np.log(2 * t[1]) - np.sqrt((Y - t[0]) ** 2 + 0.01).sum() / t[1]

    check_against_scipy(model, ["mu", "b"], log_likelihood, [5.3, 1.0], rtol=1e-5)


def test_a_custom_dist_has_the_density_that_pymc_derives_for_it():
    with pm.Model() as model:
        mu, b = pm.Normal("mu", 5, 5), pm.HalfNormal("b", 3)
        pm.CustomDist("y", mu, b, dist=smooth_laplace_dist, observed=Y)
    found = fit(model)
    zoo.assert_values(found.values, {"mu": CENTRE, "b": SD})
    zoo.assert_values(found.std_error, {"mu": SE_MU, "b": SE_SD})


# --- Counts and categories ------------------------------------------------------------------------


ZEROS = np.array([0, 0, 0, 0, 0, 2, 3, 1, 4, 2, 0, 5])


def test_zero_inflated_poisson_is_what_scipy_finds():
    with pm.Model() as model:
        psi, mu = pm.Beta("psi", 1, 1), pm.HalfNormal("mu", 5)
        pm.ZeroInflatedPoisson("y", psi=psi, mu=mu, observed=ZEROS)

    def log_likelihood(t):
        if not (0 < t[0] < 1 and t[1] > 0):
            return -np.inf
        pmf = t[0] * stats.poisson.pmf(ZEROS, t[1]) + (1 - t[0]) * (ZEROS == 0)
        return np.log(pmf).sum()

    check_against_scipy(model, ["psi", "mu"], log_likelihood, [0.6, 2.0])


def test_hurdle_poisson_separates_into_a_share_and_a_truncated_count():
    with pm.Model() as model:
        psi, mu = pm.Beta("psi", 1, 1), pm.HalfNormal("mu", 5)
        pm.HurdlePoisson("y", psi=psi, mu=mu, observed=ZEROS)

    def log_likelihood(t):
        if not (0 < t[0] < 1 and t[1] > 0):
            return -np.inf
        positive = ZEROS[ZEROS > 0]
        counts = stats.poisson.logpmf(positive, t[1]) - np.log(-np.expm1(-t[1]))
        return (len(ZEROS) - len(positive)) * np.log1p(-t[0]) + (np.log(t[0]) + counts).sum()

    mle = check_against_scipy(model, ["psi", "mu"], log_likelihood, [0.5, 2.5])
    assert float(mle.values["psi"]) == pytest.approx(0.5)  # six of twelve are positive


def test_categorical_shares_are_the_frequencies():
    y = np.repeat([0, 1, 2], [4, 1, 5])
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(3))
        pm.Categorical("y", p=p, observed=y)
    share = np.array([0.4, 0.1, 0.5])
    found = fit(model)
    zoo.assert_values(found.values, {"p": share})
    zoo.assert_values(found.std_error, {"p": np.sqrt(share * (1 - share) / 10)})
    assert found.n_observations == 10


def test_literal_integers_do_not_cost_precision():
    # PyTensor holds the literal 20 in eight bits, and takes its log-factorial in single
    # precision: 6e-7 off.
    y = np.array([5, 7, 8])
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(3))
        pm.Multinomial("y", n=20, p=p, observed=y)
    expected = stats.multinomial.logpmf(y, 20, y / 20)
    assert fit(model).log_likelihood == pytest.approx(expected, rel=1e-10)


def test_multinomial_rows_by_softmax_are_logits_of_the_shares():
    y = np.array([[3, 5, 2], [6, 1, 3]])
    with pm.Model() as model:
        eta = pm.Normal("eta", 0, 5, shape=2)
        p = pm.math.softmax(pt.concatenate([[0.0], eta]))
        pm.Multinomial("y", n=10, p=p, observed=y)
    total = y.sum(0)
    # Var of a log ratio of counts: 1 / n_k + 1 / n_0.
    found = fit(model)
    zoo.assert_values(found.values, {"eta": np.log(total[1:] / total[0])})
    zoo.assert_values(found.std_error, {"eta": np.sqrt(1 / total[1:] + 1 / total[0])})
    assert found.n_observations == 2


def test_ordered_logistic_with_a_covariate_is_what_scipy_finds():
    x = np.linspace(-2, 2, 30)
    y = np.clip(np.round(1 + 0.8 * x + RNG.logistic(0, 0.6, 30)), 0, 2).astype(int)
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 2)
        cut = pm.Normal(
            "cut", 0, 5, shape=2, transform=pm.distributions.transforms.ordered, initval=[-1, 1]
        )
        pm.Deterministic("first", cut[0])
        pm.Deterministic("second", cut[1])
        pm.OrderedLogistic("y", eta=slope * x, cutpoints=cut, observed=y)

    def log_likelihood(t):
        edges = np.array([-np.inf, t[1], t[2], np.inf])
        with np.errstate(all="ignore"):
            p = special.expit(edges[y + 1] - t[0] * x) - special.expit(edges[y] - t[0] * x)
            return np.log(p).sum()

    check_against_scipy(model, ["slope", "first", "second"], log_likelihood, [1.0, -1, 1])


# --- Continuous families --------------------------------------------------------------------------


def test_student_t_with_free_degrees_of_freedom_is_what_scipy_finds():
    y = stats.t.rvs(4, loc=1, scale=2, size=80, random_state=3)
    with pm.Model() as model:
        nu, mu = pm.Gamma("nu", 2, 0.1), pm.Normal("mu", 0, 5)
        sigma = pm.HalfNormal("sigma", 5)
        pm.StudentT("y", nu=nu, mu=mu, sigma=sigma, observed=y)

    def log_likelihood(t):
        return stats.t.logpdf(y, *t).sum() if t[0] > 0 and t[2] > 0 else -np.inf

    check_against_scipy(model, ["nu", "mu", "sigma"], log_likelihood, [4, 1, 2], rtol=1e-5)


DIRECTIONS = np.array([0.3, -0.4, 0.9, 1.5, 0.1, -1.2, 0.6, 0.2])


def von_mises(extra=None):
    with pm.Model() as model:
        mu, kappa = pm.VonMises("mu", 0, 0.5), pm.HalfNormal("kappa", 5)
        pm.VonMises("y", mu, kappa, observed=DIRECTIONS)
        if extra is not None:
            extra()
    return model


def von_mises_oracle():
    # Mardia and Jupp (2000), Directional statistics, 5.3.1: A(kappa) = Rbar, and orthogonal.
    length = np.hypot(np.cos(DIRECTIONS).mean(), np.sin(DIRECTIONS).mean())
    kappa, _ = zoo.maximise(
        lambda t: stats.vonmises.logpdf(DIRECTIONS - CENTRE_OF_DIRECTIONS, t[0]).sum(), [2.0]
    )
    ratio = special.ive(1, kappa[0]) / special.ive(0, kappa[0])
    assert ratio == pytest.approx(length)
    information = 8 * (1 - ratio / kappa[0] - ratio**2)
    return kappa[0], (8 * kappa[0] * length) ** -0.5, information**-0.5


CENTRE_OF_DIRECTIONS = np.arctan2(np.sin(DIRECTIONS).sum(), np.cos(DIRECTIONS).sum())


def test_von_mises_with_free_concentration_falls_back_to_finite_differences():
    kappa, se_mu, se_kappa = von_mises_oracle()
    found = fit(von_mises())
    zoo.assert_values(found.values, {"mu": CENTRE_OF_DIRECTIONS, "kappa": kappa}, rtol=1e-6)
    zoo.assert_values(found.std_error, {"mu": se_mu, "kappa": se_kappa}, rtol=1e-5)
    assert found.certificate.converged


@pytest.mark.parametrize("offset", [2e3, 1e6])
def test_finite_differences_keep_to_the_scale_of_each_coordinate(offset):
    # A year, or an income, next to a concentration: the step for one is nothing to the other.
    y = offset + np.array([0.0, 1.0, 5.0, 2.0])

    def extra():
        level = pm.Normal("level", offset, 100.0)
        pm.Normal("z", level, 2.0, observed=y)

    kappa, se_mu, se_kappa = von_mises_oracle()
    found = fit(von_mises(extra))
    zoo.assert_values(found.values, {"kappa": kappa, "level": y.mean()}, rtol=1e-6)
    zoo.assert_values(found.std_error, {"mu": se_mu, "kappa": se_kappa, "level": 1.0}, rtol=1e-4)


def test_finite_differences_still_see_what_is_not_identified():
    # Differences leave noise where the exact Hessian has a zero.
    def extra():
        a, b = pm.Normal("a", 0, 1), pm.Normal("b", 0, 1)
        pm.Normal("z", a + b, 1.0, observed=np.array([0.3, 1.9, -0.7]))

    kappa, se_mu, se_kappa = von_mises_oracle()
    found = fit(von_mises(extra))
    zoo.assert_values(found.values, {"kappa": kappa, "a": np.nan, "b": np.nan}, rtol=1e-6)
    zoo.assert_values(found.std_error, {"mu": se_mu, "kappa": se_kappa}, rtol=1e-4)
    assert FlagCode.NOT_IDENTIFIED in codes(found)


def test_multivariate_normal_with_a_structured_covariance_is_what_scipy_finds():
    rows = RNG.multivariate_normal([0, 0, 0], 0.4 + 0.6 * np.eye(3), 25) * 1.5
    with pm.Model() as model:
        rho, sd = pm.Uniform("rho", -0.4, 1), pm.HalfNormal("sd", 5)
        cov = sd**2 * (rho + (1 - rho) * pt.eye(3))
        pm.MvNormal("y", np.zeros(3), cov, observed=rows)

    def log_likelihood(t):
        if not -0.5 < t[0] < 1:
            return -np.inf
        cov = t[1] ** 2 * (t[0] + (1 - t[0]) * np.eye(3))
        return stats.multivariate_normal.logpdf(rows, np.zeros(3), cov).sum()

    check_against_scipy(model, ["rho", "sd"], log_likelihood, [0.3, 1.5])


@pytest.mark.parametrize("y", [Y[:7], Y], ids=["kink at the median", "flat between the medians"])
def test_a_likelihood_that_is_not_smooth_at_its_maximum_has_no_standard_error(y):
    # The Laplace likelihood is highest at the median, where it has no second derivative.
    with pm.Model() as model:
        mu = pm.Normal("mu", 5, 10)
        pm.Laplace("y", mu, 1.0, observed=y)
    found = fit(model)
    assert np.isnan(found.std_error["mu"])
    assert found.flags


def test_beta_binomial_counts_are_what_scipy_finds():
    y = np.array([1, 7, 3, 10, 5, 2, 9, 4])
    with pm.Model() as model:
        a, b = pm.HalfNormal("a", 5), pm.HalfNormal("b", 5)
        pm.BetaBinomial("y", a, b, n=12, observed=y)

    def log_likelihood(t):
        return stats.betabinom.logpmf(y, 12, *t).sum() if min(t) > 0 else -np.inf

    check_against_scipy(model, ["a", "b"], log_likelihood, [1.5, 1.8], rtol=1e-5)


def test_weibull_lifetimes_are_what_scipy_finds():
    with pm.Model() as model:
        alpha, beta = pm.HalfNormal("alpha", 5), pm.HalfNormal("beta", 10)
        pm.Weibull("y", alpha, beta, observed=Y)

    def log_likelihood(t):
        if min(t) <= 0:
            return -np.inf
        return stats.weibull_min.logpdf(Y, t[0], scale=t[1]).sum()

    check_against_scipy(model, ["alpha", "beta"], log_likelihood, [4.0, 6.0], rtol=1e-5)


# --- Named dimensions -----------------------------------------------------------------------------


def test_a_model_of_pymc_dims_is_estimated_with_its_coords():
    pmd = pytest.importorskip("pymc.dims")
    y = RNG.normal([1.0, 3.0, 5.0], 1.0, size=(6, 3))
    with pm.Model(coords={"obs": range(6), "group": ["a", "b", "c"]}) as model:
        mu = pmd.Normal("mu", 0, 10, dims="group")
        sigma = pmd.HalfNormal("sigma", 5)
        pmd.Deterministic("double", 2 * mu)
        data = pmd.Data("data", y, dims=("obs", "group"))
        pmd.Normal("y", mu, sigma, observed=data)
    found = fit(model)
    sd = np.sqrt(np.mean((y - y.mean(0)) ** 2))
    se = np.full(3, sd / np.sqrt(6))
    zoo.assert_values(found.values, {"mu": y.mean(0), "sigma": sd, "double": 2 * y.mean(0)})
    zoo.assert_values(found.std_error, {"mu": se, "sigma": sd / 6, "double": 2 * se})
    assert list(found.values["mu"].coords["group"].values) == ["a", "b", "c"]
    assert found.n_observations == 18


def test_a_zero_sum_vector_of_pymc_dims_has_the_centred_covariance():
    pmd = pytest.importorskip("pymc.dims")
    y = RNG.normal(size=(5, 3))
    with pm.Model(coords={"obs": range(5), "group": ["a", "b", "c"]}) as model:
        effect = pmd.ZeroSumNormal("effect", sigma=1, core_dims="group")
        pmd.Normal("y", effect, 1.0, observed=pmd.Data("data", y, dims=("obs", "group")))
    found = fit(model)
    zoo.assert_values(found.values, {"effect": y.mean(0) - y.mean()})
    zoo.assert_values(found.std_error, {"effect": np.full(3, np.sqrt(2 / 15))})
