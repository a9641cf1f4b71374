"""Compute the curves of profile likelihoods that a figure shows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy import interpolate, stats

from pmlik._typing import FloatArray
from pmlik.labels import bounds_of, circles_by_label, labelled, select_variables
from pmlik.results.comparison import Comparison
from pmlik.results.curves import ProfileCurve
from pmlik.results.point import PointEstimate
from pmlik.stats.intervals import interval_wald
from pmlik.stats.profile import Profile, profile

_FINE = 300
_MARGIN = 0.04

# The axis spans what of the curve is between these depths, as shares of the level.
_SHALLOW, _DEEP = 0.1, 1.3


def compute_profiles(
    given: Profile | Comparison | PointEstimate,
    var_names: Sequence[str] | str | None,
    coords: Mapping[str, Any] | None,
    ci_prob: float | None,
) -> list[ProfileCurve]:
    """Return one curve per scalar; profiles that are not given are made.

    Raises `ValuesError` for names that are not in the profile.
    """
    posterior = given.posterior if isinstance(given, Comparison) else None
    if isinstance(given, Comparison) and ci_prob is None and given.intervals:
        ci_prob = float(next(iter(given.intervals.values())).attrs["ci_prob"])
    if not isinstance(given, Profile):
        made = profile(given, var_names=var_names, coords=coords, ci_prob=ci_prob or 0.95)
    else:
        made = given
    scalars = made.interval.isel(ci_bound=0, drop=True)
    labels = labelled(select_variables(scalars, var_names, coords, where="in the profile"))
    wald = interval_wald(made.estimate, ci_prob=made.ci_prob)
    intervals = {"profile": made.interval, "wald": wald}
    if posterior is not None and np.isclose(posterior.interval.attrs["ci_prob"], made.ci_prob):
        intervals[str(posterior.interval.attrs["ci_kind"])] = posterior.interval
    ends = {kind: bounds_of(interval) for kind, interval in intervals.items()}
    return [
        _curve(made, label, {kind: known[label] for kind, known in ends.items() if label in known})
        for label in labels
        if label in made.curves
    ]


def _curve(made: Profile, label: str, intervals: Mapping[str, tuple[float, float]]) -> ProfileCurve:
    level = float(stats.chi2.ppf(made.ci_prob, 1)) / 2
    estimate = labelled(made.estimate.values)[label]
    circle = circles_by_label(made.estimate.values).get(label)
    if circle is not None:
        intervals = {kind: circle.unwrap(*ends, estimate) for kind, ends in intervals.items()}
    error = labelled(made.estimate.std_error)[label]
    seen = made.curves[label]
    limits = _limits(seen, estimate, intervals, level)
    grid = np.linspace(*limits, _FINE)
    roots = refine_roots(seen["value"].to_numpy(), seen["signed_root"].to_numpy(), grid)
    return ProfileCurve(
        label=label,
        estimate=estimate,
        grid=grid,
        log_likelihood=-(roots**2) / 2,
        quadratic=-(((grid - estimate) / error) ** 2) / 2,
        level=level,
        ci_prob=made.ci_prob,
        intervals=intervals,
        limits=limits,
        circle=circle,
    )


def _limits(
    seen: xr.Dataset,
    estimate: float,
    intervals: Mapping[str, tuple[float, float]],
    level: float,
) -> tuple[float, float]:
    """Return limits around all finite ends and the curve a little beyond its own."""
    values, depth = seen["value"].to_numpy(), seen["signed_root"].to_numpy() ** 2 / 2
    own = intervals.get("profile", (np.nan, np.nan))
    ends = [end for both in intervals.values() for end in both]
    known = [x for x in (*ends, estimate) if np.isfinite(x)]
    known += list(values[(depth <= _DEEP * level) & (depth >= _SHALLOW * level)])
    low, high = min(known), max(known)
    width = high - low or 1.0
    known += [x for x, end in zip((low - width, high + width), own, strict=True) if np.isinf(end)]
    low, high = max(min(known), low - width), min(max(known), high + width)
    more = [_MARGIN if np.isfinite(end) else 0.0 for end in own]
    return low - more[0] * width, high + more[1] * width


def refine_roots(values: FloatArray, roots: FloatArray, grid: FloatArray) -> FloatArray:
    """Return the signed root on a grid, NaN outside the points seen: it is nearly straight."""
    order = np.unique(values, return_index=True)[1]
    values, roots = values[order], roots[order]
    known = np.isfinite(values) & np.isfinite(roots)
    if known.sum() < 2:
        return np.full(len(grid), np.nan)
    spline = interpolate.PchipInterpolator(values[known], roots[known], extrapolate=False)
    return np.asarray(spline(grid))
