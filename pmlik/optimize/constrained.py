"""Newton's method for an objective with equality constraints.

The objective is a negative log-likelihood relative to its minimum, a function of coordinates ``u``
with ``u = 0`` and an identity Hessian at the optimum: a unit is a standard error. Quantities
``g(u)`` are constrained to given values; everything else is optimised.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray

# A point of a profile is certified when it is estimated to be nearer than this to the constrained
# optimum, in standard errors; the log-likelihood is then known to half its square.
_TOLERANCE = 1e-6

# Accepted where rounding error stops the iteration.
_ROUNDING = 1e-4
_ITERATIONS = 30
_LONGEST = 2.0
_SHORT = 1e-2
_PRICE = 1e3


class ConstrainedStatus(StrEnum):
    """Reasons for which no constrained optimum was found."""

    OUTSIDE = "the density is zero there"
    SADDLE = "the constrained optimum has become a saddle"
    STALLED = "the iteration does not converge"


class ConstrainedObjective(Protocol):
    """An objective and ``q`` quantities, all functions of ``u`` (n,).

    ``quantities`` gives their values (q,) and gradients (q, n), ``weighted_hessian`` the Hessian of
    their weighted sum, None where they are linear.
    """

    def value_and_gradient(self, u: FloatArray, /) -> tuple[float, FloatArray]: ...  # noqa: D102
    def hessian(self, u: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def quantities(self, u: FloatArray, /) -> tuple[FloatArray, FloatArray]: ...  # noqa: D102
    def weighted_hessian(  # noqa: D102
        self, u: FloatArray, weights: FloatArray, /
    ) -> FloatArray | None: ...


@dataclass(frozen=True, eq=False)
class Point:
    """A constrained optimum.

    Parameters
    ----------
    u : array (n,)
    constraint_values : array (q,)
        The quantities.
    delta_nll : float
        The objective, zero at the unconstrained optimum.
    multipliers : array (q,)
        Derivatives of ``delta_nll`` in ``constraint_values``: the Lagrange multipliers.
    tangents : array (n, q)
        Derivatives of ``u`` in ``constraint_values``.
    gradient_norm : float
        Norm of the first quantity's gradient: its change per standard error.
    distance : float
        Estimated distance to the exact constrained optimum, in standard errors.
    """

    u: FloatArray
    constraint_values: FloatArray
    delta_nll: float
    multipliers: FloatArray
    tangents: FloatArray
    gradient_norm: float
    distance: float

    @property
    def constraint_value(self) -> float:
        """The first quantity."""
        return float(self.constraint_values[0])

    @property
    def multiplier(self) -> float:
        """The first Lagrange multiplier."""
        return float(self.multipliers[0])

    @property
    def tangent(self) -> FloatArray:
        """The first tangent (n,)."""
        return np.asarray(self.tangents[:, 0])

    @property
    def root_deviance(self) -> float:
        """Square root of twice ``delta_nll``: the signed root without its sign."""
        return float(np.sqrt(2 * max(self.delta_nll, 0.0)))


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """A point with its values and first derivatives."""

    u: FloatArray
    value: float
    gradient: FloatArray
    constraint_values: FloatArray
    normals: FloatArray

    @classmethod
    def of(cls, objective: ConstrainedObjective, u: FloatArray) -> _Evaluation | None:
        """Evaluate at ``u``; None where the objective or a quantity is not finite."""
        value, gradient = objective.value_and_gradient(u)
        if not np.isfinite(value):
            return None
        constraint_values, normals = objective.quantities(u)
        if not (np.isfinite(constraint_values).all() and np.isfinite(normals).all()):
            return None
        return cls(u, value, gradient, constraint_values, normals)


@dataclass(frozen=True, eq=False)
class _Newton:
    """One Newton step towards a constrained optimum, with its parts.

    ``bound`` spans the gradients of the quantities, ``lower`` holds their lengths and angles
    (``normals = lower @ bound.T``), ``free`` spans the rest, ``factor`` factors the curvature there
    and is None where it is not that of a maximum of the likelihood.
    """

    bound: FloatArray
    free: FloatArray
    lower: FloatArray
    curvature: FloatArray
    factor: tuple[FloatArray, bool] | None
    multipliers: FloatArray
    step: FloatArray

    @classmethod
    def at(
        cls, objective: ConstrainedObjective, here: _Evaluation, wanted: FloatArray
    ) -> _Newton | None:
        """Solve for the step; None if a quantity is constant or the curvature not finite."""
        basis, upper = linalg.qr(here.normals.T, mode="full")
        q = len(wanted)
        bound, free, lower = basis[:, :q], basis[:, q:], upper[:q].T
        if not np.abs(np.diag(lower)).min() > 0:
            return None
        multipliers = np.linalg.solve(lower.T, bound.T @ here.gradient)
        curvature, weighted = (
            objective.hessian(here.u),
            objective.weighted_hessian(here.u, multipliers),
        )
        if weighted is not None:
            curvature = curvature - weighted
        if not np.isfinite(curvature).all():
            return None
        across = bound @ np.linalg.solve(lower, wanted - here.constraint_values)
        rest = free.T @ (here.gradient + curvature @ across)
        factor, along = _solve(free.T @ curvature @ free, rest)
        return cls(bound, free, lower, curvature, factor, multipliers, across + free @ along)

    def distance(self, here: _Evaluation, wanted: FloatArray) -> float:
        """Return ``sqrt(g' W^-1 g)`` within the constraint plus the weighted constraint violation.

        The violation counts a thousandfold: the objective changes with it to first order.
        """
        if self.factor is None:
            return np.inf
        reduced = self.free.T @ here.gradient
        within = float(reduced @ linalg.cho_solve(self.factor, reduced)) if reduced.size else 0.0
        lacking = np.linalg.solve(self.lower, wanted - here.constraint_values)
        return float(np.sqrt(max(0.0, within) + _PRICE**2 * (lacking @ lacking)))

    def point(self, here: _Evaluation, wanted: FloatArray) -> Point:
        """Return the record of a point that is near enough."""
        lower = here.normals @ self.bound
        multipliers = np.linalg.solve(lower.T, self.bound.T @ here.gradient)
        tangents = self.bound @ linalg.inv(lower)
        if self.factor is not None and self.free.shape[1]:
            pulled = self.free.T @ (self.curvature @ tangents)
            tangents = tangents - self.free @ linalg.cho_solve(self.factor, pulled)
        gradient_norm = float(np.linalg.norm(here.normals[0]))
        distance = self.distance(here, wanted)
        return Point(
            here.u,
            here.constraint_values,
            here.value,
            multipliers,
            tangents,
            gradient_norm,
            distance,
        )


def _solve(
    matrix: FloatArray, rest: FloatArray
) -> tuple[tuple[FloatArray, bool] | None, FloatArray]:
    """Return a factor of the matrix, if it is positive definite, and a descent step."""
    if not len(rest):
        return (matrix, True), rest
    try:
        factor = linalg.cho_factor(matrix, lower=True)
    except linalg.LinAlgError:
        values, vectors = linalg.eigh(matrix)
        size = np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1e-300))
        return None, -vectors @ ((vectors.T @ rest) / size)
    return factor, -linalg.cho_solve(factor, rest)


def first_point(objective: ConstrainedObjective, n: int) -> Point:
    """Return the unconstrained optimum as a point."""
    u = np.zeros(n)
    value, _ = objective.value_and_gradient(u)
    constraint_values, normals = objective.quantities(u)
    gradient_norm = float(np.linalg.norm(normals[0]))
    tangents = normals.T / gradient_norm**2
    return Point(
        u, constraint_values, value, np.zeros(len(constraint_values)), tangents, gradient_norm, 0.0
    )


def solve_constrained(
    objective: ConstrainedObjective, u: FloatArray, wanted: float | FloatArray
) -> Point | ConstrainedStatus:
    """Find the constrained optimum at values of the quantities by Newton's method.

    Each step solves the linearised Lagrange conditions. The result is certified: the reduced
    Hessian is positive definite, and the distance left is below 1e-6 standard errors.

    Parameters
    ----------
    objective : ConstrainedObjective
    u : array (n,)
        A start near the optimum.
    wanted : float or array (q,)
        The values.
    """
    wanted = np.atleast_1d(np.asarray(wanted, dtype=float))
    here = _Evaluation.of(objective, u)
    if here is None:
        return ConstrainedStatus.OUTSIDE
    before = np.inf
    for _ in range(_ITERATIONS):
        newton = _Newton.at(objective, here, wanted)
        if newton is None:
            return ConstrainedStatus.STALLED
        left = newton.distance(here, wanted)
        if left < _TOLERANCE or (left < _ROUNDING and left > before / 2):
            return newton.point(here, wanted)
        if newton.factor is None and np.linalg.norm(newton.step) < _TOLERANCE:
            return ConstrainedStatus.SADDLE
        moved = _search(objective, here, newton, wanted)
        if moved is None and left < _ROUNDING:
            return newton.point(here, wanted)
        if moved is None:
            return ConstrainedStatus.SADDLE if newton.factor is None else ConstrainedStatus.STALLED
        here, before = moved, left
        # The curvature has hardly changed after so short a step, and is good enough to judge by.
        if left < _SHORT and newton.distance(here, wanted) < _TOLERANCE:
            return newton.point(here, wanted)
    return ConstrainedStatus.STALLED


def _search(
    objective: ConstrainedObjective, here: _Evaluation, newton: _Newton, wanted: FloatArray
) -> _Evaluation | None:
    """Return the point after the longest halved step that lowers objective plus penalty."""
    length = float(np.linalg.norm(newton.step))
    share = min(1.0, _LONGEST / length) if length > 0 else 1.0
    price = 2 * np.abs(newton.multipliers) + 1 / np.linalg.norm(here.normals, axis=1)
    merit = here.value + price @ np.abs(here.constraint_values - wanted)
    for _ in range(25):
        there = _Evaluation.of(objective, here.u + share * newton.step)
        if there is not None:
            gain = merit - there.value - price @ np.abs(there.constraint_values - wanted)
            if gain > -1e-9 * (1 + abs(merit)):
                return there
        share /= 2
    return None
