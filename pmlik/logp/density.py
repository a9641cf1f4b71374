"""Compiled log-densities of one flat unconstrained vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
import pytensor
import pytensor.tensor as pt
from pymc.pytensorf import rewrite_pregrad
from pytensor.compile.mode import Mode
from pytensor.gradient import grad
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.blockwise import Blockwise

from pmlik._differences import hessian_from_products, product_by_differences
from pmlik._runtime import ProgressCallback
from pmlik._typing import BoolArray, FloatArray, IntArray
from pmlik.errors import ModelError
from pmlik.logp.batched import Batched
from pmlik.logp.compile import NO_GRADIENT, NO_VALUE, compile_quiet
from pmlik.logp.parts import Parts, parts_of, vectorize_along
from pmlik.logp.sparsity import SparsityPattern, find_pattern
from pmlik.logp.straight import StraightLinker
from pmlik.logp.work import Work, count_work, has_loop
from pmlik.model.transform import TermsModel
from pmlik.model.validate import describe_not_finite

#: From this number of coordinates on, sparsity of the Hessian is looked for.
MANY = 12

# Products with many vectors are made in chunks of about this many numbers.
_PRODUCT_ELEMENTS = 200_000

# Operations that pick elements of an array, and those that mix all of them.
_PICKS = {"AdvancedSubtensor", "AdvancedSubtensor1"}
_MIXES = {"Dot", "Blockwise", "Scan", "CumOp", "Dot22", "BatchedDot"}
Quantity = Literal["value", "gradient", "pointwise"]


class LogDensity:
    """A log-density of ``x``, with exact gradient and Hessian-vector product.

    Functions are built on first use. The value outside the support is ``-inf``.

    ``factors`` (mapping of str to variable): terms of the density, elementwise, by the name of the
        model's variable.
    ``x`` (vector variable): its argument. ``model``: gives the context to compile in.
    ``mode``: mode of compilation. ``active`` (n,): the coordinates that the density depends on.
    """

    is_integral: Literal[False] = False
    sizes: tuple[int, ...] = ()  # of the latents, which it has none of
    n_latents = 0
    blocks = None

    def __init__(
        self,
        factors: Mapping[str, Any],
        x: Any,
        model: TermsModel,
        mode: Mode,
        active: BoolArray,
    ) -> None:
        self._factors, self._x, self._model, self._mode = dict(factors), x, model, mode
        self.active = active
        self.is_bounded = False  # True if it is known to have an upper bound
        self._same_products: bool | None = None
        self._pattern: SparsityPattern | None = None
        self.n_gradients = 0
        self.n_products = 0
        self.work = 0.0  # of all evaluations so far

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms."""
        return tuple(self._factors)

    @cached_property
    def size(self) -> Work:
        """The work of one evaluation."""
        found = count_work([self._graph])
        return found if self._is_interpreted else found.compiled()

    @property
    def _is_interpreted(self) -> bool:
        return isinstance(self._mode.linker, StraightLinker)

    @cached_property
    def _parts(self) -> Parts | None:
        """The parts of ``x`` that interpreted functions take; None: they take ``x``."""
        return parts_of(list(self._factors.values()), self._x, self._mode)

    @cached_property
    def _arguments(self) -> list[Any]:
        """The parts of ``x``, or ``x`` itself."""
        return [self._x] if self._parts is None else self._parts.variables

    @cached_property
    def _total(self) -> Any:
        """The density as a graph of `_arguments`."""
        graphs = list(self._factors.values())
        total = pt.zeros(())
        for factor in graphs if self._parts is None else self._parts.open(graphs):
            total = total + factor.sum()
        return rewrite_pregrad(total)

    @cached_property
    def _graph(self) -> Any:
        return self._total if self._parts is None else self._parts.close([self._total])[0]

    def weighted(self, weights: Mapping[str, Any]) -> LogDensity:
        """Return the density with each entry of its terms multiplied by ``weights``.

        ``weights`` (mapping of str to variable): by term, in its shape. An entry of weight 0 is
            left out, even if it is ``-inf``.
        """
        factors = {
            name: pt.switch(pt.eq(weights[name], 0), 0.0, weights[name] * factor)
            if name in weights
            else factor
            for name, factor in self._factors.items()
        }
        return LogDensity(factors, self._x, self._model, self._mode, self.active)

    @property
    def graphs(self) -> tuple[Any, Any, Any, tuple[Any, Any] | None]:
        """``x``, the density, its gradient, and a vector with the Hessian times it."""
        return self._x, self._graph, self._gradient, self._product_graph

    @cached_property
    def _gradients(self) -> list[Any]:
        """The gradient by `_arguments`, as graphs of these."""
        try:
            return list(grad(self._total, self._arguments, disconnected_inputs="ignore"))
        except NO_GRADIENT as error:
            raise ModelError(
                f"{', '.join(self._factors)}: the log-density has no gradient ({error}). "
                "pmlik needs one: write it with PyTensor operations, or give an Op of your own "
                "the method `pullback`."
            ) from error

    @cached_property
    def _gradient(self) -> Any:
        joined = self._parts and self._parts.joined(self._gradients, self._x)
        return self._gradients[0] if joined is None else joined

    @cached_property
    def _value_and_gradient(self) -> Callable[..., Any]:
        graphs = [self._total, *self._gradients]
        function, parts = (
            compile_quiet(self._arguments, graphs, self._model, self._mode),
            self._parts,
        )
        if parts is None:
            return function

        def of_parts(x: FloatArray) -> tuple[Any, FloatArray]:
            value, *gradients = function(*parts.split(x))
            return value, parts.join(gradients, x.shape)

        return of_parts

    @cached_property
    def _images(self) -> tuple[list[Any], list[Any]] | None:
        """Vectors like `_arguments`, and the Hessian times these; None: no second derivative.

        That of a loop takes minutes to compile, where its gradient takes milliseconds to evaluate.
        """
        if not self._is_interpreted and has_loop([self._total]):
            return None
        v = [pt.vector("v", dtype=self._x.dtype)] if self._parts is None else self._parts.like("v")
        along = pt.add(0.0, *((g * w).sum() for g, w in zip(self._gradients, v, strict=True)))
        try:
            return v, list(grad(along, self._arguments, disconnected_inputs="ignore"))
        except NO_GRADIENT:
            return None

    @cached_property
    def _product_graph(self) -> tuple[Any, Any] | None:
        """A vector and the Hessian times it, None if there is no second derivative."""
        if self._images is None or self._parts is None:
            return self._images and (self._images[0][0], self._images[1][0])
        v = pt.vector("v", dtype=self._x.dtype)
        image = self._parts.joined(self._images[1], self._x)
        return v, graph_replace(
            image, dict(zip(self._images[0], self._parts.split(v), strict=True)), strict=False
        )

    @cached_property
    def _product(self) -> Callable[..., Any] | None:
        return self._images and self._compile_images(*self._images)

    def _compile_images(self, v: list[Any], images: list[Any]) -> Callable[..., Any]:
        """Compile products at ``x`` with a vector (n,), or with vectors (b, n)."""
        inputs, parts = [*self._arguments, *v], self._parts
        function = compile_quiet(inputs, images, self._model, self._mode)
        if parts is None:
            return function
        return lambda x, v: [parts.join(function(*parts.split(x), *parts.split(v)), v.shape)]

    @cache  # noqa: B019 - one small function a problem, kept as long as the problem
    def _pointwise(self, check_bounds: bool) -> Callable[..., Any]:
        graphs = list(self._factors.values())
        return compile_quiet([self._x], graphs, self._model, self._mode, check_bounds)

    @property
    def by_differences(self) -> bool:
        """True if an operation without second derivative makes finite differences necessary."""
        return bool(self.active.any()) and self._images is None

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the log-density, with all constants, and its gradient (n,)."""
        self.n_gradients += 1
        self.work += self.size.gradient
        function = self._value_and_gradient
        try:
            value, gradient = function(x)
        except NO_VALUE:
            return np.nan, np.full(len(x), np.nan)
        return float(value), np.array(gradient, dtype=float)

    def product(self, x: FloatArray, v: FloatArray) -> FloatArray:
        """Return the Hessian of the log-density times ``v`` (n,).

        Exact, or by central differences of the exact gradient (see `by_differences`).
        """
        self.n_products += 1
        together = self._many_products if self._same_products else None
        function = together or self._product
        if function is None:
            return self._differences(x, v)
        self.work += self.size.product
        try:
            image = function(x, v if together is None else v[None])[0]
            return np.array(image, dtype=float).reshape(len(x))
        except NO_VALUE:
            return np.full(len(x), np.nan)

    def pointwise(self, x: FloatArray, *, check_bounds: bool = True) -> dict[str, FloatArray]:
        """Return the terms before they are summed: an array per variable, an entry per observation.

        If a parameter is outside its bounds, all terms of its variable are ``-inf``; with
        ``check_bounds=False`` only the entries that depend on it are, or any other number.
        """
        values = map(np.asarray, self._pointwise(check_bounds)(x))
        return dict(zip(self._factors, values, strict=True))

    @cache  # noqa: B019 - a few small functions a problem, kept as long as the problem
    def _batched(self, what: Quantity) -> Batched:
        graphs = {
            "value": lambda: [self._graph],
            "gradient": lambda: [self._gradient],
            "pointwise": lambda: list(self._factors.values()),
        }[what]()
        return Batched(graphs, self._x, self._model, self._mode)

    def many(
        self, what: Quantity, points: FloatArray, say: ProgressCallback | None = None
    ) -> list[FloatArray]:
        """Return the log-density, its gradient or its terms at each row of ``points`` (b, n).

        ``points`` (b, n). ``say``: receives the progress as text.
        Returns (list of array (b, ...)): one array, and for ``"pointwise"`` one per term.
        """
        self.work += (3 if what == "gradient" else 1) * self.size.many(len(points))
        return self._batched(what)(points, say)

    @cached_property
    def _many_products(self) -> Callable[..., Any] | None:
        """Products with many vectors at one point; None if PyTensor can't vectorize them."""
        if self._images is None:
            return None
        v, images = self._images
        if any(isinstance(node.owner and node.owner.op, Blockwise) for node in ancestors(images)):
            return None  # linear algebra takes many seconds to vectorize again
        try:
            return self._compile_images(*vectorize_along(images, v))
        except Exception:  # noqa: BLE001 - then one product at a time
            return None

    @cached_property
    def _at_once(self) -> int:
        """Number of products that together stay in the processor's cache."""
        sizes = [np.prod([n or 1000 for n in f.type.shape]) for f in self._factors.values()]
        return int(np.clip(_PRODUCT_ELEMENTS / max(1.0, float(np.sum(sizes))), 1, 1000))

    def hessian(self, x: FloatArray) -> FloatArray:
        """Return the dense (n, n) Hessian of the log-density."""
        n = len(x)
        if self._may_be_sparse:
            hessian = self._sparse_hessian(x)
            if hessian is not None:
                return hessian
        if not self._can_vectorize(x):
            return hessian_from_products(lambda v: self.product(x, v), n)
        self.n_products += n
        self.work += self.size.products(n)
        function, basis = self._many_products, np.eye(n)
        assert function is not None
        try:
            rows = [
                function(x, basis[i : i + self._at_once])[0] for i in range(0, n, self._at_once)
            ]
        except NO_VALUE:
            return np.full((n, n), np.nan)
        hessian = np.concatenate(rows)
        return np.asarray((hessian + hessian.T) / 2)

    @cached_property
    def _may_be_sparse(self) -> bool:
        """True if the Hessian may be sparse: parameters are indexed, or never mixed."""
        if len(self.active) < MANY or self._images is None:
            return False
        ops = {type(node.owner.op).__name__ for node in ancestors([self._total]) if node.owner}
        return bool(ops & _PICKS) or not ops & _MIXES

    def _sparse_hessian(self, x: FloatArray) -> FloatArray | None:
        """Return the Hessian from a few products; None if it is dense, then and from then on.

        One more product, with random numbers, checks that no entry is missing.
        """
        if self._pattern is None:  # beside x: at a round value an entry may be zero by chance
            beside = x + np.random.default_rng(0).uniform(-0.01, 0.01, size=len(x))
            self._pattern = find_pattern(lambda v: self.product(beside, v), [len(x)])
        pattern = self._pattern
        if pattern.n_colours > len(x) / 2:
            self._may_be_sparse = False
            return None
        images = np.array([self.product(x, seed) for seed in pattern.seeds])
        entries = pattern.read(images)
        if not np.isfinite(entries).all():
            return np.full((len(x), len(x)), np.nan)
        diagonal = np.abs(entries[pattern.rows == pattern.columns])
        units = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        witness = units * np.random.default_rng(1).uniform(1, 2, size=len(x))
        if not pattern.is_complete(entries, witness, self.product(x, witness)):
            self._may_be_sparse = False
            return None
        hessian = pattern.fill(entries)
        return np.asarray((hessian + hessian.T) / 2)

    def _can_vectorize(self, x: FloatArray) -> bool:
        """Return True if products with many vectors equal those with each; checked once."""
        if self._same_products is None:
            self._same_products = self._compare_products(x)
        return self._same_products

    def _compare_products(self, x: FloatArray) -> bool:
        """Return True if they are near differences of the gradient, or equal single products."""
        function = self._many_products if len(x) > 1 else None
        if function is None:
            return False
        vectors = np.random.default_rng(0).normal(size=(2, len(x)))
        try:
            together = function(x, vectors)[0]
        except Exception:  # noqa: BLE001 - then one product at a time
            return False
        if np.shape(together) != vectors.shape:
            return False
        for references, tolerance in ((self._differences, 1e-4), (self.product, 1e-9)):
            alone = np.array([references(x, v) for v in vectors])
            size = np.nanmax(np.abs(alone))
            if np.allclose(together, alone, rtol=0, atol=tolerance * size):
                return True
        return False

    def _differences(self, x: FloatArray, v: FloatArray) -> FloatArray:
        """Return the Hessian times ``v`` by central differences of the exact gradient."""
        widths, step = np.maximum(np.abs(x), 1.0), np.cbrt(np.finfo(float).eps)
        return product_by_differences(lambda at: self.value_and_gradient(at)[1], x, v, widths, step)

    def set_reference(self, x: FloatArray) -> None:
        """Do nothing: values do not depend on those found before."""

    def reset_cache(self) -> None:
        """Do nothing: no value is kept that depends on the data."""

    def unit_scores(self, x: FloatArray, codes: Mapping[str, IntArray], n_units: int) -> FloatArray:
        """Return the gradient (n_units, n) of each unit by itself, on the unconstrained scale.

        The gradient of the weighted density is linear in the weights, so that the derivatives of
        its product with a vector ``v`` are the products of all observations' gradients with it.

        ``codes``: by term, in its shape: the unit of each entry, numbered from 0.
        """
        weights = {
            name: pytensor.shared(np.ones(part.shape), shape=part.shape, name=f"weights of {name}")
            for name, part in codes.items()
        }
        weighted = self.weighted(weights)
        products = weighted._compile_products(list(weights.values()))
        if products is not None:
            columns = np.zeros((len(x), n_units))
            for column, direction in zip(columns, np.eye(len(x)), strict=True):
                for part, terms in zip(codes.values(), products(x, direction), strict=True):
                    column += np.bincount(part.ravel(), terms.ravel(), minlength=n_units)
            return columns.T
        rows = np.empty((n_units, len(x)))
        for row, unit in zip(rows, np.eye(n_units), strict=True):
            for name, part in codes.items():
                weights[name].set_value(unit[part])
            row[:] = weighted.value_and_gradient(x)[1]
        return rows

    def _compile_products(self, weights: list[Any]) -> Callable[..., Any] | None:
        """Compile products of each term's gradient with a vector; None without a derivative."""
        v = pt.vector("v", dtype="float64")
        try:
            products = grad((self._gradient * v).sum(), weights, disconnected_inputs="ignore")
        except NO_GRADIENT:
            return None
        return compile_quiet([self._x, v], products, self._model, self._mode)

    def nonfinite_inputs(self, name: str) -> list[str]:
        """Return the inputs that are not finite and may be why a term is undefined."""
        rv = self._model[name]
        return describe_not_finite(rv) if rv in self._model.basic_RVs else []
