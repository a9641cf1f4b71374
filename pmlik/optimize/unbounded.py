"""Directions without bound of an objective that has an optimum inside.

A scale that shrinks onto a single observation lets the density grow without bound, whatever the
optimum inside; so does a shift that comes near to the smallest observation. Each coordinate is
followed towards the borders of its support, and towards edges that the data make, with the others
optimised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import optimize

from pmlik._typing import FloatArray
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.boundary import bisect_edge, border_values
from pmlik.optimize.limits import FALLING
from pmlik.optimize.multistart import minimize
from pmlik.optimize.objective import Objective
from pmlik.optimize.rounding import rounding_noise

# Steps in logarithms of the distance; at the last, half of the digits of a double are left.
_STEPS = (1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0)
_MOST_PATHS = 8

# With more coordinates a rough minimum is tried before an exact one along a scale, too.
_FEW = 10
_LEVEL = 1e-3

# Of the objective per observation: the most that it rises in all, and in one unit of a step. Unless
# for a scale, up to the third step it may get steeper, since at an optimum it is level.
_MOST_RISE, _MOST_SLOPE, _LEVEL_UNTIL = 20, 3, 4.0

# Beyond the optimum, in units of one standard error, edges are looked for here.
_EDGES = (1.0, 4.0, 16.0, 64.0, 256.0)

# A fall that keeps this share of its slope goes on; of rounding error it is less than this share.
_GOES_ON, _NOISY = 0.9, 0.05

# Gradient tolerance and iterations of a rough minimisation, in scaled units.
_NEARLY, _MOST_STEPS = 1e-2, 40


class _Path(NamedTuple):
    """The way of one coordinate outwards, to a border of its support or to an edge."""

    place: int
    sign: float
    begin: float
    edge: float | None = None
    is_scale: bool = False

    def at(self, step: float) -> float:
        """Return the coordinate whose distance from the end is ``exp(-step)`` of that at first."""
        if self.edge is None:
            return self.begin + self.sign * step
        return self.edge - (self.edge - self.begin) * math.exp(-step)


def find_unbounded(
    objective: Objective, z: FloatArray, scale: FloatArray, start: FloatArray, n_observations: int
) -> Iterator[int]:
    """Yield coordinates along which the objective falls without bound, far from an optimum.

    ``z`` (k,): the optimum, inside or on borders.
    ``scale`` (k,): a standard error of each coordinate, about.
    ``start`` (k,): a point inside, from which coordinates on a border are followed.
    ``n_observations``: sets the rise of the objective after which a direction is given up.
    """
    paths = _paths(objective, z, scale, start)[:_MOST_PATHS]
    follow = partial(_follow, objective, z, scale, n_observations)
    left = list[_Path]()
    for path in paths:
        # Roughly first: most paths lead nowhere, and second derivatives are expensive.
        decides = objective.is_integral or not path.is_scale
        if not decides and len(z) <= _FEW:
            left.append(path)
            continue
        falls, rise = follow(path, _minimize_roughly)
        if falls and rise < 0 and not decides:
            yield path.place  # however rough the minimum, it is below the optimum
        elif falls or not decides:
            left.append(path)
    yield from (path.place for path in left if follow(path, _minimize_exactly)[0])


def _paths(
    objective: Objective, z: FloatArray, scale: FloatArray, start: FloatArray
) -> list[_Path]:
    """Return the ways to edges, then those of scales to zero, then those to other borders."""
    edges, scales, others = list[_Path](), list[_Path](), list[_Path]()
    for place in range(len(z)):
        sides = [border_values(objective, z, place, sign) for sign in (-1.0, 1.0)]
        finite = [side is not None and bool(np.isfinite(side).all()) for side in sides]
        begin = start[place] if abs(z[place] - start[place]) > _STEPS[-1] / 2 else z[place]
        for sign, is_finite in zip((-1.0, 1.0), finite, strict=True):
            path = _Path(place, sign, float(begin))
            edge = None
            if not objective.is_integral:
                edge = _edge(objective, np.where(np.arange(len(z)) == place, begin, z), path, scale)
            if edge is not None:
                edges.append(path._replace(edge=edge))
            elif is_finite and finite[0] != finite[1]:
                scales.append(path._replace(is_scale=True))
            elif is_finite:
                others.append(path)
    return edges + scales + others


def _edge(objective: Objective, z: FloatArray, path: _Path, scale: FloatArray) -> float | None:
    """Return the coordinate at which the density becomes zero, not far from a point; or None."""

    def is_finite(at: float) -> bool:
        there = np.where(np.arange(len(z)) == path.place, at, z)
        return bool(np.isfinite(objective.value_and_gradient(there)[0]))

    inside = path.begin
    for length in _EDGES:
        outside = path.begin + path.sign * min(length * scale[path.place], _STEPS[-4])
        if not is_finite(outside):
            break
        inside = outside
    else:
        return None
    if not is_finite(path.begin):
        return None
    return bisect_edge(is_finite, float(inside), float(outside))


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


def _follow(
    objective: Objective,
    optimum: FloatArray,
    scale: FloatArray,
    n_observations: int,
    path: _Path,
    minimizer: _Minimizer,
) -> tuple[bool, float]:
    """Follow a path outwards.

    Returns: True if the objective, further out, keeps falling; how far it is above the optimum
    there.
    """
    held = np.arange(len(optimum)) == path.place
    level = objective.value_and_gradient(optimum)[0]
    z, before, last, slope, is_falling = optimum, 0.0, 0.0, np.inf, False
    for step in _STEPS:
        restricted = AffineObjective.fix(objective, np.where(held, path.at(step), z), held)
        if not np.isfinite(restricted.value_and_gradient(np.zeros(restricted.size))[0]):
            break  # digits end here
        value, z = minimizer(restricted, scale[~held])
        rise = value - level
        gained = (rise - last) / (step - before)
        if rise > _MOST_RISE * n_observations + 100 or gained > _MOST_SLOPE * n_observations + 10:
            return False, rise
        if (path.is_scale or step > _LEVEL_UNTIL) and 0 < gained >= slope:
            return False, rise  # it gets ever steeper
        if max(abs(gained), abs(slope)) * step < _LEVEL:
            return False, rise  # it has converged at the border
        if before and rounding_noise(objective, z, held[None] * 1.0) > _NOISY * abs(rise - last):
            break
        is_falling = gained < -FALLING and (rise < 0 or gained <= _GOES_ON * slope < 0)
        before, last, slope = step, rise, gained
    return is_falling, last
