"""Draws and optima held against each other."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pmlik
from pmlik import FlagCode, Severity
from pmlik.inference.chains import check_chains, check_near, check_no_higher

Y = np.array([-4.2, -4.2, 5.5, 6.1, 6.3, 5.9])
SAMPLE = {"draws": 300, "tune": 300, "chains": 2, "initvals": {"mu": 6.0}}


def heights(grid: np.ndarray) -> np.ndarray:
    return stats.cauchy.logpdf(Y[:, None], grid, 0.3).sum(axis=0)


def test_a_draw_above_the_optimum_restarts_the_search() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10, initval=-4)
        pm.Cauchy("y", mu, 0.3, observed=Y)
    lesser = pmlik.find_MLE(model, random_seed=1, progressbar=False, n_starts=1)
    assert float(lesser.values["mu"]) < 0
    comparison = pmlik.compare(
        model, random_seed=1, progressbar=False, extras=False, n_starts=1, sample_kwargs=SAMPLE
    )
    grid = np.linspace(5, 7, 100_001)
    best = heights(grid)
    mle = comparison.mle
    assert float(mle.values["mu"]) == pytest.approx(grid[best.argmax()], abs=1e-4)
    assert mle.certificate.start == "best posterior draw"
    assert FlagCode.RESTARTED in {flag.code for flag in mle.flags}
    draws = comparison.posterior.tree["posterior"]["mu"].to_numpy().ravel()
    assert heights(draws).max() <= mle.log_likelihood + 1e-9


def test_chains_that_stay_away_from_the_mode_are_flagged() -> None:
    rng = np.random.default_rng(0)
    size = 10
    normal = -0.5 * (rng.normal(size=(4000, size)) ** 2).sum(axis=1)
    assert check_near(0.0, normal, size) == []
    flags = check_near(60.0, normal, size)
    assert [flag.code for flag in flags] == [FlagCode.DRAWS_ARE_ELSEWHERE]
    # In many dimensions the mode is far above any draw, and that is as it should be.
    many = -0.5 * stats.chi2.rvs(1000, size=4000, random_state=1)
    assert check_near(0.0, many, 1000) == []


def test_a_draw_that_stays_higher_is_an_error() -> None:
    (flag,) = check_no_higher(2.0, "mle")
    assert flag.severity is Severity.ERROR
    assert "By 2 in log-density." in flag.detail
    assert check_no_higher(np.nan, "mle") == []


def test_a_low_bfmi_is_a_warning() -> None:
    good = {"r_hat": 1.0, "ess_bulk": 4000.0, "ess_tail": 4000.0, "divergences": 0.0}
    each = {name: xr.Dataset({"a": good[name]}) for name in ("r_hat", "ess_bulk", "ess_tail")}
    assert check_chains(each, {**good, "bfmi": 0.9}, 4, 1000) == []
    (flag,) = check_chains(each, {**good, "bfmi": 0.29}, 4, 1000)
    assert (flag.code, flag.severity) == (FlagCode.LOW_BFMI, Severity.WARNING)


def test_a_verdict_needs_optima_and_chains() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(3.0, 1.0, size=400)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 100)
        pm.Normal("y", mu, 1.0, observed=y)
    comparison = pmlik.compare(model, random_seed=1, progressbar=False, extras=False)
    assert comparison.verdict == "agree"
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 0.05)
        pm.Normal("y", mu, 1.0, observed=y)
    assert pmlik.compare(model, random_seed=1, progressbar=False, extras=False).verdict == "differ"
    assert (
        pmlik.compare(model, random_seed=1, progressbar=False, extras=False, sample=False).verdict
        is None
    )
