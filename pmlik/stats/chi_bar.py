"""The distribution of a likelihood-ratio statistic with several values on their boundaries.

Under the null it is that of the squared length of a normal vector's projection on a cone: a
mixture of chi-squares, whose weights come from the information (Self & Liang, 1987).
"""

from collections.abc import Sequence

import numpy as np
from scipy import linalg, optimize, stats

from pmlik._typing import FloatArray
from pmlik.optimize.objective import Objective

# Draws of the projection for more than three values on their boundaries, and their seed.
_DRAWS, _SEED = 20_000, 1987

# The likelihood is taken where this much of the information of a value is between it and its
# border (a hundredth of a standard error), to a factor of three.
_NEAR = 1e-4

# Least slope from which the power of the distance that the likelihood depends on is read.
_SLOPE = 1e-6

# Curvature below this belongs to nothing that is estimated.
_EMPTY = 1e-8

# Coordinates are moved towards a border by at most this, and at most so often.
_LONGEST, _MOVES = 3.0, 20


def chi_bar_weights(covariance: FloatArray) -> FloatArray:
    """Return the probabilities that 0, ..., k values are off their boundaries under the null.

    Exact for up to three values (Shapiro, 1985, doi:10.1093/biomet/72.1.133), simulated above.

    ``covariance`` (k, k): of the values' estimates, were there no boundaries.
    """
    k = len(covariance)
    sd = np.sqrt(np.diag(covariance))
    corr = np.clip(covariance / np.outer(sd, sd), -1.0, 1.0)
    if k <= 3:
        highest, lowest = _orthant(corr), _orthant(np.linalg.inv(corr))
        return np.array(
            [
                [1.0],
                [0.5, 0.5],
                [lowest, 0.5, highest],
                [lowest, 0.5 - highest, 0.5 - lowest, highest],
            ][k]
        )
    root = linalg.cholesky(np.linalg.inv(corr))
    draws = np.random.default_rng(_SEED).normal(size=(_DRAWS, k))
    off = [np.count_nonzero(optimize.nnls(root, draw)[0]) for draw in draws]
    return np.bincount(off, minlength=k + 1) / _DRAWS


def _orthant(matrix: FloatArray) -> float:
    """Return the probability that normal values of one to three with a covariance are positive."""
    k, sd = len(matrix), np.sqrt(np.diag(matrix))
    angles = np.arccos(np.clip(matrix / np.outer(sd, sd), -1.0, 1.0))[np.triu_indices(k, 1)]
    return float(
        [1.0, 0.5, (np.pi - angles.sum()) / (2 * np.pi), 0.5 - angles.sum() / (4 * np.pi)][k]
    )


def chi_bar_sf(statistic: float, weights: FloatArray, others: int) -> float:
    """Return the p-value; ``others``: degrees of freedom of the values that are inside."""
    tails = [
        stats.chi2.sf(statistic, df) if df else float(statistic <= 0)
        for df in range(others, others + len(weights))
    ]
    return float(weights @ tails)


def border_covariance(
    objective: Objective, z: FloatArray, places: Sequence[int]
) -> FloatArray | None:
    """Return the covariance of values at a border, from the observed information there.

    It is that of the distances from the border, or of their squares if the likelihood depends on
    those (a standard deviation). What else the objective depends on is estimated.

    ``z`` (k,): the optimum under the null. ``places``: coordinates that are far out there.
    Returns: None where the information is not positive definite, or depends on another power.
    """
    places = list(places)
    powers = [_power(objective, z, place) for place in places]
    if not all(power in (1, 2) for power in powers):
        return None
    power = np.zeros(len(z))
    power[places] = powers
    near = _approach(objective, z, places, power)
    if near is None:
        return None
    # The distances halve: what is left of the error is of second order.
    half = near + np.where(power > 0, np.sign(z) * np.log(2) / np.maximum(power, 1), 0.0)
    first, second = (_information(objective, at, near, power) for at in (near, half))
    information = 2 * second - first
    used = np.abs(np.diag(information)) > _EMPTY
    if not (np.isfinite(information).all() and used[places].all()):
        return None
    try:
        covariance = linalg.inv(information[np.ix_(used, used)])
        linalg.cholesky(covariance)
    except linalg.LinAlgError:
        return None
    at = [int(used[:place].sum()) for place in places]
    return np.asarray(covariance[np.ix_(at, at)])


def _power(objective: Objective, z: FloatArray, place: int) -> int:
    """Return the power of the distance from the border that the objective is linear in; 0: none."""
    side, there = np.sign(z[place]), z.copy()
    for size in np.arange(abs(z[place]), -abs(z[place]), -0.5):
        slopes = []
        for height in (size, size - 1):
            there[place] = side * height
            slopes.append(objective.value_and_gradient(there)[1][place])
        if abs(slopes[0]) > _SLOPE:
            rate = np.log(abs(slopes[1] / slopes[0])) if slopes[1] else np.nan
            return round(rate) if abs(rate - round(rate)) < 0.2 else 0
    return 0


def _approach(
    objective: Objective, z: FloatArray, places: Sequence[int], power: FloatArray
) -> FloatArray | None:
    """Return the point with values so near to their borders that the information is that there."""
    there, side = z.copy(), np.sign(z)
    for _ in range(_MOVES):
        between = np.diag(_information(objective, there, there, power))[places]
        move = np.log(np.abs(between) / _NEAR) / 2
        if not np.isfinite(move).all():
            return None
        if (np.abs(move) < np.log(3) / 2).all():
            return there
        there[places] += side[places] * np.clip(move, -_LONGEST, _LONGEST) / power[places]
    return None


def _information(
    objective: Objective, there: FloatArray, unit: FloatArray, power: FloatArray
) -> FloatArray:
    """Return the Hessian in powers of the distances, whose units are those at a point."""
    hessian, gradient = objective.hessian(there), objective.value_and_gradient(there)[1]
    outward, far = np.sign(there), power > 0
    scale = np.ones(len(there))
    scale[far] = np.exp(power * outward * (there - unit))[far] / power[far]
    rise = np.where(far, power * outward * gradient, 0.0)
    return np.asarray((hessian + np.diag(rise)) * np.outer(scale, scale))
