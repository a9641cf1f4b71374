"""Models with latents: marginal estimates against lme4, glmmTMB and closed forms."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import optimize, stats
from scipy.special import gammaln

import pmlik
from oracles.fits import fit_latent_case, flat, numbers
from oracles.latent_models import LATENT_CASES, cbpp, eight_schools
from oracles.reference_models import data, truth

FORMS = [True, False]


@pytest.mark.parametrize("centred", FORMS)
@pytest.mark.parametrize("case", LATENT_CASES)
def test_estimates_and_errors_are_those_of_lme4_and_glmmtmb(case, centred) -> None:
    expected, mle = truth(case), fit_latent_case(case, centred)
    names = LATENT_CASES[case][1]
    se, estimates = numbers(expected["se"]), numbers(expected["estimates"])
    unit = np.where(np.isnan(se), 1.0, se)
    np.testing.assert_allclose((flat(mle.values, names) - estimates) / unit, 0, atol=1e-6)
    np.testing.assert_allclose(flat(mle.std_error, names), se, rtol=1e-6)
    assert mle.log_likelihood == pytest.approx(expected["loglik"], abs=1e-8)
    assert mle.trusted
    assert mle.certificate.converged


@pytest.mark.parametrize("case", LATENT_CASES)
def test_both_forms_have_the_same_likelihood_wherever_one_looks(case) -> None:
    build = LATENT_CASES[case][0]
    one, other = (pmlik.Likelihood(build(centred=centred), progressbar=False) for centred in FORMS)
    at = {
        name: (1.3 + 0.1 * np.arange(array.size)).reshape(array.shape)
        for name, array in one.template.data_vars.items()
    }
    if "b0" in at:
        at["b0"] = data(case)["Yield"].mean() + 1.0
    assert float(one.log(at)) == pytest.approx(float(other.log(at)), rel=1e-11)


@pytest.mark.parametrize("case", ["05_dyestuff2_boundary", "06_eight_schools_marginal"])
@pytest.mark.parametrize("centred", FORMS)
def test_a_variance_of_zero_is_exactly_zero_and_said(case, centred) -> None:
    mle, (name,) = fit_latent_case(case, centred), LATENT_CASES[case][1][-1:]
    assert float(mle.values[name]) == 0.0
    assert np.isnan(mle.std_error[name])
    assert {name} in [set(f.variables) for f in mle.flags if f.code.name == "AT_BOUNDARY"]
    assert mle.statuses[name] == pmlik.Status.LOWER_BOUNDARY


@pytest.mark.parametrize("centred", FORMS)
@pytest.mark.parametrize("case", LATENT_CASES)
def test_profile_intervals_are_the_published_ones(case, centred) -> None:
    expected, names = truth(case), LATENT_CASES[case][1]
    found = pmlik.interval_profile(
        fit_latent_case(case, centred), var_names=names, progressbar=False
    )
    ends = np.concatenate([found[name].to_numpy().reshape(-1, 2) for name in names])
    se = numbers(expected["se"])
    unit = np.where(np.isnan(se), 1.0, se)[:, None]
    published = np.array(list(expected["profile_ci95"].values()))
    np.testing.assert_allclose((ends - published) / unit, 0, atol=1e-5)
    at_zero = published[:, 0] == 0
    assert at_zero.any() == (case in ("05_dyestuff2_boundary", "06_eight_schools_marginal"))
    assert (ends[at_zero, 0] == 0).all()


@pytest.mark.parametrize("centred", FORMS)
def test_conditional_modes_are_lme4s_ranef(centred) -> None:
    for case in ("05_dyestuff", "05_cbpp_glmm"):
        modes = fit_latent_case(case, centred).latents.values["u"]
        (expected,) = truth(case)["random_effects_mode"].values()
        expected = expected["(Intercept)"]
        found = [float(modes.sel({modes.dims[0]: label})) for label in expected]
        np.testing.assert_allclose(found, list(expected.values()), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("centred", FORMS)
def test_conditional_modes_of_correlated_effects_are_labelled(centred) -> None:
    modes = fit_latent_case("05_sleepstudy_slope", centred).latents.values["u"]
    expected = truth("05_sleepstudy_slope")["random_effects_mode"]["Subject"]
    for term, name in (("(Intercept)", "Intercept"), ("Days", "Days")):
        found = [float(modes.sel(subject=label, term=name)) for label in expected[term]]
        np.testing.assert_allclose(found, list(expected[term].values()), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("centred", FORMS)
def test_conditional_deviations_are_those_of_the_normal_one_way_layout(centred) -> None:
    mle = fit_latent_case("05_dyestuff", centred)
    sd, sigma = float(mle.values["sd"]), float(mle.values["sigma"])
    expected = np.sqrt(1 / (1 / sd**2 + 5 / sigma**2))
    assert mle.latents.exact
    np.testing.assert_allclose(mle.latents.std_error["u"], expected, rtol=1e-8)


def test_a_model_without_latents_has_no_conditional_modes() -> None:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 10), 1.0, observed=[1.0, 2.0])
    assert pmlik.find_MLE(model, progressbar=False).latents is None


# --- closed forms ---------------------------------------------------------------------------------


def test_one_latent_of_one_observation() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        a = pm.Normal("a", mu, 3)
        pm.Normal("y", a, 2, observed=4.0)
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    assert float(mle.values["mu"]) == pytest.approx(4, abs=1e-8)
    assert float(mle.std_error["mu"]) == pytest.approx(np.sqrt(13), rel=1e-8)
    assert mle.log_likelihood == pytest.approx(stats.norm.logpdf(0, scale=np.sqrt(13)), abs=1e-12)
    assert "FEW_LATENTS" in {flag.code.name for flag in mle.flags}


def test_the_marginal_map_is_that_of_the_closed_form() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        a = pm.Normal("a", mu, 3)
        pm.Normal("y", a, 2, observed=4.0)
    found = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    assert float(found.values["mu"]) == pytest.approx(4 * 100 / 113, abs=1e-8)


PUMPS = np.array([5, 1, 5, 14, 3, 19, 1, 1, 4, 22])
HOURS = np.array([94.3, 15.7, 62.9, 126, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5])


def pumps() -> pm.Model:
    """Gaver and O'Muircheartaigh (1987): failures of ten pumps, gamma rates."""
    with pm.Model() as model:
        alpha, beta = pm.Exponential("alpha", 1), pm.Gamma("beta", 0.1, 1.0)
        rate = pm.Gamma("rate", alpha, beta, shape=10)
        pm.Poisson("y", rate * HOURS, observed=PUMPS)
    return model


def pumps_closed_form(alpha: float, beta: float) -> float:
    y, t = PUMPS, HOURS
    terms = gammaln(alpha + y) - gammaln(alpha) - gammaln(y + 1) + alpha * np.log(beta)
    return float((terms + y * np.log(t) - (alpha + y) * np.log(beta + t)).sum())


def test_quadrature_of_positive_latents_is_the_gamma_poisson_integral() -> None:
    mle = pmlik.find_MLE(pumps(), random_seed=1, progressbar=False, quadrature=60)
    best = optimize.minimize(
        lambda p: -pumps_closed_form(*np.exp(p)),
        [0.0, 0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-13},
    )
    assert best.fun == pytest.approx(32.2578, abs=1e-4)
    assert mle.log_likelihood == pytest.approx(-best.fun, abs=1e-4)
    found = np.array([float(mle.values["alpha"]), float(mle.values["beta"])])
    se = np.array([float(mle.std_error["alpha"]), float(mle.std_error["beta"])])
    np.testing.assert_allclose((found - np.exp(best.x)) / se, 0, atol=1e-3)


def test_laplace_of_positive_latents_says_how_far_it_is_off() -> None:
    mle = pmlik.find_MLE(pumps(), random_seed=1, progressbar=False)
    exact = pumps_closed_form(float(mle.values["alpha"]), float(mle.values["beta"]))
    assert mle.log_likelihood < exact - 0.1
    codes = {flag.code.name: flag for flag in mle.flags}
    assert codes.keys() & {"LAPLACE_CHECKED", "LAPLACE_NOT_CHECKED"}
    flag = codes.get("LAPLACE_CHECKED") or codes["LAPLACE_NOT_CHECKED"]
    assert flag.severity == "warning"


def test_quadrature_of_cbpp_is_lme4s_with_25_nodes() -> None:
    expected = truth("05_cbpp_glmm")["exact"]
    lik = pmlik.Likelihood(cbpp(centred=True), quadrature=25, progressbar=False)
    values = list(expected["estimates"].values())
    at = {"b": values[:4], "sd": values[4]}
    assert float(lik.log(at)) == pytest.approx(expected["loglik"], abs=1e-8)
    gradient = lik.gradient(at)
    se = np.array(list(expected["se"].values()))
    np.testing.assert_allclose(flat(gradient, ["b", "sd"]) * se, 0, atol=1e-5)


def test_latents_that_meet_are_refused_by_quadrature() -> None:
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("a"), shape=2)
        v = pm.Normal("v", 0, pm.HalfNormal("b"), shape=3)
        eta = u[np.arange(6) // 3] + v[np.arange(6) % 3]
        pm.Poisson("y", pt.exp(eta), observed=[1, 2, 3, 4, 5, 6])
    with pytest.raises(pmlik.ModelError, match="quadrature: the latents meet"):
        pmlik.find_MLE(model, progressbar=False, quadrature=5)


N = 40
WALK = np.cumsum(np.random.default_rng(3).normal(0, 0.7, N))
SEEN = WALK + np.random.default_rng(4).normal(0, 1.2, N)


def random_walk(*, centred: bool) -> pm.Model:
    with pm.Model() as model:
        step, noise = pm.HalfNormal("step", 2), pm.HalfNormal("noise", 2)
        if centred:
            first = pm.Normal.dist(0, 10)
            state = pm.GaussianRandomWalk("state", sigma=step, init_dist=first, steps=N - 1)
        else:
            start, z = pm.Normal("start", 0, 10), pm.Normal("z", 0, 1, shape=N - 1)
            state = pt.concatenate([start[None], start + step * pt.cumsum(z)])
        pm.Normal("y", state, noise, observed=SEEN)
    return model


def kalman(step: float, noise: float) -> float:
    """The exact likelihood by the Kalman filter."""
    mean, variance, total = 0.0, 100.0, 0.0
    for y in SEEN:
        total += stats.norm.logpdf(y, mean, np.sqrt(variance + noise**2))
        gain = variance / (variance + noise**2)
        mean, variance = mean + gain * (y - mean), (1 - gain) * variance + step**2
    return float(total)


def test_a_random_walk_has_the_kalman_likelihood_and_costs_three_products() -> None:
    mle = pmlik.find_MLE(random_walk(centred=True), random_seed=1, progressbar=False)
    best = optimize.minimize(
        lambda p: -kalman(*np.exp(p)),
        [0.0, 0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-13},
    )
    found = np.array([float(mle.values["step"]), float(mle.values["noise"])])
    np.testing.assert_allclose(found, np.exp(best.x), rtol=1e-6)
    assert mle.log_likelihood == pytest.approx(-best.fun, abs=1e-9)
    assert mle.prepared.problem.likelihood.laplace.pattern.n_colours == 3


def test_the_same_walk_from_its_innovations_has_the_same_likelihood() -> None:
    model = random_walk(centred=False)
    prepared = pmlik.inference.prepare.prepare(
        pmlik.inference.options.FitOptions(model=model, latent=["start", "z"], random_seed=1)
    )
    value, gradient = prepared.problem.likelihood.value_and_gradient(np.log([0.5, 1.1]))
    assert value == pytest.approx(kalman(0.5, 1.1), abs=1e-9)
    h = 1e-5
    slope = [
        (kalman(*np.exp(np.log([0.5, 1.1]) + h * e)) - kalman(*np.exp(np.log([0.5, 1.1]) - h * e)))
        / (2 * h)
        for e in np.eye(2)
    ]
    np.testing.assert_allclose(gradient, slope, atol=1e-6)


def test_crossed_effects_have_the_multivariate_normal_likelihood() -> None:
    rng = np.random.default_rng(8)
    one, other, y = rng.integers(0, 7, 50), rng.integers(0, 5, 50), rng.normal(size=50)
    with pm.Model() as model:
        a, s, t, e = pm.Normal("a"), pm.HalfNormal("s"), pm.HalfNormal("t"), pm.HalfNormal("e")
        u, v = pm.Normal("u", 0, s, shape=7), pm.Normal("v", 0, t, shape=5)
        pm.Normal("y", a + u[one] + v[other], e, observed=y)
    lik = pmlik.Likelihood(model, progressbar=False)
    covariance = 0.49 * (one[:, None] == one) + 0.16 * (other[:, None] == other) + np.eye(50)
    exact = stats.multivariate_normal.logpdf(y, np.full(50, 0.3), covariance)
    assert float(lik.log(a=0.3, s=0.7, t=0.4, e=1.0)) == pytest.approx(exact, abs=1e-10)


def test_a_covariate_with_gaps_is_integrated_over() -> None:
    x, y = np.array([0.3, np.nan, -1.2, 0.8, np.nan]), np.array([1.0, 0.4, -0.7, 1.9, 2.0])
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = pm.Normal("x", pm.Normal("m"), 1.0, observed=x)
        pm.Normal("y", pm.Normal("b") * seen, 1.0, observed=y)
    lik = pmlik.Likelihood(model, progressbar=False)
    m, b, gap = 0.2, 0.9, np.isnan(x)
    exact = stats.norm.logpdf(x[~gap], m).sum() + stats.norm.logpdf(y[~gap], b * x[~gap]).sum()
    exact += stats.norm.logpdf(y[gap], b * m, np.sqrt(1 + b**2)).sum()
    assert float(lik.log(m=m, b=b)) == pytest.approx(exact, abs=1e-10)


@pytest.mark.parametrize("family", ["lognormal", "student", "zerosum", "laplace"])
def test_families_in_standard_units_have_the_density_that_they_had(family) -> None:
    # The integral by SciPy over the latent's natural value.
    from scipy.integrate import quad

    y = 0.8
    with pm.Model() as model:
        m, s = pm.Normal("m"), pm.HalfNormal("s")
        if family == "lognormal":
            u = pm.LogNormal("u", m, s)
        elif family == "student":
            u = pm.StudentT("u", nu=7, mu=m, sigma=s)
        elif family == "laplace":
            u = pm.Logistic("u", m, s)
        else:
            u = pm.ZeroSumNormal("u", s, shape=2)[0] + m
        pm.Normal("y", u, 0.5, observed=y)
    lik = pmlik.Likelihood(model, quadrature=80, progressbar=False)
    density = {
        "lognormal": lambda u: stats.lognorm.pdf(u, 0.6, scale=np.exp(0.1)),
        "student": lambda u: stats.t.pdf(u, 7, 0.1, 0.6),
        "laplace": lambda u: stats.logistic.pdf(u, 0.1, 0.6),
        "zerosum": lambda u: stats.norm.pdf(u, 0.1, 0.6 / np.sqrt(2)),
    }[family]
    low = 0.0 if family == "lognormal" else -20.0
    exact = np.log(quad(lambda u: density(u) * stats.norm.pdf(y, u, 0.5), low, 20, limit=200)[0])
    assert float(lik.log(m=0.1, s=0.6)) == pytest.approx(exact, abs=1e-4)


def test_the_natural_gradient_and_hessian_are_the_slopes_of_the_marginal_likelihood() -> None:
    lik = pmlik.Likelihood(eight_schools(centred=True), progressbar=False)
    y = data("06_eight_schools_marginal")

    def exact(mu: float, tau: float) -> float:
        return float(stats.norm.logpdf(y["y"], mu, np.sqrt(tau**2 + y["sigma"] ** 2)).sum())

    h, at = 1e-4, {"mu": 5.0, "tau": 4.0}
    gradient = lik.gradient(at)
    slope = (exact(5, 4 + h) - exact(5, 4 - h)) / (2 * h)
    assert float(lik.log(at)) == pytest.approx(exact(5, 4), abs=1e-10)
    assert float(gradient["tau"]) == pytest.approx(slope, abs=1e-7)
    bend = (exact(5, 4 + h) - 2 * exact(5, 4) + exact(5, 4 - h)) / h**2
    found = float(lik.hessian(at).sel(parameter="tau", parameter_bis="tau"))
    assert found == pytest.approx(bend, abs=1e-5)


def test_the_marginal_likelihood_has_no_terms_by_observation() -> None:
    lik = pmlik.Likelihood(eight_schools(centred=True), progressbar=False)
    with pytest.raises(pmlik.ValuesError, match="latents"):
        lik.pointwise(mu=5.0, tau=4.0)
