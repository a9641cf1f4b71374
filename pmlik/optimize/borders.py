"""Borders of a search that may be held: single borders of the support, and known limits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pmlik._typing import FloatArray
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.boundary import BEYOND
from pmlik.optimize.objective import ObjectiveLike

#: Distance in logarithms or log-odds, from a point well inside, at which a border is held.
_FAR = 18.0

# Largest share of the way inward of infinity that one step takes.
_ALMOST = 1 - 1e-3


@dataclass(frozen=True, eq=False)
class Border:
    """A direction of the coordinates ``z`` (k,) in which a border, or infinity, lies.

    ``direction`` (k,): outward.
    ``row`` (k,): ``row @ z`` is the height, which ``direction`` raises by one.
    ``typical``, ``far``: the height well inside the support, and that at which the border is held.
    ``is_finite``: True for a border of the support: a constrained value is ``exp(-height)`` away
        from it.
    ``place``: index of the constrained value that is zero there, if it is in a simplex.
    """

    direction: FloatArray
    row: FloatArray
    typical: float
    far: float
    is_finite: bool = True
    place: int = -1

    def height(self, z: FloatArray) -> float:
        """Return how far out a point is."""
        return float(self.row @ z)


def find_borders(
    objective: ObjectiveLike,
    z: FloatArray,
    inside: FloatArray,
    away: Collection[int] | None = None,
) -> list[Border]:
    """Return the finite borders that single coordinates, and elements of a simplex, reach.

    ``z`` (k,): the optimum,
    ``inside`` (k,): and a point well inside the support: the optimum, but for coordinates at a
        border.
    ``away``: indices of the constrained values at a border; None for all.
    """
    values, borders = objective.values, simplex_borders(objective, z, inside, away)
    joint = np.any([border.direction != 0 for border in borders], axis=0)
    own = values.are_parameters(objective.base)
    for unit in np.eye(len(z))[~np.broadcast_to(joint, len(z))]:
        moved = own & (values.jvp(objective.expand(inside))(objective.lift(unit)) != 0)
        for sign in (-1.0, 1.0):
            near, far = (
                values(objective.expand(np.where(unit == 1, k * sign * BEYOND, inside)))[moved]
                for k in (1, 2)
            )
            if moved.any() and np.isfinite(near).all() and np.array_equal(near, far):
                outward = sign * unit
                typical = float(outward @ inside)
                far = max(float(outward @ z), typical + _FAR)
                borders.append(Border(outward, outward, typical, far))
    return borders


def simplex_borders(
    objective: ObjectiveLike,
    z: FloatArray,
    inside: FloatArray,
    away: Collection[int] | None = None,
) -> list[Border]:
    """Return the borders at which one element of a simplex is zero.

    The coordinates of a simplex are linear in the logarithms of its elements, up to a constant:
    the others keep their ratios as one vanishes. Arguments as of `find_borders`.
    """
    borders, here = list[Border](), objective.values(objective.expand(z))
    for group, columns, ratios in _simplexes(objective, inside):
        order = group[np.argsort(-here[group], kind="stable")]
        back, index = -np.linalg.pinv(ratios), {place: i for i, place in enumerate(group)}
        for place in group:
            other = order[0] if place != order[0] else order[1]
            direction, row = np.zeros(len(z)), np.zeros(len(z))
            direction[columns] = back[:, index[place]]
            row[columns] = ratios[index[other]] - ratios[index[place]]
            typical = float(row @ (inside if away is None or place in away else z))
            far = max(float(row @ z), typical + _FAR)
            borders.append(Border(direction, row, typical, far, place=int(place)))
    return borders


def _simplexes(
    objective: ObjectiveLike, inside: FloatArray
) -> list[tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]]:
    """Return each simplex: its elements, its coordinates, the rates of its centred logarithms."""
    values, found = objective.values, []
    own, random = values.are_parameters(objective.base), np.random.default_rng(0)
    points = [inside + random.uniform(-0.1, 0.1, len(inside)) for _ in range(2)]
    parts = [values(objective.expand(at)) for at in points]
    units = [objective.lift(unit) for unit in np.eye(len(inside))]
    rates = [
        np.array([values.jvp(objective.expand(at))(unit) for unit in units]).T for at in points
    ]
    touched = (rates[0] != 0) & own[:, None]
    for pattern in np.unique(touched[touched.sum(axis=1) > 1], axis=0):
        group, columns = np.flatnonzero((touched == pattern).all(axis=1)), np.flatnonzero(pattern)
        shares = [part[group] for part in parts]
        if len(group) != len(columns) + 1 or not all(
            (share > 0).all() and np.isclose(share.sum(), 1) for share in shares
        ):
            continue
        first, second = (
            rate[np.ix_(group, columns)] / share[:, None]
            for rate, share in zip(rates, shares, strict=True)
        )
        first, second = first - first.mean(axis=0), second - second.mean(axis=0)
        if np.allclose(first, second, rtol=1e-6, atol=1e-9):
            found.append((group, columns, first))
    return found


def in_subspace(borders: Sequence[Border], affine: AffineObjective) -> list[Border]:
    """Return the borders in the coordinates ``u`` of an affine subspace, those that lie in it."""
    found = []
    for border in borders:
        direction = np.linalg.lstsq(affine.basis, border.direction)[0]
        row, base = border.row @ affine.basis, border.height(affine.origin)
        if np.allclose(affine.basis @ direction, border.direction, rtol=1e-6, atol=1e-9):
            found.append(
                replace(
                    border,
                    direction=direction,
                    row=row,
                    typical=border.typical - base,
                    far=border.far - base,
                )
            )
    return found


def move(
    borders: Sequence[Border], near: frozenset[int], u: FloatArray, step: FloatArray
) -> FloatArray:
    """Return ``u + step``, where the step is one in the user's units near the borders given."""
    there = u + step
    for j in near:
        rise = float(borders[j].row @ step)
        there = there - (np.log1p(-min(rise, _ALMOST)) + rise) * borders[j].direction
    return np.asarray(there)


def without(borders: Sequence[Border], left_out: frozenset[int], step: FloatArray) -> FloatArray:
    """Return a step without its parts towards some borders."""
    for j in left_out:
        step = step - (borders[j].row @ step) * borders[j].direction
    return step
