"""Directions without bound of an objective that has an optimum inside.

A scale that shrinks onto a single observation lets the density grow without bound, whatever the
optimum inside. Each scale is followed towards zero with the others optimised.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize

from pmlik._typing import BoolArray, FloatArray
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.boundary import border_values
from pmlik.optimize.limits import FALLING
from pmlik.optimize.multistart import minimize
from pmlik.optimize.objective import Objective, SearchPoint
from pmlik.optimize.rounding import is_noisy_between

_STEPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_MOST_SCALES = 6
_LEVEL = 1e-10

# Gradient tolerance and iterations of a rough minimisation, in scaled units.
_NEARLY, _MOST_STEPS = 1e-2, 40


def find_unbounded(objective: Objective, optimum: SearchPoint, n_observations: int) -> list[int]:
    """Return coordinates along which the objective falls without bound, far from the optimum.

    Parameters
    ----------
    objective : Objective
    optimum : SearchPoint
        The one inside.
    n_observations : int
        Sets the rise of the objective after which a direction is given up.

    Returns
    -------
    list of int
        Active coordinates; at most the first few scales are followed.
    """
    most_rise = 20 * n_observations + 100
    found = []
    for place, sign in _scales(objective, optimum.z)[:_MOST_SCALES]:
        held = np.zeros(len(optimum.z), bool)
        held[place] = True
        # Second derivatives of an integral are expensive: minimise roughly first.
        minimizers = (
            (_minimize_roughly, _minimize_exactly)
            if objective.is_integral
            else (_minimize_exactly,)
        )
        if all(
            _falls(objective, optimum, held, sign, most_rise, minimizer) for minimizer in minimizers
        ):
            found.append(place)
    return found


def _scales(objective: Objective, z: FloatArray) -> list[tuple[int, float]]:
    """Return coordinates with a finite border on one side only, and the sign of that side."""
    scales = []
    for place in range(len(z)):
        sides = [border_values(objective, z, place, sign) for sign in (-1.0, 1.0)]
        finite = [side is not None and bool(np.isfinite(side).all()) for side in sides]
        if finite[0] != finite[1]:
            scales.append((place, -1.0 if finite[0] else 1.0))
    return scales


_Minimizer = Callable[[AffineObjective, FloatArray], tuple[float, FloatArray]]


def _minimize_exactly(restricted: AffineObjective, scale: FloatArray) -> tuple[float, FloatArray]:
    """Return the minimum of a restricted objective, and its point."""
    there = minimize(restricted, np.zeros(restricted.size), "probe")
    return there.value, restricted.place(there.z)


def _minimize_roughly(restricted: AffineObjective, scale: FloatArray) -> tuple[float, FloatArray]:
    """Return an approximate minimum by gradients alone, in units of ``scale``."""

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
    most_rise: float,
    minimizer: _Minimizer,
) -> bool:
    """Return True if the objective, further out, keeps falling below the optimum."""
    z, last, slope = optimum.z, 0.0, np.inf
    scale = np.ones(len(z)) if optimum.curvature is None else optimum.curvature.scale
    scale = scale[~held]
    outward = np.where(held, sign, 0.0)
    for before, step in zip((0.0, *_STEPS), _STEPS, strict=False):
        restricted = AffineObjective.fix(objective, z + (step - before) * outward, held)
        origin = np.zeros(restricted.size)
        if not np.isfinite(restricted.value_and_gradient(origin)[0]):
            return False
        value, z = minimizer(restricted, scale)
        rise = value - optimum.value
        gained, last = (rise - last) / (step - before), rise
        if rise > most_rise or (gained > 0 and gained >= slope):
            return False  # it gets ever steeper
        slope = gained
        if abs(gained) * step < _LEVEL * (1 + abs(value)):
            return False  # it has converged at the border
    gradient = objective.value_and_gradient(z)[1]
    falls = last < 0 and float(gradient @ outward) < -FALLING
    back = np.where(held, optimum.z, z)
    return falls and not is_noisy_between(objective, back, z, outward[None])
