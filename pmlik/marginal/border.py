"""The rows of a sparse symmetric matrix without which the rest falls into small blocks."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from pmlik._typing import BoolArray
from pmlik.logp.sparsity import SparsityPattern

_MAX_BLOCK = 40
_MAX_BORDER, _MAX_COVER = 1500, 2000


def find_border(pattern: SparsityPattern, graph: sparse.csr_array) -> BoolArray | None:
    """Return few rows of high degree without which the rest falls into small blocks."""
    degrees = np.bincount(pattern.rows, minlength=pattern.n)
    order, count = np.argsort(-degrees, kind="stable"), 0
    while count <= min(_MAX_BORDER, pattern.n // 4):
        rest = np.ones(pattern.n, bool)
        rest[order[:count]] = False
        _, component = connected_components(graph[rest][:, rest], directed=False)
        if np.bincount(component).max(initial=0) <= _MAX_BLOCK:
            return ~rest
        count = max(count + 1, int(count * 1.3))
    return None


def find_cover(pattern: SparsityPattern) -> BoolArray | None:
    """Return a border without which no two rows share an entry, as of crossed factors.

    Rows of low degree come first into the rest; a border of one factor is left.
    """
    degrees = np.bincount(pattern.rows, minlength=pattern.n)
    border, seen = np.zeros(pattern.n, bool), np.zeros(pattern.n, bool)
    for i in np.argsort(degrees, kind="stable").tolist():
        seen[i] = True
        if not border[i]:
            beside = pattern.columns[pattern.entries_of_rows(i, i + 1)]
            border[beside[~seen[beside]]] = True
    return border if border.sum() <= _MAX_COVER else None
