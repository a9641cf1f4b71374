"""The integrand over a model's latents: compiled derivatives up to the third."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.pytensorf import join_nonshared_inputs, rewrite_pregrad
from pytensor.compile.mode import Mode
from pytensor.gradient import grad, pushforward
from pytensor.graph.replace import vectorize_graph

from pmlik._typing import FloatArray
from pmlik.errors import ModelError
from pmlik.logp.compile import NO_GRADIENT, NO_VALUE, compile_quiet, plain_arrays
from pmlik.logp.sparsity import SparsityPattern
from pmlik.marginal.hessian import (
    ColumnwiseHessian,
    JointHessian,
    SparseHessian,
    TermwiseHessian,
    VectorizedHessian,
    find_incidence,
    hessians_agree,
)
from pmlik.model.graph import in_double_precision, share_large_constants
from pmlik.model.transform import TermsModel

__all__ = ["Integrand"]


# Up to so many vectors the products are made by one function.
_TOGETHER = 6
_FEW = 2  # vectors for which term by term has nothing to win

# Larger batches of terms are taken one by one.
_NUMBERS_AT_ONCE = 2_000_000


class Integrand:
    """``f(theta, u)``: the logarithm of what is integrated over the latents.

    Parameters
    ----------
    factors : mapping of str to variable
        Its terms, elementwise: of the likelihood, then of the latents, with the Jacobian of the
        latents' transforms.
    parameters, latents : sequence of variables
        The value variables that lie end to end in ``theta`` and in ``u``.
    point : mapping
        An initial point, for their shapes.
    model : TermsModel
        Gives the context to compile in.
    mode : Mode
    """

    def __init__(
        self,
        factors: Mapping[str, Any],
        parameters: Sequence[Any],
        latents: Sequence[Any],
        point: Mapping[str, Any],
        model: TermsModel,
        mode: Mode,
    ) -> None:
        self._model, self._mode = model, mode
        self.sizes = [int(np.size(point[value.name])) for value in latents]
        self.start, typical = (
            np.concatenate([np.ravel(point[value.name]) for value in values]).astype(float)
            for values in (latents, parameters)
        )
        self.typical = np.where(np.isfinite(typical), typical, 0.0)
        graphs = in_double_precision(list(factors.values()))
        graphs, self._theta = join_nonshared_inputs(point=point, outputs=graphs, inputs=parameters)
        graphs, self._u = join_nonshared_inputs(point=point, outputs=graphs, inputs=latents)
        graphs = share_large_constants(plain_arrays(graphs))
        self.factors = dict(zip(factors, graphs, strict=True))
        self._v, self._w = (pt.vector(name, dtype=self._u.dtype) for name in "vw")
        self.n_evaluations = self.n_products = 0

    def _compile(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> Callable[..., Any]:
        return compile_quiet(inputs, outputs, self._model, self._mode)

    @cached_property
    def _graph(self) -> Any:
        total = pt.zeros(())
        for factor in self.factors.values():
            total = total + factor.sum()
        return rewrite_pregrad(total)

    def _slopes(self, graph: Any) -> list[Any]:
        try:
            return list(grad(graph, [self._theta, self._u], disconnected_inputs="ignore"))
        except NO_GRADIENT as error:
            raise ModelError(
                f"{', '.join(self.factors)}: the log-density lacks a derivative that integrating "
                f"over latents needs ({error}). Write it with PyTensor operations."
            ) from error

    @cached_property
    def _gradient(self) -> list[Any]:
        return self._slopes(self._graph)

    @cached_property
    def _product_graph(self) -> list[Any]:
        return self._slopes((self._gradient[1] * self._v).sum())

    @cached_property
    def _first(self) -> Callable[..., Any]:
        return self._compile([self._theta, self._u], [self._graph, *self._gradient])

    @cached_property
    def _second(self) -> Callable[..., Any]:
        return self._compile([self._theta, self._u, self._v], self._product_graph)

    @cached_property
    def _third(self) -> Callable[..., Any]:
        graphs = self._slopes((self._product_graph[1] * self._w).sum())
        return self._compile([self._theta, self._u, self._w, self._v], graphs)

    @cached_property
    def _pointwise(self) -> Callable[..., Any]:
        return self._compile([self._theta, self._u], list(self.factors.values()))

    @cached_property
    def _unchecked(self) -> Callable[..., Any]:
        graphs = list(self.factors.values())
        return compile_quiet(
            [self._theta, self._u], graphs, self._model, self._mode, check_bounds=False
        )

    def value_and_gradient(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """``f``, ``f_theta`` (p,) and ``f_u`` (n,); NaN where it has no value."""
        found = self.evaluate(self._first, theta, u)
        if found is None:
            return np.nan, np.full(len(theta), np.nan), np.full(len(u), np.nan)
        value, ahead, across = found
        return float(value), ahead, across

    def product(
        self, theta: FloatArray, u: FloatArray, v: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """``f_theta,u v`` (p,) and ``f_uu v`` (n,)."""
        self.n_products += 1
        return self._call(self._second, theta, u, v)

    def third(
        self, theta: FloatArray, u: FloatArray, w: FloatArray, v: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient of ``w' f_uu v`` in ``theta`` (p,) and in ``u`` (n,)."""
        self.n_products += 1
        return self._call(self._third, theta, u, w, v)

    def _call(
        self, function: Callable[..., Any], theta: FloatArray, u: FloatArray, *vectors: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        try:
            ahead, across = function(theta, u, *map(np.ascontiguousarray, vectors))
        except NO_VALUE:
            return np.full(len(theta), np.nan), np.full(len(u), np.nan)
        return np.array(ahead, dtype=float), np.array(across, dtype=float)

    def pointwise(
        self, theta: FloatArray, u: FloatArray, *, check_bounds: bool = True
    ) -> dict[str, FloatArray]:
        """The terms before they are summed."""
        function = self._pointwise if check_bounds else self._unchecked
        return dict(zip(self.factors, map(np.asarray, function(theta, u)), strict=True))

    @property
    def _flat_terms(self) -> Any:
        return pt.concatenate([pt.flatten(factor) for factor in self.factors.values()])

    @cached_property
    def _points(self) -> Any:
        return pt.matrix("points", dtype=self._u.dtype)

    @cached_property
    def _many_terms(self) -> Any:
        """The terms (k, m) at many ``u`` (k, n), as a graph; None where that can't be."""
        try:
            return vectorize_graph(self._flat_terms, {self._u: self._points})
        except Exception:  # noqa: BLE001 - many operations can't be vectorised; the loop can
            return None

    @cached_property
    def _terms(self) -> Callable[..., Any]:
        return self._compile([self._theta, self._u], [self._flat_terms])

    @cached_property
    def _all_terms(self) -> Callable[..., Any] | None:
        if self._many_terms is None:
            return None
        return self._compile([self._theta, self._points], [self._many_terms])

    def terms(self, theta: FloatArray, points: FloatArray) -> FloatArray:
        """All terms, end to end, at each ``u`` of ``points``: (k, n) to (k, m)."""
        numbers = len(points) * points.shape[1]
        together = self._all_terms if len(points) > 1 and numbers <= _NUMBERS_AT_ONCE else None
        if together is None:
            alone = self._terms
            return np.array([alone(theta, u)[0] for u in points], dtype=float)
        return np.asarray(together(theta, points)[0], dtype=float)

    @cached_property
    def _weighted(self) -> Callable[..., Any]:
        weights = pt.vector("weights", dtype="float64")
        total = rewrite_pregrad((self._flat_terms * weights).sum())
        return self._compile([self._theta, self._u, weights], self._slopes(total))

    @cached_property
    def _all_weighted(self) -> Callable[..., Any] | None:
        if self._many_terms is None:
            return None
        weights = pt.matrix("weights", dtype="float64")
        total = rewrite_pregrad((self._many_terms * weights).sum())
        try:
            slopes = grad(total, [self._theta, self._points], disconnected_inputs="ignore")
        except NO_GRADIENT:
            return None
        return self._compile([self._theta, self._points, weights], slopes)

    def weighted(
        self, theta: FloatArray, points: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient of the sum of the terms times ``weights`` (k, m).

        In ``theta`` (p,), and in each ``u`` of ``points`` (k, n).
        """
        few = len(points) > 1 and weights.size <= _NUMBERS_AT_ONCE
        together = self._all_weighted if few else None
        if together is None:
            alone = self._weighted
            parts = [self._call(alone, theta, u, w) for u, w in zip(points, weights, strict=True)]
            ahead, across = zip(*parts, strict=True)
            return np.sum(ahead, axis=0), np.array(across)
        return self._call(together, theta, points, weights)

    @cached_property
    def smooth_terms(self) -> Any:
        """The terms, end to end, as a graph to differentiate."""
        return rewrite_pregrad(self._flat_terms)

    @cached_property
    def _pushed(self) -> Callable[..., Any]:
        moved = pushforward(self.smooth_terms, self._u, self._v, disconnected_outputs="ignore")
        return self._compile([self._theta, self._u, self._v], [moved])

    def push(self, theta: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """Each term's slope (m,) along ``v`` (n,) in the latents."""
        return np.asarray(self._pushed(theta, u, np.ascontiguousarray(v))[0], dtype=float)

    def evaluate(
        self, function: Callable[..., Any], theta: FloatArray, u: FloatArray
    ) -> list[FloatArray] | None:
        """A function's values as new arrays; None where it has none."""
        self.n_evaluations += 1
        try:
            return [np.array(part, dtype=float) for part in function(theta, u)]
        except NO_VALUE:
            return None

    def seeded(self, pattern: SparsityPattern) -> SparseHessian:
        """Its derivatives where ``f_uu`` has a known pattern, by the cheapest way there is."""
        ways: list[Callable[[], SparseHessian | None]] = [
            lambda: self._term_by_term(pattern) if pattern.n_colours > _FEW else None,
            lambda: JointHessian(self, pattern) if pattern.n_colours <= _TOGETHER else None,
            lambda: VectorizedHessian(self, pattern) if self._fits(pattern) else None,
        ]
        alone = ColumnwiseHessian(self, pattern)
        for way in ways:
            seeded = way()
            if seeded and (isinstance(seeded, JointHessian) or hessians_agree(seeded, alone)):
                return seeded
        return alone

    def _fits(self, pattern: SparsityPattern) -> bool:
        return pattern.n_colours * sum(self._term_sizes) <= _NUMBERS_AT_ONCE

    def _term_by_term(self, pattern: SparsityPattern) -> SparseHessian | None:
        theta, u = self._ordinary()
        try:
            incidence = find_incidence(lambda v: self.push(theta, u, v), pattern)
        except Exception:  # noqa: BLE001 - an operation may lack what this needs; others do not
            return None
        if incidence is None or len(incidence.pairs) >= pattern.n_colours:
            return None
        return TermwiseHessian(self, pattern, incidence)

    def _ordinary(self) -> tuple[FloatArray, FloatArray]:
        """A point away from where derivatives vanish by coincidence."""
        rng = np.random.default_rng(0)
        return self.typical, self.start + rng.uniform(-0.1, 0.1, size=len(self.start))

    @cached_property
    def _term_sizes(self) -> list[int]:
        return [int(np.prod([n or 1000 for n in f.type.shape])) for f in self.factors.values()]
