"""Second derivatives in the latents term by term.

A term of the log-density, an observation's or a latent's own, depends on few latents: on one of
each grouping factor, crossed or not. So a handful of second derivatives, taken of all terms at
once along vectors whose latents share no term, are all there are, however many levels cross.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import pushforward
from scipy import sparse

from pmlik._typing import FloatArray, IntArray
from pmlik.logp.sparsity import SparsityPattern, colour_apart

__all__ = ["Incidence", "TermByTerm", "find_incidence"]

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


class TermByTerm:
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
        """See `pmlik.laplace.Seeded`."""
        found = self._integrand.evaluate(self._curved, theta, u)
        if found is None:
            entries = np.full(self._gather.shape[0], np.nan)
            return np.nan, np.full(len(theta), np.nan), np.full(len(u), np.nan), entries
        value, ahead, across, seconds = found
        return float(value), ahead, across, self._gather @ seconds

    def bent(
        self, theta: FloatArray, u: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `pmlik.laplace.Seeded`."""
        whole = self._integrand
        return whole._call(self._bent, theta, u, self._gather.T @ weights)  # type: ignore[no-any-return]
