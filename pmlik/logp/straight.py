"""Interpret PyTensor graphs as one straight Python function of NumPy calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from pytensor.graph.basic import Constant
from pytensor.link.basic import PerformLinker
from pytensor.scalar import basic as scalar
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.subtensor import Subtensor, unflatten_index_variables
from pytensor.tensor.type import TensorType
from pytensor.tensor.utils import import_func_from_string

_OPERATORS = {
    scalar.Add: "{} + {}",
    scalar.Mul: "{} * {}",
    scalar.Sub: "{} - {}",
    scalar.TrueDiv: "{} / {}",
    scalar.Neg: "-{}",
}

#: Functions that return arrays of their own, as ufuncs do.
_FRESH = (np.where,)


class StraightLinker(PerformLinker):  # type: ignore[misc]
    """PyTensor's interpreter, with its loop over the nodes written out as one function.

    The first evaluation is the interpreter's own, with its checks of shapes. Later ones give
    the same digits in about a third of the time (`tests/benchmarks/bench_straight.py`).
    """

    def make_all(
        self, input_storage: Any = None, output_storage: Any = None, storage_map: Any = None
    ) -> tuple[Any, ...]:
        """Return the function and its storage, as PyTensor's linkers do."""
        checked, inputs, outputs, thunks, order = super().make_all(
            input_storage, output_storage, storage_map
        )
        graph, cells = self.fgraph, [container.storage for container in inputs]
        written: list[Callable[..., Any]] = []

        def run() -> Any:
            if written:
                return written[0](*[cell[0] for cell in cells])
            found = checked()
            written.append(write_function(graph, order, thunks, checked.storage_map))
            return found

        run.allow_gc, run.storage_map = checked.allow_gc, checked.storage_map  # type: ignore[attr-defined]
        return run, inputs, outputs, thunks, order


def write_function(
    graph: Any, order: Sequence[Any], thunks: Sequence[Any], storage: Mapping[Any, list[Any]]
) -> Callable[..., list[Any]]:
    """Return a function of the graph's inputs that returns the list of its outputs.

    ``graph`` (FunctionGraph).
    ``order`` (sequence of Apply): its nodes, each after those that it depends on.
    ``thunks`` (sequence of callable): PyTensor's own call of each node.
    ``storage`` (mapping of Variable to list): the cells that these read and write.
    """
    writer = _Writer(storage)
    writer.unmask(graph.inputs)
    arguments = ", ".join(writer.name(variable) for variable in graph.inputs)
    last = {variable: node for node in order for variable in node.inputs}
    kept = {*graph.inputs, *graph.outputs}
    for node, thunk in zip(order, thunks, strict=True):
        writer.write(node, thunk)
        writer.forget(v for v in dict.fromkeys(node.inputs) if last[v] is node and v not in kept)
    outputs = ", ".join(writer.array(variable) for variable in graph.outputs)
    body = "".join(f"    {line}\n" for line in writer.lines)
    source = f"def straight({arguments}):\n{body}    return [{outputs}]\n"
    exec(compile(source, "<straight>", "exec"), writer.known)
    found: Callable[..., list[Any]] = writer.known["straight"]
    return found


class _Writer:
    """Writes lines of source, and keeps what they refer to by name."""

    def __init__(self, storage: Mapping[Any, list[Any]]) -> None:
        self.lines: list[str] = []
        self.known: dict[str, Any] = {"asarray": np.asarray}
        self._storage, self._names = storage, dict[Any, str]()

    def refer(self, value: Any) -> str:
        """Return a name for a Python object."""
        name = f"k{len(self.known)}"
        self.known[name] = value
        return name

    def name(self, variable: Any) -> str:
        """Return the name of a variable, whose value may be a NumPy scalar if it has no axes."""
        if variable not in self._names:
            if isinstance(variable, Constant):
                data = variable.data
                if isinstance(data, np.ndarray):  # a mask would spread
                    data = np.asarray(data)
                plain = data[()] if isinstance(data, np.ndarray) and not data.ndim else data
                self._names[variable] = self.refer(plain)
            else:
                self._names[variable] = f"v{len(self._names)}"
        return self._names[variable]

    def array(self, variable: Any) -> str:
        """Return an expression of a variable that is an array also without axes."""
        name = self.name(variable)
        return name if getattr(variable.type, "ndim", 1) else f"asarray({name})"

    def unmask(self, inputs: Iterable[Any]) -> None:
        """Take the masks off, which pm.set_data puts on data with NaN."""
        for variable in inputs:
            if isinstance(variable.type, TensorType):
                name = self.name(variable)
                self.lines.append(f"{name} = asarray({name})")

    def forget(self, variables: Iterable[Any]) -> None:
        """Let computed arrays go."""
        if names := [self.name(v) for v in variables if v.owner and v.type.ndim]:
            self.lines.append(f"del {', '.join(names)}")

    def write(self, node: Any, thunk: Any) -> None:
        """Write the lines of one node."""
        expression = express(node.op, node, self)
        if expression is not None:
            self.lines.append(f"{self.name(node.outputs[0])} = {expression}")
        elif hasattr(thunk, "perform"):
            cells, values = self.refer(None), [self.array(v) for v in node.inputs]
            self.lines.append(f"{cells} = [{', '.join(['[None]'] * len(node.outputs))}]")
            call, itself = self.refer(thunk.perform), self.refer(node)
            self.lines.append(f"{call}({itself}, [{', '.join(values)}], {cells})")
            for i, variable in enumerate(node.outputs):
                self.lines.append(f"{self.name(variable)} = {cells}[{i}][0]")
        else:
            for variable in node.inputs:
                if not isinstance(variable, Constant):
                    cell = self.refer(self._storage[variable])
                    self.lines.append(f"{cell}[0] = {self.array(variable)}")
            self.lines.append(f"{self.refer(thunk)}()")
            for variable in node.outputs:
                cell = self.refer(self._storage[variable])
                self.lines.append(f"{self.name(variable)} = {cell}[0]")


@singledispatch
def express(op: Any, node: Any, writer: _Writer) -> str | None:
    """Return an expression of a node's only output; None leaves it to the node's own code."""
    return None


@express.register
def _(op: Elemwise, node: Any, writer: _Writer) -> str | None:
    if len(node.outputs) != 1:
        return None
    names, dtype = [writer.name(v) for v in node.inputs], node.outputs[0].type.dtype
    if isinstance(op.scalar_op, scalar.Composite):
        return _expand(op.scalar_op.fgraph, names, writer)
    if isinstance(op.scalar_op, scalar.Cast):
        return f"{names[0]}.astype({dtype!r})"
    if isinstance(op.scalar_op, scalar.Add | scalar.Mul) and len(names) > 2:
        if any(v.type.dtype != dtype for v in node.inputs):
            return None
        return (" + " if isinstance(op.scalar_op, scalar.Add) else " * ").join(names)
    if op.nfunc is None or op.nfunc_spec[1:] != (len(names), 1):
        return None
    return _call(op.nfunc, _OPERATORS.get(type(op.scalar_op)), node, writer)


def _call(
    function: Callable[..., Any], template: str | None, node: Any, writer: _Writer
) -> str | None:
    """Return the call of a NumPy function, or its operator, with a result of the node's type."""
    names, dtype = [writer.name(v) for v in node.inputs], node.outputs[0].type.dtype
    options = {"sig": node.tag.sig} if hasattr(node.tag, "sig") else {}
    own = isinstance(function, np.ufunc) or function in _FRESH or _is_ours(function)
    try:
        with np.errstate(all="ignore"):
            ones = [np.ones(1, v.type.dtype) for v in node.inputs]
            same = own and function(*ones, **options).dtype == dtype
    except (TypeError, ValueError):
        return None
    if same and template and not options:
        return template.format(*names)
    given = "".join(f", {key}={value!r}" for key, value in options.items())
    call = f"{writer.refer(function)}({', '.join(names)}{given})"
    return call if same else f"{writer.refer(np.array)}({call}, dtype={dtype!r})"


def _expand(graph: Any, names: Sequence[str], writer: _Writer) -> str | None:
    """Return the name of what operations fused for single numbers give for whole arrays."""
    parts = graph.toposort()
    dtypes = {v.type.dtype for part in parts for v in (*part.inputs, *part.outputs)}
    functions = [_binary_or_unary(part) for part in parts]
    if dtypes != {"float64"} or None in functions:
        return None
    known: dict[Any, str] = dict(zip(graph.inputs, names, strict=True))
    for part, function in zip(parts, functions, strict=True):
        given = [known.get(v) or writer.name(v) for v in part.inputs]
        known[part.outputs[0]] = f"{writer.refer(function)}({', '.join(given)})"
    return known[graph.outputs[0]]


def _binary_or_unary(part: Any) -> Callable[..., Any] | None:
    """Return NumPy's function of a scalar operation, if it takes as many arguments."""
    spec = getattr(part.op, "nfunc_spec", None)
    if spec is None or spec[1:] != (len(part.inputs), 1):
        return None
    found = import_func_from_string(spec[0])
    return found if isinstance(found, np.ufunc) else None


def _is_ours(function: Callable[..., Any]) -> bool:
    return function.__module__.startswith("pmlik.")


@express.register
def _(op: DimShuffle, node: Any, writer: _Writer) -> str | None:
    name, order = writer.name(node.inputs[0]), [*op.shuffle, *op.drop]
    if order != sorted(order):
        name = f"{name}.transpose({order!r})"
    places = ["None" if i == "x" else ":" for i in op.new_order]
    return f"{name}[{', '.join([*places, *['0'] * len(op.drop), '...'])}]"


@express.register
def _(op: CAReduce, node: Any, writer: _Writer) -> str | None:
    given, dtype = node.inputs[0].type.dtype, node.outputs[0].type.dtype
    plain = isinstance(op.ufunc, np.ufunc) and node.inputs[0].type.ndim
    if not plain or not given == dtype == (op.acc_dtype or dtype):
        return None
    axis = op.axis if op.axis is None else tuple(op.axis)
    return f"{writer.refer(op.ufunc.reduce)}({writer.name(node.inputs[0])}, axis={axis!r})"


@express.register
def _(op: Subtensor, node: Any, writer: _Writer) -> str | None:
    array, *places = node.inputs
    if not all(isinstance(place, Constant) for place in places):
        return None
    index = tuple(unflatten_index_variables([int(place.data) for place in places], op.idx_list))
    return f"{writer.name(array)}[{writer.refer(index)}]"
