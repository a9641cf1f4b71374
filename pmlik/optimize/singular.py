"""Searches beside a singular optimum, where terms of the likelihood have merged or vanished.

Two exponentials with one rate, parts of a mixture with one mean, a component of amplitude zero: the
likelihood is flat along a direction there (the difference of amplitudes, the rate of what has no
amplitude), and second derivatives don't tell a maximum from a saddle of higher order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray
from pmlik.optimize.hessian import HessianEigen
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.objective import Objective, SearchPoint

# Curvature below this share of the largest is none; the likelihood's is none beside the prior's
# below this share of both together.
_FLAT, _FLAT_BESIDE_PRIOR = 1e-7, 1e-2

# Steps along a flat direction, in the coordinate that moves most: for logarithms of scales and
# log-odds, the last is nearly at the border. Steps from there along what has become flat by it.
_ALONG, _ACROSS = (1.0, 4.0), (0.5, 2.0)
_MOST_DIRECTIONS, _MOST_POINTS = 2, 16


def search_beside(
    objective: Objective, reached: Sequence[SearchPoint], further: Sequence[Start]
) -> list[SearchPoint]:
    """Search on from both sides of the flat directions of the likelihood at the lowest optimum.

    ``reached``: the ends of all searches so far. ``further``: starts to use as well.
    Returns the ends of the new searches; none if the lowest optimum is regular.
    """
    lowest = min((end for end in reached if end.usable), key=lambda e: e.value, default=None)
    if lowest is None or not isinstance(lowest.curvature, HessianEigen):
        return []
    likelihood = _likelihood_hessian(objective, lowest.z)
    directions = _flat_directions(lowest.curvature, likelihood)
    points = [p for d in directions[:_MOST_DIRECTIONS] for p in _beside(objective, lowest.z, d)]
    if not points:
        return []
    starts = [Start("beside a flat direction", partial(objective.expand, z)) for z in points]
    starts = [*starts[:_MOST_POINTS], *further]
    return search_from_starts(objective, starts, len(starts))


def _likelihood_hessian(objective: Objective, z: FloatArray) -> FloatArray:
    hessian = -objective.densities[0].hessian(objective.expand(z))
    return np.asarray(hessian[np.ix_(objective.active, objective.active)])


def _flat_directions(curvature: HessianEigen, likelihood: FloatArray) -> FloatArray:
    """Return the directions in which the likelihood has no curvature, of largest step one.

    ``curvature``: of the objective. ``likelihood`` (k, k): the Hessian of its negative.
    """
    level = _FLAT * max(1.0, float(np.abs(curvature.eigenvalues).max(initial=0)))
    keep = curvature.eigenvalues > level
    flat = curvature.scale * curvature.eigenvectors[:, ~keep].T
    root = curvature.eigenvectors[:, keep] / np.sqrt(curvature.eigenvalues[keep])
    root = curvature.scale[:, None] * root
    shares, vectors = linalg.eigh(root.T @ likelihood @ root)
    weak = (root @ vectors[:, shares < _FLAT_BESIDE_PRIOR]).T
    return _normalized(np.concatenate([np.where(curvature.empty, 0.0, flat), weak]))


def _beside(objective: Objective, z: FloatArray, direction: FloatArray) -> list[FloatArray]:
    """Return points on both sides along a direction, and beside its ends."""
    points = []
    for sign in (1.0, -1.0):
        points += [z + sign * length * direction for length in _ALONG]
        end = points[-1]
        hessian = _likelihood_hessian(objective, end)
        if not np.isfinite(hessian).all():
            continue
        curvature = HessianEigen.of(hessian)
        least = np.argsort(np.abs(curvature.eigenvalues))[:2]
        across = _normalized(curvature.scale * curvature.eigenvectors[:, least].T)
        points += [end + s * k * a for a in across for k in _ACROSS for s in (1.0, -1.0)]
    return points


def _normalized(directions: FloatArray) -> FloatArray:
    largest = np.abs(directions).max(axis=1, initial=0)
    return np.asarray(directions[largest > 0] / largest[largest > 0, None])
