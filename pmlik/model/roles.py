"""Roles of a model's variables: parameters, latents, missing values, derived quantities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pymc as pm
from pymc.distributions.distribution import PartialObservedRV
from pytensor.graph.traversal import ancestors

from pmlik.errors import ModelError
from pmlik.model.latents import Noncentered, find_coefficients, find_imputed, find_noncentered
from pmlik.model.support import is_restricted, log_probability, without_dependents
from pmlik.model.thresholds import find_thresholds
from pmlik.model.validate import (
    refuse_discrete,
    refuse_names,
    refuse_unusable,
    refuse_without_likelihood,
)

#: The density that ``pm.Potential`` terms belong to.
Potentials = Literal["likelihood", "prior"]

#: The latents: read from the graph, or named.
Latent = Literal["auto"] | Sequence[str]


@dataclass(frozen=True)
class Roles:
    """The names of a model's variables by role.

    ``parameters``: free variables with a prior of their own.
    ``latents``: free variables whose distribution is part of the model.
    ``missing``: missing observations and latents that no data depend on: they integrate to one, or
        to a probability if they are `restricted`.
    ``observed``, ``potentials``, ``derived``: the other variables, in the model's order.
    ``scales``: the parameters of each latent's distribution.
    ``gaps``: the latents that are missing values.
    ``coefficients``: the latents that multiply a dense matrix of data, as coefficients under a
        shrinkage prior.
    ``noncentered``: the latents with a constant standard prior.
    ``restricted``: those of `missing` whose transform leaves a part of the support: its probability
        is a factor of the likelihood.
    ``summed``: discrete latents that were summed out of the model before it was read.
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
    noncentered: tuple[str, ...] = ()
    restricted: tuple[str, ...] = ()
    summed: tuple[str, ...] = ()


def read_roles(
    model: pm.Model,
    potentials: Potentials = "likelihood",
    *,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
) -> Roles:
    """Read each variable's role from the model's graph, and refuse what has no likelihood.

    ``latent``: the latents; missing values that the data depend on are latents anyway.
    ``parameters``: variables that are parameters, also if the graph says otherwise.
    Raises `ModelError`: naming the variable, what was given, what is needed, and what to do.
    """
    if potentials not in ("likelihood", "prior"):
        raise ModelError(f"potentials: got {potentials!r}, need 'likelihood' or 'prior'.")
    refuse_without_likelihood(model, potentials_count=potentials == "likelihood")
    _check_choice(model, latent, parameters)
    gaps = _missing(model)
    missing = tuple(
        name
        for name in gaps
        if not is_restricted(model, model[name])
        and not _is_used(model[name], model.basic_RVs, model)
    )
    others = [rv.name for rv in model.free_RVs if rv.name not in missing]
    refuse_discrete(model, others)
    refuse_unusable(model)
    refuse_names(model)
    noncentered = find_noncentered(model)
    found = _find_latents(model, others, noncentered, latent, set(parameters))
    gaps += tuple(name for name in find_imputed(model) if name not in gaps)
    found |= set(gaps) - set(missing)
    found = _without_priors(model, found - set(parameters))
    unused, restricted = _find_unused(model, found)
    latents, kept = _among(found - unused, others), _among(set(others) - found, others)
    if not kept:
        raise ModelError(
            f"{', '.join(others)}: all free variables are latents, so that no parameter is left "
            "to estimate. Name parameters=[...]."
        )
    return Roles(
        parameters=kept,
        latents=latents,
        missing=(*missing, *_among(unused, others)),
        observed=_names(model.observed_RVs),
        potentials=_names(model.potentials),
        derived=_names(model.deterministics),
        scales={name: _scales(model, name, noncentered, latents) for name in latents},
        gaps=_among(latents, gaps),
        coefficients=find_coefficients(model, latents),
        noncentered=_among(latents, noncentered),
        restricted=_among(restricted, others),
    )


def joined_by_prior(model: pm.Model, roles: Roles) -> dict[str, set[str]]:
    """Return, for each parameter, those whose prior is one with its own, itself among them.

    One parameter is in the prior of another, they have one in common, or both are in a potential
    of the prior. A parameter with a prior of its own is joined to none, unless its elements are
    joined to each other.
    """
    rvs = {name: model[name] for name in roles.parameters}
    groups = [
        {name, *(n for n, other in rvs.items() if other in ancestors(rv.owner.inputs))}
        for name, rv in rvs.items()
    ]
    for term in model.potentials:
        above = set(ancestors([term]))
        groups.append({name for name, rv in rvs.items() if rv in above})
    joined = {
        name: {name} if getattr(rv.owner.op, "ndim_supp", 0) else set() for name, rv in rvs.items()
    }
    for group in filter(lambda names: len(names) > 1, groups):
        whole = group.union(*(joined[name] for name in group))
        joined |= dict.fromkeys(whole, whole)
    return joined


def _names(variables: Iterable[Any]) -> tuple[str, ...]:
    return tuple(var.name for var in variables)


def _among(chosen: Collection[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return the chosen ones of some names, in their order."""
    return tuple(name for name in names if name in chosen)


def _find_latents(
    model: pm.Model,
    others: Sequence[str],
    noncentered: Mapping[str, Noncentered],
    latent: Latent,
    parameters: set[str],
) -> set[str]:
    """Return the latents that were named, or else those that the graph shows."""
    if latent != "auto":
        return set(latent)
    centered = {name for name in others if _depends_on_free(model[name], model)}
    _refuse_ambiguous(noncentered, centered | parameters)
    found = centered | set(noncentered)
    return found - find_thresholds(model, found)


def _find_unused(model: pm.Model, latents: Collection[str]) -> tuple[set[str], set[str]]:
    """Return the latents that no data depend on, and those of them that are restricted.

    One is restricted if its transform leaves a part of its distribution's support that has a
    known probability. Without a known probability it is integrated out like one that is used.
    """
    data = list(model.observed_RVs)
    unused = {name for name in latents if not _is_used(model[name], data, model)}
    cut = {name for name in unused if is_restricted(model, model[name])}
    data += [model[name] for name in cut]
    unused = {name for name in unused if name in cut or not _is_used(model[name], data, model)}
    known = {
        n for n in without_dependents(model, cut) if log_probability(model, model[n]) is not None
    }
    return unused - (cut - known), known


def refuse_latents(roles: Roles) -> None:
    """Raise for a model whose likelihood is an integral over latents.

    Raises `ModelError`: naming the latents.
    """
    if roles.latents:
        raise ModelError(
            f"{', '.join(roles.latents)}: latent (random effects, states or missing values), as "
            "its distribution depends on other free variables, or it is a standard draw that is "
            "multiplied by another free variable. The likelihood is the integral over it: "
            "pmlik.marginal_model takes it, and this is of models without latents. If it is "
            "a parameter, name it in parameters=[...]."
        )


def _check_choice(model: pm.Model, latent: Latent, parameters: Sequence[str]) -> None:
    """Raise unless the given names are names of free variables, each with one role."""
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


def _refuse_ambiguous(noncentered: Mapping[str, Noncentered], settled: Collection[str]) -> None:
    """Raise if either factor of a product could be the latent, and neither was named."""
    for name, found in noncentered.items():
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
    """Return the latents without those in the prior of a parameter: they are parameters too."""
    while True:
        above = ancestors(
            [v for rv in model.free_RVs if rv.name not in latents for v in rv.owner.inputs]
        )
        drawn_in = {var.name for var in above if var.name in latents and var in model.free_RVs}
        if not drawn_in:
            return latents
        latents = latents - drawn_in


def _scales(
    model: pm.Model, name: str, noncentered: Mapping[str, Noncentered], latents: Collection[str]
) -> tuple[str, ...]:
    """Return the parameters of a latent's distribution and those that multiply the latent."""
    above = set(ancestors(model[name].owner.inputs))
    scaling = noncentered[name].scales if name in noncentered else frozenset()
    return tuple(
        rv.name
        for rv in model.free_RVs
        if (rv in above or rv.name in scaling) and rv.name not in latents and rv.name != name
    )


def _missing(model: pm.Model) -> tuple[str, ...]:
    """Return the missing values: PyMC makes a free ``y_unobserved`` of them."""
    observed = {rv.name: rv for rv in model.observed_RVs}
    joined = {var.name: var for var in model.deterministics}
    names = []
    for rv in model.free_RVs:
        base = rv.name.removesuffix("_unobserved")
        other = observed.get(f"{base}_observed")
        if base != rv.name and other is not None and base in joined:
            parts = set(ancestors([joined[base]]))  # PyMC joins the two in a deterministic
            if rv in parts and other in parts:
                names.append(rv.name)
    return tuple(names)


def _is_used(rv: Any, others: Iterable[Any], model: pm.Model) -> bool:
    """Return True if the density of another variable or a potential depends on a variable."""
    if isinstance(rv.owner.op, PartialObservedRV):  # one joint density for both parts
        return True
    inputs = [var for other in others if other is not rv for var in other.owner.inputs]
    return rv in set(ancestors([*inputs, *model.potentials]))


def _depends_on_free(rv: Any, model: pm.Model) -> bool:
    return not (set(model.free_RVs) - {rv}).isdisjoint(ancestors(rv.owner.inputs))
