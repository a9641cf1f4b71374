"""Blocks of latents that are independent of each other, and integrals of single blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse.csgraph import connected_components

from pmlik._typing import BoolArray, FloatArray, IntArray
from pmlik.marginal.laplace import Laplace, Mode


class NotAloneError(ValueError):
    """A term depends on several groups of latents, so that their integral is not a product."""


class Terms(Protocol):
    """The terms that the integrand sums, at many ``u`` at once."""

    def terms(self, theta: FloatArray, points: FloatArray, /) -> FloatArray:
        """Return all terms, end to end, at each ``u`` of ``points``: (k, n) to (k, m)."""
        ...

    def weighted_gradient(
        self, theta: FloatArray, points: FloatArray, weights: FloatArray, /
    ) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of the sum of the terms times ``weights`` (k, m).

        In ``theta`` (p,), and in each ``u`` of ``points`` (k, n).
        """
        ...


@dataclass(frozen=True, eq=False)
class Blocks:
    """The block of each latent and of each term.

    ``latents`` (n,): blocks are numbered from 0.
    ``terms`` (m,): -1 for a term that depends on no latent.
    """

    latents: IntArray
    terms: IntArray

    @property
    def size(self) -> int:
        """Number of blocks."""
        return int(self.latents.max(initial=-1)) + 1

    def gather(self, terms: FloatArray) -> FloatArray:
        """Sum the terms (m,) by block (k,)."""
        return np.bincount(self.terms + 1, terms, self.size + 1)[1:]

    def gather_units(
        self, codes: IntArray, n_units: int, terms: FloatArray, integrals: FloatArray
    ) -> FloatArray:
        """Sum the blocks' log-integrals and the terms without latents by unit.

        ``terms`` (m,), ``integrals`` (k,).
        ``codes``: the unit of each of the likelihood's terms, which come first. Returns (n_units,).
        """
        owner = self.terms[: len(codes)]
        alone = owner < 0
        inside, first = np.unique(owner[~alone], return_index=True)
        total = np.bincount(codes[alone], terms[: len(codes)][alone], n_units)
        return total + np.bincount(codes[~alone][first], integrals[inside], n_units)


def find_blocks(laplace: Laplace, terms: Terms) -> Blocks:
    """Find the blocks of an integrand, from the sparsity of its Hessian and from its terms.

    Raises `NotAloneError` if a term depends on latents of two blocks, which their Hessian does not
        show.
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
    """Find the one latent, or the one block of latents, that each term depends on.

    Blocks are numbered in binary. For each digit, the latents of all blocks that have a one there
    are changed together: the terms that change tell the digits of their block's number.

    ``u`` (n,). ``terms``: ``u (n,) -> terms (m,)``.
    ``blocks`` (n,): numbered from 0. Default: each latent is one.
    Returns (m,): -1 for a term that depends on no latent.
    Raises `NotAloneError` if a term depends on two of them.
    """
    n, rng = len(u), np.random.default_rng(seed)
    number, step = np.arange(n) if blocks is None else blocks, rng.uniform(0.1, 0.2, size=n)
    before = terms(u)

    def change(moved: BoolArray) -> BoolArray:
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


class BlockRule(Protocol):
    """A way to integrate over latents, block by block."""

    def log_integrals(
        self, theta: FloatArray, blocks: Blocks, /
    ) -> tuple[FloatArray, FloatArray] | None:
        """Return the terms (m,), and the logarithm of each block's integral (k,).

        Of the terms only those without latents count. None if the latents have no mode.
        """
        ...

    def weighted(
        self, theta: FloatArray, blocks: Blocks, terms: FloatArray, latents: FloatArray, /
    ) -> tuple[float, FloatArray]:
        """Return the weighted log-likelihood and its gradient (p,).

        Weights are those of the terms (m,) and of the latents (n,), the same all over a block.
        """
        ...


class LaplaceByBlock:
    """Laplace's approximation of each block by itself; see `BlockRule`."""

    def __init__(self, laplace: Laplace, terms: Terms) -> None:
        self._laplace, self._terms = laplace, terms

    def log_integrals(
        self, theta: FloatArray, blocks: Blocks
    ) -> tuple[FloatArray, FloatArray] | None:
        """See `BlockRule`."""
        mode = self._laplace.mode(theta)
        if mode is None:
            return None
        terms = self._terms.terms(theta, mode.u[None])[0]
        widths = _log_widths(mode)
        return terms, blocks.gather(terms) + np.bincount(blocks.latents, widths, blocks.size)

    def weighted(
        self, theta: FloatArray, blocks: Blocks, terms: FloatArray, latents: FloatArray
    ) -> tuple[float, FloatArray]:
        """See `BlockRule`."""
        mode = self._laplace.mode(theta)
        if mode is None:
            return np.nan, np.full(len(theta), np.nan)
        each = self._terms.terms(theta, mode.u[None])[0]
        widths = _log_widths(mode)
        value = _product(terms, each).sum() + (latents * widths).sum()
        gradient, _ = self._terms.weighted_gradient(theta, mode.u[None], terms[None])
        inverse = mode.factor.inverse_entries() * latents[self._laplace.pattern.rows]
        in_theta, in_u = self._laplace.weighted_hessian_gradient(mode, inverse)
        return float(value), gradient + in_theta / 2 + self._laplace.chain(mode, in_u / 2)


class Weighted:
    """The log-likelihood with a weight for each block, and for each term without latents.

    ``weights``: gives the weights (m,) of the likelihood's terms, which come first; those of one
        block are the same. The latents' own terms have the weight of their block.
    """

    def __init__(self, rule: BlockRule, blocks: Blocks, weights: Callable[[], FloatArray]) -> None:
        self._rule, self._blocks, self._weights = rule, blocks, weights

    def _spread(self) -> tuple[FloatArray, FloatArray]:
        """Return the weights of all terms (m,) and of all latents (n,)."""
        blocks, given = self._blocks, self._weights()
        own = blocks.terms[: len(given)]
        by_block = np.ones(blocks.size)  # of one without data: its integral is one
        by_block[own[own >= 0]] = given[own >= 0]
        rest = blocks.terms[len(given) :]
        terms = np.concatenate([given, np.where(rest >= 0, by_block[rest], 1.0)])
        return terms, by_block[blocks.latents]

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the log-likelihood and its gradient (p,)."""
        return self._rule.weighted(theta, self._blocks, *self._spread())

    def log_integral(self, theta: FloatArray) -> float:
        """Return the log-likelihood; NaN if the latents have no mode."""
        found = self._rule.log_integrals(theta, self._blocks)
        if found is None:
            return np.nan
        terms, blocks = found
        weights, latents = self._spread()
        alone = self._blocks.terms < 0
        by_block = np.zeros(self._blocks.size)
        by_block[self._blocks.latents] = latents
        return float(_product(weights, terms)[alone].sum() + _product(by_block, blocks).sum())


def _log_widths(mode: Mode) -> FloatArray:
    """Return what each latent's curvature adds to its block's log-integral (n,)."""
    return np.asarray((np.log(2 * np.pi) - mode.factor.log_pivots) / 2)


def _product(weights: FloatArray, terms: FloatArray) -> FloatArray:
    """Return terms times weights; weight 0 gives 0, even for an infinite term."""
    with np.errstate(invalid="ignore"):
        return np.where(weights == 0, 0.0, weights * terms)
