"""Endpoints of profile intervals: the values at which a profile has fallen to a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import linalg

from pmlik._summaries import Circle
from pmlik._typing import FloatArray
from pmlik.inference.compiled import CompiledModel
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.boundary import BEYOND
from pmlik.optimize.constrained import ConstrainedStatus, Point, first_point, solve_constrained
from pmlik.optimize.profiled import Profiled
from pmlik.stats.profile_trace import ProfileTrace, TraceStatus, trace_profile, trace_to_level

# Extent of a curve beyond an endpoint, and its number of steps there.
_BEYOND_END, _MORE = 1.25, 2

# A curve goes on towards a limit until it is this near its supremum, as a share of the level.
_NEARLY = 1e-3

# Curvature below this share of that at the start has vanished.
_FADED_SHARE = 1e-3

# Least gain in log-likelihood for which a coordinate is released from a border.
_RELEASED = 1e-9


@dataclass(frozen=True, eq=False)
class LimitInfo:
    """The limit that an estimate is, at a border or at infinity.

    Parameters
    ----------
    at_border : sequence of int
        Indices of the constrained values at a border or an edge,
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
        Constrained values at which the level is reached; the border of the support or an infinity
        if it never is; NaN if the profile could not be traced that far.
    statuses : tuple of TraceStatus
        Of the lower and the upper side.
    curve : tuple of Point
        Points of the profile in ascending order of the value.
    sides : array (p,)
        -1 below the estimate, 1 above it, 0 the estimate itself.
    values : array (p, m)
        All constrained values at each of them.
    rises : tuple of bool
        True if the profile rises again between the estimate and the lower, the upper endpoint.
    better : array (n,) or None
        A full vector ``x`` with a higher log-likelihood than the estimate's.
    """

    lower: float
    upper: float
    statuses: tuple[TraceStatus, TraceStatus]
    curve: tuple[Point, ...] = ()
    sides: FloatArray = field(default_factory=lambda: np.zeros(0))
    values: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    rises: tuple[bool, bool] = (False, False)
    better: FloatArray | None = None


class ProfileTracer:
    """Trace the profiles of one estimate.

    Parameters
    ----------
    problem : CompiledModel
    x : array (n,)
        The MLE, unconstrained; of a limit, a point as good as there.
    limit : LimitInfo, optional
        Set if the MLE is a limit.
    circles : mapping of int to Circle, optional
        The turn of each circular value, by its index.
    """

    def __init__(
        self,
        problem: CompiledModel,
        x: FloatArray,
        limit: LimitInfo | None = None,
        circles: Mapping[int, Circle] | None = None,
    ) -> None:
        self.problem, self.x, self._limit, self._circles = problem, x, limit, circles or {}
        self._objective = problem.objective("mle", x)
        self._z = x[self._objective.active]
        basis = np.eye(len(self._z))
        if limit is not None and self._directions.size:
            scale = self._scale[:, None]
            basis = linalg.null_space((self._directions / scale).T) * scale
        self.affine = AffineObjective.standardized(self._objective, self._z, basis)

    @cached_property
    def _scale(self) -> FloatArray:
        """A unit of each coordinate: a standard error by the curvature well inside."""
        assert self._limit is not None
        inside = self._limit.inside[self._objective.active]
        hessian = self._objective.hessian(inside)
        diagonal = np.abs(np.diag(hessian)) if np.isfinite(hessian).all() else np.ones(len(inside))
        return np.asarray(1 / np.sqrt(np.where(diagonal > 1e-8, diagonal, 1.0)))

    @cached_property
    def _directions(self) -> FloatArray:
        """The directions of the limit (k, r), one unit long, in the objective's coordinates."""
        assert self._limit is not None
        border, infinite = (
            self._moving(places) for places in (self._limit.at_border, self._limit.at_infinity)
        )
        units = np.diag(self._scale)
        infinite &= ~border
        block = units[:, infinite]
        values, vectors = linalg.eigh(block.T @ self._objective.hessian(self._z) @ block)
        return np.column_stack([units[:, border], block @ vectors[:, values < _FADED_SHARE]])

    def _moving(self, places: Sequence[int]) -> np.ndarray:
        """Return a mask of the objective's coordinates that move any of the values."""
        moving = np.zeros(len(self.x), bool)
        inside = self._limit.inside if self._limit is not None else self.x
        for place in places:
            unit = np.zeros(self.problem.parameters.size + self.problem.derived.size)
            unit[place] = 1.0
            moving |= self.problem.values.vjp(inside, unit) != 0
        return moving[self._objective.active]

    @cached_property
    def _whole(self) -> AffineObjective:
        """The objective with the directions of the limit among its coordinates."""
        return self.affine.extended(self._directions) if self._limit else self.affine

    def _profiled(self, affine: AffineObjective, place: int) -> Profiled:
        circle = self._circles.get(place)
        return Profiled(affine, [place], self.problem.parameters.size, circle)

    def symmetric(self, place: int, quantile: float) -> tuple[float, float] | None:
        """Return endpoints symmetric in a parameter's own coordinate; None without one."""
        profiled = self._profiled(self.affine, place)
        if profiled.coordinate is None:
            return None
        gradient_norm = first_point(profiled, self.affine.size).gradient_norm
        ends = []
        for side in (-1, 1):
            there = self.x.copy()
            there[profiled.coordinate] += side * quantile * gradient_norm
            ends.append(float(self.problem.values(there)[place]))
        return min(ends), max(ends)

    @np.errstate(all="ignore")
    def endpoints(
        self, place: int, level: float, n_points: int = 0, value: float = np.nan
    ) -> ProfileEndpoints:
        """Return both endpoints of the profile of a constrained value, and its curve.

        Parameters
        ----------
        place : int
            Index among the constrained values, parameters first.
        level : float
            Drop of the log-likelihood from its maximum at an endpoint.
        n_points : int
            Least number of points of the curve per side.
        value : float
            The estimate; NaN where it is infinite.
        """
        profiled = self._profiled(self.affine, place)
        start = first_point(profiled, self.affine.size) if self.affine.size else None
        if (
            start is None
            or not 0 < start.gradient_norm < np.inf
            or (self._limit and np.isnan(value))
        ):
            return self._from_limit(place, level, n_points, value)
        orientation = profiled.orientation(start.u)
        sides = [self._side(profiled, start, side * orientation, level) for side in (-1, 1)]
        return self._collect(sides, orientation, level, n_points, start)

    def _side(
        self, profiled: Profiled, start: Point, side: int, level: float
    ) -> tuple[Profiled, ProfileTrace]:
        """Trace one side; where the optimum leaves a border, go on without that border."""
        trace = trace_profile(profiled, start, side, level, profiled.most)
        if self._limit is None or trace.end is None:
            return profiled, trace
        whole = self._profiled(self._whole, profiled.places[0])
        z = self.affine.place(trace.end.u)
        inside = self._limit.inside[self._objective.active]
        toward = self._directions / self._scale[:, None]
        share = np.linalg.lstsq(toward, (inside - z) / self._scale)[0]
        released = solve_constrained(
            whole, self._whole.find(z + self._directions @ share), trace.end.constraint_value
        )
        if (
            isinstance(released, ConstrainedStatus)
            or released.delta_nll > trace.end.delta_nll - _RELEASED
        ):
            return profiled, trace
        return whole, trace_profile(whole, released, side, level, whole.most)

    def _collect(
        self,
        sides: Sequence[tuple[Profiled, ProfileTrace]],
        orientation: int,
        level: float,
        n_points: int,
        start: Point,
    ) -> ProfileEndpoints:
        lower, upper = (self._end(profiled, trace, orientation, level) for profiled, trace in sides)
        circle = self._circles.get(sides[0][0].places[0])
        if circle and all(trace.status is TraceStatus.AROUND for _, trace in sides):
            lower, upper = circle
        rows, points, signs = [], list[Point](), list[int]()
        for (profiled, trace), order in zip(sides, (-1, 1), strict=True):
            seen = _ordered(profiled, trace, level, n_points)[::order]
            if order == 1:
                rows.append(self.problem.values(self.x))
                points.append(start)
                signs.append(0)
            rows += [self.problem.values(profiled.affine.expand(point.u)) for point in seen]
            points += seen
            signs += [order] * len(seen)
        better = next(
            (
                profiled.affine.expand(trace.end.u)
                for profiled, trace in sides
                if trace.status is TraceStatus.BETTER and trace.end
            ),
            None,
        )
        return ProfileEndpoints(
            lower=lower,
            upper=upper,
            statuses=(sides[0][1].status, sides[1][1].status),
            curve=tuple(points),
            sides=np.array(signs),
            values=np.array(rows),
            rises=(_rises(sides[0][1]), _rises(sides[1][1])),
            better=better,
        )

    def _from_limit(
        self, place: int, level: float, n_points: int, value: float
    ) -> ProfileEndpoints:
        """Return the endpoints if the estimate itself is a limit: it is one of them."""
        nothing = ProfileEndpoints(np.nan, np.nan, (TraceStatus.LOST, TraceStatus.LOST))
        if self._limit is None:
            return nothing
        profiled = self._profiled(self._whole, place)
        point = self._inside(profiled)
        if point is None:
            return nothing
        limit = float(profiled.quantities(np.zeros(self._whole.size))[0][0])
        toward, orientation = (
            (1 if limit > point.constraint_value else -1),
            profiled.orientation(point.u),
        )
        if point.delta_nll >= level:
            trace = trace_to_level(profiled, point, toward, level)
        else:
            trace = trace_profile(profiled, point, -toward, level)
        end = self._end(profiled, trace, orientation, level)
        direction = toward * orientation
        there = direction * np.inf if np.isnan(value) else value
        seen = [*_ordered(profiled, trace, level, n_points), point]
        if n_points and point.delta_nll > _NEARLY * level:
            seen += trace_to_level(profiled, point, toward, _NEARLY * level).points[1:]
        unique = {p.constraint_value: p for p in seen}
        seen = sorted(unique.values(), key=lambda p: orientation * p.constraint_value)
        statuses = (trace.status, TraceStatus.FLAT)[::direction]
        return ProfileEndpoints(
            lower=end if direction > 0 else there,
            upper=there if direction > 0 else end,
            statuses=(statuses[0], statuses[1]),
            curve=tuple(seen),
            sides=np.full(len(seen), -direction),
            values=np.array([self.problem.values(self._whole.expand(p.u)) for p in seen]),
        )

    def _inside(self, profiled: Profiled) -> Point | None:
        """Return a point of a profile well inside the support."""
        assert self._limit is not None
        inside = self._whole.find(self._limit.inside[self._objective.active])
        alone = inside.copy()
        alone[: self.affine.size] = 0.0  # the others as they are at the limit
        for u in (alone, inside, alone / 2, inside / 2):
            wanted = float(profiled.quantities(u)[0][0])
            point = (
                solve_constrained(profiled, u, wanted)
                if np.isfinite(wanted)
                else ConstrainedStatus.OUTSIDE
            )
            if isinstance(point, Point):
                return point
        return None

    def _end(
        self, profiled: Profiled, trace: ProfileTrace, orientation: int, level: float
    ) -> float:
        if trace.end is None:
            return np.nan
        if trace.status is TraceStatus.REACHED:  # what is left to the level is less than 1e-5 SE
            left = (
                (np.sqrt(2 * level) - trace.end.root_deviance)
                * trace.end.root_deviance
                / trace.end.multiplier
            )
            return profiled.constrained_value(trace.end.u + left * trace.end.tangent)
        if trace.status is TraceStatus.EDGE:
            return profiled.constrained_value(trace.end.u)
        if trace.status is TraceStatus.FLAT:
            return self._border(profiled, trace, orientation)
        return np.nan

    def _border(self, profiled: Profiled, trace: ProfileTrace, orientation: int) -> float:
        """Return the border, or infinity, that a profile levels off towards."""
        assert trace.end is not None
        if profiled.coordinate is None:
            saturated = (
                abs(trace.blocked_at - trace.end.constraint_value)
                < 1e-6 * trace.points[0].gradient_norm
            )
            return trace.end.constraint_value if saturated else trace.side * np.inf
        x = profiled.affine.expand(trace.end.u)
        ends = []
        for far in (BEYOND, 2 * BEYOND):
            x[profiled.coordinate] = trace.side * far
            ends.append(self.problem.values(x)[profiled.places[0]])
        return float(ends[0]) if ends[0] == ends[1] else trace.side * orientation * np.inf


def _rises(trace: ProfileTrace) -> bool:
    """Return True if the profile rises anywhere outward."""
    return any(trace.side * point.multiplier < 0 for point in trace.points[1:])


def _ordered(profiled: Profiled, trace: ProfileTrace, level: float, n_points: int) -> list[Point]:
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
            profiled, near.u + (value - near.constraint_value) * near.tangent, value
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
