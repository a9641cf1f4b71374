"""One point estimate: its search, its standard errors, its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from pmlik._runtime import quiet_single_thread
from pmlik._typing import BoolArray, FloatArray
from pmlik.inference.checks import (
    check_certificate,
    check_gradient,
    check_higher,
    check_identified,
    check_laplace,
    check_latents,
    check_limit,
    check_optima,
    check_roles,
    check_standard_errors,
    check_unbounded,
    is_label_switched,
)
from pmlik.inference.compiled import CompiledModel
from pmlik.inference.prepare import Prepared
from pmlik.inference.robust import make_robust
from pmlik.inference.starts import count_starts, describe_point, first_start, list_starts
from pmlik.marginal.importance import LaplaceError, laplace_error
from pmlik.optimize.convergence import gradient_error, gradient_error_at
from pmlik.optimize.hessian import HessianEigen, HessianOperator, Variances, variances_by_solves
from pmlik.optimize.limits import LimitDirection, LimitKind
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.objective import LARGE_DATA, Kind, Objective, ObjectiveLike, SearchPoint
from pmlik.optimize.result import SearchResult, select_result
from pmlik.results.directions import describe_direction, simplify
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.point import Certificate, FitStatistics, PointEstimate, SearchEnd

__all__ = ["PointFit", "estimate_point"]


# So many standard errors at the start further, what has a limit is there.
_FAR = 1e8

# Draws of the latents that check Laplace's approximation, fewer where the data are large.
_LAPLACE_DRAWS, _LEAST_LAPLACE_DRAWS, _LAPLACE_TERMS = 1000, 100, 10_000_000


@np.errstate(all="ignore")
def estimate_point(prepared: Prepared, kind: Kind, first: Sequence[Start] = ()) -> PointEstimate:
    """Find the MLE or the MAP of a prepared model.

    Parameters
    ----------
    prepared : Prepared
    kind : {"mle", "map"}
    first : sequence of Start
        Starts to use before all others.
    """
    problem = prepared.problem
    before = problem.likelihood.n_gradients, problem.likelihood.n_products
    objective = problem.objective(kind, prepared.start)
    starts = [*first, *list_starts(prepared, kind)]
    count = len(first) + count_starts(prepared)
    if prepared.roles.latents:  # where nothing is certified inside, there are limits to look for
        starts = starts[: 2 * count]
    reached = search_from_starts(objective, starts, count)
    start = prepared.start[objective.active]
    outcome = select_result(objective, reached, start, problem.n_observations)
    fit = PointFit(prepared, kind, objective, outcome)
    asked = _places(problem, prepared.arguments.var_names or ())
    variances, unused = _variances(fit, asked), fit.unused
    error = _gradient_error(fit, start)
    certificate = _certificate(fit, before, error)
    flags = [
        *check_roles(prepared.roles, prepared.potentials),
        *check_latents(prepared.roles, problem),
        *(check_laplace(_laplace_error(fit)) if kind == "mle" else ()),
        *_check_search(fit, reached, certificate, error),
        *_check_variances(fit, variances, unused, asked),
    ]
    estimate = _record(fit, variances, unused, certificate, flags)
    if kind == "mle" and prepared.arguments.covariance_kind == "robust":
        return make_robust(estimate, cluster=prepared.arguments.cluster)
    return estimate


@dataclass(frozen=True, eq=False)
class PointFit:
    """Where the search ended, and of what."""

    prepared: Prepared
    kind: Kind
    objective: Objective
    outcome: SearchResult

    @property
    def problem(self) -> CompiledModel:
        """That of the model."""
        return self.prepared.problem

    @property
    def part(self) -> ObjectiveLike:
        """What the optimum is one of: the objective, or what a limit leaves of it."""
        return self.outcome.objective

    @property
    def optimum(self) -> SearchPoint:
        """The chosen one."""
        return self.outcome.optimum

    @cached_property
    def x(self) -> FloatArray:
        """The optimum as a full vector (n,)."""
        return self.part.expand(self.optimum.z)

    @property
    def labels(self) -> tuple[str, ...]:
        """One a natural value, parameters first."""
        return self.problem.parameters.labels + self.problem.derived.labels

    @property
    def n_flat(self) -> int:
        """How many directions the objective says nothing about."""
        curvature = self.optimum.curvature
        if isinstance(curvature, HessianEigen):
            return curvature.signs.zero
        return 0 if curvature is None else int(curvature.empty.sum())

    def moved_by(self, direction: FloatArray) -> BoolArray:
        """Which natural values a direction of the objective moves, well inside the support."""
        tangent = self.problem.values.jvp(self.objective.base)
        return np.asarray(tangent(self.objective.lift(direction)) != 0)

    @cached_property
    def unused(self) -> BoolArray:
        """Which natural values are moved by coordinates that the objective does not depend on.

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
    def undetermined(self) -> BoolArray:
        """Which natural values are moved by a direction that the objective is flat along."""
        return self.unused | (_variances(self, ()).unidentified if self.n_flat else False)

    @cached_property
    def held(self) -> BoolArray:
        """Which natural values the limit is a limit of."""
        ends = self.outcome.limit.ends if self.outcome.limit else ()
        masks = [self.moved_by(end.direction) & self._stays(end) for end in ends]
        return np.any([np.zeros(len(self.labels), bool), *masks], axis=0)

    def _stays(self, end: LimitDirection) -> BoolArray:
        """What nothing moves out there any more, where several coordinates end together."""
        if end.place is not None or end.ending is not LimitKind.BOUNDARY:
            return np.ones(len(self.labels), bool)
        free = np.random.default_rng(0).uniform(1, 2, size=len(self.optimum.z))
        return np.asarray(self.problem.values.jvp(self.x)(self.part.lift(free)) == 0)

    @cached_property
    def _beyond(self) -> tuple[FloatArray, FloatArray]:
        """Natural values far and farther out along the directions that run off."""
        ends = self.outcome.limit.ends if self.outcome.limit else ()
        away = np.sum(
            [self.objective.lift(e.direction) for e in ends if e.ending is LimitKind.INFINITY],
            axis=0,
        )
        values = self.problem.values
        return values(self.x + _FAR * away), values(self.x + 2 * _FAR * away)

    @cached_property
    def settled(self) -> BoolArray:
        """Those that come to rest while others run off: a probability that goes to one."""
        near, far = self._beyond
        return np.asarray(np.isfinite(near) & (np.abs(far - near) <= 1e-12 * (1 + np.abs(near))))

    @cached_property
    def infinite(self) -> BoolArray:
        """Those that have no finite limit, and parameters that the limit leaves undetermined."""
        ends = self.outcome.limit.ends if self.outcome.limit else ()
        masks = [self.moved_by(e.direction) for e in ends if e.ending is LimitKind.INFINITY]
        moved: BoolArray = np.any([np.zeros(len(self.labels), bool), *masks], axis=0)
        parameters = np.arange(len(moved)) < self.problem.parameters.size
        return moved & (parameters | ~self.settled)

    @cached_property
    def naturals(self) -> FloatArray:
        """Natural values, those of a limit at the very border."""
        limit = self.outcome.limit
        values = self.problem.values(self.x if limit is None else limit.border)
        if limit is not None and self.infinite.any():
            values = np.where(self.settled & self.held, self._beyond[0], values)
        return np.where(self.infinite, np.nan, values)


def _laplace_error(fit: PointFit) -> LaplaceError | None:
    """Of the log-likelihood at the optimum; None where it is exact or there is none."""
    likelihood = fit.problem.likelihood
    if not likelihood.is_integral or not fit.optimum.usable:
        return None
    if likelihood.is_exact or likelihood.n_nodes is not None:
        return None
    mode = likelihood.mode(fit.x)
    n_draws = min(_LAPLACE_DRAWS, _LAPLACE_TERMS // max(1, fit.problem.n_observations))
    if mode is None or n_draws < _LEAST_LAPLACE_DRAWS:
        return None
    with quiet_single_thread(likelihood.n_latents):
        return laplace_error(likelihood.laplace, mode, n_draws, fit.prepared.seed)


def _gradient_error(fit: PointFit, start: FloatArray) -> float:
    """Of the automatic gradient: beside the optimum, without one at the start."""
    if fit.optimum.usable:
        directions = 1 if fit.problem.n_observations > LARGE_DATA else 2
        return gradient_error(fit.part, fit.optimum, directions)
    direction = np.random.default_rng(0).uniform(-0.1, 0.1, size=len(start))
    # Beside the start: at a round value a density may have a special case without derivative.
    return gradient_error_at(fit.objective, start + direction, direction)


def _certificate(fit: PointFit, before: tuple[int, int], error: float) -> Certificate:
    optimum, likelihood, start = fit.optimum, fit.problem.likelihood, fit.prepared.start
    curvature = optimum.curvature
    return Certificate(
        converged=optimum.converged and not fit.infinite.any(),
        estimated_distance=optimum.distance,
        gradient_norm=float(np.linalg.norm(optimum.gradient)),
        eigenvalue_signs=curvature.signs if isinstance(curvature, HessianEigen) else None,
        n_gradients=likelihood.n_gradients - before[0],
        n_products=likelihood.n_products - before[1],
        moved=not np.allclose(fit.x, start, rtol=1e-8, atol=1e-8),
        start=optimum.start,
        searches=tuple(
            SearchEnd(end.start, -end.value, end.usable, number) for end, number in fit.outcome.ends
        ),
    )


def _check_search(
    fit: PointFit, reached: Sequence[SearchPoint], certificate: Certificate, error: float
) -> list[Flag]:
    """What the search says of the objective, from its ends."""
    outcome, optimum, problem = fit.outcome, fit.optimum, fit.problem
    k = problem.parameters.size
    units = np.eye(fit.objective.size)
    falling = [
        label
        for place in outcome.unbounded
        for label, moved in zip(fit.labels[:k], fit.moved_by(units[place])[:k], strict=True)
        if moved
    ]
    where = f"Stopped at {describe_point(problem, fit.x)}."
    flags = [*_check_start(fit, reached), *check_gradient(error)]
    if outcome.limit:
        flags += _check_limit(fit)
    elif not falling or optimum.usable:
        flags += check_certificate(certificate, optimum, where)
    inside = describe_point(problem, fit.x) if optimum.usable else ""
    flags += check_unbounded(falling, inside)
    flags += check_higher(outcome.higher)
    natural = [problem.values(fit.objective.expand(o.z))[:k] for o in outcome.others]
    switched = [
        is_label_switched(problem.parameters, fit.naturals[:k], values) for values in natural
    ]
    return flags + check_optima(
        [optimum.value - other.value for other in outcome.others],
        switched,
        [describe_point(problem, fit.objective.expand(o.z)) for o in outcome.others],
    )


def _check_limit(fit: PointFit) -> list[Flag]:
    assert fit.outcome.limit is not None
    k = fit.problem.parameters.size
    labels, values = fit.labels[:k], fit.naturals
    at_border = (fit.held & ~fit.infinite)[:k]
    ways = fit.problem.values(fit.x) - fit.problem.values(fit.objective.base)
    return check_limit(
        {label: float(v) for label, v, at in zip(labels, values, at_border, strict=False) if at},
        {
            label: float(way)
            for label, way, far in zip(labels, ways, fit.infinite & ~fit.settled, strict=False)
            if far
        },
        [label for label, at in zip(labels, fit.infinite & fit.settled, strict=False) if at],
        -fit.optimum.value,
    )


def _variances(fit: PointFit, asked: Sequence[int]) -> Variances:
    values, curvature, m = fit.problem.values, fit.optimum.curvature, len(fit.labels)
    if fit.optimum.usable and isinstance(curvature, HessianEigen):
        tangent = values.jvp(fit.x)
        found = curvature.variances(
            lambda v: tangent(fit.part.lift(v)), n_root=fit.problem.parameters.size
        )
        known = values.smooth(fit.x) & ~fit.held
        return found._replace(variance=np.where(known, found.variance, np.nan))
    if fit.optimum.usable and isinstance(curvature, HessianOperator) and asked:
        smooth = values.smooth(fit.x)

        def row(i: int) -> FloatArray:
            unit = np.zeros(m)
            unit[i] = 1.0
            return values.vjp(fit.x, unit)[fit.part.active]

        return variances_by_solves(curvature, row, [i for i in asked if smooth[i]], m)
    return Variances(np.full(m, np.nan), np.zeros(m, bool), None)


def _places(problem: CompiledModel, var_names: Sequence[str]) -> list[int]:
    """Where the named variables sit among all natural values."""
    places: list[int] = []
    for offset, space in ((0, problem.parameters), (problem.parameters.size, problem.derived)):
        for name, where in space.slices.items():
            if name in var_names:
                places.extend(range(offset + where.start, offset + where.stop))
    return places


def _check_start(fit: PointFit, reached: Sequence[SearchPoint]) -> list[Flag]:
    flags, problem, prepared = [], fit.problem, fit.prepared
    if prepared.start is not problem.initial:
        flags.append(Flag(FlagCode.START_REPLACED, Severity.INFO))
    first = first_start(problem)
    inside = fit.optimum.usable and not fit.outcome.limit
    if inside and not any(o.start == first and o.usable for o in reached):
        detail = f"It was reached from the {fit.optimum.start}."
        flags.append(Flag(FlagCode.OTHER_START, Severity.INFO, (), "", detail))
    saddle = next(
        (o for o in reached if o.start == "pm.find_MAP" and o.from_saddle is not None), None
    )
    if saddle is not None and saddle.from_saddle is not None:
        direction = fit.problem.values.jvp(fit.objective.base)(
            fit.objective.lift(saddle.from_saddle)
        )[: problem.parameters.size]
        names = describe_direction(problem.parameters.labels, direction)
        detail = f"pm.find_MAP stopped on it; the objective rises along {names}, and so it went on."
        flags.append(Flag(FlagCode.SADDLE, Severity.INFO, (), "", detail))
    return flags


def _check_variances(
    fit: PointFit, variances: Variances, unused: BoolArray, asked: Sequence[int]
) -> list[Flag]:
    flags = check_identified(
        fit.labels,
        list(variances.unidentified),
        list(unused),
        fit.kind,
        _describe_flat(fit) if variances.unidentified.any() else "",
    )
    if any(density.by_differences for density in fit.objective.densities):
        flags.append(Flag(FlagCode.HESSIAN_BY_DIFFERENCES, Severity.INFO))
    if not fit.optimum.usable:
        return flags
    lacking = np.isnan(variances.variance) & ~(variances.unidentified | unused | fit.held)
    tried = np.ones(len(fit.labels), bool)
    if isinstance(fit.optimum.curvature, HessianOperator):
        tried[:] = False
        tried[list(asked)] = True
    return flags + check_standard_errors(fit.labels, list(lacking), list(tried))


def _describe_flat(fit: PointFit) -> str:
    """The flat directions among the parameters, in words."""
    curvature, k = fit.optimum.curvature, fit.problem.parameters.size
    if not isinstance(curvature, HessianEigen):
        return ""
    tangent = fit.problem.values.jvp(fit.x)
    moved = np.array([tangent(fit.part.lift(row))[:k] for row in curvature.flat_directions()])
    combined = simplify(moved[np.abs(moved).sum(axis=1) > 0])
    labels = fit.problem.parameters.labels
    texts = [describe_direction(labels, row) for row in combined if (row != 0).sum() > 1]
    return "; ".join(texts[:3]) + ("; ..." if len(texts) > 3 else "")


def _record(
    fit: PointFit,
    variances: Variances,
    unused: BoolArray,
    certificate: Certificate,
    flags: Sequence[Flag],
) -> PointEstimate:
    problem, k = fit.problem, fit.problem.parameters.size
    unknown = variances.unidentified | unused
    naturals = np.where(unknown, np.nan, fit.naturals)
    errors = np.sqrt(np.where(unused, np.nan, variances.variance))
    log_likelihood = problem.likelihood.value_and_gradient(fit.x)[0]
    log_prior = problem.prior.value_and_gradient(fit.x)[0]
    if not fit.optimum.usable:
        naturals, log_likelihood, log_prior = np.full(len(naturals), np.nan), np.nan, np.nan
    return PointEstimate(
        kind=fit.kind,
        prepared=fit.prepared,
        values=_dataset(problem, naturals),
        std_error=_dataset(problem, errors),
        covariance=_covariance(problem, variances, (unknown | fit.held)[:k]),
        statistics=FitStatistics(
            log_likelihood=log_likelihood,
            log_prior=np.nan if unknown[:k].any() else log_prior,
            n_observations=problem.n_observations,
            n_parameters=fit.objective.size - fit.n_flat,
        ),
        certificate=certificate,
        flags=tuple(flags),
        unconstrained=fit.x,
    )


def _dataset(problem: CompiledModel, flat: FloatArray) -> xr.Dataset:
    k = problem.parameters.size
    parameters = problem.parameters.to_dataset(flat[:k])
    return parameters.merge(problem.derived.to_dataset(flat[k:]))


def _covariance(
    problem: CompiledModel, variances: Variances, unknown: BoolArray
) -> xr.DataArray | None:
    if variances.root is None:
        return None
    covariance = variances.root @ variances.root.T
    covariance[unknown, :] = np.nan
    covariance[:, unknown] = np.nan
    labels = list(problem.parameters.labels)
    return xr.DataArray(
        covariance,
        dims=("parameter", "parameter_bis"),
        coords={"parameter": labels, "parameter_bis": labels},
    )
