"""Families of likelihoods, derived quantities, data containers: numbers against SciPy."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pymc.exceptions import ImputationWarning
from scipy import special, stats

import pmlik
from oracles import zoo
from oracles.fits import codes, fit
from pmlik import FlagCode

RNG = np.random.default_rng(7)
Y = np.array([4.1, 5.9, 7.2, 3.8, 6.5, 5.1, 8.0, 4.4])


def check_against_scipy(model, names, log_likelihood, start, *, rtol=1e-6, mle=None):
    """Compare scalars with what SciPy's optimiser and finite differences find for a NumPy density.

    ``names`` are scalar parameters, in the order of the density's argument.
    """
    mle = fit(model) if mle is None else mle
    assert mle.certificate.converged, mle.flags
    at, covariance = zoo.maximise(log_likelihood, start)
    found = [float(mle.values[name]) for name in names]
    errors = [float(mle.std_error[name]) for name in names]
    np.testing.assert_allclose(found, at, rtol=rtol, atol=1e-7)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=10 * rtol)
    assert mle.log_likelihood == pytest.approx(log_likelihood(at), rel=1e-9)
    return mle


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


CENTRE, SD = Y.mean(), Y.std()
SE_MU, SE_SD = SD / np.sqrt(8), SD / np.sqrt(16)


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
    zoo.assert_values(derived.std_error, {"constant": 0.0, "total_weight": 0.0})


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


# --- Series ---------------------------------------------------------------------------------------

SERIES = np.array([0.5, 1.1, 0.4, -0.3, 0.2, 0.9, 1.6, 1.0, 0.1, -0.6, -0.2, 0.7, 1.2])


def test_an_autoregression_is_least_squares_on_the_lag():
    # The first value has a density of its own, Normal(0, 2), without parameters.
    with pm.Model() as model:
        rho, sigma = pm.Normal("rho", 0, 1), pm.HalfNormal("sigma", 2)
        first = pm.Normal.dist(0, 2)
        pm.AR("y", rho=pt.stack([rho]), sigma=sigma, init_dist=first, observed=SERIES)
    before, after = SERIES[:-1], SERIES[1:]
    mle = before @ after / (before @ before)
    sd = np.sqrt(np.mean((after - mle * before) ** 2))
    found = fit(model)
    zoo.assert_values(found.values, {"rho": mle, "sigma": sd})
    zoo.assert_values(
        found.std_error, {"rho": sd / np.sqrt(before @ before), "sigma": sd / 24**0.5}
    )
    expected = stats.norm.logpdf(after, mle * before, sd).sum() + stats.norm.logpdf(0.5, 0, 2)
    assert found.log_likelihood == pytest.approx(expected, rel=1e-9)


def test_a_random_walk_has_the_root_mean_square_of_its_steps():
    steps = np.diff(SERIES)
    with pm.Model() as model:
        drift, sigma = pm.Normal("drift", 0, 1), pm.HalfNormal("sigma", 2)
        first = pm.Normal.dist(0, 2)
        pm.GaussianRandomWalk("y", mu=drift, sigma=sigma, init_dist=first, observed=SERIES)
    found = fit(model)
    sd = steps.std()
    zoo.assert_values(found.values, {"drift": steps.mean(), "sigma": sd}, atol=1e-8)
    zoo.assert_values(found.std_error, {"drift": sd / 12**0.5, "sigma": sd / 24**0.5})
    assert found.n_observations == 13


def gaussian_process(initval):
    x = np.linspace(0, 3, 13)
    with pm.Model() as model:
        length = pm.HalfNormal("length", 2, initval=initval)
        noise = pm.HalfNormal("noise", 1)
        process = pm.gp.Marginal(cov_func=pm.gp.cov.ExpQuad(1, ls=length))
        process.marginal_likelihood("y", X=x[:, None], y=SERIES, sigma=noise, jitter=0.0)
    return x, model


def test_a_gaussian_process_with_free_length_scale_is_what_scipy_finds():
    x, model = gaussian_process(0.5)

    def log_likelihood(t):
        if min(t) <= 0:
            return -np.inf
        cov = np.exp(-0.5 * ((x[:, None] - x) / t[0]) ** 2) + t[1] ** 2 * np.eye(13)
        return stats.multivariate_normal.logpdf(SERIES, np.zeros(13), cov)

    mle = check_against_scipy(model, ["length", "noise"], log_likelihood, [0.5, 0.3], rtol=1e-5)
    assert mle.n_observations == 13


def test_a_length_scale_that_runs_off_is_not_certified():
    # From PyMC's start the length grows: as the process becomes a constant, the likelihood
    # levels off, at -14.25 where the maximum is -8.69.
    _, model = gaussian_process(None)
    found = fit(model, random_seed=1)
    assert not found.trusted or found.log_likelihood == pytest.approx(-8.6859145, rel=1e-7)


def garch_variances(t, y):
    variances = [1.0]
    for value in y[:-1]:
        variances.append(t[0] + t[1] * value**2 + t[2] * variances[-1])
    return np.array(variances)


def test_garch_is_what_scipy_finds_for_its_recursion():
    rng = np.random.default_rng(11)
    y, variance = [], 1.0
    for _ in range(300):
        y.append(rng.normal(0, np.sqrt(variance)))
        variance = 0.3 + 0.35 * y[-1] ** 2 + 0.4 * variance
    y = np.array(y)
    with pm.Model() as model:
        omega = pm.HalfNormal("omega", 1)
        alpha, beta = pm.Beta("alpha", 1, 1), pm.Beta("beta", 1, 1)
        pm.GARCH11("y", omega=omega, alpha_1=alpha, beta_1=beta, initial_vol=1.0, observed=y)

    def log_likelihood(t):
        if min(t) <= 0:
            return -np.inf
        return stats.norm.logpdf(y, 0, np.sqrt(garch_variances(t, y))).sum()

    check_against_scipy(
        model, ["omega", "alpha", "beta"], log_likelihood, [0.3, 0.3, 0.4], rtol=1e-5
    )


def test_a_users_scan_is_differentiated_through():
    # Exponential smoothing: each value is expected at the level that the errors so far made.
    with pm.Model() as model:
        gain = pm.Normal("gain", 0.5, 1)
        levels = pytensor.scan(
            lambda y, level, gain: level + gain * (y - level),
            sequences=[pt.as_tensor(SERIES[:-1])],
            outputs_info=[pt.as_tensor(0.0, dtype="float64")],
            non_sequences=[gain],
            return_updates=False,
        )
        pm.Normal("y", levels, 0.5, observed=SERIES[1:])

    def log_likelihood(t):
        level, total = 0.0, 0.0
        for y, after in pairwise(SERIES):
            level += t[0] * (y - level)
            total += stats.norm.logpdf(after, level, 0.5)
        return total

    check_against_scipy(model, ["gain"], log_likelihood, [0.5])
