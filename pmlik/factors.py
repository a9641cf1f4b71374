"""Cholesky factors without blocks: of a band, dense, or sparse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import splu

from pmlik._typing import FloatArray, IntArray
from pmlik.logp.sparsity import SparsityPattern

__all__ = ["BandPlan", "DensePlan", "SparsePlan"]

_ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False, repr=False)
class BandPlan:
    """A band, after a permutation."""

    pattern: SparsityPattern
    permutation: IntArray
    width: int

    def factorise(self, entries: FloatArray) -> BandFactor | None:
        """See `pmlik.factorization.Plan`."""
        row, column, lower = self.places()
        band = np.zeros((self.width + 1, self.pattern.n))
        band[row, column] = entries[lower]
        try:
            root = linalg.cholesky_banded(band, lower=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
        return BandFactor(self, root)

    def places(self) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
        """Where the entries of the lower triangle sit in the band."""
        place = np.argsort(self.permutation)
        row, column = place[self.pattern.rows], place[self.pattern.columns]
        lower = row >= column
        return (row - column)[lower], column[lower], lower


@dataclass(frozen=True, eq=False, repr=False)
class BandFactor:
    """The banded Cholesky factor."""

    plan: BandPlan
    root: FloatArray

    @property
    def log_determinant(self) -> float:
        """Of ``Q``."""
        return float(self.log_pivots.sum())

    @property
    def log_pivots(self) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        pivots = np.empty(self.plan.pattern.n)
        pivots[self.plan.permutation] = 2 * np.log(self.root[0])
        return pivots

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        permutation = self.plan.permutation
        solution = np.empty(len(vector))
        solution[permutation] = linalg.cho_solve_banded((self.root, True), vector[permutation])
        return solution

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        width, n = self.plan.width, len(vector)
        upper = np.zeros((width + 1, n))
        for i in range(width + 1):
            upper[width - i, i:] = self.root[i, : n - i]
        drawn = np.empty(n)
        drawn[self.plan.permutation] = linalg.solve_banded((0, width), upper, vector)
        return drawn

    def inverse_entries(self) -> FloatArray:
        """By Takahashi's recurrence (Erisman and Tinney, 1975, doi:10.1145/360680.360704)."""
        width, n = self.plan.width, self.plan.pattern.n
        inverse, window = np.zeros((width + 1, n)), np.zeros((width, width))
        for i in range(n - 1, -1, -1):
            pivot = self.root[0, i]
            below = self.root[1:, i] / pivot
            column = -window @ below
            corner = 1 / pivot**2 - float(below @ column)
            inverse[0, i], inverse[1:, i] = corner, column
            if width:
                window[1:, 1:] = window[:-1, :-1].copy()
                window[0, 0] = corner
                window[0, 1:] = window[1:, 0] = column[:-1]
        row, column_of, lower = self.plan.places()
        pattern, entries = self.plan.pattern, np.empty(self.plan.pattern.rows.shape)
        entries[lower] = inverse[row, column_of]
        mirrored = np.lexsort((pattern.rows, pattern.columns))  # entry (j, i) of each (i, j)
        entries[~lower] = entries[mirrored][~lower]
        return entries


@dataclass(frozen=True, eq=False, repr=False)
class DensePlan:
    """No structure worth using."""

    pattern: SparsityPattern

    def factorise(self, entries: FloatArray) -> DenseFactor | None:
        """See `pmlik.factorization.Plan`."""
        matrix = np.zeros((self.pattern.n, self.pattern.n))
        matrix[self.pattern.rows, self.pattern.columns] = entries
        try:
            return DenseFactor(self, linalg.cholesky(matrix, lower=True))
        except (np.linalg.LinAlgError, ValueError):
            return None


@dataclass(frozen=True, eq=False, repr=False)
class DenseFactor:
    """A dense Cholesky factor."""

    plan: DensePlan
    root: FloatArray

    @property
    def log_determinant(self) -> float:
        """Of ``Q``."""
        return float(self.log_pivots.sum())

    @property
    def log_pivots(self) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        return np.asarray(2 * np.log(np.diag(self.root)))

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        return np.asarray(linalg.cho_solve((self.root, True), vector))

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        return np.asarray(linalg.solve_triangular(self.root, vector, lower=True, trans="T"))

    def inverse_entries(self) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        inverse = linalg.cho_solve((self.root, True), np.eye(len(self.root)))
        return np.asarray(inverse[self.plan.pattern.rows, self.plan.pattern.columns])


@dataclass(frozen=True, eq=False, repr=False)
class SparsePlan:
    """Sparse, without pivoting, in an order of least degree."""

    pattern: SparsityPattern

    def factorise(self, entries: FloatArray) -> SparseFactor | None:
        """See `pmlik.factorization.Plan`."""
        if not np.isfinite(entries).all():
            return None
        matrix = sparse.csc_array(self.pattern.to_sparse(entries))
        options = {"SymmetricMode": True}
        try:
            factor = splu(
                matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
            )
        except RuntimeError:  # exactly singular
            return None
        positive = np.array_equal(factor.perm_r, factor.perm_c) and (factor.U.diagonal() > 0).all()
        return SparseFactor(self, factor) if positive else None


@dataclass(frozen=True, eq=False, repr=False)
class SparseFactor:
    """SuperLU's factors, which of a positive definite matrix are ``L D L'``."""

    plan: SparsePlan
    factor: object

    @property
    def log_determinant(self) -> float:
        """Of ``Q``."""
        return float(self.log_pivots.sum())

    @property
    def log_pivots(self) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        pivots = np.log(self.factor.U.diagonal())  # type: ignore[attr-defined]
        return np.asarray(pivots[self.factor.perm_c])  # type: ignore[attr-defined]

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        return np.asarray(self.factor.solve(vector))  # type: ignore[attr-defined]

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.factorization.Factor`."""
        lower = self.factor.L  # type: ignore[attr-defined]
        scaled = vector / np.sqrt(self.factor.U.diagonal())  # type: ignore[attr-defined]
        solution = sparse.linalg.spsolve_triangular(
            sparse.csr_array(lower.T), scaled, lower=False, unit_diagonal=True
        )
        return np.asarray(solution[self.factor.perm_c])  # type: ignore[attr-defined]

    def inverse_entries(self) -> FloatArray:
        """One solution a column: no dense matrix is held."""
        pattern, entries = self.plan.pattern, np.empty(len(self.plan.pattern.rows))
        for begin in range(0, pattern.n, _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, pattern.n)
            units = np.zeros((pattern.n, end - begin))
            units[np.arange(begin, end), np.arange(end - begin)] = 1.0
            columns = self.factor.solve(units)  # type: ignore[attr-defined]
            first, last = pattern._starts[[begin, end]]
            here = slice(int(first), int(last))
            entries[here] = columns[pattern.columns[here], pattern.rows[here] - begin]
        return entries
