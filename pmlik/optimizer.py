"""From a starting point to an optimum with a certificate.

The objective is minimised on the unconstrained scale: a negative log-density, over those
coordinates that it depends on. `pm.find_MAP` gives the start, SciPy's trust region brings it
near, and Newton steps with exact derivatives finish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from pmlik.certification import find_lower, is_inside
from pmlik.curvature import DENSE_LIMIT
from pmlik.errors import StartError
from pmlik.objective import NEAR, Examiner, Minimised, Optimum
from pmlik.space import FloatArray

__all__ = ["TOLERANCE", "climb", "search"]

#: An optimum is certified when it is estimated to be nearer than this, in standard errors.
TOLERANCE = 1e-6

# A Newton step from inside the basin of a regular optimum shortens the distance by far more
# than this; where the supremum is at infinity it does not.
_CONTRACTION = 0.1
_ROUNDING_FLOOR = 1e-8
_NEWTON_STEPS = 20
_ROUNDS = 8
_TRUST_STEPS = 60


def climb(objective: Minimised, z: FloatArray, start: str) -> tuple[Optimum, float]:
    """Go from ``z`` to a certified optimum, or as far as it goes.

    Newton steps are tried first, since most starts are close. Where they fail, rounds of a
    trust region in coordinates scaled by the current Hessian take over; saddles are left along
    their direction of negative curvature, lesser optima for a lower point beside them.

    Returns
    -------
    optimum : Optimum
    lowest : float
        The lowest value of the objective met on the way.
    """
    examiner = Examiner(objective)
    best = _newton(examiner, z)
    for _ in range(_ROUNDS):
        moved = _next_point(examiner, best)
        if moved is None:
            break
        best = _newton(examiner, moved)
    best.start = start
    if best.usable and not is_inside(examiner, best):
        best.converged = best.contracted = False
    return best, examiner.lowest


def _next_point(examiner: Examiner, best: Optimum) -> FloatArray | None:
    """Where to go on from a point, None to stay."""
    if best.curvature is None:
        return None
    if best.converged:
        return find_lower(examiner, best)
    moved = _trust_region(examiner, best)
    if best.is_saddle and np.array_equal(moved, best.z):
        moved = _leave_saddle(examiner, best)
    return None if np.array_equal(moved, best.z) else moved


def _newton(examiner: Examiner, z: FloatArray) -> Optimum:
    """Full Newton steps while they bring the optimum nearer."""
    here = examiner.examine(z)
    for _ in range(_NEWTON_STEPS):
        if here.is_saddle or not np.isfinite(here.distance):
            break
        value, _ = examiner.value_and_gradient(here.z + here.step)
        if not value <= here.value + 1e-10 * (1 + abs(here.value)):
            break
        there = examiner.examine(here.z + here.step)
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


def _trust_region(examiner: Examiner, start: Optimum) -> FloatArray:
    """SciPy's trust region from ``start``, in coordinates scaled to a unit diagonal."""
    assert start.curvature is not None
    scale, lowest, idle = start.curvature.scale, [np.inf], [0]

    def value(u: FloatArray) -> float:
        return examiner.value_and_gradient(scale * u)[0]

    def gradient(u: FloatArray) -> FloatArray:
        return scale * examiner.value_and_gradient(scale * u)[1]

    def watch(intermediate_result: Any) -> None:
        idle[0] = 0 if intermediate_result.fun < lowest[0] else idle[0] + 1
        lowest[0] = min(lowest[0], float(intermediate_result.fun))
        if idle[0] > 12:
            raise StopIteration
        if idle[0] == 0 and len(scale) <= DENSE_LIMIT:
            here = examiner.examine(scale * intermediate_result.x)
            if not here.is_saddle and here.distance < NEAR:
                raise StopIteration

    options: dict[str, Any] = {"gtol": 1e-12, "maxiter": _TRUST_STEPS}
    derivatives: dict[str, Any]
    if len(scale) <= DENSE_LIMIT:

        def hessian(u: FloatArray) -> FloatArray:
            return examiner.hessian(scale * u) * np.outer(scale, scale)

        method, derivatives = "trust-exact", {"hess": hessian}
    else:

        def product(u: FloatArray, v: FloatArray) -> FloatArray:
            return scale * examiner.objective.product(scale * u, scale * v)

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


def _leave_saddle(examiner: Examiner, saddle: Optimum) -> FloatArray:
    assert saddle.curvature is not None
    direction = saddle.curvature.steepest_negative()
    for length in (1.0, 0.1, 0.01):
        for sign in (1.0, -1.0):
            trial = saddle.z + sign * length * direction
            if examiner.value_and_gradient(trial)[0] < saddle.value:
                return np.asarray(trial)
    return saddle.z


def search(
    objective: Minimised, starts: Sequence[tuple[str, Callable[[], FloatArray | None]]]
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
        The lowest value of the objective met on any way.
    """
    reached: list[Optimum] = []
    lowest = np.inf
    for name, start in starts:
        x = start()
        if x is None:
            continue
        z = x[objective.active]
        if not np.isfinite(objective.value_and_gradient(z)[0]):
            continue
        optimum, met = climb(objective, z, name)
        reached.append(optimum)
        lowest = min(lowest, met)
        if optimum.converged:
            break
    if not reached:
        raise StartError("No start has a finite log-density.")
    certified = [optimum for optimum in reached if optimum.converged]
    return (certified or sorted(reached, key=lambda o: o.value))[0], lowest
