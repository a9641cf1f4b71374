"""The profile likelihood on a grid of constrained values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import product

import numpy as np

from pmlik._runtime import ProgressCallback
from pmlik._typing import BoolArray, FloatArray
from pmlik.inference.natural import ConstrainedLikelihood
from pmlik.optimize.active_set import solve_constrained
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.borders import find_borders, in_subspace
from pmlik.optimize.boundary import BEYOND
from pmlik.optimize.constrained import ConstrainedStatus, Point
from pmlik.optimize.multistart import minimize
from pmlik.optimize.objective import Objective
from pmlik.optimize.profiled import Profiled

# Shortest step as a share of the whole, and the relative rate below which a fixed value counts as
# saturated.
_SHORTEST = 1e-6
_SATURATED = 1e-3


class GridProfiler:
    """Maximise the likelihood with some scalars fixed.

    If the transform gives a fixed value a coordinate of its own, that is fixed and the others are
    free. Otherwise (an element of a simplex, a derived quantity) it is a constraint.

    ``places``: indices of the fixed scalars among all constrained values, parameters first.
    ``optimum`` (n,): the MLE.
    """

    def __init__(
        self, natural: ConstrainedLikelihood, places: Sequence[int], optimum: FloatArray
    ) -> None:
        self._natural, self._places, self._optimum = natural, list(places), optimum
        problem = natural.problem
        rows = []
        for place in self._places:
            unit = np.zeros(problem.parameters.size + problem.derived.size)
            unit[place] = 1.0
            rows.append(problem.values.vjp(optimum, unit))
        touched = np.array(rows) != 0
        parameters = all(place < problem.parameters.size for place in self._places)
        alone = (touched.sum(axis=1) == 1).all() and touched.sum(axis=0).max() == 1
        self._has_own = bool(alone and parameters)
        self._held: BoolArray = touched.any(axis=0)

    def __call__(self, held: FloatArray, near: FloatArray) -> tuple[float, FloatArray]:
        """Return the highest log-likelihood with the given values fixed, and its point.

        ``held`` (q,). ``near`` (n,): a start.
        Returns ``log_likelihood``: NaN where no maximum could be certified, ``-inf`` outside the
            support.
        ``x`` (n,).
        """
        if np.isnan(held).any():
            return np.nan, self._optimum
        if not self._has_own:
            return self._constrained(held, near)
        theta = self._naturals(near)
        theta[self._places] = held
        x = near.copy()
        x[self._held] = self._natural.to_unconstrained(theta)[self._held]
        if np.isnan(x).any() or (np.isfinite(x).all() and not self._is_inside(self._naturals(x))):
            return -np.inf, near
        return self._maximize(x)

    @property
    def places(self) -> list[int]:
        """Indices of the fixed scalars."""
        return self._places

    @property
    def has_own_coordinates(self) -> bool:
        """True if every fixed value has a coordinate of its own."""
        return self._has_own

    @property
    def own_coordinates(self) -> list[int]:
        """The coordinates of the fixed values that have one of their own."""
        return [own for own in self._profiled.coordinates if own is not None]

    def at_border(self, held: FloatArray, near: FloatArray) -> BoolArray:
        """Return a mask (q,) of the fixed values at a border of their support."""
        if not self._has_own:
            return np.zeros(len(held), bool)
        theta = self._naturals(near)
        theta[self._places] = held
        x = self._natural.to_unconstrained(theta)
        return np.asarray(np.isinf(x[self.own_coordinates]))

    def borders(self) -> list[float]:
        """Return both ends of the support of the one fixed value with its own coordinate."""
        x = self._optimum.copy()
        ends = []
        for far in (-BEYOND, BEYOND):
            x[self._held] = far
            near = self._natural.problem.values(x)[self._places[0]]
            x[self._held] = 2 * far
            same = near == self._natural.problem.values(x)[self._places[0]]
            ends.append(float(near) if same else float(np.sign(far) * np.inf))
        return ends

    def held_at(self, held: FloatArray, near: FloatArray, far: float) -> Objective:
        """Return the objective with values that have coordinates of their own fixed.

        Values at a border of their support are fixed at a coordinate of size ``far``.
        """
        theta = self._naturals(near)
        theta[self._places] = held
        ends = self._natural.to_unconstrained(theta)
        x = near.copy()
        x[self._held] = np.where(np.isinf(ends), np.sign(ends) * far, ends)[self._held]
        problem = self._natural.problem
        return Objective((problem.likelihood,), problem.values, x, self._held)

    def _naturals(self, x: FloatArray) -> FloatArray:
        problem = self._natural.problem
        return problem.values(x)[: problem.parameters.size]

    def _is_inside(self, theta: FloatArray) -> bool:
        return bool(self._natural.inside(theta[None])[0])

    def _maximize(self, x: FloatArray) -> tuple[float, FloatArray]:
        problem = self._natural.problem
        objective = Objective((problem.likelihood,), problem.values, x, self._held)
        if not np.isfinite(x).all():
            return np.nan, self._optimum
        if not objective.size:
            return problem.likelihood.value_and_gradient(x)[0], x
        optimum = minimize(objective, x[objective.active], "profile")
        if optimum.usable:
            return -optimum.value, objective.expand(optimum.z)
        return self._with_borders(x)

    def _with_borders(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Maximise with coordinates held at borders, from a point and from the optimum."""
        profiled = self._profiled
        wanted = x[self.own_coordinates]
        found = [
            solve_constrained(profiled, profiled.affine.find(z[self._active]), wanted)
            for z in (x, np.where(self._held, x, self._optimum))
        ]
        points = [point for point in found if isinstance(point, Point)]
        if not points:
            return np.nan, self._optimum
        best = min(points, key=lambda point: point.delta_nll)
        return -best.delta_nll - profiled.affine.level, profiled.affine.expand(best.u)

    def _constrained(self, held: FloatArray, near: FloatArray) -> tuple[float, FloatArray]:
        """Maximise under constraints, in steps along a straight line of the fixed values."""
        profiled, u = self._profiled, self._profiled.affine.find(near[self._active])
        begin = profiled.quantities(u)[0]
        wanted = self._in_own_coordinates(held, near)
        here, share, step = solve_constrained(profiled, u, begin), 0.0, 1.0
        while isinstance(here, Point) and share < 1 and step > _SHORTEST:
            further = min(1.0, share + step)
            goal = begin + further * (wanted - begin)
            there = solve_constrained(
                profiled, here.u + here.tangents @ (goal - here.constraint_values), goal
            )
            if isinstance(there, ConstrainedStatus):
                step /= 2
            else:
                here, share, step = there, further, 1.5 * step
        if not isinstance(here, Point):
            return np.nan, self._optimum
        x, value = profiled.affine.expand(here.u), here.delta_nll + profiled.affine.level
        if share < 1:
            return (-np.inf if self._is_border(here) else np.nan), self._optimum
        return (-np.inf if self._falls_to_border(x, held, value) else -value), x

    def _in_own_coordinates(self, held: FloatArray, near: FloatArray) -> FloatArray:
        theta = self._natural.problem.values(near)[: self._natural.problem.parameters.size]
        wanted = held.copy()
        alone = [i for i, own in enumerate(self._profiled.coordinates) if own is not None]
        if alone:
            theta[[self._places[i] for i in alone]] = held[alone]
            x = self._natural.to_unconstrained(theta)
            wanted[alone] = x[self.own_coordinates]
        return wanted

    def _is_border(self, here: Point) -> bool:
        """Return True if the search stopped because the fixed values no longer move."""
        normals, first = (self._profiled.quantities(u)[1] for u in (here.u, np.zeros(len(here.u))))
        least, before = (np.linalg.svd(n, compute_uv=False).min() for n in (normals, first))
        return bool(least < _SATURATED * before)

    def _falls_to_border(self, x: FloatArray, held: FloatArray, value: float) -> bool:
        """Return True if the fixed values are those of a border with zero likelihood."""
        far = self._optimum + 20 * (x - self._optimum)
        at = self._natural.problem.values(far)[self._places]
        beyond = -self._natural.problem.likelihood.value_and_gradient(far)[0]
        return bool(np.allclose(at, held, rtol=0, atol=1e-8) and not beyond <= value + 1)

    @cached_property
    def _active(self) -> BoolArray:
        return self._natural.problem.likelihood.active

    @cached_property
    def _profiled(self) -> Profiled:
        problem, x = self._natural.problem, self._optimum
        objective = Objective((problem.likelihood,), problem.values, x)
        z = x[self._active]
        affine = AffineObjective.relative(objective, z, self._standard_errors)
        borders = in_subspace(find_borders(objective, z, np.zeros(len(z))), affine)
        return Profiled(affine, self._places, problem.parameters.size, borders)

    @cached_property
    def _standard_errors(self) -> FloatArray:
        """Directions of one standard error, one per column."""
        problem, active = self._natural.problem, self._active
        hessian = -problem.likelihood.hessian(self._optimum)[np.ix_(active, active)]
        values, vectors = np.linalg.eigh(hessian)
        kept = np.maximum(np.abs(values), 1e-8 * max(np.abs(values).max(), 1e-300))
        return np.asarray(vectors / np.sqrt(kept))


def profile_grid(
    natural: ConstrainedLikelihood,
    places: Sequence[int],
    grids: Sequence[FloatArray],
    optimum: FloatArray,
    say: ProgressCallback,
) -> FloatArray:
    """Return the profile log-likelihood on a grid.

    ``places``: indices of the profiled scalars, one per axis. ``grids``: their values.
    ``optimum`` (n,): the MLE on the unconstrained scale; the grid is filled from there outward.
    ``say``: receives progress messages.
    Returns: one axis per grid; NaN where no maximum could be certified.
    """
    profiler = GridProfiler(natural, places, optimum)
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
