"""Laplace's approximation of an integral over latents, with its exact gradient.

``l(theta) = log int exp f(theta, u) du`` is about ``f(theta, u^) + n/2 log 2 pi - 1/2 log det Q``
with ``u^`` the mode of ``f`` in ``u`` and ``Q = -f_uu`` there; exact if ``f`` is quadratic in
``u``. The gradient follows ``u^`` by the implicit function theorem (Kristensen et al., 2016,
doi:10.18637/jss.v070.i05). NumPy and SciPy on plain callables.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pmlik._typing import FloatArray
from pmlik.errors import ModelError
from pmlik.logp.sparsity import SparsityPattern, find_pattern
from pmlik.marginal.cholesky import Factor, Plan, make_plan
from pmlik.marginal.hessian import IntegrandLike, SparseHessian

# The mode is found after a Newton step from within a millionth of a standard deviation, or if the
# next step would be shorter than rounding.
_NEARLY, _EXACTLY = 1e-12, 1e-22
_STALLED = 1e-9
_MAX_STEPS, _MAX_HALVINGS = 200, 40

# After this many halvings in one search there is no mode worth searching for.
_MAX_ALL_HALVINGS = 150
_REMEMBERED = 6
_PATTERN_TOLERANCE = 1e-8

# A Hessian with more latents is never stored with all its entries.
_MAX_COMPLETE = 3000


@dataclass(frozen=True, eq=False, repr=False)
class Mode:
    """The conditional mode of the latents for one ``theta``, and the Hessian there.

    ``theta`` (p,), ``u`` (n,). ``value``: ``f`` at the mode.
    ``gradient`` (p,): ``f_theta`` at the mode. ``entries`` (e,): of ``Q``, on the pattern.
    ``factor``: of ``Q``.
    """

    theta: FloatArray
    u: FloatArray
    value: float
    gradient: FloatArray
    entries: FloatArray
    factor: Factor

    @property
    def log_integral(self) -> float:
        """Laplace's approximation."""
        constant = len(self.u) * np.log(2 * np.pi)
        return float(self.value + (constant - self.factor.log_determinant) / 2)


@dataclass(frozen=True, eq=False, repr=False)
class _Point:
    """The integrand, its gradients in ``theta`` and ``u``, and the entries of ``Q``."""

    u: FloatArray
    value: float
    in_theta: FloatArray
    in_u: FloatArray
    entries: FloatArray

    def mode(self, theta: FloatArray, factor: Factor) -> Mode:
        return Mode(theta.copy(), self.u, self.value, self.in_theta, self.entries, factor)


@dataclass(eq=False, repr=False)
class Laplace:
    """The approximation as a function of ``theta``.

    ``start`` (n,): latents to start from.
    ``typical`` (p,): a ``theta`` with a finite density, where the sparsity pattern is read.
    """

    integrand: IntegrandLike
    start: FloatArray
    typical: FloatArray
    pattern: SparsityPattern = field(init=False)
    plan: Plan = field(init=False)
    hessian: SparseHessian = field(init=False)
    _modes: list[Mode] = field(default_factory=list)
    _n_modes: int = 0
    _n_failures: int = 0
    _halvings: int = 0
    _is_exact: bool | None = None

    def __post_init__(self) -> None:
        # Away from the start, where derivatives may vanish by coincidence.
        rng = np.random.default_rng(0)
        theta = self.typical + rng.uniform(-0.1, 0.1, size=len(self.typical))
        moved = self.start + rng.uniform(-0.5, 0.5, size=len(self.start))
        finite = np.isfinite(self.integrand.value_and_gradient(theta, moved)[0])
        self.use_pattern(self._read_pattern(theta, moved if finite else self.start, seed=0))

    def _read_pattern(self, theta: FloatArray, u: FloatArray, seed: int) -> SparsityPattern:
        return find_pattern(
            lambda v: self.integrand.product(theta, u, v)[1], self.integrand.sizes, seed
        )

    def use_pattern(self, pattern: SparsityPattern) -> None:
        """Set the sparsity pattern of ``f_uu``, and forget what was found with another."""
        self.pattern, self.plan = pattern, make_plan(pattern)
        self.hessian, self._is_exact = self.integrand.sparse_hessian(pattern), None
        self.reset_cache()

    @property
    def is_exact(self) -> bool:
        """True if the integrand is Gaussian in the latents, so that nothing is approximated."""
        if self._is_exact is None:
            self._is_exact = self._has_constant_hessian()
        return self._is_exact

    def _has_constant_hessian(self) -> bool:
        rng = np.random.default_rng(1)
        weights = rng.normal(size=len(self.pattern.rows))
        for share in (0.1, 1.0):
            theta = self.typical + rng.uniform(-0.1, 0.1, size=len(self.typical))
            u = self.start + share * rng.normal(size=len(self.start))
            entries = self.hessian.value_gradient_hessian(theta, u)[3]
            _, in_u = self.hessian.weighted_hessian_gradient(theta, u, weights)
            if not np.abs(in_u).max(initial=0.0) <= 1e-11 * np.abs(entries * weights).sum():
                return False
        return True

    def reset_cache(self) -> None:
        """Forget the modes found so far: the integrand has changed."""
        self._modes = []

    def mode(self, theta: FloatArray) -> Mode | None:
        """Return the conditional mode of the latents; None if there is none.

        Raises `ModelError` if the sparsity pattern was misread, and the latents are too many to do
            without.
        """
        for known in self._modes:
            if np.array_equal(known.theta, theta):
                return known
        if not np.isfinite(theta).all():
            return None
        found = self._find_mode(theta)
        if self._misses_entries(theta, found):
            self._widen_pattern(theta, self.start if found is None else found.u)
            found = self._find_mode(theta)
        if found is not None:
            self._modes = [found, *self._modes[: _REMEMBERED - 1]]
        return found

    def _find_mode(self, theta: FloatArray) -> Mode | None:
        """Return the mode found from that of the nearest ``theta``, or else from the start."""
        near = sorted(self._modes, key=lambda mode: float(np.abs(mode.theta - theta).max()))
        for start in [*(mode.u for mode in near[:1]), self.start]:
            found = self._maximize(theta, start)
            if found is not None:
                return found
        return None

    def _maximize(self, theta: FloatArray, u: FloatArray) -> Mode | None:
        """Newton's method, with steps that are halved until the integrand rises."""
        here, before, self._halvings = self._point(theta, u), np.inf, 0
        for _ in range(_MAX_STEPS):
            if here is None:
                return None
            factor, shifted = self._factorise(here.entries)
            if factor is None:
                return None
            step = factor.solve(here.in_u)
            decrement = float(here.in_u @ step)
            if not np.isfinite(decrement):
                return None
            stalled = decrement < _STALLED and decrement > before / 4
            if not shifted and (decrement <= _EXACTLY or before <= _NEARLY or stalled):
                return here.mode(theta, factor)
            if self.is_exact and not shifted:
                return self._quadratic_mode(theta, here, here.u + step, factor)
            here = self._line_search(theta, here, step, decrement)
            before = np.inf if shifted else decrement
        return None

    def _quadratic_mode(
        self, theta: FloatArray, here: _Point, u: FloatArray, factor: Factor
    ) -> Mode | None:
        """Return the mode of a quadratic, one Newton step away: ``Q`` is the same there."""
        value, in_theta, in_u = self.integrand.value_and_gradient(theta, u)
        rest = factor.solve(in_u)
        if not (np.isfinite(value) and float(in_u @ rest) < _STALLED):
            return None
        return _Point(u, value, in_theta, in_u, here.entries).mode(theta, factor)

    def _point(self, theta: FloatArray, u: FloatArray) -> _Point | None:
        value, in_theta, in_u, entries = self.hessian.value_gradient_hessian(theta, u)
        if not (np.isfinite(value) and np.isfinite(in_u).all()):
            return None
        return _Point(u, value, in_theta, in_u, -entries)

    def _line_search(
        self, theta: FloatArray, here: _Point, step: FloatArray, decrement: float
    ) -> _Point | None:
        slack, share = 1e-11 * (1 + abs(here.value)), 1.0

        def rises(value: float) -> bool:
            return value >= here.value + 1e-4 * share * decrement - slack

        there = self._point(theta, here.u + step)
        if there is not None and rises(there.value):
            return there
        for _ in range(min(_MAX_HALVINGS, _MAX_ALL_HALVINGS - self._halvings)):
            share, self._halvings = share / 2, self._halvings + 1
            u = here.u + share * step
            if rises(self.integrand.value_and_gradient(theta, u)[0]):
                return self._point(theta, u)
        return None

    def _factorise(self, entries: FloatArray) -> tuple[Factor | None, bool]:
        """Factorise ``Q``, or ``Q`` plus the least multiple of its diagonal that helps."""
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

    def _misses_entries(self, theta: FloatArray, mode: Mode | None) -> bool:
        """Check the pattern now and then; return True if ``Q`` has entries outside it.

        Checked at the first, the second, the fourth, ... mode that is found, and likewise, at the
        start, where none is found: with entries missing a search may fail.
        """
        if self.pattern.is_full:
            return False
        if mode is None:
            self._n_failures += 1
            point = (
                None if _is_no_power_of_two(self._n_failures) else self._point(theta, self.start)
            )
            return point is not None and not self._holds(theta, point.u, point.entries)
        self._n_modes += 1
        if _is_no_power_of_two(self._n_modes):
            return False
        return not self._holds(theta, mode.u, mode.entries)

    def _holds(self, theta: FloatArray, u: FloatArray, entries: FloatArray) -> bool:
        """Return True if ``Q`` times a random vector is what its entries on the pattern give."""
        v = np.random.default_rng(self._n_modes + self._n_failures).normal(size=len(u))
        image = -self.integrand.product(theta, u, v)[1]
        error = np.abs(image - self.pattern.to_sparse(entries) @ v).max(initial=0.0)
        return not error > _PATTERN_TOLERANCE * (1 + np.abs(image).max(initial=0.0))

    def _widen_pattern(self, theta: FloatArray, u: FloatArray) -> None:
        """Add the entries that a point shows to have been missed; if in doubt, all entries."""
        seed = 1 + self._n_modes + self._n_failures
        self.use_pattern(self.pattern.union(self._read_pattern(theta, u, seed)))
        point = self._point(theta, u)
        if point is None or self._holds(theta, u, point.entries):
            return
        if len(u) > _MAX_COMPLETE:
            raise ModelError(
                f"{len(u)} latents: their Hessian's sparsity could not be read, and they are too "
                f"many (more than {_MAX_COMPLETE}) to store it with all its entries."
            )
        self.use_pattern(SparsityPattern.full(len(u)))

    def log_integral(self, theta: FloatArray) -> float:
        """Return the approximation; NaN if the latents have no mode."""
        mode = self.mode(theta)
        return np.nan if mode is None else mode.log_integral

    def value_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Return the approximation and its gradient (p,)."""
        mode = self.mode(theta)
        if mode is None:
            return np.nan, np.full(len(theta), np.nan)
        in_theta, in_u = self.weighted_hessian_gradient(mode, mode.factor.inverse_entries())
        gradient = mode.gradient + in_theta / 2
        if not self.is_exact:
            gradient = gradient + self.chain(mode, in_u / 2)
        return mode.log_integral, gradient

    def weighted_hessian_gradient(
        self, mode: Mode, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of the sum of ``f_uu``'s entries times ``weights`` (e,).

        In ``theta`` (p,) and in ``u`` (n,).
        """
        return self.hessian.weighted_hessian_gradient(mode.theta, mode.u, weights)

    def chain(self, mode: Mode, in_u: FloatArray) -> FloatArray:
        """Return what a gradient in ``u`` (n,) adds to that in ``theta`` (p,) as the mode moves."""
        return self.integrand.product(mode.theta, mode.u, mode.factor.solve(in_u))[0]


def _is_no_power_of_two(number: int) -> bool:
    return bool(number & (number - 1))
