"""One point estimate: its starts, its search, its standard errors, its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

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
from pmlik.compilation import compile_mode
from pmlik.curvature import (
    DENSE_LIMIT,
    Curvature,
    IterativeCurvature,
    Variances,
    variances_by_solves,
)
from pmlik.descent import WAYS
from pmlik.errors import Flag, FlagCode, Severity
from pmlik.estimates import Certificate, Counts, PointEstimate
from pmlik.functions import BoolArray
from pmlik.host import find_MAP_point, prior_draws
from pmlik.objective import Kind, Objective, Optimum
from pmlik.optimizer import Start, climb, search
from pmlik.problem import Problem
from pmlik.roles import Potentials, Roles
from pmlik.space import FloatArray
from pmlik.starting import best_placed, describe_point, jitter
from pmlik.submodels import likelihood_terms, prior_terms, terms_model

__all__ = ["estimate_point"]

_SMALL = 5000

# Widths of the jitter of further starts, tried only while no optimum is certified.
_JITTERS = (1.0, 0.5, 2.0, 1.0, 0.5)
# Of so many draws from the prior the best is taken.
_DRAWS = 50


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
    fit = _Fit(problem, kind, objective, optimum, objective.expand(optimum.z))
    asked = _places(problem, var_names or ())
    variances, unused = _variances(fit, asked), _unused(fit)
    certificate = _certificate(fit, start, before)
    where = f"Stopped at {describe_point(problem, fit.x)}."
    flags = [
        *check_roles(roles, potentials),
        *_check_start(fit, start),
        *check_certificate(certificate, optimum, where),
        *check_higher(optimum.value - lowest if optimum.usable else 0.0),
        *_check_variances(fit, variances, unused, asked),
    ]
    return _record(fit, variances, unused, certificate, flags)


@dataclass(frozen=True, eq=False)
class _Fit:
    """Where the search ended, and of what."""

    problem: Problem
    kind: Kind
    objective: Objective
    optimum: Optimum
    x: FloatArray

    @property
    def labels(self) -> tuple[str, ...]:
        """One a natural value, parameters first."""
        return self.problem.parameters.labels + self.problem.derived.labels

    @property
    def n_flat(self) -> int:
        """How many directions the objective says nothing about."""
        curvature = self.optimum.curvature
        if isinstance(curvature, Curvature):
            return curvature.signs.zero
        return 0 if curvature is None else int(curvature.empty.sum())


def _certificate(fit: _Fit, start: FloatArray, before: tuple[int, int]) -> Certificate:
    optimum, likelihood = fit.optimum, fit.problem.likelihood
    curvature = optimum.curvature
    return Certificate(
        converged=optimum.converged,
        estimated_distance=optimum.distance,
        gradient_norm=float(np.linalg.norm(optimum.gradient)),
        eigenvalue_signs=curvature.signs if isinstance(curvature, Curvature) else None,
        n_gradients=likelihood.n_gradients - before[0],
        n_products=likelihood.n_products - before[1],
        moved=not np.allclose(fit.x, start, rtol=1e-8, atol=1e-8),
        start=optimum.start,
        x=fit.x,
    )


def _starts(
    model: pm.Model,
    roles: Roles,
    problem: Problem,
    kind: Kind,
    start: FloatArray,
    potentials: Potentials,
    seed: int,
) -> list[Start]:
    """Where to search from, in order; the later ones only while nothing is certified."""
    terms = likelihood_terms(roles, potentials)
    if kind == "map":
        terms += prior_terms(roles, potentials)
    host_model = terms_model(model, terms)

    def from_host() -> FloatArray | None:
        given = None if start is problem.initial else start
        # On large data building is cheap against the hundreds of evaluations that follow.
        small = problem.n_observations + len(start) < _SMALL
        mode = compile_mode(problem.backend, for_start=small)
        return find_MAP_point(host_model, given, problem.unconstrained, mode)

    def from_map() -> FloatArray:
        joint = Objective.of(problem, "map", start)
        return joint.expand(climb(joint, start[joint.active], "MAP")[0].z)

    def jittered(i: int, width: float) -> FloatArray:
        return jitter(problem, start, width, np.random.default_rng([seed, i]))

    @cache
    def draw_prior() -> Callable[[int], FloatArray | None]:
        return prior_draws(model, problem.unconstrained)

    def drawn(i: int) -> FloatArray | None:
        draws = [draw_prior()(j) for j in range(seed + i * _DRAWS, seed + (i + 1) * _DRAWS)]
        return best_placed(Objective.of(problem, kind, start), draws)

    own = [Start("initial point", lambda: start, way) for way in WAYS]
    host = Start("pm.find_MAP", from_host)
    draws = [
        Start("draw from the prior", partial(drawn, i), WAYS[i % len(WAYS)])
        for i in range(len(_JITTERS))
    ]
    # The third start differs most, in case the first two end on a plateau.
    unpinned = _first_start(problem) == host.name
    starts = [host, own[0], draws.pop(0), *own[1:]] if unpinned else [*own, host]
    if kind == "mle":
        starts.append(Start("MAP", from_map))
    starts += draws
    for i, width in enumerate(_JITTERS):
        starts.append(Start("jittered initial point", partial(jittered, i, width)))
    return starts


def _first_start(problem: Problem) -> str:
    """The user's own start has the first word; in large models the host's many cheap steps."""
    own = problem.pinned.any() and len(problem.initial) <= DENSE_LIMIT
    return "initial point" if own else "pm.find_MAP"


def _variances(fit: _Fit, asked: Sequence[int]) -> Variances:
    values, curvature, m = fit.problem.values, fit.optimum.curvature, len(fit.labels)
    if fit.optimum.usable and isinstance(curvature, Curvature):
        tangent = values.tangents(fit.x)
        found = curvature.variances(
            lambda v: tangent(fit.objective.lift(v)), n_root=fit.problem.parameters.size
        )
        return found._replace(variance=np.where(values.smooth(fit.x), found.variance, np.nan))
    if fit.optimum.usable and isinstance(curvature, IterativeCurvature) and asked:
        smooth = values.smooth(fit.x)

        def row(i: int) -> FloatArray:
            unit = np.zeros(m)
            unit[i] = 1.0
            return values.cotangent(fit.x, unit)[fit.objective.active]

        return variances_by_solves(curvature, row, [i for i in asked if smooth[i]], m)
    return Variances(np.full(m, np.nan), np.zeros(m, bool), None)


def _places(problem: Problem, var_names: Sequence[str]) -> list[int]:
    """Where the named variables sit among all natural values."""
    places: list[int] = []
    for offset, space in ((0, problem.parameters), (problem.parameters.size, problem.derived)):
        for name, where in space.slices.items():
            if name in var_names:
                places.extend(range(offset + where.start, offset + where.stop))
    return places


def _unused(fit: _Fit) -> BoolArray:
    """Which natural values are moved by coordinates that the objective does not depend on.

    A coordinate is absent when the graph says so, or when its gradient and its whole row of
    the Hessian are exactly zero (a group without data).
    """
    optimum, active = fit.optimum, fit.objective.active
    absent = ~active
    if optimum.usable and optimum.curvature is not None:
        absent[np.flatnonzero(active)[optimum.curvature.empty & (optimum.gradient == 0)]] = True
    if not absent.any():
        return np.zeros(len(fit.labels), bool)
    # One random direction moves whatever any of them moves.
    direction = np.where(absent, np.random.default_rng(0).uniform(1, 2, size=len(fit.x)), 0.0)
    return np.asarray(fit.problem.values.tangents(fit.x)(direction) != 0)


def _check_start(fit: _Fit, start: FloatArray) -> list[Flag]:
    flags = []
    if start is not fit.problem.initial:
        flags.append(Flag(FlagCode.START_REPLACED, Severity.INFO))
    if fit.optimum.usable and fit.optimum.start != _first_start(fit.problem):
        detail = f"It was reached from the {fit.optimum.start}."
        flags.append(Flag(FlagCode.OTHER_START, Severity.INFO, (), "", detail))
    return flags


def _check_variances(
    fit: _Fit, variances: Variances, unused: BoolArray, asked: Sequence[int]
) -> list[Flag]:
    flags = check_identified(fit.labels, list(variances.unidentified), list(unused), fit.kind)
    if any(density.by_differences for density in fit.objective.densities):
        flags.append(Flag(FlagCode.HESSIAN_BY_DIFFERENCES, Severity.INFO))
    if not fit.optimum.usable:
        return flags
    lacking = np.isnan(variances.variance) & ~(variances.unidentified | unused)
    tried = np.ones(len(fit.labels), bool)
    if isinstance(fit.optimum.curvature, IterativeCurvature):
        tried[:] = False
        tried[list(asked)] = True
    return flags + check_standard_errors(fit.labels, list(lacking), list(tried))


def _record(
    fit: _Fit,
    variances: Variances,
    unused: BoolArray,
    certificate: Certificate,
    flags: Sequence[Flag],
) -> PointEstimate:
    problem, k = fit.problem, fit.problem.parameters.size
    unknown = variances.unidentified | unused
    naturals = np.where(unknown, np.nan, problem.values(fit.x))
    errors = np.sqrt(np.where(unused, np.nan, variances.variance))
    log_likelihood = problem.likelihood.value_and_gradient(fit.x)[0]
    log_prior = problem.prior.value_and_gradient(fit.x)[0]
    if not fit.optimum.usable:
        naturals, log_likelihood, log_prior = np.full(len(naturals), np.nan), np.nan, np.nan
    return PointEstimate(
        kind=fit.kind,
        values=_dataset(problem, naturals),
        std_error=_dataset(problem, errors),
        covariance=_covariance(problem, variances, unknown[:k]),
        log_likelihood=log_likelihood,
        log_prior=np.nan if unknown[:k].any() else log_prior,
        counts=Counts(problem.n_observations, fit.objective.size - fit.n_flat),
        certificate=certificate,
        flags=tuple(flags),
    )


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
