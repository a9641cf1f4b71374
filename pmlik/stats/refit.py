"""Estimates of many data sets of one shape, through one compiled problem."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytensor
from numpy.typing import NDArray

from pmlik._typing import FloatArray
from pmlik.errors import StartError
from pmlik.inference.compiled import compile_open_model
from pmlik.inference.point import PointFit
from pmlik.inference.prepare import Prepared
from pmlik.logp.compile import compile_mode
from pmlik.logp.density import LogDensity
from pmlik.logp.replicates import Replicated
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.optimize.hessian import DENSE_LIMIT, HessianEigen
from pmlik.optimize.limits import LimitKind
from pmlik.optimize.multistart import CONTRACTION, TOLERANCE, Start, minimize, search_from_starts
from pmlik.optimize.newton import Criterion, Refined, never_rises, refine
from pmlik.optimize.objective import Kind, Objective, SearchPoint
from pmlik.optimize.result import SearchResult, select_result
from pmlik.stats.refit_status import Refits, RefitStatus

__all__ = ["BUILDING", "Refitter"]


# Replicates are worked on in blocks of at most so many; the size depends on nothing but the
# model, so that neither the number of replicates nor of workers changes a digit.
_BLOCK, _LOOP = 250, 25
_MOST_REMEMBERED = 10_000
_MOVED = 1e-9

#: Held while anything may be compiled: PyTensor's rewrites and PyMC's contexts are not
#: thread-safe.
BUILDING = threading.RLock()

# Scaled to a unit diagonal, a Hessian without eigenvalues below this has few digits to lose.
_WELL_CONDITIONED = 1e-6

# Curvature below a thousandth of that at the estimate has faded: the optimum may not be regular.
_CRITERION = Criterion(TOLERANCE, CONTRACTION, least=1e-3)


@dataclass(eq=False)
class _One:
    values: FloatArray
    log_likelihood: float
    distance: float
    outcome: RefitStatus


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
    regular : bool
        Whether the estimate is an optimum inside, and not a limit.
    together : bool, optional
        Whether many replicates can be worked on at once. Default: it is tried.
    """

    def __init__(
        self,
        prepared: Prepared,
        kind: Kind,
        x: FloatArray,
        weights: Mapping[str, tuple[int, ...]] | None = None,
        *,
        regular: bool = True,
        together: bool | None = None,
    ) -> None:
        opened = compile_open_model(
            prepared.model,
            prepared.roles,
            potentials=prepared.potentials,
            backend=prepared.problem.backend,
            quadrature=prepared.arguments.quadrature,
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
        self._is_regular = regular
        self._problem, self._likelihood = problem, likelihood
        self._objective = Objective((likelihood, *prior), problem.values, prepared.start)
        if isinstance(likelihood, MarginalLogLikelihood):
            likelihood.settle(x)
            # Found here and now, as last digits depend on what an integral has seen before.
            self.__dict__["_curvature"] = self._objective.hessian(x[self._objective.active])
            likelihood.forget()
        self._original = [shared.get_value() for shared in self._inputs.values()]
        self._known: dict[bytes, _One] = {}
        self._replicated = None if together is False else self._replicate()
        if together is None and self._replicated and not self._agrees(self._replicated):
            self._replicated = None

    @property
    def n_values(self) -> int:
        """How many natural values there are."""
        return self._problem.parameters.size + self._problem.derived.size

    @property
    def together(self) -> bool:
        """Whether many replicates are worked on at once."""
        return self._replicated is not None

    @property
    def block(self) -> int:
        """How many replicates are best worked on together."""
        together = self._replicated
        return _LOOP if together is None else min(_BLOCK, together.width)

    def _replicate(self) -> Replicated | None:
        objective, problem = self._objective, self._problem
        densities = [d for d in objective.densities if isinstance(d, LogDensity)]
        if objective.size > DENSE_LIMIT or len(densities) < len(objective.densities):
            return None
        return Replicated(
            densities,
            problem.values,
            list(self._inputs.values()),
            problem.model,
            compile_mode(problem.backend),
            self._x,
        )

    def _agrees(self, together: Replicated) -> bool:
        """Whether two replicates of the data as they are have the estimate's own derivatives."""
        z = self._x[self._objective.active]
        original = self._prepared.problem.objective(self._kind, self._prepared.start)
        points = np.tile(self._x, (2, 1))
        inputs = [np.stack([one.get_value()] * 2) for one in self._inputs.values()]
        try:
            value, gradient = together.value_and_gradient(points, inputs)
            basis = np.eye(len(self._x))[self._objective.active]
            hessian, values = together.hessian(points, inputs, basis), together.values(points)
        except Exception:  # noqa: BLE001 - then one replicate at a time
            return False
        pairs: list[tuple[FloatArray, Any]] = [
            *zip((value, gradient @ basis.T), original.value_and_gradient(z), strict=True),
            (hessian, original.hessian(z)),
            (values, self._prepared.problem.values(self._x)),
        ]
        return all(
            np.shape(found)[1:] == np.shape(alone)
            and np.allclose(
                found, alone, rtol=0, atol=1e-9 * (1 + np.max(np.abs(alone), initial=0))
            )
            for found, alone in pairs
        )

    def __call__(self, data: Mapping[str, NDArray[Any]], most: int | None = None) -> Refits:
        """RefitStatus a batch.

        Parameters
        ----------
        data : mapping of str to array (b, ...)
            By observed variable its new values, or by term its weights.
        most : int, optional
            How many are wanted, from the first. The others only fill the batch, on whose size
            the last digits may depend.
        """
        inputs = [
            np.asarray(data[name]).astype(shared.type.dtype)
            for name, shared in self._inputs.items()
        ]
        b = len(inputs[0])
        found: list[_One | None] = [None] * b
        if self._replicated is not None:
            found = self._together(self._replicated, inputs)
        found = found[:most]
        for i, one in enumerate(found):
            if one is None:
                found[i] = self._alone([array[i] for array in inputs])
        ends = [one for one in found if one is not None]
        return Refits(
            np.array([one.values for one in ends]).reshape(len(ends), self.n_values),
            np.array([one.log_likelihood for one in ends]),
            np.array([one.distance for one in ends]),
            [one.outcome for one in ends],
        )

    def _set(self, inputs: Sequence[NDArray[Any]]) -> None:
        for shared, one in zip(self._inputs.values(), inputs, strict=True):
            shared.set_value(one)
        if isinstance(self._likelihood, MarginalLogLikelihood):
            self._likelihood.forget()  # modes belong to their data

    def _failed(self, end: RefitStatus) -> _One:
        return _One(np.full(self.n_values, np.nan), np.nan, np.nan, end)

    def _together(self, together: Replicated, inputs: Sequence[NDArray[Any]]) -> list[_One | None]:
        """Newton steps for all at once, from the estimate, and from the start if that fails.

        None for a replicate that needs a search of its own.
        """
        todo = np.arange(len(inputs[0]))
        found: list[_One | None] = [None] * len(todo)
        first: Refined | None = None

        def select(which: NDArray[np.intp]) -> list[NDArray[Any]]:
            return [one[todo[which]] for one in inputs]

        def slope(u: FloatArray, which: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
            value, gradient = together.value_and_gradient(self._place(u), select(which))
            return value, gradient @ self._basis.T

        def bend(u: FloatArray, which: NDArray[np.intp]) -> FloatArray:
            return together.hessian(self._place(u), select(which), self._basis)

        for start in (np.zeros(len(self._basis)), self._away):
            begin, near = np.tile(start, (len(todo), 1)), not start.any()
            refined = refine(slope, bend, begin, _CRITERION, self._frame[1], near=near)
            self._read(together, inputs, todo, refined, found)
            first = (first or refined).keep(~refined.certified)
            todo = todo[~refined.certified]
            if not len(todo):
                return found
        assert first is not None
        falls = never_rises(slope, first, np.arange(len(todo)))
        for i, u, trail, yes in zip(todo, first.z, first.trail, falls, strict=True):
            if yes and self._runs_off(u, trail):
                found[i] = self._failed(RefitStatus.INFINITY)
        return found

    def _read(
        self,
        together: Replicated,
        inputs: Sequence[NDArray[Any]],
        todo: NDArray[np.intp],
        refined: Refined,
        found: list[_One | None],
    ) -> None:
        """The natural values and log-likelihoods of the certified replicates."""
        certified = np.flatnonzero(refined.certified)
        if not len(certified):
            return
        points = self._place(refined.z[certified])
        values, log_likelihoods = together.values(points), -refined.value[certified]
        for row, j in enumerate(certified):
            log_likelihood = float(log_likelihoods[row])
            if self._kind == "map":
                self._set([array[todo[j]] for array in inputs])
                log_likelihood = self._likelihood.value_and_gradient(points[row])[0]
            distance, absent = float(refined.distance[j]), refined.absent[j]
            end = RefitStatus.PARTIAL if absent.any() else RefitStatus.CERTIFIED
            if absent.any():
                values[row, self._moved_by(absent)] = np.nan
            found[todo[j]] = _One(values[row], log_likelihood, distance, end)

    def _moved_by(self, absent: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which natural values are moved by some of the coordinates of the basis."""
        shares = np.where(absent, np.random.default_rng(0).uniform(1, 2, size=len(absent)), 0.0)
        return np.asarray(self._problem.values.jvp(self._x)(shares @ self._basis) != 0)

    @cached_property
    def _frame(self) -> tuple[FloatArray, FloatArray]:
        """Directions (k, n), one a row, and the Hessian (k, k) of the estimate along them.

        Those that the objective says nothing about are left out. They are coordinates of ``x``,
        or, where the Hessian is nearly singular, its eigenvectors, in standard errors; the
        coordinates as they are where the estimate is no regular optimum.
        """
        active = np.eye(len(self._x))[self._objective.active]
        if self._replicated is None:
            hessian = self._curvature
        else:
            inputs = [one[None] for one in self._original]
            hessian = self._replicated.hessian(self._x[None], inputs, active)[0]
        if not np.isfinite(hessian).all():
            return active, np.eye(len(active))
        curvature = HessianEigen.of(hessian)
        steps = curvature.unit_errors(len(hessian))
        regular = not curvature.is_indefinite and self._is_regular
        if not regular or not len(steps):
            return active, np.eye(len(active))
        if curvature.eigenvalues.min() > _WELL_CONDITIONED:
            scale = curvature.scale
            return scale[:, None] * active, hessian * np.outer(scale, scale)
        return np.asarray(steps @ active), np.eye(len(steps))

    @property
    def _basis(self) -> FloatArray:
        return self._frame[0]

    @cached_property
    def _away(self) -> FloatArray:
        """Return the start of the search, in the coordinates of the basis."""
        return np.linalg.lstsq(self._basis.T, self._objective.base - self._x)[0]

    def _place(self, u: FloatArray) -> FloatArray:
        """The points (b, n) at coordinates ``u`` (b, k) of the basis."""
        return np.asarray(self._x + u @ self._basis)

    def _runs_off(self, u: FloatArray, trail: FloatArray) -> bool:
        """Whether every parameter that moves along the trail goes on moving without end."""
        k = self._problem.parameters.size
        points = self._place(np.array([u, u + trail, u + 3 * trail]))
        near, far, farther = (self._problem.values(x)[:k] for x in points)
        first, then = np.abs(far - near), np.abs(farther - far)
        moves = then > _MOVED * (1 + np.abs(near))
        return bool(moves.any() and (then[moves] >= 1.5 * first[moves]).all())

    def _alone(self, inputs: Sequence[NDArray[Any]]) -> _One:
        """Search as for an estimate, for a data set whose optimum is not regular or not near.

        Small data sets recur, so what was found is remembered.
        """
        key = b"".join(one.tobytes() for one in inputs)
        if key not in self._known:
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            self._set(inputs)
            with BUILDING:
                self._known[key] = self._search()
        return self._known[key]

    @np.errstate(all="ignore")
    def _search(self) -> _One:
        objective, base = self._objective, self._objective.base
        quick = self._refine() if self._objective.is_integral else None
        climbed = None if quick is not None else self._climb()
        if climbed is not None and climbed.converged and self._is_like(climbed):
            quick = self._certified(objective.expand(climbed.z), climbed.distance)
        if quick is not None:
            return quick
        try:
            reached = self._reach(climbed)
        except StartError:
            return self._failed(RefitStatus.UNDEFINED)
        start = base[objective.active]
        if not np.isfinite(objective.value_and_gradient(start)[0]):
            start = self._x[objective.active]
        n, probe = self._problem.n_observations, not self._objective.is_integral
        outcome = select_result(objective, reached, start, n, probe=probe)
        end = _end(outcome)
        if not end.is_usable:
            return self._failed(end)
        fit = PointFit(self._refit, self._kind, objective, outcome)
        log_likelihood = self._likelihood.value_and_gradient(fit.x)[0]
        unknown, values = fit.undetermined, fit.naturals
        if unknown.any() and end is RefitStatus.CERTIFIED:
            end = RefitStatus.PARTIAL
        values = np.where(unknown, np.nan, values)
        return _One(values, log_likelihood, outcome.optimum.distance, end)

    def _reach(self, climbed: SearchPoint | None) -> list[SearchPoint]:
        """Where climbs from the estimate and, where nothing is certified, the start end."""
        base = self._objective.base
        starts = [Start("estimate", lambda: self._x), Start("initial point", lambda: base)]
        if climbed is None or not self._objective.is_integral:
            return search_from_starts(self._objective, starts, 1)
        if climbed.converged and not climbed.is_flat:
            return [climbed]
        return [climbed, *search_from_starts(self._objective, starts[1:], 1)]

    def _refine(self) -> _One | None:
        """The optimum near the estimate, by Newton steps that share second derivatives.

        An integral's are differences of its gradient, many evaluations each.
        """
        objective, active = self._objective, self._objective.active
        basis = self._basis[:, active]

        def slope(u: FloatArray, _: Any) -> tuple[FloatArray, FloatArray]:
            value, gradient = objective.value_and_gradient(self._place(u)[0][active])
            return np.array([value]), (basis @ gradient)[None]

        def bend(u: FloatArray, _: Any) -> FloatArray:
            return np.asarray(basis @ objective.hessian(self._place(u)[0][active]) @ basis.T)[None]

        if not len(basis):
            return None
        costly, start = replace(_CRITERION, costly=self._is_regular), np.zeros((1, len(basis)))
        refined = refine(slope, bend, start, costly, self._frame[1], near=self._is_regular)
        if not refined.certified[0] or refined.absent.any():
            return None
        return self._certified(self._place(refined.z)[0], float(refined.distance[0]))

    def _certified(self, x: FloatArray, distance: float) -> _One:
        log_likelihood = self._likelihood.value_and_gradient(x)[0]
        return _One(self._problem.values(x), log_likelihood, distance, RefitStatus.CERTIFIED)

    def _climb(self) -> SearchPoint | None:
        """Minimize from the estimate and return the end."""
        z = self._x[self._objective.active]
        if not np.isfinite(self._objective.value_and_gradient(z)[0]):
            return None
        return minimize(self._objective, z, "estimate")

    def _is_like(self, optimum: SearchPoint) -> bool:
        """Whether no curvature of the estimate has faded."""
        if not self._is_regular or not isinstance(optimum.curvature, HessianEigen):
            return self._is_regular
        hessian = self._objective.hessian(optimum.z)
        least = _CRITERION.least * self._curvature
        scale = np.outer(optimum.curvature.scale, optimum.curvature.scale)
        values = np.linalg.eigvalsh(scale * (hessian - least))
        return bool(values.min(initial=0.0) >= -optimum.curvature.tolerance)

    @cached_property
    def _curvature(self) -> FloatArray:
        """The Hessian of the estimate itself."""
        z = self._x[self._objective.active]
        original = self._prepared.problem.objective(self._kind, self._prepared.start)
        return original.hessian(z)

    @cached_property
    def _refit(self) -> Prepared:
        return replace(self._prepared, problem=self._problem)


def _end(outcome: SearchResult) -> RefitStatus:
    """How a search ended."""
    limit, optimum = outcome.limit, outcome.optimum
    if limit is not None and any(end.ending is LimitKind.INFINITY for end in limit.ends):
        return RefitStatus.INFINITY
    if not optimum.usable:
        return RefitStatus.UNBOUNDED if outcome.unbounded else RefitStatus.NOT_CONVERGED
    return RefitStatus.CERTIFIED if limit is None else RefitStatus.BOUNDARY
