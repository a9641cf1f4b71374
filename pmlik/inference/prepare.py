"""A model prepared for estimation: roles, compiled functions, a start, a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cloudpickle
import numpy as np
import pymc as pm
import xarray as xr

from pmlik._summaries import is_constant
from pmlik._typing import BoolArray, FloatArray
from pmlik.errors import StartError, ValuesError
from pmlik.inference.compiled import Addition, CompiledModel, add_quantities, compile_model
from pmlik.inference.natural import ConstrainedLikelihood
from pmlik.inference.options import (
    JOINT_STARTS,
    FitOptions,
    check_count,
    check_covariance,
    check_quadrature,
    read_var_names,
    seed_of,
)
from pmlik.inference.reuse import Kept, fingerprint
from pmlik.inference.starts import usable_start
from pmlik.logp.compile import compile_mode
from pmlik.logp.points import check_names, read_points
from pmlik.marginal.conditional import conditional_modes
from pmlik.model.discrete import sum_out_discrete
from pmlik.model.observations import unnormalised_terms
from pmlik.model.roles import Potentials, Roles, read_roles
from pmlik.model.snapshot import snapshot
from pmlik.model.validate import resolve_model
from pmlik.optimize.hessian import DENSE_LIMIT
from pmlik.results.point import LatentModes, PointEstimate

# Without so many Hessians no search ends.
_FEW_HESSIANS = 5


# Options that another problem is compiled for.
_COMPILED_WITH = ("potentials", "backend", "latent", "parameters", "quadrature")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared model: it is compiled once for all estimates and evaluations.

    ``model``: a copy of the user's as it was then, with finite discrete latents summed out.
    ``natural``: the likelihood as a function of constrained values.
    ``added``: quantities that were added to the model's own, in order.
    """

    model: pm.Model
    roles: Roles
    problem: CompiledModel
    natural: ConstrainedLikelihood
    seed: int
    arguments: FitOptions
    added: tuple[Addition, ...] = ()

    def with_quantities(self, *added: Addition) -> Prepared:
        """Return the same with quantities among the derived ones of its compiled model."""
        if not added:
            return self
        problem = self.problem
        for addition in added:
            problem = add_quantities(problem, addition)
        natural = ConstrainedLikelihood(problem)
        return replace(self, problem=problem, natural=natural, added=(*self.added, *added))

    def __reduce__(self) -> tuple[Callable[[bytes], Prepared], tuple[bytes]]:
        """Return the way to pickle it: the model and the options, compiled anew on loading."""
        arguments = replace(self.arguments, progressbar=False)
        return _prepare_again, (cloudpickle.dumps((arguments, self.added)),)

    @property
    def potentials(self) -> Potentials:
        """The part that ``pm.Potential`` terms count as."""
        return self.arguments.potentials

    @property
    def names(self) -> list[str]:
        """Free variables, then derived ones, in the model's order."""
        return [var.name for var in self.model.unobserved_RVs]

    @cached_property
    def unnormalised(self) -> tuple[str, ...]:
        """Terms of the likelihood whose density lacks its constant."""
        return unnormalised_terms(self.model, (*self.roles.observed, *self.roles.latents))

    def latents_at(self, x: FloatArray) -> LatentModes | None:
        """Return the conditional modes of the latents at ``x`` (n,); None without latents."""
        problem, likelihood = self.problem, self.problem.likelihood
        if not likelihood.is_integral:
            return None
        found = conditional_modes(problem.model, self.roles, likelihood, x, problem.backend)
        return LatentModes(*found)

    def unconstrained(self, values: xr.Dataset) -> FloatArray:
        """Return the unconstrained vectors (b, n) of a Dataset of draws, chain by chain.

        ``values``: the parameters among other variables, in the user's units.
        """
        space = self.problem.parameters
        flat = read_points({name: values[name] for name in space.names}, space).flat
        return self.natural.many_to_unconstrained(flat)

    @cached_property
    def constant(self) -> BoolArray:
        """True for scalars (m,), parameters first, that are the same whatever the parameters."""
        random = np.random.default_rng(0)
        steps = np.repeat([0.01, 0.1, 1.0, 2.0], 4)[:, None]
        points = self.start + steps * random.normal(size=(len(steps), len(self.start)))
        with np.errstate(all="ignore"):
            return is_constant(self.problem.values.rows(points))

    @cached_property
    def start(self) -> FloatArray:
        """A point (n,) with a non-zero likelihood; raises StartError if there is none."""
        return usable_start(self.problem, self.seed)


_KEPT = Kept()


def prepare(arguments: FitOptions) -> Prepared:
    """Read the model and compile it, unless that was done and it is unchanged.

    Raises `ModelError` for models, names and seeds that are not supported.
    Raises `ValuesError` for a start that does not fit the model.
    """
    user = resolve_model(arguments.model)
    options = tuple(getattr(arguments, name) for name in _COMPILED_WITH)
    state = fingerprint(user, repr(options))
    known = _KEPT.find(user, state)
    if known is None:
        arguments = replace(arguments, model=snapshot(user))
        model, roles = _read(arguments)
    else:
        arguments = replace(arguments, model=known.arguments.model)
        model, roles = known.model, known.roles
    arguments = replace(arguments, var_names=read_var_names(model, arguments.var_names))
    compile_mode(arguments.backend)
    check_count("n_starts", arguments.n_starts)
    check_quadrature(arguments.quadrature)
    if not isinstance(arguments.start, Mapping | None):
        raise StartError(f"start: got {arguments.start!r}, need a mapping of names to values.")
    check_covariance(arguments.covariance_kind, arguments.cluster)
    seed = seed_of(arguments.random_seed)
    arguments = replace(arguments, random_seed=seed)  # a Generator gives another one next time
    if known is None:
        problem = compile_model(
            model,
            roles,
            potentials=arguments.potentials,
            backend=arguments.backend,
            quadrature=arguments.quadrature,
        )
        natural = ConstrainedLikelihood(problem)
        prepared = Prepared(model, roles, problem, natural, seed, arguments)
        _KEPT.keep(user, state, prepared)
    else:
        known.problem.likelihood.reset_cache()  # no digit depends on estimates made before
        prepared = replace(known, seed=seed, arguments=arguments)
    if arguments.start:
        problem = _start_from(prepared, arguments.start)
        return replace(prepared, problem=problem, natural=ConstrainedLikelihood(problem))
    return prepared


def _read(arguments: FitOptions) -> tuple[pm.Model, Roles]:
    """Return the model with its discrete latents summed out, and the roles of its variables."""
    model, summed = sum_out_discrete(resolve_model(arguments.model))
    latent = arguments.latent
    if summed and not isinstance(latent, str):
        latent = [name for name in latent if name not in summed]
    roles = read_roles(model, arguments.potentials, latent=latent, parameters=arguments.parameters)
    return model, replace(roles, summed=summed)


def _prepare_again(pickled: bytes) -> Prepared:
    arguments, added = cloudpickle.loads(pickled)
    return prepare(arguments).with_quantities(*added)


def prepared_of(estimate: PointEstimate, purpose: str) -> Prepared:
    """Return the prepared model that an estimate was made from.

    ``purpose``: the function or argument that needs it, for the message.
    Raises `ValuesError` for an estimate read from a file or made by hand, and for anything else.
    """
    found = estimate.prepared if isinstance(estimate, PointEstimate) else None
    if not isinstance(found, Prepared):
        raise ValuesError(
            f"{purpose}: got {type(estimate).__name__} without its compiled model; need what "
            "find_MLE, find_MAP or compare returned. A file does not keep it: fit the model again."
        )
    return found


def prepare_joint(prepared: Prepared, most: float) -> Prepared | None:
    """Return the model with its latents as parameters, or None if that is too large.

    It is if they are too many, or if a few Hessians are more work than it may take.

    ``most``: that work.
    """
    roles = prepared.roles
    everything = roles.parameters + roles.latents
    arguments = replace(
        prepared.arguments,
        latent=(),
        parameters=everything,
        quadrature=None,
        var_names=None,
        n_starts=JOINT_STARTS,
    )
    problem = prepared.problem
    size = len(problem.initial) + problem.likelihood.n_latents
    if size > DENSE_LIMIT:
        return None
    together = prepare(arguments)
    return together if _FEW_HESSIANS * together.problem.hessian_work < most else None


def _start_from(prepared: Prepared, start: Mapping[str, Any]) -> CompiledModel:
    """Return the compiled model with the user's start as its initial point."""
    problem = prepared.problem
    check_names(start, problem.parameters, complete=False)
    initial = np.where(np.isfinite(problem.initial), problem.initial, 0.0)
    before = problem.parameters.split(problem.values(initial)[: problem.parameters.size])
    points = read_points({**before, **start}, problem.parameters)
    if len(points.flat) != 1:
        raise StartError(f"start: got {len(points.flat)} points, need one.")
    theta = points.flat[0]
    given = [name for name in problem.parameters.names if name in start]
    x = prepared.natural.to_unconstrained(theta)
    if not prepared.natural.inside(theta[None])[0] or not np.isfinite(x).all():
        raise StartError(f"start: {', '.join(given)} must lie inside the support.")
    pinned = problem.pinned.copy()
    wheres = problem.unconstrained.slices.values()
    for name, where in zip(problem.parameters.names, wheres, strict=True):
        pinned[where] |= name in given
    return replace(problem, initial=np.where(pinned, x, problem.initial), pinned=pinned)
