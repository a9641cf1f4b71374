"""Whether an objective with an optimum inside has, elsewhere, no bound at all.

A scale that shrinks onto a single observation lets the density grow for ever, however good the
optimum inside is. Each scale is followed towards zero with the others optimised.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize

from pmlik._typing import BoolArray, FloatArray
from pmlik.optimize.affine import Restricted
from pmlik.optimize.boundary import border_values
from pmlik.optimize.limits import FALLING, is_noisy_between
from pmlik.optimize.multistart import minimize
from pmlik.optimize.objective import Objective, SearchPoint

__all__ = ["find_unbounded"]

_STEPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_MOST_SCALES = 6
_LEVEL = 1e-10

# A rough walk needs the others this near to their optimum, in slope a standard error.
_NEARLY, _MOST_STEPS = 1e-2, 40


def find_unbounded(objective: Objective, optimum: SearchPoint, n_observations: int) -> list[int]:
    """Coordinates along which the objective falls without bound, far from the optimum.

    Parameters
    ----------
    objective : Objective
    optimum : SearchPoint
        The one inside.
    n_observations : int
        How much a hopeless walk may cost before it is given up.

    Returns
    -------
    list of int
        Active coordinates; at most the first few scales are followed.
    """
    hopeless = 20 * n_observations + 100
    found = []
    for place, sign in _scales(objective, optimum.z)[:_MOST_SCALES]:
        held = np.zeros(len(optimum.z), bool)
        held[place] = True
        # Second derivatives of an integral are dear: a rough walk comes before an exact one.
        ways = (_descend, _climb) if objective.is_integral else (_climb,)
        if all(_falls(objective, optimum, held, sign, hopeless, way) for way in ways):
            found.append(place)
    return found


def _scales(objective: Objective, z: FloatArray) -> list[tuple[int, float]]:
    """Coordinates with a finite border on one side and none on the other, and that side."""
    scales = []
    for place in range(len(z)):
        sides = [border_values(objective, z, place, sign) for sign in (-1.0, 1.0)]
        finite = [side is not None and bool(np.isfinite(side).all()) for side in sides]
        if finite[0] != finite[1]:
            scales.append((place, -1.0 if finite[0] else 1.0))
    return scales


_Way = Callable[[Restricted, FloatArray], tuple[float, FloatArray]]


def _climb(restricted: Restricted, scale: FloatArray) -> tuple[float, FloatArray]:
    """The value at the optimum of a restricted objective, and where that is."""
    there = minimize(restricted, np.zeros(restricted.size), "probe")
    return there.value, restricted.place(there.z)


def _descend(restricted: Restricted, scale: FloatArray) -> tuple[float, FloatArray]:
    """The same nearly, by gradients alone, in units of ``scale``."""

    def value_and_gradient(u: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = restricted.value_and_gradient(scale * u)
        return value, scale * gradient

    found = optimize.minimize(
        value_and_gradient,
        np.zeros(restricted.size),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": _NEARLY, "maxiter": _MOST_STEPS},
    )
    return float(found.fun), restricted.place(scale * found.x)


def _falls(
    objective: Objective,
    optimum: SearchPoint,
    held: BoolArray,
    sign: float,
    hopeless: float,
    way: _Way,
) -> bool:
    """Whether, walking outward, the objective turns down and keeps falling below the optimum."""
    z, last, slope = optimum.z, 0.0, np.inf
    scale = np.ones(len(z)) if optimum.curvature is None else optimum.curvature.scale
    scale = scale[~held]
    outward = np.where(held, sign, 0.0)
    for before, step in zip((0.0, *_STEPS), _STEPS, strict=False):
        restricted = Restricted.hold(objective, z + (step - before) * outward, held)
        origin = np.zeros(restricted.size)
        if not np.isfinite(restricted.value_and_gradient(origin)[0]):
            return False
        value, z = way(restricted, scale)
        rise = value - optimum.value
        gained, last = (rise - last) / (step - before), rise
        if rise > hopeless or (gained > 0 and gained >= slope):
            return False  # it gets ever steeper
        slope = gained
        if abs(gained) * step < _LEVEL * (1 + abs(value)):
            return False  # it has come to rest on the border
    gradient = objective.value_and_gradient(z)[1]
    falls = last < 0 and float(gradient @ outward) < -FALLING
    back = np.where(held, optimum.z, z)
    return falls and not is_noisy_between(objective, back, z, outward[None])
