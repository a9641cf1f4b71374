"""Endpoints of profile intervals: the values at which a profile has fallen to a level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy import linalg

from pmlik._summaries import Circle
from pmlik._typing import FloatArray
from pmlik.inference.compiled import CompiledModel
from pmlik.optimize.active_set import falls_inward, lowest_inside, solve_constrained
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.borders import Border, find_borders, in_subspace, simplex_borders
from pmlik.optimize.boundary import BEYOND
from pmlik.optimize.constrained import Point, first_point
from pmlik.optimize.multistart import minimize
from pmlik.optimize.profiled import Profiled
from pmlik.stats.profile_trace import (
    ProfileTrace,
    TraceStatus,
    ordered_points,
    predict,
    resume_trace,
    trace_profile,
    trace_to_level,
)

# A curve goes on towards a limit until it is this near its supremum, as a share of the level.
_NEARLY = 1e-3

# Curvature below this share of that at the start has vanished.
_FADED_SHARE = 1e-3

# Least gain in log-likelihood for which another branch is followed, and how often.
_GAIN, _SWITCHES = 1e-7, 5
_HIGHER = 1e-6
_FINISHED = (TraceStatus.BETTER, TraceStatus.FLAT, TraceStatus.AROUND)

# Number of points at which a profile is followed up to a border.
_TO_BORDER = 20

# An estimate further out than this, in logarithms, is at its border.
_AT_BORDER = 0.5

# Borders within this many standard errors of an estimate may have a branch of their own.
_WITHIN = 4.0


@dataclass(frozen=True, eq=False)
class LimitInfo:
    """The limit that an estimate is, at a border or at infinity.

    ``at_border``: indices of the constrained values at a border or an edge,
    ``at_infinity``: and those without a finite limit; parameters first.
    ``inside`` (n,): a full vector ``x`` well inside the support.
    """

    at_border: Sequence[int]
    at_infinity: Sequence[int]
    inside: FloatArray


@dataclass(frozen=True, eq=False)
class ProfileEndpoints:
    """Both sides of a profile.

    ``lower``, ``upper``: constrained values at which the level is reached; the border of the
        support or an infinity if it never is; NaN if the profile could not be traced that far.
    ``statuses``: of the lower and the upper side.
    ``curve``: points of the profile in ascending order of the value.
    ``sides`` (p,): -1 below the estimate, 1 above it, 0 the estimate itself.
    ``values`` (p, m): all constrained values at each of them.
    ``rises``: True if the profile rises again between the estimate and the lower, the upper
        endpoint.
    ``better`` (n,) or None: a full vector ``x`` with a higher log-likelihood than the estimate's.
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

    ``x`` (n,): the MLE, unconstrained; of a limit, a point as good as there.
    ``limit``: set if the MLE is a limit.
    ``circles``: the turn of each circular value, by its index.
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
        self._free = AffineObjective.standardized(self._objective, self._z, basis)

    @cached_property
    def _scale(self) -> FloatArray:
        """A unit of each coordinate: a standard error by the curvature well inside.

        Those at a border have the unit of logarithms and log-odds.
        """
        assert self._limit is not None
        inside = self._limit.inside[self._objective.active]
        hessian = self._objective.hessian(inside)
        diagonal = np.abs(np.diag(hessian)) if np.isfinite(hessian).all() else np.ones(len(inside))
        known = (diagonal > 1e-8) & ~self._moving(self._limit.at_border)
        return np.asarray(1 / np.sqrt(np.where(known, diagonal, 1.0)))

    @cached_property
    def _directions(self) -> FloatArray:
        """The directions of the limit (k, r), one unit long, in the objective's coordinates."""
        assert self._limit is not None
        border = self._moving(self._limit.at_border)
        infinite = self._moving(self._limit.at_infinity)
        units = np.diag(self._scale)
        inside = self._limit.inside[self._objective.active]
        faces = [
            face
            for face in simplex_borders(self._objective, self._z, inside, self._limit.at_border)
            if face.place in self._limit.at_border and face.typical < face.height(self._z) - 1
        ]
        joint = np.array([face.direction for face in faces]).reshape(-1, len(self._z))
        border &= (joint == 0).all(axis=0)
        infinite &= ~border & (joint == 0).all(axis=0)
        block = units[:, infinite]
        values, vectors = linalg.eigh(block.T @ self._objective.hessian(self._z) @ block)
        return np.column_stack(
            [joint.T, units[:, border], block @ vectors[:, values < _FADED_SHARE]]
        )

    def _moving(self, places: Sequence[int]) -> np.ndarray:
        """Return a mask of the objective's coordinates that move any of the values."""
        moving = np.zeros(len(self.x), bool)
        inside = self._limit.inside if self._limit is not None else self.x
        # Where the elements of a simplex are equal, some derivatives are zero by symmetry.
        beside = inside + np.random.default_rng(0).uniform(-1e-3, 1e-3, size=len(inside))
        for place in places:
            unit = np.zeros(self.problem.parameters.size + self.problem.derived.size)
            unit[place] = 1.0
            moving |= self.problem.values.vjp(beside, unit) != 0
        return moving[self._objective.active]

    @cached_property
    def affine(self) -> AffineObjective:
        """The objective in standard errors, with the directions of the limit."""
        return self._free.extended(self._directions) if self._limit else self._free

    @cached_property
    def _borders(self) -> list[Border]:
        """The borders of single coordinates, then the other directions of the limit."""
        inside = self._z.copy()
        if self._limit is not None:
            away = self._moving([*self._limit.at_border, *self._limit.at_infinity])
            inside[away] = self._limit.inside[self._objective.active][away]
        at_border = self._limit.at_border if self._limit else ()
        borders = find_borders(self._objective, self._z, inside, at_border)
        single = [border.direction != 0 for border in borders]
        for direction in self._directions.T if self._limit else ():
            if any(np.array_equal(direction != 0, moved) for moved in single):
                continue
            row = direction / self._scale**2
            assert self._limit is not None
            typical = float(row @ self._limit.inside[self._objective.active])
            outward = 1.0 if row @ self._z > typical else -1.0
            borders.append(
                Border(
                    outward * direction,
                    outward * row,
                    outward * typical,
                    outward * float(row @ self._z),
                    is_finite=False,
                )
            )
        return in_subspace(borders, self.affine)

    def _profiled(self, place: int) -> Profiled:
        n_parameters, circle = self.problem.parameters.size, self._circles.get(place)
        return Profiled(self.affine, [place], n_parameters, self._borders, circle)

    def _held(self, profiled: Profiled) -> frozenset[int]:
        """Return the borders at which the estimate is."""
        return frozenset(
            j
            for j, border in enumerate(profiled.borders)
            if not border.is_finite or border.typical < -_AT_BORDER
        )

    def symmetric(self, place: int, quantile: float) -> tuple[float, float] | None:
        """Return endpoints symmetric in a parameter's own coordinate; None without one."""
        profiled = self._profiled(place)
        start = first_point(profiled, self.affine.size, self._held(profiled))
        if profiled.coordinate is None or start is None:
            return None
        gradient_norm = start.gradient_norm
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

        ``place``: index among the constrained values, parameters first.
        ``level``: drop of the log-likelihood from its maximum at an endpoint.
        ``n_points``: least number of points of the curve per side.
        ``value``: the estimate; NaN where it is infinite.
        """
        profiled = self._profiled(place)
        start = first_point(profiled, self.affine.size, self._held(profiled))
        if start is None or (self._limit and (not np.isfinite(value) or self._is_held(profiled))):
            return self._from_limit(place, level, n_points, value)
        orientation = profiled.orientation(start.u)
        sides = [self._side(profiled, start, side * orientation, level) for side in (-1, 1)]
        return self._collect(profiled, sides, orientation, level, n_points, start)

    def _is_held(self, profiled: Profiled) -> bool:
        """Return True if the profiled value's own coordinate is at a border."""
        return profiled.coordinate is not None and any(
            border.typical < -_AT_BORDER and border.is_finite and border not in profiled.borders
            for border in self._borders
        )

    def _side(self, profiled: Profiled, start: Point, side: int, level: float) -> ProfileTrace:
        """Trace one side, and go on from a better branch wherever there is one."""
        trace = trace_profile(profiled, start, side, level, profiled.most)
        for _ in range(_SWITCHES):
            if trace.end is None or trace.status in _FINISHED:
                break
            stopped = trace.status is not TraceStatus.REACHED
            wanted = trace.blocked_at if stopped else trace.end.constraint_value
            other = self._elsewhere(profiled, trace, wanted)
            if other is None or not other.delta_nll < level:
                break
            if not stopped:
                # Where there may be no upper bound, another branch may be that of an artefact.
                bounded = all(density.is_bounded for density in self._objective.densities)
                other_borders = (
                    other.held != trace.end.held
                    or other.held | other.near != trace.end.held | trace.end.near
                )
                if not (bounded or other_borders) or not (
                    other.delta_nll < trace.end.delta_nll - _GAIN
                ):
                    break
                lowest = minimize(self.affine, other.u, "profile")
                if lowest.lowest < -_HIGHER * (1 + level):  # the branch of a higher maximum
                    trace.higher = replace(other, u=lowest.z)
                    break
            trace = resume_trace(profiled, trace, other, level)
        return trace

    def _elsewhere(self, profiled: Profiled, trace: ProfileTrace, wanted: float) -> Point | None:
        """Return the best constrained optimum from the estimate, from inside and from borders."""
        start, end, borders = trace.points[0], trace.end, profiled.borders
        assert end is not None
        change = wanted - start.constraint_value
        direct = profiled.quantities(start.u)[1][0]
        starts = [(start.u + change * direct / (direct @ direct), start.held)]
        for u in (start.u + change * start.tangent, end.u):
            outside = [b for b in borders if b.height(u) > b.typical + 1]
            for border in outside:
                u = u + (border.typical - border.height(u)) * border.direction
            if outside:
                starts.append((u, frozenset()))
        for j, border in enumerate(borders):
            near = border.is_finite and border.direction @ border.direction < _WITHIN**2
            if near and j not in end.held:
                starts.append((end.u, end.held | {j}))
        for j in sorted(end.held):
            inside = lowest_inside(profiled, end, j) if borders[j].is_finite else None
            if inside is not None:
                starts.append((inside.u, end.held - {j}))
        found = [solve_constrained(profiled, u, wanted, held) for u, held in starts]
        points = [point for point in found if isinstance(point, Point)]
        return min(points, key=lambda point: point.delta_nll, default=None)

    def _collect(
        self,
        profiled: Profiled,
        sides: Sequence[ProfileTrace],
        orientation: int,
        level: float,
        n_points: int,
        start: Point,
    ) -> ProfileEndpoints:
        lower, upper = (self._end(profiled, trace, orientation, level) for trace in sides)
        circle = self._circles.get(profiled.places[0])
        if circle and all(trace.status is TraceStatus.AROUND for trace in sides):
            lower, upper = circle
        rows, points, signs = [], list[Point](), list[int]()
        for trace, order in zip(sides, (-1, 1), strict=True):
            seen = ordered_points(profiled, trace, level, n_points)[::order]
            if order == 1:
                rows.append(self.problem.values(self.x))
                points.append(start)
                signs.append(0)
            rows += [self.problem.values(profiled.affine.expand(point.u)) for point in seen]
            points += seen
            signs += [order] * len(seen)
        better = next(
            (profiled.affine.expand(trace.higher.u) for trace in sides if trace.higher is not None),
            None,
        )
        return ProfileEndpoints(
            lower=lower,
            upper=upper,
            statuses=(sides[0].status, sides[1].status),
            curve=tuple(points),
            sides=np.array(signs),
            values=np.array(rows),
            rises=(_rises(sides[0]), _rises(sides[1])),
            better=better,
        )

    def _from_limit(
        self, place: int, level: float, n_points: int, value: float
    ) -> ProfileEndpoints:
        """Return the endpoints if the estimate itself is a limit: it is one of them."""
        nothing = ProfileEndpoints(np.nan, np.nan, (TraceStatus.LOST, TraceStatus.LOST))
        if self._limit is None:
            return nothing
        profiled = self._profiled(place)
        point = self._inside(profiled)
        if point is None:
            return nothing
        limit = float(profiled.quantities(np.zeros(self.affine.size))[0][0])
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
        there = value if np.isfinite(value) else direction * np.inf
        seen = [*ordered_points(profiled, trace, level, n_points), point]
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
            values=np.array([self.problem.values(self.affine.expand(p.u)) for p in seen]),
        )

    def _inside(self, profiled: Profiled) -> Point | None:
        """Return a point of a profile well inside the support."""
        assert self._limit is not None
        inside = self.affine.find(self._limit.inside[self._objective.active])
        held = self._held(profiled)
        alone = inside.copy()
        alone[: self._free.size] = 0.0  # the others as they are at the limit
        for u in (alone, inside, alone / 2, inside / 2):
            wanted = float(profiled.quantities(u)[0][0])
            for start in (held, frozenset[int]()) if np.isfinite(wanted) else ():
                point = solve_constrained(profiled, u, wanted, start)
                if isinstance(point, Point):
                    return point
        return None

    def _end(
        self, profiled: Profiled, trace: ProfileTrace, orientation: int, level: float
    ) -> float:
        if trace.end is None:
            return np.nan
        in_simplex = any(profiled.borders[j].place >= 0 for j in trace.end.held)
        if in_simplex and falls_inward(profiled, trace.end):
            trace.status = TraceStatus.LOST
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
        if trace.status is TraceStatus.FLAT or self._rises_to_border(profiled, trace, level):
            return self._border(profiled, trace, orientation)
        return np.nan

    def _rises_to_border(self, profiled: Profiled, trace: ProfileTrace, level: float) -> bool:
        """Return True if the profile, higher than at the estimate, stays so up to a border."""
        border = profiled.limits[trace.side > 0]
        if trace.status is not TraceStatus.BETTER or trace.end is None or np.isinf(border):
            return False
        here, start = trace.end, trace.end.constraint_value
        for wanted in np.linspace(start, border, _TO_BORDER)[1:]:
            u = predict(profiled, here, wanted - here.constraint_value)
            there = solve_constrained(profiled, u, wanted, here.held)
            if not isinstance(there, Point):
                break
            here = there
        return here.delta_nll < 0

    def _border(self, profiled: Profiled, trace: ProfileTrace, orientation: int) -> float:
        """Return the border, or infinity, that a profile levels off towards."""
        assert trace.end is not None
        if profiled.reaches_zero and trace.side < 0:
            return 0.0
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
