"""Sparsity pattern of a Hessian, and its entries from few products with vectors.

A Hessian of many latents is mostly zeros: effects of one grouping factor share no entry, a state
shares entries with its neighbours only. Columns that share no row are read from one product
(Curtis, Powell and Reid, 1974, doi:10.1093/imamat/13.1.117). Columns that are almost dense have a
product each, and their rows are known by symmetry (Powell and Toint, 1979,
doi:10.1137/0716078).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from pmlik._typing import BoolArray, FloatArray, IntArray, Product

# Tolerance of products, relative to the largest entry.
_COMPLETE = 1e-10


@dataclass(frozen=True, eq=False, repr=False)
class SparsityPattern:
    """The non-zero entries of a symmetric matrix, and the products that give them.

    ``n``: number of rows.
    ``rows``, ``columns`` (e,): the entries, both triangles, the whole diagonal among them, sorted
        by row.
    ``colours`` (n,): columns of one colour are read from one product.
    ``dense_columns`` (n,): columns with a colour of their own, whose rows are known by symmetry.
    """

    n: int
    rows: IntArray
    columns: IntArray
    colours: IntArray
    dense_columns: BoolArray

    @classmethod
    def of(cls, n: int, rows: IntArray, columns: IntArray) -> SparsityPattern:
        """Return the coloured pattern of the given entries."""
        order = np.lexsort((columns, rows))
        rows, columns = rows[order], columns[order]
        dense_columns = _choose_dense_columns(n, rows, columns)
        return cls(n, rows, columns, _colour(n, rows, columns, dense_columns), dense_columns)

    @property
    def n_colours(self) -> int:
        """Number of products that give the matrix."""
        return int(self.colours.max(initial=-1)) + 1

    @cached_property
    def seeds(self) -> FloatArray:
        """The vectors (n_colours, n) of these products."""
        seeds = np.zeros((self.n_colours, self.n))
        seeds[self.colours, np.arange(self.n)] = 1.0
        return seeds

    @cached_property
    def _places(self) -> tuple[IntArray, IntArray]:
        """The product, and the row of it, that each entry is read from."""
        across = self.dense_columns[self.rows] & ~self.dense_columns[self.columns]
        column = np.where(across, self.rows, self.columns)
        row = np.where(across, self.columns, self.rows)
        return self.colours[column], row

    def read(self, images: FloatArray) -> FloatArray:
        """Return the entries (..., e) from the products (..., n_colours, n) with the seeds."""
        return np.asarray(images[(..., *self._places)])

    def fill(self, entries: FloatArray) -> FloatArray:
        """Return the dense matrices (..., n, n) with the given entries (..., e)."""
        whole = np.zeros((*entries.shape[:-1], self.n, self.n))
        whole[..., self.rows, self.columns] = entries
        return whole

    def is_complete(self, entries: FloatArray, witness: FloatArray, image: FloatArray) -> BoolArray:
        """Return True for matrices (..., n, n) that have no other entries than these (..., e).

        ``entries`` (..., e).
        ``witness`` (n,): a vector without zeros, of about one over the root of the matrix's
            diagonal: rows are compared in its units.
        ``image`` (..., n): the products of the matrices with ``witness``.
        """
        whole = self.fill(entries)
        error = np.abs((whole @ witness - image) * witness).max(axis=-1)
        size = np.abs(entries * (witness[self.rows] * witness[self.columns])).max(axis=-1)
        return np.asarray(error <= _COMPLETE * size)

    def spread(self, weights: FloatArray) -> FloatArray:
        """Return vectors ``w`` (n_colours, n) that weight the entries.

        ``sum_c w_c' H seed_c`` is the sum of the entries times ``weights`` (e,).
        """
        colour, row = self._places
        flat = np.bincount(colour * self.n + row, weights, self.n_colours * self.n)
        return np.asarray(flat.reshape(self.n_colours, self.n))

    @cached_property
    def is_diagonal(self) -> bool:
        """True if all entries are on the diagonal."""
        return len(self.rows) == self.n

    @property
    def is_full(self) -> bool:
        """True if no entry is left out."""
        return len(self.rows) == self.n**2

    @classmethod
    def full(cls, n: int) -> SparsityPattern:
        """Return the pattern with all entries."""
        rows, columns = (side.ravel() for side in np.indices((n, n)))
        return cls.of(n, rows, columns)

    def union(self, other: SparsityPattern) -> SparsityPattern:
        """Return the pattern with the entries of both."""
        keys = [pattern.rows * self.n + pattern.columns for pattern in (self, other)]
        both = np.union1d(*keys)
        return SparsityPattern.of(self.n, both // self.n, both % self.n)

    def entries_of_rows(self, begin: int, end: int) -> slice:
        """Return the slice of the entries of rows ``begin`` to ``end`` (excluded)."""
        return slice(int(self._starts[begin]), int(self._starts[end]))

    @cached_property
    def _starts(self) -> IntArray:
        return np.asarray(np.searchsorted(self.rows, np.arange(self.n + 1)))

    def locate(self, rows: IntArray, columns: IntArray) -> IntArray:
        """Return the indices of the given entries in the pattern, -1 for those outside it."""
        keys, wanted = self.rows * self.n + self.columns, rows * self.n + columns
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, place, -1)

    def to_sparse(self, entries: FloatArray) -> sparse.csr_array:
        """Return the sparse matrix with the given entries."""
        return sparse.csr_array((entries, self.columns, self._starts), shape=(self.n, self.n))


def find_pattern(product: Product, sizes: Sequence[int], seed: int = 0) -> SparsityPattern:
    """Find the non-zero entries of a symmetric matrix from products with it.

    Blocks of columns are bisected. At each level, blocks that are not known to share a row are
    multiplied together by random numbers, and the non-zero rows show which blocks share entries.
    A block-diagonal matrix costs two products per level, a dense one as many as it has columns.

    ``product``: ``v (n,) -> H v (n,)``, with exact zeros where the matrix has them.
    ``sizes``: lengths of the arrays that the rows belong to, in order.
    """
    n, rng = int(np.sum(sizes)), np.random.default_rng(seed)
    starts = np.cumsum([0, *[size for size in sizes if size]])
    blocks = len(starts) - 1
    rows, columns = (side.ravel() for side in np.indices((blocks, blocks)))
    while True:
        block = np.repeat(np.arange(blocks), np.diff(starts))
        pattern = SparsityPattern.of(blocks, rows, columns)
        hit = np.zeros((pattern.n_colours, blocks))
        for colour in range(pattern.n_colours):
            chosen = pattern.colours[block] == colour
            image = product(np.where(chosen, rng.uniform(1, 2, size=n), 0.0))
            hit[colour] = np.bincount(block, (image != 0) | np.isnan(image), blocks)
        kept = (pattern.read(hit) > 0) | (pattern.rows == pattern.columns)
        rows, columns = pattern.rows[kept], pattern.columns[kept]
        rows, columns = _symmetric(blocks, rows, columns)
        if blocks == n:
            return SparsityPattern.of(n, rows, columns)
        starts, rows, columns = _bisect(starts, rows, columns)
        blocks = len(starts) - 1


def _symmetric(n: int, rows: IntArray, columns: IntArray) -> tuple[IntArray, IntArray]:
    keys = np.unique(np.concatenate([rows * n + columns, columns * n + rows]))
    return keys // n, keys % n


def _bisect(
    starts: IntArray, rows: IntArray, columns: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Halve all blocks of more than one row; halves share entries if their blocks did."""
    lengths = np.diff(starts)
    parts = np.where(lengths > 1, 2, 1)
    first = np.concatenate([[0], np.cumsum(parts)[:-1]])
    middles = (starts[:-1] + (lengths + 1) // 2)[lengths > 1]
    pairs = [
        (first[rows[ok]] + i, first[columns[ok]] + j)
        for i in (0, 1)
        for j in (0, 1)
        for ok in [(parts[rows] > i) & (parts[columns] > j)]
    ]
    new_rows, new_columns = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return np.sort(np.concatenate([starts, middles])), new_rows, new_columns


def _choose_dense_columns(n: int, rows: IntArray, columns: IntArray) -> BoolArray:
    """Return the columns with so many entries that a product each saves products in all."""
    degrees = np.bincount(rows, minlength=n)
    dense_columns, best = np.zeros(n, bool), int(degrees.max(initial=0))
    if best <= 4 or best <= 2 * np.median(degrees):
        return dense_columns
    order = np.argsort(-degrees, kind="stable")
    count = 1
    while count < min(best, n):
        trial = np.zeros(n, bool)
        trial[order[:count]] = True
        rest = ~trial[rows] & ~trial[columns]
        cost = count + int(np.bincount(rows[rest], minlength=n).max(initial=0))
        if cost < best:
            dense_columns, best = trial, cost
        count = max(count + 1, int(count * 1.3))
    return dense_columns


def _colour(n: int, rows: IntArray, columns: IntArray, dense_columns: BoolArray) -> IntArray:
    """Return colours such that columns of one colour share no row, except dense ones."""
    colours = np.empty(n, dtype=np.int64)
    free = np.flatnonzero(~dense_columns)
    ordinary = ~dense_columns[rows] & ~dense_columns[columns]
    ones = np.ones(int(ordinary.sum()))
    half = sparse.csr_array((ones, (rows[ordinary], columns[ordinary])), shape=(n, n))
    meet = sparse.csr_array(half.T @ half)[free][:, free]
    colours[free] = _colour_graph(meet)
    colours[dense_columns] = (
        int(colours[free].max(initial=-1)) + 1 + np.arange(int(dense_columns.sum()))
    )
    return colours


def colour_apart(members: sparse.csr_array) -> IntArray:
    """Return colours (n,) such that no row of ``members`` (m, n) has a colour twice."""
    return _colour_graph(sparse.csr_array(members.T @ members))


def _colour_graph(meet: sparse.csr_array) -> IntArray:
    n = meet.shape[0]
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    _, component = connected_components(meet, directed=False)
    sizes = np.bincount(component)
    if (np.diff(meet.indptr) == sizes[component]).all():  # complete components
        order = np.argsort(component, kind="stable")
        rank = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        ranked = np.empty(n, dtype=np.int64)
        ranked[order] = rank
        return ranked
    colours = [-1] * n
    starts, neighbours = meet.indptr.tolist(), meet.indices.tolist()
    for i in range(n):
        taken = {colours[j] for j in neighbours[starts[i] : starts[i + 1]]}
        colour = 0
        while colour in taken:
            colour += 1
        colours[i] = colour
    return np.array(colours, dtype=np.int64)
