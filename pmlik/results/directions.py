"""Directions among the parameters, in words."""

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from pmlik._typing import FloatArray

_NEGLIGIBLE = 1e-3
_MOST_TERMS = 6


def describe_direction(labels: Sequence[str], direction: FloatArray) -> str:
    """Return a linear combination such as ``a - 0.5 b``, with one as its largest coefficient.

    ``direction``: one coefficient per label.
    """
    top = np.max(np.abs(direction), initial=0.0)
    if not top > 0 or not np.isfinite(top):
        return ""
    share = direction / top
    first = next(c for c in share if abs(c) > _NEGLIGIBLE)
    share = share * np.sign(first)
    terms = [(c, label) for c, label in zip(share, labels, strict=True) if abs(c) > _NEGLIGIBLE]
    text = ""
    for i, (c, label) in enumerate(terms[:_MOST_TERMS]):
        sign = ("-" if c < 0 else "") if i == 0 else (" - " if c < 0 else " + ")
        size = "" if abs(abs(c) - 1) < _NEGLIGIBLE else f"{abs(c):.3g} "
        text += f"{sign}{size}{label}"
    return text + (" + ..." if len(terms) > _MOST_TERMS else "")


def simplify(directions: FloatArray) -> FloatArray:
    """Return a basis of the same space with many zeros, one vector per row.

    ``directions`` (r, m).
    """
    if len(directions) < 2:
        return directions
    orthonormal = linalg.orth(directions.T).T
    _, _, pivots = linalg.qr(orthonormal, pivoting=True)
    leading = orthonormal[:, pivots[: len(orthonormal)]]
    return np.asarray(np.linalg.solve(leading, orthonormal))
