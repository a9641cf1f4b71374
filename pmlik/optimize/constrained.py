"""Newton's method for an objective with equality constraints.

The objective is a negative log-likelihood relative to its minimum, a function of coordinates ``u``
with ``u = 0`` and an identity Hessian at the optimum: a unit is a standard error. Quantities
``g(u)`` are constrained to given values; everything else is optimised.

A border of the support is infinitely far away in ``u``. Near one, steps are taken in the user's
units, where it is near; `active_set` holds what steps over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray
from pmlik.optimize.borders import Border, move, without

# A point of a profile is certified when it is estimated to be nearer than this to the constrained
# optimum, in standard errors; the log-likelihood is then known to half its square.
_TOLERANCE = 1e-6

# Accepted where rounding error stops the iteration.
_ROUNDING = 1e-4
_ITERATIONS = 60
_LONGEST = 2.0
_SHORT = 1e-2
_PRICE = 1e3

# A coordinate is near a border if a standard error is more than half of the distance.
_NEAR_BORDER = 4.0

# A quantity with less than this share of its gradient in the free directions is constant.
_CONSTANT = 1e-8


class ConstrainedStatus(StrEnum):
    """Reasons for which no constrained optimum was found."""

    OUTSIDE = "the density is zero there"
    SADDLE = "the constrained optimum has become a saddle"
    STALLED = "the iteration does not converge"


class ConstrainedObjective(Protocol):
    """An objective and ``q`` quantities, all functions of ``u`` (n,).

    ``quantities`` gives their values (q,) and gradients (q, n), ``weighted_hessian`` the Hessian of
    their weighted sum, None where they are linear. ``borders`` may be held, by their index;
    ``limits`` of the first quantity are as good as the borders of its support.
    """

    @property
    def borders(self) -> Sequence[Border]: ...  # noqa: D102
    @property
    def limits(self) -> tuple[float, float]: ...  # noqa: D102

    def value_and_gradient(self, u: FloatArray, /) -> tuple[float, FloatArray]: ...  # noqa: D102
    def hessian(self, u: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def quantities(self, u: FloatArray, /) -> tuple[FloatArray, FloatArray]: ...  # noqa: D102
    def weighted_hessian(  # noqa: D102
        self, u: FloatArray, weights: FloatArray, /
    ) -> FloatArray | None: ...


@dataclass(frozen=True, eq=False)
class Point:
    """A constrained optimum.

    ``u`` (n,). ``constraint_values`` (q,): the quantities.
    ``delta_nll``: the objective, zero at the unconstrained optimum.
    ``multipliers`` (q,): derivatives of ``delta_nll`` in ``constraint_values``: the Lagrange
        multipliers.
    ``tangents`` (n, q): derivatives of ``u`` in ``constraint_values``.
    ``gradient_norm``: norm of the first quantity's gradient: its change per standard error.
    ``distance``: estimated distance to the exact constrained optimum, in standard errors.
    ``held``: borders at which coordinates are held,
    ``near``: and those that are near.
    """

    u: FloatArray
    constraint_values: FloatArray
    delta_nll: float
    multipliers: FloatArray
    tangents: FloatArray
    gradient_norm: float
    distance: float
    held: frozenset[int] = frozenset()
    near: frozenset[int] = frozenset()

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
class Constraints:
    """An objective whose quantities, and the heights of its held borders, have given values."""

    objective: ConstrainedObjective
    wanted: FloatArray
    held: tuple[int, ...]

    @classmethod
    def of(
        cls, objective: ConstrainedObjective, wanted: FloatArray, held: frozenset[int]
    ) -> Constraints:
        """Return the problem of some borders held."""
        order = tuple(sorted(held))
        heights = [objective.borders[j].far for j in order]
        return cls(objective, np.concatenate([wanted, heights]), order)

    def place(self, u: FloatArray) -> FloatArray:
        """Return the point with held coordinates at their heights."""
        for j, height in zip(
            self.held, self.wanted[len(self.wanted) - len(self.held) :], strict=True
        ):
            border = self.objective.borders[j]
            u = u + (height - border.height(u)) * border.direction
        return u

    def evaluate(self, u: FloatArray) -> _Evaluation | None:
        """Evaluate at ``u``; None where the objective or a quantity is not finite."""
        value, gradient = self.objective.value_and_gradient(u)
        if not np.isfinite(value):
            return None
        values, normals = self.objective.quantities(u)
        if not (np.isfinite(values).all() and np.isfinite(normals).all()):
            return None
        if self.held:
            rows = [self.objective.borders[j].row for j in self.held]
            values = np.concatenate([values, [row @ u for row in rows]])
            normals = np.vstack([normals, rows])
        return _Evaluation(u, value, gradient, values, normals)

    def curvature(
        self, here: _Evaluation, multipliers: FloatArray
    ) -> tuple[FloatArray, frozenset[int]]:
        """Return the Lagrangian's Hessian, in the user's units near borders, and those borders."""
        curvature = self.objective.hessian(here.u)
        weighted = self.objective.weighted_hessian(
            here.u, multipliers[: len(multipliers) - len(self.held)]
        )
        if weighted is not None:
            curvature = curvature - weighted
        slope, near = here.gradient - multipliers @ here.normals, list[int]()
        seen = [self.objective.borders[j].row for j in self.held]
        by_height = sorted(
            enumerate(self.objective.borders), key=lambda item: -item[1].height(here.u)
        )
        for j, border in by_height:
            # Both borders of one interval have the same row but for its sign.
            other = any(np.allclose(border.row, -row) for row in seen)
            if other or j in self.held or not border.is_finite:
                continue
            rise = slope @ border.direction
            own = border.direction @ curvature @ border.direction + rise
            if 0 < own < _NEAR_BORDER:
                curvature = curvature + rise * np.outer(border.row, border.row)
                near.append(j)
            seen.append(border.row)
        return curvature, frozenset(near)


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """A point with its values and first derivatives."""

    u: FloatArray
    value: float
    gradient: FloatArray
    constraint_values: FloatArray
    normals: FloatArray


@dataclass(frozen=True, eq=False)
class Crossing:
    """A step that leads over borders."""

    u: FloatArray
    borders: frozenset[int]


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
    near: frozenset[int]

    @classmethod
    def at(cls, problem: Constraints, here: _Evaluation) -> _Newton | None:
        """Solve for the step; None if a quantity is constant or the curvature not finite."""
        wanted = problem.wanted
        if len(wanted) > len(here.u):
            return None
        basis, upper = linalg.qr(here.normals.T, mode="full")
        q = len(wanted)
        bound, free, lower = basis[:, :q], basis[:, q:], upper[:q].T
        if not np.abs(np.diag(lower)).min() > 0:
            return None
        multipliers = np.linalg.solve(lower.T, bound.T @ here.gradient)
        curvature, near = problem.curvature(here, multipliers)
        if not np.isfinite(curvature).all():
            return None
        across = bound @ np.linalg.solve(lower, wanted - here.constraint_values)
        rest = free.T @ (here.gradient + curvature @ across)
        if not np.isfinite(rest).all():
            return None
        factor, along = _solve(free.T @ curvature @ free, rest)
        return cls(bound, free, lower, curvature, factor, multipliers, across + free @ along, near)

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

    def point(self, problem: Constraints, here: _Evaluation) -> Point:
        """Return the record of a point that is near enough."""
        lower = here.normals @ self.bound
        multipliers = np.linalg.solve(lower.T, self.bound.T @ here.gradient)
        tangents = self.bound @ linalg.inv(lower)
        if self.factor is not None and self.free.shape[1]:
            pulled = self.free.T @ (self.curvature @ tangents)
            tangents = tangents - self.free @ linalg.cho_solve(self.factor, pulled)
        q = len(problem.wanted) - len(problem.held)
        return Point(
            here.u,
            here.constraint_values[:q],
            here.value,
            multipliers[:q],
            tangents[:, :q],
            float(1 / np.linalg.norm((self.bound @ linalg.inv(lower))[:, 0])),
            self.distance(here, problem.wanted),
            frozenset(problem.held),
            self.near,
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


def first_point(
    objective: ConstrainedObjective, n: int, held: frozenset[int] = frozenset()
) -> Point | None:
    """Return the unconstrained optimum as a point; None if the quantity can't leave it."""
    values = objective.quantities(np.zeros(n))[0]
    heights = [objective.borders[j].height(np.zeros(n)) for j in sorted(held)]
    problem = Constraints(objective, np.concatenate([values, heights]), tuple(sorted(held)))
    here = problem.evaluate(np.zeros(n))
    newton = None if here is None else _Newton.at(problem, here)
    if here is None or newton is None:
        return None
    point = newton.point(problem, here)
    within = point.gradient_norm > _CONSTANT * np.linalg.norm(here.normals[0])
    zeros = np.zeros(len(values))
    return replace(point, delta_nll=here.value, multipliers=zeros, distance=0.0) if within else None


def iterate(problem: Constraints, u: FloatArray) -> Point | ConstrainedStatus | Crossing:
    """Iterate Newton steps with the borders of a problem held."""
    wanted, here = problem.wanted, problem.evaluate(problem.place(u))
    if here is None:
        return ConstrainedStatus.OUTSIDE
    before = np.inf
    for _ in range(_ITERATIONS):
        newton = _Newton.at(problem, here)
        if newton is None:
            return ConstrainedStatus.STALLED
        left = newton.distance(here, wanted)
        if left < _TOLERANCE or (left < _ROUNDING and left > before / 2):
            return newton.point(problem, here)
        if newton.factor is None and np.linalg.norm(newton.step) < _TOLERANCE:
            return ConstrainedStatus.SADDLE
        moved = _search(problem, here, newton)
        if isinstance(moved, Crossing):
            return moved
        if moved is None and left < _ROUNDING:
            return newton.point(problem, here)
        if moved is None:
            return ConstrainedStatus.SADDLE if newton.factor is None else ConstrainedStatus.STALLED
        here, before = moved, left
        # The curvature has hardly changed after so short a step, and is good enough to judge by.
        if left < _SHORT and not newton.near and newton.distance(here, wanted) < _TOLERANCE:
            return newton.point(problem, here)
    return ConstrainedStatus.STALLED


def _search(
    problem: Constraints, here: _Evaluation, newton: _Newton
) -> _Evaluation | Crossing | None:
    """Return the point after the longest halved step that lowers objective plus penalty."""
    borders, wanted = problem.objective.borders, problem.wanted
    length = float(np.linalg.norm(without(borders, newton.near, newton.step)))
    if newton.factor is not None:
        length = min(
            length, float(np.sqrt(max(float(newton.step @ newton.curvature @ newton.step), 0.0)))
        )
    free = set(range(len(borders))) - newton.near - set(problem.held)
    length = max([length, *(abs(float(borders[j].row @ newton.step)) / 2 for j in free)])
    step = min(1.0, _LONGEST / length) * newton.step if length > 0 else newton.step
    over = frozenset(
        j
        for j, border in enumerate(borders)
        if j not in problem.held
        and border.is_finite
        and (
            (j in newton.near and border.row @ step > 1 - 1e-9)
            or border.height(here.u) + border.row @ step > border.far - 1
        )
    )
    if over:
        return Crossing(here.u, over)
    share = 1.0
    price = 2 * np.abs(newton.multipliers) + 1 / np.linalg.norm(here.normals, axis=1)
    merit = here.value + price @ np.abs(here.constraint_values - wanted)
    for _ in range(25):
        tried = problem.evaluate(move(borders, newton.near, here.u, share * step))
        for there in (tried, _back(problem, tried, newton.near)):
            if there is None:
                break
            gain = merit - there.value - price @ np.abs(there.constraint_values - wanted)
            if gain > -1e-9 * (1 + abs(merit)):
                return there
        share /= 2
    return None


def _back(
    problem: Constraints, there: _Evaluation | None, near: frozenset[int]
) -> _Evaluation | None:
    """Return a point moved back to the values wanted, which a step along their tangent leaves.

    Without it only short steps along a bent constraint lower the penalised objective (the
    second-order correction: Nocedal & Wright, 2006, section 15.6).
    """
    if there is None:
        return None
    lacking = problem.wanted - there.constraint_values
    step = np.linalg.lstsq(there.normals, lacking)[0]
    return problem.evaluate(move(problem.objective.borders, near, there.u, step))
