"""Constrained optima: an objective optimised with quantities held, by Newton's method.

Everything here is NumPy and SciPy on plain callables. The objective ``f`` (the log-likelihood below
its maximum) is a function of coordinates ``u`` in which it is round: at the optimum, ``u = 0``,
its Hessian is the identity, so that a unit is a standard error. Quantities ``g(u)`` are held while
everything else is optimised.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray

__all__ = ["ConstrainedStatus", "ConstrainedObjective", "Point", "solve_constrained", "first_point"]


# A point of a profile is certified when it is estimated to be nearer than this to the constrained
# optimum, in standard errors; the log-likelihood is then known to half its square.
_TOLERANCE = 1e-6

# Where rounding stops the iteration, what has still to be reached.
_ROUNDING = 1e-4
_ITERATIONS = 30
_LONGEST = 2.0
_SHORT = 1e-2
_PRICE = 1e3


class ConstrainedStatus(StrEnum):
    """Why there is no constrained optimum at a value, as far as can be told."""

    OUTSIDE = "the density is zero there"
    SADDLE = "the constrained optimum has become a saddle"
    STALLED = "the iteration does not converge"


class ConstrainedObjective(Protocol):
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


@dataclass(frozen=True, eq=False)
class _Here:
    """A point and everything that is known of it to first order."""

    u: FloatArray
    value: float
    gradient: FloatArray
    helds: FloatArray
    normals: FloatArray

    @classmethod
    def look(cls, ground: ConstrainedObjective, u: FloatArray) -> _Here | None:
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
    def at(cls, ground: ConstrainedObjective, here: _Here, wanted: FloatArray) -> _Newton | None:
        """None where the quantities do not move, or the curvature is not finite."""
        basis, upper = linalg.qr(here.normals.T, mode="full")
        q = len(wanted)
        bound, free, lower = basis[:, :q], basis[:, q:], upper[:q].T
        if not np.abs(np.diag(lower)).min() > 0:
            return None
        slopes = np.linalg.solve(lower.T, bound.T @ here.gradient)
        curvature, bend = ground.hessian(here.u), ground.bend(here.u, slopes)
        if bend is not None:
            curvature = curvature - bend
        if not np.isfinite(curvature).all():
            return None
        across = bound @ np.linalg.solve(lower, wanted - here.helds)
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
        lacking = np.linalg.solve(self.lower, wanted - here.helds)
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


def first_point(ground: ConstrainedObjective, n: int) -> Point:
    """The optimum itself, of one quantity."""
    u = np.zeros(n)
    value, _ = ground.value_and_gradient(u)
    helds, normals = ground.quantities(u)
    reach = float(np.linalg.norm(normals[0]))
    tangents = normals.T / reach**2
    return Point(u, helds, value, np.zeros(len(helds)), tangents, reach, 0.0)


def solve_constrained(
    ground: ConstrainedObjective, u: FloatArray, wanted: float | FloatArray
) -> Point | ConstrainedStatus:
    """The constrained optimum at values of the quantities, by Newton's method from near by.

    Each step solves the linearised conditions of Lagrange: the gradient vanishes within the
    constraint, the constraint holds. The result is certified: the reduced Hessian is positive
    definite, and the distance left is below 1e-6 standard errors.

    Parameters
    ----------
    ground : ConstrainedObjective
    u : array (n,)
        Where to begin.
    wanted : float or array (q,)
        The values.
    """
    wanted = np.atleast_1d(np.asarray(wanted, dtype=float))
    here = _Here.look(ground, u)
    if here is None:
        return ConstrainedStatus.OUTSIDE
    before = np.inf
    for _ in range(_ITERATIONS):
        newton = _Newton.at(ground, here, wanted)
        if newton is None:
            return ConstrainedStatus.STALLED
        left = newton.distance(here, wanted)
        if left < _TOLERANCE or (left < _ROUNDING and left > before / 2):
            return newton.point(here, wanted)
        if newton.root is None and np.linalg.norm(newton.step) < _TOLERANCE:
            return ConstrainedStatus.SADDLE
        moved = _search(ground, here, newton, wanted)
        if moved is None and left < _ROUNDING:
            return newton.point(here, wanted)
        if moved is None:
            return ConstrainedStatus.SADDLE if newton.root is None else ConstrainedStatus.STALLED
        here, before = moved, left
        # The curvature has hardly changed after so short a step, and is good enough to judge by.
        if left < _SHORT and newton.distance(here, wanted) < _TOLERANCE:
            return newton.point(here, wanted)
    return ConstrainedStatus.STALLED


def _search(
    ground: ConstrainedObjective, here: _Here, newton: _Newton, wanted: FloatArray
) -> _Here | None:
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
