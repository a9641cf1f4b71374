"""Summaries of scalars that need care: constants but for rounding, and circular quantities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pmlik._typing import BoolArray, FloatArray

if TYPE_CHECKING:
    import xarray as xr

# Numbers that differ by this many units in their last place are the same.
_ULPS = 64

# What a sum that cancels leaves is below this, and has this many significant bits.
_REST, _BITS = 1e-6, 12


def is_constant(values: FloatArray) -> BoolArray:
    """Return True for the scalars (...) whose values (s, ...) differ by rounding alone.

    Around zero that is told by the few bits that sums of rounding errors have.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    same = high - low <= _ULPS * np.finfo(float).eps * size
    steps = np.ldexp(values, _BITS - np.frexp(size)[1])
    return np.asarray(same | ((size < _REST) & (steps == np.rint(steps)).all(axis=0)))


class Circle(NamedTuple):
    """The turn after which the values of a circular quantity repeat, from its lower to upper end.

    Its statistics are the textbook's (Mardia and Jupp, 2000, doi:10.1002/9780470316979): of draws
    turned into unit vectors with a mean of length R, the mean is the direction of that vector, and
    the standard deviation ``sqrt(-2 log R)``, which is sigma for a wrapped normal distribution. All
    else (quantiles, R-hat, effective sample sizes, densities) is taken on a line: that of the
    values nearest to the mean, cut opposite to it, and turned back. An interval that crosses the
    cut has a lower end above the upper one, as ArviZ has it.
    """

    lower: float
    upper: float

    @property
    def period(self) -> float:
        """The length of a turn."""
        return self.upper - self.lower

    def near[T: (float, FloatArray, xr.DataArray)](self, x: T, to: T) -> T:
        """Return values moved by whole turns to at most half a turn from others."""
        moved: T = x - self.period * np.round((x - to) / self.period)
        return moved

    def wrap[T: (float, FloatArray, xr.DataArray)](self, x: T) -> T:
        """Return values moved by whole turns to lie between the ends."""
        return self.near(x, 0 * x + (self.lower + self.upper) / 2)

    def interval(self, lower: float, upper: float) -> tuple[float, float]:
        """Return both ends of an interval wrapped; the whole turn if it is longer than one."""
        if upper - lower >= self.period:
            return self.lower, self.upper
        return self.wrap(lower), self.wrap(upper)

    def unwrap(self, lower: float, upper: float, centre: float) -> tuple[float, float]:
        """Return the ends of a wrapped interval on the line, its middle near a centre."""
        width = upper - lower if upper >= lower else upper - lower + self.period
        if width >= self.period:
            return centre - width / 2, centre + width / 2
        low = self.near(lower + width / 2, centre) - width / 2
        return low, low + width

    def mean_and_sd(
        self, draws: xr.DataArray, dims: tuple[str, ...]
    ) -> tuple[xr.DataArray, xr.DataArray]:
        """Return circular mean and standard deviation of draws over dims."""
        turns = 2 * np.pi / self.period
        parts: list[Any] = [np.sin(turns * draws), np.cos(turns * draws)]
        mean: Any = np.arctan2(*(part.mean(dims, skipna=False) for part in parts)) / turns
        half: Any = np.sin(turns / 2 * (draws - mean)) ** 2
        lost = 2 * half.mean(dims, skipna=False)  # one minus R, to all its digits
        return self.wrap(mean), np.sqrt(-2 * np.log1p(-lost)) / turns


def unwind(
    draws: xr.Dataset, circles: Mapping[str, Circle], dims: tuple[str, ...] = ("chain", "draw")
) -> xr.Dataset:
    """Return draws with the circular ones moved by whole turns near to their mean."""
    moved = {
        name: circle.near(draws[name], circle.mean_and_sd(draws[name], dims)[0])
        for name, circle in circles.items()
        if name in draws
    }
    return draws.assign(moved)
