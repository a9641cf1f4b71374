"""Sparse Cholesky factors: by blocks, banded, dense, general; with selected inverses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.sparse.linalg import splu

from pmlik._typing import FloatArray, IntArray
from pmlik.logp.sparsity import SparsityPattern

__all__ = ["Factor", "Plan", "make_plan", "BandPlan", "DensePlan", "SparsePlan"]

_MOST_BLOCK = 40
_MOST_BORDER = 1500
_MOST_BAND = 100
_MOST_DENSE = 3000
_ROWS_AT_ONCE = 512


class Factor(Protocol):
    """A factorised symmetric positive definite matrix ``Q``."""

    @property
    def log_determinant(self) -> float: ...  # noqa: D102
    @property
    def log_pivots(self) -> FloatArray:
        """(n,), whose sum over rows that meet no others is the log-determinant of their block."""
        ...

    def solve(self, vector: FloatArray, /) -> FloatArray:
        """``Q^-1 v``."""
        ...

    def root_solve(self, vector: FloatArray, /) -> FloatArray:
        """``R v`` with ``R R' = Q^-1``: from white noise to draws with covariance ``Q^-1``."""
        ...

    def inverse_entries(self) -> FloatArray:
        """The entries (e,) of ``Q^-1`` on the pattern."""
        ...


class Plan(Protocol):
    """How matrices of one pattern are factorised."""

    def factorise(self, entries: FloatArray, /) -> Factor | None:
        """Factorise the matrix with the given entries (e,); None if not positive definite."""
        ...


def make_plan(pattern: SparsityPattern) -> Plan:
    """The cheapest way to factorise matrices of a pattern."""
    graph = pattern.to_sparse(np.ones(len(pattern.rows)))
    border = _find_border(pattern, graph)
    if border is not None:
        return BlockPlan(pattern, border)
    if pattern.n > 2:
        order = np.asarray(reverse_cuthill_mckee(graph, symmetric_mode=True))
        for permutation in (np.arange(pattern.n), order):
            place = np.argsort(permutation)
            width = int(np.abs(place[pattern.rows] - place[pattern.columns]).max())
            if width <= _MOST_BAND and 4 * width < pattern.n:
                return BandPlan(pattern, permutation, width)
    return DensePlan(pattern) if pattern.n <= _MOST_DENSE else SparsePlan(pattern)


def _find_border(pattern: SparsityPattern, graph: sparse.csr_array) -> NDArray[np.bool_] | None:
    """The fewest, best connected rows without which the rest falls into small blocks."""
    degrees = np.bincount(pattern.rows, minlength=pattern.n)
    order, count = np.argsort(-degrees, kind="stable"), 0
    while count <= min(_MOST_BORDER, pattern.n // 4):
        rest = np.ones(pattern.n, bool)
        rest[order[:count]] = False
        _, component = connected_components(graph[rest][:, rest], directed=False)
        if np.bincount(component).max(initial=0) <= _MOST_BLOCK:
            return ~rest
        count = max(count + 1, int(count * 1.3))
    return None


@dataclass(frozen=True, eq=False, repr=False)
class BlockPlan:
    """Small blocks, all independent but for a border of rows that may meet any."""

    pattern: SparsityPattern
    border: NDArray[np.bool_]
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
    """All blocks of one size: their rows (g, m), and where their entries go."""

    members: IntArray
    entries: IntArray
    at: tuple[IntArray, IntArray, IntArray]

    def gather(self, entries: FloatArray) -> FloatArray:
        g, m = self.members.shape
        blocks = np.zeros((g, m, m))
        blocks[self.at] = entries[self.entries]
        return blocks


@dataclass(frozen=True, eq=False, repr=False)
class BlockFactor:
    """Cholesky factors and inverses of the blocks, and of what the border has left."""

    plan: BlockPlan
    roots: list[FloatArray]
    inverses: list[FloatArray]
    reach: sparse.csr_array | None
    border_root: FloatArray
    border_inverse: FloatArray
    log_determinant: float

    @classmethod
    def of(cls, plan: BlockPlan, entries: FloatArray) -> BlockFactor:
        """Factorise; LinAlgError where the matrix is not positive definite."""
        if not np.isfinite(entries).all():
            raise np.linalg.LinAlgError
        roots, inverses, log_determinant = [], [], 0.0
        for group in plan._groups:
            root, inverse = _invert(group.gather(entries))
            roots.append(root)
            inverses.append(inverse)
            log_determinant += 2 * float(np.log(np.diagonal(root, axis1=1, axis2=2)).sum())
        border = np.flatnonzero(plan.border)
        if not len(border):
            nothing = np.zeros((0, 0))
            return cls(plan, roots, inverses, None, nothing, nothing, log_determinant)
        matrix = plan.pattern.to_sparse(entries)
        across = sparse.csr_array(matrix[:, border])
        reach = sparse.csr_array(_block_matrix(plan, inverses) @ across)
        schur = matrix[border][:, border].toarray() - (across.T @ reach).toarray()
        border_root = linalg.cholesky(schur, lower=True)
        log_determinant += 2 * float(np.log(np.diag(border_root)).sum())
        border_inverse = linalg.cho_solve((border_root, True), np.eye(len(border)))
        return cls(plan, roots, inverses, reach, border_root, border_inverse, log_determinant)

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
        if self.reach is not None:
            border = self.plan.border
            left = vector[border] - self.reach.T @ np.where(border, 0.0, vector)
            solution[border] = self.border_inverse @ left
            solution -= self.reach @ solution[border]
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
        if self.reach is not None:
            border = self.plan.border
            drawn[border] = linalg.solve_triangular(self.border_root.T, vector[border])
            drawn -= self.reach @ drawn[border]
        return drawn

    def inverse_entries(self) -> FloatArray:
        """See `Factor`."""
        pattern = self.plan.pattern
        entries = np.zeros(len(pattern.rows))
        for group, inverse in zip(self.plan._groups, self.inverses, strict=True):
            entries[group.entries] = inverse[group.at]
        if self.reach is not None:
            entries += self._through_border()
        return entries

    def _through_border(self) -> FloatArray:
        """What the border adds to each entry of the inverse."""
        assert self.reach is not None
        pattern, border = self.plan.pattern, np.flatnonzero(self.plan.border)
        unit = sparse.csr_array(
            (np.ones(len(border)), (border, np.arange(len(border)))),
            shape=(pattern.n, len(border)),
        )
        reach = sparse.csr_array(unit - self.reach)
        added = np.empty(len(pattern.rows))
        for begin in range(0, pattern.n, _ROWS_AT_ONCE):
            first, last = pattern.row_starts[[begin, min(begin + _ROWS_AT_ONCE, pattern.n)]]
            here = slice(int(first), int(last))
            rows, columns = pattern.rows[here], pattern.columns[here]
            spread = reach[begin : begin + _ROWS_AT_ONCE] @ self.border_inverse
            others, at = np.unique(columns, return_inverse=True)
            for lot in range(0, len(others), 8 * _ROWS_AT_ONCE):
                mine = (at >= lot) & (at < lot + 8 * _ROWS_AT_ONCE)
                product = reach[others[lot : lot + 8 * _ROWS_AT_ONCE]] @ spread.T
                added[here][mine] = product[at[mine] - lot, rows[mine] - begin]
        return added


def _invert(blocks: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cholesky factors and inverses of many small matrices (g, m, m)."""
    if blocks.shape[1] == 1:
        if not (blocks > 0).all():
            raise np.linalg.LinAlgError
        return np.sqrt(blocks), 1 / blocks
    roots = np.linalg.cholesky(blocks)
    halves = np.linalg.inv(roots)
    return roots, halves.swapaxes(1, 2) @ halves


def _block_matrix(plan: BlockPlan, blocks: list[FloatArray]) -> sparse.csr_array:
    rows, columns, values = [], [], []
    for group, block in zip(plan._groups, blocks, strict=True):
        m = group.members.shape[1]
        rows.append(np.repeat(group.members, m, axis=1).ravel())
        columns.append(np.tile(group.members, (1, m)).ravel())
        values.append(block.ravel())
    n = plan.pattern.n
    if not rows:
        return sparse.csr_array((n, n))
    where = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), where), shape=(n, n))


_COLUMNS_AT_ONCE = 512


@dataclass(frozen=True, eq=False, repr=False)
class BandPlan:
    """A band, after a permutation."""

    pattern: SparsityPattern
    permutation: IntArray
    width: int

    def factorise(self, entries: FloatArray) -> BandFactor | None:
        """See `pmlik.marginal.cholesky.Plan`."""
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
        """See `pmlik.marginal.cholesky.Factor`."""
        pivots = np.empty(self.plan.pattern.n)
        pivots[self.plan.permutation] = 2 * np.log(self.root[0])
        return pivots

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.marginal.cholesky.Factor`."""
        permutation = self.plan.permutation
        solution = np.empty(len(vector))
        solution[permutation] = linalg.cho_solve_banded((self.root, True), vector[permutation])
        return solution

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.marginal.cholesky.Factor`."""
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
        """See `pmlik.marginal.cholesky.Plan`."""
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
        """See `pmlik.marginal.cholesky.Factor`."""
        return np.asarray(2 * np.log(np.diag(self.root)))

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.marginal.cholesky.Factor`."""
        return np.asarray(linalg.cho_solve((self.root, True), vector))

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.marginal.cholesky.Factor`."""
        return np.asarray(linalg.solve_triangular(self.root, vector, lower=True, trans="T"))

    def inverse_entries(self) -> FloatArray:
        """See `pmlik.marginal.cholesky.Factor`."""
        inverse = linalg.cho_solve((self.root, True), np.eye(len(self.root)))
        return np.asarray(inverse[self.plan.pattern.rows, self.plan.pattern.columns])


@dataclass(frozen=True, eq=False, repr=False)
class SparsePlan:
    """Sparse, without pivoting, in an order of least degree."""

    pattern: SparsityPattern

    def factorise(self, entries: FloatArray) -> SparseFactor | None:
        """See `pmlik.marginal.cholesky.Plan`."""
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
        """See `pmlik.marginal.cholesky.Factor`."""
        pivots = np.log(self.factor.U.diagonal())  # type: ignore[attr-defined]
        return np.asarray(pivots[self.factor.perm_c])  # type: ignore[attr-defined]

    def solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.marginal.cholesky.Factor`."""
        return np.asarray(self.factor.solve(vector))  # type: ignore[attr-defined]

    def root_solve(self, vector: FloatArray) -> FloatArray:
        """See `pmlik.marginal.cholesky.Factor`."""
        lower = self.factor.L  # type: ignore[attr-defined]
        scaled = vector / np.sqrt(self.factor.U.diagonal())  # type: ignore[attr-defined]
        solution = sparse.linalg.spsolve_triangular(
            sparse.csr_array(lower.T), scaled, lower=False, unit_diagonal=True
        )
        return np.asarray(solution[self.factor.perm_c])  # type: ignore[attr-defined]

    def inverse_entries(self) -> FloatArray:
        """One solution a column: no dense matrix is held."""
        pattern, entries = self.plan.pattern, np.empty(len(self.plan.pattern.rows))
        for begin in range(0, pattern.n, _COLUMNS_AT_ONCE):
            end = min(begin + _COLUMNS_AT_ONCE, pattern.n)
            units = np.zeros((pattern.n, end - begin))
            units[np.arange(begin, end), np.arange(end - begin)] = 1.0
            columns = self.factor.solve(units)  # type: ignore[attr-defined]
            first, last = pattern.row_starts[[begin, end]]
            here = slice(int(first), int(last))
            entries[here] = columns[pattern.columns[here], pattern.rows[here] - begin]
        return entries
