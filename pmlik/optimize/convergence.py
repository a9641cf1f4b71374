"""Check that a point is an optimum, and that its gradient is right."""

import numpy as np

from pmlik._differences import fourth_order_difference
from pmlik._typing import FloatArray
from pmlik.optimize.hessian import HessianEigen
from pmlik.optimize.objective import CachedObjective, ObjectiveLike, SearchPoint

# One standard error away from a regular optimum a log-density has fallen by about 1/2.
_RISE = 0.01
_DIRECTIONS = 30

# Steps past the optimum: so many Newton steps, and at least so many standard errors, as the
# gradient that is left nearer to it is rounding error.
_OVERSHOOT, _BEYOND_ROUNDING = 100, 1e-6
_SATURATED = 1e-6
_JUMPS = 5


def is_inside(cached: CachedObjective, optimum: SearchPoint) -> bool:
    """Return True if the objective rises around the point as around a regular optimum.

    Without a dense Hessian only the gradient beyond the point is checked, and coordinates
    without any derivative.
    """
    if not _pulls_back(cached, optimum) or _jumps(cached, optimum):
        return False
    if not isinstance(optimum.curvature, HessianEigen):
        return True
    return _rises(cached, optimum) and not _is_saturated(cached.objective, optimum)


def find_lower(cached: CachedObjective, optimum: SearchPoint) -> FloatArray | None:
    """Return a lower point one standard error away, if there is one."""
    if not isinstance(optimum.curvature, HessianEigen):
        return None
    margin = 1e-6 * (1 + abs(optimum.value))
    for step in _around(optimum.curvature, optimum.z):
        if cached.value_and_gradient(optimum.z + step)[0] < optimum.value - margin:
            return np.asarray(optimum.z + step)
    return None


def _around(curvature: HessianEigen, z: FloatArray) -> FloatArray:
    """Return steps of one standard error along the eigenvectors and straight outwards.

    Far out in a narrow flat cone all eigenvectors may lead out of it; outwards does not.
    """
    steps = curvature.unit_errors(_DIRECTIONS)
    along = curvature.eigenvectors.T @ (z / curvature.scale)
    length = np.sqrt(np.maximum(0.0, np.sum(curvature.eigenvalues * along**2)))
    if 0 < length < np.inf:
        steps = np.concatenate([steps, [z / length]])
    return np.concatenate([steps, -steps])


def _pulls_back(cached: CachedObjective, optimum: SearchPoint) -> bool:
    """Return True if a hundred Newton steps further the gradient points back, 99 times as large.

    Further still, if these are as short as rounding. It does wherever the curvature holds; on a
    tail the gradient has vanished there.
    """
    slope = float(optimum.step @ optimum.gradient)
    if slope == 0:
        return True
    steps = max(_OVERSHOOT, _BEYOND_ROUNDING / (optimum.distance or np.inf))
    value, gradient = cached.objective.value_and_gradient(optimum.z + steps * optimum.step)
    return bool(np.isinf(value) or optimum.step @ gradient / slope < -steps / 10)


def _rises(cached: CachedObjective, optimum: SearchPoint) -> bool:
    """Return True if the objective is really higher one standard error away, in every direction.

    If a side is outside the support, a shorter step is checked, which has to be higher by its
    square; steps of less than a hundredth are not informative.
    """
    assert isinstance(optimum.curvature, HessianEigen)
    return all(
        any(
            _RISE * share**2
            <= cached.value_and_gradient(optimum.z + share * step)[0] - optimum.value
            < np.inf
            for share in (1.0, 0.3, 0.1, 0.03, 0.01)
        )
        for step in _around(optimum.curvature, optimum.z)
    )


def _is_saturated(objective: ObjectiveLike, optimum: SearchPoint) -> bool:
    """Return True if a flat direction is one in which the constrained values no longer move.

    Then the parameter is on the border of its support, and its transform is saturated.
    """
    assert isinstance(optimum.curvature, HessianEigen)
    flat = optimum.curvature.flat_directions()
    if not flat.size:
        return False
    here = objective.values.jvp(objective.expand(optimum.z))
    inside = objective.values.jvp(objective.base)
    return any(
        np.linalg.norm(here(step)) < _SATURATED * np.linalg.norm(inside(step))
        for step in map(objective.lift, flat)
    )


def _jumps(cached: CachedObjective, optimum: SearchPoint) -> bool:
    """Return True if coordinates without any derivative change the objective all the same.

    A step function of a parameter has no gradient, and a fourth power none at zero; the optimum
    is not known.
    """
    assert optimum.curvature is not None
    empty = optimum.curvature.empty
    if not empty.any():
        return False
    rng = np.random.default_rng(0)
    for width in np.geomspace(0.1, 10, _JUMPS):
        moved = optimum.z + np.where(empty, rng.uniform(-width, width, len(empty)), 0.0)
        change = cached.value_and_gradient(moved)[0] - optimum.value
        if np.isfinite(change) and abs(change) > 1e-9 * (1 + abs(optimum.value)):
            return True
    return False


_STEP = 1e-3
_GRADIENT_DIRECTIONS = 2
_MOST_ROUNDING = 0.1


def gradient_error(
    objective: ObjectiveLike, optimum: SearchPoint, directions: int = _GRADIENT_DIRECTIONS
) -> float:
    """Relative disagreement of the gradient and central differences, beside an optimum.

    One standard error away along random directions, where the slope is about one. NaN without
    a dense Hessian.
    """
    if not isinstance(optimum.curvature, HessianEigen) or not len(optimum.z):
        return np.nan
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(directions):
        steps = optimum.curvature.unit_errors(len(optimum.z))
        if not len(steps):
            return np.nan
        direction = rng.choice([-1.0, 1.0], len(steps)) @ steps / np.sqrt(len(steps))
        errors.append(gradient_error_at(objective, optimum.z + direction, direction))
    return float(np.max(errors))


def gradient_error_at(objective: ObjectiveLike, z: FloatArray, direction: FloatArray) -> float:
    """Disagreement along one direction at one point, relative to a slope of at least one.

    NaN where the objective is not finite, or jumps by rounding as much as it should change.
    """
    value, gradient = objective.value_and_gradient(z)
    with np.errstate(all="ignore"):
        difference = fourth_order_difference(
            lambda at: objective.value_and_gradient(at)[0], z, _STEP * direction
        )
    if not np.isfinite([value, difference]).all():
        return np.nan
    slope = difference / (12 * _STEP)
    along = float(gradient @ direction)
    beside = [objective.value_and_gradient(z * (1 + share))[0] for share in (1e-14, -1e-14, 3e-14)]
    noise = float(np.max(np.abs(np.array(beside) - value)))
    rounding = 10 * max(np.finfo(float).eps * (1 + abs(value)), noise) / _STEP
    if not rounding < _MOST_ROUNDING:
        return np.nan
    return max(0.0, abs(slope - along) - rounding) / max(1.0, abs(along), abs(slope))
