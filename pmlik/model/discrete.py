"""Discrete latents summed out of a model, by pymc-extras where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pymc as pm
from pytensor.graph.traversal import ancestors

from pmlik.errors import ModelError
from pmlik.model.transform import carry_over, without_initial_values

__all__ = ["discrete_latents", "sum_out_discrete"]


def discrete_latents(model: pm.Model) -> tuple[str, ...]:
    """Names of the discrete free variables that other variables depend on."""
    above = {v for rv in model.basic_RVs for v in ancestors(rv.owner.inputs)}
    above |= set(ancestors(model.potentials))
    return tuple(rv.name for rv in model.free_RVs if rv.dtype[0] != "f" and rv in above)


def sum_out_discrete(model: pm.Model) -> tuple[pm.Model, tuple[str, ...]]:
    """The model with its finite discrete latents summed out, and their names.

    Deterministics that depend on them are left out. The model is returned as it is where it has
    none, or pymc-extras is not installed.

    Raises
    ------
    ModelError
        Where pymc-extras can't sum them out.
    """
    names = discrete_latents(model)
    if not names or find_spec("pymc_extras") is None:
        return model, ()
    try:
        from pymc_extras.marginal import marginalize
    except ImportError as error:
        raise ModelError(
            f"{', '.join(names)}: discrete free variable, and the pymc-extras that is installed "
            f"does not go with PyMC {pm.__version__} ({error}). Install one that does, or write "
            "the sum out with pm.Mixture."
        ) from error
    face = _without_what_depends(model, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clone = marginalize(face, [face[name] for name in names])
    except NotImplementedError as error:
        raise ModelError(
            f"{', '.join(names)}: discrete free variable that pymc_extras.marginalize can't sum "
            f"out ({error}). It takes finite ones (Bernoulli, Categorical, DiscreteUniform, "
            "DiscreteMarkovChain), one a row of what depends on them. Marginalise it by hand: "
            "write the sum out with pm.Mixture."
        ) from error
    carry_over(clone, model)
    return clone, names


def _without_what_depends(model: pm.Model, names: Sequence[str]) -> Any:
    """A second face of the model without the deterministics that the named variables move."""
    face = without_initial_values(model)
    latents = {model[name] for name in names}
    moved = {var.name for var in model.deterministics if latents & set(ancestors([var]))}
    face.deterministics = [var for var in model.deterministics if var.name not in moved]
    face.named_vars = type(model.named_vars)(
        {name: var for name, var in model.named_vars.items() if name not in moved}
    )
    return face
