"""Cholesky factors by blocks, banded, dense or sparse, with the inverse on the pattern."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.sparse.linalg import splu, spsolve_triangular

from pmlik._typing import BoolArray, FloatArray, IntArray
from pmlik.logp.sparsity import SparsityPattern
from pmlik.marginal.border import find_border, find_cover

_MAX_BAND = 100
_MAX_DENSE = 3000
_AT_ONCE = 512  # rows or columns


class Factor(ABC):
    """A factorised symmetric positive definite matrix ``Q``."""

    @property
    @abstractmethod
    def log_pivots(self) -> FloatArray:
        """Logarithms (n,) that sum to the log-determinant, in each independent block as well."""

    @property
    def log_determinant(self) -> float:
        """Logarithm of the determinant of ``Q``."""
        return float(self.log_pivots.sum())

    @abstractmethod
    def solve(self, vector: FloatArray) -> FloatArray:
        """Return ``Q^-1 v``."""

    @abstractmethod
    def root_solve(self, vector: FloatArray) -> FloatArray:
        """Return ``R v`` with ``R R' = Q^-1``: draws with covariance ``Q^-1`` from white noise."""

    @abstractmethod
    def inverse_entries(self) -> FloatArray:
        """Return the entries (e,) of ``Q^-1`` on the pattern."""


class Plan(Protocol):
    """A way to factorise matrices of one pattern."""

    def factorise(self, entries: FloatArray, /) -> Factor | None:
        """Factorise the matrix with the given entries (e,); None if not positive definite."""
        ...


def make_plan(pattern: SparsityPattern) -> Plan:
    """Return the cheapest way to factorise matrices of a pattern."""
    graph = pattern.to_sparse(np.ones(len(pattern.rows)))
    border = find_border(pattern, graph)
    if border is not None:
        return BlockPlan(pattern, border)
    if pattern.n > 2:
        order = np.asarray(reverse_cuthill_mckee(graph, symmetric_mode=True))
        for permutation in (np.arange(pattern.n), order):
            place = np.argsort(permutation)
            width = int(np.abs(place[pattern.rows] - place[pattern.columns]).max())
            if width <= _MAX_BAND and 4 * width < pattern.n:
                return BandPlan(pattern, permutation, width)
    if pattern.n <= _MAX_DENSE:
        return DensePlan(pattern)
    cover = find_cover(pattern)
    return SparsePlan(pattern) if cover is None else BlockPlan(pattern, cover)


@dataclass(frozen=True, eq=False, repr=False)
class BlockPlan:
    """Small blocks, independent except for a border of rows with entries anywhere."""

    pattern: SparsityPattern
    border: BoolArray
    _groups: list[_Blocks] = field(default_factory=list)

    def __post_init__(self) -> None:
        p, rest = self.pattern, np.flatnonzero(~self.border)
        place = np.full(p.n, -1)
        place[rest] = np.arange(len(rest))
        inner = ~self.border[p.rows] & ~self.border[p.columns]
        rows, columns = place[p.rows[inner]], place[p.columns[inner]]
        n = len(rest)
        graph = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
        _, component = connected_components(graph, directed=False)
        sizes = np.bincount(component, minlength=1)
        order = np.argsort(component, kind="stable")
        rank = np.empty(n, dtype=np.int64)
        rank[order] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        entries = np.flatnonzero(inner)
        for size in np.unique(sizes[sizes > 0]):
            chosen = np.flatnonzero(sizes == size)
            number = np.full(len(sizes), -1)
            number[chosen] = np.arange(len(chosen))
            members = np.empty((len(chosen), size), dtype=np.int64)
            own = np.flatnonzero(number[component] >= 0)
            members[number[component[own]], rank[own]] = rest[own]
            mine = number[component[rows]] >= 0
            at = (number[component[rows[mine]]], rank[rows[mine]], rank[columns[mine]])
            self._groups.append(_Blocks(members, entries[mine], at))

    def factorise(self, entries: FloatArray) -> Factor | None:
        """See `Plan`."""
        try:
            return BlockFactor.of(self, entries)
        except np.linalg.LinAlgError:
            return None


@dataclass(frozen=True, eq=False, repr=False)
class _Blocks:
    """All blocks of one size: their rows (g, m), and the places of their entries."""

    members: IntArray
    entries: IntArray
    at: tuple[IntArray, IntArray, IntArray]

    def gather(self, entries: FloatArray) -> FloatArray:
        g, m = self.members.shape
        blocks = np.zeros((g, m, m))
        blocks[self.at] = entries[self.entries]
        return blocks


@dataclass(frozen=True, eq=False, repr=False)
class BlockFactor(Factor):
    """Cholesky factors and inverses of the blocks, and of the border's Schur complement."""

    plan: BlockPlan
    roots: list[FloatArray]
    inverses: list[FloatArray]
    coupling: sparse.csr_array | None
    border_root: FloatArray
    border_inverse: FloatArray

    @classmethod
    def of(cls, plan: BlockPlan, entries: FloatArray) -> BlockFactor:
        """Factorise; LinAlgError if the matrix is not positive definite."""
        if not np.isfinite(entries).all():
            raise np.linalg.LinAlgError
        pairs = [_invert(group.gather(entries)) for group in plan._groups]
        roots, inverses = [root for root, _ in pairs], [inverse for _, inverse in pairs]
        border = np.flatnonzero(plan.border)
        if not len(border):
            return cls(plan, roots, inverses, None, np.zeros((0, 0)), np.zeros((0, 0)))
        matrix = plan.pattern.to_sparse(entries)
        across = sparse.csr_array(matrix[:, border])
        coupling = sparse.csr_array(_block_matrix(plan, inverses) @ across)
        schur = matrix[border][:, border].toarray() - (across.T @ coupling).toarray()
        border_root = linalg.cholesky(schur, lower=True)
        border_inverse = linalg.cho_solve((border_root, True), np.eye(len(border)))
        return cls(plan, roots, inverses, coupling, border_root, border_inverse)

    @property
    def log_determinant(self) -> float:
        """See `Factor`; not summed in the order of the rows."""
        log_determinant = 0.0
        for root in self.roots:
            log_determinant += 2 * float(np.log(np.diagonal(root, axis1=1, axis2=2)).sum())
        if self.coupling is not None:
            log_determinant += 2 * float(np.log(np.diag(self.border_root)).sum())
        return log_determinant

    @property
    def log_pivots(self) -> FloatArray:
        """See `Factor`."""
        pivots = np.zeros(self.plan.pattern.n)
        for group, root in zip(self.plan._groups, self.roots, strict=True):
            pivots[group.members] = 2 * np.log(np.diagonal(root, axis1=1, axis2=2))
        pivots[self.plan.border] = 2 * np.log(np.diag(self.border_root))
        return pivots

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
        solution = np.zeros(len(vector))
        for group, inverse in zip(self.plan._groups, self.inverses, strict=True):
            part = vector[group.members]
            solution[group.members] = (inverse @ part[:, :, None])[:, :, 0]
        if self.coupling is not None:
            border = self.plan.border
            left = vector[border] - self.coupling.T @ np.where(border, 0.0, vector)
            solution[border] = self.border_inverse @ left
            solution -= self.coupling @ solution[border]
        return solution

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
        drawn = np.zeros(len(vector))
        for group, root in zip(self.plan._groups, self.roots, strict=True):
            part = vector[group.members][:, :, None]
            if root.shape[1] == 1:
                drawn[group.members] = (part / root)[:, :, 0]
            else:
                drawn[group.members] = np.linalg.solve(root.swapaxes(1, 2), part)[:, :, 0]
        if self.coupling is not None:
            border = self.plan.border
            drawn[border] = linalg.solve_triangular(self.border_root.T, vector[border])
            drawn -= self.coupling @ drawn[border]
        return drawn

    def inverse_entries(self) -> FloatArray:
        """See `Factor`."""
        pattern = self.plan.pattern
        entries = np.zeros(len(pattern.rows))
        for group, inverse in zip(self.plan._groups, self.inverses, strict=True):
            entries[group.entries] = inverse[group.at]
        if self.coupling is not None:
            entries += self._through_border()
        return entries

    def _through_border(self) -> FloatArray:
        """Return what the border adds to each entry of the inverse."""
        assert self.coupling is not None
        pattern, border = self.plan.pattern, np.flatnonzero(self.plan.border)
        unit = sparse.eye_array(pattern.n, format="csr")[:, border]
        coupling = sparse.csr_array(unit - self.coupling)
        added = np.empty(len(pattern.rows))
        for begin in range(0, pattern.n, _AT_ONCE):
            here = pattern.entries_of_rows(begin, min(begin + _AT_ONCE, pattern.n))
            rows, columns = pattern.rows[here], pattern.columns[here]
            spread = coupling[begin : begin + _AT_ONCE] @ self.border_inverse
            others, at = np.unique(columns, return_inverse=True)
            for low in range(0, len(others), 8 * _AT_ONCE):
                batch = (at >= low) & (at < low + 8 * _AT_ONCE)
                product = coupling[others[low : low + 8 * _AT_ONCE]] @ spread.T
                added[here][batch] = product[at[batch] - low, rows[batch] - begin]
        return added


def _invert(blocks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Cholesky factors and inverses of many small matrices (g, m, m)."""
    if blocks.shape[1] == 1:
        if not (blocks > 0).all():
            raise np.linalg.LinAlgError
        return np.sqrt(blocks), 1 / blocks
    roots = np.linalg.cholesky(blocks)
    halves = np.linalg.inv(roots)
    return roots, halves.swapaxes(1, 2) @ halves


def _block_matrix(plan: BlockPlan, blocks: list[FloatArray]) -> sparse.csr_array:
    """Return the sparse matrix (n, n) with the given blocks."""
    rows, columns, values = [], [], []
    for group, block in zip(plan._groups, blocks, strict=True):
        m = group.members.shape[1]
        rows.append(np.repeat(group.members, m, axis=1).ravel())
        columns.append(np.tile(group.members, (1, m)).ravel())
        values.append(block.ravel())
    where = (np.concatenate(rows), np.concatenate(columns))
    shape = (plan.pattern.n, plan.pattern.n)
    return sparse.csr_array((np.concatenate(values), where), shape=shape)


@dataclass(frozen=True, eq=False, repr=False)
class BandPlan:
    """A band, after a permutation."""

    pattern: SparsityPattern
    permutation: IntArray
    width: int

    def factorise(self, entries: FloatArray) -> BandFactor | None:
        """See `Plan`."""
        row, column, lower = self.places()
        band = np.zeros((self.width + 1, self.pattern.n))
        band[row, column] = entries[lower]
        try:
            root = linalg.cholesky_banded(band, lower=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
        return BandFactor(self, root)

    def places(self) -> tuple[IntArray, IntArray, BoolArray]:
        """Return row and column in the band of the lower triangle's entries, and their mask."""
        place = np.argsort(self.permutation)
        row, column = place[self.pattern.rows], place[self.pattern.columns]
        lower = row >= column
        return (row - column)[lower], column[lower], lower


@dataclass(frozen=True, eq=False, repr=False)
class BandFactor(Factor):
    """The banded Cholesky factor."""

    plan: BandPlan
    root: FloatArray

    @property
    def log_pivots(self) -> FloatArray:
        """See `Factor`."""
        pivots = np.empty(self.plan.pattern.n)
        pivots[self.plan.permutation] = 2 * np.log(self.root[0])
        return pivots

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
        permutation = self.plan.permutation
        solution = np.empty(len(vector))
        solution[permutation] = linalg.cho_solve_banded((self.root, True), vector[permutation])
        return solution

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
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
    """A pattern without a structure that saves work."""

    pattern: SparsityPattern

    def factorise(self, entries: FloatArray) -> DenseFactor | None:
        """See `Plan`."""
        try:
            return DenseFactor(self, linalg.cholesky(self.pattern.fill(entries), lower=True))
        except (np.linalg.LinAlgError, ValueError):
            return None


@dataclass(frozen=True, eq=False, repr=False)
class DenseFactor(Factor):
    """A dense Cholesky factor."""

    plan: DensePlan
    root: FloatArray

    @property
    def log_pivots(self) -> FloatArray:
        """See `Factor`."""
        return np.asarray(2 * np.log(np.diag(self.root)))

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
        return np.asarray(linalg.cho_solve((self.root, True), vector))

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
        return np.asarray(linalg.solve_triangular(self.root, vector, lower=True, trans="T"))

    def inverse_entries(self) -> FloatArray:
        """See `Factor`."""
        inverse = linalg.cho_solve((self.root, True), np.eye(len(self.root)))
        return np.asarray(inverse[self.plan.pattern.rows, self.plan.pattern.columns])


@dataclass(frozen=True, eq=False, repr=False)
class SparsePlan:
    """A sparse matrix, without pivoting, in an order of least degree."""

    pattern: SparsityPattern

    def factorise(self, entries: FloatArray) -> SparseFactor | None:
        """See `Plan`."""
        if not np.isfinite(entries).all():
            return None
        matrix = sparse.csc_array(self.pattern.to_sparse(entries))
        order, options = "MMD_AT_PLUS_A", {"SymmetricMode": True}
        try:
            factor = splu(matrix, permc_spec=order, diag_pivot_thresh=0.0, options=options)
        except RuntimeError:  # exactly singular
            return None
        positive = np.array_equal(factor.perm_r, factor.perm_c) and (factor.U.diagonal() > 0).all()
        return SparseFactor(self, factor) if positive else None


@dataclass(frozen=True, eq=False, repr=False)
class SparseFactor(Factor):
    """SuperLU's factors, which of a positive definite matrix are ``L D L'``."""

    plan: SparsePlan
    factor: Any  # SciPy's SuperLU

    @property
    def log_pivots(self) -> FloatArray:
        """See `Factor`."""
        pivots = np.log(self.factor.U.diagonal())
        return np.asarray(pivots[self.factor.perm_c])

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
        return np.asarray(self.factor.solve(vector))

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `Factor`."""
        upper = sparse.csr_array(self.factor.L.T)
        scaled = vector / np.sqrt(self.factor.U.diagonal())
        solution = spsolve_triangular(upper, scaled, lower=False, unit_diagonal=True)
        return np.asarray(solution[self.factor.perm_c])

    def inverse_entries(self) -> FloatArray:
        """See `Factor`; by one solution per column, as a dense inverse may not fit in memory."""
        pattern, entries = self.plan.pattern, np.empty(len(self.plan.pattern.rows))
        for begin in range(0, pattern.n, _AT_ONCE):
            end = min(begin + _AT_ONCE, pattern.n)
            units = np.zeros((pattern.n, end - begin))
            units[np.arange(begin, end), np.arange(end - begin)] = 1.0
            columns = self.factor.solve(units)
            here = pattern.entries_of_rows(begin, end)
            entries[here] = columns[pattern.columns[here], pattern.rows[here] - begin]
        return entries
