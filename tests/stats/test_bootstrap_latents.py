"""Bootstrap and robust errors of models with latents, against closed forms replicate by replicate.

The balanced one-way layout has a closed-form maximum likelihood estimate (Searle, Casella and
McCulloch, 1992, doi:10.1002/9780470316856, section 4.4).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats

import pmlik
from oracles import fits
from oracles.fits import fit_latent_case, resample
from oracles.latent_models import cbpp
from oracles.reference_models import data, design
from pmlik.inference.simulate import simulator
from pmlik.inference.units import read_units
from pmlik.stats.executors import BootstrapPlan
from pmlik.stats.refit import Refitter
from pmlik.stats.refit_status import RefitStatus

NAMES = ["b0", "sigma", "sd"]

fit = partial(fits.fit, n_starts=1)


def balanced(y: np.ndarray) -> np.ndarray:
    """Mean, sigma and sd (b, 3) that maximise the likelihood of layouts (b, groups, n)."""
    _, groups, n = y.shape
    means, grand = y.mean(axis=2), y.mean(axis=(1, 2))
    within = ((y - means[:, :, None]) ** 2).sum(axis=(1, 2))
    between = n * ((means - grand[:, None]) ** 2).sum(axis=1)
    error = within / (groups * (n - 1))
    inside = between / groups > error
    sigma = np.sqrt(np.where(inside, error, (within + between) / (groups * n)))
    sd = np.sqrt(np.where(inside, np.maximum(between / groups - error, 0) / n, 0.0))
    return np.column_stack([grand, sigma, sd])


def layout() -> np.ndarray:
    frame = data("05_dyestuff")
    return np.array([part["Yield"].to_numpy(float) for _, part in frame.groupby("Batch")])


@pytest.fixture(scope="module", params=[True, False], ids=["centred", "non-centred"])
def dyestuff(request) -> pmlik.PointEstimate:
    return fit_latent_case("05_dyestuff", request.param)


def columns(spread: pmlik.Bootstrap) -> np.ndarray:
    return np.column_stack([spread.draws[name] for name in NAMES])


# --- New latents and new data -------------------------------------------------------------------


def test_each_replicate_is_the_closed_form_of_its_own_data(dyestuff) -> None:
    spread = resample(dyestuff, 25)
    at = {name: dyestuff.values[name].values for name in NAMES}
    prepared = dyestuff.prepared
    draw = simulator(prepared.model, prepared.roles, at, None)
    sequences = [np.random.SeedSequence(1, spawn_key=(i,)) for i in range(25)]
    codes = pd.Categorical(data("05_dyestuff")["Batch"].astype(str)).codes
    order = np.argsort(codes, kind="stable")
    y = np.array([draw(one)["y"][order].reshape(6, 5) for one in sequences])
    expected = balanced(y)
    assert spread.n_failed == 0
    assert (expected[:, 2] == 0).any()  # some are on the border, and exactly there
    np.testing.assert_allclose(columns(spread), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(spread.draws["sd"] == 0, expected[:, 2] == 0)


def test_groups_are_drawn_anew_with_the_scale_of_the_estimate(dyestuff) -> None:
    at = {name: dyestuff.values[name].values for name in NAMES}
    draw = simulator(dyestuff.prepared.model, dyestuff.prepared.roles, at, None)
    y = np.array([draw(np.random.SeedSequence(i))["y"] for i in range(2000)])
    codes = pd.Categorical(data("05_dyestuff")["Batch"].astype(str)).codes
    same = (codes[:, None] == codes) & ~np.eye(len(codes), dtype=bool)
    covariance = np.cov(y.T)
    variance = float(at["sd"]) ** 2
    assert covariance[same].mean() == pytest.approx(variance, rel=0.1)
    assert covariance[codes[:, None] != codes].mean() == pytest.approx(0, abs=0.05 * variance)


@pytest.mark.slow
def test_the_spread_is_that_of_a_simulation_by_the_closed_form() -> None:
    mle = fit_latent_case("05_dyestuff", True)
    spread = resample(mle, 300)
    b0, sigma, sd = (float(mle.values[name]) for name in NAMES)
    rng, shape = np.random.default_rng(5), (100_000, 6, 5)
    y = b0 + sd * rng.normal(size=shape[:2])[..., None] + sigma * rng.normal(size=shape)
    reference = balanced(y)
    kurtosis = stats.kurtosis(reference, fisher=False)
    error = reference.std(axis=0) * np.sqrt((kurtosis - 1) / 4 / 300)
    found = [float(spread.std_error[name]) for name in NAMES]
    np.testing.assert_allclose((found - reference.std(axis=0)) / error, 0, atol=4)


@pytest.mark.slow
def test_standard_errors_of_regular_parameters_are_those_of_the_information() -> None:
    mle = fit_latent_case("05_sleepstudy_slope", False)
    spread, n = resample(mle, 300), 300
    for name in ("b", "sigma"):
        ratio = spread.std_error[name] / mle.std_error[name]
        np.testing.assert_allclose(ratio, 1, atol=4 / np.sqrt(2 * n) + 0.02)


def test_workers_return_the_digits_of_a_serial_run() -> None:
    mle = fit_latent_case("05_dyestuff", False)
    serial = resample(mle, 30)
    with ThreadPoolExecutor(2) as pool:
        shared = resample(mle, 30, executor=pool)  # two blocks
    np.testing.assert_array_equal(columns(serial), columns(shared))


# --- Blocks as units ----------------------------------------------------------------------------


def test_groups_drawn_again_are_groups_repeated(dyestuff) -> None:
    # A balanced layout stays one when whole groups are drawn again.
    spread = resample(dyestuff, 20, kind="nonparametric")
    prepared, x = dyestuff.prepared, dyestuff.unconstrained
    units = read_units(prepared.problem, x, None, "a test")
    assert [len(pool) for pool in units.pools] == [6]
    resampler = BootstrapPlan(prepared.arguments, "mle", x, x, {}, "nonparametric", units, 1)
    counts = np.array([resampler.draw_weights(i) for i in range(20)]).astype(int)
    codes = pd.Categorical(data("05_dyestuff")["Batch"].astype(str)).codes
    order = units.codes["y"][np.unique(codes, return_index=True)[1]]
    y = np.array([np.repeat(layout(), count[order], axis=0) for count in counts])
    alike = [i for i, count in enumerate(counts) if (count > 0).sum() > 1]
    expected = balanced(y[alike])
    np.testing.assert_allclose(columns(spread)[alike], expected, rtol=1e-6, atol=1e-6)


def repeated_cbpp(counts: np.ndarray) -> pm.Model:
    """Herds as often as they are counted, each time as a herd of its own."""
    frame, X = data("05_cbpp_glmm"), design("05_cbpp_glmm").to_numpy(float)
    codes = pd.Categorical(frame["herd"].astype(int)).codes
    copies = [np.flatnonzero(codes == h) for h, c in enumerate(counts) for _ in range(c)]
    rows, herd = np.concatenate(copies), np.repeat(range(len(copies)), [len(c) for c in copies])
    with pm.Model() as model:
        b, sd = pm.Normal("b", 0, 5, shape=X.shape[1]), pm.HalfNormal("sd", 2)
        u = pm.Normal("u", 0, sd, shape=len(copies))
        size = frame["size"].to_numpy()[rows]
        y = frame["incidence"].to_numpy()[rows]
        pm.Binomial("y", n=size, logit_p=X[rows] @ b + u[herd], observed=y)
    return model


@pytest.mark.parametrize("quadrature", [None, 5])
def test_integer_weights_of_herds_are_herds_repeated(quadrature) -> None:
    mle = fit(cbpp(centred=True), quadrature=quadrature)
    codes = pd.Categorical(data("05_cbpp_glmm")["herd"].astype(int)).codes
    counts = np.random.default_rng(2).multinomial(15, np.full(15, 1 / 15))
    refitter = Refitter(mle.prepared, "mle", mle.unconstrained, {"y": codes.shape})
    refits = refitter({"y": counts[codes][None].astype(float)})
    assert refits.outcome == [RefitStatus.CERTIFIED]
    expected = fit(repeated_cbpp(counts), quadrature=quadrature)
    values = np.concatenate([np.ravel(expected.values[name]) for name in ("b", "sd")])
    np.testing.assert_allclose(refits.values[0], values, rtol=1e-7, atol=1e-7)
    assert refits.log_likelihood[0] == pytest.approx(expected.log_likelihood, abs=1e-9)


@pytest.mark.parametrize("quadrature", [None, 5])
def test_scores_of_blocks_sum_and_are_those_of_each_by_itself(quadrature) -> None:
    mle = fit(cbpp(centred=False), quadrature=quadrature)
    problem = mle.prepared.problem
    x = mle.unconstrained + 0.1
    units = read_units(problem, x, None, "a test")
    scores = problem.likelihood.unit_scores(x, units.codes, units.size)
    np.testing.assert_allclose(
        scores.sum(axis=0), problem.likelihood.value_and_gradient(x)[1], atol=1e-9
    )
    counts = np.ones(15, int)
    counts[3] = 2  # herd 3 once more
    more = pmlik.Likelihood(repeated_cbpp(counts), quadrature=quadrature, progressbar=False)
    at = mle.prepared.natural.problem.values(x)
    gradient = more.gradient({"b": at[:4], "sd": at[4]})
    whole = pmlik.Likelihood.of(mle).gradient({"b": at[:4], "sd": at[4]})
    codes = pd.Categorical(data("05_cbpp_glmm")["herd"].astype(int)).codes
    unit = units.codes["y"][np.flatnonzero(codes == 3)[0]]
    slopes = [np.append(part["b"], part["sd"] * at[4]) for part in (gradient, whole)]
    one = slopes[0] - slopes[1]
    np.testing.assert_allclose(scores[unit], one, atol=1e-9)


def test_the_sandwich_is_that_of_multivariate_normal_groups(dyestuff) -> None:
    y, at = layout(), np.array([float(dyestuff.values[name]) for name in NAMES])

    def each(theta: np.ndarray) -> np.ndarray:
        covariance = theta[1] ** 2 * np.eye(5) + theta[2] ** 2
        return stats.multivariate_normal.logpdf(y, np.full(5, theta[0]), covariance)

    steps = np.diag([1e-2, 1e-2, 1e-2])
    scores = np.array([(each(at + s) - each(at - s)) / 2e-2 for s in steps]).T
    bread = np.linalg.inv(
        [
            [
                -(
                    each(at + s + t).sum()
                    - each(at + s - t).sum()
                    - each(at - s + t).sum()
                    + each(at - s - t).sum()
                )
                / 4e-4
                for s in steps
            ]
            for t in steps
        ]
    )
    expected = np.sqrt(np.diag(bread @ (scores.T @ scores) @ bread))
    robust = pmlik.make_robust(dyestuff)
    found = [float(robust.std_error[name]) for name in NAMES]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    labels = data("05_dyestuff")["Batch"].to_numpy()
    named = pmlik.make_robust(dyestuff, cluster=labels)
    np.testing.assert_allclose([float(named.std_error[name]) for name in NAMES], found, rtol=1e-9)


def test_observations_without_latents_are_units_of_their_own() -> None:
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(8), 4)
    with pm.Model() as model:
        mu, s = pm.Normal("mu", 0, 5), pm.HalfNormal("s", 2)
        u = pm.Normal("u", 0, pm.HalfNormal("t", 2), shape=8)
        pm.Normal("grouped", mu + u[group], s, observed=rng.normal(1, 1, 32) + group / 4)
        pm.Normal("single", mu, s, observed=rng.normal(1, 1, 11))
    mle = fit(model)
    units = read_units(mle.prepared.problem, mle.unconstrained, None, "a test")
    assert sorted(len(pool) for pool in units.pools) == [8, 11]
    assert all(len(set(units.codes["grouped"][group == g])) == 1 for g in range(8))
    spread = resample(mle, 6, kind="bayesian")
    assert spread.n_failed == 0
    likelihood = mle.prepared.problem.likelihood
    scores = likelihood.unit_scores(mle.unconstrained, units.codes, units.size)
    assert scores.shape == (19, 3)
    np.testing.assert_allclose(scores.sum(axis=0), 0, atol=1e-8)


def crossed() -> pm.Model:
    rng = np.random.default_rng(8)
    one, other, y = rng.integers(0, 7, 60), rng.integers(0, 5, 60), rng.normal(size=60)
    with pm.Model() as model:
        a, e = pm.Normal("a"), pm.HalfNormal("e")
        u = pm.Normal("u", 0, pm.HalfNormal("s"), shape=7)
        v = pm.Normal("v", 0, pm.HalfNormal("t"), shape=5)
        pm.Normal("y", a + u[one] + v[other], e, observed=y + one / 3 + other / 2)
    return model


def walk() -> pm.Model:
    seen = np.cumsum(np.random.default_rng(3).normal(0, 0.7, 30))
    with pm.Model() as model:
        step = pm.HalfNormal("step", 2)
        state = pm.GaussianRandomWalk("state", sigma=step, init_dist=pm.Normal.dist(0, 9), steps=29)
        pm.Poisson("y", pt.exp(3 + state / 2), observed=np.round(np.exp(3 + seen / 2)).astype(int))
    return model


@pytest.mark.parametrize("build", [crossed, walk])
def test_latents_that_are_one_block_can_only_be_simulated(build) -> None:
    mle = fit(build())
    for kind in ("nonparametric", "bayesian"):
        with pytest.raises(pmlik.ModelError, match=r"one block.*parametric"):
            resample(mle, 10, kind=kind)
    with pytest.raises(pmlik.ModelError, match="one block"):
        pmlik.make_robust(mle)
    assert resample(mle, 4).n_failed <= 1


def test_clusters_that_cut_a_group_are_refused(dyestuff) -> None:
    labels = np.arange(30) % 7
    with pytest.raises(pmlik.ModelError, match="share a latent have different labels"):
        pmlik.make_robust(dyestuff, cluster=labels)
