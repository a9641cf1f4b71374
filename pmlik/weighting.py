"""The marginal likelihood with each independent block of latents counted by a weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from pmlik._typing import FloatArray
from pmlik.blocks import Blocks, Terms
from pmlik.laplace import Laplace, Mode

__all__ = ["BlockRule", "LaplaceByBlock", "Weighted"]


class BlockRule(Protocol):
    """A way to integrate over latents, block by block."""

    def log_integrals(
        self, theta: FloatArray, blocks: Blocks, /
    ) -> tuple[FloatArray, FloatArray] | None:
        """The terms (m,), and the logarithm of each block's integral (k,).

        Only terms without latents count in the former. None where the latents have no mode.
        """
        ...

    def weighted(
        self, theta: FloatArray, blocks: Blocks, terms: FloatArray, latents: FloatArray, /
    ) -> tuple[float, FloatArray]:
        """The weighted log-likelihood and its gradient (p,).

        Weights are those of the terms (m,) and of the latents (n,), the same all over a block.
        """
        ...


class LaplaceByBlock:
    """Laplace's approximation of each block by itself; see `BlockRule`.

    Parameters
    ----------
    laplace : Laplace
    terms : Terms
    """

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
        slope, _ = self._terms.weighted(theta, mode.u[None], terms[None])
        inverse = mode.factor.inverse_entries() * latents[self._laplace.pattern.rows]
        ahead, bend = self._laplace.weighted_third(mode, inverse)
        return float(value), slope + ahead / 2 + self._laplace.follow(mode, bend / 2)


class Weighted:
    """The log-likelihood with each block, and each term without latents, counted by a weight.

    Parameters
    ----------
    rule : BlockRule
    blocks : Blocks
    weights : callable
        Gives the weights (m,) of the likelihood's terms, which come first; those of one
        block are the same. The latents' own terms have the weight of their block.
    """

    def __init__(self, rule: BlockRule, blocks: Blocks, weights: Callable[[], FloatArray]) -> None:
        self._rule, self._blocks, self._weights = rule, blocks, weights

    def _spread(self) -> tuple[FloatArray, FloatArray]:
        """The weights of all terms (m,) and of all latents (n,)."""
        blocks, given = self._blocks, self._weights()
        own = blocks.terms[: len(given)]
        by_block = np.ones(blocks.size)  # of one without data: its integral is one
        by_block[own[own >= 0]] = given[own >= 0]
        rest = blocks.terms[len(given) :]
        terms = np.concatenate([given, np.where(rest >= 0, by_block[rest], 1.0)])
        return terms, by_block[blocks.latents]

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """The log-likelihood and its gradient (p,)."""
        return self._rule.weighted(theta, self._blocks, *self._spread())

    def log_integral(self, theta: FloatArray) -> float:
        """The log-likelihood; NaN where the latents have no mode."""
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
    """What each latent's curvature adds to the logarithm of its block's integral (n,)."""
    return np.asarray((np.log(2 * np.pi) - mode.factor.log_pivots) / 2)


def _product(weights: FloatArray, terms: FloatArray) -> FloatArray:
    """Terms times weights; what is not counted does not matter, even where it is infinite."""
    with np.errstate(invalid="ignore"):
        return np.where(weights == 0, 0.0, weights * terms)
