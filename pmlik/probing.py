"""Whether an objective with an optimum inside has, elsewhere, no bound at all.

A scale that shrinks onto a single observation lets the density grow for ever, however good the
optimum inside is. Each scale is followed towards zero with the others optimised.
"""

from __future__ import annotations

import numpy as np

from pmlik.borders import border_values
from pmlik.functions import BoolArray
from pmlik.limits import FALLING, is_noisy_between
from pmlik.objective import Objective, Optimum
from pmlik.optimizer import climb
from pmlik.restriction import Restricted
from pmlik.space import FloatArray

__all__ = ["find_unbounded"]

_STEPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_MOST_SCALES = 6


def find_unbounded(objective: Objective, optimum: Optimum, n_observations: int) -> list[int]:
    """Coordinates along which the objective falls without bound, far from the optimum.

    Parameters
    ----------
    objective : Objective
    optimum : Optimum
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
        if _falls(objective, optimum, held, sign, hopeless):
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


def _falls(
    objective: Objective, optimum: Optimum, held: BoolArray, sign: float, hopeless: float
) -> bool:
    """Whether, walking outward, the objective turns down and keeps falling below the optimum."""
    z, last, slope = optimum.z, 0.0, np.inf
    outward = np.where(held, sign, 0.0)
    for before, step in zip((0.0, *_STEPS), _STEPS, strict=False):
        restricted = Restricted.hold(objective, z + (step - before) * outward, held)
        origin = np.zeros(restricted.size)
        if not np.isfinite(restricted.value_and_gradient(origin)[0]):
            return False
        there = climb(restricted, origin, "probe")
        z = restricted.place(there.z)
        rise = there.value - optimum.value
        gained, last = (rise - last) / (step - before), rise
        if rise > hopeless or (gained > 0 and gained >= slope):
            return False  # it gets ever steeper
        slope = gained
    gradient = objective.value_and_gradient(z)[1]
    falls = last < 0 and float(gradient @ outward) < -FALLING
    back = np.where(held, optimum.z, z)
    return falls and not is_noisy_between(objective, back, z, outward[None])
