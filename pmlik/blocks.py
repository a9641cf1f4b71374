"""Latents that fall into independent blocks: the integral is a product, one factor a block.

Blocks are the units that can be counted more than once, or not at all, where single observations
cannot: those that share a latent depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from pmlik._typing import FloatArray, IntArray
from pmlik.laplace import Laplace

__all__ = ["Blocks", "NotAloneError", "Terms", "find_blocks", "find_groups"]


class NotAloneError(ValueError):
    """Latents that meet each other: their integral is not a product."""


class Terms(Protocol):
    """The terms that the integrand is the sum of, at many ``u`` at once."""

    def terms(self, theta: FloatArray, points: FloatArray, /) -> FloatArray:
        """All terms, end to end, at each ``u`` of ``points``: (k, n) to (k, m)."""
        ...

    def weighted(
        self, theta: FloatArray, points: FloatArray, weights: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """Gradient of the sum of the terms times ``weights`` (k, m).

        In ``theta`` (p,), and in each ``u`` of ``points`` (k, n).
        """
        ...


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which block each latent and each term belongs to.

    Parameters
    ----------
    latents : array of int (n,)
        Blocks are numbered from 0.
    terms : array of int (m,)
        -1 for a term that depends on no latent.
    """

    latents: IntArray
    terms: IntArray

    @property
    def size(self) -> int:
        """How many blocks there are."""
        return int(self.latents.max(initial=-1)) + 1

    def gather(self, terms: FloatArray) -> FloatArray:
        """Sum the terms (m,) by block (k,)."""
        return np.bincount(self.terms + 1, terms, self.size + 1)[1:]


def find_blocks(laplace: Laplace, terms: Terms) -> Blocks:
    """The blocks of an integrand, from the sparsity of its Hessian and from its terms.

    Raises
    ------
    NotAloneError
        If a term depends on latents of two blocks, which their Hessian does not show.
    """
    graph = laplace.pattern.to_sparse(np.ones(len(laplace.pattern.rows)))
    count, latents = connected_components(graph, directed=False)
    latents = np.asarray(latents, dtype=np.int64)
    if not count:
        raise NotAloneError
    theta = laplace.typical
    groups = find_groups(lambda u: terms.terms(theta, u[None])[0], laplace.start, latents)
    return Blocks(latents, groups)


def find_groups(
    terms: Callable[[FloatArray], FloatArray],
    u: FloatArray,
    blocks: IntArray | None = None,
    seed: int = 0,
) -> IntArray:
    """Of each term the one latent, or the one block of latents, that it depends on, -1 for none.

    Blocks are numbered in binary, and those with a digit of one are moved together: the terms
    that change spell out the number of their block.

    Parameters
    ----------
    terms : callable
        ``u (n,) -> terms (m,)``.
    u : array (n,)
    blocks : array of int (n,), optional
        Numbered from 0. Default: each latent is one.
    seed : int

    Raises
    ------
    NotAloneError
        If a term depends on two of them.
    """
    n, rng = len(u), np.random.default_rng(seed)
    number, step = np.arange(n) if blocks is None else blocks, rng.uniform(0.1, 0.2, size=n)
    before = terms(u)

    def change(moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(terms(u + np.where(moved, step, 0.0)) != before)

    depends = change(np.ones(n, bool))
    groups = np.zeros(len(before), dtype=np.int64)
    for digit in range(max(1, int(number.max(initial=0)).bit_length())):
        ones = (number >> digit & 1).astype(bool)
        with_one, with_zero = change(ones), change(~ones)
        if (with_one & with_zero).any():
            raise NotAloneError
        groups += with_one.astype(np.int64) << digit
    return np.where(depends, groups, -1)
