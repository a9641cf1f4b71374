"""The posterior's draws of one scalar, and their density as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import arviz as az
import numpy as np
import xarray as xr

from pmlik._summaries import is_constant
from pmlik._typing import FloatArray
from pmlik.labels import flatten_draws, labelled
from pmlik.results.curves import Curves

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


#: Points of a curve.
FINE = 300

_MARGIN = 0.08


def draws_of(comparison: Comparison | None, label: str) -> FloatArray | None:
    """Return the draws (d,) of a scalar; None where it has none that is finite."""
    if comparison is None or comparison.posterior is None:
        return None
    for name, array in comparison.posterior.tree["posterior"].data_vars.items():
        one = xr.Dataset({name: array})
        numeric = array.dtype.kind in "fiu"
        labels = list(labelled(one.isel(chain=0, draw=0, drop=True))) if numeric else []
        if label in labels:
            draws = flatten_draws(one)[..., labels.index(label)].ravel().astype(float)
            draws = near_estimate(comparison, label, draws)
            return draws if np.isfinite(draws).any() else None
    return None


def near_estimate[T: (float, FloatArray)](comparison: Comparison, label: str, x: T) -> T:
    """Return values of a scalar, circular ones moved by whole turns near its MLE, else mean."""
    circle = comparison.circles.get(label)
    if circle is None:
        return x
    row = comparison.table.loc[label]
    to = row["MLE"] if np.isfinite(row["MLE"]) else row["posterior mean"]
    return circle.near(x, 0 * x + float(to))


def density_of(draws: FloatArray, grid: FloatArray) -> FloatArray:
    """Return the kernel density of draws on a grid, zero outside their range."""
    finite = draws[np.isfinite(draws)]
    low, width = float(finite.min()), float(np.ptp(finite))
    if is_constant(finite) or not width < np.inf:
        return np.zeros(len(grid))
    kde = az.kde(xr.DataArray((finite - low) / width, dims="sample"), dim="sample")
    x, y = (kde.sel(plot_axis=axis).to_numpy() for axis in ("x", "y"))
    return np.asarray(np.interp((grid - low) / width, x, y, left=0.0, right=0.0) / width)


def span_of(marks: Sequence[float], draws: FloatArray | None) -> tuple[float, float]:
    """Return the smallest range with the marks and nearly all draws; (0, 0) if there is none."""
    ends = list(marks)
    if draws is not None:
        ends += list(np.quantile(draws[np.isfinite(draws)], [0.001, 0.999]))
    return (min(ends), max(ends)) if ends else (0.0, 0.0)


def widen(low: float, high: float) -> tuple[float, float]:
    """Return a range with a margin, and one of width two around a point."""
    if is_constant(np.array([low, high])) or not high - low < np.inf:
        return low - 1.0, low + 1.0
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def finite_marks(comparison: Comparison, label: str) -> dict[str, float]:
    """Return MLE, MAP and mean of a scalar, those that exist."""
    row = comparison.table.loc[label]
    marks = {"MLE": row["MLE"], "MAP": row["MAP"], "mean": row["posterior mean"]}
    return {
        name: near_estimate(comparison, label, float(value))
        for name, value in marks.items()
        if np.isfinite(value)
    }


def curves_of_draws(comparison: Comparison, label: str) -> Curves:
    """Return the curves of a scalar without its model: the density of the draws alone."""
    draws, marks = draws_of(comparison, label), finite_marks(comparison, label)
    grid = np.linspace(*widen(*span_of(list(marks.values()), draws)), FINE)
    return Curves(
        label=label,
        grid=grid,
        log_likelihood=np.full(FINE, np.nan),
        prior=None,
        posterior=None if draws is None else density_of(draws, grid),
        marks=marks,
    )
