"""Borders of a search that may be held: single borders of the support, and known limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

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
    """

    direction: FloatArray
    row: FloatArray
    typical: float
    far: float
    is_finite: bool = True

    def height(self, z: FloatArray) -> float:
        """Return how far out a point is."""
        return float(self.row @ z)


def find_borders(objective: ObjectiveLike, z: FloatArray, inside: FloatArray) -> list[Border]:
    """Return the finite borders that single coordinates reach.

    ``z`` (k,): the optimum,
    ``inside`` (k,): and a point well inside the support: the optimum, but for coordinates at a
        border.
    """
    values, borders = objective.values, list[Border]()
    own = values.are_parameters(objective.base)
    for unit in np.eye(len(z)):
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
