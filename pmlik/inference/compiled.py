"""A compiled model: spaces, densities and constrained values of one flat vector ``x``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.traversal import ancestors

from pmlik._budget import COMPILE, Meter
from pmlik._typing import BoolArray, FloatArray
from pmlik.errors import ModelError
from pmlik.labels import ParameterSpace
from pmlik.logp.compile import compile_mode
from pmlik.logp.density import LogDensity
from pmlik.logp.quantities import ExtendedValues, Quantities
from pmlik.logp.transforms import ConstrainedValues
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.marginal.integrand import Integrand
from pmlik.marginal.standardize import standard_terms, standardize_latents
from pmlik.model.circular import is_circular
from pmlik.model.dims import default_dims, label_space
from pmlik.model.graph import as_tensor, in_double_precision
from pmlik.model.observations import count_observations, potentials_with_data
from pmlik.model.roles import Potentials, Roles
from pmlik.model.transform import (
    TermsModel,
    factor_graphs,
    likelihood_terms,
    open_data,
    prior_terms,
    terms_model,
)
from pmlik.optimize.hessian import DENSE_LIMIT
from pmlik.optimize.objective import LARGE_DATA, Kind, Objective

# Evaluations for two estimates of a model with latents: hundreds of gradients, each with a few
# Newton steps for the latents. Third derivatives take longer to compile, too.
_EVALUATIONS_TO_INTEGRATE = 2000
_LONG = 10_000

# Up to this many coordinates a Hessian is quick enough to be evaluated only to count its work.
_FEW_COORDINATES = 100


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """The functions and labels of a model that estimation needs.

    ``unconstrained``: the value variables; its flat vector is ``x``.
    ``parameters``, ``derived``: the constrained values of the parameters and of the deterministics.
    ``initial`` (n,): PyMC's initial point.
    ``pinned`` (n,): True for coordinates of the initial point that the user has set.
    ``likelihood``: of ``x``, without Jacobian, all constants included. In a model with latents
        these are integrated out.
    ``prior``: the density of the parameters, likewise.
    ``values``: map ``x`` to the constrained values, parameters first.
    ``model``: the likelihood's model, from which all of these are compiled.
    ``backend``: the compiler of the functions; None: interpreted.
    """

    unconstrained: ParameterSpace
    parameters: ParameterSpace
    derived: ParameterSpace
    initial: FloatArray
    pinned: BoolArray
    likelihood: LogDensity | MarginalLogLikelihood
    prior: LogDensity
    values: ConstrainedValues | ExtendedValues
    model: TermsModel
    backend: str | None

    def objective(self, kind: Kind, base: FloatArray) -> Objective:
        """Return the objective of an estimate: the MLE's likelihood, or times the prior for a MAP.

        ``base`` (n,): a point inside the support, unconstrained.
        """
        prior = (self.prior,) if kind == "map" else ()
        meter = Meter(lambda: self.work)
        return Objective((self.likelihood, *prior), self.values, base, meter=meter)

    @property
    def work(self) -> float:
        """The work of all evaluations so far."""
        return self.likelihood.work + self.prior.work

    @cached_property
    def hessian_work(self) -> float:
        """The work of a Hessian of the likelihood; it is evaluated once to count it."""
        x, before = np.where(np.isfinite(self.initial), self.initial, 0.0), self.likelihood.work
        if len(x) <= _FEW_COORDINATES:
            self.likelihood.hessian(x)
            return self.likelihood.work - before
        self.likelihood.product(x, np.eye(1, len(x))[0])
        return len(x) * (self.likelihood.work - before)

    @cached_property
    def n_observations(self) -> int:
        """Number of observations in the likelihood."""
        return count_observations(self.model)

    @cached_property
    def uncounted(self) -> tuple[str, ...]:
        """The ``pm.Potential`` terms of the likelihood whose observations can't be counted."""
        return potentials_with_data(self.model)


def compile_model(
    model: pm.Model,
    roles: Roles,
    *,
    potentials: Potentials = "likelihood",
    backend: str | None = None,
    quadrature: int | None = None,
) -> CompiledModel:
    """Compile a model; latents are integrated out of its likelihood.

    ``backend`` {"numba", "jax", "c"}: default: interpret, and compile with Numba only when an
        evaluation is so slow that the whole estimation would take longer than compiling.
    ``quadrature``: nodes per latent; default: the Laplace approximation.
    Raises `ModelError` if the likelihood depends on no parameter, or has no gradient.
    """
    clone = terms_model(model, likelihood_terms(roles, potentials), exact_constants=True)
    problem = _assemble(clone, roles, potentials, backend, quadrature)
    if not problem.likelihood.active.any():
        raise ModelError(
            f"{', '.join(likelihood_terms(roles, potentials))}: the likelihood does not depend on "
            f"any of the parameters ({', '.join(roles.parameters)}), so there is nothing to "
            "estimate. Use them in the distribution of the data."
        )
    if backend is None and not _is_vectorised(problem) and _work_ahead(problem) > COMPILE:
        return _assemble(clone, roles, potentials, "numba", quadrature)
    return problem


class Addition(NamedTuple):
    """Quantities beside a model's own, and the length of a standard error per coordinate (n,)."""

    quantities: Quantities
    widths: FloatArray


def add_quantities(problem: CompiledModel, addition: Addition) -> CompiledModel:
    """Return the compiled model with quantities among its derived ones, the last of them."""
    quantities, derived = addition.quantities, problem.derived
    spaces = problem.parameters, derived
    space = quantities.space
    return replace(
        problem,
        values=ExtendedValues(problem.values, spaces, quantities, addition.widths),
        derived=ParameterSpace(
            names=derived.names + space.names,
            shapes=derived.shapes + space.shapes,
            dims=derived.dims + space.dims,
            coords={**derived.coords, **space.coords},
        ),
    )


@dataclass(frozen=True, eq=False)
class OpenModel:
    """A compiled model whose data can be set without compiling again.

    ``data`` (mapping of str to shared variable): the observed values, by the observed variable;
        ``set_value`` replaces them.
    """

    problem: CompiledModel
    data: Mapping[str, Any]


def compile_open_model(
    model: pm.Model,
    roles: Roles,
    *,
    potentials: Potentials,
    backend: str | None,
    quadrature: int | None = None,
) -> OpenModel:
    """Compile a model as `compile_model` does, with the observed values as shared variables.

    ``model``, ``roles``, ``potentials``, ``backend``, ``quadrature``: as in `compile_model`, which
        has checked them.
    """
    clone = terms_model(model, likelihood_terms(roles, potentials), exact_constants=True)
    data = open_data(clone, roles.observed)
    return OpenModel(_assemble(clone, roles, potentials, backend, quadrature), data)


def _is_vectorised(problem: CompiledModel) -> bool:
    """Return True if NumPy works on long arrays, where compiled loops are no faster.

    Measured on random intercepts of a million rows: 0.2 s per gradient interpreted, 0.7 s
    compiled.
    """
    return problem.likelihood.is_integral and problem.n_observations > _LONG


def _work_ahead(problem: CompiledModel) -> float:
    """Return the work of two estimates, from that of one evaluation."""
    likelihood, n = problem.likelihood, len(problem.initial)
    each = likelihood.size.gradient
    if likelihood.is_integral:
        return each * _EVALUATIONS_TO_INTEGRATE
    if problem.n_observations > LARGE_DATA and n <= DENSE_LIMIT:
        return each * (150 + 9 * n)
    products = 12 * n if n <= DENSE_LIMIT else 2000
    return each * (200 + 3 * products)


def _assemble(
    clone: TermsModel,
    roles: Roles,
    potentials: Potentials,
    backend: str | None,
    quadrature: int | None = None,
) -> CompiledModel:
    mode = compile_mode(backend)
    standard = standardize_latents(clone, roles.latents)
    parameters = [clone[name] for name in roles.parameters]
    derived = _derived_of_parameters(clone, roles)
    point = clone.initial_point(0)
    inputs = [clone.rvs_to_values[rv] for rv in parameters]
    terms = [
        factor_graphs(clone, names(roles, potentials)) for names in (likelihood_terms, prior_terms)
    ]
    integrand = _integrand_terms(clone, roles, potentials, standard) if roles.latents else terms[0]
    naturals = [as_tensor(graph) for graph in clone.replace_rvs_by_values([*parameters, *derived])]
    active = [
        _mask([v in _reached(term) for v in inputs], inputs, point)
        for term in (integrand, terms[1])
    ]
    joined, x = join_nonshared_inputs(
        point=point,
        outputs=in_double_precision([*terms[0].values(), *terms[1].values(), *naturals]),
        inputs=inputs,
    )
    graphs = iter(joined)
    likelihood: LogDensity | MarginalLogLikelihood
    likelihood, prior = (
        LogDensity({name: next(graphs) for name in term}, x, clone, mode, mask)
        for term, mask in zip(terms, active, strict=True)
    )
    if roles.latents:
        latents = [clone.rvs_to_values[clone[name]] for name in roles.latents]
        likelihood = MarginalLogLikelihood(
            Integrand(integrand, inputs, latents, point, clone, mode),
            active[0],
            tuple(terms[0]),
            quadrature,
        )
    likelihood.is_bounded = _are_probabilities(clone, terms[0])
    k = len(parameters)
    values = ConstrainedValues(list(graphs), x, clone, mode, k, _period(clone, inputs, point))
    unconstrained = _unconstrained([value.name for value in inputs], point)
    initial = unconstrained.join(point)
    arrays = values.arrays(np.where(np.isfinite(initial), initial, 0.0))
    pinned = [clone.rvs_to_initial_values[rv] is not None for rv in parameters]
    return CompiledModel(
        unconstrained=unconstrained,
        parameters=label_space(clone, roles.parameters, arrays[:k]),
        derived=label_space(clone, [var.name for var in derived], arrays[k:]),
        initial=initial,
        pinned=_mask(pinned, inputs, point),
        likelihood=likelihood,
        prior=prior,
        values=values,
        model=clone,
        backend=backend,
    )


def sampled_prior(problem: CompiledModel, roles: Roles, potentials: Potentials) -> LogDensity:
    """Return the prior as a density of ``x``, with the Jacobian that ``problem.prior`` omits.

    It is interpreted, as it is evaluated a few times only.
    """
    model, point = problem.model, problem.model.initial_point(0)
    inputs = [model.rvs_to_values[model[name]] for name in roles.parameters]
    terms = factor_graphs(model, prior_terms(roles, potentials), jacobian=True)
    reached = _reached(terms)
    joined, x = join_nonshared_inputs(
        point=point, outputs=in_double_precision(list(terms.values())), inputs=inputs
    )
    return LogDensity(
        dict(zip(terms, joined, strict=True)),
        x,
        model,
        compile_mode(None),
        _mask([value in reached for value in inputs], inputs, point),
    )


def _are_probabilities(model: TermsModel, names: Iterable[str]) -> bool:
    """Return True if all terms are of discrete data, so that the likelihood is at most one.

    A distribution written by the user may be anything.
    """
    variables = [model[name] for name in names]
    return all(
        rv in model.observed_RVs
        and np.dtype(rv.dtype).kind in "iub"
        and "CustomDist" not in type(rv.owner.op).__name__
        and "CustomSymbolic" not in type(rv.owner.op).__name__
        for rv in variables
    )


def _integrand_terms(
    clone: TermsModel, roles: Roles, potentials: Potentials, standard: Sequence[str]
) -> dict[str, Any]:
    """Return the terms of the likelihood and of the latents, with the transforms' Jacobian."""
    names = likelihood_terms(roles, potentials) + roles.latents
    terms = factor_graphs(clone, names, jacobian=True)
    return {**terms, **standard_terms(clone, standard)}


def _reached(factors: Mapping[str, Any]) -> set[Any]:
    return set(ancestors(list(factors.values())))


def _mask(chosen: Sequence[bool], inputs: Sequence[Any], point: Mapping[str, Any]) -> BoolArray:
    """Repeat one truth value per variable over its coordinates in ``x``."""
    parts = [
        np.full(np.size(point[value.name]), yes) for value, yes in zip(inputs, chosen, strict=True)
    ]
    return np.concatenate([np.zeros(0, bool), *parts])


def _period(
    model: TermsModel, inputs: Sequence[Any], point: Mapping[str, Any]
) -> FloatArray | None:
    """Return the turn of each coordinate in ``x``, infinite for most; None if none repeats."""
    circular = [is_circular(model, model.values_to_rvs[value]) for value in inputs]
    period = np.where(_mask(circular, inputs, point), 2 * np.pi, np.inf)
    return period if any(circular) else None


def _derived_of_parameters(model: TermsModel, roles: Roles) -> list[Any]:
    others = {model[name] for name in roles.missing + roles.latents}
    return [model[name] for name in roles.derived if not others & set(ancestors([model[name]]))]


def _unconstrained(names: Sequence[str], point: Mapping[str, Any]) -> ParameterSpace:
    return ParameterSpace(
        names=tuple(names),
        shapes=tuple(np.shape(point[name]) for name in names),
        dims=tuple(default_dims(name, np.ndim(point[name])) for name in names),
        coords={},
    )
