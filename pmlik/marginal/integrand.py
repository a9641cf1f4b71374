"""The integrand over the latents of a model, with compiled derivatives up to the third."""

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
from pmlik.logp.straight import StraightLinker
from pmlik.logp.work import Work, count_work
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

# Up to this many vectors one function makes all Hessian-vector products.
_MOST_JOINT = 6

# With this many vectors or fewer, second derivatives of single terms save nothing.
_TOO_FEW = 2

# Larger batches of terms are evaluated one by one.
_NUMBERS_AT_ONCE = 2_000_000


class Integrand:
    """``f(theta, u)``: the logarithm of the integrand over the latents.

    ``factors`` (mapping of str to variable): its terms, elementwise: of the likelihood, then of
        the latents, with the Jacobian of the latents' transforms.
    ``parameters``, ``latents`` (sequence of variables): the value variables that lie end to end in
        ``theta`` and in ``u``.
    ``point``: an initial point, for their shapes. ``model``: gives the context to compile in.

    Its attributes ``theta``, ``u`` and ``v`` are the symbolic arguments of the graphs, and a
    vector (n,) to multiply second derivatives by. ``sizes``: length of each latent's part of
    ``u``. ``start`` (n,), ``typical`` (p,): the latents and the parameters of the initial point,
    these zero where they are not finite.
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
        self.model, self._mode = model, mode
        self.sizes = [int(np.size(point[value.name])) for value in latents]
        self.start, typical = (
            np.concatenate([np.ravel(point[value.name]) for value in values]).astype(float)
            for values in (latents, parameters)
        )
        self.typical = np.where(np.isfinite(typical), typical, 0.0)
        graphs = in_double_precision(list(factors.values()))
        graphs, self.theta = join_nonshared_inputs(point=point, outputs=graphs, inputs=parameters)
        graphs, self.u = join_nonshared_inputs(point=point, outputs=graphs, inputs=latents)
        graphs = share_large_constants(plain_arrays(graphs))
        self.factors = dict(zip(factors, graphs, strict=True))
        self.v, self._w = (pt.vector(name, dtype=self.u.dtype) for name in "vw")
        self.n_products = 0
        self.work = 0.0  # of all evaluations so far

    # --- graphs

    def compile(
        self, inputs: Sequence[Any], outputs: Sequence[Any], *, check_bounds: bool = True
    ) -> Callable[..., Any]:
        """Compile a function of ``theta``, ``u`` and further inputs."""
        return compile_quiet(inputs, outputs, self.model, self._mode, check_bounds)

    def gradient_of(self, graph: Any) -> list[Any]:
        """Return the gradient of a scalar graph in ``theta`` and in ``u``.

        Raises `ModelError` if an operation has no derivative.
        """
        try:
            return list(grad(graph, [self.theta, self.u], disconnected_inputs="ignore"))
        except NO_GRADIENT as error:
            raise ModelError(
                f"{', '.join(self.factors)}: the log-density lacks a derivative that integrating "
                f"over latents needs ({error}). Write it with PyTensor operations, or give an Op "
                "of your own the method `pullback`."
            ) from error

    @cached_property
    def total(self) -> Any:
        """``f`` as a graph."""
        total = pt.zeros(())
        for factor in self.factors.values():
            total = total + factor.sum()
        return rewrite_pregrad(total)

    @cached_property
    def size(self) -> Work:
        """The work of one evaluation."""
        found = count_work([self.total])
        return found if isinstance(self._mode.linker, StraightLinker) else found.compiled()

    @cached_property
    def gradient(self) -> list[Any]:
        """``f_theta`` and ``f_u`` as graphs, simplified before they are differentiated again."""
        return list(rewrite_pregrad(self.gradient_of(self.total)))

    @cached_property
    def hessian_product(self) -> list[Any]:
        """``f_theta,u v`` and ``f_uu v`` as graphs."""
        return self.gradient_of((self.gradient[1] * self.v).sum())

    @property
    def _flat_terms(self) -> Any:
        return pt.concatenate([pt.flatten(factor) for factor in self.factors.values()])

    @cached_property
    def smooth_terms(self) -> Any:
        """The terms, end to end, as a graph to differentiate."""
        return rewrite_pregrad(self._flat_terms)

    @cached_property
    def _points(self) -> Any:
        return pt.matrix("points", dtype=self.u.dtype)

    @cached_property
    def _batched_terms(self) -> Any:
        """The terms (k, m) at many ``u`` (k, n), as a graph; None if PyTensor cannot batch them."""
        try:
            return vectorize_graph(self._flat_terms, {self.u: self._points})
        except Exception:  # noqa: BLE001 - many operations cannot be vectorized; the loop can
            return None

    # --- compiled functions, each built on first use

    @cached_property
    def _value_and_gradient(self) -> Callable[..., Any]:
        return self.compile([self.theta, self.u], [self.total, *self.gradient])

    @cached_property
    def _product(self) -> Callable[..., Any]:
        return self.compile([self.theta, self.u, self.v], self.hessian_product)

    @cached_property
    def _third_derivative_product(self) -> Callable[..., Any]:
        graphs = self.gradient_of((self.hessian_product[1] * self._w).sum())
        return self.compile([self.theta, self.u, self._w, self.v], graphs)

    @cached_property
    def _pointwise(self) -> Callable[..., Any]:
        return self.compile([self.theta, self.u], list(self.factors.values()))

    @cached_property
    def _pointwise_unchecked(self) -> Callable[..., Any]:
        graphs = list(self.factors.values())
        return self.compile([self.theta, self.u], graphs, check_bounds=False)

    @cached_property
    def _terms(self) -> Callable[..., Any]:
        return self.compile([self.theta, self.u], [self._flat_terms])

    @cached_property
    def _terms_batched(self) -> Callable[..., Any] | None:
        if self._batched_terms is None:
            return None
        return self.compile([self.theta, self._points], [self._batched_terms])

    @cached_property
    def _weighted(self) -> Callable[..., Any]:
        weights = pt.vector("weights", dtype="float64")
        total = rewrite_pregrad((self._flat_terms * weights).sum())
        return self.compile([self.theta, self.u, weights], self.gradient_of(total))

    @cached_property
    def _weighted_batched(self) -> Callable[..., Any] | None:
        if self._batched_terms is None:
            return None
        weights = pt.matrix("weights", dtype="float64")
        total = rewrite_pregrad((self._batched_terms * weights).sum())
        try:
            gradient = grad(total, [self.theta, self._points], disconnected_inputs="ignore")
        except NO_GRADIENT:
            return None
        return self.compile([self.theta, self._points, weights], gradient)

    @cached_property
    def _jvp(self) -> Callable[..., Any]:
        moved = pushforward(self.smooth_terms, self.u, self.v, disconnected_outputs="ignore")
        return self.compile([self.theta, self.u, self.v], [moved])

    # --- values

    def evaluate(
        self, function: Callable[..., Any], theta: FloatArray, u: FloatArray
    ) -> list[FloatArray] | None:
        """Return a function's values as new arrays; None if it has none."""
        self.work += self.size.gradient
        try:
            return [np.array(part, dtype=float) for part in function(theta, u)]
        except NO_VALUE:
            return None

    def evaluate_gradient(
        self, function: Callable[..., Any], theta: FloatArray, u: FloatArray, *inputs: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return what a function of `gradient_of` gives; NaN if it has no value."""
        self.work += self.size.product
        try:
            in_theta, in_u = function(theta, u, *map(np.ascontiguousarray, inputs))
        except NO_VALUE:
            return np.full(len(theta), np.nan), np.full(len(u), np.nan)
        return np.array(in_theta, dtype=float), np.array(in_u, dtype=float)

    def value_and_gradient(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray]:
        """Return ``f``, ``f_theta`` (p,) and ``f_u`` (n,); NaN if it has no value."""
        found = self.evaluate(self._value_and_gradient, theta, u)
        if found is None:
            return np.nan, np.full(len(theta), np.nan), np.full(len(u), np.nan)
        value, in_theta, in_u = found
        return float(value), in_theta, in_u

    def product(
        self, theta: FloatArray, u: FloatArray, v: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return ``f_theta,u v`` (p,) and ``f_uu v`` (n,)."""
        self.n_products += 1
        return self.evaluate_gradient(self._product, theta, u, v)

    def third_derivative_product(
        self, theta: FloatArray, u: FloatArray, w: FloatArray, v: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of ``w' f_uu v`` in ``theta`` (p,) and in ``u`` (n,)."""
        self.n_products += 1
        return self.evaluate_gradient(self._third_derivative_product, theta, u, w, v)

    def pointwise(
        self, theta: FloatArray, u: FloatArray, *, check_bounds: bool = True
    ) -> dict[str, FloatArray]:
        """Return the terms before they are summed."""
        function = self._pointwise if check_bounds else self._pointwise_unchecked
        return dict(zip(self.factors, map(np.asarray, function(theta, u)), strict=True))

    def terms(self, theta: FloatArray, points: FloatArray) -> FloatArray:
        """Return all terms, end to end, at each ``u`` of ``points``: (k, n) to (k, m)."""
        numbers = len(points) * points.shape[1]
        batched = self._terms_batched if len(points) > 1 and numbers <= _NUMBERS_AT_ONCE else None
        if batched is None:
            function = self._terms
            return np.array([function(theta, u)[0] for u in points], dtype=float)
        return np.asarray(batched(theta, points)[0], dtype=float)

    def weighted_gradient(
        self, theta: FloatArray, points: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of the sum of the terms times ``weights`` (k, m).

        In ``theta`` (p,), and in each ``u`` of ``points`` (k, n).
        """
        few = len(points) > 1 and weights.size <= _NUMBERS_AT_ONCE
        batched = self._weighted_batched if few else None
        if batched is not None:
            return self.evaluate_gradient(batched, theta, points, weights)
        function = self._weighted
        parts = [
            self.evaluate_gradient(function, theta, u, w)
            for u, w in zip(points, weights, strict=True)
        ]
        in_theta, in_u = zip(*parts, strict=True)
        return np.sum(in_theta, axis=0), np.array(in_u)

    def jvp(self, theta: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
        """Return the derivative of each term (m,) along ``v`` (n,) in the latents."""
        return np.asarray(self._jvp(theta, u, np.ascontiguousarray(v))[0], dtype=float)

    # --- second derivatives in the latents

    def sparse_hessian(self, pattern: SparsityPattern) -> SparseHessian:
        """Return the cheapest way to take ``f_uu`` and its derivatives for a known pattern."""
        ways: list[Callable[[], SparseHessian | None]] = [
            lambda: self._termwise(pattern) if pattern.n_colours > _TOO_FEW else None,
            lambda: JointHessian(self, pattern) if pattern.n_colours <= _MOST_JOINT else None,
            lambda: VectorizedHessian(self, pattern) if self._fits(pattern) else None,
        ]
        columnwise = ColumnwiseHessian(self, pattern)
        for way in ways:
            hessian = way()
            if isinstance(hessian, JointHessian):
                return hessian
            if hessian and hessians_agree(hessian, columnwise, *self._ordinary_point):
                return hessian
        return columnwise

    def _fits(self, pattern: SparsityPattern) -> bool:
        """True if the products with all vectors may be held at once."""
        shapes = [factor.type.shape for factor in self.factors.values()]
        n_terms = sum(int(np.prod([n or 1000 for n in shape])) for shape in shapes)
        return pattern.n_colours * n_terms <= _NUMBERS_AT_ONCE

    def _termwise(self, pattern: SparsityPattern) -> SparseHessian | None:
        theta, u = self._ordinary_point
        try:
            incidence = find_incidence(lambda v: self.jvp(theta, u, v), pattern)
        except Exception:  # noqa: BLE001 - an operation may lack what this needs; others do not
            return None
        if incidence is None or len(incidence.pairs) >= pattern.n_colours:
            return None
        return TermwiseHessian(self, pattern, incidence)

    @property
    def _ordinary_point(self) -> tuple[FloatArray, FloatArray]:
        """A point away from where derivatives vanish by coincidence."""
        rng = np.random.default_rng(0)
        return self.typical, self.start + rng.uniform(-0.1, 0.1, size=len(self.start))
