"""Numbers that are constant but for rounding."""

from __future__ import annotations

import numpy as np

from pmlik._typing import BoolArray, FloatArray

# Numbers that differ by this many units in their last place are the same.
_ULPS = 64

# What a sum that cancels leaves is below this, and has this many significant bits.
_REST, _BITS = 1e-6, 12


def is_constant(values: FloatArray) -> BoolArray:
    """Return True for the scalars (...) whose values (s, ...) differ by rounding alone.

    Around zero that is told by the few bits that sums of rounding errors have.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    same = high - low <= _ULPS * np.finfo(float).eps * size
    steps = np.ldexp(values, _BITS - np.frexp(size)[1])
    return np.asarray(same | ((size < _REST) & (steps == np.rint(steps)).all(axis=0)))
