"""Constants in double precision, where PyTensor keeps them in single."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.model.fgraph import ModelValuedVar
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.variable import TensorConstant

__all__ = ["in_double_precision"]

_WIDER = {"float32": "float64", "int8": "int64", "int16": "int64"}


def in_double_precision(graphs: Sequence[Any]) -> list[Any]:
    """The same graphs with constants, and what is computed from constants alone, in 64 bits.

    PyTensor keeps a literal such as 2 or 2.0 in the smallest type that holds it, and takes its
    square root (PyMC's normal cdf and probit) or its gammaln (a count of trials) in float32:
    1.7e-8 relative error in every log-likelihood built on them.
    """
    double: dict[Any, Any] = {}
    nodes = {var.owner for var in ancestors(graphs) if var.owner}
    for node in nodes:
        if not all(isinstance(var, TensorConstant) for var in node.inputs):
            continue
        if isinstance(node.op, Elemwise) and node.outputs[0].type.dtype == "float32":
            double[node.outputs[0]] = node.op(*map(_to_double, node.inputs))
    # An observed variable and its data have to agree on their type.
    data = {node.inputs[1] for node in nodes if isinstance(node.op, ModelValuedVar)}
    for var in set(graph_inputs(graphs)) - data:
        if isinstance(var, TensorConstant) and var.type.dtype in _WIDER:
            wider = _WIDER[var.type.dtype]
            double[var] = pt.constant(np.asarray(var.data, wider), dtype=wider)
    try:
        converted: list[Any] = clone_replace(list(graphs), double, rebuild_strict=False)
    except (TypeError, ValueError, AssertionError):  # an operation that insists on its types
        return list(graphs)
    return converted


def _to_double(constant: Any) -> Any:
    return pt.constant(np.asarray(constant.data, "float64"), dtype="float64")
