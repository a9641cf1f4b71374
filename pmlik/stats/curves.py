"""Compute the curves of prior, likelihood and posterior that a figure shows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy import interpolate

from pmlik._budget import CURVES, Meter
from pmlik._summaries import Circle
from pmlik._typing import FloatArray
from pmlik.errors import PmlikError
from pmlik.inference.likelihood import Likelihood
from pmlik.inference.prepare import prepared_of
from pmlik.labels import circles_by_label, labelled
from pmlik.results.comparison import Comparison
from pmlik.results.curves import Curves, JointCurves
from pmlik.results.draws import (
    FINE,
    curves_of_draws,
    density_of,
    draws_of,
    finite_marks,
    span_of,
    widen,
)
from pmlik.results.point import PointEstimate
from pmlik.stats.profile import can_profile, label_curve, places_of, trace_profiles
from pmlik.stats.profile_curves import refine_roots

# Points where a profile is computed; a spline of the log-likelihood draws the curve.
_KNOTS = 41
_JOINT_KNOTS = 25

# About how many Hessians an optimum at a knot takes, and a profile traced from the MLE outward.
_HESSIANS_PER_KNOT, _HESSIANS_PER_TRACE = 3, 40

_STANDARD_ERRORS = 4.0

# How far a profile is traced, and about how many points each side has.
_TRACED_PROB, _TRACED_POINTS = 0.997, 20


def keep_curves(comparison: Comparison, most: float = CURVES) -> Comparison:
    """Return the same comparison with the curves of its leading scalars.

    Profiles that would take long are followed outward from the MLE, in fewer points than
    otherwise, or left out. Without a maximum there is none to draw.

    ``most``: the work after which profiles are left out.
    """
    curves = dict(comparison.background.curves)
    labels = [
        label
        for label in comparison.leading_labels()
        if label not in curves and not _is_constant(comparison, label)
    ]
    likelihood = _likelihood_of(comparison)
    maximal = comparison.mle.prepared is not None and can_profile(comparison.mle)
    budget, hessian = Meter(lambda: 0.0, most), 0.0
    if labels and maximal:
        problem = prepared_of(comparison.mle, "curves").problem
        budget, hessian = Meter(lambda: problem.work, most), problem.hessian_work
    needed = {
        False: hessian * _HESSIANS_PER_KNOT * _KNOTS,
        True: hessian * _HESSIANS_PER_TRACE,
    }
    for i, label in enumerate(labels):
        left = budget.left
        traced = needed[False] * (len(labels) - i) > left
        profiled = maximal and needed[traced] < left
        try:
            found = _curves(comparison, label, likelihood, profiled=profiled, traced=traced)
        except Exception:  # noqa: BLE001 - the estimates are not lost with a curve
            continue
        needed[traced] = max(needed[traced], left - budget.left)
        curves[label] = found
    background = replace(comparison.background, curves=curves)
    return replace(comparison, background=background)


def curves_of(comparison: Comparison, label: str) -> Curves:
    """Return the curves of one scalar of a comparison.

    What can't be had is left out: the prior of a derived quantity, and all but the draws' density
    in a comparison that was loaded.
    """
    return _curves(comparison, label, _likelihood_of(comparison))


def _likelihood_of(comparison: Comparison) -> Likelihood | None:
    known = comparison.mle.prepared is not None
    return Likelihood.of(comparison, progressbar=False) if known else None


def _is_constant(comparison: Comparison, label: str) -> bool:
    if comparison.mle.prepared is None:
        return False
    place = places_of(comparison.mle).get(label)
    return place is not None and bool(prepared_of(comparison.mle, "curves").constant[place])


def _curves(
    comparison: Comparison,
    label: str,
    likelihood: Likelihood | None,
    *,
    profiled: bool = True,
    traced: bool = False,
) -> Curves:
    if _is_constant(comparison, label):
        return curves_of_draws(comparison, label)
    if likelihood is not None and label in labelled(likelihood.template):
        return compute_curves(likelihood, comparison, label, profiled=profiled, traced=traced)
    seen = _trace(comparison.mle, label) if profiled else None
    if seen is None:
        return curves_of_draws(comparison, label)
    draws, marks = draws_of(comparison, label), finite_marks(comparison, label)
    grid = np.linspace(*_span(list(marks.values()), draws, seen), FINE)
    return Curves(
        label=label,
        grid=grid,
        log_likelihood=_below(seen, grid),
        prior=None,
        posterior=None if draws is None else density_of(draws, grid),
        marks=marks,
    )


def _span(
    marks: Sequence[float], draws: FloatArray | None, seen: xr.Dataset
) -> tuple[float, float]:
    """Return a range that shows the marks, the draws and the profile, with a margin.

    A profile with a long arm is cut where it is as far out as all else is wide.
    """
    low, high = span_of(marks, draws)
    first, last = float(seen["value"].min()), float(seen["value"].max())
    width = high - low if high > low else np.inf
    return widen(min(low, max(first, low - width)), max(high, min(last, high + width)))


def _trace(mle: PointEstimate, label: str) -> xr.Dataset | None:
    """Return the profile of a scalar from point to point outward; None where there is none."""
    if mle.prepared is None or not can_profile(mle) or label not in places_of(mle):
        return None
    try:
        same, found, _ = trace_profiles(mle, [label], ci_prob=_TRACED_PROB, n_points=_TRACED_POINTS)
    except PmlikError:
        return None
    return label_curve(mle, label, found[label]) if same is mle and label in found else None


def _below(seen: xr.Dataset, grid: FloatArray) -> FloatArray:
    """Return the profile log-likelihood minus its maximum, NaN outside the points seen."""
    roots = refine_roots(seen["value"].to_numpy(), seen["signed_root"].to_numpy(), grid)
    return -(roots**2) / 2


def compute_curves(
    likelihood: Likelihood,
    comparison: Comparison | None,
    label: str,
    *,
    profiled: bool = True,
    traced: bool = False,
) -> Curves:
    """Return the curves of one scalar.

    ``comparison``: gives MAP and posterior.
    ``profiled``: False leaves the likelihood's curve out, which is most of the work.
    ``traced``: follow the profile from the MLE outward for about 3 standard errors, in place of an
        optimum at each of many values.
    """
    draws, place = draws_of(comparison, label), _place(likelihood, label)
    low, high = _range(likelihood, draws, label)
    grid = np.linspace(low, high, FINE)
    circle = _circle(likelihood, label)
    profile = np.full(FINE, np.nan)
    if profiled and traced:
        seen = _trace(likelihood.mle, label)
        profile = profile if seen is None else _below(seen, grid)
    elif profiled:
        knots = np.linspace(low, high, _KNOTS)
        at = knots if circle is None else circle.wrap(knots)
        values = likelihood.surface({label: at}, others="profile").to_numpy()
        profile = _refine(knots, values, grid, _highest(likelihood, values))
    return Curves(
        label=label,
        grid=grid,
        log_likelihood=profile,
        prior=likelihood.natural.prior_density(place, circle.wrap(grid) if circle else grid),
        posterior=None if draws is None else density_of(draws, grid),
        marks=_marks(likelihood, comparison, label),
    )


def compute_joint(
    likelihood: Likelihood, comparison: Comparison | None, labels: tuple[str, str]
) -> JointCurves:
    """Return the profile likelihood of two scalars, and the posterior's draws."""
    draws = [draws_of(comparison, label) for label in labels]
    ranges = [_range(likelihood, d, label) for d, label in zip(draws, labels, strict=True)]
    knots = [np.linspace(low, high, _JOINT_KNOTS) for low, high in ranges]
    circles = [_circle(likelihood, label) for label in labels]
    at = [knot if c is None else c.wrap(knot) for knot, c in zip(knots, circles, strict=True)]
    surface = likelihood.surface(dict(zip(labels, at, strict=True)), others="profile").to_numpy()
    both = None if draws[0] is None or draws[1] is None else np.column_stack([draws[0], draws[1]])
    marks = [_marks(likelihood, comparison, label) for label in labels]
    return JointCurves(
        labels=labels,
        grids=(knots[0], knots[1]),
        log_likelihood=surface - _highest(likelihood, surface),
        draws=both,
        marks={name: (marks[0][name], marks[1][name]) for name in marks[0] if name in marks[1]},
    )


def _place(likelihood: Likelihood, label: str) -> int:
    return list(labelled(likelihood.template)).index(label)


def _circle(likelihood: Likelihood, label: str) -> Circle | None:
    return circles_by_label(likelihood.mle.values).get(label)


def _range(likelihood: Likelihood, draws: FloatArray | None, label: str) -> tuple[float, float]:
    """Return a range that shows the likelihood and the posterior."""
    ends = []
    mle: PointEstimate = likelihood.mle
    estimate, error = labelled(mle.values)[label], labelled(mle.std_error)[label]
    if np.isfinite(estimate):
        reach = _STANDARD_ERRORS * error if np.isfinite(error) else 0.0
        ends += [estimate - reach, estimate + reach]
    if draws is not None:
        ends += list(np.quantile(draws[np.isfinite(draws)], [0.001, 0.999]))
    if not ends or min(ends) == max(ends):
        centre = ends[0] if ends else 0.0
        ends = [centre - 1.0, centre + 1.0]
    circle = _circle(likelihood, label)
    if circle is not None:
        centre = estimate if np.isfinite(estimate) else (min(ends) + max(ends)) / 2
        half = circle.period / 2
        return max(min(ends), centre - half), min(max(ends), centre + half)
    return likelihood.natural.stretch(_place(likelihood, label), min(ends), max(ends))


def _highest(likelihood: Likelihood, profile: FloatArray) -> float:
    """Return the maximum of the likelihood, or the highest value seen if it has none."""
    known = likelihood.mle.log_likelihood
    return known if np.isfinite(known) else float(np.nanmax(profile, initial=-np.inf))


def _refine(knots: FloatArray, profile: FloatArray, grid: FloatArray, highest: float) -> FloatArray:
    finite = np.isfinite(profile)
    if finite.sum() < 4:
        return np.full(len(grid), np.nan)
    spline = interpolate.Akima1DInterpolator(knots[finite], profile[finite] - highest)
    return np.asarray(np.minimum(spline(grid), 0.0))


def _marks(likelihood: Likelihood, comparison: Comparison | None, label: str) -> dict[str, float]:
    marks = {"MLE": labelled(likelihood.mle.values)[label]}
    if comparison is not None:
        marks["MAP"] = labelled(comparison.map.values).get(label, np.nan)
        if comparison.posterior is not None:
            marks["mean"] = labelled(comparison.posterior.values).get(label, np.nan)
    circle = _circle(likelihood, label)
    if circle is not None:
        first = next((value for value in marks.values() if np.isfinite(value)), np.nan)
        marks = {name: circle.near(float(value), first) for name, value in marks.items()}
    return {name: float(value) for name, value in marks.items() if np.isfinite(value)}
