"""What a picture of prior, likelihood and posterior shows, as numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import arviz as az
import numpy as np
import xarray as xr
from scipy import interpolate

from pmlik._typing import FloatArray
from pmlik.errors import PmlikError, ValuesError
from pmlik.inference.likelihood import Likelihood
from pmlik.inference.prepare import prepared_of
from pmlik.labels import labelled
from pmlik.results.background import Curves
from pmlik.results.comparison import Comparison
from pmlik.results.point import PointEstimate
from pmlik.stats.profile import can_profile, label_curve, places_of, trace_profiles
from pmlik.stats.profile_curves import refine_roots

__all__ = [
    "Joint",
    "curves_of",
    "compute_curves",
    "compute_joint",
    "keep_curves",
    "leading_labels",
    "select_labels",
]


# Points where a profile is really computed; a spline of the log-likelihood draws the curve.
_KNOTS = 41
_JOINT_KNOTS = 25

# So many scalars have their curves saved and shown in a report.
_MOST_KEPT = 12

# Once their profiles have taken as long as this, the others are left out.
_PATIENCE_SECONDS = 10.0

# About so many Hessians are computed for an optimum at a knot, and for a walk.
_HESSIANS_A_KNOT, _HESSIANS_A_WALK = 3, 40

# Up to so many coordinates a Hessian is quick enough to be timed.
_SMALL = 100
_FINE = 300
_REACH = 4.0

# How far the profile of a derived quantity is walked, and in about how many points a side.
_WALKED_PROB, _WALKED_POINTS = 0.997, 20


@dataclass(frozen=True, eq=False)
class Joint:
    """Profile likelihood and posterior draws of two scalars.

    Parameters
    ----------
    labels : tuple of str
    grids : tuple of array
    log_likelihood : array (g, h)
        Profile log-likelihood minus its highest value.
    draws : array (d, 2) or None
    marks : mapping of str to (float, float)
    """

    labels: tuple[str, str]
    grids: tuple[FloatArray, FloatArray]
    log_likelihood: FloatArray
    draws: FloatArray | None
    marks: Mapping[str, tuple[float, float]]


def select_labels(
    likelihood: Likelihood, var_names: Sequence[str] | str | None, coords: Mapping[str, Any] | None
) -> list[str]:
    """Labels of the parameters' scalars that ``var_names`` and ``coords`` select, as in ArviZ.

    Raises
    ------
    ValuesError
        For names that are not parameters, and coords that are not theirs.
    """
    names = [var_names] if isinstance(var_names, str) else var_names
    if names is None:
        names = likelihood.var_names
    unknown = [name for name in names if name not in likelihood.var_names]
    if unknown:
        raise ValuesError(
            f"var_names: {', '.join(map(repr, unknown))} not a parameter of the likelihood, which "
            f"has {', '.join(likelihood.var_names)}."
        )
    template = likelihood.template[list(names)]
    chosen = {dim: np.atleast_1d(value) for dim, value in (coords or {}).items()}
    try:
        template = template.sel(chosen)
    except (KeyError, ValueError) as error:
        raise ValuesError(f"coords: {error}. The parameters have {dict(template.sizes)}.") from None
    return [str(label) for label in labelled(template)]


def leading_labels(comparison: Comparison, most: int = _MOST_KEPT) -> list[str]:
    """The scalars that matter most, as the findings have them, then the others in order."""
    found = [label for f in comparison.findings(all=True) for label in f.labels]
    known = list(comparison.table.index)
    return [label for label in dict.fromkeys([*found, *known]) if label in known][:most]


def curves_of(comparison: Comparison, label: str) -> Curves:
    """The curves of one scalar: those that are there already, or else drawn now and kept.

    What can't be had is left out: the prior of a derived quantity, and all but the draws' density
    in a comparison that was loaded without them.
    """
    kept = comparison.background.curves
    if label not in kept:
        kept[label] = _curves_now(comparison, label)
    return kept[label]


def _curves_now(
    comparison: Comparison, label: str, *, profiled: bool = True, walked: bool = False
) -> Curves:
    if comparison.mle.prepared is not None:
        likelihood = Likelihood.of(comparison, progressbar=False)
        if label in labelled(likelihood.template):
            return compute_curves(likelihood, comparison, label, profiled=profiled, walked=walked)
    draws, row = _draws(comparison, label), comparison.table.loc[label]
    marks = {"MLE": row["MLE"], "MAP": row["MAP"], "mean": row["posterior mean"]}
    finite = {name: float(value) for name, value in marks.items() if np.isfinite(value)}
    seen = _walk(comparison.mle, label) if profiled else None
    grid = np.linspace(*_span(list(finite.values()), draws, seen), _FINE)
    return Curves(
        label=label,
        grid=grid,
        log_likelihood=np.full(_FINE, np.nan) if seen is None else _below(seen, grid),
        prior=None,
        posterior=None if draws is None else _density(draws, grid),
        marks=finite,
    )


def _walk(mle: PointEstimate, label: str) -> xr.Dataset | None:
    """The profile of a scalar from point to point outward; None where there is none."""
    if mle.prepared is None or not can_profile(mle) or label not in places_of(mle):
        return None
    try:
        same, found, _ = trace_profiles(mle, [label], _WALKED_PROB, _WALKED_POINTS, False)
    except PmlikError:
        return None
    return label_curve(mle, label, found[label]) if same is mle and label in found else None


def _below(seen: xr.Dataset, grid: FloatArray) -> FloatArray:
    """The profile log-likelihood minus its highest value, NaN outside what was seen."""
    roots = refine_roots(seen["value"].to_numpy(), seen["signed_root"].to_numpy(), grid)
    return -(roots**2) / 2


def keep_curves(comparison: Comparison) -> Comparison:
    """The same comparison, with the curves of its leading scalars drawn.

    Profiles that would take long are walked, in fewer points than otherwise, or left out.
    """
    kept, begin = comparison.background.curves, time.perf_counter()
    labels = [label for label in leading_labels(comparison) if label not in kept]
    seconds = _hessian_seconds(comparison.mle) if labels else 0.0
    walked = seconds * _HESSIANS_A_KNOT * _KNOTS * len(labels) > _PATIENCE_SECONDS
    needed = seconds * (_HESSIANS_A_WALK if walked else _HESSIANS_A_KNOT * _KNOTS)
    for label in labels:
        profiled = time.perf_counter() - begin + needed < _PATIENCE_SECONDS
        kept[label] = _curves_now(comparison, label, profiled=profiled, walked=walked)
    return comparison


def _hessian_seconds(mle: PointEstimate) -> float:
    """What a Hessian of the likelihood takes."""
    if mle.prepared is None or not can_profile(mle):
        return 0.0
    likelihood, x = prepared_of(mle, "curves").problem.likelihood, mle.unconstrained
    if len(x) <= _SMALL:
        return _time(lambda: likelihood.hessian(x))
    unit = np.zeros(len(x))
    unit[0] = 1.0
    return len(x) * _time(lambda: likelihood.product(x, unit))


def _time(call: Callable[[], Any]) -> float:
    call()  # which may compile
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _span(
    marks: Sequence[float], draws: FloatArray | None, seen: xr.Dataset | None = None
) -> tuple[float, float]:
    """A range that shows the marks, the draws and the profile, with a margin.

    A profile with a long arm is cut where it is as far out as all else is wide.
    """
    ends = list(marks)
    if draws is not None:
        ends += list(np.quantile(draws[np.isfinite(draws)], [0.001, 0.999]))
    low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
    if seen is not None:
        first, last = float(seen["value"].min()), float(seen["value"].max())
        width = high - low if high > low else np.inf
        low, high = min(low, max(first, low - width)), max(high, min(last, high + width))
    if not 0 < high - low < np.inf:
        return low - 1.0, low + 1.0
    margin = 0.08 * (high - low)
    return low - margin, high + margin


def compute_curves(
    likelihood: Likelihood,
    comparison: Comparison | None,
    label: str,
    *,
    profiled: bool = True,
    walked: bool = False,
) -> Curves:
    """The curves of one scalar.

    Parameters
    ----------
    likelihood : Likelihood
    comparison : Comparison, optional
        Gives MAP and posterior.
    label : str
    profiled : bool
        Leave the likelihood's curve out if False, which is most of the work.
    walked : bool
        Follow the profile from the MLE outward as far as 3 standard errors or so, in place of
        an optimum at each of many values.
    """
    draws, place = _draws(comparison, label), _place(likelihood, label)
    low, high = _range(likelihood, draws, label)
    grid = np.linspace(low, high, _FINE)
    profile = np.full(_FINE, np.nan)
    if profiled and walked:
        seen = _walk(likelihood.mle, label)
        profile = profile if seen is None else _below(seen, grid)
    elif profiled:
        knots = np.linspace(low, high, _KNOTS)
        heights = likelihood.surface({label: knots}, others="profile").to_numpy()
        profile = _refine(knots, heights, grid, _highest(likelihood, heights))
    return Curves(
        label=label,
        grid=grid,
        log_likelihood=profile,
        prior=likelihood.natural.prior_density(place, grid),
        posterior=None if draws is None else _density(draws, grid),
        marks=_marks(likelihood, comparison, label),
    )


def compute_joint(
    likelihood: Likelihood, comparison: Comparison | None, labels: tuple[str, str]
) -> Joint:
    """The profile likelihood of two scalars, and the posterior's draws."""
    draws = [_draws(comparison, label) for label in labels]
    ranges = [_range(likelihood, d, label) for d, label in zip(draws, labels, strict=True)]
    knots = [np.linspace(low, high, _JOINT_KNOTS) for low, high in ranges]
    surface = likelihood.surface(dict(zip(labels, knots, strict=True)), others="profile").to_numpy()
    both = None if draws[0] is None or draws[1] is None else np.column_stack([draws[0], draws[1]])
    marks = [_marks(likelihood, comparison, label) for label in labels]
    return Joint(
        labels=labels,
        grids=(knots[0], knots[1]),
        log_likelihood=surface - _highest(likelihood, surface),
        draws=both,
        marks={name: (marks[0][name], marks[1][name]) for name in marks[0] if name in marks[1]},
    )


def _place(likelihood: Likelihood, label: str) -> int:
    return list(labelled(likelihood.template)).index(label)


def _draws(comparison: Comparison | None, label: str) -> FloatArray | None:
    if comparison is None or comparison.posterior is None:
        return None
    posterior = az.extract(comparison.posterior.tree, group="posterior", keep_dataset=True)
    for name, array in posterior.data_vars.items():
        one = xr.Dataset({name: array.isel(sample=0, drop=True)})
        labels = list(labelled(one)) if array.dtype.kind in "fiu" else []
        if label in labels:
            flat = array.transpose("sample", ...).to_numpy().reshape(array.sizes["sample"], -1)
            draws = np.asarray(flat[:, labels.index(label)], dtype=float)
            return draws if np.isfinite(draws).any() else None
    return None


def _range(likelihood: Likelihood, draws: FloatArray | None, label: str) -> tuple[float, float]:
    """Far enough for the likelihood and the posterior both."""
    ends = []
    mle: PointEstimate = likelihood.mle
    estimate, error = labelled(mle.values)[label], labelled(mle.std_error)[label]
    if np.isfinite(estimate):
        reach = _REACH * error if np.isfinite(error) else 0.0
        ends += [estimate - reach, estimate + reach]
    if draws is not None:
        ends += list(np.quantile(draws[np.isfinite(draws)], [0.001, 0.999]))
    if not ends or min(ends) == max(ends):
        centre = ends[0] if ends else 0.0
        ends = [centre - 1.0, centre + 1.0]
    return likelihood.natural.stretch(_place(likelihood, label), min(ends), max(ends))


def _highest(likelihood: Likelihood, profile: FloatArray) -> float:
    """The maximum of the likelihood, or where it has none the highest value seen."""
    known = likelihood.mle.log_likelihood
    return known if np.isfinite(known) else float(np.nanmax(profile, initial=-np.inf))


def _refine(knots: FloatArray, profile: FloatArray, grid: FloatArray, highest: float) -> FloatArray:
    finite = np.isfinite(profile)
    if finite.sum() < 4:
        return np.full(len(grid), np.nan)
    spline = interpolate.Akima1DInterpolator(knots[finite], profile[finite] - highest)
    return np.asarray(np.minimum(spline(grid), 0.0))


def _density(draws: FloatArray, grid: FloatArray) -> FloatArray:
    """Kernel density of the draws on a grid, zero outside their range."""
    finite = draws[np.isfinite(draws)]
    low, width = float(finite.min()), float(np.ptp(finite))
    if not 0 < width < np.inf:
        return np.zeros(len(grid))
    kde = az.kde(xr.DataArray((finite - low) / width, dims="sample"), dim="sample")
    x, y = (kde.sel(plot_axis=axis).to_numpy() for axis in ("x", "y"))
    return np.asarray(np.interp((grid - low) / width, x, y, left=0.0, right=0.0) / width)


def _marks(likelihood: Likelihood, comparison: Comparison | None, label: str) -> dict[str, float]:
    marks = {"MLE": labelled(likelihood.mle.values)[label]}
    if comparison is not None:
        marks["MAP"] = labelled(comparison.map.values).get(label, np.nan)
        if comparison.posterior is not None:
            marks["mean"] = labelled(comparison.posterior.values).get(label, np.nan)
    return {name: float(value) for name, value in marks.items() if np.isfinite(value)}
