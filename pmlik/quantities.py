"""A natural value held on an objective: the ground that a profile is walked on."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pmlik.curvature import Curvature
from pmlik.objective import Minimised
from pmlik.space import FloatArray

__all__ = ["Profiled", "Rounded"]

# Step of the differences of a quantity's gradient, in standard errors: their error is its square.
_STEP = 1e-4


class Rounded:
    """An objective in coordinates ``u`` in which it is round at a point: a unit is an SE.

    Parameters
    ----------
    objective : Minimised
    origin : array (k,)
        The point, in the objective's coordinates.
    root : array (k, n)
        Directions of one standard error, one a column; others stay at the origin.
    """

    def __init__(self, objective: Minimised, origin: FloatArray, root: FloatArray) -> None:
        self.objective, self.origin, self.root = objective, origin, root
        self.level = objective.value_and_gradient(origin)[0]

    @classmethod
    def at(cls, objective: Minimised, origin: FloatArray, basis: FloatArray) -> Rounded:
        """By the Hessian at the origin, along the columns of a basis (k, r).

        Directions without curvature stay at the origin.
        """
        curvature = Curvature.of(basis.T @ objective.hessian(origin) @ basis)
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


class Profiled:
    """A rounded objective with one natural value to be held.

    A parameter whose transform gives it a coordinate of its own is held by that coordinate, which
    is linear; any other value (an element of a simplex, a derived quantity) by itself, with the
    exact gradient and differences of it.

    Parameters
    ----------
    rounded : Rounded
    place : int
        Among the problem's natural values, parameters first.
    is_parameter : bool
    """

    def __init__(self, rounded: Rounded, place: int, is_parameter: bool) -> None:
        self.rounded, self.place, self._is_parameter = rounded, place, is_parameter
        self._values = rounded.objective.values

    def value_and_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """The objective."""
        return self.rounded.value_and_gradient(u)

    def hessian(self, u: FloatArray) -> FloatArray:
        """Of the objective."""
        return self.rounded.hessian(u)

    @cached_property
    def _unit(self) -> FloatArray:
        unit = np.zeros(len(self._values(self.rounded.objective.base)))
        unit[self.place] = 1.0
        return unit

    def _cotangent(self, x: FloatArray) -> FloatArray:
        return self._values.cotangent(x, self._unit)

    @cached_property
    def touched(self) -> FloatArray:
        """Which coordinates of ``x`` move the value."""
        x = self.rounded.expand(np.zeros(self.rounded.size))
        beside = x + np.random.default_rng(0).uniform(-1e-3, 1e-3, size=len(x))
        return np.flatnonzero((self._cotangent(x) != 0) | (self._cotangent(beside) != 0))

    @cached_property
    def own(self) -> int | None:
        """The coordinate of ``x`` that is the value's alone."""
        alone = self._is_parameter and len(self.touched) == 1
        return int(self.touched[0]) if alone else None

    @cached_property
    def _lifted(self) -> FloatArray:
        """Directions of one standard error in ``x``, one a column."""
        lift = self.rounded.objective.lift
        return np.array([lift(column) for column in self.rounded.root.T]).T

    def natural(self, u: FloatArray) -> float:
        """The value in natural units."""
        return float(self._values(self.rounded.expand(u))[self.place])

    def rising(self, u: FloatArray) -> int:
        """1, or -1 where the value falls as what is held grows."""
        if self.own is None:
            return 1
        return 1 if self._cotangent(self.rounded.expand(u))[self.own] > 0 else -1

    def quantity(self, u: FloatArray) -> tuple[float, FloatArray]:
        """What is held, and its gradient."""
        x = self.rounded.expand(u)
        if self.own is not None:
            return float(x[self.own]), self._lifted[self.own]
        return float(self._values(x)[self.place]), np.asarray(self._cotangent(x) @ self._lifted)

    def quantity_hessian(self, u: FloatArray) -> FloatArray | None:
        """Second derivative of what is held; None where it is linear."""
        if self.own is not None:
            return None
        x, where = self.rounded.expand(u), self.touched
        lifted = self._lifted[where]
        sizes = np.linalg.norm(lifted, axis=1)
        bend = np.zeros((len(where), len(where)))
        for row, (coordinate, size) in enumerate(zip(where, sizes, strict=True)):
            step = np.zeros(len(x))
            step[coordinate] = _STEP * size if size > 0 else _STEP
            ahead, behind = (self._cotangent(x + sign * step)[where] for sign in (1.0, -1.0))
            bend[row] = (ahead - behind) / (2 * step[coordinate])
        return np.asarray(lifted.T @ ((bend + bend.T) / 2) @ lifted)
