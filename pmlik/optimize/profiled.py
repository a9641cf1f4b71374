"""An objective with constrained values held, as a profile likelihood needs it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pmlik._differences import central_difference
from pmlik._typing import FloatArray
from pmlik.optimize.affine import Rounded

__all__ = ["Profiled"]


# Step of the differences of a quantity's gradient, in standard errors: their error is its square.
_STEP = 1e-4


class Profiled:
    """A rounded objective with one or several natural values to be held.

    A parameter whose transform gives it a coordinate of its own is held by that coordinate, which
    is linear; any other value (an element of a simplex, a derived quantity) by itself, with the
    exact gradient and differences of it.

    Parameters
    ----------
    rounded : Rounded
    places : sequence of int
        Among the problem's natural values, parameters first.
    n_parameters : int
        How many of those are parameters.
    """

    def __init__(self, rounded: Rounded, places: Sequence[int], n_parameters: int) -> None:
        self.rounded, self.places = rounded, list(places)
        self._values, self._n_parameters = rounded.objective.values, n_parameters

    def value_and_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """The objective."""
        return self.rounded.value_and_gradient(u)

    def hessian(self, u: FloatArray) -> FloatArray:
        """Of the objective."""
        return self.rounded.hessian(u)

    @cached_property
    def _units(self) -> FloatArray:
        units = np.zeros((len(self.places), len(self._values(self.rounded.objective.base))))
        units[range(len(self.places)), self.places] = 1.0
        return units

    @cached_property
    def _touched(self) -> list[NDArray[np.intp]]:
        """Which coordinates of ``x`` move each value."""
        x = self.rounded.expand(np.zeros(self.rounded.size))
        beside = x + np.random.default_rng(0).uniform(-1e-3, 1e-3, size=len(x))
        seen = [np.array([self._values.vjp(at, u) != 0 for at in (x, beside)]) for u in self._units]
        return [np.flatnonzero(either.any(axis=0)) for either in seen]

    @cached_property
    def owns(self) -> list[int | None]:
        """For each value the coordinate of ``x`` that is its alone, if it has one."""
        return [
            int(touched[0]) if place < self._n_parameters and len(touched) == 1 else None
            for place, touched in zip(self.places, self._touched, strict=True)
        ]

    @property
    def own(self) -> int | None:
        """That of the first."""
        return self.owns[0]

    @cached_property
    def _lifted(self) -> FloatArray:
        """Directions of one standard error in ``x`` (n, k), one a column."""
        lift = self.rounded.objective.lift
        return np.array([lift(column) for column in self.rounded.root.T]).T

    def natural(self, u: FloatArray) -> float:
        """The first value in natural units."""
        return float(self._values(self.rounded.expand(u))[self.places[0]])

    def rising(self, u: FloatArray) -> int:
        """1, or -1 where the first value falls as what is held grows."""
        if self.own is None:
            return 1
        x = self.rounded.expand(u)
        return 1 if self._values.vjp(x, self._units[0])[self.own] > 0 else -1

    def quantities(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What is held (q,), and its gradients (q, k)."""
        x = self.rounded.expand(u)
        held = np.zeros(len(self.places))
        normals = np.zeros((len(self.places), self.rounded.size))
        naturals = None if None not in self.owns else self._values(x)
        for i, own in enumerate(self.owns):
            if own is not None:
                held[i], normals[i] = x[own], self._lifted[own]
            else:
                assert naturals is not None
                held[i] = naturals[self.places[i]]
                normals[i] = self._values.vjp(x, self._units[i]) @ self._lifted
        return held, normals

    def bend(self, u: FloatArray, weights: FloatArray) -> FloatArray | None:
        """Second derivative of the weighted sum of what is held; None where it is linear."""
        curved = [i for i, own in enumerate(self.owns) if own is None]
        if not curved:
            return None
        x, weighted = self.rounded.expand(u), weights[curved] @ self._units[curved]
        where = np.unique(np.concatenate([self._touched[i] for i in curved]))
        lifted = self._lifted[where]

        def gradient(x: FloatArray) -> FloatArray:
            return np.asarray(self._values.vjp(x, weighted)[where])

        bend = np.zeros((len(where), len(where)))
        for row, size in enumerate(np.linalg.norm(lifted, axis=1)):
            step = np.zeros(len(x))
            step[where[row]] = width = _STEP * size if size > 0 else _STEP
            bend[row] = central_difference(gradient, x, step) / (2 * width)
        return np.asarray(lifted.T @ ((bend + bend.T) / 2) @ lifted)
