"""Refuse models that have no likelihood, with one clear sentence for each reason."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.data import MinibatchOp
from pymc.distributions.simulator import SimulatorRV
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors, graph_inputs

from pmlik.errors import ModelError

# Dims of estimates, intervals, bootstraps and draws.
_OWN_DIMS = {"method", "statistic", "replicate", "ci_bound"}


def resolve_model(model: pm.Model | None) -> pm.Model:
    """Return the given model, or the one on the context stack.

    Raises `ModelError` if there is none, or it is not a PyMC model, or only a sub-model of one.
    """
    try:
        found = pm.modelcontext(model)
    except TypeError:
        raise ModelError(
            "No model: none was given and there is none on the context stack. "
            "Pass a pm.Model, or call inside `with model:`."
        ) from None
    if is_bambi(found):
        if not getattr(found, "built", True):
            found.build()
        found = found.backend.model
    if not hasattr(found, "free_RVs"):
        raise ModelError(f"model: got {type(found).__name__}, need a pm.Model.")
    if not found.isroot:
        raise ModelError(
            f"model: got the sub-model {found.name!r}; pass the outermost model, which holds it."
        )
    return found


def is_bambi(model: Any) -> bool:
    """Return True for a Bambi model, which holds a PyMC model once it is built."""
    parts = hasattr(model, "backend") and hasattr(model, "build")
    return parts and not isinstance(model, type) and not hasattr(model, "free_RVs")


def refuse_without_likelihood(model: pm.Model, *, potentials_count: bool) -> None:
    """Raise for a model without parameters, or without observed variables. Raises `ModelError`."""
    if not model.free_RVs:
        raise ModelError(
            "The model has no free variables: there is no parameter to estimate. "
            "Give at least one variable a prior and no `observed`."
        )
    if not model.observed_RVs and not (model.potentials and potentials_count):
        raise ModelError(
            "The model has no observed variable, so it has no likelihood. Pass data as "
            "`observed=` to at least one variable."
        )


def refuse_discrete(model: pm.Model, names: Collection[str]) -> None:
    """Raise for discrete variables among the named ones. Raises `ModelError`."""
    discrete = [rv.name for rv in model.free_RVs if rv.name in names and rv.dtype[0] != "f"]
    if discrete:
        raise ModelError(
            f"{', '.join(discrete)}: discrete free variable, which has no gradient. Marginalize "
            "it: write the sum out with pm.Mixture, or (a switchpoint) as a pm.Potential of "
            "pm.math.logsumexp over its values, or install pymc-extras, with which finite ones "
            "are summed out."
        )


def refuse_names(model: pm.Model) -> None:
    """Raise for names of dims and variables that tables can't hold. Raises `ModelError`."""
    names = [rv.name for rv in model.unobserved_RVs]
    for name in names:
        for dim in model.named_vars_to_dims.get(name) or ():
            if dim in _OWN_DIMS:
                raise ModelError(
                    f"{name}: its dim is called {dim!r}, which is a dim of the tables. Rename it."
                )
            if any(isinstance(label, tuple | list) for label in model.coords.get(dim) or ()):
                raise ModelError(
                    f"{name}: the labels of its dim {dim!r} are tuples; need numbers or text."
                )
        owner = name.partition("[")[0]
        if owner != name and owner in names:
            raise ModelError(f"{name}: reads like an element of {owner}. Rename it.")


def refuse_unusable(model: pm.Model) -> None:
    """Raise for observed variables without likelihood, or data that are not finite.

    Raises `ModelError`.
    """
    for rv in model.observed_RVs:
        value = model.rvs_to_values[rv]
        minibatch = any(
            v.owner and isinstance(v.owner.op, MinibatchOp) for v in ancestors([rv, value])
        )
        if minibatch or isinstance(rv.owner.op, MinibatchRandomVariable):
            raise ModelError(
                f"{rv.name}: its likelihood is scaled by `total_size` or taken from a minibatch, "
                "so it is an estimate of the likelihood and not the likelihood. Pass all the data, "
                "without `total_size`."
            )
        if isinstance(rv.owner.op, SimulatorRV):
            raise ModelError(
                f"{rv.name}: pm.Simulator has no likelihood, only simulations. Use a distribution "
                "with a density, or pm.CustomDist with `logp=`."
            )
        base = rv.name.removesuffix("_observed")
        gaps = base in model.named_vars and f"{base}_unobserved" in model.named_vars
        _refuse_not_finite(base if gaps else rv.name, _observed_data(value), gaps)


def _refuse_not_finite(name: str, data: NDArray[Any] | None, gaps: bool) -> None:
    if data is None or not np.issubdtype(data.dtype, np.floating) or np.isfinite(data).all():
        return
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(data))[0])
    where = f" at index {list(at)}" if at else ""
    where += " (counted without the missing ones)" if gaps else ""
    raise ModelError(
        f"{name}: the observed data hold {data[at]}{where}, need finite values. Remove or correct "
        "it (a censored value belongs in pm.Censored, a missing one is a NaN in `observed=`)."
    )


def constant_data(var: Any) -> NDArray[Any] | None:
    """Return the array that a constant or shared variable holds, None for any other."""
    if isinstance(var, Constant):
        data = var.data
    elif isinstance(var, SharedVariable):
        data = var.get_value(borrow=True)
    else:
        return None
    if isinstance(data, np.ma.MaskedArray):  # pm.set_data makes it of NaN
        return np.asarray(np.ma.filled(data.astype(float), np.nan))
    return data if isinstance(data, np.ndarray) else None


def describe_not_finite(rv: Any) -> list[str]:
    """Return sentences on the arrays in a variable's distribution that are not all finite.

    Arrays with NaN if there are any, else arrays with infinities.
    """
    named = {}
    for var in graph_inputs(rv.owner.inputs):
        data = constant_data(var)
        if data is not None and data.ndim > 0 and data.dtype.kind == "f":
            named[var.name or f"an array of shape {data.shape}"] = data
    for kind, test in (("NaN", np.isnan), ("infinite", np.isinf)):
        found = [
            f"{name} is {kind} at index {[int(i) for i in np.argwhere(test(data))[0]]}"
            for name, data in named.items()
            if test(data).any()
        ]
        if found:
            return found
    return []


def _observed_data(value: Any) -> NDArray[Any] | None:
    """Return the data of an observed variable, None if they are computed in the graph."""
    if (data := constant_data(value)) is not None:
        return data
    if value.owner and len(value.owner.inputs) == 1:  # a cast or a view of the data
        return _observed_data(value.owner.inputs[0])
    return None
