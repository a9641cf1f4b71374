"""PyTensor graphs of a model: precision, users of a variable, evaluation."""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pymc.model.fgraph import ModelValuedVar
from pymc.pytensorf import constant_fold
from pytensor.compile.mode import Mode
from pytensor.graph import FunctionGraph
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.variable import TensorConstant

from pmlik._typing import FloatArray

# Arrays of at least this size are passed as arguments: compiled into a function they cost minutes
# and gigabytes.
_LARGE = 10_000
_WIDER = {"float32": "float64", "int8": "int64", "int16": "int64"}


def in_double_precision(graphs: Sequence[Any]) -> list[Any]:
    """Return the graphs with constants, and what is computed from constants alone, in 64 bits.

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
    # An observed variable and its data must agree on their type.
    data = {node.inputs[1] for node in nodes if isinstance(node.op, ModelValuedVar)}
    for var in set(graph_inputs(graphs)) - data:
        if isinstance(var, TensorConstant) and var.type.dtype in _WIDER:
            wider = _WIDER[var.type.dtype]
            double[var] = pt.constant(np.asarray(var.data, wider), dtype=wider)
    try:
        converted: list[Any] = clone_replace(list(graphs), double, rebuild_strict=False)
    except (TypeError, ValueError, AssertionError):  # an operation that needs its input types
        return list(graphs)
    return converted


def share_large_constants(graphs: Sequence[Any]) -> list[Any]:
    """Return the graphs with large constant arrays replaced by shared variables."""
    constant: set[Any] = set()
    frontier: set[Any] = set()
    for node in _in_order(graphs):
        fixed = [isinstance(var, TensorConstant) or var in constant for var in node.inputs]
        if node.inputs and all(fixed):
            constant.update(node.outputs)
        else:
            frontier |= {v for v, yes in zip(node.inputs, fixed, strict=True) if yes}
    large = {}
    for var, value in zip(frontier, constant_fold(list(frontier), False), strict=True):
        if isinstance(value, np.ndarray) and value.size >= _LARGE:
            shared = pytensor.shared(np.asarray(value, var.type.dtype), shape=value.shape)
            large[var] = var.type.filter_variable(shared)
    return list(clone_replace(list(graphs), large, rebuild_strict=False)) if large else list(graphs)


def _in_order(graphs: Sequence[Any]) -> list[Any]:
    """Return the graphs' nodes in topological order."""
    return list(FunctionGraph(outputs=list(graphs), clone=False).toposort())


def _to_double(constant: Any) -> Any:
    return pt.constant(np.asarray(constant.data, "float64"), dtype="float64")


#: Operations that only rearrange numbers, of plain and of labelled arrays.
MOVES = {
    "AdvancedSubtensor", "AdvancedSubtensor1", "Alloc", "Broadcast", "Concat", "CumOp",
    "DimShuffle", "ExpandDims", "Index", "Join", "MakeVector", "Rename", "Reshape",
    "SpecifyShape", "Squeeze",
    "Stack", "Subtensor", "TensorFromXTensor", "Transpose", "Unbroadcast", "ViewOp",
    "XTensorFromTensor",
}  # fmt: skip

#: Products of arrays, by the name of their core operation.
MATRIX_PRODUCTS = {"Dot", "Einsum", "BatchedDot"}


def operation_names(op: Any) -> tuple[str, str]:
    """Return the name of an elementwise operation's scalar one, and the core one's class name."""
    scalar = getattr(op, "scalar_op", None)
    core = getattr(op, "core_op", op)
    return (str(getattr(scalar, "name", None) or scalar or ""), type(core).__name__)


def users_of(ends: Iterable[Any]) -> dict[Any, list[Any]]:
    """Return, for each ancestor of the given variables, the nodes that take it as an input."""
    users: dict[Any, list[Any]] = {}
    for node in {var.owner for var in ancestors(list(ends)) if var.owner}:
        for var in set(node.inputs):
            users.setdefault(var, []).append(node)
    return users


def evaluate(graphs: Sequence[Any]) -> list[FloatArray]:
    """Return the values of graphs without inputs, such as data."""
    mode = Mode("py", optimizer="fast_compile")
    return [np.asarray(array) for array in pytensor.function([], list(graphs), mode=mode)()]


def as_tensor(graph: Any) -> Any:
    """Return a plain tensor; PyMC's labelled arrays are converted."""
    return pt.as_tensor(graph, allow_xtensor_conversion=True)


class _Building:
    """Counts the threads that build graphs; the settings are the process's."""

    def __init__(self) -> None:
        self.lock, self.count = Lock(), 0
        self.collects, self.traces = True, 0


_building = _Building()


@contextmanager
def building_graphs() -> Iterator[None]:
    """Build graphs without garbage collection and records of who made each node.

    These take a quarter of the time. Of nodes that pmlik makes nobody reads the record.
    """
    state = _building
    with state.lock:
        if not state.count:
            state.collects, state.traces = gc.isenabled(), pytensor.config.traceback__limit
            gc.disable()
            pytensor.config.traceback__limit = 0
        state.count += 1
    try:
        yield
    finally:
        with state.lock:
            state.count -= 1
            if not state.count:
                pytensor.config.traceback__limit = state.traces
                if state.collects:
                    gc.enable()
