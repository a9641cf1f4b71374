"""The parts of a flat vector, one per variable of the model, as inputs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.graph.basic import Constant
from pytensor.graph.replace import clone_replace, graph_replace, vectorize_graph
from pytensor.tensor.shape import Reshape
from pytensor.tensor.subtensor import Subtensor

from pmlik._typing import FloatArray
from pmlik.logp.straight import StraightLinker
from pmlik.model.graph import users_of


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of ``x`` that graphs depend on.

    Graphs of the parts are a half smaller than those of ``x``, which join the parts of each
    derivative again; Python joins them faster than PyTensor rewrites that.

    ``variables`` (list of variables): one per part.
    ``places`` (list of slice): where each is in ``x``.
    ``views`` (mapping of variable to variable): the parts of ``x`` as graphs, and what each is.
    """

    variables: list[Any]
    places: list[slice]
    views: dict[Any, Any]

    @classmethod
    def of(cls, graphs: Sequence[Any], x: Any) -> Parts | None:
        """Find the parts; None if ``x`` is used otherwise than in slices of known size."""
        users, found, views = users_of(graphs), dict[Any, Any](), dict[Any, Any]()
        for node in users.get(x, ()):
            place = _place(node)
            if place is None or node.inputs[0] is not x or x in graphs:
                return None
            slice_, shaped = node.outputs[0], _shaped(users.get(node.outputs[0], ()))
            whole = slice_ in graphs or not shaped
            for view in [slice_] if whole else shaped:
                shape = (place.stop - place.start,) if whole else view.type.shape
                key = (place.start, place.stop, shape)
                if key not in found:
                    found[key] = pt.tensor(f"part_{place.start}", dtype=x.dtype, shape=shape)
                views[view] = found[key]
        keys = sorted(found)
        places = [slice(start, stop) for start, stop, _ in keys]
        if not keys or any(a.stop > b.start for a, b in pairwise(places)):
            return None
        return cls([found[key] for key in keys], places, views)

    def open(self, graphs: Sequence[Any]) -> list[Any]:
        """Return graphs of ``x`` as graphs of the parts."""
        return list(clone_replace(list(graphs), self.views, rebuild_strict=False))

    def close(self, graphs: Sequence[Any]) -> list[Any]:
        """Return graphs of the parts as graphs of ``x``."""
        back = {part: view for view, part in self.views.items()}
        return list(graph_replace(list(graphs), back, strict=False))

    def joined(self, graphs: Sequence[Any], x: Any) -> Any:
        """Return one graph of ``x`` of graphs of the parts, each in a part's shape."""
        flat, stop = [], 0
        for graph, place in zip(self.close(graphs), self.places, strict=True):
            flat += [pt.zeros(place.start - stop), graph.flatten()]
            stop = place.stop
        return pt.concatenate([*flat, pt.zeros(x.shape[0] - stop)])

    def split(self, x: Any) -> list[Any]:
        """Return the parts of a vector (n,), graph or array, or of each row of an array (b, n)."""
        rows = () if x.ndim == 1 else x.shape[:-1]
        return [
            x[..., place].reshape((*rows, *part.type.shape))
            for part, place in zip(self.variables, self.places, strict=True)
        ]

    def join(self, values: Sequence[FloatArray], shape: tuple[int, ...]) -> FloatArray:
        """Return an array, of a vector or of rows, with the values of the parts in their places."""
        whole = np.zeros(shape)
        for value, part, place in zip(values, self.variables, self.places, strict=True):
            rows = np.shape(value)[: np.ndim(value) - part.type.ndim]
            whole[..., place] = np.reshape(value, (*rows, -1))
        return whole

    def like(self, name: str) -> list[Any]:
        """Return further variables of the parts' shapes."""
        return [part.type(f"{name}_{i}") for i, part in enumerate(self.variables)]


def parts_of(graphs: Sequence[Any], x: Any, mode: Mode) -> Parts | None:
    """Return the parts of ``x`` if functions are interpreted; compiled ones take it whole."""
    return Parts.of(graphs, x) if isinstance(mode.linker, StraightLinker) else None


def vectorize_along(graphs: Sequence[Any], along: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return batches of the variables ``along``, and the graphs vectorized along these."""
    batches = [
        pt.tensor(f"many_{i}", dtype=v.type.dtype, shape=(None, *v.type.shape))
        for i, v in enumerate(along)
    ]
    return batches, list(vectorize_graph(list(graphs), dict(zip(along, batches, strict=True))))


def _place(node: Any) -> slice | None:
    """Return the slice that a node takes of a vector; None if it is any other operation."""
    if not isinstance(node.op, Subtensor) or len(node.op.idx_list) != 1:
        return None
    if not isinstance(node.op.idx_list[0], slice) or node.op.idx_list[0].step is not None:
        return None
    bounds = [b.data for b in node.inputs[1:] if isinstance(b, Constant)]
    if len(bounds) != 2 or len(node.inputs) != 3:
        return None
    start, stop = map(int, bounds)
    return slice(start, stop) if 0 <= start <= stop else None


def _shaped(users: Sequence[Any]) -> list[Any]:
    """Return what the users of a slice reshape it to; none if one of them does anything else."""
    shapes = [u.outputs[0] for u in users if isinstance(u.op, Reshape)]
    known = len(shapes) == len(users) and all(None not in s.type.shape for s in shapes)
    return shapes if known else []
