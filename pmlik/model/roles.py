"""Who is who in a model: parameters, latents, missing values, derived quantities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pymc as pm
from pymc.distributions.distribution import PartialObservedRV
from pytensor.graph.traversal import ancestors

from pmlik.errors import ModelError
from pmlik.model.latents import Noncentered, find_coefficients, find_noncentered
from pmlik.model.validate import refuse_discrete, refuse_unusable, refuse_without_likelihood

__all__ = ["Latent", "Potentials", "Roles", "read_roles", "refuse_latents"]


#: Whether ``pm.Potential`` terms belong to the likelihood or to the prior.
Potentials = Literal["likelihood", "prior"]

#: Which variables are latents: as read from the graph, or these.
Latent = Literal["auto"] | Sequence[str]


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
        Missing observations and latents that no data depend on: they integrate to one.
    observed, potentials, derived : tuple of str
        The rest, in the model's order.
    scales : mapping of str to tuple of str
        Of each latent, the parameters that its distribution has.
    gaps : tuple of str
        Those latents that are missing values.
    coefficients : tuple of str
        Those that multiply a dense matrix of data, as coefficients under a shrinkage prior do.
    whitened : tuple of str
        Those with a constant standard prior.
    summed : tuple of str
        Discrete latents that were summed out of the model before it was read.
    """

    parameters: tuple[str, ...]
    latents: tuple[str, ...]
    missing: tuple[str, ...]
    observed: tuple[str, ...]
    potentials: tuple[str, ...]
    derived: tuple[str, ...]
    scales: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gaps: tuple[str, ...] = ()
    coefficients: tuple[str, ...] = ()
    whitened: tuple[str, ...] = ()
    summed: tuple[str, ...] = ()


def read_roles(
    model: pm.Model,
    potentials: Potentials = "likelihood",
    *,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
) -> Roles:
    """Read each variable's role from the model's graph, and refuse what has no likelihood.

    Parameters
    ----------
    model : pm.Model
    potentials : {"likelihood", "prior"}
    latent : "auto" or sequence of str
        The latents; missing values that the data depend on are latents anyway.
    parameters : sequence of str
        Variables that are parameters whatever they look like.

    Raises
    ------
    ModelError
        One sentence that names the variable, what was got, what is needed, what to do.
    """
    if potentials not in ("likelihood", "prior"):
        raise ModelError(f"potentials: got {potentials!r}, need 'likelihood' or 'prior'.")
    refuse_without_likelihood(model, potentials_count=potentials == "likelihood")
    _check_choice(model, latent, parameters)
    missing = [name for name in _missing(model) if not _is_used(model[name], model)]
    others = [rv.name for rv in model.free_RVs if rv.name not in missing]
    refuse_discrete(model, others)
    refuse_unusable(model)
    whitened = find_noncentered(model)
    chosen = set(parameters)
    if latent == "auto":
        latents = {name for name in others if _depends_on_free(model[name], model)}
        _refuse_ambiguous(whitened, latents | chosen)
        latents |= set(whitened)
    else:
        latents = set(latent)
    latents |= set(_missing(model)) - set(missing)
    latents = _without_priors(model, latents - chosen)
    unused = [n for n in others if n in latents and not _reaches_data(model[n], model)]
    latents -= set(unused)
    if not set(others) - latents - set(unused):
        raise ModelError(
            f"{', '.join(others)}: all free variables are latents, so that no parameter is left "
            "to estimate. Name parameters=[...]."
        )
    return Roles(
        parameters=tuple(n for n in others if n not in latents and n not in unused),
        latents=tuple(name for name in others if name in latents),
        missing=(*missing, *unused),
        observed=tuple(rv.name for rv in model.observed_RVs),
        potentials=tuple(potential.name for potential in model.potentials),
        derived=tuple(var.name for var in model.deterministics),
        scales={n: _scales(model, n, whitened, latents) for n in others if n in latents},
        gaps=tuple(name for name in _missing(model) if name in latents),
        coefficients=find_coefficients(model, [name for name in others if name in latents]),
        whitened=tuple(name for name in whitened if name in latents),
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
            "multiplied by another free variable. The likelihood is the integral over it: "
            "pmlik.marginal_model takes it, and this is of models without latents. Where it is "
            "a parameter, name it in parameters=[...]."
        )


def _check_choice(model: pm.Model, latent: Latent, parameters: Sequence[str]) -> None:
    """Raise unless the names given are names of free variables, each once."""
    free = [rv.name for rv in model.free_RVs]
    if latent == "auto":
        latent = ()
    for what, names in (("latent", latent), ("parameters", parameters)):
        if isinstance(names, str) or not isinstance(names, Iterable):
            also = "'auto' or " if what == "latent" else ""
            raise ModelError(f"{what}: got {names!r}, need {also}a list of names.")
        unknown = [name for name in names if name not in free]
        if unknown:
            raise ModelError(
                f"{what}: {', '.join(map(repr, unknown))} not among the model's free variables, "
                f"which are {', '.join(free)}."
            )
    both = sorted(set(latent) & set(parameters))
    if both:
        raise ModelError(f"{', '.join(both)}: named as latent and as a parameter. Choose one.")


def _refuse_ambiguous(whitened: Mapping[str, Noncentered], settled: Collection[str]) -> None:
    """Raise where either side of a product could be the latent one, and neither was named."""
    for name, found in whitened.items():
        rivals = sorted(found.rivals - set(settled))
        if rivals and len(rivals) == len(found.rivals) and name not in settled:
            sides = ", ".join([name, *rivals])
            raise ModelError(
                f"{sides}: latent or parameter? Both sides of a product are standard arrays (a "
                f"factor model), and either could be integrated out. Choose: parameters=[{name!r}] "
                f"integrates over {', '.join(rivals)}, parameters={rivals!r} over {name}; naming "
                "all of them as parameters maximises over both."
            )


def _without_priors(model: pm.Model, latents: set[str]) -> set[str]:
    """Drop what only the prior of a parameter depends on: it is a parameter with it."""
    while True:
        above = ancestors(
            [v for rv in model.free_RVs if rv.name not in latents for v in rv.owner.inputs]
        )
        drawn_in = {var.name for var in above if var.name in latents and var in model.free_RVs}
        if not drawn_in:
            return latents
        latents = latents - drawn_in


def _reaches_data(rv: Any, model: pm.Model) -> bool:
    """Whether the data, or a potential, depend on a variable at all."""
    if isinstance(rv.owner.op, PartialObservedRV):
        return True
    inputs = [var for observed in model.observed_RVs for var in observed.owner.inputs]
    return rv in set(ancestors([*inputs, *model.potentials]))


def _scales(
    model: pm.Model, name: str, whitened: Mapping[str, Noncentered], latents: Collection[str]
) -> tuple[str, ...]:
    """The parameters of a latent's distribution, or what a whitened one is multiplied by."""
    above = set(ancestors(model[name].owner.inputs))
    scaling = whitened[name].scales if name in whitened else frozenset()
    return tuple(
        rv.name
        for rv in model.free_RVs
        if (rv in above or rv.name in scaling) and rv.name not in latents and rv.name != name
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
