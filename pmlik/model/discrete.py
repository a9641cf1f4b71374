"""Sum discrete latents out of a model, with pymc-extras if it is installed."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pymc as pm
from pytensor.graph.traversal import ancestors

from pmlik.errors import ModelError
from pmlik.model.transform import carry_over, without_initial_values


def discrete_latents(model: pm.Model) -> tuple[str, ...]:
    """Return the names of the discrete free variables that other variables depend on."""
    above = {v for rv in model.basic_RVs for v in ancestors(rv.owner.inputs)}
    above |= set(ancestors(model.potentials))
    return tuple(rv.name for rv in model.free_RVs if rv.dtype[0] != "f" and rv in above)


def sum_out_discrete(model: pm.Model) -> tuple[pm.Model, tuple[str, ...]]:
    """Return the model with its finite discrete latents summed out, and their names.

    Deterministics that depend on them are left out. The model is returned unchanged if it has no
    discrete latents, or pymc-extras is not installed.

    Raises `ModelError` if pymc-extras can't sum them out.
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
    copy = _without_dependent_deterministics(model, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clone = marginalize(copy, [copy[name] for name in names])
    except NotImplementedError as error:
        raise ModelError(
            f"{', '.join(names)}: discrete free variable that pymc_extras.marginalize can't sum "
            f"out ({error}). It takes finite ones (Bernoulli, Categorical, DiscreteUniform, "
            "DiscreteMarkovChain), one per row of what depends on them. Marginalize it by hand: "
            "write the sum out with pm.Mixture, or (a switchpoint) as a pm.Potential of "
            "pm.math.logsumexp over its values."
        ) from error
    carry_over(clone, model)
    return clone, names


def _without_dependent_deterministics(model: pm.Model, names: Sequence[str]) -> Any:
    """Return a shallow copy of the model without the deterministics that depend on the names."""
    copy = without_initial_values(model)
    latents = {model[name] for name in names}
    dependent = {var.name for var in model.deterministics if latents & set(ancestors([var]))}
    copy.deterministics = [var for var in model.deterministics if var.name not in dependent]
    copy.named_vars = type(model.named_vars)(
        {name: var for name, var in model.named_vars.items() if name not in dependent}
    )
    return copy
