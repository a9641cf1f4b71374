"""An objective with constrained values fixed, as a profile likelihood needs it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pmlik._differences import central_difference
from pmlik._summaries import Circle
from pmlik._typing import FloatArray
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.borders import Border

# Step of the differences of a quantity's gradient, in standard errors: their error is its square.
_STEP = 1e-4

# An element of a simplex that is as good as zero.
_NOTHING = 1e-9

# A coordinate that changes by less is not moved.
_STILL = 1e-9


class Profiled:
    """An objective in standard errors with one or several constrained values to be fixed.

    A parameter whose transform gives it a coordinate of its own is fixed by that coordinate, which
    is linear. Any other value (an element of a simplex, a derived quantity) is a constraint, with
    its exact gradient and differences of it.

    ``places``: indices among the constrained values, parameters first.
    ``n_parameters``: number of parameters among them.
    ``borders``: in the coordinates of ``affine``. ``circle``: the turn of a single circular value.
    """

    def __init__(
        self,
        affine: AffineObjective,
        places: Sequence[int],
        n_parameters: int,
        borders: Sequence[Border] = (),
        circle: Circle | None = None,
    ) -> None:
        self.affine, self.places, self._circle = affine, list(places), circle
        self._values, self._n_parameters = affine.objective.values, n_parameters
        self._all_borders = borders

    @cached_property
    def borders(self) -> Sequence[Border]:
        """The borders of what is not fixed."""
        fixed = [self._lifted[own] for own in self.coordinates if own is not None]
        return [
            border
            for border in self._all_borders
            if border.place not in self.places
            and not any(abs(row @ border.direction) > _STILL for row in fixed)
        ]

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Values of the first fixed coordinate that are as good as its borders."""
        lower, upper = -np.inf, np.inf
        if self.reaches_zero:
            lower = _NOTHING
        if self.coordinate is not None:
            x = self.affine.expand(np.zeros(self.affine.size))[self.coordinate]
            for border in self._all_borders:
                rise = float(self._lifted[self.coordinate] @ border.direction)
                if border.is_finite and abs(rise) > _STILL:
                    far = x + rise * (border.far - border.height(np.zeros(self.affine.size)))
                    lower, upper = (far, upper) if rise < 0 else (lower, far)
        return lower, upper

    @property
    def reaches_zero(self) -> bool:
        """True if the first value is an element of a simplex."""
        return any(border.place == self.places[0] for border in self._all_borders)

    def value_and_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Return the objective and its gradient."""
        return self.affine.value_and_gradient(u)

    def hessian(self, u: FloatArray) -> FloatArray:
        """Return the Hessian of the objective."""
        return self.affine.hessian(u)

    @cached_property
    def _units(self) -> FloatArray:
        units = np.zeros((len(self.places), len(self._values(self.affine.objective.base))))
        units[range(len(self.places)), self.places] = 1.0
        return units

    @cached_property
    def _touched(self) -> list[NDArray[np.intp]]:
        """Indices of the coordinates of ``x`` that move each value."""
        x = self.affine.expand(np.zeros(self.affine.size))
        beside = x + np.random.default_rng(0).uniform(-1e-3, 1e-3, size=len(x))
        seen = [np.array([self._values.vjp(at, u) != 0 for at in (x, beside)]) for u in self._units]
        return [np.flatnonzero(either.any(axis=0)) for either in seen]

    @cached_property
    def coordinates(self) -> list[int | None]:
        """For each value the coordinate of ``x`` that moves it alone, if there is one."""
        return [
            int(touched[0]) if place < self._n_parameters and len(touched) == 1 else None
            for place, touched in zip(self.places, self._touched, strict=True)
        ]

    @property
    def most(self) -> float:
        """The farthest from the optimum that a circular value is held: a coordinate a turn away."""
        if self._circle is None:
            return np.inf
        return self._circle.period if self.coordinate is not None else self._circle.period / 2

    @cached_property
    def _centre(self) -> float:
        return self.constrained_value(np.zeros(self.affine.size))

    @property
    def coordinate(self) -> int | None:
        """The coordinate of the first value."""
        return self.coordinates[0]

    @cached_property
    def _lifted(self) -> FloatArray:
        """Directions of one standard error in ``x`` (n, k), one per column."""
        lift = self.affine.objective.lift
        return np.array([lift(column) for column in self.affine.basis.T]).T

    def constrained_value(self, u: FloatArray) -> float:
        """Return the first value on the constrained scale."""
        return float(self._values(self.affine.expand(u))[self.places[0]])

    def orientation(self, u: FloatArray) -> int:
        """Return 1, or -1 if the first value falls as its coordinate grows."""
        if self.coordinate is None:
            return 1
        x = self.affine.expand(u)
        return 1 if self._values.vjp(x, self._units[0])[self.coordinate] > 0 else -1

    def quantities(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what is fixed (q,) and its gradients (q, k)."""
        x = self.affine.expand(u)
        held = np.zeros(len(self.places))
        normals = np.zeros((len(self.places), self.affine.size))
        constrained = None if None not in self.coordinates else self._values(x)
        for i, coordinate in enumerate(self.coordinates):
            if coordinate is not None:
                held[i], normals[i] = x[coordinate], self._lifted[coordinate]
            else:
                assert constrained is not None
                value = float(constrained[self.places[i]])
                held[i] = value if self._circle is None else self._circle.near(value, self._centre)
                normals[i] = self._values.vjp(x, self._units[i]) @ self._lifted
        return held, normals

    def weighted_hessian(self, u: FloatArray, weights: FloatArray) -> FloatArray | None:
        """Return the Hessian of the weighted sum of what is fixed; None if it is linear."""
        curved = [i for i, coordinate in enumerate(self.coordinates) if coordinate is None]
        if not curved:
            return None
        x, weighted = self.affine.expand(u), weights[curved] @ self._units[curved]
        where = np.unique(np.concatenate([self._touched[i] for i in curved]))
        lifted = self._lifted[where]

        def gradient(x: FloatArray) -> FloatArray:
            return np.asarray(self._values.vjp(x, weighted)[where])

        hessian = np.zeros((len(where), len(where)))
        for row, size in enumerate(np.linalg.norm(lifted, axis=1)):
            step = np.zeros(len(x))
            step[where[row]] = width = _STEP * size if size > 0 else _STEP
            hessian[row] = central_difference(gradient, x, step) / (2 * width)
        return np.asarray(lifted.T @ ((hessian + hessian.T) / 2) @ lifted)
