"""Adaptive Gauss-Hermite quadrature for latents that are independent of each other.

Each latent's integral is taken at nodes placed by its mode and curvature (Pinheiro and Bates,
1995, doi:10.1080/10618600.1995.10474663; lme4's ``nAGQ``): with one node it is Laplace's
approximation. The gradient is exact: it includes how the nodes move with the parameters.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from pmlik._typing import FloatArray, IntArray
from pmlik.errors import ModelError
from pmlik.marginal.blocks import Blocks, NotAloneError, Terms, find_groups
from pmlik.marginal.laplace import Laplace, Mode


class Quadrature:
    """The marginal log-likelihood by quadrature, with the interface of `Laplace`.

    ``laplace``: gives modes and curvatures. ``n_nodes``: nodes per latent.
    Raises `ModelError` if a term depends on two latents.
    """

    def __init__(self, laplace: Laplace, terms: Terms, n_nodes: int) -> None:
        self._laplace, self._terms = laplace, terms
        self._groups = self._find_groups()
        self._nodes, weights = np.polynomial.hermite.hermgauss(n_nodes)
        self._log_weights = np.log(weights) + self._nodes**2 + np.log(2) / 2

    def _find_groups(self) -> IntArray:
        """Return the latent that each term depends on, -1 for none."""
        theta, start = self._laplace.typical, self._laplace.start
        try:
            if not self._laplace.pattern.is_diagonal:
                raise NotAloneError
            return find_groups(lambda u: self._terms.terms(theta, u[None])[0], start)
        except NotAloneError:
            raise ModelError(
                "quadrature: the latents meet each other (several effects per observation, a "
                "chain, a level above), and quadrature is for latents that stand alone. Leave it "
                "out for Laplace's approximation."
            ) from None

    def log_integral(self, theta: FloatArray) -> float:
        """Return the log-likelihood; NaN if the latents have no mode."""
        mode = self._laplace.mode(theta)
        if mode is None:
            return np.nan
        terms, each, _ = self._integrate(mode)
        return float(terms[self._groups < 0].sum() + each.sum())

    def log_integrals(
        self, theta: FloatArray, blocks: Blocks
    ) -> tuple[FloatArray, FloatArray] | None:
        """See `pmlik.marginal.blocks.BlockRule`."""
        mode = self._laplace.mode(theta)
        if mode is None:
            return None
        terms, each, _ = self._integrate(mode)
        return terms, np.bincount(blocks.latents, each, blocks.size)

    def _points(self, mode: Mode) -> FloatArray:
        return np.asarray(mode.u + np.sqrt(2 / mode.entries) * self._nodes[:, None])

    def _integrate(self, mode: Mode) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Integrate over each latent.

        Returns ``terms`` (m,): at the first node.
        ``integrals`` (n,): the logarithm of each latent's integral.
        ``shares`` (k, n): the share of each node in it.
        """
        k, n = len(self._nodes), len(mode.u)
        terms = self._terms.terms(mode.theta, self._points(mode))
        place = (self._groups + 1) + (n + 1) * np.arange(k)[:, None]
        sums = np.bincount(place.ravel(), terms.ravel(), k * (n + 1)).reshape(k, n + 1)
        logs = sums[:, 1:] + self._log_weights[:, None]
        logs = np.where(np.isnan(logs), -np.inf, logs)
        each = logsumexp(logs, axis=0)
        return terms[0], each - np.log(mode.entries) / 2, np.exp(logs - each)

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the log-likelihood and its gradient (p,)."""
        return self._weighted(theta, np.ones(len(self._groups)), np.ones(len(self._laplace.start)))

    def weighted(
        self, theta: FloatArray, blocks: Blocks, terms: FloatArray, latents: FloatArray
    ) -> tuple[float, FloatArray]:
        """See `pmlik.marginal.blocks.BlockRule`."""
        return self._weighted(theta, terms, latents)

    def _weighted(
        self, theta: FloatArray, terms: FloatArray, latents: FloatArray
    ) -> tuple[float, FloatArray]:
        mode = self._laplace.mode(theta)
        if mode is None:
            return np.nan, np.full(len(theta), np.nan)
        at_first, each, shares = self._integrate(mode)
        k, alone = len(self._nodes), (self._groups < 0) & (terms != 0)
        value = (terms * at_first)[alone].sum() + (latents * each).sum()
        weights = np.column_stack([shares, np.full(k, 1 / k)])[:, self._groups] * terms
        gradient, in_points = self._terms.weighted_gradient(mode.theta, self._points(mode), weights)
        moved = in_points.sum(axis=0)
        widened = latents * np.sqrt(mode.entries) + np.sqrt(2) * (self._nodes @ in_points)
        entries = widened * mode.entries**-1.5 / 2
        in_theta, in_u = self._laplace.weighted_hessian_gradient(mode, entries)
        return float(value), gradient + in_theta + self._laplace.chain(mode, moved + in_u)
