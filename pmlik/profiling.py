"""The likelihood maximised over all but a few natural values: profiles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product

import numpy as np
from scipy import optimize

from pmlik.functions import BoolArray
from pmlik.naturals import NaturalLikelihood
from pmlik.objective import Objective
from pmlik.optimizer import climb
from pmlik.progress import Say
from pmlik.space import FloatArray

__all__ = ["profile_grid"]


class _Profiler:
    """Maximises the likelihood with some of the parameters' scalars held.

    Where the transform gives a held value a coordinate of its own, that is held and the others
    are free. Otherwise (an element of a simplex) it is a constraint, for SciPy's SLSQP.

    Parameters
    ----------
    natural : NaturalLikelihood
    places : sequence of int
        The held scalars, among the parameters' natural values.
    optimum : array (n,)
        The MLE.
    """

    def __init__(
        self, natural: NaturalLikelihood, places: Sequence[int], optimum: FloatArray
    ) -> None:
        self._natural, self._places, self._optimum = natural, list(places), optimum
        problem = natural.problem
        rows = []
        for place in self._places:
            unit = np.zeros(problem.parameters.size + problem.derived.size)
            unit[place] = 1.0
            rows.append(problem.values.cotangent(optimum, unit))
        touched = np.array(rows) != 0
        self._own = bool((touched.sum(axis=1) == 1).all() and touched.sum(axis=0).max() == 1)
        self._held: BoolArray = touched.any(axis=0)

    def __call__(self, held: FloatArray, near: FloatArray) -> tuple[float, FloatArray]:
        """The highest log-likelihood with the given values held, and where.

        Parameters
        ----------
        held : array (q,)
        near : array (n,)
            Where to start.

        Returns
        -------
        log_likelihood : float
            NaN where no maximum could be certified, ``-inf`` outside the support.
        x : array (n,)
        """
        if np.isnan(held).any():
            return np.nan, self._optimum
        if not self._own:
            return self._constrained(held, near)
        theta = self._naturals(near)
        theta[self._places] = held
        x = near.copy()
        x[self._held] = self._natural.to_unconstrained(theta)[self._held]
        if np.isnan(x).any() or (np.isfinite(x).all() and not self._is_inside(self._naturals(x))):
            return -np.inf, near
        return self._climb(x)

    def _naturals(self, x: FloatArray) -> FloatArray:
        problem = self._natural.problem
        return problem.values(x)[: problem.parameters.size]

    def _is_inside(self, theta: FloatArray) -> bool:
        return bool(self._natural.inside(theta[None])[0])

    def _climb(self, x: FloatArray) -> tuple[float, FloatArray]:
        problem = self._natural.problem
        objective = Objective((problem.likelihood,), problem.values, x, self._held)
        if not np.isfinite(x).all():
            return np.nan, self._optimum
        if not objective.size:
            return problem.likelihood.value_and_gradient(x)[0], x
        optimum = climb(objective, x[objective.active], "profile")
        if not optimum.usable:
            return np.nan, self._optimum
        return -optimum.value, objective.expand(optimum.z)

    def _constrained(self, held: FloatArray, near: FloatArray) -> tuple[float, FloatArray]:
        problem = self._natural.problem
        objective = Objective((problem.likelihood,), problem.values, near)
        root = self._root

        def place(u: FloatArray) -> FloatArray:
            return near + root @ u

        def miss(u: FloatArray) -> FloatArray:
            return problem.values(place(u))[self._places] - held

        def miss_gradient(u: FloatArray) -> FloatArray:
            m = problem.parameters.size + problem.derived.size
            units = np.eye(m)[self._places]
            return np.array([problem.values.cotangent(place(u), unit) for unit in units]) @ root

        def value(u: FloatArray) -> tuple[float, FloatArray]:
            x = place(u)
            f, g = objective.value_and_gradient(x[objective.active])
            return f, objective.lift(g) @ root

        with np.errstate(all="ignore"):
            found = optimize.minimize(
                value,
                np.zeros(len(near)),
                jac=True,
                method="SLSQP",
                constraints=[{"type": "eq", "fun": miss, "jac": miss_gradient}],
                options={"ftol": 1e-13, "maxiter": 200},
            )
        slope, across = value(found.x)[1], miss_gradient(found.x).T
        rest = slope - across @ np.linalg.lstsq(across, slope)[0]
        reached = np.abs(miss(found.x)).max() < 1e-8 * (1 + np.abs(held).max())
        if not reached:  # no point of the support has these values
            return -np.inf, self._optimum
        theta = self._naturals(place(found.x))
        theta[self._places] = held
        if self._natural.many("value", theta[None])[0][0] == -np.inf:  # on a border
            return -np.inf, self._optimum
        if not np.linalg.norm(rest) < 1e-3:
            falls = self._falls_to_border(place(found.x), held, found.fun)
            return -np.inf if falls else np.nan, self._optimum
        return -float(found.fun), place(found.x)

    def _falls_to_border(self, x: FloatArray, held: FloatArray, value: float) -> bool:
        """Whether the held values are those of a border, where the likelihood is zero."""
        far = self._optimum + 20 * (x - self._optimum)
        same = np.allclose(self._naturals(far)[self._places], held, rtol=0, atol=1e-8)
        beyond = -self._natural.problem.likelihood.value_and_gradient(far)[0]
        return bool(same and not beyond <= value + 1)

    @cached_property
    def _root(self) -> FloatArray:
        """Coordinates in which the likelihood is round: a unit is a standard error."""
        problem, x = self._natural.problem, self._optimum
        values, vectors = np.linalg.eigh(-problem.likelihood.hessian(x))
        kept = np.maximum(values, 1e-8 * max(values.max(), 1e-300))
        return np.asarray(vectors / np.sqrt(kept))


def profile_grid(
    natural: NaturalLikelihood,
    places: Sequence[int],
    grids: Sequence[FloatArray],
    optimum: FloatArray,
    say: Say,
) -> FloatArray:
    """The profile log-likelihood on a grid.

    Parameters
    ----------
    natural : NaturalLikelihood
    places : sequence of int
        Which scalars of the parameters the grid is of, one an axis.
    grids : sequence of array
        Their values.
    optimum : array (n,)
        The MLE on the unconstrained scale, where the walk over the grid begins.
    say : callable
        Told how far it is.

    Returns
    -------
    array
        One axis a grid; NaN where no maximum could be certified.
    """
    profiler = _Profiler(natural, places, optimum)
    at_optimum = natural.problem.values(optimum)[list(places)]
    shape = tuple(len(grid) for grid in grids)
    first = [int(np.argmin(np.abs(g - v))) for g, v in zip(grids, at_optimum, strict=True)]
    surface = np.full(shape, np.nan)
    reached: dict[tuple[int, ...], FloatArray] = {}
    order = sorted(
        product(*map(range, shape)),
        key=lambda at: sum(abs(i - j) for i, j in zip(at, first, strict=True)),
    )
    for done, at in enumerate(order):
        beside = [(*at[:a], at[a] + step, *at[a + 1 :]) for a in range(len(at)) for step in (1, -1)]
        near = next((reached[other] for other in beside if other in reached), optimum)
        held = np.array([grid[i] for grid, i in zip(grids, at, strict=True)])
        surface[at], x = profiler(held, near)
        if np.isfinite(surface[at]):
            reached[at] = x
        say(f"Profiling: {100 * done // len(order)} %")
    return surface
