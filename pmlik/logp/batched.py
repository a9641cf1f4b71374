"""Graphs of one flat vector evaluated at many, in chunks of bounded memory."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.rewriting.utils import rewrite_graph

from pmlik._runtime import ProgressCallback
from pmlik._typing import FloatArray
from pmlik.logp.compile import NO_VALUE, compile_quiet, plain_arrays
from pmlik.model.transform import TermsModel

# Chunks of about this size stay in the processor's cache, and are fastest.
_CHUNK_BYTES = 2_000_000
_MOST_POINTS = 10_000


def compile_vectorized(
    graphs: Sequence[Any],
    inputs: Sequence[Any],
    replace: Mapping[Any, Any],
    model: TermsModel,
    mode: Mode,
) -> Callable[..., Any]:
    """Compile graphs for batches of their inputs.

    A check of parameters is made a term of the graph first: vectorized as a check it would fail
    all points for one.

    ``graphs`` (sequence of variables).
    ``inputs`` (sequence of variables): of the function, with batch axes first.
    ``replace`` (mapping of variable to variable): inputs of the graphs, and the batches that
        replace them.
    ``model``: gives the context to compile in.
    """
    bounds = (
        "local_check_parameter_to_ninf_switch"
        if model.check_bounds
        else "local_remove_check_parameter"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = rewrite_graph(list(graphs), include=("canonicalize", bounds))
        return compile_quiet(inputs, vectorize_graph(plain, replace=dict(replace)), model, mode)


class Batched:
    """Graphs of one flat vector ``x``, evaluated at many.

    The graphs are vectorized if PyTensor can do that and the result is the same, otherwise
    evaluated point by point. Functions are built on first use.

    ``graphs`` (sequence of variables). ``x`` (vector variable): their argument.
    ``model``: gives the context to compile in. ``mode``: mode of compilation.
    """

    def __init__(self, graphs: Sequence[Any], x: Any, model: TermsModel, mode: Mode) -> None:
        self._graphs = plain_arrays(graphs)
        self._x, self._model, self._mode = x, model, mode

    @cached_property
    def _one(self) -> Callable[..., Any]:
        return compile_quiet([self._x], self._graphs, self._model, self._mode)

    @cached_property
    def _many(self) -> Callable[..., Any] | None:
        """The vectorized function, None if there is none."""
        points = pt.matrix("points", dtype=self._x.dtype)
        try:
            return compile_vectorized(
                self._graphs, [points], {self._x: points}, self._model, self._mode
            )
        except Exception:  # noqa: BLE001 - many operations can't be vectorized; the loop can
            return None

    def __call__(self, points: FloatArray, say: ProgressCallback | None = None) -> list[FloatArray]:
        """Evaluate at each row of ``points`` (b, n).

        ``points`` (b, n). ``say``: receives the progress as text.
        Returns (list of array (b, ...)): one per graph; NaN at points without a value.
        """
        first = self._alone(points[:2] if len(points) else np.ones((1, points.shape[1])))
        if len(points) < 3:
            return [part[: len(points)] for part in first]
        size, vectorized = self._chunk(points, first)
        chunks = [points[i : i + size] for i in range(0, len(points), size)]
        results = [np.empty((len(points), *part.shape[1:])) for part in first]
        done = 0
        for chunk in chunks:
            parts = self._together(chunk) if vectorized else self._alone(chunk, first)
            for result, part in zip(results, parts, strict=True):
                result[done : done + len(chunk)] = part
            done += len(chunk)
            if say is not None and len(chunks) > 1:
                say(f"Evaluating at {len(points)} points: {100 * done // len(points)} %")
        return results

    def _chunk(self, points: FloatArray, first: list[FloatArray]) -> tuple[int, bool]:
        """Return the number of points per chunk, and True if the vectorized function is used."""
        if self._many is None or not self._agrees(points, first):
            return max(1, len(points) // 100), False
        tracing = tracemalloc.is_tracing()
        if not tracing:
            tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            self._together(points[:2])
            peak = (tracemalloc.get_traced_memory()[1] - before) / 2
        finally:
            if not tracing:
                tracemalloc.stop()
        return int(np.clip(_CHUNK_BYTES / max(peak, 1.0), 1, _MOST_POINTS)), True

    def _agrees(self, points: FloatArray, first: list[FloatArray]) -> bool:
        """Return True if the vectorized function gives the plain one's values at two points."""
        assert self._many is not None
        try:
            parts = self._many(points[:2])
        except Exception:  # noqa: BLE001 - the loop is used then
            return False
        return all(
            np.shape(part) == alone.shape
            and np.allclose(part, alone, rtol=1e-9, atol=1e-12, equal_nan=True)
            for part, alone in zip(parts, first, strict=True)
        )

    def _together(self, chunk: FloatArray) -> list[FloatArray]:
        assert self._many is not None
        try:
            return list(self._many(chunk))
        except NO_VALUE:  # at some point; find it one by one
            return self._alone(chunk)

    def _alone(self, chunk: FloatArray, like: list[FloatArray] | None = None) -> list[FloatArray]:
        rows: list[list[FloatArray] | None] = []
        for point in chunk:
            try:
                rows.append([np.asarray(part, dtype=float) for part in self._one(point)])
            except NO_VALUE:
                rows.append(None)
        like = like or [part[None] for part in next((row for row in rows if row), [])]
        shapes = [part.shape[1:] for part in like] or [()] * len(self._graphs)
        return [
            np.array([np.full(shape, np.nan) if row is None else row[i] for row in rows])
            for i, shape in enumerate(shapes)
        ]
