"""Limits of an objective without an optimum inside: borders, edges, infinity, no bound.

Where a search diverges, the curvature along some directions has vanished relative to the curvature
at the start. Those directions are fixed far out and the others optimised given them. The behaviour
of the objective there tells the kind of limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.boundary import (
    BEYOND,
    LEVEL,
    bisect_edge,
    border_values,
    go_outward,
    joint_border,
    rises_ahead,
)
from pmlik.optimize.faded import ALIGNED, find_faded, find_faded_coordinates, row_norms
from pmlik.optimize.hessian import DENSE_LIMIT
from pmlik.optimize.multistart import minimize
from pmlik.optimize.objective import Objective, SearchPoint
from pmlik.optimize.rounding import rounding_noise

#: Still falling by more than this over one unit of the start's curvature, without curvature.
FALLING = 1e-2

# Rounding error below this share of the objective is none.
_NOISE = 1e-8
_SLACK = 1e-6
_FAR = 100.0
_MOST_ROUNDS = 8


class LimitKind(StrEnum):
    """Kinds of limits."""

    BOUNDARY = "boundary"
    EDGE = "edge"
    INFINITY = "infinity"
    UNBOUNDED = "unbounded"


@dataclass(frozen=True, eq=False)
class LimitDirection:
    """One direction in which the objective has no optimum inside.

    ``direction`` (k,): outward, in the active coordinates of the objective.
    ``coordinate``: the coordinate, if the direction moves only one.
    """

    kind: LimitKind
    direction: FloatArray
    coordinate: int | None

    @property
    def is_border(self) -> bool:
        """Return True if constrained values converge to the border of their support."""
        return self.kind is LimitKind.BOUNDARY


@dataclass(frozen=True, eq=False)
class Limit:
    """A supremum that is not attained inside.

    ``objective``: the objective with those directions fixed.
    ``optimum``: the optimum of the rest, given them.
    ``border`` (n,): the full vector ``x`` with the held coordinates beyond any transform's reach,
        so that constrained values are exactly at the border of their support.
    """

    directions: tuple[LimitDirection, ...]
    objective: AffineObjective
    optimum: SearchPoint
    border: FloatArray

    @property
    def is_unbounded(self) -> bool:
        """Return True if there is no supremum at all."""
        return any(end.kind is LimitKind.UNBOUNDED for end in self.directions)

    @property
    def is_attained(self) -> bool:
        """Return True if the limit is a point: on a border or an edge, not at infinity."""
        return all(end.kind in (LimitKind.BOUNDARY, LimitKind.EDGE) for end in self.directions)

    def holds(self, objective: Objective) -> bool:
        """Return True unless the objective at the optimum is not that of the values at the border.

        ``objective``: the whole objective.
        """
        z = self.objective.place(self.optimum.z)
        axes = _finite_borders(objective, z, self.directions)
        return not any(rises_ahead(objective, z, axis) for axis in axes)


def find_limit(objective: Objective, start: FloatArray, stopped: SearchPoint) -> Limit | None:
    """Return the limit at which a search without an optimum stopped; None if unknown.

    ``start`` (k,): the start of the search; gives the scale of every coordinate.
    """
    scale = _scale(objective, start)
    z, fixed = _come_back(objective, stopped.z), list[LimitDirection]()
    for _ in range(min(_MOST_ROUNDS, len(z))):
        z, found = _find_edges(objective, z, scale, fixed)
        if not found:
            z, found = _find_faded(objective, start, z, scale, fixed)
        if not found:
            return None
        for chosen in _choices(found):
            held = [*fixed, *chosen]
            limit = _hold(objective, z, held, scale, stopped.start)
            if limit.optimum.usable:
                return limit
        fixed, z = held, limit.objective.place(limit.optimum.z)
    return None


def _choices(found: Sequence[LimitDirection]) -> list[list[LimitDirection]]:
    """Return the directions to fix, borders first: the others may have an optimum given them.

    The curvature of a heavy-tailed prior is small far out, and still determines a parameter.
    """
    borders = [end for end in found if end.is_border]
    return [borders, list(found)] if 0 < len(borders) < len(found) else [list(found)]


def _hold(
    objective: Objective,
    z: FloatArray,
    fixed: Sequence[LimitDirection],
    scale: FloatArray,
    start: str,
) -> Limit:
    """The optimum of the rest with the ends held at ``z``; none is sought without a bound."""
    for axis in _finite_borders(objective, z, fixed):
        z = go_outward(objective, z, axis)
    coordinates = [end.coordinate for end in fixed if end.coordinate is not None]
    if len(coordinates) == len(fixed):
        held = np.isin(np.arange(len(z)), coordinates)
        restricted = AffineObjective.fix(objective, z, held)
    else:
        restricted = AffineObjective(objective, z, _complement(fixed, scale))
    origin = np.zeros(restricted.size)
    if any(end.kind is LimitKind.UNBOUNDED for end in fixed) or not restricted.size:
        value, gradient = restricted.value_and_gradient(origin)
        optimum = SearchPoint(
            origin, value, gradient, None, origin, 0.0, converged=True, start=start
        )
    else:
        optimum = minimize(restricted, origin, start)
        z = restricted.place(optimum.z)
    return Limit(tuple(fixed), restricted, optimum, _border(objective, z, fixed))


def _finite_borders(
    objective: Objective, z: FloatArray, ends: Sequence[LimitDirection]
) -> list[FloatArray]:
    """Return the axes along which single coordinates reach a finite border."""
    axes = []
    for end in ends:
        if end.is_border and end.coordinate is not None:
            border = border_values(objective, z, end.coordinate, end.direction[end.coordinate])
            if border is not None and np.isfinite(border).all():
                axes.append(end.direction)
    return axes


def _come_back(objective: Objective, z: FloatArray) -> FloatArray:
    """Return a nearer point with the same values, where transforms are saturated."""
    nearer = z.copy()
    for coordinate in np.flatnonzero(np.abs(z) > _FAR):
        if border_values(objective, z, int(coordinate), z[coordinate]) is not None:
            nearer[coordinate] = np.sign(z[coordinate]) * _FAR
    value = objective.value_and_gradient(nearer)[0]
    if not objective.value_and_gradient(z)[0] <= value < np.inf:
        return z
    # A coordinate of a simplex has its borders too, but the others decide how near they are.
    near, far = objective.values(objective.expand(nearer)), objective.values(objective.expand(z))
    return nearer if np.allclose(near, far, rtol=1e-6, atol=1e-9, equal_nan=True) else z


def _scale(objective: Objective, start: FloatArray) -> FloatArray:
    """Return a unit of each coordinate: one over the root of the curvature at the start."""
    if len(start) > DENSE_LIMIT:
        curvature = row_norms(objective, start)
        return np.asarray(1 / np.sqrt(np.where(curvature > 1e-8, curvature, 1.0)))
    hessian = objective.hessian(start)
    diagonal = np.abs(np.diag(hessian)) if np.isfinite(hessian).all() else np.ones(len(start))
    return np.asarray(1 / np.sqrt(np.where(diagonal > 1e-8, diagonal, 1.0)))


def _complement(fixed: Sequence[LimitDirection], scale: FloatArray) -> FloatArray:
    """Return the free directions, orthogonal to the fixed ones in units of the start."""
    held = np.array([end.direction / scale for end in fixed]).T
    if all(end.coordinate is not None for end in fixed):
        free = np.ones(len(scale), bool)
        free[[end.coordinate for end in fixed if end.coordinate is not None]] = False
        return np.asarray(np.eye(len(scale))[:, free])
    return np.asarray(linalg.null_space(held.T) * scale[:, None])


def _find_edges(
    objective: Objective, z: FloatArray, scale: FloatArray, fixed: Sequence[LimitDirection]
) -> tuple[FloatArray, list[LimitDirection]]:
    """Find coordinates whose descent ends in a jump to zero density; move up to the jump."""
    gradient = objective.value_and_gradient(z)[1]
    held = {end.coordinate for end in fixed}
    for coordinate in np.argsort(-np.abs(gradient * scale)):
        slope = gradient[coordinate] * scale[coordinate]
        if int(coordinate) in held or abs(slope) < FALLING:
            continue
        outward = np.zeros(len(z))
        outward[coordinate] = -np.sign(slope)
        near = 1e-3 * scale[coordinate]
        if np.isfinite(objective.value_and_gradient(z + near * outward)[0]):
            continue
        edge = z + bisect_edge(partial(_has_density, objective, z, outward), 0.0, near) * outward
        if _slides(objective, edge, outward, scale):
            continue
        kind = LimitKind.UNBOUNDED if _diverges(objective, edge, outward, near) else LimitKind.EDGE
        return edge, [LimitDirection(kind, outward, int(coordinate))]
    return z, []


def _has_density(objective: Objective, z: FloatArray, outward: FloatArray, length: float) -> bool:
    return bool(np.isfinite(objective.value_and_gradient(z + length * outward)[0]))


def _diverges(objective: Objective, edge: FloatArray, outward: FloatArray, length: float) -> bool:
    """Return True if the objective falls like the logarithm of the distance from an edge.

    At an edge where it has a value, its slope times the distance vanishes with the distance.
    """

    def fall(share: float) -> float:
        gradient = objective.value_and_gradient(edge - share * length * outward)[1]
        return -share * length * float(gradient @ outward)

    near, nearest = fall(1e-3), fall(1e-6)
    return min(near, nearest) > FALLING and nearest > 0.5 * near


def _slides(objective: Objective, edge: FloatArray, outward: FloatArray, scale: FloatArray) -> bool:
    """Return True if the objective falls further along an edge that is not straight."""
    value = objective.value_and_gradient(edge)[0]
    for coordinate in np.flatnonzero(outward == 0):
        for sign in (1.0, -1.0):
            beside = edge.copy()
            beside[coordinate] += sign * 1e-3 * scale[coordinate]
            # Where one can go on outward beside it, the edge bends that way.
            for length in (1e-4, 1e-5, 1e-6):
                further = beside + length * np.max(scale * np.abs(outward)) * outward
                if objective.value_and_gradient(further)[0] < value:
                    return True
    return False


def _find_faded(
    objective: Objective,
    start: FloatArray,
    z: FloatArray,
    scale: FloatArray,
    fixed: Sequence[LimitDirection],
) -> tuple[FloatArray, list[LimitDirection]]:
    """Return directions whose curvature has vanished, and the point to fix them at."""
    if len(z) > DENSE_LIMIT:
        held = [end.coordinate for end in fixed if end.coordinate is not None]
        directions = find_faded_coordinates(objective, start, z, scale, held)
    else:
        basis = _complement(fixed, scale) if fixed else np.diag(scale)
        if objective.period is not None:  # an angle goes nowhere
            basis = basis[:, ~(basis[np.isfinite(objective.period)] != 0).any(axis=0)]
        directions = find_faded(objective.hessian(start), objective.hessian(z), basis)
    gradient = objective.value_and_gradient(z)[1]
    away = (_outward(direction, gradient, start, z, scale)[0] for direction in directions)
    directions = directions[np.array([_is_tail(objective, z, one, scale) for one in away], bool)]
    if not directions.size:
        return z, []
    z = _retreat(objective, start, z, directions, scale)
    value, gradient = objective.value_and_gradient(z)
    found = []
    travelled = _travelled(start, z, directions, scale)
    on = z + travelled / max(float(np.linalg.norm(travelled / scale)), 1e-300)
    slack = _SLACK * (1 + abs(value)) + 10 * rounding_noise(objective, z, directions)
    if value + slack < objective.value_and_gradient(on)[0] < np.inf:
        return z, []  # no tail: one unit further it rises
    joint = np.array([d for d in directions if _alone(d, scale) is None]).reshape(-1, len(z))
    oblique = joint_border(objective, z, _travelled(start, z, joint, scale), slack)
    for direction in directions:
        outward, slope = _outward(direction, gradient, start, z, scale)
        falls = slope > FALLING
        if falls and not objective.value_and_gradient(z + outward)[0] < value - slope / 2:
            return z, []  # it does not go on like this
        kind = LimitKind.INFINITY if oblique is None else LimitKind.BOUNDARY
        end = LimitDirection(LimitKind.UNBOUNDED if falls else kind, outward, None)
        found.append(_end_on_axis(objective, z, end, _alone(direction, scale)))
    return z if oblique is None else oblique, found


def _outward(
    direction: FloatArray,
    gradient: FloatArray,
    start: FloatArray,
    z: FloatArray,
    scale: FloatArray,
) -> tuple[FloatArray, float]:
    """Return a direction downhill, or away from the start where it is level; and its slope."""
    slope = float(gradient @ direction)
    away = float((direction / scale) @ ((z - start) / scale))
    sign = -np.sign(slope) if abs(slope) > FALLING else np.sign(away) or 1.0
    return sign * direction, abs(slope)


def _is_tail(objective: Objective, z: FloatArray, outward: FloatArray, scale: FloatArray) -> bool:
    """Return True unless the objective rises towards a border along an axis.

    If it does, the curvature is small beside that at the start, and there is an optimum inside.
    """
    coordinate = _alone(outward, scale)
    if coordinate is None:
        return True
    sign = float(np.sign(outward[coordinate]))
    border = border_values(objective, z, coordinate, sign)
    if border is None:
        return True
    # Towards infinity a density loses its digits.
    level = LEVEL if np.isfinite(border).all() else FALLING
    return not rises_ahead(objective, z, sign * np.eye(1, len(z), coordinate)[0], level)


def _end_on_axis(
    objective: Objective, z: FloatArray, end: LimitDirection, coordinate: int | None
) -> LimitDirection:
    """Return the limit along the axis of the only coordinate that a direction moves, if any."""
    if coordinate is None:
        return end
    kind, outward = end.kind, end.direction
    if kind is not LimitKind.UNBOUNDED:
        border = border_values(objective, z, coordinate, outward[coordinate])
        kind = LimitKind.INFINITY if border is None else LimitKind.BOUNDARY
    axis = np.where(np.arange(len(z)) == coordinate, np.sign(outward), 0.0)
    return LimitDirection(kind, axis, coordinate)


def _alone(direction: FloatArray, scale: FloatArray) -> int | None:
    """Return the coordinate that a direction moves, if it moves only one."""
    coordinate = int(np.argmax(np.abs(direction / scale)))
    return coordinate if abs(direction[coordinate] / scale[coordinate]) > ALIGNED else None


def _retreat(
    objective: Objective,
    start: FloatArray,
    z: FloatArray,
    directions: FloatArray,
    scale: FloatArray,
) -> FloatArray:
    """Go back along the flat directions until the objective is more than rounding error.

    Densities lose their digits far out (differences of log-gammas of a huge argument).
    """
    travelled = _travelled(start, z, directions, scale)
    best, least = z, np.inf
    for share in np.arange(0.0, 0.8, 0.05):
        there = z - share * travelled
        value, gradient = objective.value_and_gradient(there)
        if not np.isfinite(value):
            continue
        left = float(np.abs(directions @ gradient).sum())  # about what is still to be gained
        noise = rounding_noise(objective, there, directions)
        if noise <= _NOISE * (1 + abs(value)):
            noise = 0.0
        if noise + left < least:
            best, least = there, noise + left
        if noise == 0:
            break
    return np.asarray(best)


def _travelled(
    start: FloatArray, z: FloatArray, directions: FloatArray, scale: FloatArray
) -> FloatArray:
    """Return the part of the displacement from the start along the flat directions."""
    units = (directions / scale).T
    shares = np.linalg.lstsq(units, (z - start) / scale)[0]
    return np.asarray(directions.T @ shares)


def _border(objective: Objective, z: FloatArray, fixed: Sequence[LimitDirection]) -> FloatArray:
    border = z.copy()
    for end in fixed:
        if end.is_border and end.coordinate is not None:
            border[end.coordinate] = np.sign(end.direction[end.coordinate]) * BEYOND
    return objective.expand(border)
