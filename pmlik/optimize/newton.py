"""Newton's method on many objectives of the same form at once: NumPy and LAPACK only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from pmlik._typing import FloatArray

Which = NDArray[np.intp]
ValueAndGradient = Callable[[FloatArray, Which], tuple[FloatArray, FloatArray]]
Hessian = Callable[[FloatArray, Which], FloatArray]
_MOST_STEPS = 60

# A step that shortens the distance by less than this is followed by new second derivatives;
# where there are many coordinates they cost many steps, and are put off until the end is near.
_FRESH, _FRESH_OF_MANY, _MANY = 0.05, 0.4, 10
_SHORTEST = 1e-3

# On a tail Newton steps shorten the distance by no more than this.
_TAIL = 0.3

# A tail is followed from the first of these distances to the second.
_FAR_OUT, _TAIL_END = 1e-2, 1e-4
_OVERSHOOT = 100

# Where the Hessian is not positive, so much times the units' own curvature is added to it.
_SHIFTS = (0.1, 1.0, 10.0, 100.0)

# A certified point is gone on from until the next step leads to this share of the tolerance.
_POLISHED = 1e-5
_LEVEL, _LONG = 1e-4, 1.0


@dataclass(frozen=True, eq=False)
class Criterion:
    """Criterion for an optimum.

    ``tolerance``: its estimated distance is below this, in standard errors,
    ``contraction``: and the step to it has shortened at least so much, as a Newton step does at a
        regular optimum, and not one that follows a tail.
    ``least``: the Hessian has more curvature than this in every direction: a tail has not.
    ``costly``: second derivatives cost as much as many steps: the typical ones are made do with
        until the end is near.
    """

    tolerance: float
    contraction: float
    least: float
    costly: bool = False


class Refined(NamedTuple):
    """Ends of the searches of ``b`` replicates.

    The estimated ``distance`` to the optimum is in standard errors. The ``trail`` is the
    displacement since it was first below a hundredth, its ``length`` in standard errors of a
    typical objective.
    """

    z: FloatArray
    value: FloatArray
    distance: FloatArray
    certified: NDArray[np.bool_]
    trail: FloatArray
    length: FloatArray
    absent: NDArray[np.bool_]

    def keep(self, which: NDArray[np.bool_]) -> Refined:
        """Select some of the replicates."""
        return Refined(
            self.z[which],
            self.value[which],
            self.distance[which],
            self.certified[which],
            self.trail[which],
            self.length[which],
            self.absent[which],
        )


def refine(
    value_and_gradient: ValueAndGradient,
    hessian: Hessian,
    start: FloatArray,
    criterion: Criterion,
    typical: FloatArray | None = None,
    *,
    near: bool = False,
) -> Refined:
    """Minimise a batch of objectives by Newton steps from a start near their optima.

    Parameters
    ----------
    value_and_gradient : callable
        ``(z (c, k), which (c,)) -> values (c,), gradients (c, k)`` of the replicates ``which``.
    hessian : callable
        Likewise, to the Hessians (c, k, k).
    start : array (b, k)
    criterion : Criterion
    typical : array (k, k), optional
        The Hessian of an objective like these; default the identity.
    near : bool
        True if the start is where the typical Hessian was taken: then it serves the first step.

    Notes
    -----
    The Hessian of a step serves the next while that shortens the distance enough.
    Where it is not positive definite, a multiple of the typical one is added.
    """
    typical = np.eye(start.shape[1]) if typical is None else typical
    batch = _Batch(value_and_gradient, hessian, start, criterion, typical)
    batch.begin(near)
    for _ in range(_MOST_STEPS):
        if not batch.open.size:
            break
        batch.step()
    batch.check()
    trail = np.where(np.isnan(batch.entered), 0.0, batch.z - batch.entered)
    length = np.sqrt(np.maximum(0.0, np.sum(trail @ typical * trail, axis=1)))
    return Refined(
        batch.z, batch.value, batch.distance, batch.certified, trail, length, batch.absent
    )


def never_rises(
    value_and_gradient: ValueAndGradient, refined: Refined, which: Which
) -> NDArray[np.bool_]:
    """Return a mask of objectives that go on falling, or stay level, along their trail.

    ``value_and_gradient``: as in `refine`.
    ``which`` (c,): the replicates to check. A trail must be longer than one standard error.
    Returns (c,): checked up to sixteen trails further, where a regular objective has risen.
    """
    z, line, value = refined.z[which], refined.trail[which], refined.value[which]
    falls = np.isfinite(value) & (refined.length[which] > _LONG)
    before = value
    for far in (1.0, 2.0, 4.0, 8.0, 16.0):
        here, _ = value_and_gradient(z + far * line, which)
        falls &= np.isfinite(here) & (here <= before + _LEVEL)
        before = here
    return np.asarray(falls)


class _Batch:
    """The state of all replicates; ``open`` are those not yet decided."""

    def __init__(
        self,
        value_and_gradient: ValueAndGradient,
        hessian: Hessian,
        start: FloatArray,
        criterion: Criterion,
        typical: FloatArray,
    ) -> None:
        self._typical = typical
        self._value_and_gradient, self._hessian, self._criterion = (
            value_and_gradient,
            hessian,
            criterion,
        )
        b, k = start.shape
        self.z, self.open = start.copy(), np.arange(b)
        self.value, self.gradient = value_and_gradient(self.z, self.open)
        self.direction, self.entered = np.zeros((b, k)), np.full((b, k), np.nan)
        self.distance, self.share = np.full(b, np.inf), np.ones(b)
        self.certified, self.shifted = np.zeros(b, bool), np.zeros(b, bool)
        self.absent = np.zeros((b, k), bool)
        self._is_fresh = np.ones(b, bool)
        self._factors: list[Any] = [None] * b
        self._hessians: list[Any] = [None] * b
        self._is_own = np.zeros(b, bool)
        self.open = self.open[np.isfinite(self.value)]

    def begin(self, near: bool) -> None:
        """Compute the first steps, by the typical Hessian or by each replicate's own."""
        factor = _factor(self._typical) if near else None
        if factor is None:
            self._renew(self.open)
            return
        for i in map(int, self.open):
            self._factors[i], self._hessians[i] = factor, self._typical
            self._aim(i)

    def _renew(self, which: Which) -> None:
        """Compute new second derivatives; give up replicates that have none."""
        if not which.size:
            return
        hessians = self._hessian(self.z[which], which)
        lost = []
        for i, hessian in zip(map(int, which), hessians, strict=True):
            factor = _factor(hessian)
            if factor is None or self.absent[i].any():
                factor = self._fill(i, hessian)
            self.shifted[i] = factor is None
            for shift in _SHIFTS:
                if factor is None:
                    factor = _factor(hessian + shift * self._typical)
            if factor is None:
                lost.append(i)
                continue
            self._factors[i], self._hessians[i], self._is_own[i] = factor, hessian, True
            self._aim(i)
        self._drop(lost)

    def _fill(self, i: int, hessian: FloatArray) -> FloatArray | None:
        """Give a curvature to coordinates without any derivative, which then do not move."""
        self.absent[i] = ~hessian.any(axis=1) & (self.gradient[i] == 0)
        where = np.flatnonzero(self.absent[i])
        hessian[where, where] = np.diag(self._typical)[where]
        return _factor(hessian)

    def _aim(self, i: int) -> None:
        """Compute the next step and the Newton decrement."""
        step, _ = lapack.dpotrs(self._factors[i], self.gradient[i], lower=0)
        self.direction[i] = -step
        self.distance[i] = np.sqrt(max(0.0, float(self.gradient[i] @ step)))
        self.share[i] = 1.0

    def _drop(self, which: list[int]) -> None:
        if which:
            self.open = self.open[~np.isin(self.open, which)]

    def step(self) -> None:
        """Take one step of every open replicate."""
        which, tolerance = self.open, self._criterion.tolerance
        trial = self.z[which] + self.share[which, None] * self.direction[which]
        values, gradients = self._value_and_gradient(trial, which)
        stale, done = [], []
        for i, z, value, gradient in zip(map(int, which), trial, values, gradients, strict=True):
            if not value <= self.value[i] + 1e-10 * (1 + abs(self.value[i])):
                if self._criterion.costly and not self._is_own[i]:
                    stale.append(i)
                    continue
                self.share[i] /= 4
                if self.share[i] < _SHORTEST or self.distance[i] < tolerance:
                    done.append(i)  # rounding, or nowhere to go
                continue
            ratio = self._move(i, z, value, gradient)
            exact = ratio > 0.5 or ratio * self.distance[i] < _POLISHED * tolerance
            tail = (
                ratio > _TAIL
                and self._is_own[i]
                and self._is_fresh[i]
                and self.distance[i] < _TAIL_END
            )
            if exact if self.certified[i] else tail:
                done.append(i)
            elif self._is_stale(i, ratio):
                stale.append(i)
            self._is_fresh[i] = i in stale
        self._drop(done)
        self._renew(np.array(stale, dtype=np.intp))

    def _is_stale(self, i: int, ratio: float) -> bool:
        """Return True if the next step needs second derivatives of its own."""
        costly, own = self._criterion.costly, self._is_own[i]
        near = self.distance[i] < (_TAIL_END if costly else _FAR_OUT)
        late = near or (self.z.shape[1] <= _MANY and not costly)
        slow = ratio > (_FRESH if late else _FRESH_OF_MANY)
        borrowed = not own and (near or not costly)
        return bool(borrowed or self.shifted[i] or (slow and not self.certified[i]))

    def _move(self, i: int, z: FloatArray, value: float, gradient: FloatArray) -> float:
        """Move to ``z``; return the new distance as a share of the previous one."""
        before, full = self.distance[i], self.share[i] == 1.0
        self.z[i], self.value[i], self.gradient[i] = z, value, gradient
        self._aim(i)
        ratio = float(self.distance[i] / before) if before > 0 else 0.0
        if self.distance[i] < _FAR_OUT and np.isnan(self.entered[i]).any():
            self.entered[i] = z
        near = self.distance[i] < self._criterion.tolerance and not self.shifted[i]
        near &= bool(self._is_own[i])
        self.certified[i] |= full and near and ratio <= self._criterion.contraction
        return ratio

    def check(self) -> None:
        """Withdraw certificates without enough curvature, or with a wrong gradient far beyond."""
        which = np.flatnonzero(self.certified)
        if not which.size:
            return
        beyond = self.z[which] + _OVERSHOOT * self.direction[which]
        values, gradients = self._value_and_gradient(beyond, which)
        for i, value, gradient in zip(which, values, gradients, strict=True):
            before = float(self.direction[i] @ self.gradient[i])
            after = float(self.direction[i] @ gradient)
            back = before == 0 or not np.isfinite(value) or after / before < -_OVERSHOOT / 10
            least = self._criterion.least * self._typical
            is_curved = _factor(self._hessians[i] - least) is not None
            self.certified[i] = back and is_curved
            if self.certified[i]:  # its last step need not be looked at
                self.z[i] += self.direction[i]


def _factor(matrix: FloatArray) -> FloatArray | None:
    """Return the Cholesky factor of a matrix; None if it is not positive definite."""
    factor, info = lapack.dpotrf(matrix, lower=0)
    return factor if info == 0 and np.isfinite(factor).all() else None
