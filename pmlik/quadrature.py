"""Adaptive Gauss-Hermite quadrature where each latent stands alone.

Each latent's integral is taken at nodes that its mode and curvature place (Pinheiro and Bates,
1995, doi:10.1080/10618600.1995.10474663; lme4's ``nAGQ``): with one node it is Laplace's
approximation. The gradient is exact, nodes that move with the parameters included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pmlik.laplace import Laplace, Mode
from pmlik.space import FloatArray
from pmlik.sparsity import IntArray

__all__ = ["NotAloneError", "Quadrature", "find_groups"]


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


class Quadrature:
    """The marginal log-likelihood by quadrature; see `pmlik.laplace.Laplace` for the surface.

    Parameters
    ----------
    laplace : Laplace
        Gives modes and curvatures.
    terms : Terms
    n_nodes : int
        Nodes for each latent.

    Raises
    ------
    NotAloneError
    """

    def __init__(self, laplace: Laplace, terms: Terms, n_nodes: int) -> None:
        if not laplace.pattern.is_diagonal:
            raise NotAloneError
        self._laplace, self._terms = laplace, terms
        self._nodes, weights = np.polynomial.hermite.hermgauss(n_nodes)
        self._log_weights = np.log(weights) + self._nodes**2 + np.log(2) / 2

    @cached_property
    def _groups(self) -> IntArray:
        """Of each term the latent that it depends on, -1 for none."""
        theta, start = self._laplace.typical, self._laplace.start
        return find_groups(lambda u: self._terms.terms(theta, u[None])[0], start)

    def log_integral(self, theta: FloatArray) -> float:
        """The log-likelihood; NaN where the latents have no mode."""
        mode = self._laplace.mode(theta)
        return np.nan if mode is None else self._integrate(mode)[0]

    def _points(self, mode: Mode) -> FloatArray:
        return np.asarray(mode.u + np.sqrt(2 / mode.entries) * self._nodes[:, None])

    def _integrate(self, mode: Mode) -> tuple[float, FloatArray]:
        """The logarithm, and the share (k, n) of each node in its latent's integral."""
        k, n = len(self._nodes), len(mode.u)
        terms = self._terms.terms(mode.theta, self._points(mode))
        place = (self._groups + 1) + (n + 1) * np.arange(k)[:, None]
        sums = np.bincount(place.ravel(), terms.ravel(), k * (n + 1)).reshape(k, n + 1)
        logs = sums[:, 1:] + self._log_weights[:, None]
        logs = np.where(np.isnan(logs), -np.inf, logs)
        each = logsumexp(logs, axis=0)
        total = sums[0, 0] + (each - np.log(mode.entries) / 2).sum()
        return float(total), np.exp(logs - each)

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """The log-likelihood and its gradient (p,)."""
        mode = self._laplace.mode(theta)
        if mode is None:
            return np.nan, np.full(len(theta), np.nan)
        value, shares = self._integrate(mode)
        k = len(self._nodes)
        weights = np.column_stack([shares, np.full(k, 1 / k)])[:, self._groups]
        slope, across = self._terms.weighted(mode.theta, self._points(mode), weights)
        moved = across.sum(axis=0)
        widened = np.sqrt(mode.entries) + np.sqrt(2) * (self._nodes @ across)
        ahead, bend = self._laplace.weighted_third(mode, widened * mode.entries**-1.5 / 2)
        return value, slope + ahead + self._laplace.follow(mode, moved + bend)


def find_groups(
    terms: Callable[[FloatArray], FloatArray], u: FloatArray, seed: int = 0
) -> IntArray:
    """Of each term the one latent that it depends on, -1 for none.

    Latents are numbered in binary, and those with a digit of one are moved together: the terms
    that change spell out the number of their latent.

    Parameters
    ----------
    terms : callable
        ``u (n,) -> terms (m,)``.
    u : array (n,)
    seed : int

    Raises
    ------
    NotAloneError
        If a term depends on two latents.
    """
    n, rng = len(u), np.random.default_rng(seed)
    number, step = np.arange(n), rng.uniform(0.1, 0.2, size=n)
    before = terms(u)

    def change(moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(terms(u + np.where(moved, step, 0.0)) != before)

    depends = change(np.ones(n, bool))
    groups = np.zeros(len(before), dtype=np.int64)
    for digit in range(max(1, int(n - 1).bit_length())):
        ones = (number >> digit & 1).astype(bool)
        with_one, with_zero = change(ones), change(~ones)
        if (with_one & with_zero).any():
            raise NotAloneError
        groups += with_one.astype(np.int64) << digit
    return np.where(depends, groups, -1)
