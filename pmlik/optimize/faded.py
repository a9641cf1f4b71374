"""Directions along which an objective has lost its curvature on the way from a start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray
from pmlik.optimize.objective import Objective

# Curvature below this share of that at the start has faded.
_FADED = 1e-3

#: A direction with more than this share in one coordinate moves that alone.
ALIGNED = 0.99

# Products with a large Hessian that tell the lengths of its rows.
_PROBES = 8


def find_faded(before: FloatArray, now: FloatArray, basis: FloatArray) -> FloatArray:
    """Return the directions along which a Hessian has become flat.

    One per row, of unit length in the basis' units.
    """
    hessian = basis.T @ now @ basis
    if not np.isfinite(hessian).all():
        return np.zeros((0, len(basis)))
    # Where some curvature is enormous, rounding in the others would hide behind it.
    size = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1.0))
    values, vectors = linalg.eigh(hessian / np.outer(size, size))
    vectors = vectors[:, np.abs(values) < _FADED] / size[:, None]
    vectors = _align(vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-300))
    directions = np.asarray((basis @ vectors).T)
    if not np.isfinite(before).all() or not len(directions):
        return directions
    # What was flat from the beginning has not faded.
    first, last = (np.einsum("di,ij,dj->d", directions, h, directions) for h in (before, now))
    return np.asarray(directions[np.abs(last) < _FADED * np.abs(first)])


def _align(vectors: FloatArray) -> FloatArray:
    """Return a basis of the same subspace that uses coordinate axes where possible."""
    if vectors.shape[1] < 2:
        return vectors
    orthonormal = linalg.orth(vectors)
    share = np.sqrt((orthonormal**2).sum(axis=1))
    alone = np.flatnonzero(share > ALIGNED)[: orthonormal.shape[1]]
    axes = np.eye(len(share))[:, alone]
    rest = orthonormal - axes @ (axes.T @ orthonormal)
    left = orthonormal.shape[1] - len(alone)
    if left:
        axes = np.column_stack([axes, linalg.svd(rest)[0][:, :left]])
    return np.asarray(axes)


def find_faded_coordinates(
    objective: Objective,
    start: FloatArray,
    z: FloatArray,
    scale: FloatArray,
    held: Sequence[int],
) -> FloatArray:
    """Return the coordinates along which a large Hessian has become flat, as `find_faded` does.

    Of a matrix that is never formed only whole rows are known, from products.
    """
    before, now = row_norms(objective, start), row_norms(objective, z)
    faded = np.isfinite(before) & (now < _FADED * before)
    if objective.period is not None:
        faded &= ~np.isfinite(objective.period)
    faded[list(held)] = False
    chosen = np.flatnonzero(faded)
    directions = np.zeros((len(chosen), len(z)))
    directions[np.arange(len(chosen)), chosen] = scale[chosen]
    return directions


def row_norms(objective: Objective, z: FloatArray) -> FloatArray:
    """Return about the length of each row of the Hessian, from a few products."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(_PROBES, len(z)))
    return np.sqrt(np.mean([objective.product(z, sign) ** 2 for sign in signs], axis=0))
