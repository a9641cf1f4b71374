"""The work of evaluating a graph, counted from its nodes and their sizes.

It stands for the seconds that an idle core would take, about; measuring them would make what is
computed depend on the machine, and on what else it does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors
from pytensor.scan.op import Scan
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.math import Dot

# Of the interpreter: one node. Of NumPy: one element, one multiplication
# of matrices, and one of a decomposition.
_NODE = 2e-6
_ELEMENT, _MULTIPLICATION, _DECOMPOSITION = 2.5e-9, 5e-10, 1e-9

# An operation of the user's own, or a solver of differential equations.
_FOREIGN = 5e-3

# An axis of unknown length, and a loop of an unknown number of steps.
_UNKNOWN_LENGTH, _UNKNOWN_STEPS = 10, 100

# A gradient takes about three values, and a product of the Hessian half as much again.
_GRADIENT, _PRODUCT = 3.0, 4.5

# Compiled code hardly needs time for a node.
_COMPILED = 0.05


class Work(NamedTuple):
    """The work of one evaluation: that of its nodes, and that of their elements."""

    nodes: float = 0.0
    elements: float = 0.0

    @property
    def gradient(self) -> float:
        """The work of a value with its gradient."""
        return _GRADIENT * (self.nodes + self.elements)

    @property
    def product(self) -> float:
        """The work of a product of the Hessian with a vector."""
        return _PRODUCT * (self.nodes + self.elements)

    def many(self, n: int) -> float:
        """Return the work of ``n`` values at once."""
        return self.nodes + n * self.elements

    def products(self, n: int) -> float:
        """Return the work of ``n`` products at once."""
        return _PRODUCT * self.many(n)

    def compiled(self) -> Work:
        """Return the work once the nodes are compiled."""
        return Work(_COMPILED * self.nodes, self.elements)


def count_work(graphs: Iterable[Any]) -> Work:
    """Return the work of evaluating graphs once, interpreted."""
    nodes = {var.owner for var in ancestors(list(graphs)) if var.owner is not None}
    parts = [_node_work(node) for node in nodes]
    return Work(sum(part.nodes for part in parts), sum(part.elements for part in parts))


def has_loop(graphs: Iterable[Any]) -> bool:
    """Return True if there is a loop among the operations."""
    return any(isinstance(getattr(var.owner, "op", None), Scan) for var in ancestors(list(graphs)))


def _node_work(node: Any) -> Work:
    op = node.op
    inner = getattr(op, "fgraph", None)
    if inner is not None:
        parts = [_node_work(other) for other in inner.apply_nodes]
        steps = _steps(node) if isinstance(op, Scan) else 1
        return Work(
            steps * (_NODE + sum(part.nodes for part in parts)),
            steps * sum(part.elements for part in parts),
        )
    room = type(op).__module__.split(".")
    if room[0] not in ("pytensor", "pymc", "pymc_extras") or "ode" in room:
        return Work(_FOREIGN)
    core = op.core_op if isinstance(op, Blockwise) else op
    size = max([_size(var) for var in (*node.inputs, *node.outputs)], default=1.0)
    if isinstance(core, Dot):
        return Work(_NODE, _MULTIPLICATION * size * _side(node.outputs[0]))
    if ".tensor.linalg" in type(core).__module__ or ".slinalg" in type(core).__module__:
        return Work(_NODE, _DECOMPOSITION * size * _side(node.inputs[0]))
    return Work(_NODE, _ELEMENT * size)


def _size(var: Any) -> float:
    shape = getattr(var.type, "shape", ())
    return float(np.prod([_UNKNOWN_LENGTH if n is None else n for n in shape], dtype=float))


def _side(var: Any) -> float:
    shape = getattr(var.type, "shape", ()) or (1,)
    return float(_UNKNOWN_LENGTH if shape[-1] is None else shape[-1])


def _steps(node: Any) -> float:
    """Return the number of steps of a loop: it is known, or the length of what it returns."""
    first = node.inputs[0]
    if isinstance(first, Constant):
        return float(np.ravel(first.data)[0])
    known = [var.type.shape[0] for var in node.outputs if getattr(var.type, "shape", ())]
    return float(max([n for n in known if n is not None], default=_UNKNOWN_STEPS))
