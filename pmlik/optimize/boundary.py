"""Borders of the support, at which constrained values converge as coordinates diverge."""

from collections.abc import Callable

import numpy as np

from pmlik._typing import FloatArray
from pmlik.optimize.objective import Objective
from pmlik.optimize.rounding import rounding_noise

#: A step this long in x takes any transform to the border of its support.
BEYOND = 1e3

# Steps towards a border: logarithms and log-odds have a natural unit.
_AHEAD = (1.0, 3.0)

# Enough to leave no number between.
_HALVINGS = 200

# Less than this, and this share of the objective, is level.
LEVEL, _ROUNDING = 2e-7, 1e-10


def border_values(
    objective: Objective, z: FloatArray, place: int, sign: float
) -> FloatArray | None:
    """Return the constrained values moved by a coordinate, at the border it diverges to.

    ``z`` (k,). ``place``: the coordinate. ``sign``: sign of the direction.
    Returns: None if the support is the whole line.
    """
    beyond = objective.expand(z)
    coordinate = np.flatnonzero(objective.active)[place]
    beyond[coordinate] = np.sign(sign) * BEYOND
    further = beyond.copy()
    further[coordinate] = 2 * np.sign(sign) * BEYOND
    near, far = objective.values(beyond), objective.values(further)
    moved = objective.values.jvp(objective.base)(objective.lift(np.eye(1, len(z), place)[0])) != 0
    same = np.array_equal(near[moved], far[moved], equal_nan=True)
    return np.asarray(near[moved]) if same else None


def rises_ahead(
    objective: Objective, z: FloatArray, axis: FloatArray, level: float = LEVEL
) -> bool:
    """Return True if the objective rises beyond rounding on the first steps towards a border.

    ``z`` (k,). ``axis`` (k,): outward, of length one. ``level``: a rise by less is none.
    """
    value = objective.value_and_gradient(z)[0]
    slack = level + _ROUNDING * abs(value)
    for step in _AHEAD:
        there = z + step * axis
        beyond = objective.value_and_gradient(there)[0]
        if value + slack < beyond < np.inf:
            # Nearer to a border there is more of it.
            noise = max(rounding_noise(objective, at, axis[None]) for at in (z, there))
            if value + slack + 10 * noise < beyond:
                return True
    return False


def go_outward(objective: Objective, z: FloatArray, axis: FloatArray) -> FloatArray:
    """Return a point nearer to a border, as long as the objective falls towards it.

    ``z`` (k,). ``axis`` (k,): outward, of length one.
    """
    value = objective.value_and_gradient(z)[0]
    for step in (1.0, 2.0, 4.0, 8.0, 16.0):
        further = z + step * axis
        lower = objective.value_and_gradient(further)[0]
        if not lower < value - 1e-12 * (1 + abs(value)):
            break
        z, value = further, lower
    return z


def bisect_edge(is_inside: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return the last number inside, on a way that leaves the support between two numbers."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return inside


def is_short_of_border(objective: Objective, z: FloatArray, direction: FloatArray) -> bool:
    """Return True if a direction leads to a border that the values have nearly reached."""
    value = objective.value_and_gradient(z)[0]
    there = joint_border(objective, z, direction, 1e-6 * (1 + abs(value)))
    if there is None:
        return False
    here, border = (objective.values(objective.expand(at)) for at in (z, there))
    own = objective.values.are_parameters(objective.base)
    return bool(np.allclose(here[own], border[own], rtol=1e-3, atol=1e-4))


def joint_border(
    objective: Objective, z: FloatArray, travelled: FloatArray, slack: float
) -> FloatArray | None:
    """Return the point on a border that several coordinates reach together, or None.

    For example, one element of a simplex goes to zero: all constrained values that the coordinates
    move converge, and the objective does not rise.
    """
    longest = float(np.max(np.abs(travelled), initial=0.0))
    if longest == 0:
        return None
    step = BEYOND / longest * travelled
    near, far = (objective.values(objective.expand(z + k * step)) for k in (1, 2))
    moved = objective.values.jvp(objective.base)(objective.lift(travelled)) != 0
    moved &= objective.values.are_parameters(objective.base)
    rests = np.isfinite(near[moved]).all() and np.allclose(
        near[moved], far[moved], rtol=1e-3, atol=1e-9
    )
    value = objective.value_and_gradient(z)[0]
    costs = not objective.value_and_gradient(z + step)[0] <= value + slack
    return None if costs or not rests else z + step
