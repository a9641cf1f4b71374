"""A model as it is now: its own variables, data and coords."""

from __future__ import annotations

import warnings
from copy import deepcopy

import pymc as pm
import pytensor.tensor as pt
from pymc.model.fgraph import model_from_fgraph
from pytensor.compile import SharedVariable
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.variable import TensorConstant

from pmlik.model.transform import carry_over, graph_of


def snapshot(model: pm.Model) -> pm.Model:
    """Return a copy that later changes of the model's data, coords and variables do not reach.

    ``pm.set_data``, ``set_value`` of a shared variable, and values written into a NumPy array of
    the model are such changes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected variables likely created by GP", UserWarning)
        graph, _ = graph_of(model)
    for var in list(graph_inputs(graph.outputs)):
        if isinstance(var, SharedVariable):  # a clone of the variable, but with the same array
            var.container = deepcopy(var.container)
        elif isinstance(var, TensorConstant) and var.ndim:
            own = pt.constant(var.data.copy(), name=var.name, dtype=var.dtype)
            graph.replace(var, own, import_missing=True)
    clone = model_from_fgraph(graph, mutate_fgraph=True)
    carry_over(clone, model)
    return clone
