"""Refit one data set by a search of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmlik._typing import FloatArray
from pmlik.errors import StartError
from pmlik.inference.point_state import PointFit
from pmlik.optimize.hessian import HessianEigen
from pmlik.optimize.limits import LimitKind
from pmlik.optimize.multistart import Start, minimize, search_from_starts
from pmlik.optimize.newton import refine
from pmlik.optimize.objective import SearchPoint
from pmlik.optimize.result import SearchResult, select_result
from pmlik.stats.refit_newton import CRITERION, NewtonBasis
from pmlik.stats.refit_objective import BUILDING, RefitObjective
from pmlik.stats.refit_status import Refit, RefitStatus

_MOST_REMEMBERED = 10_000


class SingleRefitter:
    """A search for data whose optimum is not regular or not near, or whose objective is costly."""

    def __init__(self, target: RefitObjective) -> None:
        self._target = target
        self._known: dict[bytes, Refit] = {}

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> Refit:
        """Refit one data set. Small data sets recur, so results are remembered."""
        key = b"".join(one.tobytes() for one in inputs)
        if key not in self._known:
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            self._target.set_inputs(inputs)
            with BUILDING:
                self._known[key] = self._search()
        return self._known[key]

    @np.errstate(all="ignore")
    def _search(self) -> Refit:
        target, objective = self._target, self._target.objective
        near = self._newton() if objective.is_integral else None
        descended = None if near is not None else self._descend()
        if descended is not None and descended.converged and self._keeps_curvature(descended):
            near = target.certified(objective.expand(descended.z), descended.distance)
        if near is not None:
            return near
        try:
            points = self._search_from_starts(descended)
        except StartError:
            return target.failed(RefitStatus.UNDEFINED)
        start = objective.base[objective.active]
        if not np.isfinite(objective.value_and_gradient(start)[0]):
            start = target.z
        n, probe = target.problem.n_observations, not objective.is_integral
        return self._record(select_result(objective, points, start, n, probe=probe))

    def _record(self, result: SearchResult) -> Refit:
        target, status = self._target, _status_of(result)
        if not status.is_usable:
            return target.failed(status)
        fit = PointFit(target.prepared, target.kind, target.objective, result)
        log_likelihood = target.log_likelihood(fit.x)
        unknown, values = fit.undetermined, fit.constrained
        if unknown.any() and status is RefitStatus.CERTIFIED:
            status = RefitStatus.PARTIAL
        values = np.where(unknown, np.nan, values)
        return Refit(values, log_likelihood, result.optimum.distance, status)

    def _search_from_starts(self, descended: SearchPoint | None) -> list[SearchPoint]:
        """Return the ends of descents from the estimate and, if none is certified, the start."""
        objective = self._target.objective
        starts = [
            Start("estimate", lambda: self._target.x),
            Start("initial point", lambda: objective.base),
        ]
        if descended is None or not objective.is_integral:
            return search_from_starts(objective, starts, 1)
        if descended.converged and not descended.is_flat:
            return [descended]
        return [descended, *search_from_starts(objective, starts[1:], 1)]

    def _newton(self) -> Refit | None:
        """Return the optimum near the estimate, by Newton steps that share second derivatives.

        Those of an integral are differences of its gradient, many evaluations each.
        """
        objective, active = self._target.objective, self._target.objective.active
        frame, regular = self._basis, self._target.is_regular
        basis = frame.directions[:, active]

        def value_and_gradient(u: FloatArray, _: Any) -> tuple[FloatArray, FloatArray]:
            value, gradient = objective.value_and_gradient(frame.place(u)[0][active])
            return np.array([value]), (basis @ gradient)[None]

        def hessian(u: FloatArray, _: Any) -> FloatArray:
            return np.asarray(basis @ objective.hessian(frame.place(u)[0][active]) @ basis.T)[None]

        if not len(basis):
            return None
        costly, start = replace(CRITERION, costly=regular), np.zeros((1, len(basis)))
        refined = refine(value_and_gradient, hessian, start, costly, frame.hessian, near=regular)
        if not refined.certified[0] or refined.absent.any():
            return None
        return self._target.certified(frame.place(refined.z)[0], float(refined.distance[0]))

    def _descend(self) -> SearchPoint | None:
        """Return the end of a descent from the estimate, if that has a likelihood."""
        objective, z = self._target.objective, self._target.z
        if not np.isfinite(objective.value_and_gradient(z)[0]):
            return None
        return minimize(objective, z, "estimate")

    def _keeps_curvature(self, optimum: SearchPoint) -> bool:
        """True if no curvature of the estimate has vanished."""
        if not self._target.is_regular or not isinstance(optimum.curvature, HessianEigen):
            return self._target.is_regular
        hessian = self._target.objective.hessian(optimum.z)
        least = CRITERION.least * self._target.hessian
        scale = np.outer(optimum.curvature.scale, optimum.curvature.scale)
        values = np.linalg.eigvalsh(scale * (hessian - least))
        return bool(values.min(initial=0.0) >= -optimum.curvature.tolerance)

    @cached_property
    def _basis(self) -> NewtonBasis:
        return NewtonBasis.of(self._target, self._target.hessian)


def _status_of(result: SearchResult) -> RefitStatus:
    """Return how a search ended."""
    limit, optimum = result.limit, result.optimum
    if limit is not None and any(end.kind is LimitKind.INFINITY for end in limit.directions):
        return RefitStatus.INFINITY
    if not optimum.usable:
        return RefitStatus.UNBOUNDED if result.unbounded else RefitStatus.NOT_CONVERGED
    return RefitStatus.CERTIFIED if limit is None else RefitStatus.BOUNDARY
