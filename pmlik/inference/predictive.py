"""A model with new data, and the expected values of its variables as functions of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions.moments import mean
from pymc.pytensorf import compile as pm_compile
from pytensor.graph.replace import graph_replace
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.type_other import NoneConst

from pmlik._typing import FloatArray
from pmlik.errors import ModelError, ValuesError
from pmlik.logp.compile import compile_mode
from pmlik.model.graph import as_tensor
from pmlik.model.snapshot import snapshot


def with_data(
    model: pm.Model, data: Mapping[str, Any], coords: Mapping[str, Any] | None
) -> pm.Model:
    """Return a copy of a model with new values of its ``pm.Data``.

    ``coords``: new labels of dims; those of dims of another length are numbered by default.
    Raises `ValuesError` for names that are no ``pm.Data``, and shapes that do not fit.
    """
    copy = snapshot(model)
    known = [var.name for var in copy.data_vars]
    labels = {str(dim): np.asarray(index) for dim, index in (coords or {}).items()}
    for name, value in data.items():
        if name not in known:
            raise ValuesError(
                f"data: {name!r} is not a pm.Data of the model, which has "
                f"{', '.join(known) or 'none'}."
            )
        for dim, length in zip(
            copy.named_vars_to_dims.get(name) or (), np.shape(value), strict=False
        ):
            old = copy.coords.get(dim)
            if dim is not None and dim not in labels and old is not None and len(old) != length:
                labels[dim] = np.arange(length)
    of_data = {dim for name in data for dim in copy.named_vars_to_dims.get(name) or ()}
    try:
        for dim in labels.keys() - of_data:
            copy.set_dim(dim, len(labels[dim]), coord_values=tuple(labels[dim].tolist()))
        tuples = {dim: tuple(index.tolist()) for dim, index in labels.items()}
        pm.set_data(dict(data), model=copy, coords=tuples)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValuesError(f"data: {str(error).splitlines()[0]}") from error
    return copy


def expected_values(
    model: pm.Model, names: Sequence[str], given: Sequence[str]
) -> Callable[[Mapping[str, Any]], list[FloatArray]]:
    """Return a function from values of variables to expected values of others.

    ``names``: random variables, whose mean is taken, and deterministics, taken as they are.
    ``given``: the parameters; any other free variable (a latent) is at its mean.
    Raises `ModelError` for a distribution whose mean PyMC does not know.
    """
    outputs = [_mean(model[name]) if _is_random(model, name) else model[name] for name in names]
    outputs = [as_tensor(output) for output in outputs]
    latents = [rv for rv in model.free_RVs if rv.name not in given]
    for rv in reversed(latents):  # those that others depend on come first in the model
        outputs = graph_replace(outputs, {rv: _mean(rv)}, strict=False)
    inputs = {name: model[name].type(name=name) for name in given}
    outputs = graph_replace(outputs, {model[n]: v for n, v in inputs.items()}, strict=False)
    function = pm_compile(
        list(inputs.values()), outputs, mode=compile_mode(None), on_unused_input="ignore"
    )

    def evaluate(values: Mapping[str, Any]) -> list[FloatArray]:
        arrays = [np.asarray(values[n]).astype(v.type.dtype) for n, v in inputs.items()]
        return [np.asarray(array, dtype=float) for array in function(*arrays)]

    return evaluate


def _is_random(model: pm.Model, name: str) -> bool:
    return model[name] in model.basic_RVs


def _mean(rv: Any) -> Any:
    """Return the graph of a distribution's mean.

    A size that only repeats the shape of the observed data is left to the parameters.
    """
    node = rv.owner
    if isinstance(node.op, RandomVariable):
        rng, _, *parameters = node.inputs
        free = node.op.make_node(rng, NoneConst, *parameters).outputs[1]
        pairs = zip(free.type.broadcastable, rv.type.broadcastable, strict=False)
        if free.type.ndim == rv.type.ndim and not any(one and not all_ for one, all_ in pairs):
            rv = free
    try:
        return mean(rv)
    except NotImplementedError:
        raise ModelError(
            f"{rv.name}: PyMC knows no mean of its distribution. Name a pm.Deterministic in "
            "var_names, or use kind='response'."
        ) from None
