"""Where the profile of a natural value has fallen to a level: the ends of an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray
from pmlik.inference.compiled import CompiledModel
from pmlik.optimize.affine import Rounded
from pmlik.optimize.boundary import BEYOND
from pmlik.optimize.constrained import ConstrainedStatus, Point, first_point, solve_constrained
from pmlik.optimize.profiled import Profiled
from pmlik.stats.profile_trace import ProfileTrace, TraceStatus, approach, trace_profile

__all__ = ["ProfileEndpoints", "LimitInfo", "ProfileTracer"]


# How far beyond an end a curve is drawn, and in how many steps.
_BEYOND_END, _MORE = 1.25, 2

# A curve is drawn towards a limit until it is this near its supremum, as a share of the level.
_NEARLY = 1e-3

# Curvature below this share of that at the start has faded.
_FADED_SHARE = 1e-3

# Released from a border, a coordinate has to bring at least this to be followed.
_RELEASED = 1e-9


@dataclass(frozen=True, eq=False)
class LimitInfo:
    """Where an estimate is a limit.

    Parameters
    ----------
    at_border : sequence of int
        The natural values at a border or an edge,
    at_infinity : sequence of int
        and those without a finite limit; parameters first.
    inside : array (n,)
        A full vector ``x`` well inside the support.
    """

    at_border: Sequence[int]
    at_infinity: Sequence[int]
    inside: FloatArray


@dataclass(frozen=True, eq=False)
class ProfileEndpoints:
    """Both sides of a profile.

    Parameters
    ----------
    lower, upper : float
        Natural units: where the level is reached; the border of the support or an infinity where
        it never is; NaN where the profile could not be followed that far.
    finishes : tuple of TraceStatus
        Of the lower and the upper side.
    curve : tuple of Point
        What was seen, in ascending order of the value.
    sides : array (p,)
        -1 below the estimate, 1 above it, 0 the estimate itself.
    naturals : array (p, m)
        All natural values at each of them.
    rises : tuple of bool
        Whether the profile rose again on the way to the lower, the upper end.
    better : array (n,) or None
        A full vector ``x`` with a higher log-likelihood than the estimate's.
    """

    lower: float
    upper: float
    finishes: tuple[TraceStatus, TraceStatus]
    curve: tuple[Point, ...] = ()
    sides: FloatArray = field(default_factory=lambda: np.zeros(0))
    naturals: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    rises: tuple[bool, bool] = (False, False)
    better: FloatArray | None = None


class ProfileTracer:
    """Walks the profiles of one estimate.

    Parameters
    ----------
    problem : CompiledModel
    x : array (n,)
        The MLE, unconstrained; of a limit, a point as good as there.
    faded : LimitInfo, optional
        What the MLE is a limit of.
    """

    def __init__(
        self, problem: CompiledModel, x: FloatArray, faded: LimitInfo | None = None
    ) -> None:
        self.problem, self.x, self._faded = problem, x, faded
        self._objective = problem.objective("mle", x)
        self._z = x[self._objective.active]
        basis = np.eye(len(self._z))
        if faded is not None and self._directions.size:
            scale = self._scale[:, None]
            basis = linalg.null_space((self._directions / scale).T) * scale
        self.rounded = Rounded.at(self._objective, self._z, basis)

    @cached_property
    def _scale(self) -> FloatArray:
        """A unit of each coordinate: a standard error by the curvature well inside."""
        assert self._faded is not None
        inside = self._faded.inside[self._objective.active]
        hessian = self._objective.hessian(inside)
        diagonal = np.abs(np.diag(hessian)) if np.isfinite(hessian).all() else np.ones(len(inside))
        return np.asarray(1 / np.sqrt(np.where(diagonal > 1e-8, diagonal, 1.0)))

    @cached_property
    def _directions(self) -> FloatArray:
        """The directions of the limit (k, r), one unit long, in the objective's coordinates."""
        assert self._faded is not None
        border, infinite = (
            self._moving(places) for places in (self._faded.at_border, self._faded.at_infinity)
        )
        units = np.diag(self._scale)
        infinite &= ~border
        block = units[:, infinite]
        values, vectors = linalg.eigh(block.T @ self._objective.hessian(self._z) @ block)
        return np.column_stack([units[:, border], block @ vectors[:, values < _FADED_SHARE]])

    def _moving(self, places: Sequence[int]) -> np.ndarray:
        """Which of the objective's coordinates move any of the natural values."""
        moving = np.zeros(len(self.x), bool)
        inside = self._faded.inside if self._faded is not None else self.x
        for place in places:
            unit = np.zeros(self.problem.parameters.size + self.problem.derived.size)
            unit[place] = 1.0
            moving |= self.problem.values.vjp(inside, unit) != 0
        return moving[self._objective.active]

    @cached_property
    def _whole(self) -> Rounded:
        """With the directions of the limit among the coordinates."""
        return self.rounded.extended(self._directions) if self._faded else self.rounded

    def _ground(self, rounded: Rounded, place: int) -> Profiled:
        return Profiled(rounded, [place], self.problem.parameters.size)

    def symmetric(self, place: int, quantile: float) -> tuple[float, float] | None:
        """ProfileEndpoints that are symmetric in a parameter's own coordinate, if it has one."""
        ground = self._ground(self.rounded, place)
        if ground.own is None:
            return None
        reach = first_point(ground, self.rounded.size).reach
        ends = []
        for side in (-1, 1):
            there = self.x.copy()
            there[ground.own] += side * quantile * reach
            ends.append(float(self.problem.values(there)[place]))
        return min(ends), max(ends)

    @np.errstate(all="ignore")
    def ends(
        self, place: int, level: float, n_points: int = 0, value: float = np.nan
    ) -> ProfileEndpoints:
        """Both ends of the profile of a natural value, and what was seen on the way.

        Parameters
        ----------
        place : int
            Among the natural values, parameters first.
        level : float
            How far below the maximum the log-likelihood is at an end.
        n_points : int
            How many points a side the curve should have at least.
        value : float
            The estimate; NaN where it is infinite.
        """
        ground = self._ground(self.rounded, place)
        start = first_point(ground, self.rounded.size) if self.rounded.size else None
        if start is None or not 0 < start.reach < np.inf or (self._faded and np.isnan(value)):
            return self._from_limit(place, level, n_points, value)
        rising = ground.rising(start.u)
        sides = [self._side(ground, start, side * rising, level) for side in (-1, 1)]
        return self._collect(sides, rising, level, n_points, start)

    def _side(
        self, ground: Profiled, start: Point, side: int, level: float
    ) -> tuple[Profiled, ProfileTrace]:
        """One walk; from a border that the optimum leaves on the way, on without it."""
        walk = trace_profile(ground, start, side, level)
        if self._faded is None or walk.end is None:
            return ground, walk
        whole = self._ground(self._whole, ground.places[0])
        z = self.rounded.place(walk.end.u)
        inside = self._faded.inside[self._objective.active]
        toward = self._directions / self._scale[:, None]
        share = np.linalg.lstsq(toward, (inside - z) / self._scale)[0]
        released = solve_constrained(
            whole, self._whole.find(z + self._directions @ share), walk.end.held
        )
        if isinstance(released, ConstrainedStatus) or released.height > walk.end.height - _RELEASED:
            return ground, walk
        return whole, trace_profile(whole, released, side, level)

    def _collect(
        self,
        sides: Sequence[tuple[Profiled, ProfileTrace]],
        rising: int,
        level: float,
        n_points: int,
        start: Point,
    ) -> ProfileEndpoints:
        lower, upper = (self._end(ground, walk, rising, level) for ground, walk in sides)
        rows, points, signs = [], list[Point](), list[int]()
        for (ground, walk), order in zip(sides, (-1, 1), strict=True):
            seen = _ordered(ground, walk, level, n_points)[::order]
            if order == 1:
                rows.append(self.problem.values(self.x))
                points.append(start)
                signs.append(0)
            rows += [self.problem.values(ground.rounded.expand(point.u)) for point in seen]
            points += seen
            signs += [order] * len(seen)
        better = next(
            (
                ground.rounded.expand(walk.end.u)
                for ground, walk in sides
                if walk.finish is TraceStatus.BETTER and walk.end
            ),
            None,
        )
        return ProfileEndpoints(
            lower=lower,
            upper=upper,
            finishes=(sides[0][1].finish, sides[1][1].finish),
            curve=tuple(points),
            sides=np.array(signs),
            naturals=np.array(rows),
            rises=(_rises(sides[0][1]), _rises(sides[1][1])),
            better=better,
        )

    def _from_limit(
        self, place: int, level: float, n_points: int, value: float
    ) -> ProfileEndpoints:
        """The ends where the estimate of the value is itself a limit: it is one of them."""
        nothing = ProfileEndpoints(np.nan, np.nan, (TraceStatus.LOST, TraceStatus.LOST))
        if self._faded is None:
            return nothing
        ground = self._ground(self._whole, place)
        point = self._inside(ground)
        if point is None:
            return nothing
        limit = float(ground.quantities(np.zeros(self._whole.size))[0][0])
        toward, rising = (1 if limit > point.held else -1), ground.rising(point.u)
        if point.height >= level:
            walk = approach(ground, point, toward, level)
        else:
            walk = trace_profile(ground, point, -toward, level)
        end = self._end(ground, walk, rising, level)
        way = toward * rising
        there = way * np.inf if np.isnan(value) else value
        seen = [*_ordered(ground, walk, level, n_points), point]
        if n_points and point.height > _NEARLY * level:
            seen += approach(ground, point, toward, _NEARLY * level).points[1:]
        unique = {p.held: p for p in seen}
        seen = sorted(unique.values(), key=lambda p: rising * p.held)
        finishes = (walk.finish, TraceStatus.FLAT)[::way]
        return ProfileEndpoints(
            lower=end if way > 0 else there,
            upper=there if way > 0 else end,
            finishes=(finishes[0], finishes[1]),
            curve=tuple(seen),
            sides=np.full(len(seen), -way),
            naturals=np.array([self.problem.values(self._whole.expand(p.u)) for p in seen]),
        )

    def _inside(self, ground: Profiled) -> Point | None:
        """A point of a profile well inside the support."""
        assert self._faded is not None
        inside = self._whole.find(self._faded.inside[self._objective.active])
        alone = inside.copy()
        alone[: self.rounded.size] = 0.0  # the others as they are at the limit
        for u in (alone, inside, alone / 2, inside / 2):
            held = float(ground.quantities(u)[0][0])
            point = (
                solve_constrained(ground, u, held)
                if np.isfinite(held)
                else ConstrainedStatus.OUTSIDE
            )
            if isinstance(point, Point):
                return point
        return None

    def _end(self, ground: Profiled, walk: ProfileTrace, rising: int, level: float) -> float:
        if walk.end is None:
            return np.nan
        if walk.finish is TraceStatus.REACHED:  # what is left to the level is less than 1e-5 SE
            left = (np.sqrt(2 * level) - walk.end.root) * walk.end.root / walk.end.slope
            return ground.natural(walk.end.u + left * walk.end.tangent)
        if walk.finish is TraceStatus.EDGE:
            return ground.natural(walk.end.u)
        if walk.finish is TraceStatus.FLAT:
            return self._border(ground, walk, rising)
        return np.nan

    def _border(self, ground: Profiled, walk: ProfileTrace, rising: int) -> float:
        """The border of the support that a profile runs to without falling, or an infinity."""
        assert walk.end is not None
        if ground.own is None:
            saturated = abs(walk.wall - walk.end.held) < 1e-6 * walk.points[0].reach
            return walk.end.held if saturated else walk.side * np.inf
        x = ground.rounded.expand(walk.end.u)
        ends = []
        for far in (BEYOND, 2 * BEYOND):
            x[ground.own] = walk.side * far
            ends.append(self.problem.values(x)[ground.places[0]])
        return float(ends[0]) if ends[0] == ends[1] else walk.side * rising * np.inf


def _rises(walk: ProfileTrace) -> bool:
    """Whether the log-likelihood rose on the way out."""
    return any(walk.side * point.slope < 0 for point in walk.points[1:])


def _ordered(ground: Profiled, walk: ProfileTrace, level: float, n_points: int) -> list[Point]:
    """The points of a walk without the first, outward, with more in between and beyond."""
    points = sorted(walk.points[1:], key=lambda point: walk.side * point.held)
    points = [
        point for point in points if walk.finish is not TraceStatus.BETTER or point.height >= 0
    ]
    if not n_points or not points:
        return points
    known = sorted(walk.points, key=lambda point: point.root)
    target = float(np.sqrt(2 * level))
    helds = np.array([point.held for point in known])
    if walk.finish is not TraceStatus.REACHED or len(set(np.sign(np.diff(helds)))) != 1:
        return points
    roots = np.array([point.root for point in known])
    wanted = np.linspace(roots[0], target, n_points + 1)[1:-1]
    for root in (*wanted, *(np.linspace(1, _BEYOND_END, _MORE + 1)[1:] * target)):
        near = min(known, key=lambda point: abs(point.root - root))
        if near.root > 0 and abs(near.root - root) < 0.2 * target / n_points:
            continue
        held = _interpolate(known, root)
        there = solve_constrained(ground, near.u + (held - near.held) * near.tangent, held)
        if isinstance(there, Point):
            points.append(there)
            if root > target:
                known.append(there)
    return sorted(points, key=lambda point: walk.side * point.held)


def _interpolate(known: Sequence[Point], root: float) -> float:
    """Where the root of the height is about that, beyond the last point by its slope."""
    last = known[-1]
    if root > last.root:
        return last.held + (root - last.root) * last.root / last.slope
    return float(np.interp(root, [p.root for p in known], [p.held for p in known]))
