"""Refit many data sets at once by Newton steps from the estimate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmlik._typing import FloatArray
from pmlik.logp.compile import compile_mode
from pmlik.logp.replicates import Replicated
from pmlik.optimize.hessian import DENSE_LIMIT, HessianEigen
from pmlik.optimize.multistart import CONTRACTION, TOLERANCE
from pmlik.optimize.newton import Criterion, Refined, never_rises, refine
from pmlik.stats.refit_objective import RefitObjective
from pmlik.stats.refit_status import Refit, RefitStatus

# Curvature below a thousandth of that at the estimate has vanished: the optimum may not be regular.
CRITERION = Criterion(TOLERANCE, CONTRACTION, least=1e-3)

# Scaled to a unit diagonal, a Hessian without eigenvalues below this has few digits to lose.
_WELL_CONDITIONED = 1e-6

# A natural value that changes by more than this, relative to its size, is moving.
_MOVED = 1e-9

# Replicates are refitted in blocks of at most this size. It depends on the model alone, so that
# neither the number of replicates nor of workers changes a digit.
_LARGEST_BLOCK = 250


@dataclass(frozen=True, eq=False)
class NewtonBasis:
    """Directions for Newton steps from an estimate.

    They are coordinates of ``x``, scaled to standard errors, or, where the Hessian is nearly
    singular, its eigenvectors, in standard errors, without those that the objective says nothing
    about. Where the estimate is no regular optimum they are the coordinates as they are.

    ``origin`` (n,): the estimate. ``directions`` (k, n): one direction per row.
    ``hessian`` (k, k): the Hessian of the estimate along them.
    """

    origin: FloatArray
    directions: FloatArray
    hessian: FloatArray

    @classmethod
    def of(cls, target: RefitObjective, hessian: FloatArray) -> NewtonBasis:
        """Return the directions for a Hessian in the objective's coordinates."""
        x = target.x
        active = np.eye(len(x))[target.objective.active]
        if not np.isfinite(hessian).all():
            return cls(x, active, np.eye(len(active)))
        curvature = HessianEigen.of(hessian)
        steps = curvature.unit_errors(len(hessian))
        regular = not curvature.is_indefinite and target.is_regular
        if not regular or not len(steps):
            return cls(x, active, np.eye(len(active)))
        if curvature.eigenvalues.min() > _WELL_CONDITIONED:
            scale = curvature.scale
            return cls(x, scale[:, None] * active, hessian * np.outer(scale, scale))
        return cls(x, np.asarray(steps @ active), np.eye(len(steps)))

    @property
    def size(self) -> int:
        """Number of directions."""
        return len(self.directions)

    def place(self, u: FloatArray) -> FloatArray:
        """Return the points (b, n) at coordinates ``u`` (b, k)."""
        return np.asarray(self.origin + u @ self.directions)


@dataclass(frozen=True, eq=False)
class _Batch:
    """The objectives of some replicates in the coordinates of a basis.

    Its methods take coordinates ``u`` (c, k) and the replicates ``which`` (c,) that they are of.
    """

    replicated: Replicated
    basis: NewtonBasis
    inputs: Sequence[NDArray[Any]]

    def value_and_gradient(
        self, u: FloatArray, which: NDArray[np.intp]
    ) -> tuple[FloatArray, FloatArray]:
        inputs = [one[which] for one in self.inputs]
        value, gradient = self.replicated.value_and_gradient(self.basis.place(u), inputs)
        return value, gradient @ self.basis.directions.T

    def hessian(self, u: FloatArray, which: NDArray[np.intp]) -> FloatArray:
        inputs = [one[which] for one in self.inputs]
        return self.replicated.hessian(self.basis.place(u), inputs, self.basis.directions)


class BatchedNewton:
    """Newton steps for many data sets at once, from the estimate and then from its start.

    ``replicated``: the same objective for a batch of inputs.
    """

    def __init__(self, target: RefitObjective, replicated: Replicated) -> None:
        self._target, self.replicated = target, replicated
        self._original = [shared.get_value() for shared in target.inputs.values()]

    @classmethod
    def of(cls, target: RefitObjective) -> BatchedNewton | None:
        """Return the batched form of an objective; None if it is an integral or too large."""
        problem, likelihood = target.problem, target.likelihood
        if target.objective.size > DENSE_LIMIT or likelihood.is_integral:
            return None
        replicated = Replicated(
            [likelihood, problem.prior] if target.kind == "map" else [likelihood],
            problem.values,
            list(target.inputs.values()),
            problem.model,
            compile_mode(problem.backend),
            target.x,
        )
        return cls(target, replicated)

    @property
    def block(self) -> int:
        """Number of replicates that are best refitted together."""
        return min(_LARGEST_BLOCK, self.replicated.width)

    def agrees(self) -> bool:
        """True if two replicates of the original data have the estimate's own derivatives."""
        target, together = self._target, self.replicated
        x, z, original = target.x, target.z, target.original
        points = np.tile(x, (2, 1))
        inputs = [np.stack([one] * 2) for one in self._original]
        try:
            value, gradient = together.value_and_gradient(points, inputs)
            basis = np.eye(len(x))[target.objective.active]
            hessian, values = together.hessian(points, inputs, basis), together.values(points)
        except Exception:  # noqa: BLE001 - then one replicate at a time
            return False
        pairs: list[tuple[FloatArray, Any]] = [
            *zip((value, gradient @ basis.T), original.value_and_gradient(z), strict=True),
            (hessian, original.hessian(z)),
            (values, target.estimated.values(x)),
        ]
        return all(
            np.shape(found)[1:] == np.shape(alone)
            and np.allclose(
                found, alone, rtol=0, atol=1e-9 * (1 + np.max(np.abs(alone), initial=0))
            )
            for found, alone in pairs
        )

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> list[Refit | None]:
        """Refit a batch of data sets; None for one that needs a search of its own.

        ``inputs`` (sequence of array (b, ...)): the data, or the weights, in the order of the
            objective's inputs.
        """
        todo = np.arange(len(inputs[0]))
        found: list[Refit | None] = [None] * len(todo)
        first: Refined | None = None
        for start in (np.zeros(self._basis.size), self._start):
            batch = _Batch(self.replicated, self._basis, [one[todo] for one in inputs])
            refined = refine(
                batch.value_and_gradient,
                batch.hessian,
                np.tile(start, (len(todo), 1)),
                CRITERION,
                self._basis.hessian,
                near=not start.any(),
            )
            for place, refit in self._certified(batch, refined):
                found[todo[place]] = refit
            first = (first or refined).keep(~refined.certified)
            todo = todo[~refined.certified]
            if not len(todo):
                return found
        assert first is not None
        batch = _Batch(self.replicated, self._basis, [one[todo] for one in inputs])
        falls = never_rises(batch.value_and_gradient, first, np.arange(len(todo)))
        for i, u, trail, yes in zip(todo, first.z, first.trail, falls, strict=True):
            if yes and self._is_unbounded_along(u, trail):
                found[i] = self._target.failed(RefitStatus.INFINITY)
        return found

    def _certified(self, batch: _Batch, refined: Refined) -> Iterator[tuple[int, Refit]]:
        """Yield the certified refits with their places in the batch."""
        certified = np.flatnonzero(refined.certified)
        if not len(certified):
            return
        points = self._basis.place(refined.z[certified])
        values, log_likelihoods = batch.replicated.values(points), -refined.value[certified]
        for row, j in enumerate(certified):
            log_likelihood = float(log_likelihoods[row])
            if self._target.kind == "map":
                self._target.set_inputs([array[j] for array in batch.inputs])
                log_likelihood = self._target.log_likelihood(points[row])
            absent = refined.absent[j]
            status = RefitStatus.PARTIAL if absent.any() else RefitStatus.CERTIFIED
            if absent.any():
                values[row, self._moved_by(absent)] = np.nan
            yield int(j), Refit(values[row], log_likelihood, float(refined.distance[j]), status)

    def _moved_by(self, absent: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask of the natural values that some directions of the basis move."""
        shares = np.where(absent, np.random.default_rng(0).uniform(1, 2, size=len(absent)), 0.0)
        jvp = self._target.problem.values.jvp(self._target.x)
        return np.asarray(jvp(shares @ self._basis.directions) != 0)

    @cached_property
    def _basis(self) -> NewtonBasis:
        target = self._target
        active = np.eye(len(target.x))[target.objective.active]
        inputs = [one[None] for one in self._original]
        hessian = self.replicated.hessian(target.x[None], inputs, active)[0]
        return NewtonBasis.of(target, hessian)

    @cached_property
    def _start(self) -> FloatArray:
        """The start of the search for the estimate, in the coordinates of the basis."""
        offset = self._target.objective.base - self._target.x
        return np.linalg.lstsq(self._basis.directions.T, offset)[0]

    def _is_unbounded_along(self, u: FloatArray, trail: FloatArray) -> bool:
        """True if every parameter that moves along the trail keeps moving without bound."""
        problem = self._target.problem
        k = problem.parameters.size
        points = self._basis.place(np.array([u, u + trail, u + 3 * trail]))
        near, far, farther = (problem.values(x)[:k] for x in points)
        first, then = np.abs(far - near), np.abs(farther - far)
        moves = then > _MOVED * (1 + np.abs(near))
        return bool(moves.any() and (then[moves] >= 1.5 * first[moves]).all())
