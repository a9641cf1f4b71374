"""Objectives and the points that a search evaluates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from pmlik._budget import Meter, OutOfWorkError
from pmlik._typing import BoolArray, FloatArray
from pmlik.optimize.hessian import DENSE_LIMIT, HessianEigen, HessianOperator

Kind = Literal["mle", "map"]

#: Nearer than this many standard errors to an optimum, Newton steps finish by themselves.
NEAR = 1e-2

#: With more observations than this an evaluation takes so long that fewer checks are made.
LARGE_DATA = 50_000

# Number of cached evaluations: points one standard error away are evaluated twice.
_REMEMBERED = 200

# With a larger gradient than this along a direction without curvature, no step is bounded.
_FLAT_GRADIENT = 1e-6


class DensityLike(Protocol):
    """A log-density of a flat vector ``x`` (n,), with derivatives.

    ``active`` (n,) tells which coordinates it depends on, ``is_bounded`` if it is known to have an
    upper bound, ``is_integral`` if each evaluation is an integral over latents, and
    ``by_differences`` if its Hessian comes from differences of the gradient.
    """

    active: BoolArray
    is_bounded: bool

    @property
    def is_integral(self) -> bool: ...  # noqa: D102
    @property
    def by_differences(self) -> bool: ...  # noqa: D102
    def value_and_gradient(self, x: FloatArray, /) -> tuple[float, FloatArray]: ...  # noqa: D102
    def hessian(self, x: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def product(self, x: FloatArray, v: FloatArray, /) -> FloatArray: ...  # noqa: D102


class ValuesLike(Protocol):
    """The constrained values (m,) of a flat vector ``x`` (n,), with products of their Jacobian.

    ``period`` (n,) has the turn after which a coordinate repeats, infinite for most; None for all.
    """

    period: FloatArray | None

    def __call__(self, x: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def are_parameters(self, x: FloatArray, /) -> BoolArray: ...  # noqa: D102
    def vjp(self, x: FloatArray, u: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def jvp(self, x: FloatArray, /) -> Callable[[FloatArray], FloatArray]: ...  # noqa: D102


class ObjectiveLike(Protocol):
    """An objective to minimise: an `Objective`, or a part of one.

    A flat vector ``z`` of its own stands for a full ``x``; see `Objective` for the members.
    """

    @property
    def densities(self) -> tuple[DensityLike, ...]: ...  # noqa: D102
    @property
    def values(self) -> ValuesLike: ...  # noqa: D102
    @property
    def base(self) -> FloatArray: ...  # noqa: D102
    @property
    def active(self) -> BoolArray: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def period(self) -> FloatArray | None: ...  # noqa: D102
    def expand(self, z: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def lift(self, z: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def value_and_gradient(self, z: FloatArray, /) -> tuple[float, FloatArray]: ...  # noqa: D102
    def product(self, z: FloatArray, v: FloatArray, /) -> FloatArray: ...  # noqa: D102
    def hessian(self, z: FloatArray, /) -> FloatArray: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Objective:
    """The negative sum of log-densities over their active coordinates.

    ``densities``: ``(likelihood,)`` for the MLE, ``(likelihood, prior)`` for the MAP.
    ``values``: constrained values as a function of ``x``.
    ``base`` (n,): supplies the coordinates that are not active, and a point inside the support.
    ``held`` (n,): coordinates that stay at their base although a density depends on them.
    ``meter``: counts the work, and ends a step that takes too much; None: without end.
    """

    densities: tuple[DensityLike, ...]
    values: ValuesLike
    base: FloatArray
    held: BoolArray | None = None
    meter: Meter | None = None

    def _check(self) -> None:
        if self.meter is not None:
            self.meter.check()

    @cached_property
    def active(self) -> BoolArray:
        """Mask (n,) of the coordinates of ``x`` that are optimised."""
        active: BoolArray = np.any([density.active for density in self.densities], axis=0)
        return active if self.held is None else active & ~self.held

    @property
    def is_integral(self) -> bool:
        """True if latents are integrated out, so that each evaluation is a search of its own."""
        return any(density.is_integral for density in self.densities)

    @property
    def size(self) -> int:
        """Number of optimised coordinates."""
        return int(self.active.sum())

    @property
    def period(self) -> FloatArray | None:
        """The turns (k,) after which the coordinates repeat, infinite for most; None for all."""
        return None if self.values.period is None else self.values.period[self.active]

    def expand(self, z: FloatArray) -> FloatArray:
        """Return the full vector ``x`` of the active coordinates ``z``."""
        x = self.base.copy()
        x[self.active] = z
        return x

    def lift(self, z: FloatArray) -> FloatArray:
        """Return a direction in ``x``: zero where ``z`` has no coordinate."""
        x = np.zeros(len(self.base))
        x[self.active] = z
        return x

    def value_and_gradient(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Return objective and gradient; the value is infinite where either is not a number."""
        self._check()
        x = self.expand(z)
        parts = [density.value_and_gradient(x) for density in self.densities]
        value = -sum(part[0] for part in parts)
        gradient = -np.sum([part[1] for part in parts], axis=0)[self.active]
        usable = np.isfinite(value) and np.isfinite(gradient).all()
        return (value, gradient) if usable else (np.inf, np.zeros(len(z)))

    def hessian(self, z: FloatArray) -> FloatArray:
        """Return the dense Hessian of the objective."""
        self._check()
        x, active = self.expand(z), self.active
        parts = [density.hessian(x) for density in self.densities]
        return np.asarray(-np.sum(parts, axis=0)[np.ix_(active, active)])

    def product(self, z: FloatArray, v: FloatArray) -> FloatArray:
        """Return a Hessian-vector product of the objective."""
        self._check()
        x, direction = self.expand(z), self.lift(v)
        parts = [density.product(x, direction) for density in self.densities]
        return -np.sum(parts, axis=0)[self.active]


@dataclass(eq=False)
class SearchPoint:
    """A point with its derivatives and its certification.

    ``gradient`` (k,). ``z`` (k,): active coordinates. ``value``: the objective there.
    ``curvature``: None where the Hessian is not finite. ``step`` (k,): the Newton step from here.
    ``distance``: the Newton decrement ``sqrt(g' H^-1 g)``, in standard errors.
    ``converged``: certified.
    ``contracted``: True if a Newton step has shortened the distance as it does at a regular
        optimum.
    ``start``: name of the start.
    ``lowest``: the lowest value of the objective evaluated by the search,
    ``lowest_at`` (k,): and its point.
    ``from_saddle`` (k,): if the start was a saddle, the direction that leads down from it.
    ``period`` (k,): as of the objective.
    """

    z: FloatArray
    value: float
    gradient: FloatArray
    curvature: HessianEigen | HessianOperator | None
    step: FloatArray
    distance: float
    converged: bool = False
    contracted: bool = False
    start: str = ""
    lowest: float = np.inf
    lowest_at: FloatArray | None = None
    from_saddle: FloatArray | None = None
    period: FloatArray | None = None

    def offset(self, z: FloatArray) -> FloatArray:
        """Return another point minus this one, the short way round where coordinates repeat."""
        away = z - self.z
        if self.period is None:
            return away
        turn = np.where(np.isfinite(self.period), self.period, 1.0)
        return np.where(np.isfinite(self.period), away - turn * np.round(away / turn), away)

    @property
    def usable(self) -> bool:
        """Certified, or as near as rounding lets it come to a regular optimum."""
        return self.converged or (self.contracted and self.distance < NEAR)

    @property
    def is_saddle(self) -> bool:
        """Return True if the curvature is negative in some direction."""
        return self.curvature is not None and self.curvature.is_indefinite

    @property
    def is_flat(self) -> bool:
        """Return True if there is no curvature in some direction."""
        return isinstance(self.curvature, HessianEigen) and self.curvature.signs.zero > 0

    @property
    def is_stationary(self) -> bool:
        """Return True if the gradient is zero, in the units of the curvature."""
        if self.curvature is None:
            return False
        return bool(np.linalg.norm(self.curvature.scale * self.gradient) < NEAR)


@dataclass(eq=False)
class CachedObjective:
    """An objective that caches its last evaluations.

    ``lowest``: the lowest value so far,
    ``lowest_at`` (k,): and its point.
    """

    objective: ObjectiveLike
    lowest: float = np.inf
    lowest_at: FloatArray | None = None
    _at: dict[bytes, tuple[float, FloatArray]] = field(default_factory=dict)
    _hessian: tuple[bytes, FloatArray] | None = None
    _optimum: tuple[bytes, SearchPoint] | None = None

    def value_and_gradient(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Return objective and gradient at ``z``."""
        key = z.tobytes()
        if key not in self._at:
            if len(self._at) > (_REMEMBERED if len(z) <= DENSE_LIMIT else 8):
                self._at.clear()
            self._at[key] = self.objective.value_and_gradient(z)
            if self._at[key][0] < self.lowest:
                self.lowest, self.lowest_at = self._at[key][0], z.copy()
        return self._at[key]

    def hessian(self, z: FloatArray) -> FloatArray:
        """Return the dense Hessian at ``z``."""
        key = z.tobytes()
        if self._hessian is None or self._hessian[0] != key:
            self._hessian = (key, self.objective.hessian(z))
        return self._hessian[1]

    def lowest_point(self) -> SearchPoint:
        """Return the lowest point so far, as where a search ran out of work."""
        if self.lowest_at is None:
            raise OutOfWorkError
        z, nothing = self.lowest_at, np.zeros(len(self.lowest_at))
        gradient = self._at[z.tobytes()][1] if z.tobytes() in self._at else nothing
        period = self.objective.period
        return SearchPoint(z, self.lowest, gradient, None, nothing, np.inf, period=period)

    def examine(self, z: FloatArray) -> SearchPoint:
        """Return the point at ``z`` with its derivatives, Newton step and decrement."""
        key = z.tobytes()
        if self._optimum is None or self._optimum[0] != key:
            self._optimum = (key, self._examine(z))
        return self._optimum[1]

    def _examine(self, z: FloatArray) -> SearchPoint:
        value, gradient = self.value_and_gradient(z)
        here = SearchPoint(
            z, value, gradient, None, np.zeros(len(z)), np.inf, period=self.objective.period
        )
        if not np.isfinite(value):
            return here
        curvature: HessianEigen | HessianOperator
        step: FloatArray | None
        if len(z) > DENSE_LIMIT:
            curvature = HessianOperator.probe(lambda v: self.objective.product(z, v), len(z))
            step = curvature.solve(-gradient)
        else:
            hessian = self.hessian(z)
            try:
                curvature = HessianEigen.of(hessian)
            except ValueError:  # not finite, or not any more once it is scaled
                return here
            step = (
                None if _slopes_along_flat(curvature, gradient) else curvature.newton_step(gradient)
            )
        here.curvature = curvature
        if step is not None:  # the Newton decrement, as the step is -H^-1 g
            here.step, here.distance = step, math.sqrt(max(0.0, -float(gradient @ step)))
        return here


def _slopes_along_flat(curvature: HessianEigen, gradient: FloatArray) -> bool:
    """Return True if the gradient is not zero along a direction without curvature."""
    flat = np.abs(curvature.eigenvalues) <= curvature.tolerance
    slope = curvature.eigenvectors[:, flat].T @ (curvature.scale * gradient)
    return bool(np.linalg.norm(slope) > _FLAT_GRADIENT)
