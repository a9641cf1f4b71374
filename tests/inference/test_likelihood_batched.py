"""Kinds of models in batches, large batches, and what a call leaves as it was."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from pymc.distributions import transforms as tr
from scipy import stats

import pmlik
from oracles import zoo
from oracles.likelihoods import ROWS, Y, likelihood_of

RNG = np.random.default_rng(20250611)


# --- Kinds of models ------------------------------------------------------------------------------


def garch_variances(y, omega, alpha, beta):
    """The recursion ``h_t = omega + alpha y_(t-1)^2 + beta h_(t-1)`` from one, as a plain loop."""
    h = [1.0]
    for value in y[:-1]:
        h.append(omega + alpha * value**2 + beta * h[-1])
    return np.array(h)


def garch_logp(value, *parameters):
    omega, alpha, beta = (parameter.squeeze() for parameter in parameters)

    def step(previous, h, omega, alpha, beta):
        return omega + alpha * previous**2 + beta * h

    later = pytensor.scan(
        step,
        sequences=[value[:-1]],
        outputs_info=[pt.ones(())],
        non_sequences=[omega, alpha, beta],
        return_updates=False,
    )
    variance = pt.concatenate([pt.ones(1), later])
    return -0.5 * (pt.log(2 * np.pi * variance) + value**2 / variance)


def test_a_time_series_by_scan_is_evaluated_in_batches():
    y = RNG.normal(0, 1.5, size=40)
    with pm.Model() as model:
        omega = pm.HalfNormal("omega", 2)
        alpha = pm.Uniform("alpha", 0, 1)
        pm.CustomDist("y", omega, alpha, 0.4, logp=garch_logp, observed=y)
    lik = likelihood_of(model)
    omegas, alphas = np.array([1.0, 2.0, 0.3]), np.array([0.2, 0.5, 0.9])
    expected = np.array(
        [
            stats.norm.logpdf(y, 0, np.sqrt(garch_variances(y, o, a, 0.4)))
            for o, a in zip(omegas, alphas, strict=True)
        ]
    )
    found = lik.log(omega=omegas, alpha=alphas)
    np.testing.assert_allclose(found, expected.sum(1), rtol=1e-11)
    np.testing.assert_allclose(lik.pointwise(omega=omegas, alpha=alphas)["y"], expected, rtol=1e-11)
    found = lik.log(omega=[1.0, -1.0, 0.3], alpha=[1.2, 0.5, 0.9])
    np.testing.assert_allclose(found, [-np.inf, -np.inf, expected[2].sum()], rtol=1e-11)

    def oracle(x):
        return [stats.norm.logpdf(y, 0, np.sqrt(garch_variances(y, x[0], x[1], 0.4))).sum()]

    gradient = lik.gradient(omega=omegas, alpha=alphas)
    for i in range(3):
        slope = zoo.jacobian_of(oracle, [omegas[i], alphas[i]])[0]
        np.testing.assert_allclose([gradient["omega"][i], gradient["alpha"][i]], slope, rtol=1e-7)


def test_an_autoregression_is_that_of_its_innovations():
    y = RNG.normal(size=30).cumsum() * 0.3
    with pm.Model(coords={"time": np.arange(30)}) as model:
        rho = pm.Normal("rho", 0, 1, shape=2)
        sigma = pm.HalfNormal("sigma", 1)
        first = pm.Normal.dist(0, 10)
        pm.AR("y", rho, sigma=sigma, constant=True, init_dist=first, observed=y, dims="time")
    lik = likelihood_of(model)
    rhos, sigmas = np.array([[0.1, 0.5], [0.0, 0.9], [-0.3, 0.2]]), np.array([0.5, 1.0, 0.7])

    def oracle(rho, sigma):
        later = stats.norm.logpdf(y[1:], rho[0] + rho[1] * y[:-1], sigma).sum()
        return later + stats.norm.logpdf(y[0], 0, 10)

    expected = [oracle(r, s) for r, s in zip(rhos, sigmas, strict=True)]
    np.testing.assert_allclose(lik.log(rho=rhos, sigma=sigmas), expected, rtol=1e-11)
    assert float(lik.log(rho=rhos[1], sigma=1.0)) == pytest.approx(expected[1], rel=1e-11)
    assert float(lik.pointwise(rho=rhos, sigma=sigmas)["y"].isel(point=2).sum()) == pytest.approx(
        expected[2], rel=1e-11
    )
    assert lik.n_observations == 30


def test_a_gaussian_with_a_covariance_that_depends_on_the_parameters_in_batches():
    rows = ROWS[:, :2]
    with pm.Model() as model:
        rho, s = pm.Uniform("rho", -1, 1), pm.HalfNormal("s", 2)
        cov = s**2 * pt.stacklists([[1.0, rho], [rho, 1.0]])
        pm.MvNormal("y", pm.Normal("mu", 0, 5, shape=2), cov, observed=rows)
    lik = likelihood_of(model)
    rhos, scales = np.array([2.0, 0.3, -0.8, 1.0, 0.0]), np.array([1.0, 1.2, 0.6, 1.0, 2.0])
    mus = RNG.normal(size=(5, 2))

    def oracle(mu, rho, s):
        cov = s**2 * np.array([[1.0, rho], [rho, 1.0]])
        return stats.multivariate_normal.logpdf(rows, mu, cov).sum()

    inside = [1, 2, 4]
    expected = np.full(5, -np.inf)
    expected[inside] = [oracle(mus[i], rhos[i], scales[i]) for i in inside]
    np.testing.assert_allclose(lik.log(rho=rhos, s=scales, mu=mus), expected, rtol=1e-11)
    found = lik.pointwise(rho=rhos, s=scales, mu=mus)["y"].sum("y_dim_0")
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    gradient = lik.gradient(rho=rhos, s=scales, mu=mus)
    assert np.isnan(gradient["mu"][[0, 3]]).all()
    for i in inside:
        slope = zoo.jacobian_of(lambda x, i=i: [oracle(mus[i], x[0], x[1])], [rhos[i], scales[i]])
        found = [gradient["rho"][i], gradient["s"][i]]
        np.testing.assert_allclose(found, slope[0], rtol=1e-6)


def test_a_mixture_in_batches_is_the_sum_over_its_components():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 5, shape=2, transform=tr.ordered, initval=[2.0, 4.0])
        pm.NormalMixture("y", w, mu, sigma=0.8, observed=Y)
    ws, mus = np.array([[0.3, 0.7], [0.9, 0.1]]), np.array([[2.0, 5.0], [3.0, 4.0]])
    dens = (ws[:, None, :] * stats.norm.pdf(Y[:, None], mus[:, None, :], 0.8)).sum(-1)
    found = likelihood_of(model).pointwise(w=ws, mu=mus)["y"]
    np.testing.assert_allclose(found, np.log(dens), rtol=1e-12)


def test_labelled_models_of_pymc_dims_have_the_same_likelihood():
    pmd = pytest.importorskip("pymc.dims")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pm.Model(coords={"group": ["a", "b"], "id": range(6)}) as model:
            group = pmd.Data("g", [0, 0, 0, 1, 1, 1], dims="id")
            mu = pmd.Normal("mu", 0, 5, dims="group")
            sigma = pmd.HalfNormal("sigma", 2)
            seen = pmd.Data("seen", Y, dims="id")
            pmd.Normal("y", mu.isel(group=group), sigma, observed=seen)
        lik = likelihood_of(model)
    mus, sigmas = np.array([[3.0, 4.0], [2.0, 5.0], [0.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    expected = stats.norm.logpdf(Y, np.repeat(mus[:2], 3, axis=1), sigmas[:2, None])
    found = lik.log(mu=mus, sigma=sigmas)
    np.testing.assert_allclose(found, [*expected.sum(1), -np.inf], rtol=1e-12)
    labelled = xr.DataArray([4.0, 3.0], dims="group", coords={"group": ["b", "a"]})
    terms = lik.pointwise(mu=labelled, sigma=1.0)["y"]
    assert terms.dims == ("id",)
    np.testing.assert_allclose(terms, expected[0], rtol=1e-12)
    gradient = lik.gradient(mu=labelled, sigma=1.0)["mu"]
    np.testing.assert_allclose(gradient, [(Y[:3] - 3).sum(), (Y[3:] - 4).sum()], rtol=1e-10)


def test_many_points_in_several_chunks_are_the_same_points():
    y = RNG.normal(size=2000)
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu"), pm.HalfNormal("sigma"), observed=y)
    mu, sigma = RNG.normal(size=3001), RNG.uniform(-0.2, 2, size=3001)
    found = likelihood_of(model).log(mu=mu, sigma=sigma)
    squares = (y**2).sum() - 2 * mu * y.sum() + len(y) * mu**2
    with np.errstate(all="ignore"):
        closed = -len(y) * np.log(np.sqrt(2 * np.pi) * sigma) - squares / (2 * sigma**2)
    np.testing.assert_allclose(found, np.where(sigma > 0, closed, -np.inf), rtol=1e-10)


def test_the_model_is_taken_from_the_context_and_left_as_it_was():
    with pm.Model(coords={"term": ["x", "z"]}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term", initval=[0.5, -0.5])
        s = pm.HalfNormal("s", 2, initval=3.0)
        pm.Normal("y", beta[0] + beta[1] * np.arange(6.0), s, observed=Y)
        pm.Deterministic("ratio", beta[0] / s)
        lik = pmlik.Likelihood(progressbar=False)

    def state():
        point = model.initial_point()
        parts = (model.free_RVs, model.observed_RVs, model.deterministics, model.value_vars)
        names = [[var.name for var in part] for part in parts]
        transforms = [type(t).__name__ for t in model.rvs_to_transforms.values()]
        return names, transforms, dict(model.coords), model.compile_logp()(point), point

    before = state()
    at = {"beta": [1.0, 0.4], "s": 1.5}
    for verb in (lik, lik.log, lik.pointwise, lik.gradient, lik.hessian, lik.relative):
        verb(at)
    lik.surface({"beta[x]": [0.0, 1.0]}, others="profile")
    after = state()
    assert after[:4] == before[:4]
    for name, value in before[4].items():
        np.testing.assert_array_equal(after[4][name], value)
    expected = stats.norm.logpdf(Y, 1 + 0.4 * np.arange(6.0), 1.5).sum()
    assert float(lik.log(at)) == pytest.approx(expected, rel=1e-12)


def test_values_given_are_left_as_they_were(normal):
    mu, sigma = np.array([1.0, 2.0, 3.0]), xr.DataArray([-1.0, 1.0], dims="s")
    mu.flags.writeable = False
    copy = sigma.copy(deep=True)
    normal.gradient(mu=mu, sigma=sigma)
    normal.pointwise(mu=mu, sigma=sigma)
    assert sigma.identical(copy)


# --- Memory ---------------------------------------------------------------------------------------


MEMORY = """
import resource
import numpy as np
import pymc as pm
from scipy import stats
import pmlik

y = np.random.default_rng(1).normal(3.0, 2.0, size=10_000)
with pm.Model() as model:
    pm.Normal("y", pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", 5), observed=y)
lik = pmlik.Likelihood(model, progressbar=False)
lik.log(mu=3.0, sigma=2.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mu, sigma = np.linspace(2, 4, 400), np.linspace(1, 3, 400)
surface = lik.surface(mu=mu, sigma=sigma)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i, j in ((0, 0), (399, 0), (0, 399), (399, 399), (123, 321), (200, 200)):
    expected = stats.norm.logpdf(y, mu[i], sigma[j]).sum()
    np.testing.assert_allclose(surface[i, j], expected, rtol=1e-11)
print(after / 1024, (after - before) / 1024)
"""


@pytest.mark.slow
def test_a_large_surface_of_a_large_model_is_right_and_stays_under_a_gigabyte():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    peak, growth = map(float, run.stdout.split())
    assert growth < 500
    assert peak < 1024  # megabytes, with everything that is imported
