"""Find one point estimate: its search, its standard errors, its record."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pytensor.graph.traversal import ancestors

from pmlik._budget import LEAST_SEARCH, OutOfWorkError
from pmlik._runtime import quiet_single_thread
from pmlik._typing import BoolArray, FloatArray
from pmlik.inference.checks import (
    agrees_with_differences,
    check_certificate,
    check_circles,
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
from pmlik.inference.point_state import PointFit
from pmlik.inference.prepare import Prepared
from pmlik.inference.robust import make_robust
from pmlik.inference.starts import (
    count_starts,
    describe_point,
    first_start,
    list_starts,
    most_starts,
    most_work,
)
from pmlik.labels import mark_circles
from pmlik.marginal.importance import LaplaceError, laplace_error
from pmlik.model.circular import find_circles
from pmlik.model.roles import joined_by_prior
from pmlik.optimize.convergence import gradient_error, gradient_error_at
from pmlik.optimize.hessian import HessianEigen, HessianOperator, Variances
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.objective import LARGE_DATA, Kind, Objective, SearchPoint
from pmlik.optimize.result import PROBE, SearchResult, select_result
from pmlik.optimize.singular import search_beside
from pmlik.results.directions import describe_direction, simplify
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.point import Certificate, FitStatistics, PointEstimate, SearchEnd, Status

# Rounds of a brief search.
_FEW_ROUNDS = 2

# Starts that are used as well where an optimum is singular.
_STARTS_BESIDE = 8

# The standard error of a constant is below this, relative to its value.
_NO_ERROR = 1e-10

# Draws of the latents that check the Laplace approximation, fewer where the data are large.
_LAPLACE_DRAWS, _LEAST_LAPLACE_DRAWS, _LAPLACE_TERMS = 1000, 100, 10_000_000


@np.errstate(all="ignore")
def estimate_point(
    prepared: Prepared, kind: Kind, first: Sequence[Start] = (), *, briefly: float | None = None
) -> PointEstimate:
    """Find the MLE or the MAP of a prepared model.

    ``first``: starts to use before all others. ``briefly``: the most work that it may take; then
    there are no further starts and rounds if nothing is certified.
    Raises `OutOfWorkError` if it ran out of that before it had found what kind of point there is.
    """
    problem = prepared.problem
    before = problem.likelihood.n_gradients, problem.likelihood.n_products
    objective = problem.objective(kind, prepared.start)
    meter, start = objective.meter, prepared.start[objective.active]
    assert meter is not None
    starts = [*first, *list_starts(prepared, kind, meter)]
    count = len(first) + count_starts(prepared)
    if briefly is not None:
        meter.most = briefly
        reached, outcome = _search_briefly(objective, starts[:count], start, problem)
    else:
        if prepared.roles.latents:  # limits are looked for if nothing is certified
            starts = starts[: 2 * count]
        reached = list[SearchPoint]()
        with meter.step("optima", most_work(prepared)):
            reached += search_from_starts(objective, starts, count, most=most_starts(prepared))
        if most_starts(prepared) and not meter.stopped:
            more = starts[len(reached) : _STARTS_BESIDE + len(reached)]
            with meter.step("optima beside a flat direction", max(LEAST_SEARCH, meter.spent)):
                reached += search_beside(objective, reached, more)
        outcome = select_result(objective, reached, start, problem.n_observations)
    meter.most = np.inf
    fit = PointFit(prepared, kind, objective, outcome)
    asked = _places(problem, prepared.arguments.var_names or ())
    variances = fit.variances(asked)
    statuses = fit.statuses(variances.unidentified)
    error = _gradient_error(fit, start)
    certificate = _certificate(fit, before, error)
    flags = [
        *check_roles(prepared.roles, prepared.potentials, problem.uncounted, prepared.unnormalised),
        *check_latents(prepared.roles, problem),
        *(check_laplace(_laplace_error(fit)) if kind == "mle" else ()),
        *_check_search(fit, reached, certificate, error, statuses),
        *_check_work(fit),
        *_check_variances(fit, variances, asked),
    ]
    estimate = _record(fit, variances, statuses, certificate, flags)
    if kind == "mle" and prepared.arguments.covariance_kind == "robust":
        return make_robust(estimate, cluster=prepared.arguments.cluster)
    return estimate


def _search_briefly(
    objective: Objective, starts: Sequence[Start], start: FloatArray, problem: CompiledModel
) -> tuple[list[SearchPoint], SearchResult]:
    """Search from one start after the other, until an optimum or no bound has been seen."""
    assert objective.meter is not None
    reached = list[SearchPoint]()
    for i in range(len(starts)):
        with objective.meter.step("optima", objective.meter.left / 2):  # limits need the rest
            reached += search_from_starts(objective, starts[i : i + 1], 1, _FEW_ROUNDS)
        outcome = select_result(objective, reached, start, problem.n_observations)
        if outcome.unbounded:
            break
    known = outcome.optimum.usable and PROBE not in objective.meter.stopped
    if objective.meter.stopped and not (known or outcome.unbounded):
        raise OutOfWorkError
    return reached, outcome


def _check_work(fit: PointFit) -> list[Flag]:
    """Flag the steps of the search that ran out of work."""
    meter = fit.objective.meter
    if meter is None or not meter.stopped:
        return []
    detail = f"Stopped: the search for {' and for '.join(dict.fromkeys(meter.stopped))}."
    action = f"find_{fit.kind.upper()}(model, n_starts={4 * count_starts(fit.prepared)}) goes on."
    return [Flag(FlagCode.SEARCH_STOPPED, Severity.INFO, (), action, detail)]


def _laplace_error(fit: PointFit) -> LaplaceError | None:
    """Return the error of the Laplace approximation; None if it is exact or not applicable."""
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
    """Return the error of the gradient: beside the optimum, or without one at the start."""
    if fit.optimum.usable:
        directions = 1 if fit.problem.n_observations > LARGE_DATA else 2
        return gradient_error(fit.part, fit.optimum, directions)
    direction = np.random.default_rng(0).uniform(-0.1, 0.1, size=len(start))
    # At a round value a density may have a special case without derivative.
    return gradient_error_at(fit.objective, start + direction, direction)


def _certificate(fit: PointFit, before: tuple[int, int], error: float) -> Certificate:
    optimum, likelihood, start = fit.optimum, fit.problem.likelihood, fit.prepared.start
    curvature = optimum.curvature
    return Certificate(
        converged=optimum.converged and not fit.infinite.any(),
        newton_decrement=optimum.distance,
        gradient_norm=float(np.linalg.norm(optimum.gradient)),
        eigenvalue_signs=curvature.signs if isinstance(curvature, HessianEigen) else None,
        n_gradients=likelihood.n_gradients - before[0],
        n_products=likelihood.n_products - before[1],
        moved=not np.allclose(fit.x, start, rtol=1e-8, atol=1e-8),
        start=optimum.start,
        gradient_agrees=agrees_with_differences(error),
        searches=tuple(
            SearchEnd(end.start, -end.value, end.usable, number) for end, number in fit.outcome.runs
        ),
    )


def _check_search(
    fit: PointFit,
    reached: Sequence[SearchPoint],
    certificate: Certificate,
    error: float,
    statuses: NDArray[np.str_],
) -> list[Flag]:
    """Return the flags about the search and about the objective where it ended."""
    outcome, optimum, problem = fit.outcome, fit.optimum, fit.problem
    k = problem.parameters.size
    falling = _labels(fit, fit.unbounded)
    where = f"Stopped at {describe_point(problem, fit.x)}."
    flags = [*_check_start(fit, reached), *check_gradient(error)]
    if outcome.limit:
        flags += _check_limit(fit, statuses)
    elif not falling or optimum.usable:
        flags += check_certificate(certificate, optimum, where)
    inside = describe_point(problem, fit.x) if optimum.usable else ""
    flags += check_unbounded(falling, inside)
    flags += check_higher(outcome.higher)
    natural = [problem.values(fit.objective.expand(o.z))[:k] for o in outcome.others]
    switched = [
        is_label_switched(problem.parameters, fit.constrained[:k], values) for values in natural
    ]
    return flags + check_optima(
        [optimum.value - other.value for other in outcome.others],
        switched,
        [describe_point(problem, fit.objective.expand(o.z)) for o in outcome.others],
    )


def _check_limit(fit: PointFit, statuses: NDArray[np.str_]) -> list[Flag]:
    """Return the flags about the parameters at a boundary or at infinity."""
    border = np.isin(statuses, [Status.LOWER_BOUNDARY, Status.UPPER_BOUNDARY])
    infinite = np.isin(statuses, [Status.MINUS_INFINITY, Status.PLUS_INFINITY]) & fit.is_parameter
    unknown = fit.infinite & fit.settled & fit.is_parameter
    return check_limit(
        dict(zip(_labels(fit, border), map(float, fit.constrained[border]), strict=True)),
        dict(zip(_labels(fit, infinite), map(float, fit.travelled[infinite]), strict=True)),
        _labels(fit, unknown),
        -fit.optimum.value,
    )


def _labels(fit: PointFit, chosen: BoolArray) -> list[str]:
    return [label for label, yes in zip(fit.labels, chosen, strict=True) if yes]


def _places(problem: CompiledModel, var_names: Sequence[str]) -> list[int]:
    """Return the places of the named variables among all constrained scalars."""
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


def _check_variances(fit: PointFit, variances: Variances, asked: Sequence[int]) -> list[Flag]:
    unused = fit.unused
    flags = check_identified(
        fit.labels,
        list(variances.unidentified),
        list(unused),
        fit.kind,
        _describe_flat(fit) if variances.unidentified.any() else "",
        _informed(fit) if fit.kind == "mle" and unused.any() else None,
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


def _informed(fit: PointFit) -> dict[str, list[str]]:
    """Return the parameters with a likelihood that share a prior with those without, by label."""
    problem, model = fit.problem, fit.prepared.model
    joined = joined_by_prior(model, fit.prepared.roles)
    spaces = (problem.parameters, problem.derived)
    owners = [name for space in spaces for name in space.names for _ in space.labels_of(name)]
    used = {name for name, u in zip(owners, fit.unused, strict=True) if not u}
    absent = {n for n, u in zip(owners, fit.unused, strict=True) if u and n in model.named_vars}
    told = {}
    for name in absent:
        above = set(ancestors([model[name]]))
        mixed = {n for n in joined if model[n] in above and (n in absent or n == name)}
        others = set().union(*(joined[n] for n in mixed)) & used
        told[name] = [n for n in problem.parameters.names if n in others]
    return {label: told.get(n, []) for label, n in zip(fit.labels, owners, strict=True)}


def _describe_flat(fit: PointFit) -> str:
    """Return the flat directions among the parameters, in words."""
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
    statuses: NDArray[np.str_],
    certificate: Certificate,
    flags: Sequence[Flag],
) -> PointEstimate:
    problem, k = fit.problem, fit.problem.parameters.size
    unknown = variances.unidentified | fit.unused
    values = np.where(unknown, np.nan, fit.constrained)
    errors = np.sqrt(np.where(fit.unused, np.nan, variances.variance))
    tiny = errors <= _NO_ERROR * np.maximum(1.0, np.abs(values))
    constant = tiny & fit.prepared.constant
    errors[constant] = np.nan
    log_likelihood = problem.likelihood.value_and_gradient(fit.x)[0]
    log_prior = problem.prior.value_and_gradient(fit.x)[0]
    if not fit.optimum.usable:
        values, log_likelihood, log_prior = np.full(len(values), np.nan), np.nan, np.nan
    circles, std_error = find_circles(fit.prepared.model), _dataset(problem, errors)
    circles = {name: circle for name, circle in circles.items() if name in std_error}
    return PointEstimate(
        kind=fit.kind,
        prepared=fit.prepared,
        values=mark_circles(_dataset(problem, values), circles),
        std_error=std_error,
        covariance=_covariance(problem, variances, (unknown | fit.held | constant)[:k]),
        statistics=FitStatistics(
            log_likelihood=log_likelihood,
            log_prior=np.nan if unknown[:k].any() else log_prior,
            n_observations=problem.n_observations,
            n_parameters=fit.objective.size - fit.n_flat,
            counted=not problem.uncounted,
            normalised=not fit.prepared.unnormalised,
        ),
        certificate=certificate,
        flags=(*flags, *check_circles(std_error, circles)),
        status=_dataset(problem, statuses),
        unconstrained=fit.x,
    )


def _dataset(problem: CompiledModel, flat: NDArray[Any]) -> xr.Dataset:
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
