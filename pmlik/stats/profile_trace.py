"""Along a profile: from an optimum outward, point by point, each a constrained optimum."""

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

__all__ = ["TraceStatus", "ProfileTrace", "approach", "trace_profile"]


# The signed root is found to this.
_ROOT_TOLERANCE = 1e-7

# or, where rounding error is as large, to this.
_ROOT_ROUNDING = 1e-5
_MOST_TRIED = 300

# Steps of the signed root on the way, and how fast distances may grow where it hardly moves.
_STRIDE = 1.0
_GROWTH = 2.0
_REGROWTH = 1.5

# Speeds of the signed root, against that at the optimum, below which steps are shorter.
_SLOW, _RISING, _CAREFUL = 0.3, 1e-3, 0.5

# A profile is flat when another distance like that walked would bring less than this share of
# what is lacking; asked from so many standard errors on.
_FLAT_SHARE = 1e-3
_FAR = 8.0

# The tangent has to foretell the next point to this, in standard errors or of the step.
_MISSED, _MISSED_SHARE = 0.5, 0.5
_SHORTEST = 1e-8
_SATURATED = 1e-3

# A point is better than the optimum when it is higher by more than this.
_BETTER = 1e-6


class TraceStatus(StrEnum):
    """How a walk along a profile ended."""

    REACHED = "the level was reached"
    FLAT = "the profile levels off before the level is reached"
    EDGE = "the density jumps to zero before the level is reached"
    BRANCH = "the branch of constrained optima ends before the level is reached"
    BETTER = "the profile rises above the maximum again"
    LOST = "the walk was given up"


@dataclass(eq=False)
class ProfileTrace:
    """A walk to one side.

    Parameters
    ----------
    side : int
        -1 or 1.
    points : list of Point
        In the order of the walk, the optimum first.
    finish : TraceStatus
    end : Point or None
        Where the level is reached; the last point before where it is not.
    wall : float
        Where the walk could not pass.
    """

    side: int
    points: list[Point] = field(default_factory=list)
    finish: TraceStatus = TraceStatus.LOST
    end: Point | None = None
    wall: float = np.inf


def trace_profile(
    ground: ConstrainedObjective, start: Point, side: int, level: float
) -> ProfileTrace:
    """Walk from an optimum to where the height first reaches a level.

    Parameters
    ----------
    ground : ConstrainedObjective
    start : Point
    side : int
        -1 for lower values of the quantity, 1 for higher ones.
    level : float
        Half the square of the signed root that is sought.

    Notes
    -----
    Steps are predicted from the tangent and from the slope of the signed root, which is nearly
    linear, and halved where there is no constrained optimum.
    """
    walk = ProfileTrace(side, [start])
    here, target = start, float(np.sqrt(2 * level))
    step = start.reach * min(target, _STRIDE)
    longest, flat = np.inf, False
    why = ConstrainedStatus.STALLED
    for _ in range(_MOST_TRIED):
        ahead = here.u + side * step * here.tangent
        there = solve_constrained(ground, ahead, here.held + side * step)
        if isinstance(there, Point) and _jumps(here, ahead, there):
            there = ConstrainedStatus.SADDLE  # on another branch, or too long a step to tell
        if isinstance(there, ConstrainedStatus):
            why, walk.wall = there, here.held + side * step
            step = longest = step / 2
            if step < _SHORTEST * max(start.reach, abs(here.held - start.held)):
                return _stopped(walk, here, level, why)
            continue
        walk.points.append(there)
        if there.height < -_BETTER * (1 + abs(level)):
            walk.finish, walk.end = TraceStatus.BETTER, there
            return walk
        if there.height >= level or abs(there.root - target) < _ROOT_TOLERANCE:
            return _refine(ground, walk, here, there, target)
        still = _is_flat(there, start, level)
        if flat and still:
            walk.finish, walk.end = TraceStatus.FLAT, there
            return walk
        longest *= _REGROWTH
        flat, here = still, there
        step = min(_next_step(there, start, side, target), longest)
    walk.end = here
    return walk


def approach(ground: ConstrainedObjective, start: Point, side: int, level: float) -> ProfileTrace:
    """Walk from a point below a level up to it, towards the supremum of the profile.

    Parameters
    ----------
    ground : ConstrainedObjective
    start : Point
        Whose height is above ``level``.
    side : int
        Where the supremum is.
    level : float
    """
    walk, here, step = ProfileTrace(side, [start]), start, start.reach
    for _ in range(_MOST_TRIED):
        there = solve_constrained(
            ground, here.u + side * step * here.tangent, here.held + side * step
        )
        if isinstance(there, ConstrainedStatus):
            step /= 2
            if step < _SHORTEST * start.reach:
                break
            continue
        walk.points.append(there)
        if there.height <= level:
            return _refine(ground, walk, there, here, float(np.sqrt(2 * level)))
        here, step = there, step * _REGROWTH
    walk.end = here
    return walk


def _jumps(here: Point, ahead: FloatArray, there: Point) -> bool:
    """Whether a constrained optimum is so far from where it was expected that it may be another."""
    missed = float(np.linalg.norm(there.u - ahead))
    return missed > max(_MISSED, _MISSED_SHARE * float(np.linalg.norm(ahead - here.u)))


def _next_step(here: Point, start: Point, side: int, target: float) -> float:
    """As far as the signed root is expected to grow by a stride, with care where it hardly does.

    Where the profile rises again there may be another maximum, which is not stepped over.
    """
    rate = side * here.slope / here.root if here.root > 0 else 0.0
    walked = max(abs(here.held - start.held), start.reach)
    if rate * start.reach < -_RISING:
        return _CAREFUL * start.reach
    if rate * start.reach < _SLOW:
        return _CAREFUL * walked
    return float(min(_GROWTH * walked, min(target - here.root, _STRIDE) / rate))


def _is_flat(here: Point, start: Point, level: float) -> bool:
    walked = abs(here.held - start.held)
    return bool(
        walked > _FAR * start.reach
        and abs(here.slope) * walked < _FLAT_SHARE * (level - here.height)
    )


def _stopped(
    walk: ProfileTrace, here: Point, level: float, why: ConstrainedStatus | None
) -> ProfileTrace:
    """What a wall is."""
    walk.end = here
    start = walk.points[0]
    if here.reach < _SATURATED * start.reach or _is_flat(here, start, level):
        walk.finish = TraceStatus.FLAT
    elif why is ConstrainedStatus.OUTSIDE:
        walk.finish = TraceStatus.EDGE
    else:
        walk.finish = TraceStatus.BRANCH
    return walk


def _refine(
    ground: ConstrainedObjective, walk: ProfileTrace, below: Point, above: Point, target: float
) -> ProfileTrace:
    """Newton's method for the signed root, kept between two points by bisection."""
    near = above if abs(above.root - target) < abs(below.root - target) else below
    for _ in range(40):
        if abs(near.root - target) < _ROOT_TOLERANCE:
            walk.finish, walk.end = TraceStatus.REACHED, near
            return walk
        held = _aim(near, below, above, target)
        there = solve_constrained(ground, near.u + (held - near.held) * near.tangent, held)
        if isinstance(there, ConstrainedStatus):
            held = (below.held + above.held) / 2
            there = solve_constrained(ground, below.u + (held - below.held) * below.tangent, held)
            if isinstance(there, ConstrainedStatus):
                break
        if there.root < target:
            below = there
        else:
            above = there
        near = there
        walk.points.append(there)
    walk.end = near
    if abs(near.root - target) < _ROOT_ROUNDING:
        walk.finish = TraceStatus.REACHED
    return walk


def _aim(near: Point, below: Point, above: Point, target: float) -> float:
    middle = (below.held + above.held) / 2
    if near.root == 0 or near.slope == 0:
        return middle
    held = near.held + (target - near.root) * near.root / near.slope
    low, high = sorted((below.held, above.held))
    return held if low < held < high else middle
