"""The point where a search ended, and what kind of point it is for each scalar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pmlik._typing import BoolArray, FloatArray
from pmlik.inference.compiled import CompiledModel
from pmlik.inference.prepare import Prepared
from pmlik.optimize.hessian import HessianEigen, HessianOperator, Variances, variances_by_solves
from pmlik.optimize.limits import LimitDirection, LimitKind
from pmlik.optimize.objective import Kind, Objective, ObjectiveLike, SearchPoint
from pmlik.optimize.result import SearchResult
from pmlik.results.point import Status

# Steps, in standard errors at the start, after which a scalar with a limit has reached it.
_FAR = 1e8


@dataclass(frozen=True, eq=False)
class PointFit:
    """The end of a search, as masks and values of the constrained scalars, parameters first."""

    prepared: Prepared
    kind: Kind
    objective: Objective
    outcome: SearchResult

    @property
    def problem(self) -> CompiledModel:
        """The compiled model."""
        return self.prepared.problem

    @property
    def part(self) -> ObjectiveLike:
        """The function that the optimum belongs to: the objective, or what a limit leaves of it."""
        return self.outcome.objective

    @property
    def optimum(self) -> SearchPoint:
        """The chosen end of the search."""
        return self.outcome.optimum

    @cached_property
    def x(self) -> FloatArray:
        """The optimum as a full vector (n,)."""
        return self.part.expand(self.optimum.z)

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per scalar (m,)."""
        return self.problem.parameters.labels + self.problem.derived.labels

    @cached_property
    def is_parameter(self) -> BoolArray:
        """True for scalars of parameters, False for derived ones (m,)."""
        return np.arange(len(self.labels)) < self.problem.parameters.size

    @property
    def n_flat(self) -> int:
        """Number of directions that the objective does not depend on."""
        curvature = self.optimum.curvature
        if isinstance(curvature, HessianEigen):
            return curvature.signs.zero
        return 0 if curvature is None else int(curvature.empty.sum())

    def tangent_inside(self, direction: FloatArray) -> FloatArray:
        """Return the change (m,) along a direction of the objective, well inside the support."""
        tangent = self.problem.values.jvp(self.objective.base)
        return np.asarray(tangent(self.objective.lift(direction)))

    def moved_by(self, direction: FloatArray) -> BoolArray:
        """Return the mask of scalars that a direction of the objective moves."""
        return np.asarray(self.tangent_inside(direction) != 0)

    @cached_property
    def unused(self) -> BoolArray:
        """True for scalars moved by coordinates that the objective does not depend on.

        A coordinate is absent when the graph says so, or when its gradient and its whole row of
        the Hessian are exactly zero (a group without data).
        """
        optimum, active = self.optimum, self.objective.active
        absent = ~active
        if optimum.usable and optimum.curvature is not None and not self.outcome.limit:
            empty = optimum.curvature.empty & (optimum.gradient == 0)
            absent[np.flatnonzero(active)[empty]] = True
        if not absent.any():
            return np.zeros(len(self.labels), bool)
        # One random direction moves whatever any of them moves.
        direction = np.where(absent, np.random.default_rng(0).uniform(1, 2, size=len(self.x)), 0.0)
        return np.asarray(self.problem.values.jvp(self.x)(direction) != 0)

    @cached_property
    def unbounded(self) -> BoolArray:
        """True for parameters along which the objective has no bound."""
        units = np.eye(self.objective.size)
        return self._any(self.moved_by(units[i]) for i in self.outcome.unbounded) & (
            self.is_parameter
        )

    @cached_property
    def undetermined(self) -> BoolArray:
        """True for scalars moved by a direction along which the objective is flat."""
        return self.unused | (self.variances().unidentified if self.n_flat else False)

    @property
    def _ends(self) -> Sequence[LimitDirection]:
        return self.outcome.limit.directions if self.outcome.limit else ()

    def _any(self, masks: Iterable[BoolArray]) -> BoolArray:
        return np.any([np.zeros(len(self.labels), bool), *masks], axis=0)

    @cached_property
    def held(self) -> BoolArray:
        """True for scalars that the limit holds at its place."""
        return self._any(self.moved_by(end.direction) & self._stays(end) for end in self._ends)

    def _stays(self, end: LimitDirection) -> BoolArray:
        """Return the mask of scalars that no free coordinate moves at the limit any more.

        Only where several coordinates end together; one alone holds all that it moves.
        """
        if end.coordinate is not None or end.kind is not LimitKind.BOUNDARY:
            return np.ones(len(self.labels), bool)
        free = np.random.default_rng(0).uniform(1, 2, size=len(self.optimum.z))
        return np.asarray(self.problem.values.jvp(self.x)(self.part.lift(free)) == 0)

    @cached_property
    def _beyond(self) -> tuple[FloatArray, FloatArray]:
        """The scalars far out along the directions to infinity, and twice as far."""
        away = np.sum(
            [self.objective.lift(e.direction) for e in self._ends if _is_infinite(e)], axis=0
        )
        values, limit = self.problem.values, self.outcome.limit
        x = self.x if limit is None else limit.border
        return values(x + _FAR * away), values(x + 2 * _FAR * away)

    @cached_property
    def settled(self) -> BoolArray:
        """True for scalars that converge while others go to infinity: a probability to one."""
        near, far = self._beyond
        return np.asarray(np.isfinite(near) & (np.abs(far - near) <= 1e-12 * (1 + np.abs(near))))

    @cached_property
    def infinite(self) -> BoolArray:
        """True for scalars without a finite limit, and parameters that the limit leaves open."""
        moved = self._any(self.moved_by(e.direction) for e in self._ends if _is_infinite(e))
        return moved & (self.is_parameter | ~self.settled)

    @cached_property
    def constrained(self) -> FloatArray:
        """The scalars (m,), those of a limit exactly at the boundary."""
        limit = self.outcome.limit
        values = self.problem.values(self.x if limit is None else limit.border)
        if limit is not None and self.infinite.any():
            values = np.where(self.settled & self.held, self._beyond[0], values)
        return np.where(self.infinite, np.nan, values)

    def variances(self, asked: Sequence[int] = ()) -> Variances:
        """Return the variances of the scalars; in a large model, of those asked for.

        ``asked``: places among the scalars.
        """
        values, curvature, m = self.problem.values, self.optimum.curvature, len(self.labels)
        if self.optimum.usable and isinstance(curvature, HessianEigen):
            tangent = values.jvp(self.x)
            found = curvature.variances(
                lambda v: tangent(self.part.lift(v)), n_root=self.problem.parameters.size
            )
            known = values.smooth(self.x) & ~self.held
            return found._replace(variance=np.where(known, found.variance, np.nan))
        if self.optimum.usable and isinstance(curvature, HessianOperator) and asked:
            smooth = values.smooth(self.x)

            def row(i: int) -> FloatArray:
                unit = np.zeros(m)
                unit[i] = 1.0
                return values.vjp(self.x, unit)[self.part.active]

            return variances_by_solves(curvature, row, [i for i in asked if smooth[i]], m)
        return Variances(np.full(m, np.nan), np.zeros(m, bool), None)

    def statuses(self, unidentified: BoolArray) -> NDArray[np.str_]:
        """Return the `Status` of each scalar (m,).

        ``unidentified`` (m,): those moved by a flat direction of the objective, as `variances`
            finds them.
        """
        found = np.full(len(self.labels), Status.INTERIOR, dtype=f"U{max(map(len, Status))}")
        found[np.isnan(self.constrained)] = Status.UNKNOWN
        found[unidentified] = Status.NOT_IDENTIFIED
        if self.outcome.limit:
            self._mark_limit(found)
        if not self.optimum.usable:
            found[:] = Status.UNKNOWN
            found[self.unbounded] = Status.UNBOUNDED
        found[self.unused] = Status.NOT_IN_OBJECTIVE
        return found

    def _mark_limit(self, found: NDArray[np.str_]) -> None:
        """Set the statuses of scalars at a boundary or at infinity; unknown where it is unclear."""
        found[self.held | self.infinite] = Status.UNKNOWN
        boundary = self.held & ~self.infinite & self.is_parameter
        found[boundary & (self._outward < 0)] = Status.LOWER_BOUNDARY
        found[boundary & ~(self._outward < 0)] = Status.UPPER_BOUNDARY
        infinite = self.infinite & ~self.settled
        if not infinite[self.is_parameter].any():
            return
        found[infinite & (self.travelled < 0)] = Status.MINUS_INFINITY
        found[infinite & (self.travelled > 0)] = Status.PLUS_INFINITY
        found[infinite & self.is_parameter & ~(self.travelled < 0)] = Status.PLUS_INFINITY

    @property
    def travelled(self) -> FloatArray:
        """The change (m,) from well inside the support to the point."""
        return self.problem.values(self.x) - self.problem.values(self.objective.base)

    @property
    def _outward(self) -> FloatArray:
        """The change (m,) towards the boundaries; where it cancels, that of the values."""
        steps = [self.tangent_inside(e.direction) for e in self._ends if not _is_infinite(e)]
        moved = np.sum([np.zeros(len(self.labels)), *steps], axis=0)
        inside = self.problem.values(self.objective.base)
        return np.where(moved != 0, moved, self.constrained - inside)


def _is_infinite(end: LimitDirection) -> bool:
    return end.kind is LimitKind.INFINITY
