"""The error of Laplace's approximation, by importance sampling from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from pmlik._typing import FloatArray
from pmlik.marginal.laplace import Laplace, Mode

#: Above this the importance sampling estimate cannot be trusted (Vehtari et al., 2024,
#: jmlr.org/papers/v25/19-556.html).
MOST_K = 0.7
_NUMBERS_AT_ONCE = 1_000_000


class LaplaceError(NamedTuple):
    """The error of Laplace's approximation of a log-likelihood.

    ``error`` is the approximation minus the importance sampling estimate, ``mcse`` the Monte
    Carlo standard error of that, ``pareto_k`` the shape of the weights' tail.
    """

    error: float
    mcse: float
    pareto_k: float

    @property
    def is_reliable(self) -> bool:
        """True if the estimate of the error can itself be trusted."""
        return bool(np.isfinite(self.error) and self.pareto_k < MOST_K)


def laplace_error(laplace: Laplace, mode: Mode, n_draws: int, seed: int) -> LaplaceError:
    """Estimate the error of the approximation at one mode.

    ``n_draws``: draws of the latents from the approximation, in antithetic pairs.
    """
    rng, n = np.random.default_rng(seed), len(mode.u)
    constant = mode.log_integral - mode.value  # of exp(value) against its Gaussian's density
    noise = rng.normal(size=(n_draws // 2, n))
    steps = np.array([mode.factor.root_solve(row) for row in noise])
    points = mode.u + np.stack([steps, -steps], axis=1).reshape(-1, n)
    density = np.repeat((noise**2).sum(axis=1) / 2, 2)
    ratios = _values(laplace, mode, points) - mode.value + density
    ratios = np.where(np.isfinite(ratios), ratios, -np.inf)
    if not np.isfinite(ratios).any() or not np.isfinite(constant):
        return LaplaceError(np.nan, np.nan, np.nan)
    pareto_k = _pareto_k(ratios)
    pairs = np.logaddexp(ratios[::2], ratios[1::2]) - np.log(2)
    log_mean = logsumexp(pairs) - np.log(len(pairs))
    spread = np.exp(pairs - log_mean)
    mcse = float(np.std(spread, ddof=1) / np.sqrt(len(pairs)))
    return LaplaceError(-float(log_mean), mcse, pareto_k)


def _values(laplace: Laplace, mode: Mode, points: FloatArray) -> FloatArray:
    """Return the integrand at each of the points (k, n)."""
    terms = laplace.integrand.terms(mode.theta, mode.u[None])
    at_once = max(1, _NUMBERS_AT_ONCE // terms.size)
    batches = [points[i : i + at_once] for i in range(0, len(points), at_once)]
    return np.concatenate(
        [laplace.integrand.terms(mode.theta, batch).sum(axis=1) for batch in batches]
    )


def _pareto_k(log_ratios: FloatArray) -> float:
    if np.ptp(log_ratios[np.isfinite(log_ratios)]) < 1e-8:  # all the same: no tail
        return -np.inf
    _, k = array_stats.psislw(log_ratios)
    return float(k)
