"""Standard errors, and profile likelihoods at given values, of many data sets at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pmlik._typing import BoolArray, FloatArray
from pmlik.logp.replicates import Replicated

# Step of central differences of the scalars, in standard errors. Their error is its square.
_STEP = 1e-4

# A point is the constrained optimum when a step from it is shorter than this, in standard errors.
_CLOSE, _MOST_STEPS, _LONGEST = 1e-6, 25, 2.0

#: Above so many coordinates second derivatives of the scalars cost more than they save.
MOST_COORDINATES = 30

# A function of all scalars (c, m) that returns those of interest.
_Scale = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class ProfileBatch:
    """Optima of many data sets, in units of their coordinates' standard errors.

    ``replicated``: the negative log-likelihood of a batch. ``active`` (n,): its coordinates.
    ``inputs`` (sequence of array (b, ...)): the data. ``optima`` (b, n): where each is lowest.
    """

    replicated: Replicated
    active: BoolArray
    inputs: Sequence[NDArray[Any]]
    optima: FloatArray

    @cached_property
    def lowest(self) -> FloatArray:
        """The objective (b,) at the optima."""
        return self.replicated.value_and_gradient(self.optima, self.inputs)[0]

    @cached_property
    def _unit(self) -> FloatArray:
        return np.eye(len(self.active))[self.active]

    @cached_property
    def _hessian(self) -> FloatArray:
        return self.replicated.hessian(self.optima, self.inputs, self._unit)

    @cached_property
    def _scale(self) -> FloatArray:
        """Standard errors (b, k) of the coordinates, the others held; NaN without curvature."""
        diagonal = np.diagonal(self._hessian, axis1=1, axis2=2)
        return 1 / np.sqrt(np.where(diagonal > 0, diagonal, np.nan))

    def _place(self, u: FloatArray, which: NDArray[np.intp]) -> FloatArray:
        return np.asarray(self.optima[which] + (u * self._scale[which]) @ self._unit)

    def _jacobian(self, u: FloatArray, which: NDArray[np.intp], scale: _Scale) -> FloatArray:
        """Return the derivatives (c, m, k) of scalars by the scaled coordinates."""
        columns = []
        for step in _STEP * np.eye(u.shape[1]):
            up, down = (scale(self._values(u + s, which)) for s in (step, -step))
            columns.append((up - down) / (2 * _STEP))
        return np.stack(columns, axis=-1)

    def _values(self, u: FloatArray, which: NDArray[np.intp]) -> FloatArray:
        return self.replicated.values(self._place(u, which))

    def _straight(self, place: int, values: FloatArray) -> _Scale:
        """Return the scalar on a scale on which it is nearly linear: logarithms, log-odds.

        It is held at the same values there.
        """
        seen = np.concatenate([self.replicated.values(self.optima)[:, place], values])
        if (seen > 0).all() and (seen <= 1).all():
            return lambda all_values: special.logit(all_values[:, [place]])
        if (seen > 0).all():
            return lambda all_values: np.log(all_values[:, [place]])
        return lambda all_values: all_values[:, [place]]

    def standard_errors(self) -> FloatArray:
        """Return delta-method standard errors (b, m); NaN without a positive definite Hessian."""
        everything = np.arange(len(self.optima))
        jacobian = self._jacobian(
            np.zeros((len(everything), len(self._unit))), everything, lambda values: values
        )
        scaled = self._hessian * self._scale[:, :, None] * self._scale[:, None, :]
        errors = np.full(jacobian.shape[:2], np.nan)
        for i in np.flatnonzero(np.isfinite(scaled).all(axis=(1, 2))):
            try:
                half = np.linalg.solve(np.linalg.cholesky(scaled[i]), jacobian[i].T)
            except np.linalg.LinAlgError:
                continue
            errors[i] = np.sqrt((half**2).sum(axis=0))
        return np.where(errors > 0, errors, np.nan)

    def drops(self, place: int, values: FloatArray, points: FloatArray) -> FloatArray:
        """Return how far (b,) the profile log-likelihood of a scalar falls at values (b,).

        By Newton steps on Lagrange's conditions from the optima, then from points (b, n) that have
        the values; NaN where they do not converge to a constrained minimum.
        """
        whole = np.repeat(values[:, None], place + 1, axis=1)
        scale, found = self._straight(place, values), np.full(len(values), np.nan)
        there = (points - self.optima) @ self._unit.T / self._scale
        for start in (np.zeros_like(there), there):
            usable = np.isfinite(values) & np.isfinite(self._scale + start).all(axis=1)
            todo = np.flatnonzero(np.isnan(found) & usable)
            found[todo] = self._search(start[todo], scale, scale(whole)[:, 0], todo)
        return found

    def _search(
        self, u: FloatArray, scale: _Scale, wanted: FloatArray, which: NDArray[np.intp]
    ) -> FloatArray:
        """Return the drops (c,) that Newton steps from ``u`` (c, k) end at."""
        price, found, todo = np.zeros(len(u)), np.full(len(u), np.nan), np.arange(len(u))
        for _ in range(_MOST_STEPS):
            if not len(todo):
                break
            rows = which[todo]
            value, step, price[todo], minimal = self._step(
                u[todo], price[todo], scale, wanted, rows
            )
            length = np.abs(step).max(axis=1)
            done = (length < _CLOSE) & minimal
            found[todo[done]] = value[done] - self.lowest[rows[done]]
            u[todo] += step * np.minimum(1, _LONGEST / np.maximum(length, _LONGEST / 2))[:, None]
            todo = todo[~done & np.isfinite(step).all(axis=1)]
        return found

    def _step(
        self,
        u: FloatArray,
        price: FloatArray,
        quantity: _Scale,
        wanted: FloatArray,
        which: NDArray[np.intp],
    ) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        """Return the objective (c,), the step (c, k), the multipliers, and which are minima."""
        inputs, points = [one[which] for one in self.inputs], self._place(u, which)
        value, gradient = self.replicated.value_and_gradient(points, inputs)
        scale, k = self._scale[which], u.shape[1]
        gradient = gradient @ self._unit.T * scale
        hessian = self.replicated.hessian(points, inputs, self._unit)
        hessian = hessian * scale[:, :, None] * scale[:, None, :]
        normal = self._jacobian(u, which, quantity)[:, 0]
        hessian = hessian + price[:, None, None] * self._curvature(u, quantity, which)
        missing = wanted[which] - quantity(self.replicated.values(points))[:, 0]
        size = np.linalg.norm(normal, axis=1)
        size = np.where(size > 0, size, np.nan)
        normal, missing = normal / size[:, None], missing / size
        system = np.zeros((len(u), k + 1, k + 1))
        system[:, :k, :k], system[:, :k, k], system[:, k, :k] = hessian, normal, normal
        right = np.concatenate([-gradient, missing[:, None]], axis=1)
        solved = np.full((len(u), k + 1), np.nan)
        minimal = np.zeros(len(u), bool)
        known = np.flatnonzero(np.isfinite(system).all(axis=(1, 2)) & np.isfinite(value))
        if len(known):
            signs, _ = np.linalg.slogdet(system[known])
            # One negative eigenvalue is the constraint's; at a minimum it is the only one.
            below = (np.linalg.eigvalsh(system[known]) < 0).sum(axis=1)
            minimal[known] = below == 1
            regular = known[signs != 0]
            solved[regular] = np.linalg.solve(system[regular], right[regular, :, None])[..., 0]
        return value, solved[:, :k], solved[:, k] / size, minimal

    def _curvature(self, u: FloatArray, quantity: _Scale, which: NDArray[np.intp]) -> FloatArray:
        """Return second derivatives (c, k, k) of a scalar by the scaled coordinates."""
        k = u.shape[1]
        columns = []
        for step in np.sqrt(_STEP) * np.eye(k):
            up, down = (self._jacobian(u + s, which, quantity)[:, 0] for s in (step, -step))
            columns.append((up - down) / (2 * np.sqrt(_STEP)))
        whole = np.stack(columns, axis=-1)
        return np.asarray((whole + whole.swapaxes(1, 2)) / 2)
