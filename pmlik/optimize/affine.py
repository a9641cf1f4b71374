"""An objective on an affine subspace of its coordinates."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pmlik._typing import BoolArray, FloatArray, IntArray
from pmlik.optimize.hessian import HessianEigen
from pmlik.optimize.objective import DensityLike, ObjectiveLike, ValuesLike


class AffineObjective:
    """The objective at ``origin + basis @ u`` minus a level, as a function of ``u`` (r,).

    It can be used wherever an `Objective` is minimised.

    ``origin`` (k,): a point in the objective's coordinates.
    ``basis`` (k, r): directions that stay free, one per column; coordinates by their numbers (r,).
    ``level``: subtracted from every value.
    """

    def __init__(
        self,
        objective: ObjectiveLike,
        origin: FloatArray,
        basis: FloatArray | IntArray,
        level: float = 0.0,
    ) -> None:
        self.objective, self.origin, self._basis, self.level = objective, origin, basis, level

    @cached_property
    def _free(self) -> IntArray | None:
        """The free coordinates, if the directions are single ones: no matrix is needed then."""
        return np.asarray(self._basis, dtype=int) if self._basis.ndim == 1 else None

    @cached_property
    def basis(self) -> FloatArray:
        """The free directions (k, r), one per column."""
        free = self._free
        return np.asarray(self._basis if free is None else np.eye(len(self.origin))[:, free])

    def _along(self, u: FloatArray) -> FloatArray:
        """Return the displacement (k,) of ``u``."""
        if self._free is None:
            return np.asarray(self._basis @ u)
        away = np.zeros(len(self.origin))
        away[self._free] = u
        return away

    def _within(self, row: FloatArray) -> FloatArray:
        """Return the part of a gradient (k,) along the free directions."""
        return np.asarray(row @ self._basis if self._free is None else row[self._free])

    @classmethod
    def fix(cls, objective: ObjectiveLike, origin: FloatArray, fixed: BoolArray) -> AffineObjective:
        """Fix some of the coordinates (k,) at the origin."""
        return cls(objective, origin, np.flatnonzero(~fixed))

    @classmethod
    def relative(
        cls, objective: ObjectiveLike, origin: FloatArray, basis: FloatArray
    ) -> AffineObjective:
        """Return the objective relative to its value at the origin."""
        return cls(objective, origin, basis, objective.value_and_gradient(origin)[0])

    @classmethod
    def standardized(
        cls, objective: ObjectiveLike, origin: FloatArray, basis: FloatArray
    ) -> AffineObjective:
        """Return the relative objective in units of one standard error at the origin.

        The Hessian is taken along the columns of ``basis`` (k, r). Directions without curvature
        stay at the origin.
        """
        curvature = HessianEigen.of(basis.T @ objective.hessian(origin) @ basis)
        keep = curvature.eigenvalues > curvature.tolerance
        vectors = curvature.eigenvectors[:, keep] / np.sqrt(curvature.eigenvalues[keep])
        return cls.relative(objective, origin, basis @ (curvature.scale[:, None] * vectors))

    def extended(self, directions: FloatArray) -> AffineObjective:
        """Add directions (k, r), one per column; the level is that of the origin."""
        basis = np.column_stack([self.basis, directions])
        return AffineObjective.relative(self.objective, self.origin, basis)

    @property
    def densities(self) -> tuple[DensityLike, ...]:
        """Log-densities of the objective."""
        return self.objective.densities

    @property
    def period(self) -> None:
        """Combinations of coordinates do not repeat."""
        return None

    @property
    def values(self) -> ValuesLike:
        """Constrained values as a function of ``x``."""
        return self.objective.values

    @property
    def base(self) -> FloatArray:
        """A point ``x`` (n,) inside the support."""
        return self.objective.base

    @cached_property
    def active(self) -> BoolArray:
        """Mask (n,) of the coordinates of ``x`` that move."""
        moving = np.zeros(len(self.base), bool)
        places = np.flatnonzero(self.objective.active)
        free = (self.basis != 0).any(axis=1) if self._free is None else self._free
        moving[places[free]] = True
        return moving

    @property
    def size(self) -> int:
        """Number of free directions."""
        return int(self._basis.shape[-1])

    def place(self, u: FloatArray) -> FloatArray:
        """Return the objective's coordinates (k,) of ``u``."""
        return self.origin + self._along(u)

    def find(self, z: FloatArray) -> FloatArray:
        """Return the coordinates ``u`` of a point, or of the nearest one in the subspace."""
        return np.asarray(np.linalg.lstsq(self.basis, z - self.origin)[0])

    def expand(self, u: FloatArray) -> FloatArray:
        """Return the full vector ``x`` (n,)."""
        return self.objective.expand(self.place(u))

    def lift(self, u: FloatArray) -> FloatArray:
        """Return a direction in ``x`` (n,)."""
        return self.objective.lift(self._along(u))

    def value_and_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Return objective and gradient; the value is infinite where either is not a number."""
        value, gradient = self.objective.value_and_gradient(self.place(u))
        return value - self.level, self._within(gradient)

    def hessian(self, u: FloatArray) -> FloatArray:
        """Return the dense Hessian (r, r)."""
        hessian = self.objective.hessian(self.place(u))
        if self._free is not None:
            return hessian[np.ix_(self._free, self._free)]
        return np.asarray(self._basis.T @ hessian @ self._basis)

    def product(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return a Hessian-vector product (r,)."""
        return self._within(self.objective.product(self.place(u), self._along(v)))
