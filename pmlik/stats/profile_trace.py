"""Trace a profile from an optimum outward through constrained optima."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from pmlik._typing import FloatArray
from pmlik.optimize.active_set import solve_constrained
from pmlik.optimize.borders import move, without
from pmlik.optimize.constrained import ConstrainedObjective, ConstrainedStatus, Point

# Tolerance of the signed root,
_ROOT_TOLERANCE = 1e-7

# and the one where rounding error is larger.
_ROOT_ROUNDING = 1e-5
_MOST_TRIED = 300

# Step of the signed root, and the growth of steps where it hardly changes.
_STRIDE = 1.0
_GROWTH = 2.0
_REGROWTH = 1.5

# The first step of a logarithm or log-odds, whose standard error is large near a border.
_FIRST = 3.0

# Rates of the signed root, relative to the optimum, below which steps are shorter.
_SLOW, _RISING, _CAREFUL = 0.3, 1e-3, 0.5

# A profile is flat if as long a distance again would bring less than this share of the rest to the
# level; checked from this many standard errors on.
_FLAT_SHARE = 1e-3
_FAR = 8.0
_FURTHER = (4.0, 32.0)

# Largest error of the point predicted by the tangent, in standard errors or of the step.
_MISSED, _MISSED_SHARE = 0.5, 0.5
_SHORTEST = 1e-8
_SATURATED = 1e-3

# The least number of steps of a circular quantity.
_ROUND = 16

# Extent of a curve beyond an endpoint, and its number of steps there.
_BEYOND_END, _MORE = 1.25, 2

# A point is better than the optimum when it is higher by more than this.
_BETTER = 1e-6


class TraceStatus(StrEnum):
    """Reasons for which the trace of a profile ended."""

    REACHED = "the level was reached"
    FLAT = "the profile levels off before the level is reached"
    EDGE = "the density jumps to zero before the level is reached"
    BRANCH = "the branch of constrained optima ends before the level is reached"
    BETTER = "the profile rises above the maximum again"
    AROUND = "the whole turn is traced before the level is reached"
    LOST = "the trace was given up"


@dataclass(eq=False)
class ProfileTrace:
    """The points of a profile on one side.

    ``side``: -1 or 1. ``points``: from the optimum outward.
    ``end``: where the level is reached; the last point before where it is not.
    ``blocked_at``: the value that the trace could not pass.
    ``higher``: a point with a higher log-likelihood than the optimum.
    ``most``: the farthest from the start that a circular quantity is traced.
    """

    side: int
    points: list[Point] = field(default_factory=list)
    status: TraceStatus = TraceStatus.LOST
    end: Point | None = None
    blocked_at: float = np.inf
    higher: Point | None = None
    most: float = np.inf


def trace_profile(
    objective: ConstrainedObjective, start: Point, side: int, level: float, most: float = np.inf
) -> ProfileTrace:
    """Trace from an optimum to where ``delta_nll`` first reaches a level.

    Parameters
    ----------
    objective : ConstrainedObjective
    start : Point
    side : int
        -1 for lower values of the quantity, 1 for higher ones.
    level : float
        Half the square of the signed root that is sought.
    most : float
        The farthest from the start that the quantity, which is circular, is traced.

    Notes
    -----
    Steps are predicted from the tangent and from the slope of the signed root, which is nearly
    linear, and halved where there is no constrained optimum.
    """
    trace, target = ProfileTrace(side, [start], most=most), float(np.sqrt(2 * level))
    step = min(start.gradient_norm * min(target, _STRIDE), most / _ROUND)
    if np.isfinite(objective.limits).any():  # a logarithm or log-odds, perhaps near its border
        step = min(step, _FIRST)
    return _go_on(objective, trace, start, step, level)


def resume_trace(
    objective: ConstrainedObjective, trace: ProfileTrace, there: Point, level: float
) -> ProfileTrace:
    """Go on from a better branch, also where it is better before the end of the one followed.

    ``there``: on the other branch, at the value where the trace ended.
    """
    kept, other, start = list(trace.points), there, trace.points[0]
    kept.sort(key=lambda point: trace.side * point.constraint_value)
    replaced = [there]
    while len(kept) > 1:
        change = kept[-1].constraint_value - other.constraint_value
        back = solve_constrained(
            objective, predict(objective, other, change), kept[-1].constraint_value, other.held
        )
        if not isinstance(back, Point) or not back.delta_nll < kept[-1].delta_nll:
            break
        kept.pop()
        replaced.append(back)
        other = back
    resumed = ProfileTrace(trace.side, [*kept, *replaced[::-1]], most=trace.most)
    step = _next_step(there, start, trace.side, float(np.sqrt(2 * level)))
    return _go_on(objective, resumed, there, step, level)


def _go_on(
    objective: ConstrainedObjective, trace: ProfileTrace, here: Point, step: float, level: float
) -> ProfileTrace:
    """Trace from the last point outward."""
    start, side, target = trace.points[0], trace.side, float(np.sqrt(2 * level))
    most, longest, flat = trace.most, np.inf, False
    why = ConstrainedStatus.STALLED
    for _ in range(_MOST_TRIED):
        wanted = float(np.clip(here.constraint_value + side * step, *objective.limits))
        ahead = predict(objective, here, wanted - here.constraint_value)
        there = solve_constrained(objective, ahead, wanted, here.held)
        if isinstance(there, Point) and _jumps(objective, here, ahead, there):
            there = ConstrainedStatus.SADDLE  # on another branch, or too long a step
        if isinstance(there, ConstrainedStatus):
            why, trace.blocked_at = there, wanted
            step = longest = step / 2
            if step < _SHORTEST * max(
                start.gradient_norm, abs(here.constraint_value - start.constraint_value)
            ):
                return _stopped(trace, here, level, why)
            continue
        trace.points.append(there)
        if there.delta_nll < -_BETTER * (1 + abs(level)):
            trace.status, trace.end, trace.higher = TraceStatus.BETTER, there, there
            return trace
        if there.delta_nll >= level or abs(there.root_deviance - target) < _ROOT_TOLERANCE:
            return _refine(objective, trace, here, there, target)
        still = _is_flat(there, start, level)
        if wanted in objective.limits:
            trace.status, trace.end = TraceStatus.FLAT, there
            return trace
        if flat and still:
            return _check_flat(objective, trace, there, target)
        longest *= _REGROWTH
        flat, here = still, there
        left = most - abs(here.constraint_value - start.constraint_value)
        if np.isfinite(most) and left <= _SHORTEST * most:
            trace.status, trace.end = TraceStatus.AROUND, here
            return trace
        step = min(_next_step(there, start, side, target), longest, most / _ROUND, left)
    trace.end = here
    return trace


def trace_to_level(
    objective: ConstrainedObjective, start: Point, side: int, level: float
) -> ProfileTrace:
    """Trace from a point with less profile likelihood towards the supremum, up to a level.

    ``start``: with ``delta_nll`` above ``level``. ``side``: where the supremum is.
    """
    trace, here, step = ProfileTrace(side, [start]), start, start.gradient_norm
    for _ in range(_MOST_TRIED):
        there = solve_constrained(
            objective,
            predict(objective, here, side * step),
            here.constraint_value + side * step,
            here.held,
        )
        if isinstance(there, ConstrainedStatus):
            step /= 2
            if step < _SHORTEST * start.gradient_norm:
                break
            continue
        trace.points.append(there)
        if there.delta_nll <= level:
            return _refine(objective, trace, there, here, float(np.sqrt(2 * level)))
        here, step = there, step * _REGROWTH
    trace.end = here
    return trace


def predict(objective: ConstrainedObjective, here: Point, change: float) -> FloatArray:
    """Return a prediction of the constrained optimum after a change of the quantity."""
    return move(objective.borders, here.near, here.u, change * here.tangent)


def _jumps(objective: ConstrainedObjective, here: Point, ahead: FloatArray, there: Point) -> bool:
    """Return True if a constrained optimum is too far from its prediction to be on this branch.

    How far coordinates move near a border does not matter.
    """
    loose = here.near | there.near | here.held | there.held
    missed, moved = (
        float(np.linalg.norm(without(objective.borders, loose, step)))
        for step in (there.u - ahead, ahead - here.u)
    )
    return missed > max(_MISSED, _MISSED_SHARE * moved)


def _check_flat(
    objective: ConstrainedObjective, trace: ProfileTrace, here: Point, target: float
) -> ProfileTrace:
    """Compare a profile that seems to level off with the level further out."""
    trace.status, trace.end = TraceStatus.FLAT, here
    travelled = here.constraint_value - trace.points[0].constraint_value
    for times in _FURTHER:
        there = solve_constrained(
            objective,
            predict(objective, here, times * travelled),
            here.constraint_value + times * travelled,
            here.held,
        )
        if isinstance(there, Point) and there.root_deviance > target:
            return _refine(objective, trace, here, there, target)
    return trace


def _next_step(here: Point, start: Point, side: int, target: float) -> float:
    """Return a step over which the signed root should grow by a stride; less where it hardly does.

    Steps are short where the profile rises again, so that another maximum is not missed.
    """
    rate = side * here.multiplier / here.root_deviance if here.root_deviance > 0 else 0.0
    travelled = max(abs(here.constraint_value - start.constraint_value), start.gradient_norm)
    if rate * start.gradient_norm < -_RISING:
        return _CAREFUL * start.gradient_norm
    if rate * start.gradient_norm < _SLOW:
        return _CAREFUL * travelled
    return float(min(_GROWTH * travelled, min(target - here.root_deviance, _STRIDE) / rate))


def _is_flat(here: Point, start: Point, level: float) -> bool:
    travelled = abs(here.constraint_value - start.constraint_value)
    return bool(
        travelled > _FAR * start.gradient_norm
        and abs(here.multiplier) * travelled < _FLAT_SHARE * (level - here.delta_nll)
    )


def _stopped(
    trace: ProfileTrace, here: Point, level: float, why: ConstrainedStatus | None
) -> ProfileTrace:
    """Classify the value that could not be passed."""
    trace.end = here
    start = trace.points[0]
    if here.gradient_norm < _SATURATED * start.gradient_norm or _is_flat(here, start, level):
        trace.status = TraceStatus.FLAT
    elif why is ConstrainedStatus.OUTSIDE:
        trace.status = TraceStatus.EDGE
    else:
        trace.status = TraceStatus.BRANCH
    return trace


def _refine(
    objective: ConstrainedObjective, trace: ProfileTrace, below: Point, above: Point, target: float
) -> ProfileTrace:
    """Find the level by Newton's method for the signed root, safeguarded by bisection."""
    near = above if abs(above.root_deviance - target) < abs(below.root_deviance - target) else below
    for _ in range(40):
        if abs(near.root_deviance - target) < _ROOT_TOLERANCE:
            trace.status, trace.end = TraceStatus.REACHED, near
            return trace
        wanted = _aim(near, below, above, target)
        there = solve_constrained(
            objective, predict(objective, near, wanted - near.constraint_value), wanted, near.held
        )
        if isinstance(there, ConstrainedStatus):
            wanted = (below.constraint_value + above.constraint_value) / 2
            there = solve_constrained(
                objective,
                predict(objective, below, wanted - below.constraint_value),
                wanted,
                below.held,
            )
            if isinstance(there, ConstrainedStatus):
                break
        if there.root_deviance < target:
            below = there
        else:
            above = there
        near = there
        trace.points.append(there)
    trace.end = near
    if abs(near.root_deviance - target) < _ROOT_ROUNDING:
        trace.status = TraceStatus.REACHED
    return trace


def _aim(near: Point, below: Point, above: Point, target: float) -> float:
    middle = (below.constraint_value + above.constraint_value) / 2
    if near.root_deviance == 0 or near.multiplier == 0:
        return middle
    wanted = (
        near.constraint_value + (target - near.root_deviance) * near.root_deviance / near.multiplier
    )
    low, high = sorted((below.constraint_value, above.constraint_value))
    return wanted if low < wanted < high else middle


def ordered_points(
    objective: ConstrainedObjective, trace: ProfileTrace, level: float, n_points: int
) -> list[Point]:
    """Return the points of a trace without the first, outward, with more between and beyond."""
    points = sorted(trace.points[1:], key=lambda point: trace.side * point.constraint_value)
    points = [
        point for point in points if trace.status is not TraceStatus.BETTER or point.delta_nll >= 0
    ]
    if not n_points or not points:
        return points
    known = sorted(trace.points, key=lambda point: point.root_deviance)
    target = float(np.sqrt(2 * level))
    constraint_values = np.array([point.constraint_value for point in known])
    if (
        trace.status is not TraceStatus.REACHED
        or len(set(np.sign(np.diff(constraint_values)))) != 1
    ):
        return points
    roots = np.array([point.root_deviance for point in known])
    wanted = np.linspace(roots[0], target, n_points + 1)[1:-1]
    for root in (*wanted, *(np.linspace(1, _BEYOND_END, _MORE + 1)[1:] * target)):
        near = min(known, key=lambda point: abs(point.root_deviance - root))
        if near.root_deviance > 0 and abs(near.root_deviance - root) < 0.2 * target / n_points:
            continue
        value = _interpolate(known, root)
        there = solve_constrained(
            objective, predict(objective, near, value - near.constraint_value), value, near.held
        )
        if isinstance(there, Point):
            points.append(there)
            if root > target:
                known.append(there)
    return sorted(points, key=lambda point: trace.side * point.constraint_value)


def _interpolate(known: Sequence[Point], root: float) -> float:
    """Interpolate the value at a root deviance; extrapolate beyond the last point."""
    last = known[-1]
    if root > last.root_deviance:
        return (
            last.constraint_value
            + (root - last.root_deviance) * last.root_deviance / last.multiplier
        )
    return float(
        np.interp(root, [p.root_deviance for p in known], [p.constraint_value for p in known])
    )
