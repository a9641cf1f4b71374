"""Estimates of many data sets of one shape, through one compiled problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pytensor
from numpy.typing import NDArray

from pmlik.compilation import compile_mode
from pmlik.curvature import DENSE_LIMIT
from pmlik.errors import StartError
from pmlik.estimator import Fit
from pmlik.limits import Ending
from pmlik.newton import never_rises, refine
from pmlik.objective import Kind, Objective
from pmlik.optimizer import CONTRACTION, TOLERANCE, Start, search
from pmlik.outcome import Outcome, decide
from pmlik.preparation import Prepared
from pmlik.problem import open_problem
from pmlik.replicates import Replicated
from pmlik.space import FloatArray

__all__ = ["Refit", "Refits", "Refitter"]

# Replicates are worked on in blocks of at most so many; the size depends on nothing but the
# model, so that neither the number of replicates nor of workers changes a digit.
_BLOCK = 125
_MOST_REMEMBERED = 10_000


class Refit(StrEnum):
    """How a refit ended."""

    CERTIFIED = "certified"
    BOUNDARY = "at the boundary"
    INFINITY = "no finite maximum (estimate at infinity)"
    UNBOUNDED = "unbounded likelihood"
    NOT_CONVERGED = "no optimum could be certified"
    UNDEFINED = "the likelihood of the new data is zero or undefined at every start"

    @property
    def is_usable(self) -> bool:
        """Whether there is an estimate."""
        return self in (Refit.CERTIFIED, Refit.BOUNDARY)


class Refits(NamedTuple):
    """``b`` refits: natural ``values`` (b, m) and ``log_likelihood`` (b,), NaN where there is no
    estimate, the estimated ``distance`` (b,) to the optimum in standard errors, and ``outcome``
    (b,).
    """

    values: FloatArray
    log_likelihood: FloatArray
    distance: FloatArray
    outcome: list[Refit]


@dataclass(eq=False)
class _One:
    values: FloatArray
    log_likelihood: float
    distance: float
    outcome: Refit


class Refitter:
    """Maximises the same objective for other data or other weights, building nothing again.

    Parameters
    ----------
    prepared : Prepared
        The model; its own problem is not touched.
    kind : {"mle", "map"}
    x : array (n,)
        The estimate, where every refit starts.
    weights : mapping of str to tuple of int, optional
        The shapes of the terms of the log-likelihood, where what changes are weights of its
        entries; else the data change.
    """

    def __init__(
        self,
        prepared: Prepared,
        kind: Kind,
        x: FloatArray,
        weights: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        opened = open_problem(
            prepared.model,
            prepared.roles,
            potentials=prepared.potentials,
            backend=prepared.problem.backend,
        )
        problem, self._inputs = opened.problem, dict(opened.data)
        likelihood = problem.likelihood
        if weights is not None:
            self._inputs = {
                name: pytensor.shared(np.ones(shape), shape=shape, name=f"weights of {name}")
                for name, shape in weights.items()
            }
            likelihood = likelihood.weighted(self._inputs)
        prior = (problem.prior,) if kind == "map" else ()
        self._prepared, self._kind, self._x = prepared, kind, x
        self._problem, self._likelihood = problem, likelihood
        self._objective = Objective((likelihood, *prior), problem.values, prepared.start)
        self._known: dict[bytes, _One] = {}

    @property
    def n_values(self) -> int:
        """How many natural values there are."""
        return self._problem.parameters.size + self._problem.derived.size

    def build(self) -> None:
        """Compile what the usual refit needs."""
        _ = self._replicated
        self._read(self._x, 0.0, Refit.CERTIFIED)

    @property
    def block(self) -> int:
        """How many replicates are best worked on together."""
        together = self._replicated
        return _BLOCK if together is None else min(_BLOCK, together.width)

    @cached_property
    def _replicated(self) -> Replicated | None:
        """The objective of many replicates at once, None where PyTensor can't vectorise it."""
        objective, problem = self._objective, self._problem
        if objective.size > DENSE_LIMIT:
            return None
        together = Replicated(
            objective.densities,
            list(self._inputs.values()),
            objective.active,
            problem.model,
            compile_mode(problem.backend),
        )
        here = [one.get_value() for one in self._inputs.values()]
        z = self._x[objective.active]
        try:
            points, inputs = np.tile(self._x, (2, 1)), [np.stack([one, one]) for one in here]
            found = (*together.value_and_gradient(points, inputs), together.hessian(points, inputs))
        except Exception:  # noqa: BLE001 - then one replicate at a time
            return None
        value, gradient = objective.value_and_gradient(z)
        for part, alone in zip(found, (value, gradient, objective.hessian(z)), strict=True):
            size = 1 + np.max(np.abs(alone), initial=0.0)
            if not all(np.allclose(one, alone, rtol=0, atol=1e-9 * size) for one in part):
                return None
        return together

    def __call__(self, data: Mapping[str, NDArray[Any]]) -> Refits:
        """Refit a batch.

        Parameters
        ----------
        data : mapping of str to array (b, ...)
            By observed variable its new values, or by term its weights.
        """
        inputs = [
            np.asarray(data[name]).astype(shared.type.dtype)
            for name, shared in self._inputs.items()
        ]
        b = len(inputs[0])
        x, distance = np.tile(self._x, (b, 1)), np.full(b, np.nan)
        ends: list[Refit | None] = [None] * b
        if self._replicated is not None:
            self._together(inputs, x, distance, ends)
        found = []
        for i in range(b):
            self._set([one[i] for one in inputs])
            end = ends[i]
            if end is None:
                found.append(self._alone([one[i] for one in inputs]))
            elif not end.is_usable:
                found.append(self._failed(end))
            else:
                found.append(self._read(x[i], float(distance[i]), end))
        return Refits(
            np.array([one.values for one in found]).reshape(b, self.n_values),
            np.array([one.log_likelihood for one in found]),
            np.array([one.distance for one in found]),
            [one.outcome for one in found],
        )

    def _set(self, inputs: Sequence[NDArray[Any]]) -> None:
        for shared, one in zip(self._inputs.values(), inputs, strict=True):
            shared.set_value(one)

    def _read(self, x: FloatArray, distance: float, end: Refit) -> _One:
        """The natural values and the log-likelihood of the data set now."""
        log_likelihood = self._likelihood.value_and_gradient(x)[0]
        return _One(self._problem.values(x), log_likelihood, distance, end)

    def _failed(self, end: Refit) -> _One:
        return _One(np.full(self.n_values, np.nan), np.nan, np.nan, end)

    def _together(
        self,
        inputs: Sequence[NDArray[Any]],
        x: FloatArray,
        distance: FloatArray,
        ends: list[Refit | None],
    ) -> None:
        """Newton steps for all at once, from the estimate, and from the start if that fails."""
        active, together = self._objective.active, self._replicated
        assert together is not None
        todo = np.arange(len(x))
        reached: list[FloatArray] = []

        def select(which: NDArray[np.intp]) -> list[NDArray[Any]]:
            return [one[todo[which]] for one in inputs]

        def slope(z: FloatArray, which: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
            return together.value_and_gradient(self._expand(z), select(which))

        def bend(z: FloatArray, which: NDArray[np.intp]) -> FloatArray:
            return together.hessian(self._expand(z), select(which))

        for start in (self._x, self._objective.base):
            begin = np.tile(start[active], (len(todo), 1))
            found = refine(slope, bend, begin, tolerance=TOLERANCE, contraction=CONTRACTION)
            done = todo[found.certified]
            x[np.ix_(done, active)] = found.z[found.certified]
            distance[done] = found.distance[found.certified]
            for i in done:
                ends[i] = Refit.CERTIFIED
            reached = [z[~found.certified] for z in (*reached, found.z)]
            todo = todo[~found.certified]
            if not len(todo):
                return
        begin = np.tile(self._x[active], (len(todo), 1))
        falls = never_rises(slope, begin, reached[0])
        for i, z, yes in zip(todo, reached[0], falls, strict=True):
            if yes and self._runs_off(z):
                ends[i] = Refit.INFINITY

    def _expand(self, z: FloatArray) -> FloatArray:
        x = np.tile(self._objective.base, (len(z), 1))
        x[:, self._objective.active] = z
        return x

    def _runs_off(self, z: FloatArray) -> bool:
        """Whether every parameter that moves on the way to ``z`` goes on moving without end."""
        k, base = self._problem.parameters.size, self._x
        line = self._objective.expand(z) - base
        near, far, farther = (self._problem.values(base + c * line)[:k] for c in (1, 2, 4))
        first, then = np.abs(far - near), np.abs(farther - far)
        moves = (first > 0) | (then > 0)
        return bool(moves.any() and (then[moves] >= 1.5 * first[moves]).all())

    def _alone(self, inputs: Sequence[NDArray[Any]]) -> _One:
        """A whole search, for a data set whose optimum is not regular or not near.

        Small data sets recur, so what was found is remembered.
        """
        key = b"".join(one.tobytes() for one in inputs)
        if key not in self._known:
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = self._search()
        return self._known[key]

    @np.errstate(all="ignore")
    def _search(self) -> _One:
        objective, base = self._objective, self._objective.base
        starts = [Start("estimate", lambda: self._x), Start("initial point", lambda: base)]
        try:
            reached = search(objective, starts, 1)
        except StartError:
            return self._failed(Refit.UNDEFINED)
        start = base[objective.active]
        if not np.isfinite(objective.value_and_gradient(start)[0]):
            start = self._x[objective.active]
        outcome = decide(objective, reached, start, self._problem.n_observations)
        end = _end(outcome)
        if not end.is_usable:
            return self._failed(end)
        fit = Fit(self._refit, self._kind, objective, outcome)
        log_likelihood = self._likelihood.value_and_gradient(fit.x)[0]
        return _One(fit.naturals, log_likelihood, outcome.optimum.distance, end)

    @cached_property
    def _refit(self) -> Prepared:
        return replace(self._prepared, problem=self._problem)


def _end(outcome: Outcome) -> Refit:
    """How a search ended."""
    limit, optimum = outcome.limit, outcome.optimum
    if limit is not None and any(end.ending is Ending.INFINITY for end in limit.ends):
        return Refit.INFINITY
    if not optimum.usable:
        return Refit.UNBOUNDED if outcome.unbounded else Refit.NOT_CONVERGED
    return Refit.CERTIFIED if limit is None else Refit.BOUNDARY
