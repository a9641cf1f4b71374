"""From a starting point to an optimum with a certificate.

The objective is minimised on the unconstrained scale: a negative log-density, over those
coordinates that it depends on. `pm.find_MAP` gives the start, SciPy's trust region brings it
near, and Newton steps with exact derivatives finish.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import optimize

from pmlik.curvature import DENSE_LIMIT, Curvature, IterativeCurvature, hessian_from_products
from pmlik.errors import StartError
from pmlik.functions import BoolArray, Density, Values
from pmlik.problem import Problem
from pmlik.space import FloatArray

__all__ = ["TOLERANCE", "Kind", "Objective", "Optimum", "climb", "find_start", "search"]

Kind = Literal["mle", "map"]

#: An optimum is certified when it is estimated to be nearer than this, in standard errors.
TOLERANCE = 1e-6

# A Newton step from inside the basin of a regular optimum shortens the distance by far more
# than this; where the supremum is at infinity it does not.
_CONTRACTION = 0.1
_ROUNDING_FLOOR = 1e-8
_NEAR = 1e-2
_NEWTON_STEPS = 20
_ROUNDS = 8
_TRUST_STEPS = 60
_FLAT_GRADIENT = 1e-6

# One standard error away from a regular optimum a log-density has fallen by about 1/2.
_RISE = 0.01
_DIRECTIONS = 30
_OVERSHOOT = 100
_SATURATED = 1e-6


@dataclass(frozen=True, eq=False)
class Objective:
    """The negative sum of log-densities over their active coordinates.

    Parameters
    ----------
    densities : tuple of Density
        ``(likelihood,)`` for the MLE, ``(likelihood, prior)`` for the MAP.
    values : Values
        The natural values.
    base : array (n,)
        Supplies the coordinates that are not active, and a point inside the support.
    """

    densities: tuple[Density, ...]
    values: Values
    base: FloatArray

    @classmethod
    def of(cls, problem: Problem, kind: Kind, base: FloatArray) -> Objective:
        """The objective of an estimate of the given kind."""
        prior = (problem.prior,) if kind == "map" else ()
        return cls((problem.likelihood, *prior), problem.values, base)

    @property
    def active(self) -> BoolArray:
        """Which coordinates of ``x`` are optimised."""
        return np.any([density.active for density in self.densities], axis=0)

    @property
    def size(self) -> int:
        """How many coordinates are optimised."""
        return int(self.active.sum())

    def expand(self, z: FloatArray) -> FloatArray:
        """The full vector ``x`` of the active coordinates ``z``."""
        x = self.base.copy()
        x[self.active] = z
        return x

    def lift(self, z: FloatArray) -> FloatArray:
        """A direction in ``x``: zero where ``z`` has no coordinate."""
        x = np.zeros(len(self.base))
        x[self.active] = z
        return x

    def value_and_gradient(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Objective and gradient; infinite wherever either is not a number."""
        x = self.expand(z)
        parts = [density.value_and_gradient(x) for density in self.densities]
        value = -sum(part[0] for part in parts)
        gradient = -np.sum([part[1] for part in parts], axis=0)[self.active]
        usable = np.isfinite(value) and np.isfinite(gradient).all()
        return (value, gradient) if usable else (np.inf, np.zeros(len(z)))

    def product(self, z: FloatArray, v: FloatArray) -> FloatArray:
        """Hessian-vector product of the objective."""
        x, direction = self.expand(z), self.lift(v)
        parts = [density.product(x, direction) for density in self.densities]
        return -np.sum(parts, axis=0)[self.active]


@dataclass(eq=False)
class Optimum:
    """A point, what is known about it, and whether that certifies it.

    Parameters
    ----------
    z : array (k,)
        Active coordinates.
    value : float
        The objective there.
    gradient : array (k,)
    curvature : Curvature, IterativeCurvature or None
        None where the Hessian is not finite.
    step : array (k,)
        The Newton step from here.
    distance : float
        ``sqrt(g' H^-1 g)``: estimated distance to the optimum, in standard errors.
    converged : bool
        Certified.
    contracted : bool
        Whether a Newton step has shortened the distance as it does at a regular optimum.
    start : str
        Which start led here.
    """

    z: FloatArray
    value: float
    gradient: FloatArray
    curvature: Curvature | IterativeCurvature | None
    step: FloatArray
    distance: float
    converged: bool = False
    contracted: bool = False
    start: str = ""

    @property
    def usable(self) -> bool:
        """Certified, or as near as rounding lets it come to a regular optimum."""
        return self.converged or (self.contracted and self.distance < _NEAR)

    @property
    def is_saddle(self) -> bool:
        """Whether the curvature is negative in some direction."""
        return isinstance(self.curvature, Curvature) and self.curvature.signs.negative > 0

    @property
    def is_stationary(self) -> bool:
        """Whether the gradient is zero, in the units of the curvature."""
        if self.curvature is None:
            return False
        return bool(np.linalg.norm(self.curvature.scale * self.gradient) < _NEAR)


@dataclass(eq=False)
class _Memory:
    """The objective with its last evaluations, since SciPy asks for each thing by itself."""

    objective: Objective
    _at: dict[bytes, tuple[float, FloatArray]] = field(default_factory=dict)
    _hessian: tuple[bytes, FloatArray] | None = None
    _optimum: tuple[bytes, Optimum] | None = None

    def value_and_gradient(self, z: FloatArray) -> tuple[float, FloatArray]:
        key = z.tobytes()
        if key not in self._at:
            if len(self._at) > 8:
                self._at.clear()
            self._at[key] = self.objective.value_and_gradient(z)
        return self._at[key]

    def examine(self, z: FloatArray) -> Optimum:
        """Derivatives at ``z`` and what they say of the distance to the optimum."""
        key = z.tobytes()
        if self._optimum is None or self._optimum[0] != key:
            self._optimum = (key, self._examine(z))
        return self._optimum[1]

    def hessian(self, z: FloatArray) -> FloatArray:
        key = z.tobytes()
        if self._hessian is None or self._hessian[0] != key:
            dense = hessian_from_products(lambda v: self.objective.product(z, v), len(z))
            self._hessian = (key, dense)
        return self._hessian[1]

    def _examine(self, z: FloatArray) -> Optimum:
        value, gradient = self.value_and_gradient(z)
        unknown = Optimum(z, value, gradient, None, np.zeros(len(z)), np.inf)
        if not np.isfinite(value):
            return unknown
        if len(z) > DENSE_LIMIT:
            return self._examine_by_products(unknown)
        hessian = self.hessian(z)
        if not np.isfinite(hessian).all():
            return unknown
        curvature = Curvature.of(hessian)
        step = curvature.newton_step(gradient)
        distance = _newton_decrement(gradient, step)
        if _rises_along_flat(curvature, gradient):
            distance = np.inf
        return Optimum(z, value, gradient, curvature, step, distance)

    def _examine_by_products(self, unknown: Optimum) -> Optimum:
        z, gradient = unknown.z, unknown.gradient
        curvature = IterativeCurvature.probe(lambda v: self.objective.product(z, v), len(z))
        step = curvature.solve(-gradient)
        if step is None:
            return Optimum(z, unknown.value, gradient, curvature, np.zeros(len(z)), np.inf)
        distance = _newton_decrement(gradient, step)
        return Optimum(z, unknown.value, gradient, curvature, step, distance)


def _newton_decrement(gradient: FloatArray, step: FloatArray) -> float:
    """``sqrt(g' H^-1 g)`` from the Newton step ``-H^-1 g``."""
    return math.sqrt(max(0.0, -float(gradient @ step)))


def _rises_along_flat(curvature: Curvature, gradient: FloatArray) -> bool:
    """Whether a direction without curvature still has a slope: then nothing bounds the step."""
    flat = np.abs(curvature.eigenvalues) <= curvature.tolerance
    slope = curvature.eigenvectors[:, flat].T @ (curvature.scale * gradient)
    return bool(np.linalg.norm(slope) > _FLAT_GRADIENT)


def climb(objective: Objective, z: FloatArray, start: str) -> Optimum:
    """Go from ``z`` to a certified optimum, or as far as it goes.

    Newton steps are tried first, since most starts are close. Where they fail, rounds of a
    trust region in coordinates scaled by the current Hessian take over, and saddles are left
    along their direction of negative curvature.
    """
    memory = _Memory(objective)
    best = _newton(memory, z)
    for _ in range(_ROUNDS):
        if best.converged or best.curvature is None:
            break
        moved = _trust_region(memory, best)
        if best.is_saddle and np.array_equal(moved, best.z):
            moved = _leave_saddle(memory, best)
        if np.array_equal(moved, best.z):
            break
        best = _newton(memory, moved)
    best.start = start
    if best.usable and not _is_inside(memory, best):
        best.converged = best.contracted = False
    return best


def _is_inside(memory: _Memory, optimum: Optimum) -> bool:
    """Whether a stationary point is an optimum, and not far out on a tail that levels off.

    Where parameters run off to infinity, or to the border of their support, the curvature fades
    with the gradient, so that any point far out looks like an optimum.
    """
    if not _pulls_back(memory, optimum):
        return False
    if isinstance(optimum.curvature, Curvature):
        return _rises(memory, optimum) and not _is_saturated(memory.objective, optimum)
    return True


def _pulls_back(memory: _Memory, optimum: Optimum) -> bool:
    """Whether a hundred Newton steps further the slope points back, 99 times as steep.

    It does wherever the curvature holds; on a tail the slope has died out by then.
    """
    slope = float(optimum.step @ optimum.gradient)
    if slope == 0:
        return True
    beyond = memory.value_and_gradient(optimum.z + _OVERSHOOT * optimum.step)
    return bool(optimum.step @ beyond[1] / slope < -_OVERSHOOT / 10) or bool(np.isinf(beyond[0]))


def _is_saturated(objective: Objective, optimum: Optimum) -> bool:
    """Whether a flat direction is one in which the natural values no longer move.

    Then the parameter sits on the border of its support, and its transform is exhausted.
    """
    assert isinstance(optimum.curvature, Curvature)
    flat = optimum.curvature.flat_directions()
    if not flat.size:
        return False
    here, inside = (
        objective.values.tangents(x) for x in (objective.expand(optimum.z), objective.base)
    )
    return any(
        np.linalg.norm(here(step)) < _SATURATED * np.linalg.norm(inside(step))
        for step in map(objective.lift, flat)
    )


def _rises(memory: _Memory, optimum: Optimum) -> bool:
    """Whether the objective has really risen one standard error away, in every direction.

    Sides outside the support have infinite rise.
    """
    assert isinstance(optimum.curvature, Curvature)
    for step in optimum.curvature.unit_errors(_DIRECTIONS):
        for sign in (1.0, -1.0):
            rise = memory.value_and_gradient(optimum.z + sign * step)[0] - optimum.value
            if abs(rise) < _RISE:
                return False
    return True


def _newton(memory: _Memory, z: FloatArray) -> Optimum:
    """Full Newton steps while they bring the optimum nearer."""
    here = memory.examine(z)
    for _ in range(_NEWTON_STEPS):
        if here.is_saddle or not np.isfinite(here.distance):
            break
        value, _ = memory.value_and_gradient(here.z + here.step)
        if not value <= here.value + 1e-10 * (1 + abs(here.value)):
            break
        there = memory.examine(here.z + here.step)
        if there.is_saddle or not there.distance < here.distance:
            here.converged = here.distance < _ROUNDING_FLOOR
            break
        shortened = there.distance <= _CONTRACTION * here.distance
        there.contracted = here.contracted or shortened
        there.converged = there.distance < TOLERANCE and (
            shortened or there.distance < _ROUNDING_FLOOR
        )
        here = there
        if here.converged:
            break
    return here


def _trust_region(memory: _Memory, start: Optimum) -> FloatArray:
    """SciPy's trust region from ``start``, in coordinates scaled to a unit diagonal."""
    assert start.curvature is not None
    scale, lowest, idle = start.curvature.scale, [np.inf], [0]

    def value(u: FloatArray) -> float:
        return memory.value_and_gradient(scale * u)[0]

    def gradient(u: FloatArray) -> FloatArray:
        return scale * memory.value_and_gradient(scale * u)[1]

    def watch(intermediate_result: Any) -> None:
        idle[0] = 0 if intermediate_result.fun < lowest[0] else idle[0] + 1
        lowest[0] = min(lowest[0], float(intermediate_result.fun))
        if idle[0] > 12:
            raise StopIteration
        if idle[0] == 0 and len(scale) <= DENSE_LIMIT:
            here = memory.examine(scale * intermediate_result.x)
            if not here.is_saddle and here.distance < _NEAR:
                raise StopIteration

    options: dict[str, Any] = {"gtol": 1e-12, "maxiter": _TRUST_STEPS}
    derivatives: dict[str, Any]
    if len(scale) <= DENSE_LIMIT:

        def hessian(u: FloatArray) -> FloatArray:
            return memory.hessian(scale * u) * np.outer(scale, scale)

        method, derivatives = "trust-exact", {"hess": hessian}
    else:

        def product(u: FloatArray, v: FloatArray) -> FloatArray:
            return scale * memory.objective.product(scale * u, scale * v)

        options["gtol"] = 1e-3
        method, derivatives = "trust-ncg", {"hessp": product}
    try:
        with np.errstate(all="ignore"):
            result = optimize.minimize(
                value,
                start.z / scale,
                jac=gradient,
                method=method,
                callback=watch,
                options=options,
                **derivatives,
            )
    except (ValueError, np.linalg.LinAlgError):  # a Hessian that is not finite on the way
        return start.z
    return np.asarray(scale * result.x) if result.fun < start.value else start.z


def _leave_saddle(memory: _Memory, saddle: Optimum) -> FloatArray:
    assert isinstance(saddle.curvature, Curvature)
    direction = saddle.curvature.steepest_negative()
    for length in (1.0, 0.1, 0.01):
        for sign in (1.0, -1.0):
            trial = saddle.z + sign * length * direction
            if memory.value_and_gradient(trial)[0] < saddle.value:
                return np.asarray(trial)
    return saddle.z


def search(
    objective: Objective, starts: Sequence[tuple[str, Callable[[], FloatArray | None]]]
) -> tuple[Optimum, float]:
    """Climb from one start after the other until an optimum is certified.

    Parameters
    ----------
    objective : Objective
    starts : sequence of (name, callable)
        Each gives a full vector ``x``, or None; called only when its turn comes.

    Returns
    -------
    optimum : Optimum
        The first certified one, else the lowest point reached.
    lowest : float
        The lowest value of the objective that any start reached.
    """
    reached: list[Optimum] = []
    for name, start in starts:
        x = start()
        if x is None:
            continue
        z = x[objective.active]
        if not np.isfinite(objective.value_and_gradient(z)[0]):
            continue
        reached.append(climb(objective, z, name))
        if reached[-1].converged:
            break
    if not reached:
        raise StartError("No start has a finite log-density.")
    lowest = min(optimum.value for optimum in reached)
    certified = [optimum for optimum in reached if optimum.converged]
    return (certified or sorted(reached, key=lambda o: o.value))[0], lowest


def find_start(problem: Problem, seed: int) -> FloatArray | None:
    """A point with finite log-likelihood and log-prior, the initial point if it has.

    Otherwise the best of jittered initial points, on several scales; what the user has pinned
    stays. None where there is no such point among them.
    """
    joint = Objective.of(problem, "map", problem.initial)

    def value(x: FloatArray) -> float:
        return joint.value_and_gradient(x[joint.active])[0] if np.isfinite(x).all() else np.inf

    if np.isfinite(value(problem.initial)):
        return problem.initial
    rng = np.random.default_rng(seed)
    centre = np.where(np.isfinite(problem.initial), problem.initial, 0.0)
    candidates = [
        np.where(problem.pinned, centre, centre + rng.uniform(-width, width, size=len(centre)))
        for width in (0.1, 0.5, 1.0, 2.0, 5.0)
        for _ in range(20)
    ]
    values = [value(x) for x in candidates]
    best = int(np.argmin(values))
    return candidates[best] if np.isfinite(values[best]) else None
