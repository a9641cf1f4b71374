"""Profiles, curves, figures and resamples of angles at the cut, against closed forms."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from matplotlib import pyplot as plt
from scipy import stats

import pmlik
from pmlik._summaries import Circle
from pmlik.results.point import PointEstimate
from pmlik.stats.curves import compute_curves

QUICK = {"random_seed": 1, "progressbar": False}
TURN, KAPPA = Circle(-np.pi, np.pi), 2.0
LEVEL = stats.chi2.ppf(0.95, 1) / 2
AWAY = np.array([0.1, 0.4, 0.7, 1.0, 1.3])


def fit(y: np.ndarray, kappa: float = KAPPA) -> PointEstimate:
    with pm.Model() as model:
        mu = pm.VonMises("mu", 0, 0.1)
        pm.Deterministic("degrees", pt.mod(mu * 180 / np.pi, 360))
        pm.VonMises("y", mu, kappa, observed=y)
    return pmlik.find_MLE(model, **QUICK)


@pytest.fixture(scope="module")
def at_cut() -> PointEstimate:
    """The mean direction is pi itself."""
    return fit(np.concatenate([np.pi - AWAY, AWAY - np.pi]))


def test_a_profile_goes_across_the_cut(at_cut: PointEstimate) -> None:
    found = pmlik.profile(at_cut, progressbar=False)
    half = np.arccos(1 - LEVEL / (KAPPA * 2 * np.cos(AWAY).sum()))
    lower, upper = found.interval["mu"].to_numpy()
    assert (lower, upper) == pytest.approx((np.pi - half, half - np.pi), abs=1e-6)
    degrees = found.interval["degrees"].to_numpy()
    assert degrees == pytest.approx(180 + np.rad2deg(half) * np.array([-1, 1]), abs=1e-4)
    assert not found.flags
    for curve in found.curves.values():
        assert (np.diff(curve["value"]) > 0).all()
    figure = pmlik.plot_profile(found)
    left, right = figure.axes[0].get_xlim()
    assert left < np.pi - half < np.pi + half < right < left + 4 * half
    plt.close(figure)


def test_a_profile_that_falls_nowhere_far_enough_is_the_whole_turn() -> None:
    weak = fit(np.array([0.3, 2.4, -1.9, -2.9]), kappa=0.5)
    found = pmlik.profile(weak, progressbar=False)
    assert found.interval["mu"].to_numpy() == pytest.approx((-np.pi, np.pi))
    assert found.interval["degrees"].to_numpy() == pytest.approx((0, 360))
    assert {flag.code for flag in found.flags} == {pmlik.FlagCode.WHOLE_TURN}
    wald = pmlik.interval_wald(weak, ci_prob=0.999)["mu"].to_numpy()
    assert wald == pytest.approx((-np.pi, np.pi))


def test_curves_are_about_the_estimate(at_cut: PointEstimate) -> None:
    curves = compute_curves(pmlik.Likelihood.of(at_cut, progressbar=False), None, "mu")
    centre = curves.marks["MLE"]
    assert curves.grid[0] < centre < curves.grid[-1]
    wanted = KAPPA * 2 * np.cos(AWAY).sum() * (np.cos(curves.grid - centre) - 1)
    np.testing.assert_allclose(curves.log_likelihood, wanted, atol=1e-3)
    assert np.ptp(curves.prior) < 0.01


def test_resamples_lie_about_the_estimate(at_cut: PointEstimate) -> None:
    spread = pmlik.bootstrap(at_cut, 60, kind="nonparametric", **QUICK)
    assert float(spread.std_error["mu"]) == pytest.approx(0.3, abs=0.12)
    assert abs(float(spread.bias["mu"])) < 0.2
    for method in ("percentile", "basic"):
        lower, upper = pmlik.interval_bootstrap(spread, ci_prob=0.9, method=method)["mu"].values
        assert 2 < lower < np.pi
        assert -np.pi < upper < -2


def test_an_angle_by_arctan2_goes_across_the_cut() -> None:
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        pm.Deterministic("angle", pt.arctan2(b, a))
        pm.Normal("x", a, 1.0, observed=[-1.9, -2.1])
        pm.Normal("y", b, 1.0, observed=[0.1, -0.2])
    mle = pmlik.find_MLE(model, **QUICK)
    half = np.arcsin(np.sqrt(LEVEL) / np.hypot(2.0, 0.05))
    found = pmlik.profile(mle, var_names=["angle"], progressbar=False)
    centre = np.arctan2(-0.05, -2.0)
    wanted = TURN.wrap(centre + half * np.array([-1.0, 1.0]))
    assert found.interval["angle"].to_numpy() == pytest.approx(wanted, abs=1e-6)
    assert wanted[0] > wanted[1]


def test_a_whole_turn_apart_is_one_maximum() -> None:
    rng = np.random.default_rng(2)
    y = TURN.wrap(rng.vonmises(0, 3, (20, 2)) + np.array([3.0, -3.1]))
    with pm.Model() as model:
        mu = pm.VonMises("mu", 0, 0.1, shape=2)
        pm.VonMises("y", mu, 3.0, observed=y)
    mle = pmlik.find_MLE(model, n_starts=14, **QUICK)
    assert mle.trusted
    assert not any(f.code is pmlik.FlagCode.SEVERAL_OPTIMA for f in mle.flags)
    wanted = stats.circmean(y, -np.pi, np.pi, axis=0)
    np.testing.assert_allclose(mle.values["mu"], wanted, atol=1e-9)
    assert all(end.optimum == 0 for end in mle.certificate.searches if end.certified)


def test_real_maxima_half_a_turn_apart_are_still_told() -> None:
    y = np.random.default_rng(3).vonmises(1.0, 3, 20)
    with pm.Model() as model:
        axis = pm.VonMises("axis", 0.2, 0.1)
        pm.VonMises("y", 2 * axis, 3.0, observed=y)
    mle = pmlik.find_MLE(model, n_starts=14, **QUICK)
    assert sum(f.code is pmlik.FlagCode.SEVERAL_OPTIMA for f in mle.flags) == 1


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_an_angle_goes_nowhere_where_it_does_not_matter(turn: float) -> None:
    """Data in balance have no direction: the concentration is zero, and any angle will do."""
    y = TURN.wrap(np.array([0.0, 0.5, 1.0, -0.5]) * np.pi + turn)
    with pm.Model() as model:
        mu, kappa = pm.VonMises("mu", 0, 0.1), pm.HalfNormal("kappa", 5)
        pm.VonMises("y", mu, kappa, observed=y)
    mle = pmlik.find_MLE(model, **QUICK)
    assert np.isnan(mle.values["mu"])
    assert not any(f.code is pmlik.FlagCode.AT_INFINITY for f in mle.flags)
    assert not mle.trusted or mle.log_likelihood == pytest.approx(-4 * np.log(2 * np.pi))


def test_a_profile_is_the_whole_turn_where_the_concentration_may_be_zero() -> None:
    y = np.random.default_rng(4).uniform(-np.pi, np.pi, 12)
    with pm.Model() as model:
        mu, kappa = pm.VonMises("mu", 0, 0.1), pm.HalfNormal("kappa", 5)
        pm.VonMises("y", mu, kappa, observed=y)
    mle = pmlik.find_MLE(model, **QUICK)
    assert mle.log_likelihood + 12 * np.log(2 * np.pi) < LEVEL
    found = pmlik.profile(mle, var_names=["mu"], progressbar=False)
    assert found.interval["mu"].to_numpy() == pytest.approx((-np.pi, np.pi))
