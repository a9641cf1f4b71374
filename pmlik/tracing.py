"""Along a profile: from an optimum outward, point by point, each a constrained optimum.

Everything here is NumPy and SciPy on plain callables. The objective ``f`` (the log-likelihood below
its maximum) is a function of coordinates ``u`` in which it is round: at the optimum, ``u = 0``,
its Hessian is the identity, so that a unit is a standard error. A quantity ``g(u)`` is held at one
value after the other while everything else is optimised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from scipy import linalg

from pmlik.space import FloatArray

__all__ = [
    "Failure",
    "Finish",
    "Ground",
    "Point",
    "Trace",
    "approach",
    "correct",
    "first_point",
    "trace",
]

# A point of a profile is certified when it is estimated to be nearer than this to the constrained
# optimum, in standard errors; the log-likelihood is then known to half its square.
_TOLERANCE = 1e-6
# Where rounding stops the iteration, what has still to be reached.
_ROUNDING = 1e-4
_ITERATIONS = 30
_LONGEST = 2.0
# The signed root is found to this.
_ROOT_TOLERANCE = 1e-7
_MOST_TRIED = 300
# Steps of the signed root on the way, and how fast distances may grow where it hardly moves.
_STRIDE = 1.0
_GROWTH = 2.0
_REGROWTH = 1.5
# A profile is flat when another distance like that walked would bring less than this share of
# what is lacking; asked from so many standard errors on.
_FLAT_SHARE = 1e-3
_FAR = 8.0
# The tangent has to foretell the next point to this, in standard errors or of the step.
_MISSED, _MISSED_SHARE = 0.5, 0.5
_SHORTEST = 1e-8
_SATURATED = 1e-4
# A point is better than the optimum when it is higher by more than this.
_BETTER = 1e-6


class Failure(StrEnum):
    """Why there is no constrained optimum at a value, as far as can be told."""

    OUTSIDE = "the density is zero there"
    SADDLE = "the constrained optimum has become a saddle"
    STALLED = "the iteration does not converge"


class Finish(StrEnum):
    """How a walk along a profile ended."""

    REACHED = "the level was reached"
    FLAT = "the profile levels off before the level is reached"
    EDGE = "the density jumps to zero before the level is reached"
    BRANCH = "the branch of constrained optima ends before the level is reached"
    BETTER = "the profile rises above the maximum again"
    LOST = "the walk was given up"


class Ground(Protocol):
    """An objective and a quantity, both functions of ``u`` (n,)."""

    def value_and_gradient(self, u: FloatArray, /) -> tuple[float, FloatArray]: ...  # noqa: D102
    def hessian(self, u: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def quantity(self, u: FloatArray, /) -> tuple[float, FloatArray]: ...  # noqa: D102
    def quantity_hessian(self, u: FloatArray, /) -> FloatArray | None: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Point:
    """A constrained optimum.

    Parameters
    ----------
    u : array (n,)
    held : float
        The quantity.
    height : float
        The objective, zero at the optimum that the walk began at.
    slope : float
        Derivative of ``height`` in ``held``: the Lagrange multiplier.
    tangent : array (n,)
        Derivative of ``u`` in ``held``.
    reach : float
        Length of the quantity's gradient: how far it moves with a standard error.
    distance : float
        To the exact constrained optimum, estimated, in standard errors.
    """

    u: FloatArray
    held: float
    height: float
    slope: float
    tangent: FloatArray
    reach: float
    distance: float

    @property
    def root(self) -> float:
        """The root of twice the height, without its sign."""
        return float(np.sqrt(2 * max(self.height, 0.0)))


@dataclass(eq=False)
class Trace:
    """A walk to one side.

    Parameters
    ----------
    side : int
        -1 or 1.
    points : list of Point
        In the order of the walk, the optimum first.
    finish : Finish
    end : Point or None
        Where the level is reached; the last point before where it is not.
    wall : float
        Where the walk could not pass.
    """

    side: int
    points: list[Point] = field(default_factory=list)
    finish: Finish = Finish.LOST
    end: Point | None = None
    wall: float = np.inf


@dataclass(frozen=True, eq=False)
class _Step:
    """One Newton step towards a constrained optimum, and what it is made of."""

    across: FloatArray
    along: FloatArray
    free: FloatArray
    curvature: FloatArray
    root: tuple[FloatArray, bool] | None
    slope: float
    reach: float

    @property
    def step(self) -> FloatArray:
        return np.asarray(self.across + self.along)

    @property
    def is_maximum(self) -> bool:
        return self.root is not None

    def distance(self, gradient: FloatArray) -> float:
        """``sqrt(g' W^-1 g)`` of the gradient within the constraint."""
        reduced = self.free.T @ gradient
        if self.root is None:
            return np.inf
        solved = linalg.cho_solve(self.root, reduced) if reduced.size else reduced
        return float(np.sqrt(max(0.0, float(reduced @ solved))))

    def tangent(self, normal: FloatArray) -> FloatArray:
        """How ``u`` moves with the quantity."""
        up = normal / self.reach
        if self.root is None or not self.free.shape[1]:
            return np.asarray(up)
        return np.asarray(
            up - self.free @ linalg.cho_solve(self.root, self.free.T @ (self.curvature @ up))
        )


def first_point(ground: Ground, n: int) -> Point:
    """The optimum itself."""
    u = np.zeros(n)
    value, _ = ground.value_and_gradient(u)
    held, normal = ground.quantity(u)
    reach = float(np.linalg.norm(normal))
    return Point(u, held, value, 0.0, normal / reach**2, reach, 0.0)


def _newton(
    ground: Ground, u: FloatArray, gradient: FloatArray, normal: FloatArray, miss: float
) -> _Step | None:
    reach = float(np.linalg.norm(normal))
    if not reach > 0 or not np.isfinite(reach):
        return None
    direction = normal / reach
    slope = float(gradient @ direction) / reach
    curvature = ground.hessian(u)
    bend = ground.quantity_hessian(u)
    if bend is not None:
        curvature = curvature - slope * bend
    if not np.isfinite(curvature).all():
        return None
    free = linalg.qr(direction[:, None], mode="full")[0][:, 1:]
    across = -miss / reach * direction
    reduced = free.T @ curvature @ free
    rest = free.T @ (gradient + curvature @ across)
    root = None
    if not len(rest):
        return _Step(across, np.zeros(len(u)), free, curvature, (reduced, True), slope, reach)
    try:
        root = linalg.cho_factor(reduced, lower=True)
        along = -linalg.cho_solve(root, rest)
    except linalg.LinAlgError:  # not a maximum here: downhill all the same
        values, vectors = linalg.eigh(reduced)
        size = np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1e-300))
        along = -vectors @ ((vectors.T @ rest) / size)
    return _Step(across, free @ along, free, curvature, root, slope, reach)


def correct(ground: Ground, u: FloatArray, held: float) -> Point | Failure:
    """The constrained optimum at a value of the quantity, by Newton's method from near by.

    Each step solves the linearised conditions of Lagrange: the gradient vanishes within the
    constraint, the constraint holds. The result is certified: the reduced Hessian is positive
    definite, and the distance left is below 1e-6 standard errors.

    Parameters
    ----------
    ground : Ground
    u : array (n,)
        Where to begin.
    held : float
        The value.
    """
    value, gradient = ground.value_and_gradient(u)
    if not np.isfinite(value):
        return Failure.OUTSIDE
    quantity, normal = ground.quantity(u)
    before = np.inf
    for _ in range(_ITERATIONS):
        newton = _newton(ground, u, gradient, normal, quantity - held)
        if newton is None:
            return Failure.STALLED
        left = np.hypot(newton.distance(gradient), abs(quantity - held) / newton.reach)
        if newton.is_maximum and (
            left < _TOLERANCE or (left < _ROUNDING and left > before / 2)
        ):
            return _point(u, quantity, value, gradient, normal, newton, float(left))
        if not newton.is_maximum and np.linalg.norm(newton.step) < _TOLERANCE:
            return Failure.SADDLE
        before = float(left)
        moved = _search(ground, u, value, quantity - held, newton, held)
        if moved is None:
            return Failure.STALLED if newton.is_maximum else Failure.SADDLE
        u, value, gradient, quantity, normal = moved
        if left < 1e-2:  # the curvature has hardly changed, and is good enough to judge by
            left = np.hypot(newton.distance(gradient), abs(quantity - held) / newton.reach)
            if newton.is_maximum and left < _TOLERANCE:
                return _point(u, quantity, value, gradient, normal, newton, float(left))
    return Failure.STALLED


def _point(
    u: FloatArray,
    quantity: float,
    value: float,
    gradient: FloatArray,
    normal: FloatArray,
    newton: _Step,
    distance: float,
) -> Point:
    reach = float(np.linalg.norm(normal))
    slope = float(gradient @ normal) / reach**2
    tangent = newton.tangent(normal / reach)
    return Point(u, quantity, value, slope, tangent, reach, distance)


def _search(
    ground: Ground, u: FloatArray, value: float, miss: float, newton: _Step, held: float
) -> tuple[FloatArray, float, FloatArray, float, FloatArray] | None:
    """The longest part of the step, halved, that lowers objective plus penalty."""
    step = newton.step
    length = float(np.linalg.norm(step))
    share = min(1.0, _LONGEST / length) if length > 0 else 1.0
    price = 2 * abs(newton.slope) + 1.0 / newton.reach
    merit = value + price * abs(miss)
    for _ in range(25):
        there = u + share * step
        reached, gradient = ground.value_and_gradient(there)
        if np.isfinite(reached):
            quantity, normal = ground.quantity(there)
            if np.isfinite(quantity):
                gain = merit - reached - price * abs(quantity - held)
                if gain > -1e-9 * (1 + abs(merit)):
                    return there, reached, gradient, quantity, normal
        share /= 2
    return None


def trace(ground: Ground, start: Point, side: int, level: float) -> Trace:
    """Walk from an optimum to where the height first reaches a level.

    Parameters
    ----------
    ground : Ground
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
    walk = Trace(side, [start])
    here, target = start, float(np.sqrt(2 * level))
    step = start.reach * min(target, _STRIDE)
    longest, flat = np.inf, False
    why = Failure.STALLED
    for _ in range(_MOST_TRIED):
        ahead = here.u + side * step * here.tangent
        there = correct(ground, ahead, here.held + side * step)
        if isinstance(there, Point) and _jumps(here, ahead, there):
            there = Failure.SADDLE  # on another branch, or too long a step to tell
        if isinstance(there, Failure):
            why, walk.wall = there, here.held + side * step
            step = longest = step / 2
            if step < _SHORTEST * max(start.reach, abs(here.held - start.held)):
                return _stopped(walk, here, level, why)
            continue
        walk.points.append(there)
        if there.height < -_BETTER * (1 + abs(level)):
            walk.finish, walk.end = Finish.BETTER, there
            return walk
        if there.height >= level or abs(there.root - target) < _ROOT_TOLERANCE:
            return _refine(ground, walk, here, there, target)
        still = _is_flat(there, start, level)
        if flat and still:
            walk.finish, walk.end = Finish.FLAT, there
            return walk
        longest *= _REGROWTH
        flat, here = still, there
        step = min(_next_step(there, start, side, target), longest)
    walk.end = here
    return walk


def approach(ground: Ground, start: Point, side: int, level: float) -> Trace:
    """Walk from a point below a level up to it, towards the supremum of the profile.

    Parameters
    ----------
    ground : Ground
    start : Point
        Whose height is above ``level``.
    side : int
        Where the supremum is.
    level : float
    """
    walk, here, step = Trace(side, [start]), start, start.reach
    for _ in range(_MOST_TRIED):
        there = correct(ground, here.u + side * step * here.tangent, here.held + side * step)
        if isinstance(there, Failure):
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
    rate = side * here.slope / here.root if here.root > 0 else 0.0
    walked = max(abs(here.held - start.held), start.reach)
    longest = _GROWTH * walked
    if not rate > 0:
        return longest
    return float(min(longest, min(target - here.root, _STRIDE) / rate))


def _is_flat(here: Point, start: Point, level: float) -> bool:
    walked = abs(here.held - start.held)
    return bool(
        walked > _FAR * start.reach
        and abs(here.slope) * walked < _FLAT_SHARE * (level - here.height)
    )


def _stopped(walk: Trace, here: Point, level: float, why: Failure | None) -> Trace:
    """What a wall is."""
    walk.end = here
    start = walk.points[0]
    if here.reach < _SATURATED * start.reach or _is_flat(here, start, level):
        walk.finish = Finish.FLAT
    elif why is Failure.OUTSIDE:
        walk.finish = Finish.EDGE
    else:
        walk.finish = Finish.BRANCH
    return walk


def _refine(ground: Ground, walk: Trace, below: Point, above: Point, target: float) -> Trace:
    """Newton's method for the signed root, kept between two points by bisection."""
    near = above if abs(above.root - target) < abs(below.root - target) else below
    for _ in range(40):
        if abs(near.root - target) < _ROOT_TOLERANCE:
            walk.finish, walk.end = Finish.REACHED, near
            return walk
        held = _aim(near, below, above, target)
        there = correct(ground, near.u + (held - near.held) * near.tangent, held)
        if isinstance(there, Failure):
            held = (below.held + above.held) / 2
            there = correct(ground, below.u + (held - below.held) * below.tangent, held)
            if isinstance(there, Failure):
                break
        if there.root < target:
            below = there
        else:
            above = there
        near = there
        walk.points.append(there)
    walk.end = near
    return walk


def _aim(near: Point, below: Point, above: Point, target: float) -> float:
    middle = (below.held + above.held) / 2
    if near.root == 0 or near.slope == 0:
        return middle
    held = near.held + (target - near.root) * near.root / near.slope
    low, high = sorted((below.held, above.held))
    return held if low < held < high else middle


