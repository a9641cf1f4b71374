"""Numbers that are constant but for rounding, and circular ones."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from scipy import stats

import pmlik
from pmlik._summaries import Circle, is_constant, unwind
from pmlik.inference.sample import numeric_posterior
from pmlik.results.verdict import constant_rows, differs

RNG = np.random.default_rng(0)
TURN = Circle(-np.pi, np.pi)


def _zero_sum(scale: float) -> np.ndarray:
    z = RNG.normal(0, scale, size=(500, 40))
    return np.asarray((z - z.mean(axis=1, keepdims=True)).sum(axis=1))


def _simplex_sum() -> np.ndarray:
    return np.asarray(RNG.dirichlet(np.ones(300), size=500).sum(axis=1))


def _unit_diagonal() -> np.ndarray:
    rows = RNG.normal(size=(500, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray((rows * rows).sum(axis=1))


@pytest.mark.parametrize(
    "values",
    [_zero_sum(1.0), _zero_sum(1e4), _simplex_sum(), _unit_diagonal(), np.full(9, 1e300)],
)
def test_rounding_is_no_variation(values: np.ndarray) -> None:
    assert is_constant(values)


@pytest.mark.parametrize(
    "values",
    [
        1e-20 * RNG.normal(size=5),  # a small unit
        1e-17 + 1e-18 * RNG.normal(size=500),
        1e12 + RNG.normal(0, 0.05, size=500),  # an estimate far from zero
        RNG.poisson(3, size=500).astype(float),
        np.array([0.0, 1.0]),
        np.array([1.0, np.nan]),
    ],
)
def test_variation_is_not_taken_for_rounding(values: np.ndarray) -> None:
    assert not is_constant(values)


@pytest.fixture(scope="module")
def fitted() -> tuple[pm.Model, pmlik.PointEstimate]:
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(3))
        pm.Deterministic("total", p.sum())
        pm.Deterministic("gap", p.sum() - 1)
        pm.Deterministic("padded", pt.concatenate([pt.zeros(1), p[:1]]))
        pm.Deterministic("tiny", 1e-18 * p[0])
        pm.Multinomial("y", 50, p, observed=[20, 20, 10])
    return model, pmlik.find_MLE(model, random_seed=1, progressbar=False)


def test_constants_have_no_standard_error_and_no_profile(
    fitted: tuple[pm.Model, pmlik.PointEstimate],
) -> None:
    mle = fitted[1]
    assert mle.values["total"] == pytest.approx(1)
    lacking = [name for name in mle.values if np.isnan(mle.std_error[name]).any()]
    assert lacking == ["total", "gap", "padded"]
    assert np.isnan(mle.std_error["padded"].to_numpy()).tolist() == [True, False]
    assert float(mle.std_error["tiny"]) == pytest.approx(1e-18 * np.sqrt(0.4 * 0.6 / 50))
    found = pmlik.profile(mle, var_names=["total", "padded"])
    assert list(found.curves) == ["padded[1]"]
    assert not found.flags


def test_constants_are_not_compared(fitted: tuple[pm.Model, pmlik.PointEstimate]) -> None:
    comparison = pmlik.compare(
        fitted[0],
        random_seed=1,
        progressbar=False,
        profile=False,
        extras=False,
        sample_kwargs={"draws": 100, "tune": 100, "chains": 2},
    )
    posterior = comparison.posterior
    assert posterior is not None
    table = comparison.table
    constant = ["total", "gap", "padded[0]"]
    assert constant_rows(table) == set(constant)
    assert table.loc[constant, ["SE", "sd", "interval lower", "shift in sd"]].isna().all(axis=None)
    assert np.allclose(table.loc[constant, "posterior mean"], [1, 0, 0], atol=1e-15)
    assert not differs(table)[constant].any()
    assert not {*constant} & {label for f in comparison.findings(all=True) for label in f.labels}
    assert set(comparison.leading_labels(len(table))[-3:]) == set(constant)
    assert numeric_posterior(posterior.tree, ["total"])["total"].notnull().all()  # draws are kept


@pytest.mark.parametrize("centre", [0.0, 3.1, np.pi, -3.0])
@pytest.mark.parametrize("spread", [1e-6, 0.3, 1.5])
def test_circular_mean_and_standard_deviation_are_scipys(centre: float, spread: float) -> None:
    raw = np.random.default_rng(3).normal(centre, spread, (2, 300))
    draws = xr.DataArray(TURN.wrap(raw), dims=("chain", "draw"))
    mean, sd = TURN.mean_and_sd(draws, ("chain", "draw"))
    wanted = stats.circmean(raw, -np.pi, np.pi)
    assert TURN.near(float(mean), wanted) == pytest.approx(wanted, abs=1e-12)
    assert float(sd) == pytest.approx(stats.circstd(raw), rel=1e-4)
    assert float(TURN.mean_and_sd(draws + 4 * np.pi, ("chain", "draw"))[1]) == pytest.approx(sd)


def test_a_circle_of_degrees_from_zero() -> None:
    degrees = Circle(0.0, 360.0)
    assert degrees.wrap(-10.0) == 350.0
    assert degrees.wrap(360.0) == 360.0
    assert degrees.near(350.0, 5.0) == -10.0
    assert degrees.near(170.0, 5.0) == 170.0
    assert degrees.interval(-20.0, 10.0) == (340.0, 10.0)
    assert degrees.interval(-200.0, 170.0) == (0.0, 360.0)
    assert degrees.unwrap(340.0, 10.0, 355.0) == (340.0, 370.0)
    assert degrees.unwrap(0.0, 360.0, 355.0) == (175.0, 535.0)
    assert np.isnan(degrees.near(np.nan, 5.0))


def test_draws_are_moved_by_whole_turns_to_one_side_of_the_cut() -> None:
    raw = np.random.default_rng(4).normal(3.1, 0.2, (2, 100))
    draws = xr.Dataset({"a": (("chain", "draw"), TURN.wrap(raw)), "b": (("chain", "draw"), raw)})
    moved = unwind(draws, {"a": TURN, "absent": TURN})
    assert np.ptp(moved["a"].to_numpy()) == pytest.approx(np.ptp(raw))
    assert moved["b"].identical(draws["b"])
