"""Sparse Hessians over the latents: by term, by column, vectorized, or all together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import pushforward
from pytensor.graph.replace import vectorize_graph
from scipy import sparse

from pmlik._differences import fourth_order_difference
from pmlik._typing import FloatArray, IntArray
from pmlik.logp.compile import NO_VALUE
from pmlik.logp.sparsity import SparsityPattern, colour_apart

if TYPE_CHECKING:
    from pmlik.marginal.integrand import Integrand


_MOST_COLOURS = 6

# Steps of the differences that check third derivatives, and how well one of them agrees.
_WIDTHS, _DIFFERENCES_AGREE = (1e-3, 1e-4, 1e-5, 1e-6), 1e-6


class IntegrandLike(Protocol):
    """The logarithm ``f(theta, u)`` of what is integrated over ``u``, and its derivatives."""

    @property
    def sizes(self) -> Sequence[int]:
        """Lengths of the arrays of latents that lie end to end in ``u``."""
        ...

    def value_and_gradient(
        self, theta: FloatArray, u: FloatArray, /
    ) -> tuple[float, FloatArray, FloatArray]:
        """Return ``f``, ``f_theta`` (p,) and ``f_u`` (n,)."""
        ...

    def product(
        self, theta: FloatArray, u: FloatArray, v: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """Return ``f_theta,u v`` (p,) and ``f_uu v`` (n,)."""
        ...

    def third_derivative_product(
        self, theta: FloatArray, u: FloatArray, w: FloatArray, v: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of ``w' f_uu v`` in ``theta`` (p,) and in ``u`` (n,)."""
        ...

    def terms(self, theta: FloatArray, points: FloatArray, /) -> FloatArray:
        """Return the terms that ``f`` sums, at each ``u`` of ``points``: (k, n) to (k, m)."""
        ...

    def sparse_hessian(self, pattern: SparsityPattern, /) -> SparseHessian:
        """Return a fast way to take ``f_uu`` and its derivatives for a known pattern."""
        ...


class SparseHessian(Protocol):
    """Derivatives of an integrand whose ``f_uu`` has a known pattern of ``e`` entries."""

    def value_gradient_hessian(
        self, theta: FloatArray, u: FloatArray, /
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """Return ``f``, ``f_theta`` (p,), ``f_u`` (n,), and the entries (e,) of ``f_uu``."""
        ...

    def weighted_hessian_gradient(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of the sum of ``f_uu``'s entries times ``weights`` (e,).

        In ``theta`` (p,) and in ``u`` (n,).
        """
        ...


@dataclass(frozen=True, eq=False, repr=False)
class ColumnwiseHessian:
    """A `SparseHessian` with one product per colour of the pattern."""

    integrand: IntegrandLike
    pattern: SparsityPattern

    def value_gradient_hessian(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """See `SparseHessian`."""
        value, in_theta, in_u = self.integrand.value_and_gradient(theta, u)
        if not (np.isfinite(value) and np.isfinite(in_u).all()):
            return value, in_theta, in_u, np.full(len(self.pattern.rows), np.nan)
        images = [self.integrand.product(theta, u, seed)[1] for seed in self.pattern.seeds]
        return value, in_theta, in_u, self.pattern.read(np.array(images))

    def weighted_hessian_gradient(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `SparseHessian`."""
        in_theta, in_u = np.zeros(len(theta)), np.zeros(len(u))
        for w, seed in zip(self.pattern.spread(weights), self.pattern.seeds, strict=True):
            more_theta, more_u = self.integrand.third_derivative_product(theta, u, w, seed)
            in_theta, in_u = in_theta + more_theta, in_u + more_u
        return in_theta, in_u


class _CompiledHessian(ABC):
    """A `SparseHessian` with second derivatives as graphs, compiled into one function."""

    weights_ndim = 2

    def __init__(self, integrand: Integrand, pattern: SparsityPattern) -> None:
        self.integrand, self.pattern = integrand, pattern

    @property
    @abstractmethod
    def _graphs(self) -> list[Any]:
        """The second derivatives."""

    @abstractmethod
    def _weigh(self, weights: Any) -> Any:
        """Return the sum of the second derivatives times weights, as a graph."""

    def _read(self, derivatives: list[FloatArray]) -> FloatArray:
        """Return the entries (e,) of ``f_uu`` from the second derivatives."""
        return self.pattern.read(np.array(derivatives))

    def _spread(self, weights: FloatArray) -> FloatArray:
        """Return weights of the second derivatives from those of the entries (e,)."""
        return self.pattern.spread(weights)

    @cached_property
    def _value_gradient_hessian(self) -> Callable[..., Any]:
        f = self.integrand
        return f.compile([f.theta, f.u], [f.total, *f.gradient, *self._graphs])

    @cached_property
    def _weighted_hessian_gradient(self) -> Callable[..., Any]:
        f = self.integrand
        weights = pt.tensor("weights", dtype=f.u.dtype, shape=(None,) * self.weights_ndim)
        return f.compile([f.theta, f.u, weights], f.gradient_of(self._weigh(weights)))

    def value_gradient_hessian(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """See `SparseHessian`."""
        found = self.integrand.evaluate(self._value_gradient_hessian, theta, u)
        if found is None:
            entries = np.full(len(self.pattern.rows), np.nan)
            return np.nan, np.full(len(theta), np.nan), np.full(len(u), np.nan), entries
        value, in_theta, in_u, *derivatives = found
        return float(value), in_theta, in_u, self._read(derivatives)

    def weighted_hessian_gradient(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `SparseHessian`."""
        function, spread = self._weighted_hessian_gradient, self._spread(weights)
        return self.integrand.evaluate_gradient(function, theta, u, spread)


class JointHessian(_CompiledHessian):
    """The integrand, its gradient and its products with a few fixed vectors in one function."""

    @cached_property
    def _graphs(self) -> list[Any]:
        f = self.integrand
        ones = [None if (seed == 1).all() else pt.constant(seed) for seed in self.pattern.seeds]
        parts = [f.gradient[1] if seed is None else f.gradient[1] * seed for seed in ones]
        return [f.gradient_of(part.sum())[1] for part in parts]

    def _weigh(self, weights: Any) -> Any:
        return sum((image * weights[c]).sum() for c, image in enumerate(self._graphs))


class VectorizedHessian(_CompiledHessian):
    """The same with PyTensor's vectorized products, for more vectors."""

    @cached_property
    def _graphs(self) -> list[Any]:
        f = self.integrand
        return [vectorize_graph(f.hessian_product[1], {f.v: pt.constant(self.pattern.seeds)})]

    def _weigh(self, weights: Any) -> Any:
        return (self._graphs[0] * weights).sum()

    @cached_property
    def _hessian(self) -> Callable[..., Any]:
        f = self.integrand
        return f.compile([f.theta, f.u], self._graphs)

    def value_gradient_hessian(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """See `SparseHessian`."""
        value, in_theta, in_u = self.integrand.value_and_gradient(theta, u)
        function = self._hessian
        try:
            images = np.asarray(function(theta, u)[0], dtype=float)
        except NO_VALUE:
            return value, in_theta, in_u, np.full(len(self.pattern.rows), np.nan)
        return value, in_theta, in_u, self.pattern.read(images)


@dataclass(frozen=True, eq=False, repr=False)
class Incidence:
    """The latents of each term, coloured such that no two latents of a term share a colour.

    ``colours`` (n,).
    ``latents`` (k, m): the latent of each colour in each term; -1 if there is none.
    """

    latents: IntArray
    colours: IntArray

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of colours that occur together in some term."""
        return [
            (a, b)
            for a, b in combinations_with_replacement(range(len(self.latents)), 2)
            if ((self.latents[a] >= 0) & (self.latents[b] >= 0)).any()
        ]

    @property
    def seeds(self) -> FloatArray:
        """Vectors (k, n) with ones at the latents of each colour."""
        return np.asarray(self.colours == np.arange(len(self.latents))[:, None], dtype=float)

    def gather(self, pattern: SparsityPattern) -> sparse.csr_array:
        """Return the matrix (e, pairs * m) that sums the pairs' second derivatives by entry."""
        m = self.latents.shape[1]
        rows, columns = [], []
        for number, (a, b) in enumerate(self.pairs):
            one, other = self.latents[a], self.latents[b]
            both = np.flatnonzero((one >= 0) & (other >= 0))
            orders = ((one, other),) if a == b else ((one, other), (other, one))
            for i, j in orders:
                place = pattern.locate(i[both], j[both])
                rows.append(place[place >= 0])
                columns.append((number * m + both)[place >= 0])
        where = (np.concatenate(rows), np.concatenate(columns))
        shape = (len(pattern.rows), len(self.pairs) * m)
        return sparse.csr_array((np.ones(len(where[0])), where), shape=shape)


def find_incidence(
    jvp: Callable[[FloatArray], FloatArray], pattern: SparsityPattern
) -> Incidence | None:
    """Return the latents of each term, from products of the terms' Jacobian with vectors.

    ``jvp``: ``v (n,) -> J v (m,)``, with exact zeros.
    ``pattern``: pattern of the sum's Hessian. Latents of one colour share no term, unless a term
        only adds them.
    Returns: None if a term has too many latents, or if they cannot be told apart.
    """
    n, numbers = pattern.n, np.arange(1, pattern.n + 1)
    terms, latents = [], []
    for seed in pattern.seeds:
        derivative, numbered = jvp(seed), jvp(seed * numbers)
        if not np.isfinite(derivative).all():
            return None
        hit = np.flatnonzero((derivative != 0) | (numbered != 0))
        with np.errstate(all="ignore"):
            number = numbered[hit] / derivative[hit]
        nearest = np.round(number)
        if not (np.abs(number - nearest) < 1e-6).all() or not (nearest >= 1).all():
            return None
        terms.append(hit)
        latents.append(nearest.astype(np.int64) - 1)
    m = len(derivative)
    term, latent = np.concatenate(terms), np.concatenate(latents)
    if (latent >= n).any():
        return None
    incidence = sparse.csr_array((np.ones(len(term)), (term, latent)), shape=(m, n))
    if np.bincount(term, minlength=m).max(initial=0) > _MOST_COLOURS:
        return None
    colours = colour_apart(incidence)
    count = int(colours.max(initial=-1)) + 1
    if count > _MOST_COLOURS:
        return None
    found = np.full((count, m), -1)
    found[colours[latent], term] = latent
    return Incidence(found, colours)


class TermwiseHessian(_CompiledHessian):
    """Second derivatives term by term, summed to the entries of the Hessian."""

    weights_ndim = 1

    def __init__(
        self, integrand: Integrand, pattern: SparsityPattern, incidence: Incidence
    ) -> None:
        super().__init__(integrand, pattern)
        self.incidence = incidence
        self._gather = incidence.gather(pattern)

    @cached_property
    def _graphs(self) -> list[Any]:
        """Second derivatives of the terms (pairs * m)."""
        seeds = self.incidence.seeds
        firsts = [self._jvp(self.integrand.smooth_terms, seed) for seed in seeds]
        seconds = [self._jvp(firsts[a], seeds[b]) for a, b in self.incidence.pairs]
        return [pt.concatenate(seconds)]

    def _jvp(self, terms: Any, seed: FloatArray) -> Any:
        u = self.integrand.u
        return pushforward(terms, u, pt.constant(seed), disconnected_outputs="ignore")

    def _weigh(self, weights: Any) -> Any:
        return (self._graphs[0] * weights).sum()

    def _read(self, derivatives: list[FloatArray]) -> FloatArray:
        return np.asarray(self._gather @ derivatives[0])

    def _spread(self, weights: FloatArray) -> FloatArray:
        return np.asarray(self._gather.T @ weights)


def hessians_agree(
    hessian: SparseHessian, columnwise: ColumnwiseHessian, theta: FloatArray, u: FloatArray
) -> bool:
    """Return True if the entries and their gradient are those of single products, at a point."""
    pattern, integrand = columnwise.pattern, columnwise.integrand
    rng = np.random.default_rng(1)
    w, v = rng.normal(size=(2, len(u)))
    try:
        entries = hessian.value_gradient_hessian(theta, u)[3]
        weights = w[pattern.rows] * v[pattern.columns]
        gradient = np.concatenate(hessian.weighted_hessian_gradient(theta, u, weights))
    except Exception:  # noqa: BLE001 - many operations cannot be vectorized; the loop can
        return False

    def image(at: FloatArray) -> FloatArray:
        return integrand.product(at[: len(theta)], at[len(theta) :], v)[1]

    # Against the largest: rounding errors of a kernel's derivatives are large beside small ones.
    def agree(one: FloatArray, other: FloatArray, tolerance: float) -> bool:
        size = tolerance * (1 + np.abs(other).max(initial=0.0))
        return np.allclose(one, other, rtol=0, atol=size, equal_nan=True)

    here = np.concatenate([theta, u])
    if not agree(pattern.to_sparse(entries) @ v, image(here), 1e-8):
        return False
    # By differences, as a graph of third derivatives takes longer to compile than all others; with
    # several steps, since latents and parameters may have any units.
    along: FloatArray = rng.uniform(-1.0, 1.0, size=len(here))
    slope = float(gradient @ along)
    for width in _WIDTHS:
        step: FloatArray = width * along
        with np.errstate(all="ignore"):
            change = fourth_order_difference(lambda at: float(image(at) @ w), here, step)
        if abs(change / (12 * width) - slope) <= _DIFFERENCES_AGREE * (1 + abs(slope)):
            return True
    return False
