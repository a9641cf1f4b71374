"""The log-likelihood with the latents integrated out, as a density of the parameters alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np

from pmlik._differences import fourth_order_difference, product_by_differences
from pmlik._runtime import ProgressCallback, ReentrantLock, quiet_single_thread
from pmlik._typing import BoolArray, FloatArray, IntArray
from pmlik.logp.sparsity import SparsityPattern
from pmlik.logp.work import Work
from pmlik.marginal.blocks import BlockRule, Blocks, LaplaceByBlock, Weighted, find_blocks
from pmlik.marginal.integrand import Integrand
from pmlik.marginal.laplace import Laplace, Mode
from pmlik.marginal.quadrature import Quadrature
from pmlik.model.validate import describe_not_finite

# Differences over this share of a standard error: truncation and rounding are then both about
# 1e-9 of a second derivative.
_STEP = 1e-4

# The same for fourth-order differences of the units' integrals, about 1e-11 of a score.
_SCORE_STEP = 3e-3
_MAX_WIDTH, _FIRST_WIDTH = 30.0, 0.06
_MISJUDGED = 30.0
_REMEMBERED = 8


class MarginalLogLikelihood:
    """The marginal log-likelihood of ``x``, with the interface of `pmlik.logp.density.LogDensity`.

    Its gradient is exact, and second derivatives are differences of it.

    ``active`` (p,): the coordinates that the density depends on at all.
    ``terms``: the observed variables' names.
    ``n_nodes``: nodes of adaptive quadrature per latent; default: Laplace's approximation.
    ``laplace``: the approximation, if there is one of this integrand already.
    ``rule``: computes the integral in place of Laplace's approximation or quadrature.
    """

    by_differences = True
    is_integral: Literal[True] = True

    def __init__(
        self,
        integrand: Integrand,
        active: BoolArray,
        terms: tuple[str, ...],
        n_nodes: int | None = None,
        *,
        laplace: Laplace | None = None,
        rule: Weighted | None = None,
    ) -> None:
        self.integrand, self.active, self.terms = integrand, active, terms
        self.n_nodes = n_nodes
        self._given_laplace, self._given_rule = laplace, rule
        self.is_bounded = False
        self._widths: FloatArray | None = None
        self._reference_widths: FloatArray | None = None
        self._known: dict[bytes, tuple[float, FloatArray]] = {}
        self._known_pattern: SparsityPattern | None = None
        self._lock = ReentrantLock()  # chains in threads may share it
        self.n_gradients = self.n_products = 0

    @cached_property
    def laplace(self) -> Laplace:
        """Laplace's approximation; its sparsity pattern is read on first use."""
        f = self.integrand
        return self._given_laplace or Laplace(f, f.start, f.typical)

    @cached_property
    def _rule(self) -> Laplace | Quadrature | Weighted:
        """The way to take the integral."""
        if self._given_rule is not None:
            return self._given_rule
        if self.n_nodes is None or self.is_exact:
            return self.laplace
        return Quadrature(self.laplace, self.integrand, self.n_nodes)

    @property
    def size(self) -> Work:
        """The work of one evaluation with the latents given; each integral takes many."""
        return self.integrand.size

    @property
    def work(self) -> float:
        """The work of all evaluations so far."""
        return self.integrand.work

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of latents in each latent variable, on the unconstrained scale."""
        return tuple(self.integrand.sizes)

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return sum(self.sizes)

    @property
    def is_exact(self) -> bool:
        """True if Laplace is exact: the latents are Gaussian and enter linearly."""
        return self.laplace.is_exact

    def set_reference(self, x: FloatArray) -> None:
        """Keep what depends little on the data: a mode to start from, widths of differences.

        `reset_cache` returns to these, so that no digit depends on the data seen in between.

        ``x`` (p,): the estimate from the data that are set.
        """
        self.reset_cache()
        mode = self.mode(x)
        if mode is not None:
            self.laplace.start = mode.u
        self._widths = None
        self.hessian(x)
        self._reference_widths = self._widths
        self.reset_cache()

    def reset_cache(self) -> None:
        """Forget what was found for other data, or with other weights."""
        with self._lock:
            self._known.clear()
            self.laplace.reset_cache()
            reference = self._reference_widths
            self._widths = None if reference is None else reference.copy()

    def mode(self, x: FloatArray) -> Mode | None:
        """Return the conditional mode of the latents at ``x``; None if there is none."""
        with self._lock, quiet_single_thread(self.n_latents):
            return self.laplace.mode(np.asarray(x, dtype=float))

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the marginal log-likelihood, all constants included, and its gradient (p,)."""
        with self._lock, quiet_single_thread(self.n_latents):
            self.n_gradients += 1
            key = np.asarray(x, dtype=float).tobytes()
            self._forget_misread()
            if key not in self._known:
                found = self._rule.value_and_gradient(np.array(x, dtype=float))
                self._forget_misread()
                if len(self._known) >= _REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[key] = found
            value, gradient = self._known[key]
            return value, gradient.copy()

    def _forget_misread(self) -> None:
        """Forget values from before the sparsity pattern was found too narrow and replaced."""
        if self._known_pattern is not self.laplace.pattern:
            self._known.clear()
            self._known_pattern = self.laplace.pattern

    def product(self, x: FloatArray, v: FloatArray) -> FloatArray:
        """Return the Hessian times ``v`` (p,), by central differences of the exact gradient."""
        self.n_products += 1
        return self._differences(x, v, self._widths_at(x))

    def _widths_at(self, x: FloatArray) -> FloatArray:
        size = np.maximum(np.abs(x), 1.0)
        if self._widths is None:
            return _FIRST_WIDTH * size
        return np.minimum(self._widths, _MAX_WIDTH * size)

    def _differences(self, x: FloatArray, v: FloatArray, widths: FloatArray) -> FloatArray:
        return product_by_differences(
            lambda at: self.value_and_gradient(at)[1], x, v, widths, _STEP
        )

    def hessian(self, x: FloatArray) -> FloatArray:
        """Return the dense (p, p) Hessian; a step that was much too long or short is repeated."""
        p = len(x)
        hessian, units = np.zeros((p, p)), np.eye(p)
        widths = self._widths_at(x).copy()
        for i in np.flatnonzero(self.active):
            for _ in range(2):
                self.n_products += 1
                hessian[i] = self._differences(x, units[i], widths)
                width = 1 / np.sqrt(max(abs(hessian[i, i]), 1e-300))
                width = min(width, _MAX_WIDTH * max(1.0, abs(x[i])))
                misjudged = max(width / widths[i], widths[i] / width)
                if not np.isfinite(width):
                    break
                widths[i] = width
                if not misjudged > _MISJUDGED:
                    break
        if np.isfinite(hessian).all():
            self._widths = widths
        return np.asarray((hessian + hessian.T) / 2)

    def pointwise(self, x: FloatArray, *, check_bounds: bool = True) -> dict[str, FloatArray]:
        """Return the integrand's terms with the latents at their start, for `usable_start`."""
        u = self.integrand.start
        return self.integrand.pointwise(x, u, check_bounds=check_bounds)

    def many(
        self, what: str, points: FloatArray, say: ProgressCallback | None = None
    ) -> list[FloatArray]:
        """Return the log-likelihood or its gradient at each row of ``points`` (b, p).

        Raises `ValueError` for ``"pointwise"``: observations that share latents are not
            independent.
        """
        if what not in ("value", "gradient"):
            raise ValueError(f"{what}: the marginal likelihood has no terms by observation.")
        results: list[float | FloatArray] = []
        for done, point in enumerate(points):
            with self._lock, quiet_single_thread(self.n_latents):
                if what == "value":
                    results.append(self._rule.log_integral(np.array(point, dtype=float)))
                else:
                    results.append(self.value_and_gradient(point)[1])
            if say is not None and done % 50 == 0:
                say(f"Integrating at {len(points)} points: {100 * done // len(points)} %")
        return [np.array(results).reshape(len(points), *(() if what == "value" else (-1,)))]

    def weighted(self, weights: Mapping[str, Any]) -> MarginalLogLikelihood:
        """Return the density with a weight for each block of latents and what depends on it.

        ``weights`` (mapping of str to shared variable): by term of the likelihood, in its shape;
            the same for all observations of a block.
        """

        def current() -> FloatArray:
            return np.concatenate([np.ravel(weights[name].get_value()) for name in self.terms])

        rule = Weighted(self._by_block, self.blocks, current)
        return MarginalLogLikelihood(
            self.integrand, self.active, self.terms, self.n_nodes, laplace=self.laplace, rule=rule
        )

    @cached_property
    def blocks(self) -> Blocks:
        """The independent blocks that latents and terms fall into.

        Raises `NotAloneError` if a term depends on latents of two.
        """
        return find_blocks(self.laplace, self.integrand)

    @cached_property
    def _by_block(self) -> BlockRule:
        rule = self._rule
        return (
            rule if isinstance(rule, Quadrature) else LaplaceByBlock(self.laplace, self.integrand)
        )

    def log_integrals(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the parts of the log-likelihood.

        Returns ``terms`` (m,): only those without latents count; the likelihood's come first.
        ``blocks`` (k,): the logarithm of each block's integral. NaN if the latents have no mode.
        """
        with self._lock, quiet_single_thread(self.n_latents):
            found = self._by_block.log_integrals(np.array(x, dtype=float), self.blocks)
        if found is None:
            nothing = np.full(len(self.blocks.terms), np.nan)
            return nothing, np.full(self.blocks.size, np.nan)
        return found

    def unit_scores(self, x: FloatArray, codes: Mapping[str, IntArray], n_units: int) -> FloatArray:
        """Return the gradient (n_units, p) of the log-likelihood of each unit by itself.

        By fourth-order differences of the units' integrals. Parameters are those of
        `LogDensity.unit_scores`; a block of latents belongs to one unit.
        """
        flat = np.concatenate([np.ravel(codes[name]) for name in self.terms])

        def by_unit(point: FloatArray) -> FloatArray:
            return self.blocks.gather_units(flat, n_units, *self.log_integrals(point))

        scores = np.zeros((n_units, len(x)))
        self.hessian(x)
        for i, width in enumerate(self._widths_at(x)):
            if not self.active[i]:
                continue
            step = _SCORE_STEP * width * np.eye(len(x))[i]
            scores[:, i] = fourth_order_difference(by_unit, x, step) / (12 * _SCORE_STEP * width)
        return scores

    def nonfinite_inputs(self, name: str) -> list[str]:
        """Return the inputs that are not finite and may be why a term is undefined."""
        model = self.integrand.model
        rv = model[name]
        return describe_not_finite(rv) if rv in model.basic_RVs else []
