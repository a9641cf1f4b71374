"""A trust region for starts far from the optimum.

Where a residual scale is far too small the objective is a narrow valley, and where it is far
too large nothing matters. So the scales are found among the coordinates by how the objective
grows along them, and put at their own optimum first; a trust region does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from pmlik._typing import FloatArray
from pmlik.optimize.objective import NEAR, CachedObjective

# Along a scale the slope is constant this far out, in logarithms.
_FAR = (30.0, 40.0)
_PLACINGS, _FEW_PLACINGS = 30, 6
_STEPS = 250
_WIDEST = 1e100
_IDLE_STEPS, _IDLE_GAIN = 25, 1e-6


@dataclass(frozen=True)
class TrustRegionOptions:
    """Options of a trust region.

    ``saddle_free``: True if the model of the objective takes the absolute values of the Hessian's
        eigenvalues (Dauphin et al., 2014, arXiv:1406.2572): it leaves a plateau along small
        gradients, where the plain Hessian leads to its edge.
    ``initial_radius``: the first radius, as a share of the distance from the origin.
    """

    saddle_free: bool = False
    initial_radius: float = 0.03


#: Each leads to optima that the other misses.
TRUST_REGION_OPTIONS = (TrustRegionOptions(), TrustRegionOptions(saddle_free=True))


@dataclass(frozen=True, eq=False)
class Scales:
    """Coordinates that are logarithms of scales.

    ``slopes``: the constant slope of the objective far out along each.
    """

    where: NDArray[np.int_]
    slopes: FloatArray

    def place(self, cached: CachedObjective, z: FloatArray, *, roughly: bool = False) -> FloatArray:
        """Return ``z`` with each scale at the minimum of the objective along it.

        Between slope ``c`` far out and its exponential growth on the other side the objective
        is ``c t + a exp(-m t)``, or nearly: its minimum is solved for at once.
        """
        if not self.where.size:
            return z
        unit, c = np.zeros(len(z)), self.slopes
        unit[self.where] = 1.0
        most, tolerance = (_FEW_PLACINGS, 0.01) if roughly else (_PLACINGS, 1e-9)
        for _ in range(most):
            value, gradient = cached.value_and_gradient(z)
            slope = gradient[self.where]
            if not np.isfinite(value) or (np.abs(slope) <= tolerance * np.abs(c)).all():
                break
            curvature = cached.objective.product(z, unit)[self.where]
            with np.errstate(all="ignore"):
                excess = (c - slope) / c
                step = np.log(excess) * (c - slope) / curvature
            # Too far out to see the other side: come closer.
            step = np.where(excess > 1e-10, step, -np.sign(c) * _FAR[0] / 2)
            moved = z.copy()
            moved[self.where] += np.clip(np.nan_to_num(step), -_FAR[1], _FAR[1])
            if not np.isfinite(cached.value_and_gradient(moved)[0]):
                break
            z = moved
        return z


def find_scales(cached: CachedObjective, z: FloatArray) -> Scales:
    """Find coordinates along which the objective grows as along the logarithm of a scale.

    That is, in proportion to the coordinate on one side, each observation adding its share, and
    on the other side at least as steeply.
    """
    found, slopes = [], []
    for i in range(len(z)):
        for sign in (1.0, -1.0):
            near = _slope(cached, z, i, sign * _FAR[0])
            if not sign * near > 1e-6:
                continue
            far, other = (_slope(cached, z, i, sign * t) for t in (_FAR[1], -_FAR[0]))
            if abs(far / near - 1) < 1e-6 and not sign * other > -sign * near:
                found.append(i)
                slopes.append(near)
                break
    return Scales(np.array(found, dtype=int), np.array(slopes))


def _slope(cached: CachedObjective, z: FloatArray, i: int, t: float) -> float:
    """Return the derivative along a coordinate, ``t`` away; NaN where there is none."""
    moved = z.copy()
    moved[i] += t
    value, gradient = cached.objective.value_and_gradient(moved)
    return float(gradient[i]) if np.isfinite(value) else np.nan


def run_trust_region(
    cached: CachedObjective, z: FloatArray, options: TrustRegionOptions, near: float = NEAR
) -> FloatArray:
    """Minimise by a trust region from ``z`` until Newton steps can take over.

    The region is a ball in coordinates scaled by the largest curvature met so far along each,
    as in Moré (1978, doi:10.1007/BFb0067700).

    ``z`` (k,). ``near``: Newton decrement at which to stop, in standard errors.
    """
    values, widths, radius = [cached.value_and_gradient(z)[0]], np.zeros(len(z)), 0.0
    for _ in range(_STEPS):
        here = cached.examine(z)
        if here.curvature is None or (not here.is_saddle and here.distance < near):
            break
        if len(values) > _IDLE_STEPS and values[-_IDLE_STEPS] - values[-1] < _IDLE_GAIN:
            break
        hessian = cached.hessian(z)
        widths = np.maximum(widths, np.sqrt(np.abs(np.diag(hessian))))
        scale = 1 / np.where(widths > 0, widths, 1.0)
        radius = radius or options.initial_radius * max(1.0, float(np.linalg.norm(z / scale)))
        scaled = hessian * np.outer(scale, scale)
        if not np.isfinite(scaled).all():
            break
        region = _Region.of(here.gradient * scale, scaled, options)
        there, radius = _step(cached, region, z, scale, radius)
        if there is None:
            break
        z = there
        values.append(cached.value_and_gradient(z)[0])
    return z


def _step(
    cached: CachedObjective,
    region: _Region,
    z: FloatArray,
    scale: FloatArray,
    radius: float,
) -> tuple[FloatArray | None, float]:
    """Return a point with a share of the predicted decrease, and the next radius."""
    value = cached.value_and_gradient(z)[0]
    while radius > 0:
        step = region.minimise(radius)
        length = float(np.linalg.norm(step))
        there = z + scale * step
        gain, promised = (
            value - cached.value_and_gradient(there)[0],
            region.predicted_decrease(step),
        )
        if not promised > 0 or np.array_equal(there, z):
            return None, radius
        if gain > 0.75 * promised:
            radius = min(max(radius, 2 * length), _WIDEST)
        elif not gain >= 0.25 * promised:
            radius = min(radius, length) / 4
        if gain > 1e-4 * promised:
            return there, radius
    return None, radius


@dataclass(frozen=True, eq=False)
class _Region:
    """A quadratic model by its eigenvalues."""

    eigenvalues: FloatArray
    eigenvectors: FloatArray
    gradient: FloatArray

    @classmethod
    def of(cls, gradient: FloatArray, hessian: FloatArray, options: TrustRegionOptions) -> _Region:
        values, vectors = linalg.eigh(hessian)
        if options.saddle_free:
            values = np.maximum(np.abs(values), np.finfo(float).eps * np.abs(values).max())
            order = np.argsort(values)
            values, vectors = values[order], vectors[:, order]
        return cls(values, vectors, vectors.T @ gradient)

    def predicted_decrease(self, step: FloatArray) -> float:
        """Return the decrease predicted by the model."""
        along = self.eigenvectors.T @ step
        return -float(self.gradient @ along + self.eigenvalues @ along**2 / 2)

    def minimise(self, radius: float) -> FloatArray:
        """Return the minimum of the model in the ball."""

        def along(shift: float) -> FloatArray:
            with np.errstate(all="ignore"):
                return np.asarray(-self.gradient / (self.eigenvalues + shift))

        def excess(shift: float) -> float:
            return float(np.linalg.norm(along(shift))) - radius

        least = self.eigenvalues[0]
        if least > 0 and excess(0.0) <= 0:
            return np.asarray(self.eigenvectors @ along(0.0))
        slope = float(np.linalg.norm(self.gradient)) / radius
        low = max(0.0, -least) * (1 + 1e-14) + 1e-14 * max(np.abs(self.eigenvalues).max(), slope)
        if excess(low) <= 0:  # no slope along the least eigenvalue: go that way all the same
            step = along(low)
            rest = float(np.sqrt(max(0.0, radius**2 - float(step @ step))))
            step[0] += rest if step[0] >= 0 else -rest
            return np.asarray(self.eigenvectors @ step)
        high = low + slope
        while excess(high) > 0:
            high *= 2
        return np.asarray(self.eigenvectors @ along(optimize.brentq(excess, low, high, rtol=1e-6)))
