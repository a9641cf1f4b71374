"""One objective at a batch of points, each with data or weights of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.graph.replace import graph_replace, vectorize_graph

from pmlik._typing import FloatArray
from pmlik.logp.batched import compile_vectorized
from pmlik.logp.compile import compile_quiet
from pmlik.logp.density import MANY, LogDensity
from pmlik.logp.quantities import ExtendedValues
from pmlik.logp.sparsity import SparsityPattern, find_pattern
from pmlik.logp.transforms import ConstrainedValues
from pmlik.model.transform import TermsModel

# Intermediate arrays of about this many numbers stay in the processor's cache.
_ELEMENTS = 100_000

# Hessians of all replicates with at most this many numbers take little memory.
_HESSIAN_ELEMENTS = 2_000_000


class Replicated:
    """The negative sum of densities for a batch of replicates, with exact derivatives.

    ``densities``: densities of the same ``x``. ``values``: constrained values of the same ``x``.
    ``inputs`` (sequence of shared variable): data or weights, which differ between replicates.
    ``model``: gives the context to compile in.
    ``near`` (n,): a point near which the replicates will be evaluated.
    """

    def __init__(
        self,
        densities: Sequence[LogDensity],
        values: ConstrainedValues | ExtendedValues,
        inputs: Sequence[Any],
        model: TermsModel,
        mode: Mode,
        near: FloatArray,
    ) -> None:
        self._near = near
        self._densities, self._values = densities, values
        self._inputs = list(inputs)
        self._model, self._mode = model, mode
        sizes = [int(np.prod(variable.type.shape)) for variable in inputs]
        self._width = int(np.clip(_ELEMENTS / max(1, *sizes), 1, 1000))

    @cached_property
    def _graphs(self) -> tuple[Any, Any, Any, Any, Any]:
        x, v = self._densities[0].graphs[0], pt.vector("v", dtype="float64")
        parts = [density.graphs for density in self._densities]
        images = [graph_replace(p[3][1], {p[3][0]: v}, strict=False) for p in parts if p[3]]
        if len(images) < len(parts):
            raise NotImplementedError("a density without second derivative")
        value, gradient = -_total([p[1] for p in parts]), -_total([p[2] for p in parts])
        return x, v, value, gradient, -_total(images)

    def _vectorize(self, graphs: Sequence[Any], x: Any, v: Any) -> Callable[..., Any]:
        """Compile for points (b, 1, n), vectors (1, q, n), inputs (b, 1, ...)."""
        n = self._densities[0].active.size
        points = pt.tensor("points", shape=(None, 1, n), dtype=x.dtype)
        vectors = pt.tensor("vectors", shape=(1, None, n), dtype="float64")
        batches = [
            pt.tensor(f"batch_{i}", shape=(None, 1, *one.type.shape), dtype=one.dtype)
            for i, one in enumerate(self._inputs)
        ]
        inputs = [points, vectors, *batches]
        replace = dict(zip([x, v, *self._inputs], inputs, strict=True))
        return compile_vectorized(graphs, inputs, replace, self._model, self._mode)

    @cached_property
    def _value_and_gradient(self) -> Callable[..., Any]:
        x, v, value, gradient, _ = self._graphs
        return self._vectorize([value, gradient], x, v)

    @cached_property
    def _products(self) -> Callable[..., Any]:
        x, v, _, _, image = self._graphs
        return self._vectorize([image], x, v)

    @cached_property
    def _constrained(self) -> Callable[..., Any]:
        x, graphs = self._values.graphs
        points = pt.matrix("points", dtype=x.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            together = vectorize_graph(graphs, replace={x: points})
            return compile_quiet([points], together, self._model, self._mode)

    def values(self, points: FloatArray) -> FloatArray:
        """Return the constrained values (b, m) of points (b, n)."""
        b = len(points)
        parts = self._constrained(points)
        wide = [np.broadcast_to(p, (b, *np.shape(p)[1:])).reshape(b, -1) for p in parts]
        return self._values.complete(np.concatenate([np.zeros((b, 0)), *wide], axis=1))

    @property
    def width(self) -> int:
        """Number of replicates per batch that is fast."""
        return int(np.clip(_HESSIAN_ELEMENTS // self._n**2, 1, self._width))

    @property
    def is_sparse(self) -> bool:
        """True if most entries of the Hessian are zero."""
        return self._pattern is not None

    @property
    def _n(self) -> int:
        return max(1, self._densities[0].active.size)

    def value_and_gradient(
        self, points: FloatArray, inputs: Sequence[FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the objective (b,) and its gradient (b, n).

        The objective is infinite if it or its gradient is not finite.

        ``points`` (b, n), ``inputs`` (sequence of array (b, ...)).
        """
        b, n = points.shape
        vector = np.zeros((1, 1, n))
        out = self._value_and_gradient(points[:, None], vector, *(one[:, None] for one in inputs))
        values = np.array(out[0], dtype=float).reshape(b)
        gradients = np.array(out[1], dtype=float).reshape(b, n)
        bad = ~(np.isfinite(values) & np.isfinite(gradients).all(axis=1))
        values[bad], gradients[bad] = np.inf, 0.0
        return values, gradients

    def hessian(
        self, points: FloatArray, inputs: Sequence[FloatArray], basis: FloatArray
    ) -> FloatArray:
        """Return the dense Hessians (b, k, k) in the coordinates of ``k`` directions (k, n).

        If most second derivatives are zero, a few products give all of them (see `sparsity`). One
        more product, with random numbers, checks that no entry is missing.

        ``points`` (b, n), ``inputs`` (sequence of array (b, ...)), ``basis`` (k, n).
        """
        pattern = self._pattern
        if pattern is None:
            return _symmetric(self._images(points, inputs, basis) @ basis.T)
        whole = self._from_pattern(points, inputs, pattern)
        lengths = np.diagonal(basis)
        if np.count_nonzero(basis) == np.count_nonzero(lengths) == len(basis):
            return np.asarray(whole * np.outer(lengths, lengths))
        return np.asarray(basis @ whole @ basis.T)

    def _from_pattern(
        self, points: FloatArray, inputs: Sequence[FloatArray], pattern: SparsityPattern
    ) -> FloatArray:
        n = points.shape[1]
        witness = self._units * np.random.default_rng(1).uniform(1, 2, size=n)
        images = self._images(points, inputs, np.vstack([pattern.seeds, witness]))
        entries = pattern.read(images[:, :-1])
        whole = pattern.fill(entries)
        wrong = np.flatnonzero(~pattern.is_complete(entries, witness, images[:, -1]))
        if wrong.size:
            some = [one[wrong] for one in inputs]
            whole[wrong] = _symmetric(self._images(points[wrong], some, np.eye(n)))
        return whole

    @cached_property
    def _units(self) -> FloatArray:
        """Inverse square root of the curvature along each coordinate, near the replicates."""
        assert self._pattern is not None
        inputs = [one.get_value()[None] for one in self._inputs]
        entries = self._pattern.read(self._images(self._near[None], inputs, self._pattern.seeds)[0])
        diagonal = np.abs(entries[self._pattern.rows == self._pattern.columns])
        usable = np.isfinite(diagonal) & (diagonal > 0)
        return np.asarray(1 / np.sqrt(np.where(usable, diagonal, 1.0)))

    def _images(
        self, points: FloatArray, inputs: Sequence[FloatArray], vectors: FloatArray
    ) -> FloatArray:
        """Return the Hessians times vectors (q, n), an array (b, q, n)."""
        b, n = points.shape
        images = np.empty((b, len(vectors), n))
        at_once = min(self._width, len(vectors))
        step = max(1, self._width // max(1, at_once))
        for i in range(0, b, step):
            part = [points[i : i + step, None]], [one[i : i + step, None] for one in inputs]
            for j in range(0, len(vectors), at_once):
                some = vectors[None, j : j + at_once]
                images[i : i + step, j : j + at_once] = self._products(*part[0], some, *part[1])[0]
        return images

    @cached_property
    def _pattern(self) -> SparsityPattern | None:
        """Pattern of non-zero second derivatives; None if it saves few products.

        It is read beside the given point, as a derivative may be zero by chance at a round value.
        """
        n = self._n
        if n < MANY:
            return None
        rng = np.random.default_rng(0)
        point = self._near + rng.uniform(-0.01, 0.01, size=n)
        inputs = [one.get_value()[None] for one in self._inputs]

        def product(v: FloatArray) -> FloatArray:
            return np.asarray(self._images(point[None], inputs, v[None])[0, 0])

        pattern = find_pattern(product, [n])
        return pattern if pattern.n_colours < n / 2 else None


def _symmetric(matrices: FloatArray) -> FloatArray:
    return np.asarray((matrices + matrices.swapaxes(-1, -2)) / 2)


def _total(graphs: Sequence[Any]) -> Any:
    total = graphs[0]
    for graph in graphs[1:]:
        total = total + graph
    return total
