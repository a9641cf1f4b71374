"""Where an objective ends that has no optimum inside: borders, edges, infinity, no bound.

A search that runs off leaves a trace: the curvature along some directions has faded to nothing
against the curvature where it began. Those directions are held far out, the others optimised
given them, and how the objective behaves out there says what kind of end it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray
from pmlik.optimize.affine import Restricted
from pmlik.optimize.boundary import BEYOND, border_values, joint_border
from pmlik.optimize.multistart import minimize
from pmlik.optimize.objective import CachedObjective, Objective, ObjectiveLike, SearchPoint

__all__ = ["FALLING", "LimitDirection", "LimitKind", "Limit", "find_limit", "is_noisy_between"]


# Curvature below this share of that at the start has faded.
_FADED = 1e-3

#: Still falling by more than this over one unit of the start's curvature, without curvature.
FALLING = 1e-2

# An objective that jitters by more than this, for steps too small to change it, is all rounding.
_NOISE = 1e-8
_MOST_NOISE = 1e-5
_SHARES = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
_FEW_SHARES = (0.1, 0.5, 1.0)
_SLACK = 1e-6
_FAR = 100.0
_ALIGNED = 0.99
_MOST_ROUNDS = 8


class LimitKind(StrEnum):
    """What is at the end of a direction."""

    BOUNDARY = "boundary"
    EDGE = "edge"
    INFINITY = "infinity"
    UNBOUNDED = "unbounded"


@dataclass(frozen=True, eq=False)
class LimitDirection:
    """One direction in which the objective has no optimum inside.

    Parameters
    ----------
    ending : LimitKind
    direction : array (k,)
        Outward, in the active coordinates of the objective.
    place : int or None
        The coordinate, where it is one alone.
    """

    ending: LimitKind
    direction: FloatArray
    place: int | None


@dataclass(frozen=True, eq=False)
class Limit:
    """A supremum that is not attained inside.

    Parameters
    ----------
    ends : tuple of LimitDirection
    objective : Restricted
        The objective with those directions held.
    optimum : SearchPoint
        Of the rest, given them.
    border : array (n,)
        The full vector ``x`` with the held coordinates beyond any transform's reach, so that
        natural values are exactly at the border of their support.
    """

    ends: tuple[LimitDirection, ...]
    objective: Restricted
    optimum: SearchPoint
    border: FloatArray

    @property
    def is_unbounded(self) -> bool:
        """Whether there is no supremum at all."""
        return any(end.ending is LimitKind.UNBOUNDED for end in self.ends)

    @property
    def is_attained(self) -> bool:
        """Whether the limit is a point: on a border or an edge, not at infinity."""
        return all(end.ending in (LimitKind.BOUNDARY, LimitKind.EDGE) for end in self.ends)


def find_limit(objective: Objective, start: FloatArray, stopped: SearchPoint) -> Limit | None:
    """What lies where a search stopped without an optimum, None if that can't be told.

    Parameters
    ----------
    objective : Objective
    start : array (k,)
        Where the search began; gives the scale of every coordinate.
    stopped : SearchPoint
    """
    scale = _scale(objective, start)
    z, ends = _come_back(objective, stopped.z), list[LimitDirection]()
    for _ in range(min(_MOST_ROUNDS, len(z))):
        z, found = _find_edges(objective, z, scale, ends)
        if not found:
            z, found = _find_faded(objective, start, z, scale, ends)
        if not found:
            return None
        for chosen in _choices(found):
            held = [*ends, *chosen]
            limit = _hold(objective, z, held, scale, stopped.start)
            if limit.optimum.usable:
                return limit
        ends, z = held, limit.objective.place(limit.optimum.z)
    return None


def _choices(found: Sequence[LimitDirection]) -> list[list[LimitDirection]]:
    """What to hold: borders first, as what has faded beside them may have an optimum given them.

    A heavy-tailed prior's curvature is faint far out, and still holds a parameter.
    """
    borders = [end for end in found if end.ending is LimitKind.BOUNDARY]
    return [borders, list(found)] if 0 < len(borders) < len(found) else [list(found)]


def _hold(
    objective: Objective,
    z: FloatArray,
    ends: Sequence[LimitDirection],
    scale: FloatArray,
    start: str,
) -> Limit:
    """The optimum of the rest with the ends held at ``z``; none is sought without a bound."""
    restricted = Restricted(objective, z, _complement(ends, scale))
    origin = np.zeros(restricted.size)
    if any(end.ending is LimitKind.UNBOUNDED for end in ends) or not restricted.size:
        value, gradient = restricted.value_and_gradient(origin)
        optimum = SearchPoint(
            origin, value, gradient, None, origin, 0.0, converged=True, start=start
        )
    else:
        optimum = minimize(restricted, origin, start)
        z = restricted.place(optimum.z)
    return Limit(tuple(ends), restricted, optimum, _border(objective, z, ends))


def _come_back(objective: Objective, z: FloatArray) -> FloatArray:
    """Nearer, on transforms that are exhausted where the density overflows."""
    nearer = z.copy()
    for place in np.flatnonzero(np.abs(z) > _FAR):
        if border_values(objective, z, int(place), z[place]) is not None:
            nearer[place] = np.sign(z[place]) * _FAR
    value = objective.value_and_gradient(nearer)[0]
    if not objective.value_and_gradient(z)[0] <= value < np.inf:
        return z
    # A coordinate of a simplex has its borders too, but the others decide how near they are.
    near, far = objective.values(objective.expand(nearer)), objective.values(objective.expand(z))
    return nearer if np.allclose(near, far, rtol=1e-6, atol=1e-9, equal_nan=True) else z


def _scale(objective: Objective, start: FloatArray) -> FloatArray:
    """A unit of each coordinate: one over the root of the curvature where the search began."""
    hessian = objective.hessian(start)
    diagonal = np.abs(np.diag(hessian)) if np.isfinite(hessian).all() else np.ones(len(start))
    return np.asarray(1 / np.sqrt(np.where(diagonal > 1e-8, diagonal, 1.0)))


def _complement(ends: Sequence[LimitDirection], scale: FloatArray) -> FloatArray:
    """The directions left, orthogonal to the held ones in units of the start's curvature."""
    held = np.array([end.direction / scale for end in ends]).T
    if all(end.place is not None for end in ends):
        free = np.ones(len(scale), bool)
        free[[end.place for end in ends if end.place is not None]] = False
        return np.asarray(np.eye(len(scale))[:, free])
    return np.asarray(linalg.null_space(held.T) * scale[:, None])


def _find_edges(
    objective: Objective, z: FloatArray, scale: FloatArray, ends: Sequence[LimitDirection]
) -> tuple[FloatArray, list[LimitDirection]]:
    """Coordinates whose descent is cut off by a jump to zero density, moved right up to it."""
    gradient = objective.value_and_gradient(z)[1]
    held = {end.place for end in ends}
    for place in np.argsort(-np.abs(gradient * scale)):
        slope = gradient[place] * scale[place]
        if int(place) in held or abs(slope) < FALLING:
            continue
        outward = np.zeros(len(z))
        outward[place] = -np.sign(slope)
        near = 1e-3 * scale[place]
        if np.isfinite(objective.value_and_gradient(z + near * outward)[0]):
            continue
        inside, outside = 0.0, near
        for _ in range(200):
            middle = (inside + outside) / 2
            if np.isfinite(objective.value_and_gradient(z + middle * outward)[0]):
                inside = middle
            else:
                outside = middle
        edge = z + inside * outward
        if _slides(objective, edge, outward, scale):
            continue
        return edge, [LimitDirection(LimitKind.EDGE, outward, int(place))]
    return z, []


def _slides(objective: Objective, edge: FloatArray, outward: FloatArray, scale: FloatArray) -> bool:
    """Whether, along an edge that is not straight, the objective falls further."""
    value = objective.value_and_gradient(edge)[0]
    for place in np.flatnonzero(outward == 0):
        for sign in (1.0, -1.0):
            beside = edge.copy()
            beside[place] += sign * 1e-3 * scale[place]
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
    ends: Sequence[LimitDirection],
) -> tuple[FloatArray, list[LimitDirection]]:
    """Directions whose curvature has faded, with the point where they are held."""
    basis = _complement(ends, scale) if ends else np.diag(scale)
    before, now = objective.hessian(start), objective.hessian(z)
    directions = _faded(now, basis)
    if np.isfinite(before).all() and len(directions):
        # What was flat from the beginning has not faded.
        first, last = (np.einsum("di,ij,dj->d", directions, h, directions) for h in (before, now))
        directions = directions[np.abs(last) < _FADED * np.abs(first)]
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
    joint = [direction for direction in directions if _alone(direction, scale) is None]
    together = _travelled(start, z, np.array(joint), scale) if joint else np.zeros(len(z))
    oblique = joint_border(objective, z, together, slack)
    for direction in directions:
        slope = float(gradient @ direction)
        away = float((direction / scale) @ ((z - start) / scale))
        sign = -np.sign(slope) if abs(slope) > FALLING else np.sign(away) or 1.0
        place = _alone(direction, scale)
        if abs(slope) > FALLING:
            ahead = objective.value_and_gradient(z + sign * direction)[0]
            if not ahead < value - abs(slope) / 2:
                return z, []  # it does not go on like this
            ending = LimitKind.UNBOUNDED
        elif place is None:
            ending = LimitKind.INFINITY if oblique is None else LimitKind.BOUNDARY
        else:
            borders = border_values(objective, z, place, sign * direction[place])
            ending = LimitKind.INFINITY if borders is None else LimitKind.BOUNDARY
        if place is not None:
            outward = np.zeros(len(z))
            outward[place] = sign * np.sign(direction[place])
            found.append(LimitDirection(ending, outward, place))
        else:
            found.append(LimitDirection(ending, sign * direction, None))
    return z if oblique is None else oblique, found


def _alone(direction: FloatArray, scale: FloatArray) -> int | None:
    """The coordinate that a direction moves, if it is one alone."""
    place = int(np.argmax(np.abs(direction / scale)))
    return place if abs(direction[place] / scale[place]) > _ALIGNED else None


def _faded(hessian: FloatArray, basis: FloatArray) -> FloatArray:
    """The faded directions of a Hessian, one a row, of unit length in the basis' units."""
    hessian = basis.T @ hessian @ basis
    if not np.isfinite(hessian).all():
        return np.zeros((0, len(basis)))
    # Where some curvature is enormous, rounding in the others would hide behind it.
    size = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1.0))
    values, vectors = linalg.eigh(hessian / np.outer(size, size))
    vectors = vectors[:, np.abs(values) < _FADED] / size[:, None]
    vectors = _align(vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-300))
    return np.asarray((basis @ vectors).T)


def _align(vectors: FloatArray) -> FloatArray:
    """The same subspace, by coordinates as far as it contains them."""
    if vectors.shape[1] < 2:
        return vectors
    orthonormal = linalg.orth(vectors)
    share = np.sqrt((orthonormal**2).sum(axis=1))
    alone = np.flatnonzero(share > _ALIGNED)[: orthonormal.shape[1]]
    axes = np.eye(len(share))[:, alone]
    rest = orthonormal - axes @ (axes.T @ orthonormal)
    left = orthonormal.shape[1] - len(alone)
    if left:
        axes = np.column_stack([axes, linalg.svd(rest)[0][:, :left]])
    return np.asarray(axes)


def _retreat(
    objective: Objective,
    start: FloatArray,
    z: FloatArray,
    directions: FloatArray,
    scale: FloatArray,
) -> FloatArray:
    """Back along the faded directions until the objective is more than rounding error.

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
    """The part of the way from the start that lies along the faded directions."""
    units = (directions / scale).T
    shares = np.linalg.lstsq(units, (z - start) / scale)[0]
    return np.asarray(directions.T @ shares)


def rounding_noise(
    objective: ObjectiveLike | CachedObjective, z: FloatArray, directions: FloatArray | None = None
) -> float:
    """Second differences over steps so small that they can only be rounding error.

    Parameters
    ----------
    objective : ObjectiveLike or CachedObjective
    z : array (k,)
    directions : array (r, k), optional
        By default a few random ones.
    """
    random = np.random.default_rng(0).choice([-1.0, 1.0], size=(1, len(z)))
    centre = objective.value_and_gradient(z)[0]
    noise = 0.0
    for direction in random if directions is None else directions:
        for size in (1e-14, 3e-14, 1e-13):
            step = size * z * np.sign(direction)
            ahead, behind = (objective.value_and_gradient(z + s * step)[0] for s in (1, -1))
            if np.isfinite([ahead, behind]).all():
                noise = max(noise, abs(ahead - 2 * centre + behind))
    return noise


def is_noisy_between(
    objective: ObjectiveLike,
    one: FloatArray,
    other: FloatArray,
    directions: FloatArray | None = None,
    *,
    large: bool = False,
) -> bool:
    """Whether the objective is rounding error somewhere on the straight way between two points.

    Far out, differences of log-gammas and the like lose all their digits and can have any
    value, constant as it may be there: it shows on the way. With ``large`` data, where each
    evaluation takes long, fewer points are asked.
    """
    examiner = CachedObjective(objective)
    for share in _FEW_SHARES if large else _SHARES:
        there = one + share * (other - one)
        value = examiner.value_and_gradient(there)[0]
        if not np.isfinite(value):
            continue
        if rounding_noise(examiner, there, directions) > _MOST_NOISE * (1 + abs(value)):
            return True
    return False


def _border(objective: Objective, z: FloatArray, ends: Sequence[LimitDirection]) -> FloatArray:
    border = z.copy()
    for end in ends:
        if end.ending is LimitKind.BOUNDARY and end.place is not None:
            border[end.place] = np.sign(end.direction[end.place]) * BEYOND
    return objective.expand(border)
