"""Minimisation from one or several starts to certified optima.

The objective is minimised on the unconstrained scale: a negative log-density, over those
coordinates that it depends on. A trust region approaches the optimum (see `trust_region`), and
Newton steps with exact derivatives finish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

from pmlik._budget import OutOfWorkError
from pmlik._typing import FloatArray
from pmlik.errors import StartError
from pmlik.optimize.convergence import find_lower, is_inside
from pmlik.optimize.hessian import DENSE_LIMIT, HessianEigen
from pmlik.optimize.objective import NEAR, CachedObjective, ObjectiveLike, SearchPoint
from pmlik.optimize.trust_region import (
    TRUST_REGION_OPTIONS,
    TrustRegionOptions,
    find_scales,
    run_trust_region,
)

#: An optimum is certified when it is estimated to be nearer than this, in standard errors.
TOLERANCE = 1e-6

#: A Newton step from inside the basin of a regular optimum shortens the distance by far more
#: than this; where the supremum is at infinity it does not.
CONTRACTION = 0.1
_ROUNDING_FLOOR = 1e-8

# Beyond the tolerance Newton steps go on to here, since in a parameter with a large relative
# error a millionth of that is not much; each step costs little, and about doubles the digits.
_POLISHED = 1e-12
_NEWTON_STEPS = 20

#: Rounds of a trust region and Newton steps.
ROUNDS = 8

# Number of other searches that must end as low before a singular optimum is accepted.
_WITNESSES = 2
_TRUST_STEPS = 60

# Starts after which a search ends that has certified nothing.
_PATIENCE = 14
_BESIDE, _SAME = 0.3, 1e-3

# A start with a smaller gradient than the first of these, in standard errors, is examined; where a
# gradient is below the second, descents by gradients alone end, or after so many steps.
_SLOPING, _LEVEL, _GRADIENT_STEPS = 1.0, 1e-2, 60


class Start(NamedTuple):
    """A start and the options of its search.

    ``point``: returns a full vector ``x`` or None; called only when it is needed.
    """

    name: str
    point: Callable[[], FloatArray | None]
    options: TrustRegionOptions = TRUST_REGION_OPTIONS[0]


def minimize(
    objective: ObjectiveLike,
    z: FloatArray,
    start: str,
    options: TrustRegionOptions = TRUST_REGION_OPTIONS[0],
    known: Sequence[SearchPoint] = (),
    rounds: int = ROUNDS,
) -> SearchPoint:
    """Minimise from ``z`` to a certified optimum, or as far as possible.

    Newton steps are tried first, since many starts are close. Where they fail, rounds of a
    trust region take over; saddles are left along their direction of negative curvature,
    worse optima for a lower point beside them. An optimum that is ``known`` already is not checked
    again. A search that runs out of work ends at the lowest point so far.
    """
    cached = CachedObjective(objective)
    try:
        best = _minimize(cached, z, options, known, rounds)
    except OutOfWorkError:
        best = cached.lowest_point()
    best.start = start
    best.lowest, best.lowest_at = cached.lowest, cached.lowest_at
    return best


def _minimize(
    cached: CachedObjective,
    z: FloatArray,
    options: TrustRegionOptions,
    known: Sequence[SearchPoint],
    rounds: int,
) -> SearchPoint:
    if any(density.is_integral for density in cached.objective.densities):
        there = _descend_to_known(cached, z, known)
        if there is not None:
            return replace(there, from_saddle=None)
    began = cached.examine(z)
    best = _newton(cached, z)
    if not best.converged and isinstance(best.curvature, HessianEigen):
        scales = find_scales(cached, z)
        if scales.where.size:  # from here on it does not matter where they started
            best = cached.examine(scales.place(cached, z))
    best, is_known = _descend(cached, best, options, known, rounds)
    if best.usable and not is_known and not is_inside(cached, best):
        best.converged = best.contracted = False
    if began.is_saddle and began.is_stationary and began.curvature is not None:
        best.from_saddle = began.curvature.steepest_negative()
    return best


def _descend_to_known(
    cached: CachedObjective, z: FloatArray, known: Sequence[SearchPoint]
) -> SearchPoint | None:
    """Return the known regular optimum to which gradients alone lead; None if to none.

    Where each evaluation is a search of its own, second derivatives on the way to an optimum that
    is known already cost more than all else.
    """
    sound = [o for o in known if o.converged and isinstance(o.curvature, HessianEigen)]
    sound = [o for o in sound if not (o.is_flat or o.is_saddle)]
    if not sound or sound[0].curvature is None:
        return None
    scale = sound[0].curvature.scale
    value, gradient = cached.value_and_gradient(z)
    if not np.isfinite(value) or np.linalg.norm(scale * gradient) < _SLOPING:
        return None  # a start that may be a saddle or an optimum is examined

    def scaled(v: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = cached.value_and_gradient(scale * v)
        return value, scale * gradient

    with np.errstate(all="ignore"):
        end = optimize.minimize(
            scaled,
            z / scale,
            jac=True,
            method="L-BFGS-B",
            options={"gtol": _LEVEL, "maxiter": _GRADIENT_STEPS},
        )
    for optimum in sound:
        above = float(end.fun) - optimum.value
        level = -1e-6 * (1 + abs(optimum.value)) < above < _BESIDE**2
        if level and is_beside(optimum, scale * end.x):
            return optimum
    return None


def _descend(
    cached: CachedObjective,
    best: SearchPoint,
    options: TrustRegionOptions,
    known: Sequence[SearchPoint],
    rounds: int,
) -> tuple[SearchPoint, bool]:
    """Return the end of all rounds, and True if it is a known optimum."""
    for i in range(rounds):
        if best.converged and any(_is_same(other, best) for other in known):
            return best, True
        best.contracted = best.contracted or _contracts(cached, best)
        if best.usable and not best.converged and i > 0:
            break
        moved = _find_next(cached, best, options, NEAR / 100**i)
        if moved is None:
            break
        best = _newton(cached, moved)
    return best, False


def _find_next(
    cached: CachedObjective, best: SearchPoint, options: TrustRegionOptions, near: float
) -> FloatArray | None:
    """Return the point to start the next round of Newton steps from; None if there is none."""
    if best.curvature is None:
        return None
    if best.converged:
        return find_lower(cached, best)
    if isinstance(best.curvature, HessianEigen):
        moved = run_trust_region(cached, best.z, options, near)
    else:
        moved = _trust_region(cached, best)
    if best.is_saddle and np.array_equal(moved, best.z):
        moved = _leave_saddle(cached, best)
    return None if np.array_equal(moved, best.z) else moved


def _newton(cached: CachedObjective, z: FloatArray) -> SearchPoint:
    """Take full Newton steps while they reduce the Newton decrement."""
    here = cached.examine(z)
    for _ in range(_NEWTON_STEPS):
        if here.is_saddle or not np.isfinite(here.distance):
            break
        value, _ = cached.value_and_gradient(here.z + here.step)
        if not value <= here.value + 1e-10 * (1 + abs(here.value)):
            break
        there = cached.examine(here.z + here.step)
        if there.is_saddle or not there.distance < here.distance:
            here.converged = here.converged or here.distance < _ROUNDING_FLOOR
            break
        shortened = there.distance <= CONTRACTION * here.distance
        there.contracted = here.contracted or shortened
        there.converged = here.converged or (
            there.distance < TOLERANCE and (shortened or there.distance < _ROUNDING_FLOOR)
        )
        here = there
        if here.converged and here.distance < _POLISHED:
            break
    return here


def _contracts(cached: CachedObjective, best: SearchPoint) -> bool:
    """Return True if two Newton steps come back from one standard error away.

    For points where rounding error stops the nearest steps.
    """
    if best.distance > NEAR or not isinstance(best.curvature, HessianEigen):
        return False
    if best.is_saddle or best.is_flat:
        return False
    steps = best.curvature.unit_errors(1)
    if not len(steps):
        return False
    here = away = cached.examine(best.z + steps[0])
    for _ in range(2):
        if here.is_saddle or not 0 < here.distance < 2:
            return False
        here = cached.examine(here.z + here.step)
    return here.distance < CONTRACTION * away.distance


def _trust_region(cached: CachedObjective, start: SearchPoint) -> FloatArray:
    """Run SciPy's trust region from ``start`` without a dense matrix, in scaled coordinates."""
    assert start.curvature is not None
    scale, lowest, idle = start.curvature.scale, [np.inf], [0]

    def watch(intermediate_result: Any) -> None:
        idle[0] = 0 if intermediate_result.fun < lowest[0] else idle[0] + 1
        lowest[0] = min(lowest[0], float(intermediate_result.fun))
        if idle[0] > 12:
            raise StopIteration

    try:
        with np.errstate(all="ignore"):
            result = optimize.minimize(
                lambda u: cached.value_and_gradient(scale * u)[0],
                start.z / scale,
                jac=lambda u: scale * cached.value_and_gradient(scale * u)[1],
                hessp=lambda u, v: scale * cached.objective.product(scale * u, scale * v),
                method="trust-ncg",
                callback=watch,
                options={"gtol": 1e-3, "maxiter": _TRUST_STEPS},
            )
    except (ValueError, np.linalg.LinAlgError):  # a Hessian that is not finite on the way
        return start.z
    return np.asarray(scale * result.x) if result.fun < start.value else start.z


def _leave_saddle(cached: CachedObjective, saddle: SearchPoint) -> FloatArray:
    assert saddle.curvature is not None
    direction = saddle.curvature.steepest_negative()
    for length in (1.0, -1.0, 0.1, -0.1, 0.01, -0.01):
        trial = saddle.z + length * direction
        if cached.value_and_gradient(trial)[0] < saddle.value:
            return np.asarray(trial)
    return saddle.z


def search_from_starts(
    objective: ObjectiveLike,
    starts: Sequence[Start],
    n_starts: int,
    rounds: int = ROUNDS,
    most: int = 0,
) -> list[SearchPoint]:
    """Minimise from one start after the other; return the end of each search.

    The first ``n_starts`` are all used; more only until an optimum is certified, and up to
    ``most`` while the optima found so far let expect others. An optimum
    with a direction that changes nothing may be a plateau, or a point where two terms of the
    model coincide, and one that rounding keeps from being certified may have a better one
    beside it: these are accepted when two more searches end as low.

    Raises `StartError` if no start has a finite log-density.
    """
    reached: list[SearchPoint] = []
    try:
        _search_all(objective, starts, n_starts, rounds, most, reached)
    except OutOfWorkError:  # what was reached until then is kept
        return reached
    if not reached:
        raise StartError("No start has a finite log-density.")
    return reached + _minimize_from_lowest(objective, reached, rounds)


def _search_all(
    objective: ObjectiveLike,
    starts: Sequence[Start],
    n_starts: int,
    rounds: int,
    most: int,
    reached: list[SearchPoint],
) -> None:
    """Append the end of each search to ``reached``."""
    settled = False
    for i, start in enumerate(starts):
        if i >= n_starts and settled and not (i < most and _expects_others(reached)):
            break
        if i >= max(n_starts, _PATIENCE) and not settled:
            break
        x = start.point()
        if x is None:
            continue
        z = x[objective.active]
        if not np.isfinite(objective.value_and_gradient(z)[0]):
            continue
        optimum = minimize(objective, z, start.name, start.options, reached, rounds)
        regular = optimum.converged and not optimum.is_flat
        settled |= regular or sum(are_equal(optimum, other) for other in reached) == _WITNESSES
        again = any(_stopped_alike(optimum, other) for other in reached)
        reached.append(optimum)
        if again and i + 1 >= n_starts and objective.size > DENSE_LIMIT:
            break  # a third start stops there, too


def _stopped_alike(one: SearchPoint, other: SearchPoint) -> bool:
    """Return True if two searches stopped without an optimum, and equally low."""
    level = abs(one.value - other.value) <= 1e-6 * (1 + abs(one.value))
    return level and not one.usable and not other.usable


def _expects_others(reached: Sequence[SearchPoint]) -> bool:
    """Return True if there probably are optima that no search has met yet.

    By the posterior mean of their number after Boender & Rinnooy Kan (1987,
    doi:10.1007/BF02591684); optima of one value are one, since labels may be switched.
    """
    values: list[SearchPoint] = []
    for optimum in reached:
        if optimum.usable and not any(are_equal(optimum, other) for other in values):
            values.append(optimum)
    n, w = len(reached), len(values)
    return w > 1 and (n <= w + 2 or w * (n - 1) / (n - w - 2) > w + 0.5)


def is_beside(optimum: SearchPoint, z: FloatArray, within: float = _BESIDE) -> bool:
    """Return True if a point is within a fraction of a standard error of an optimum."""
    if not isinstance(optimum.curvature, HessianEigen):
        return False
    away = optimum.curvature.eigenvectors.T @ (optimum.offset(z) / optimum.curvature.scale)
    return bool(np.abs(optimum.curvature.eigenvalues) @ away**2 < within**2)


def _is_same(known: SearchPoint, other: SearchPoint) -> bool:
    """Return True if a point is a known certified optimum to a thousandth of an SE."""
    return known.converged and not known.is_flat and is_beside(known, other.z, _SAME)


def _minimize_from_lowest(
    objective: ObjectiveLike, reached: Sequence[SearchPoint], rounds: int
) -> list[SearchPoint]:
    """Minimise once more from the lowest point evaluated, if no optimum is as low."""
    usable = [optimum.value for optimum in reached if optimum.usable]
    lowest = min(reached, key=lambda optimum: optimum.lowest)
    if not usable or lowest.lowest_at is None:
        return []
    if lowest.lowest >= min(usable) - 1e-6 * (1 + abs(min(usable))):
        return []
    return [minimize(objective, lowest.lowest_at, "lowest point met", rounds=rounds)]


def are_equal(one: SearchPoint, other: SearchPoint) -> bool:
    """Return True if two optima have equal values within their accuracy."""
    margin = 1e-6 * (1 + abs(one.value)) + one.distance + other.distance  # rounding's share
    return one.usable and other.usable and abs(one.value - other.value) <= margin
