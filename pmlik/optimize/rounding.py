"""Rounding error of an objective, which far out is all that is left of it."""

import numpy as np

from pmlik._typing import FloatArray
from pmlik.optimize.objective import CachedObjective, ObjectiveLike

# An objective that jitters by more than this, for steps too small to change it, is all rounding.
_MOST_NOISE = 1e-5
_SHARES = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
_FEW_SHARES = (0.1, 0.5, 1.0)


def rounding_noise(
    objective: ObjectiveLike | CachedObjective, z: FloatArray, directions: FloatArray | None = None
) -> float:
    """Return the largest second difference over steps too small to be more than rounding.

    ``z`` (k,). ``directions`` (r, k): by default a few random ones.
    """
    random = np.random.default_rng(0).choice([-1.0, 1.0], size=(1, len(z)))
    centre = objective.value_and_gradient(z)[0]
    noise = 0.0
    for direction in random if directions is None else directions:
        for size in (1e-14, 3e-14, 1e-13):
            step = size * z * np.sign(direction)
            ahead, behind = (objective.value_and_gradient(z + s * step)[0] for s in (1, -1))
            if np.isfinite([ahead, behind]).all():
                noise = max(noise, abs(ahead - 2 * centre + behind))
    return noise


def is_noisy_between(
    objective: ObjectiveLike,
    one: FloatArray,
    other: FloatArray,
    directions: FloatArray | None = None,
    *,
    large: bool = False,
) -> bool:
    """Return True if the objective is rounding error somewhere on a line between two points.

    Far out, differences of log-gammas and the like lose all their digits and can have any
    value: it shows between the points. With ``large`` data, where each evaluation takes long,
    fewer points are checked.
    """
    cached = CachedObjective(objective)
    for share in _FEW_SHARES if large else _SHARES:
        there = one + share * (other - one)
        value = cached.value_and_gradient(there)[0]
        if not np.isfinite(value):
            continue
        if rounding_noise(cached, there, directions) > _MOST_NOISE * (1 + abs(value)):
            return True
    return False
