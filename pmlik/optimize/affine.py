"""An objective on an affine subspace of its coordinates."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pmlik._typing import BoolArray, FloatArray
from pmlik.optimize.hessian import HessianEigen
from pmlik.optimize.objective import DensityLike, Objective, ObjectiveLike, ValuesLike

__all__ = ["Restricted", "Rounded"]


class Restricted:
    """The objective on ``origin + basis @ u``, as a function of ``u``.

    It can be used wherever an `Objective` is minimised.

    Parameters
    ----------
    objective : Objective
    origin : array (k,)
        A point in the active coordinates of the objective.
    basis : array (k, r)
        Directions that stay free, one a column.
    """

    def __init__(self, objective: Objective, origin: FloatArray, basis: FloatArray) -> None:
        self._objective, self._origin, self._basis = objective, origin, basis

    @classmethod
    def hold(cls, objective: Objective, origin: FloatArray, held: BoolArray) -> Restricted:
        """Hold some of the coordinates at the origin."""
        return cls(objective, origin, np.eye(len(origin))[:, ~held])

    @property
    def densities(self) -> tuple[DensityLike, ...]:
        """Those of the objective."""
        return self._objective.densities

    @property
    def values(self) -> ValuesLike:
        """The natural values."""
        return self._objective.values

    @property
    def base(self) -> FloatArray:
        """A point (n,) inside the support."""
        return self._objective.base

    @cached_property
    def active(self) -> BoolArray:
        """Which coordinates of ``x`` move."""
        moving = np.zeros(len(self.base), bool)
        moving[self._objective.active] = (self._basis != 0).any(axis=1)
        return moving

    @property
    def size(self) -> int:
        """How many directions are free."""
        return int(self._basis.shape[1])

    def place(self, u: FloatArray) -> FloatArray:
        """The objective's coordinates (k,) of ``u``."""
        return np.asarray(self._origin + self._basis @ u)

    def expand(self, u: FloatArray) -> FloatArray:
        """The full vector ``x``."""
        return self._objective.expand(self.place(u))

    def lift(self, u: FloatArray) -> FloatArray:
        """A direction in ``x``."""
        return self._objective.lift(self._basis @ u)

    def value_and_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Objective and gradient; infinite wherever either is not a number."""
        value, gradient = self._objective.value_and_gradient(self.place(u))
        return value, np.asarray(gradient @ self._basis)

    def hessian(self, u: FloatArray) -> FloatArray:
        """The dense Hessian of the objective."""
        return np.asarray(self._basis.T @ self._objective.hessian(self.place(u)) @ self._basis)

    def product(self, u: FloatArray, v: FloatArray) -> FloatArray:
        """Hessian-vector product of the objective."""
        image = self._objective.product(self.place(u), self._basis @ v)
        return np.asarray(self._basis.T @ image)


class Rounded:
    """An objective in coordinates ``u`` in which it is round at a point: a unit is an SE.

    Parameters
    ----------
    objective : ObjectiveLike
    origin : array (k,)
        The point, in the objective's coordinates.
    root : array (k, n)
        Directions of one standard error, one a column; others stay at the origin.
    """

    def __init__(self, objective: ObjectiveLike, origin: FloatArray, root: FloatArray) -> None:
        self.objective, self.origin, self.root = objective, origin, root
        self.level = objective.value_and_gradient(origin)[0]

    @classmethod
    def at(cls, objective: ObjectiveLike, origin: FloatArray, basis: FloatArray) -> Rounded:
        """By the Hessian at the origin, along the columns of a basis (k, r).

        Directions without curvature stay at the origin.
        """
        curvature = HessianEigen.of(basis.T @ objective.hessian(origin) @ basis)
        keep = curvature.eigenvalues > curvature.tolerance
        vectors = curvature.eigenvectors[:, keep] / np.sqrt(curvature.eigenvalues[keep])
        return cls(objective, origin, basis @ (curvature.scale[:, None] * vectors))

    def extended(self, directions: FloatArray) -> Rounded:
        """With more directions (k, r), one a column."""
        return Rounded(self.objective, self.origin, np.column_stack([self.root, directions]))

    def find(self, z: FloatArray) -> FloatArray:
        """The coordinates ``u`` of a point, or of what comes nearest to it."""
        return np.asarray(np.linalg.lstsq(self.root, z - self.origin)[0])

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return int(self.root.shape[1])

    def place(self, u: FloatArray) -> FloatArray:
        """The objective's own coordinates."""
        return np.asarray(self.origin + self.root @ u)

    def expand(self, u: FloatArray) -> FloatArray:
        """The full vector ``x``."""
        return self.objective.expand(self.place(u))

    def value_and_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """The objective above its value at the origin, and its gradient."""
        value, gradient = self.objective.value_and_gradient(self.place(u))
        return value - self.level, np.asarray(gradient @ self.root)

    def hessian(self, u: FloatArray) -> FloatArray:
        """The dense Hessian."""
        return np.asarray(self.root.T @ self.objective.hessian(self.place(u)) @ self.root)
