"""Trace a profile from an optimum outward through constrained optima."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from pmlik._typing import FloatArray
from pmlik.optimize.constrained import (
    ConstrainedObjective,
    ConstrainedStatus,
    Point,
    solve_constrained,
)

# Tolerance of the signed root,
_ROOT_TOLERANCE = 1e-7

# and the one where rounding error is larger.
_ROOT_ROUNDING = 1e-5
_MOST_TRIED = 300

# Step of the signed root, and the growth of steps where it hardly changes.
_STRIDE = 1.0
_GROWTH = 2.0
_REGROWTH = 1.5

# Rates of the signed root, relative to the optimum, below which steps are shorter.
_SLOW, _RISING, _CAREFUL = 0.3, 1e-3, 0.5

# A profile is flat if as long a distance again would bring less than this share of the rest to the
# level; checked from this many standard errors on.
_FLAT_SHARE = 1e-3
_FAR = 8.0

# Largest error of the point predicted by the tangent, in standard errors or of the step.
_MISSED, _MISSED_SHARE = 0.5, 0.5
_SHORTEST = 1e-8
_SATURATED = 1e-3

# The least number of steps of a circular quantity.
_ROUND = 16

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

    Parameters
    ----------
    side : int
        -1 or 1.
    points : list of Point
        From the optimum outward.
    status : TraceStatus
    end : Point or None
        Where the level is reached; the last point before where it is not.
    blocked_at : float
        The value that the trace could not pass.
    """

    side: int
    points: list[Point] = field(default_factory=list)
    status: TraceStatus = TraceStatus.LOST
    end: Point | None = None
    blocked_at: float = np.inf


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
    trace = ProfileTrace(side, [start])
    here, target = start, float(np.sqrt(2 * level))
    step = min(start.gradient_norm * min(target, _STRIDE), most / _ROUND)
    longest, flat = np.inf, False
    why = ConstrainedStatus.STALLED
    for _ in range(_MOST_TRIED):
        ahead = here.u + side * step * here.tangent
        there = solve_constrained(objective, ahead, here.constraint_value + side * step)
        if isinstance(there, Point) and _jumps(here, ahead, there):
            there = ConstrainedStatus.SADDLE  # on another branch, or too long a step
        if isinstance(there, ConstrainedStatus):
            why, trace.blocked_at = there, here.constraint_value + side * step
            step = longest = step / 2
            if step < _SHORTEST * max(
                start.gradient_norm, abs(here.constraint_value - start.constraint_value)
            ):
                return _stopped(trace, here, level, why)
            continue
        trace.points.append(there)
        if there.delta_nll < -_BETTER * (1 + abs(level)):
            trace.status, trace.end = TraceStatus.BETTER, there
            return trace
        if there.delta_nll >= level or abs(there.root_deviance - target) < _ROOT_TOLERANCE:
            return _refine(objective, trace, here, there, target)
        still = _is_flat(there, start, level)
        if flat and still:
            trace.status, trace.end = TraceStatus.FLAT, there
            return trace
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

    Parameters
    ----------
    objective : ConstrainedObjective
    start : Point
        With ``delta_nll`` above ``level``.
    side : int
        Where the supremum is.
    level : float
    """
    trace, here, step = ProfileTrace(side, [start]), start, start.gradient_norm
    for _ in range(_MOST_TRIED):
        there = solve_constrained(
            objective, here.u + side * step * here.tangent, here.constraint_value + side * step
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


def _jumps(here: Point, ahead: FloatArray, there: Point) -> bool:
    """Return True if a constrained optimum is too far from its prediction to be on this branch."""
    missed = float(np.linalg.norm(there.u - ahead))
    return missed > max(_MISSED, _MISSED_SHARE * float(np.linalg.norm(ahead - here.u)))


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
            objective, near.u + (wanted - near.constraint_value) * near.tangent, wanted
        )
        if isinstance(there, ConstrainedStatus):
            wanted = (below.constraint_value + above.constraint_value) / 2
            there = solve_constrained(
                objective, below.u + (wanted - below.constraint_value) * below.tangent, wanted
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
