"""Who is who in a model: parameters, latents, missing values, derived quantities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pymc as pm
from pymc.distributions.distribution import PartialObservedRV
from pytensor.graph.traversal import ancestors

from pmlik.admission import refuse_discrete, refuse_unusable, refuse_without_likelihood
from pmlik.errors import ModelError
from pmlik.whitening import find_whitened

__all__ = ["Potentials", "Roles", "read_roles", "refuse_latents"]

#: Whether ``pm.Potential`` terms belong to the likelihood or to the prior.
Potentials = Literal["likelihood", "prior"]


@dataclass(frozen=True)
class Roles:
    """The names of a model's variables by what they are for.

    Parameters
    ----------
    parameters : tuple of str
        Free variables with a prior of their own.
    latents : tuple of str
        Free variables whose distribution is part of the model.
    missing : tuple of str
        Missing observations that nothing else depends on: they integrate to one.
    observed, potentials, derived : tuple of str
        The rest, in the model's order.
    """

    parameters: tuple[str, ...]
    latents: tuple[str, ...]
    missing: tuple[str, ...]
    observed: tuple[str, ...]
    potentials: tuple[str, ...]
    derived: tuple[str, ...]


def read_roles(model: pm.Model, potentials: Potentials = "likelihood") -> Roles:
    """Read each variable's role from the model's graph, and refuse what has no likelihood.

    Raises
    ------
    ModelError
        One sentence that names the variable, what was got, what is needed, what to do.
    """
    if potentials not in ("likelihood", "prior"):
        raise ModelError(f"potentials: got {potentials!r}, need 'likelihood' or 'prior'.")
    refuse_without_likelihood(model, potentials_count=potentials == "likelihood")
    missing = [name for name in _missing(model) if not _is_used(model[name], model)]
    others = [rv.name for rv in model.free_RVs if rv.name not in missing]
    refuse_discrete(model, others)
    refuse_unusable(model)
    latents = {name for name in others if _depends_on_free(model[name], model)}
    latents |= set(find_whitened(model)) | (set(_missing(model)) - set(missing))
    return Roles(
        parameters=tuple(name for name in others if name not in latents),
        latents=tuple(name for name in others if name in latents),
        missing=tuple(missing),
        observed=tuple(rv.name for rv in model.observed_RVs),
        potentials=tuple(potential.name for potential in model.potentials),
        derived=tuple(var.name for var in model.deterministics),
    )


def refuse_latents(roles: Roles) -> None:
    """Raise for a model whose likelihood is an integral over latents.

    Raises
    ------
    ModelError
        Naming the latents.
    """
    if roles.latents:
        raise ModelError(
            f"{', '.join(roles.latents)}: latent (random effects, states or missing values), as "
            "its distribution depends on other free variables, or it is a standard draw that is "
            "multiplied by another free variable. The likelihood is the integral over it, "
            "which pmlik can't take yet; dropping its distribution would not give an MLE. "
            "pmlik.sample_posterior works on this model."
        )


def _missing(model: pm.Model) -> tuple[str, ...]:
    """PyMC splits observed data with gaps into ``y_observed`` and a free ``y_unobserved``."""
    observed = {rv.name: rv for rv in model.observed_RVs}
    joined = {var.name: var for var in model.deterministics}
    names = []
    for rv in model.free_RVs:
        base = rv.name.removesuffix("_unobserved")
        other = observed.get(f"{base}_observed")
        if base != rv.name and other is not None and base in joined:
            parts = set(ancestors([joined[base]]))  # PyMC puts the two together again
            if rv in parts and other in parts:
                names.append(rv.name)
    return tuple(names)


def _is_used(rv: Any, model: pm.Model) -> bool:
    """Whether any other density depends on the value of a missing observation."""
    if isinstance(rv.owner.op, PartialObservedRV):  # one joint density for both parts
        return True
    inputs = [var for other in model.basic_RVs if other is not rv for var in other.owner.inputs]
    return rv in set(ancestors([*inputs, *model.potentials]))


def _depends_on_free(rv: Any, model: pm.Model) -> bool:
    return not (set(model.free_RVs) - {rv}).isdisjoint(ancestors(rv.owner.inputs))
