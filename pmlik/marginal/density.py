"""The log-likelihood with the latents integrated out, as a density of the parameters alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np

from pmlik._runtime import ProgressCallback, quiet_single_thread
from pmlik._typing import BoolArray, FloatArray
from pmlik.errors import ModelError
from pmlik.marginal.blocks import (
    BlockRule,
    Blocks,
    LaplaceByBlock,
    NotAloneError,
    Weighted,
    find_blocks,
)
from pmlik.marginal.integrand import Integrand
from pmlik.marginal.laplace import Laplace, Mode
from pmlik.marginal.quadrature import Quadrature
from pmlik.model.validate import describe_not_finite

__all__ = ["MarginalLogLikelihood"]


# Differences over this share of a standard error: what they leave out and what rounding adds
# are both about 1e-9 of a curvature.
_STEP = 1e-4
_WIDEST, _FIRST_WIDTH = 30.0, 0.06
_MISJUDGED = 30.0
_REMEMBERED = 8


class MarginalLogLikelihood:
    """The marginal log-likelihood of ``x``: the same surface as `pmlik.logp.density.LogDensity`.

    Its gradient is exact, and second derivatives are differences of it.

    Parameters
    ----------
    integrand : Integrand
    active : array of bool (p,)
        Which coordinates the density depends on at all.
    terms : tuple of str
        The observed variables' names.
    n_nodes : int, optional
        Nodes of adaptive quadrature for each latent; default: Laplace's approximation.
    """

    by_differences = True
    is_integral = True

    def __init__(
        self,
        integrand: Integrand,
        active: BoolArray,
        terms: tuple[str, ...],
        n_nodes: int | None = None,
    ) -> None:
        self.integrand, self.active, self.terms = integrand, active, terms
        self.n_nodes = n_nodes
        self.is_bounded = False
        self._widths: FloatArray | None = None
        self._settled: FloatArray | None = None
        self._known: dict[bytes, tuple[float, FloatArray]] = {}
        self._lock = RLock()  # chains in threads may share it
        self.n_gradients = self.n_products = 0

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()

    @cached_property
    def laplace(self) -> Laplace:
        """The approximation behind, its sparsity found when first asked for."""
        return Laplace(self.integrand, self.integrand.start, self.integrand.typical)

    @cached_property
    def _rule(self) -> Laplace | Quadrature | Weighted:
        """How the integral is taken."""
        if self.n_nodes is None or self.is_exact:
            return self.laplace
        try:
            return Quadrature(self.laplace, self.integrand, self.n_nodes)
        except NotAloneError:
            raise ModelError(
                "quadrature: the latents meet each other (several effects an observation, a chain, "
                "a level above), and quadrature is for latents that stand alone. Leave it out for "
                "Laplace's approximation."
            ) from None

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many latents each latent variable has, on the unconstrained scale."""
        return tuple(self.integrand.sizes)

    @property
    def is_exact(self) -> bool:
        """Whether Laplace is exact, as the latents are Gaussian and enter linearly."""
        return self.laplace.is_exact

    def settle(self, x: FloatArray) -> None:
        """Find all that depends on the data little: a mode to begin from, widths of differences.

        `forget` goes back to these, so that no digit depends on the data seen in between.

        Parameters
        ----------
        x : array (p,)
            The estimate of the data that are set.
        """
        self.forget()
        mode = self.mode(x)
        if mode is not None:
            self.laplace.start = mode.u
        self._widths = None
        self.hessian(x)
        self._settled = self._widths
        self.forget()

    def forget(self) -> None:
        """Forget what was found of other data, or under other weights."""
        with self._lock:
            self._known.clear()
            self.laplace.reset_cache()
            self._widths = None if self._settled is None else self._settled.copy()

    def mode(self, x: FloatArray) -> Mode | None:
        """The conditional mode of the latents at ``x``."""
        with self._lock, quiet_single_thread(sum(self.sizes)):
            return self.laplace.mode(np.asarray(x, dtype=float))

    def value_and_gradient(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Marginal log-likelihood, all constants included, and its gradient (p,)."""
        with self._lock, quiet_single_thread(sum(self.sizes)):
            self.n_gradients += 1
            key = np.asarray(x, dtype=float).tobytes()
            if key not in self._known:
                if len(self._known) >= _REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[key] = self._rule.value_and_gradient(np.array(x, dtype=float))
            value, gradient = self._known[key]
            return value, gradient.copy()

    def product(self, x: FloatArray, v: FloatArray) -> FloatArray:
        """Hessian times ``v`` (p,), by central differences of the exact gradient."""
        self.n_products += 1
        return self._differences(x, v, self._widths_at(x))

    def _widths_at(self, x: FloatArray) -> FloatArray:
        size = np.maximum(np.abs(x), 1.0)
        if self._widths is None:
            return _FIRST_WIDTH * size
        return np.minimum(self._widths, _WIDEST * size)

    def widths(self, x: FloatArray) -> FloatArray:
        """About one standard error of each coordinate by itself (p,), the others held."""
        self.hessian(x)
        return self._widths_at(x)

    def _differences(self, x: FloatArray, v: FloatArray, widths: FloatArray) -> FloatArray:
        fastest = float(np.max(np.abs(v) / widths, initial=0.0))
        if fastest == 0:
            return np.zeros(len(x))
        step = _STEP / fastest
        ahead, behind = (self.value_and_gradient(x + s * step * v)[1] for s in (1, -1))
        return np.asarray((ahead - behind) / (2 * step))

    def hessian(self, x: FloatArray) -> FloatArray:
        """The dense (p, p) Hessian; a step that turns out too long or short is taken again."""
        p = len(x)
        hessian, units = np.zeros((p, p)), np.eye(p)
        widths = self._widths_at(x).copy()
        for i in np.flatnonzero(self.active):
            for _ in range(2):
                self.n_products += 1
                hessian[i] = self._differences(x, units[i], widths)
                width = 1 / np.sqrt(max(abs(hessian[i, i]), 1e-300))
                width = min(width, _WIDEST * max(1.0, abs(x[i])))
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
        """The integrand's terms with the latents where they start: what `usable_start` asks."""
        u = self.integrand.start
        return self.integrand.pointwise(x, u, check_bounds=check_bounds)

    def many(
        self, what: str, points: FloatArray, say: ProgressCallback | None = None
    ) -> list[FloatArray]:
        """The log-likelihood or its gradient at each row of ``points`` (b, p).

        Raises
        ------
        ValueError
            For ``"pointwise"``: observations that share latents are not independent.
        """
        if what not in ("value", "gradient"):
            raise ValueError(f"{what}: the marginal likelihood has no terms by observation.")
        results: list[float | FloatArray] = []
        for done, point in enumerate(points):
            with self._lock, quiet_single_thread(sum(self.sizes)):
                if what == "value":
                    results.append(self._rule.log_integral(np.array(point, dtype=float)))
                else:
                    results.append(self.value_and_gradient(point)[1])
            if say is not None and done % 50 == 0:
                say(f"Integrating at {len(points)} points: {100 * done // len(points)} %")
        return [np.array(results).reshape(len(points), *(() if what == "value" else (-1,)))]

    def weighted(self, weights: Mapping[str, Any]) -> MarginalLogLikelihood:
        """The same density with each block of latents, and what depends on it, counted by weight.

        Parameters
        ----------
        weights : mapping of str to shared variable
            By term of the likelihood, in its shape; the same for all observations of a block.
        """
        density = MarginalLogLikelihood(self.integrand, self.active, self.terms, self.n_nodes)
        density.__dict__["laplace"] = self.laplace

        def given() -> FloatArray:
            return np.concatenate([np.ravel(weights[name].get_value()) for name in self.terms])

        density.__dict__["_rule"] = Weighted(self._by_block, self.blocks, given)
        return density

    @cached_property
    def blocks(self) -> Blocks:
        """The independent blocks that latents and terms fall into.

        Raises
        ------
        NotAloneError
            If a term depends on latents of two.
        """
        return find_blocks(self.laplace, self.integrand)

    @cached_property
    def _by_block(self) -> BlockRule:
        rule = self._rule
        return (
            rule if isinstance(rule, Quadrature) else LaplaceByBlock(self.laplace, self.integrand)
        )

    def log_integrals(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The log-likelihood piece by piece.

        Returns
        -------
        terms : array (m,)
            Of which those without latents count; the likelihood's come first.
        blocks : array (k,)
            The logarithm of each block's integral. NaN where the latents have no mode.
        """
        with self._lock, quiet_single_thread(sum(self.sizes)):
            found = self._by_block.log_integrals(np.array(x, dtype=float), self.blocks)
        if found is None:
            nothing = np.full(len(self.blocks.terms), np.nan)
            return nothing, np.full(self.blocks.size, np.nan)
        return found

    def blame(self, name: str) -> list[str]:
        """The inputs that are not finite and may be why a term is undefined."""
        model = self.integrand.model
        rv = model[name]
        return describe_not_finite(rv) if rv in model.basic_RVs else []
