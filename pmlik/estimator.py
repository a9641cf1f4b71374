"""One point estimate: its starts, its search, its standard errors, its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pymc as pm
import xarray as xr

from pmlik.checks import (
    check_certificate,
    check_higher,
    check_identified,
    check_roles,
    check_standard_errors,
)
from pmlik.curvature import Curvature, IterativeCurvature, Variances, variances_by_solves
from pmlik.errors import Flag, FlagCode, Severity
from pmlik.estimates import Certificate, PointEstimate
from pmlik.functions import BoolArray, compile_mode
from pmlik.host import find_MAP_point
from pmlik.objective import Kind, Objective, Optimum
from pmlik.optimizer import climb, search
from pmlik.problem import Problem
from pmlik.roles import Potentials, Roles
from pmlik.space import FloatArray
from pmlik.starting import describe_point, jitter
from pmlik.submodels import likelihood_terms, prior_terms, terms_model

__all__ = ["estimate_point"]

# Widths of the jitter of further starts, tried only while no optimum is certified.
_JITTERS = (1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 1.0)


def estimate_point(
    model: pm.Model,
    roles: Roles,
    problem: Problem,
    kind: Kind,
    *,
    start: FloatArray,
    potentials: Potentials,
    var_names: Sequence[str] | None,
    seed: int,
) -> PointEstimate:
    """Find the MLE or the MAP of a problem.

    Parameters
    ----------
    model : pm.Model
        For ``pm.find_MAP``.
    roles : Roles
    problem : Problem
    kind : {"mle", "map"}
    start : array (n,)
        From `usable_start`.
    potentials : {"likelihood", "prior"}
    var_names : sequence of str, optional
        Whose standard errors to solve for where there is no dense matrix.
    seed : int
    """
    before = problem.likelihood.n_gradients, problem.likelihood.n_products
    objective = Objective.of(problem, kind, start)
    starts = _starts(model, roles, problem, kind, start, potentials, seed)
    optimum, lowest = search(objective, starts)
    x = objective.expand(optimum.z)
    variances = _variances(problem, objective, optimum, x, var_names)
    unused = _unused(problem, objective, optimum, x)
    certificate = Certificate(
        converged=optimum.converged,
        estimated_distance=optimum.distance,
        gradient_norm=float(np.linalg.norm(optimum.gradient)),
        eigenvalue_signs=(
            optimum.curvature.signs if isinstance(optimum.curvature, Curvature) else None
        ),
        n_gradients=problem.likelihood.n_gradients - before[0],
        n_products=problem.likelihood.n_products - before[1],
        moved=not np.allclose(x, start, rtol=1e-8, atol=1e-8),
        start=optimum.start,
    )
    flags = [
        *check_roles(roles, potentials),
        *_check_start(problem, start, optimum),
        *check_certificate(certificate, optimum, f"Stopped at {describe_point(problem, x)}."),
        *check_higher(optimum.value - lowest if optimum.usable else 0.0),
        *_check_variances(problem, objective, optimum, variances, unused, kind, var_names),
    ]
    return _record(problem, objective, optimum, variances, unused, kind, certificate, flags)


def _starts(
    model: pm.Model,
    roles: Roles,
    problem: Problem,
    kind: Kind,
    start: FloatArray,
    potentials: Potentials,
    seed: int,
) -> list[tuple[str, Callable[[], FloatArray | None]]]:
    """Where to search from, in order; the later ones only while nothing is certified."""
    terms = likelihood_terms(roles, potentials)
    if kind == "map":
        terms += prior_terms(roles, potentials)
    host_model = terms_model(model, terms)

    def from_host() -> FloatArray | None:
        given = None if start is problem.initial else start
        mode = compile_mode(problem.backend, for_start=True)
        return find_MAP_point(host_model, given, problem.unconstrained, mode)

    def from_map() -> FloatArray:
        joint = Objective.of(problem, "map", start)
        return joint.expand(climb(joint, start[joint.active], "MAP")[0].z)

    def jittered(i: int, width: float) -> FloatArray:
        return jitter(problem, start, width, np.random.default_rng([seed, i]))

    starts: list[tuple[str, Callable[[], FloatArray | None]]] = [
        ("pm.find_MAP", from_host),
        ("initial point", lambda: start),
    ]
    if kind == "mle":
        starts.append(("MAP", from_map))
    return starts + [
        ("jittered initial point", partial(jittered, i, width)) for i, width in enumerate(_JITTERS)
    ]


def _variances(
    problem: Problem,
    objective: Objective,
    optimum: Optimum,
    x: FloatArray,
    var_names: Sequence[str] | None,
) -> Variances:
    m = problem.parameters.size + problem.derived.size
    nothing = Variances(np.full(m, np.nan), np.zeros(m, bool), None)
    if not optimum.usable:
        return nothing
    if isinstance(optimum.curvature, Curvature):
        tangent = problem.values.tangents(x)
        found = optimum.curvature.variances(
            lambda v: tangent(objective.lift(v)), n_root=problem.parameters.size
        )
        return found._replace(variance=np.where(problem.values.smooth(x), found.variance, np.nan))
    if isinstance(optimum.curvature, IterativeCurvature) and var_names is not None:
        smooth = problem.values.smooth(x)

        def row(i: int) -> FloatArray:
            unit = np.zeros(m)
            unit[i] = 1.0
            return problem.values.cotangent(x, unit)[objective.active]

        asked = [i for i in _places(problem, var_names) if smooth[i]]
        return variances_by_solves(optimum.curvature, row, asked, m)
    return nothing


def _places(problem: Problem, var_names: Sequence[str]) -> list[int]:
    """Where the named variables sit among all natural values."""
    places: list[int] = []
    for offset, space in ((0, problem.parameters), (problem.parameters.size, problem.derived)):
        for name, where in space.slices.items():
            if name in var_names:
                places.extend(range(offset + where.start, offset + where.stop))
    return places


def _unused(problem: Problem, objective: Objective, optimum: Optimum, x: FloatArray) -> BoolArray:
    """Which natural values are moved by coordinates that the objective does not depend on.

    A coordinate is absent when the graph says so, or when its gradient and its whole row of
    the Hessian are exactly zero (a group without data).
    """
    absent = ~objective.active
    if optimum.usable and optimum.curvature is not None:
        empty = optimum.curvature.empty & (optimum.gradient == 0)
        absent[np.flatnonzero(objective.active)[empty]] = True
    if not absent.any():
        return np.zeros(problem.parameters.size + problem.derived.size, bool)
    # One random direction moves whatever any of them moves.
    direction = np.where(absent, np.random.default_rng(0).uniform(1, 2, size=len(x)), 0.0)
    return np.asarray(problem.values.tangents(x)(direction) != 0)


def _check_start(problem: Problem, start: FloatArray, optimum: Optimum) -> list[Flag]:
    flags = []
    if start is not problem.initial:
        flags.append(Flag(FlagCode.START_REPLACED, Severity.INFO))
    if optimum.usable and optimum.start != "pm.find_MAP":
        detail = f"It was reached from the {optimum.start}."
        flags.append(Flag(FlagCode.OTHER_START, Severity.INFO, (), "", detail))
    return flags


def _check_variances(
    problem: Problem,
    objective: Objective,
    optimum: Optimum,
    variances: Variances,
    unused: BoolArray,
    kind: Kind,
    var_names: Sequence[str] | None,
) -> list[Flag]:
    labels = problem.parameters.labels + problem.derived.labels
    flags = check_identified(labels, list(variances.unidentified), list(unused), kind)
    if any(density.by_differences for density in objective.densities):
        flags.append(Flag(FlagCode.HESSIAN_BY_DIFFERENCES, Severity.INFO))
    if not optimum.usable:
        return flags
    lacking = np.isnan(variances.variance) & ~(variances.unidentified | unused)
    asked = np.ones(len(labels), bool)
    if isinstance(optimum.curvature, IterativeCurvature):
        asked[:] = False
        asked[_places(problem, var_names or ())] = True
    return flags + check_standard_errors(labels, list(lacking), list(asked))


def _record(
    problem: Problem,
    objective: Objective,
    optimum: Optimum,
    variances: Variances,
    unused: BoolArray,
    kind: Kind,
    certificate: Certificate,
    flags: Sequence[Flag],
) -> PointEstimate:
    x = objective.expand(optimum.z)
    unknown = variances.unidentified | unused
    naturals = np.where(unknown, np.nan, problem.values(x))
    errors = np.sqrt(np.where(unused, np.nan, variances.variance))
    log_likelihood = problem.likelihood.value_and_gradient(x)[0]
    log_prior = problem.prior.value_and_gradient(x)[0]
    if not optimum.usable:
        naturals, log_likelihood, log_prior = np.full(len(naturals), np.nan), np.nan, np.nan
    k = problem.parameters.size
    return PointEstimate(
        kind=kind,
        values=_dataset(problem, naturals),
        std_error=_dataset(problem, errors),
        covariance=_covariance(problem, variances, unknown[:k]),
        log_likelihood=log_likelihood,
        log_prior=np.nan if unknown[:k].any() else log_prior,
        n_observations=problem.n_observations,
        n_parameters=objective.size - _count_flat(optimum),
        certificate=certificate,
        flags=tuple(flags),
    )


def _count_flat(optimum: Optimum) -> int:
    """How many directions the objective says nothing about."""
    if isinstance(optimum.curvature, Curvature):
        return optimum.curvature.signs.zero
    return 0 if optimum.curvature is None else int(optimum.curvature.empty.sum())


def _dataset(problem: Problem, flat: FloatArray) -> xr.Dataset:
    k = problem.parameters.size
    parameters = problem.parameters.to_dataset(flat[:k])
    return parameters.merge(problem.derived.to_dataset(flat[k:]))


def _covariance(problem: Problem, variances: Variances, unknown: BoolArray) -> xr.DataArray | None:
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
