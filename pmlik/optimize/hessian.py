"""The Hessian at a point: eigenvalues, variances, Newton steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, cg, eigsh

from pmlik._typing import EigenvalueSigns, FloatArray, Product

#: Above this many coordinates no dense matrix is formed.
DENSE_LIMIT = 2000

#: A constrained value counts as moved by a flat direction if the direction has at least this
#: share (squared) of the value's whole sensitivity.
_FLAT_SHARE = 1e-10

# Random products per round when a large Hessian is scaled.
_PROBES = 8


class Variances(NamedTuple):
    """Delta-method variances of ``m`` values.

    ``variance`` (m,) is NaN where ``unidentified`` (m,) is true. ``root`` (rows, n) satisfies
    ``root @ root.T = covariance`` of the first values, or is None if it was not requested.
    """

    variance: FloatArray
    unidentified: NDArray[np.bool_]
    root: FloatArray | None


@dataclass(frozen=True, eq=False)
class HessianEigen:
    """Eigendecomposition of a Hessian, scaled to a unit diagonal first.

    The scaling makes all results independent of the parameters' units. An
    eigenvalue is zero when it is within rounding error, ``10 n eps``, of it.

    ``scale`` (n,): ``|H_ii| ** -0.5``, and 1 where the diagonal is zero.
    ``eigenvalues`` (n,): of ``diag(scale) @ H @ diag(scale)``, ascending.
    ``eigenvectors`` (n, n): one a column, in scaled coordinates.
    ``empty`` (n,): coordinates whose whole row of ``H`` is exactly zero.
    """

    scale: FloatArray
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    empty: NDArray[np.bool_]

    @classmethod
    def of(cls, hessian: FloatArray) -> HessianEigen:
        """Decompose a symmetric (n, n) matrix; entries that are not finite raise ValueError."""
        diagonal = np.abs(np.diag(hessian))
        scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
        values, vectors = linalg.eigh(hessian * np.outer(scale, scale))
        return cls(scale, values, vectors, ~hessian.any(axis=1))

    @property
    def tolerance(self) -> float:
        """Size below which an eigenvalue is rounding error."""
        n = len(self.eigenvalues)
        return float(10 * n * np.finfo(float).eps * max(np.abs(self.eigenvalues).max(initial=0), 1))

    @cached_property
    def signs(self) -> EigenvalueSigns:
        """Counts of positive, zero and negative eigenvalues."""
        positive = int((self.eigenvalues > self.tolerance).sum())
        negative = int((self.eigenvalues < -self.tolerance).sum())
        return EigenvalueSigns(positive, len(self.eigenvalues) - positive - negative, negative)

    def newton_step(self, gradient: FloatArray) -> FloatArray:
        """``-H^+ g`` on the positive eigenspace; zero along the rest."""
        keep = self.eigenvalues > self.tolerance
        vectors = self.eigenvectors[:, keep]
        step = vectors @ ((vectors.T @ (self.scale * gradient)) / self.eigenvalues[keep])
        return -self.scale * step

    @property
    def is_indefinite(self) -> bool:
        """Return True if the curvature is negative in some direction."""
        return self.signs.negative > 0

    def steepest_negative(self) -> FloatArray:
        """The scaled direction of least curvature."""
        return self.scale * self.eigenvectors[:, 0]

    def unit_errors(self, most: int) -> FloatArray:
        """Steps of one standard error along the eigenvectors, longest first, one per row."""
        keep = self.eigenvalues > self.tolerance
        steps = (self.eigenvectors[:, keep] / np.sqrt(self.eigenvalues[keep])).T * self.scale
        return steps[np.argsort(-np.linalg.norm(steps, axis=1))][:most]

    def flat_directions(self) -> FloatArray:
        """Directions without curvature, one per row."""
        flat = np.abs(self.eigenvalues) <= self.tolerance
        return (self.eigenvectors[:, flat]).T * self.scale

    def variances(self, tangent: Product, *, n_root: int = 0) -> Variances:
        """Delta-method variances ``diag(J H^-1 J')`` of the values whose Jacobian is ``J``.

        Parameters
        ----------
        tangent : callable
            ``v (n,) -> J v (m,)``; called ``n`` times.
        n_root : int
            Number of values, from the first, for which to keep the root of the covariance.

        Notes
        -----
        A value is unidentified if a direction of zero curvature moves it. Its variance is NaN;
        the others are those of the pseudo-inverse, which for them is exact.
        """
        m = len(tangent(np.zeros(len(self.scale))))
        sensitivity, flat, variance = np.zeros(m), np.zeros(m), np.zeros(m)
        columns = []
        for direction, eigenvalue in zip(self.eigenvectors.T, self.eigenvalues, strict=True):
            image = tangent(self.scale * direction)
            sensitivity += image**2
            if eigenvalue > self.tolerance:
                variance += image**2 / eigenvalue
                columns.append(image[:n_root] / np.sqrt(eigenvalue))
            else:
                flat += image**2
        unidentified = flat > _FLAT_SHARE * sensitivity
        variance[unidentified] = np.nan
        root = np.column_stack(columns) if n_root and columns else None
        return Variances(variance, unidentified, root)


@dataclass(frozen=True, eq=False)
class HessianOperator:
    """The interface of `HessianEigen` by conjugate gradients, without a dense matrix.

    ``product``: ``v (n,) -> H v (n,)``.
    ``scale`` (n,): preconditioner: under it the rows of ``H`` have about the same norm.
    ``empty`` (n,): coordinates whose whole row of ``H`` is exactly zero.
    """

    product: Product
    scale: FloatArray
    empty: NDArray[np.bool_]

    @classmethod
    def probe(cls, product: Product, n: int, *, rounds: int = 3, seed: int = 0) -> HessianOperator:
        """Find a scaling under which all rows of the Hessian have about the same norm.

        Row norms are estimated from products with random signs, and the scaling is refined as
        in Ruiz's equilibration (2001, Rutherford Appleton Laboratory report RAL-TR-2001-034).
        For a diagonal Hessian the first round is exact.
        """
        rng = np.random.default_rng(seed)
        scale, empty = np.ones(n), np.ones(n, bool)
        for _ in range(rounds):
            signs = rng.choice([-1.0, 1.0], size=(_PROBES, n))
            images = scale * np.array([product(scale * sign) for sign in signs])
            norms = np.sqrt(np.mean(images**2, axis=0))
            empty &= norms == 0
            scale = scale / np.sqrt(np.where(norms > 0, norms, 1.0))
        return cls(product, scale, empty)

    @cached_property
    def _least(self) -> tuple[float, FloatArray]:
        """A bound from above on the least eigenvalue of the scaled Hessian, and its direction.

        By Lanczos' method from a random start: a negative value proves negative curvature.
        """
        n = len(self.scale)
        rng = np.random.default_rng(1)
        try:
            values, vectors = eigsh(
                self._operator(), k=1, which="SA", tol=1e-3, maxiter=30, v0=rng.normal(size=n)
            )
        except ArpackNoConvergence as stopped:
            values, vectors = stopped.eigenvalues, stopped.eigenvectors
        except ArpackError:  # as of a Hessian of zeros
            return 0.0, np.zeros(n)
        if not len(values):
            return np.inf, np.zeros(n)
        return float(values[0]), np.asarray(vectors[:, 0])

    @property
    def is_indefinite(self) -> bool:
        """Return True if negative curvature was found in some direction."""
        return self._least[0] < -1e-8

    def steepest_negative(self) -> FloatArray:
        """The scaled direction of least curvature that was found."""
        return self.scale * self._least[1]

    def _operator(self) -> LinearOperator:
        n = len(self.scale)
        return LinearOperator(
            (n, n), matvec=lambda v: self.scale * self.product(self.scale * v.ravel()), dtype=float
        )

    def solve(self, vector: FloatArray, *, rtol: float = 1e-12) -> FloatArray | None:
        """``H^-1 v``, or None when ``H`` shows no positive curvature or the iteration stalls."""
        n = len(vector)
        lowest = [np.inf]

        def scaled_product(v: FloatArray) -> FloatArray:
            image = self.scale * self.product(self.scale * v)
            norm = float(v @ v)
            lowest[0] = min(lowest[0], float(v @ image) / norm if norm else np.inf)
            return image

        operator = LinearOperator((n, n), matvec=scaled_product, dtype=float)
        with np.errstate(all="ignore"):
            solution, _ = cg(operator, self.scale * vector, rtol=rtol, maxiter=2 * n + 100)
        residual = np.linalg.norm(scaled_product(solution) - self.scale * vector)
        stalled = residual > 1e-6 * np.linalg.norm(self.scale * vector)
        if lowest[0] <= 0 or stalled or not np.isfinite(residual):
            return None
        return np.asarray(self.scale * solution)


def variances_by_solves(
    curvature: HessianOperator,
    cotangents: Callable[[int], FloatArray],
    indices: Sequence[int],
    m: int,
) -> Variances:
    """Delta-method variances of the requested values, one linear solve each.

    ``cotangents``: ``i -> J[i] (n,)``, the gradient of value ``i``.
    ``indices``: the requested values; the variance of every other is NaN, and of those whose solve
        fails.
    ``m``: number of values.
    """
    variance = np.full(m, np.nan)
    for i in indices:
        row = cotangents(i)
        solution = curvature.solve(row)
        variance[i] = np.nan if solution is None else max(0.0, float(row @ solution))
    return Variances(variance, np.zeros(m, dtype=bool), None)
