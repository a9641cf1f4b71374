"""Sparse Hessians over the latents: by term, by column, vectorized, or all together."""

from __future__ import annotations

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

from pmlik._typing import FloatArray, IntArray
from pmlik.logp.compile import NO_VALUE
from pmlik.logp.sparsity import SparsityPattern, colour_apart

if TYPE_CHECKING:
    from pmlik.marginal.integrand import Integrand

__all__ = [
    "Incidence",
    "TermwiseHessian",
    "find_incidence",
    "IntegrandLike",
    "VectorizedHessian",
    "JointHessian",
    "hessians_agree",
    "SparseHessian",
    "ColumnwiseHessian",
]

_MOST_COLOURS = 6


@dataclass(frozen=True, eq=False, repr=False)
class Incidence:
    """Which latents each term depends on, and colours that none of its latents share.

    Parameters
    ----------
    latents : array of int (k, m)
        The latent of each colour in each term; -1 where there is none.
    colours : array of int (n,)
    """

    latents: IntArray
    colours: IntArray

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of colours that meet in some term."""
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
        """The matrix (e, pairs * m) from the pairs' second derivatives to the Hessian's entries."""
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
    push: Callable[[FloatArray], FloatArray], pattern: SparsityPattern
) -> Incidence | None:
    """Find the latents of each term from products of the terms' Jacobian with vectors.

    Parameters
    ----------
    push : callable
        ``v (n,) -> J v (m,)``, with exact zeros.
    pattern : SparsityPattern
        Of the sum's Hessian: latents of one of its colours share no term, unless a term merely
        adds them.

    Returns
    -------
    Incidence or None
        None where a term has too many latents, or they can't be told.
    """
    n, numbers = pattern.n, np.arange(1, pattern.n + 1)
    terms, latents = [], []
    for seed in pattern.seeds:
        slope, numbered = push(seed), push(seed * numbers)
        if not np.isfinite(slope).all():
            return None
        hit = np.flatnonzero((slope != 0) | (numbered != 0))
        with np.errstate(all="ignore"):
            number = numbered[hit] / slope[hit]
        nearest = np.round(number)
        if not (np.abs(number - nearest) < 1e-6).all() or not (nearest >= 1).all():
            return None
        terms.append(hit)
        latents.append(nearest.astype(np.int64) - 1)
    m = len(slope)
    term, latent = np.concatenate(terms), np.concatenate(latents)
    if (latent >= n).any():
        return None
    meets = sparse.csr_array((np.ones(len(term)), (term, latent)), shape=(m, n))
    if np.bincount(term, minlength=m).max(initial=0) > _MOST_COLOURS:
        return None
    colours = colour_apart(meets)
    count = int(colours.max(initial=-1)) + 1
    if count > _MOST_COLOURS:
        return None
    found = np.full((count, m), -1)
    found[colours[latent], term] = latent
    return Incidence(found, colours)


class TermwiseHessian:
    """Derivatives of an integrand, its second ones in the latents term by term.

    Parameters
    ----------
    integrand : Integrand
    pattern : SparsityPattern
    incidence : Incidence
    """

    def __init__(self, integrand: Any, pattern: SparsityPattern, incidence: Incidence) -> None:
        self._integrand, self._incidence = integrand, incidence
        self._gather = incidence.gather(pattern)

    @cached_property
    def _seconds(self) -> Any:
        """Second derivatives of the terms (pairs * m), as a graph."""
        whole, seeds = self._integrand, self._incidence.seeds
        firsts = [self._push(whole.smooth_terms, seed) for seed in seeds]
        return pt.concatenate([self._push(firsts[a], seeds[b]) for a, b in self._incidence.pairs])

    def _push(self, terms: Any, seed: FloatArray) -> Any:
        u = self._integrand._u
        return pushforward(terms, u, pt.constant(seed), disconnected_outputs="ignore")

    @cached_property
    def _curved(self) -> Callable[..., Any]:
        whole = self._integrand
        outputs = [whole._graph, *whole._gradient, self._seconds]
        function: Callable[..., Any] = whole._compile([whole._theta, whole._u], outputs)
        return function

    @cached_property
    def _bent(self) -> Callable[..., Any]:
        whole = self._integrand
        weights = pt.vector("weights", dtype=whole._u.dtype)
        slopes = whole._slopes((self._seconds * weights).sum())
        function: Callable[..., Any] = whole._compile([whole._theta, whole._u, weights], slopes)
        return function

    def curved(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """See `pmlik.marginal.hessian.SparseHessian`."""
        found = self._integrand.evaluate(self._curved, theta, u)
        if found is None:
            entries = np.full(self._gather.shape[0], np.nan)
            return np.nan, np.full(len(theta), np.nan), np.full(len(u), np.nan), entries
        value, ahead, across, seconds = found
        return float(value), ahead, across, self._gather @ seconds

    def bent(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `pmlik.marginal.hessian.SparseHessian`."""
        whole = self._integrand
        return whole._call(self._bent, theta, u, self._gather.T @ weights)  # type: ignore[no-any-return]


class VectorizedHessian:
    """The same with PyTensor's vectorised products, for more vectors."""

    def __init__(self, integrand: Integrand, pattern: SparsityPattern) -> None:
        self._integrand, self._pattern = integrand, pattern

    @cached_property
    def _images(self) -> Any:
        whole = self._integrand
        return vectorize_graph(
            whole._product_graph[1], {whole._v: pt.constant(self._pattern.seeds)}
        )

    @cached_property
    def _curvature(self) -> Callable[..., Any]:
        whole = self._integrand
        return whole._compile([whole._theta, whole._u], [self._images])

    @cached_property
    def _bent(self) -> Callable[..., Any]:
        whole = self._integrand
        weights = pt.matrix("weights", dtype=whole._u.dtype)
        slopes = whole._slopes((self._images * weights).sum())
        return whole._compile([whole._theta, whole._u, weights], slopes)

    def curved(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """See `Seeded`."""
        value, ahead, across = self._integrand.value_and_gradient(theta, u)
        function = self._curvature
        try:
            images = np.asarray(function(theta, u)[0], dtype=float)
        except NO_VALUE:
            return value, ahead, across, np.full(len(self._pattern.rows), np.nan)
        return value, ahead, across, self._pattern.read(images)

    def bent(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `Seeded`."""
        return self._integrand._call(self._bent, theta, u, self._pattern.spread(weights))


class JointHessian:
    """The integrand, its gradient and its products with a few fixed vectors in one function."""

    def __init__(self, integrand: Integrand, pattern: SparsityPattern) -> None:
        self._integrand, self._pattern = integrand, pattern

    @cached_property
    def _images(self) -> list[Any]:
        whole = self._integrand
        ones = [None if (seed == 1).all() else pt.constant(seed) for seed in self._pattern.seeds]
        parts = [whole._gradient[1] if seed is None else whole._gradient[1] * seed for seed in ones]
        return [whole._slopes(part.sum())[1] for part in parts]

    @cached_property
    def _curved(self) -> Callable[..., Any]:
        whole = self._integrand
        outputs = [whole._graph, *whole._gradient, *self._images]
        return whole._compile([whole._theta, whole._u], outputs)

    @cached_property
    def _bent(self) -> Callable[..., Any]:
        whole = self._integrand
        weights = pt.matrix("weights", dtype=whole._u.dtype)
        total = sum((image * weights[c]).sum() for c, image in enumerate(self._images))
        return whole._compile([whole._theta, whole._u, weights], whole._slopes(total))

    def curved(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """See `Seeded`."""
        found = self._integrand.evaluate(self._curved, theta, u)
        if found is None:
            nothing, entries = np.full(len(u), np.nan), np.full(len(self._pattern.rows), np.nan)
            return np.nan, np.full(len(theta), np.nan), nothing, entries
        value, ahead, across, *images = found
        return float(value), ahead, across, self._pattern.read(np.array(images))

    def bent(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `Seeded`."""
        return self._integrand._call(self._bent, theta, u, self._pattern.spread(weights))


def hessians_agree(seeded: SparseHessian, alone: ColumnwiseHessian) -> bool:
    """Whether the entries and their gradient are those of single products, at a point."""
    whole: Any = alone.integrand
    pattern = alone.pattern
    theta, u = whole._ordinary()
    w, v = np.random.default_rng(1).normal(size=(2, len(u)))
    try:
        entries = seeded.curved(theta, u)[3]
        bent = seeded.bent(theta, u, w[pattern.rows] * v[pattern.columns])
    except Exception:  # noqa: BLE001 - many operations can't be vectorised; the loop can
        return False
    pairs = [
        (pattern.to_sparse(entries) @ v, whole.product(theta, u, v)[1]),
        *zip(bent, whole.third(theta, u, w, v), strict=True),
    ]
    # Against the largest: rounding errors of a kernel's derivatives are large beside small ones.
    return all(
        np.allclose(a, b, rtol=0, atol=1e-8 * (1 + np.abs(b).max(initial=0)), equal_nan=True)
        for a, b in pairs
    )


class IntegrandLike(Protocol):
    """The logarithm ``f(theta, u)`` of what is integrated over ``u``, and its derivatives."""

    @property
    def sizes(self) -> Sequence[int]:
        """Lengths of the arrays of latents that lie end to end in ``u``."""
        ...

    def value_and_gradient(
        self, theta: FloatArray, u: FloatArray, /
    ) -> tuple[float, FloatArray, FloatArray]:
        """``f``, ``f_theta`` (p,) and ``f_u`` (n,)."""
        ...

    def product(
        self, theta: FloatArray, u: FloatArray, v: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """``f_theta,u v`` (p,) and ``f_uu v`` (n,)."""
        ...

    def third(
        self, theta: FloatArray, u: FloatArray, w: FloatArray, v: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient of ``w' f_uu v`` in ``theta`` (p,) and in ``u`` (n,)."""
        ...

    def terms(self, theta: FloatArray, points: FloatArray, /) -> FloatArray:
        """What ``f`` is the sum of, at each ``u`` of ``points``: (k, n) to (k, m)."""
        ...

    def seeded(self, pattern: SparsityPattern, /) -> SparseHessian:
        """The functions that are needed again and again, for the pattern of ``f_uu``."""
        ...


class SparseHessian(Protocol):
    """Derivatives of an `Integrand` whose ``f_uu`` has a known pattern of ``e`` entries."""

    def curved(
        self, theta: FloatArray, u: FloatArray, /
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """``f``, ``f_theta`` (p,), ``f_u`` (n,), and the entries (e,) of ``f_uu``."""
        ...

    def bent(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient of the sum of ``f_uu``'s entries times ``weights`` (e,).

        In ``theta`` (p,) and in ``u`` (n,).
        """
        ...


@dataclass(frozen=True, eq=False, repr=False)
class ColumnwiseHessian:
    """`Seeded` by one call a seed."""

    integrand: IntegrandLike
    pattern: SparsityPattern

    def curved(
        self, theta: FloatArray, u: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """See `Seeded`."""
        value, ahead, across = self.integrand.value_and_gradient(theta, u)
        if not (np.isfinite(value) and np.isfinite(across).all()):
            return value, ahead, across, np.full(len(self.pattern.rows), np.nan)
        images = [self.integrand.product(theta, u, seed)[1] for seed in self.pattern.seeds]
        return value, ahead, across, self.pattern.read(np.array(images))

    def bent(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `Seeded`."""
        ahead, across = np.zeros(len(theta)), np.zeros(len(u))
        for one, seed in zip(self.pattern.spread(weights), self.pattern.seeds, strict=True):
            more, other = self.integrand.third(theta, u, one, seed)
            ahead, across = ahead + more, across + other
        return ahead, across
