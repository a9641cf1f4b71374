"""Whether the automatic gradient is the slope of the objective."""

from __future__ import annotations

import numpy as np

from pmlik._typing import FloatArray
from pmlik.curvature import Curvature
from pmlik.objective import Minimised, Optimum

__all__ = ["gradient_error", "gradient_error_at"]

_STEP = 1e-3
_DIRECTIONS = 2
_MOST_ROUNDING = 0.1


def gradient_error(objective: Minimised, optimum: Optimum, directions: int = _DIRECTIONS) -> float:
    """Relative disagreement of the gradient and central differences, beside an optimum.

    One standard error away along random directions, where the slope is about one. NaN without
    a dense Hessian.

    Parameters
    ----------
    objective : Minimised
    optimum : Optimum
    directions : int
    """
    if not isinstance(optimum.curvature, Curvature) or not len(optimum.z):
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


def gradient_error_at(objective: Minimised, z: FloatArray, direction: FloatArray) -> float:
    """Disagreement along one direction at one point, relative to a slope of at least one.

    NaN where the objective is not finite, or jumps by rounding as much as it should change.
    """
    value, gradient = objective.value_and_gradient(z)
    sides = [objective.value_and_gradient(z + s * _STEP * direction)[0] for s in (1, -1, 2, -2)]
    if not np.isfinite([value, *sides]).all():
        return np.nan
    ahead, behind, far_ahead, far_behind = sides
    slope = (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * _STEP)
    along = float(gradient @ direction)
    beside = [objective.value_and_gradient(z * (1 + share))[0] for share in (1e-14, -1e-14, 3e-14)]
    noise = float(np.max(np.abs(np.array(beside) - value)))
    rounding = 10 * max(np.finfo(float).eps * (1 + abs(value)), noise) / _STEP
    if not rounding < _MOST_ROUNDING:
        return np.nan
    return max(0.0, abs(slope - along) - rounding) / max(1.0, abs(along), abs(slope))
