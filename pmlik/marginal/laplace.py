"""Laplace's approximation of an integral over latents, with its exact gradient.

``l(theta) = log int exp f(theta, u) du``, about ``f(theta, u^) + n/2 log 2 pi - 1/2 log det Q``
with ``u^`` the mode of ``f`` in ``u`` and ``Q = -f_uu`` there; exact where ``f`` is quadratic in
``u``. The gradient follows ``u^`` by the implicit function theorem (Kristensen et al., 2016,
doi:10.18637/jss.v070.i05). NumPy and SciPy on plain callables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pmlik._typing import FloatArray
from pmlik.logp.sparsity import SparsityPattern, find_pattern
from pmlik.marginal.cholesky import Factor, Plan, make_plan
from pmlik.marginal.hessian import IntegrandLike, SparseHessian

__all__ = ["Laplace", "Mode"]


# The mode is found once a Newton step from within a millionth of a standard deviation was made,
# or the next one would be shorter than rounding.
_NEARLY, _EXACTLY = 1e-12, 1e-22
_STALLED = 1e-9
_STEPS, _HALVINGS = 200, 40

# Where so many halvings were needed on the way, there is no mode worth the search.
_MOST_HALVINGS = 150
_REMEMBERED = 6
_PATTERN_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False, repr=False)
class Mode:
    """The conditional mode of the latents for one ``theta``, and the curvature there.

    Parameters
    ----------
    theta : array (p,)
    u : array (n,)
    value : float
        ``f`` there.
    slope : array (p,)
        ``f_theta`` there.
    entries : array (e,)
        Of ``Q``, on the pattern.
    factor : Factor
        Of ``Q``.
    """

    theta: FloatArray
    u: FloatArray
    value: float
    slope: FloatArray
    entries: FloatArray
    factor: Factor

    @property
    def log_integral(self) -> float:
        """Laplace's approximation."""
        constant = len(self.u) * np.log(2 * np.pi)
        return float(self.value + (constant - self.factor.log_determinant) / 2)


@dataclass(frozen=True, eq=False, repr=False)
class _Point:
    """The integrand, its gradient and its curvature's entries at one ``u``."""

    u: FloatArray
    value: float
    slope: FloatArray
    gradient: FloatArray
    entries: FloatArray

    def mode(self, theta: FloatArray, factor: Factor) -> Mode:
        return Mode(theta.copy(), self.u, self.value, self.slope, self.entries, factor)


@dataclass(eq=False, repr=False)
class Laplace:
    """The approximation as a function of ``theta``.

    Parameters
    ----------
    integrand : IntegrandLike
    start : array (n,)
        Latents to begin from.
    typical : array (p,)
        A ``theta`` with a finite density, where the pattern is looked for.
    """

    integrand: IntegrandLike
    start: FloatArray
    typical: FloatArray
    pattern: SparsityPattern = field(init=False)
    plan: Plan = field(init=False)
    _modes: list[Mode] = field(default_factory=list)
    n_checked: int = 0
    _halvings: int = 0
    _seeded: SparseHessian = field(init=False)

    def __post_init__(self) -> None:
        self._look(self.typical, self.start)

    def _look(self, theta: FloatArray, u: FloatArray) -> None:
        """Find the pattern, away from where derivatives vanish by coincidence."""
        rng = np.random.default_rng(0)
        theta = theta + rng.uniform(-0.1, 0.1, size=len(theta))
        moved = u + rng.uniform(-0.5, 0.5, size=len(u))
        here = moved if np.isfinite(self.integrand.value_and_gradient(theta, moved)[0]) else u
        found = find_pattern(
            lambda v: self.integrand.product(theta, here, v)[1], self.integrand.sizes
        )
        self._use(found)

    def _use(self, pattern: SparsityPattern) -> None:
        self.pattern, self.plan = pattern, make_plan(pattern)
        self._seeded = self.integrand.seeded(pattern)

    @cached_property
    def is_exact(self) -> bool:
        """Whether the integrand is Gaussian in the latents, so that nothing is approximated."""
        rng = np.random.default_rng(1)
        n = len(self.start)
        for share in (0.1, 1.0):
            theta = self.typical + rng.uniform(-0.1, 0.1, size=len(self.typical))
            u = self.start + share * rng.normal(size=n)
            w, v = rng.normal(size=(2, n))
            size = np.abs(self.integrand.product(theta, u, v)[1] * w).sum()
            _, bend = self.integrand.third(theta, u, w, v)
            if not np.abs(bend).max(initial=0.0) <= 1e-11 * size:
                return False
        return True

    def forget(self) -> None:
        """Forget the modes found so far: the integrand has changed."""
        self._modes = []

    def _starts(self, theta: FloatArray) -> list[FloatArray]:
        """Modes of the nearest ``theta`` first."""
        near = sorted(self._modes, key=lambda mode: float(np.abs(mode.theta - theta).max()))
        return [*(mode.u for mode in near[:1]), self.start]

    def mode(self, theta: FloatArray) -> Mode | None:
        """The conditional mode of the latents; None where there is none."""
        for known in self._modes:
            if np.array_equal(known.theta, theta):
                return known
        if not np.isfinite(theta).all():
            return None
        for start in self._starts(theta):
            found = self._climb(theta, start)
            if found is not None:
                self._check_pattern(found)
                self._modes = [found, *self._modes[: _REMEMBERED - 1]]
                return found
        return None

    def _climb(self, theta: FloatArray, u: FloatArray) -> Mode | None:
        """Newton's method, with steps that are halved until they lead up."""
        here, before, self._halvings = self._point(theta, u), np.inf, 0
        for _ in range(_STEPS):
            if here is None:
                return None
            factor, shifted = self._factorise(here.entries)
            if factor is None:
                return None
            step = factor.solve(here.gradient)
            decrement = float(here.gradient @ step)
            if not np.isfinite(decrement):
                return None
            stalled = decrement < _STALLED and decrement > before / 4
            if not shifted and (decrement <= _EXACTLY or before <= _NEARLY or stalled):
                return here.mode(theta, factor)
            if self.is_exact and not shifted:
                return self._jump(theta, here, here.u + step, factor)
            here = self._go(theta, here, step, decrement)
            before = np.inf if shifted else decrement
        return None

    def _jump(self, theta: FloatArray, here: _Point, u: FloatArray, factor: Factor) -> Mode | None:
        """To the top of a quadratic: the curvature is the same there."""
        value, slope, gradient = self.integrand.value_and_gradient(theta, u)
        rest = factor.solve(gradient)
        if not (np.isfinite(value) and float(gradient @ rest) < _STALLED):
            return None
        return _Point(u, value, slope, gradient, here.entries).mode(theta, factor)

    def _point(self, theta: FloatArray, u: FloatArray) -> _Point | None:
        value, slope, gradient, entries = self._seeded.curved(theta, u)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return None
        return _Point(u, value, slope, gradient, -entries)

    def _go(
        self, theta: FloatArray, here: _Point, step: FloatArray, decrement: float
    ) -> _Point | None:
        slack, share = 1e-11 * (1 + abs(here.value)), 1.0

        def climbs(value: float) -> bool:
            return value >= here.value + 1e-4 * share * decrement - slack

        there = self._point(theta, here.u + step)
        if there is not None and climbs(there.value):
            return there
        for _ in range(min(_HALVINGS, _MOST_HALVINGS - self._halvings)):
            share, self._halvings = share / 2, self._halvings + 1
            u = here.u + share * step
            if climbs(self.integrand.value_and_gradient(theta, u)[0]):
                return self._point(theta, u)
        return None

    def _factorise(self, entries: FloatArray) -> tuple[Factor | None, bool]:
        """A factor of ``Q``, or of ``Q`` with the least multiple of its diagonal that helps."""
        factor = self.plan.factorise(entries)
        if factor is not None or not np.isfinite(entries).all():
            return factor, False
        diagonal = self.pattern.rows == self.pattern.columns
        size = np.maximum(np.abs(entries), 1e-8 * np.abs(entries).max()) * diagonal
        for power in range(-3, 12):
            factor = self.plan.factorise(entries + 10.0**power * size)
            if factor is not None:
                return factor, True
        return None, True

    def _check_pattern(self, mode: Mode) -> None:
        """Compare with a product now and then; a wider pattern is looked for where they differ."""
        self.n_checked += 1
        if self.n_checked & (self.n_checked - 1):  # at the first, the second, the fourth, ...
            return
        v = np.random.default_rng(self.n_checked).normal(size=len(mode.u))
        image = -self.integrand.product(mode.theta, mode.u, v)[1]
        error = np.abs(image - self.pattern.to_sparse(mode.entries) @ v).max(initial=0.0)
        if error > _PATTERN_TOLERANCE * (1 + np.abs(image).max(initial=0.0)):
            raise ArithmeticError("The sparsity of the latents' Hessian was misread.")

    def log_integral(self, theta: FloatArray) -> float:
        """The approximation; NaN where the latents have no mode."""
        mode = self.mode(theta)
        return np.nan if mode is None else mode.log_integral

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """The approximation and its gradient (p,)."""
        mode = self.mode(theta)
        if mode is None:
            return np.nan, np.full(len(theta), np.nan)
        ahead, bend = self.weighted_third(mode, mode.factor.inverse_entries())
        slope = mode.slope + ahead / 2
        return mode.log_integral, slope if self.is_exact else slope + self.follow(mode, bend / 2)

    def weighted_third(self, mode: Mode, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient of the sum of ``f_uu``'s entries times ``weights`` (e,)."""
        return self._seeded.bent(mode.theta, mode.u, weights)

    def follow(self, mode: Mode, slope: FloatArray) -> FloatArray:
        """What a slope in the latents adds to that in ``theta``, as the mode moves with it."""
        return self.integrand.product(mode.theta, mode.u, mode.factor.solve(slope))[0]
