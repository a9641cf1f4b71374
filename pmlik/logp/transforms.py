"""Constrained values of one flat vector, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.gradient import grad
from pytensor.graph.traversal import ancestors, walk

from pmlik._typing import BoolArray, FloatArray, Product
from pmlik.logp.compile import NO_GRADIENT, compile_quiet, plain_arrays
from pmlik.logp.parts import Parts, parts_of
from pmlik.model.transform import TermsModel

_STEPS = {"floor", "ceil", "trunc", "round_half_even", "round_half_away", "sign", "int_div"}


def _is_step_function(graph: Any, x: Any) -> bool:
    """Return True if a graph depends on ``x`` only through roundings, comparisons and the like.

    PyTensor gives these a derivative of zero, which is no measure of their uncertainty.
    """

    def smooth_inputs(var: Any) -> list[Any]:
        scalar = getattr(getattr(var.owner and var.owner.op, "scalar_op", None), "name", None)
        steps = getattr(var.type, "dtype", "")[:5] != "float" or scalar in _STEPS
        return [] if var.owner is None or steps else var.owner.inputs

    return x in set(ancestors([graph])) and x not in set(walk([graph], smooth_inputs))


class ConstrainedValues:
    """The constrained values of ``x`` in one vector: parameters, then derived quantities.

    ``x`` (vector variable). ``graphs`` (sequence of variables): one per variable.
    ``n_parameters``: number of variables that are parameters.
    ``period`` (n,): the turn after which each coordinate of ``x`` repeats, infinite for most.
    """

    def __init__(
        self,
        graphs: Sequence[Any],
        x: Any,
        model: TermsModel,
        mode: Mode,
        n_parameters: int = 0,
        period: FloatArray | None = None,
    ) -> None:
        self._graphs = plain_arrays(graphs)
        self._x, self._model, self._mode = x, model, mode
        self._n_parameters, self.period = n_parameters, period

    @property
    def graphs(self) -> tuple[Any, list[Any]]:
        """``x`` and one graph per variable."""
        return self._x, self._graphs

    @cached_property
    def _function(self) -> Callable[..., Any]:
        return compile_quiet([self._x], self._graphs, self._model, self._mode)

    def arrays(self, x: FloatArray) -> list[FloatArray]:
        """Return one array per variable, in its shape."""
        return [np.asarray(value, dtype=float) for value in self._function(x)]

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return all values (m,)."""
        return np.concatenate([np.zeros(0), *(array.ravel() for array in self.arrays(x))])

    def rows(self, points: FloatArray) -> FloatArray:
        """Return all values (b, m) of points (b, n)."""
        return np.array([self(x) for x in points])

    def complete(self, rows: FloatArray) -> FloatArray:
        """Return the values of graphs (b, m), which are all that there are."""
        return rows

    def are_parameters(self, x: FloatArray) -> BoolArray:
        """Return a mask (m,) of the values that are parameters: the first ones."""
        arrays = self.arrays(x)
        parts = [np.full(a.size, i < self._n_parameters) for i, a in enumerate(arrays)]
        return np.concatenate([np.zeros(0, bool), *parts])

    @cached_property
    def _smooth(self) -> list[bool]:
        return [self._is_smooth(graph) for graph in self._graphs]

    def _is_smooth(self, graph: Any) -> bool:
        if _is_step_function(graph, self._x):
            return False
        try:
            _ = grad(graph.sum(), self._x, disconnected_inputs="ignore", null_gradients="raise")
        except NO_GRADIENT:
            return False
        return True

    def smooth(self, x: FloatArray) -> BoolArray:
        """Return a mask (m,) of the values that have a derivative."""
        parts = [
            np.full(array.size, smooth)
            for array, smooth in zip(self.arrays(x), self._smooth, strict=True)
        ]
        return np.concatenate([np.zeros(0, bool), *parts])

    @cached_property
    def _parts(self) -> Parts | None:
        """The parts of ``x`` that interpreted functions take; None: they take ``x``."""
        return parts_of(self._graphs, self._x, self._mode)

    @cached_property
    def _vjp_graphs(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Arguments, vectors ``u`` and ``J' u``; values without derivative contribute nothing."""
        parts = self._parts
        x, graphs = [self._x], self._graphs
        if parts is not None:
            x, graphs = parts.variables, parts.open(graphs)
        u = pt.vector("u", dtype="float64")
        total, start = pt.add(0.0, *(0 * one.sum() for one in x)), pt.as_tensor(0)
        for graph, smooth in zip(graphs, self._smooth, strict=True):
            stop = start + graph.size
            if smooth:
                total = total + (pt.flatten(graph) * u[start:stop]).sum()
            start = stop
        return x, [u], list(grad(total, x))

    @cached_property
    def _vjp_function(self) -> Callable[..., Any]:
        x, u, images = self._vjp_graphs
        return compile_quiet([*x, *u], images, self._model, self._mode)

    def vjp(self, x: FloatArray, u: FloatArray) -> FloatArray:
        """Return ``J' u`` (n,) for the Jacobian ``J`` (m, n) at ``x``."""
        if self._parts is None:
            return np.array(self._vjp_function(x, u)[0], dtype=float)
        return self._parts.join(self._vjp_function(*self._parts.split(x), u), x.shape)

    @cached_property
    def _jvp_function(self) -> Callable[..., Any] | None:
        # J v is the derivative of v' J' u in u, at any u since that is linear in u.
        x, u, images = self._vjp_graphs
        v = [one.type(f"v_{i}") for i, one in enumerate(x)]
        along = pt.add(0 * u[0].sum(), *((g * w).sum() for g, w in zip(images, v, strict=True)))
        try:
            product = grad(along, u[0])
        except NO_GRADIENT:
            return None
        return compile_quiet([*x, *v, *u], [product], self._model, self._mode)

    def jvp(self, x: FloatArray) -> Product:
        """Return the map ``v -> J v`` (m,) at ``x``."""
        m = len(self(x))
        if self._jvp_function is not None:
            function, anywhere = self._jvp_function, np.zeros(m)
            parts = self._parts
            if parts is None:
                return lambda v: np.array(function(x, v, anywhere)[0], dtype=float)
            at = parts.split(x)
            return lambda v: np.array(function(*at, *parts.split(v), anywhere)[0], dtype=float)
        jacobian = np.stack([self.vjp(x, row) for row in np.eye(m)])
        return lambda v: np.asarray(jacobian @ v)
