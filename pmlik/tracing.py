"""Along a profile: from an optimum outward, point by point, each a constrained optimum.

Everything here is NumPy and SciPy on plain callables. The objective ``f`` (the log-likelihood below
its maximum) is a function of coordinates ``u`` in which it is round: at the optimum, ``u = 0``,
its Hessian is the identity, so that a unit is a standard error. Quantities ``g(u)`` are held at
one value after the other while everything else is optimised.
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
_SHORT = 1e-2
_PRICE = 1e3
# The signed root is found to this.
_ROOT_TOLERANCE = 1e-7
# or, where rounding error is as large, to this.
_ROOT_ROUNDING = 1e-5
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
_SATURATED = 1e-3
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
    """An objective and ``q`` quantities, all functions of ``u`` (n,).

    ``quantities`` gives their values (q,) and gradients (q, n), ``bend`` the second derivative of
    their weighted sum, None where they are linear.
    """

    def value_and_gradient(self, u: FloatArray, /) -> tuple[float, FloatArray]: ...  # noqa: D102
    def hessian(self, u: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def quantities(self, u: FloatArray, /) -> tuple[FloatArray, FloatArray]: ...  # noqa: D102
    def bend(self, u: FloatArray, weights: FloatArray, /) -> FloatArray | None: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Point:
    """A constrained optimum.

    Parameters
    ----------
    u : array (n,)
    helds : array (q,)
        The quantities.
    height : float
        The objective, zero at the optimum that the walk began at.
    slopes : array (q,)
        Derivatives of ``height`` in ``helds``: the Lagrange multipliers.
    tangents : array (n, q)
        Derivatives of ``u`` in ``helds``.
    reach : float
        Length of the first quantity's gradient: how far it moves with a standard error.
    distance : float
        To the exact constrained optimum, estimated, in standard errors.
    """

    u: FloatArray
    helds: FloatArray
    height: float
    slopes: FloatArray
    tangents: FloatArray
    reach: float
    distance: float

    @property
    def held(self) -> float:
        """The first quantity."""
        return float(self.helds[0])

    @property
    def slope(self) -> float:
        """The first slope."""
        return float(self.slopes[0])

    @property
    def tangent(self) -> FloatArray:
        """The first tangent (n,)."""
        return np.asarray(self.tangents[:, 0])

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
class _Here:
    """A point and everything that is known of it to first order."""

    u: FloatArray
    value: float
    gradient: FloatArray
    helds: FloatArray
    normals: FloatArray

    @classmethod
    def look(cls, ground: Ground, u: FloatArray) -> _Here | None:
        """None where the objective or a quantity is not finite."""
        value, gradient = ground.value_and_gradient(u)
        if not np.isfinite(value):
            return None
        helds, normals = ground.quantities(u)
        if not (np.isfinite(helds).all() and np.isfinite(normals).all()):
            return None
        return cls(u, value, gradient, helds, normals)


@dataclass(frozen=True, eq=False)
class _Newton:
    """One Newton step towards a constrained optimum, and what it is made of.

    ``bound`` spans the gradients of the quantities, ``lower`` holds their lengths and angles
    (``normals = lower @ bound.T``), ``free`` spans the rest, ``root`` factors the curvature there
    and is None where it is not that of a maximum of the likelihood.
    """

    bound: FloatArray
    free: FloatArray
    lower: FloatArray
    curvature: FloatArray
    root: tuple[FloatArray, bool] | None
    slopes: FloatArray
    step: FloatArray

    @classmethod
    def at(cls, ground: Ground, here: _Here, wanted: FloatArray) -> _Newton | None:
        """None where the quantities do not move, or the curvature is not finite."""
        basis, upper = linalg.qr(here.normals.T, mode="full")
        q = len(wanted)
        bound, free, lower = basis[:, :q], basis[:, q:], upper[:q].T
        if not np.abs(np.diag(lower)).min() > 0:
            return None
        slopes = linalg.solve_triangular(lower.T, bound.T @ here.gradient)
        curvature, bend = ground.hessian(here.u), ground.bend(here.u, slopes)
        if bend is not None:
            curvature = curvature - bend
        if not np.isfinite(curvature).all():
            return None
        across = bound @ linalg.solve_triangular(lower, wanted - here.helds, lower=True)
        rest = free.T @ (here.gradient + curvature @ across)
        root, along = _solve(free.T @ curvature @ free, rest)
        return cls(bound, free, lower, curvature, root, slopes, across + free @ along)

    def distance(self, here: _Here, wanted: FloatArray) -> float:
        """``sqrt(g' W^-1 g)`` within the constraint, and what is lacking to it.

        The latter counts a thousandfold: the objective changes with it to first order.
        """
        if self.root is None:
            return np.inf
        reduced = self.free.T @ here.gradient
        within = float(reduced @ linalg.cho_solve(self.root, reduced)) if reduced.size else 0.0
        lacking = linalg.solve_triangular(self.lower, wanted - here.helds, lower=True)
        return float(np.sqrt(max(0.0, within) + _PRICE**2 * (lacking @ lacking)))

    def point(self, here: _Here, wanted: FloatArray) -> Point:
        """The record of a point that is near enough."""
        lower = here.normals @ self.bound
        slopes = np.linalg.solve(lower.T, self.bound.T @ here.gradient)
        tangents = self.bound @ linalg.inv(lower)
        if self.root is not None and self.free.shape[1]:
            pulled = self.free.T @ (self.curvature @ tangents)
            tangents = tangents - self.free @ linalg.cho_solve(self.root, pulled)
        reach = float(np.linalg.norm(here.normals[0]))
        distance = self.distance(here, wanted)
        return Point(here.u, here.helds, here.value, slopes, tangents, reach, distance)


def _solve(
    matrix: FloatArray, rest: FloatArray
) -> tuple[tuple[FloatArray, bool] | None, FloatArray]:
    """A factor of the matrix if it is positive definite, and the way down."""
    if not len(rest):
        return (matrix, True), rest
    try:
        root = linalg.cho_factor(matrix, lower=True)
    except linalg.LinAlgError:
        values, vectors = linalg.eigh(matrix)
        size = np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1e-300))
        return None, -vectors @ ((vectors.T @ rest) / size)
    return root, -linalg.cho_solve(root, rest)


def first_point(ground: Ground, n: int) -> Point:
    """The optimum itself, of one quantity."""
    u = np.zeros(n)
    value, _ = ground.value_and_gradient(u)
    helds, normals = ground.quantities(u)
    reach = float(np.linalg.norm(normals[0]))
    tangents = normals.T / reach**2
    return Point(u, helds, value, np.zeros(len(helds)), tangents, reach, 0.0)


def correct(ground: Ground, u: FloatArray, wanted: float | FloatArray) -> Point | Failure:
    """The constrained optimum at values of the quantities, by Newton's method from near by.

    Each step solves the linearised conditions of Lagrange: the gradient vanishes within the
    constraint, the constraint holds. The result is certified: the reduced Hessian is positive
    definite, and the distance left is below 1e-6 standard errors.

    Parameters
    ----------
    ground : Ground
    u : array (n,)
        Where to begin.
    wanted : float or array (q,)
        The values.
    """
    wanted = np.atleast_1d(np.asarray(wanted, dtype=float))
    here = _Here.look(ground, u)
    if here is None:
        return Failure.OUTSIDE
    before = np.inf
    for _ in range(_ITERATIONS):
        newton = _Newton.at(ground, here, wanted)
        if newton is None:
            return Failure.STALLED
        left = newton.distance(here, wanted)
        if left < _TOLERANCE or (left < _ROUNDING and left > before / 2):
            return newton.point(here, wanted)
        if newton.root is None and np.linalg.norm(newton.step) < _TOLERANCE:
            return Failure.SADDLE
        moved = _search(ground, here, newton, wanted)
        if moved is None and left < _ROUNDING:
            return newton.point(here, wanted)
        if moved is None:
            return Failure.SADDLE if newton.root is None else Failure.STALLED
        here, before = moved, left
        # The curvature has hardly changed after so short a step, and is good enough to judge by.
        if left < _SHORT and newton.distance(here, wanted) < _TOLERANCE:
            return newton.point(here, wanted)
    return Failure.STALLED


def _search(ground: Ground, here: _Here, newton: _Newton, wanted: FloatArray) -> _Here | None:
    """The longest part of the step, halved, that lowers objective plus penalty."""
    length = float(np.linalg.norm(newton.step))
    share = min(1.0, _LONGEST / length) if length > 0 else 1.0
    price = 2 * np.abs(newton.slopes) + 1 / np.linalg.norm(here.normals, axis=1)
    merit = here.value + price @ np.abs(here.helds - wanted)
    for _ in range(25):
        there = _Here.look(ground, here.u + share * newton.step)
        if there is not None:
            gain = merit - there.value - price @ np.abs(there.helds - wanted)
            if gain > -1e-9 * (1 + abs(merit)):
                return there
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
    if abs(near.root - target) < _ROOT_ROUNDING:
        walk.finish = Finish.REACHED
    return walk


def _aim(near: Point, below: Point, above: Point, target: float) -> float:
    middle = (below.held + above.held) / 2
    if near.root == 0 or near.slope == 0:
        return middle
    held = near.held + (target - near.root) * near.root / near.slope
    low, high = sorted((below.held, above.held))
    return held if low < held < high else middle
