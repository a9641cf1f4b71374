"""Whether a stationary point is an optimum, and not one of the things that look like it.

Where parameters run off to infinity, or to the border of their support, the curvature fades
with the gradient, so that any point far out has a tiny Newton step.
"""

from __future__ import annotations

import numpy as np

from pmlik._typing import FloatArray
from pmlik.curvature import Curvature
from pmlik.objective import Examiner, Minimised, Optimum

__all__ = ["find_lower", "is_inside"]


# One standard error away from a regular optimum a log-density has fallen by about 1/2.
_RISE = 0.01
_DIRECTIONS = 30
_OVERSHOOT = 100
_SATURATED = 1e-6
_JUMPS = 5


def is_inside(examiner: Examiner, optimum: Optimum) -> bool:
    """Whether the objective bends up around the point as around a regular optimum.

    Without a dense Hessian only the slope beyond the point is looked at.
    """
    if not _pulls_back(examiner, optimum):
        return False
    if not isinstance(optimum.curvature, Curvature):
        return True
    return (
        _rises(examiner, optimum)
        and not _is_saturated(examiner.objective, optimum)
        and not _jumps(examiner, optimum)
    )


def find_lower(examiner: Examiner, optimum: Optimum) -> FloatArray | None:
    """A point one standard error away where the objective is lower, if there is one."""
    if not isinstance(optimum.curvature, Curvature):
        return None
    margin = 1e-6 * (1 + abs(optimum.value))
    for step in _around(optimum.curvature, optimum.z):
        if examiner.value_and_gradient(optimum.z + step)[0] < optimum.value - margin:
            return np.asarray(optimum.z + step)
    return None


def _around(curvature: Curvature, z: FloatArray) -> FloatArray:
    """One standard error either way along the eigenvectors, and straight outwards.

    Far out in a narrow cone where nothing changes any more all eigenvectors may lead out of it;
    outwards does not.
    """
    steps = curvature.unit_errors(_DIRECTIONS)
    along = curvature.eigenvectors.T @ (z / curvature.scale)
    length = np.sqrt(np.maximum(0.0, np.sum(curvature.eigenvalues * along**2)))
    if 0 < length < np.inf:
        steps = np.concatenate([steps, [z / length]])
    return np.concatenate([steps, -steps])


def _pulls_back(examiner: Examiner, optimum: Optimum) -> bool:
    """Whether a hundred Newton steps further the slope points back, 99 times as steep.

    It does wherever the curvature holds; on a tail the slope has died out by then.
    """
    slope = float(optimum.step @ optimum.gradient)
    if slope == 0:
        return True
    value, gradient = examiner.objective.value_and_gradient(optimum.z + _OVERSHOOT * optimum.step)
    return bool(np.isinf(value) or optimum.step @ gradient / slope < -_OVERSHOOT / 10)


def _rises(examiner: Examiner, optimum: Optimum) -> bool:
    """Whether the objective is really higher one standard error away, in every direction.

    Where a side is outside the support it is asked of a shorter step, which has to be higher by
    its square; steps of less than a hundredth tell nothing.
    """
    assert isinstance(optimum.curvature, Curvature)
    return all(
        any(
            _RISE * share**2
            <= examiner.value_and_gradient(optimum.z + share * step)[0] - optimum.value
            < np.inf
            for share in (1.0, 0.3, 0.1, 0.03, 0.01)
        )
        for step in _around(optimum.curvature, optimum.z)
    )


def _is_saturated(objective: Minimised, optimum: Optimum) -> bool:
    """Whether a flat direction is one in which the natural values no longer move.

    Then the parameter sits on the border of its support, and its transform is exhausted.
    """
    assert isinstance(optimum.curvature, Curvature)
    flat = optimum.curvature.flat_directions()
    if not flat.size:
        return False
    here = objective.values.tangents(objective.expand(optimum.z))
    inside = objective.values.tangents(objective.base)
    return any(
        np.linalg.norm(here(step)) < _SATURATED * np.linalg.norm(inside(step))
        for step in map(objective.lift, flat)
    )


def _jumps(examiner: Examiner, optimum: Optimum) -> bool:
    """Whether coordinates without any derivative change the objective all the same.

    A step function of a parameter has no slope to follow; its optimum is not known.
    """
    assert isinstance(optimum.curvature, Curvature)
    empty = optimum.curvature.empty
    if not empty.any():
        return False
    rng = np.random.default_rng(0)
    for width in np.geomspace(0.1, 10, _JUMPS):
        moved = optimum.z + np.where(empty, rng.uniform(-width, width, len(empty)), 0.0)
        change = examiner.value_and_gradient(moved)[0] - optimum.value
        if np.isfinite(change) and abs(change) > 1e-9 * (1 + abs(optimum.value)):
            return True
    return False
