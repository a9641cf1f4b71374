"""Newton's method on many objectives of the same form at once: NumPy and LAPACK only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from pmlik.space import FloatArray

__all__ = ["Refined", "never_rises", "refine"]

Slope = Callable[[FloatArray, NDArray[np.intp]], tuple[FloatArray, FloatArray]]
Bend = Callable[[FloatArray, NDArray[np.intp]], FloatArray]

_MOST_STEPS = 40
# A step that shortens the distance by less than this is followed by new second derivatives.
_FRESH = 0.05
_SHORTEST = 1e-3
# On a tail Newton steps shorten the distance by no more than this.
_TAIL = 0.3
_OVERSHOOT = 100


class Refined(NamedTuple):
    """Where each replicate ended: ``z`` (b, k), ``value`` (b,), the estimated ``distance``
    (b,) to the optimum in standard errors, and whether it is ``certified`` (b,).
    """

    z: FloatArray
    value: FloatArray
    distance: FloatArray
    certified: NDArray[np.bool_]


def refine(
    slope: Slope, bend: Bend, start: FloatArray, *, tolerance: float, contraction: float
) -> Refined:
    """Minimise a batch of objectives by Newton steps from a start near their optima.

    Parameters
    ----------
    slope : callable
        ``(z (c, k), which (c,)) -> values (c,), gradients (c, k)`` of the replicates ``which``.
    bend : callable
        Likewise, to the Hessians (c, k, k).
    start : array (b, k)
    tolerance : float
        Certified is an estimated distance below this, in standard errors,
    contraction : float
        that the step to it has shortened at least so much: a Newton step at a regular optimum
        does, one that follows a tail to infinity does not.

    Notes
    -----
    The Hessian of a step serves the next while that shortens the distance by the factor 20.
    """
    batch = _Batch(slope, bend, start, tolerance, contraction)
    for _ in range(_MOST_STEPS):
        if not batch.open.size:
            break
        batch.step()
    batch.check()
    return Refined(batch.z, batch.value, batch.distance, batch.certified)


def never_rises(slope: Slope, start: FloatArray, end: FloatArray) -> NDArray[np.bool_]:
    """Whether the objective only falls, or stays, on the line from ``start`` past ``end``.

    Parameters
    ----------
    slope : callable
        As in `refine`.
    start, end : array (b, k)

    Returns
    -------
    array of bool (b,)
        Asked at ``end`` and up to sixteen times as far away, where a regular objective has risen.
    """
    which, line = np.arange(len(start)), end - start
    falls = np.isfinite(line).all(axis=1) & (line != 0).any(axis=1)
    before, gradients = slope(end, which)
    falls &= np.isfinite(before) & (np.einsum("ij,ij->i", line, gradients) <= 0)
    for far in (1.5, 2.0, 4.0, 8.0, 16.0):
        value, gradients = slope(start + far * line, which)
        falls &= np.isfinite(value) & (value <= before + 1e-12 * (1 + np.abs(before)))
        falls &= np.einsum("ij,ij->i", line, gradients) <= 1e-12
        before = value
    return np.asarray(falls)


class _Batch:
    """The state of all replicates; ``open`` are those not yet decided."""

    def __init__(
        self, slope: Slope, bend: Bend, start: FloatArray, tolerance: float, contraction: float
    ) -> None:
        self._slope, self._bend = slope, bend
        self._tolerance, self._contraction = tolerance, contraction
        b, k = start.shape
        self.z, self.open = start.copy(), np.arange(b)
        self.value, self.gradient = slope(self.z, self.open)
        self.direction = np.zeros((b, k))
        self.distance, self.share = np.full(b, np.inf), np.ones(b)
        self.certified = np.zeros(b, bool)
        self._factors: list[Any] = [None] * b
        self.open = self.open[np.isfinite(self.value)]
        self._renew(self.open)

    def _renew(self, which: NDArray[np.intp]) -> None:
        """New second derivatives; a replicate whose Hessian is not positive is given up."""
        if not which.size:
            return
        hessians = self._bend(self.z[which], which)
        lost = []
        for i, hessian in zip(which, hessians, strict=True):
            factor, info = lapack.dpotrf(hessian, lower=0)
            if info != 0 or not np.isfinite(factor).all():
                lost.append(i)
                continue
            self._factors[i] = factor
            self._aim(i)
        self._drop(lost)

    def _aim(self, i: int) -> None:
        step, _ = lapack.dpotrs(self._factors[i], self.gradient[i], lower=0)
        self.direction[i] = -step
        self.distance[i] = np.sqrt(max(0.0, float(self.gradient[i] @ step)))
        self.share[i] = 1.0

    def _drop(self, which: list[int]) -> None:
        if which:
            self.open = self.open[~np.isin(self.open, which)]

    def step(self) -> None:
        """One step of every open replicate."""
        which = self.open
        trial = self.z[which] + self.share[which, None] * self.direction[which]
        values, gradients = self._slope(trial, which)
        stale, done = [], []
        for i, z, value, gradient in zip(which, trial, values, gradients, strict=True):
            if not value <= self.value[i] + 1e-10 * (1 + abs(self.value[i])):
                self.share[i] /= 4
                if self.share[i] < _SHORTEST or self.distance[i] < self._tolerance:
                    done.append(i)  # rounding, or nowhere to go
                continue
            before = self.distance[i]
            full = self.share[i] == 1.0
            self.z[i], self.value[i], self.gradient[i] = z, value, gradient
            self._aim(i)
            ratio = self.distance[i] / before if before > 0 else 0.0
            near = self.distance[i] < self._tolerance
            if full and near and ratio <= self._contraction:
                self.certified[i] = True
            exact = ratio > 0.5 or self.distance[i] < 1e-5 * self._tolerance
            tail = full and near and ratio > _TAIL
            if exact if self.certified[i] else tail:
                done.append(i)
            elif ratio > _FRESH and not self.certified[i]:
                stale.append(i)
        self._drop(done)
        self._renew(np.array(stale, dtype=np.intp))

    def check(self) -> None:
        """Whether far beyond a certified point the slope points back, as steep as it should."""
        which = np.flatnonzero(self.certified)
        if not which.size:
            return
        beyond = self.z[which] + _OVERSHOOT * self.direction[which]
        values, gradients = self._slope(beyond, which)
        for i, value, gradient in zip(which, values, gradients, strict=True):
            before = float(self.direction[i] @ self.gradient[i])
            after = float(self.direction[i] @ gradient)
            if before != 0 and np.isfinite(value) and not after / before < -_OVERSHOOT / 10:
                self.certified[i] = False
