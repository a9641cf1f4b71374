"""Angles are compared as angles: at the cut, whole vectors, with derived quantities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from matplotlib import pyplot as plt
from scipy import stats

import pmlik
from pmlik._summaries import Circle
from pmlik.results.comparison import Comparison

QUICK = {"random_seed": 1, "progressbar": False}
CENTRES = np.array([np.pi - 0.02, -0.5, -3.05])
TURN = Circle(-np.pi, np.pi)


def directions(centre: float, kappa: float, n: int, seed: int = 5) -> np.ndarray:
    """Return angles whose mean direction is the centre."""
    y = np.random.default_rng(seed).vonmises(0, kappa, n)
    return np.asarray(TURN.wrap(y - stats.circmean(y, -np.pi, np.pi) + centre))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    y = np.array([directions(centre, 4.0, 30, i) for i, centre in enumerate(CENTRES)]).T
    with pm.Model() as model:
        mu = pm.VonMises("mu", 0, 0.01, shape=3)
        kappa = pm.HalfNormal("kappa", 5)
        pm.Deterministic("degrees", pt.mod(mu * 180 / np.pi, 360))
        pm.VonMises("y", mu, kappa, observed=y)
    sampler = {"draws": 400, "tune": 400, "chains": 2}
    return pmlik.compare(model, profile=True, extras=False, sample_kwargs=sampler, **QUICK)


def test_mean_and_sd_are_circular(comparison: Comparison) -> None:
    draws = comparison.posterior.tree["posterior"]["mu"].to_numpy()
    mean = stats.circmean(draws, -np.pi, np.pi, axis=(0, 1))
    found, sd = (comparison.posterior.values["mu"], comparison.posterior.std_error["mu"])
    np.testing.assert_allclose(found, mean, atol=1e-9)
    np.testing.assert_allclose(sd, stats.circstd(draws, axis=(0, 1)), rtol=1e-6)
    in_degrees = comparison.posterior.std_error["degrees"]
    np.testing.assert_allclose(np.deg2rad(in_degrees), sd, rtol=1e-6)
    away = TURN.near(np.deg2rad(comparison.posterior.values["degrees"].to_numpy()), mean) - mean
    np.testing.assert_allclose(away, 0, atol=1e-9)


def test_nothing_is_told_of_an_angle_that_is_not_there(comparison: Comparison) -> None:
    table = comparison.table
    assert table["shift in sd"].abs().max() < 0.25
    rows = [label for label in table.index if label != "kappa"]
    np.testing.assert_allclose(table["sd"][rows] / table["SE"][rows], 1, atol=0.15)
    assert not any(flag.code is pmlik.FlagCode.SEVERAL_OPTIMA for flag in comparison.flags)
    steps = comparison.attribution.table
    np.testing.assert_allclose(steps["total"], table["shift in sd"][steps.index], atol=1e-9)
    assert steps[["prior", "scale", "skewness", "tail"]].abs().max(axis=None) < 0.5


def test_intervals_cross_the_cut(comparison: Comparison) -> None:
    for kind in ("eti", "profile", "wald"):
        lower, upper = np.moveaxis(comparison.intervals[kind]["mu"].to_numpy(), -1, 0)
        assert (np.abs([lower, upper]) <= np.pi).all()
        for low, high, centre in zip(lower, upper, CENTRES, strict=True):
            low, high = TURN.unwrap(low, high, centre)
            assert low < centre < high < low + 1.0
        assert lower[0] > upper[0]


def test_the_circles_are_saved(comparison: Comparison, tmp_path: Path) -> None:
    again = pmlik.load(comparison.save(tmp_path / "angles.nc"))
    assert again.circles == comparison.circles
    assert again.circles["degrees[0]"] == Circle(0.0, 360.0)
    assert again.table.equals(comparison.table)


def test_tables_and_figures_go_across_the_cut(comparison: Comparison) -> None:
    assert "angles      mu[0]" in str(comparison)
    for figure in (
        pmlik.plot_compare(comparison, var_names=["mu[0]", "degrees[2]"]),
        pmlik.plot_forest(comparison, var_names=["mu[0]"]),
    ):
        for axes in figure.axes:
            left, right = axes.get_xlim()
            assert right - left < (2.0 if abs(left) < 10 else 90.0)
        ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
        numbers = np.array([float(text.replace("\N{MINUS SIGN}", "-")) for text in ticks])
        assert len(numbers) > 2
        assert (np.abs(numbers) < np.pi).all()
        assert (np.diff(numbers) < 0).sum() == 1
        plt.close(figure)
