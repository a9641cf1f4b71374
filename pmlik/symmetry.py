"""Whether two points are the same but for the order of a model's like components."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from pmlik._typing import FloatArray
from pmlik.labels import ParameterSpace

__all__ = ["is_switched"]

_MOST_COMPONENTS = 6


def is_switched(space: ParameterSpace, one: FloatArray, other: FloatArray) -> bool:
    """Whether one permutation along some axis of one length takes one point to the other.

    Parameters
    ----------
    space : ParameterSpace
    one, other : array (k,)
        Natural values.
    """
    lengths = {n for shape in space.shapes for n in shape if 1 < n <= _MOST_COMPONENTS}
    before, after = space.split(one), space.split(other)
    for n in lengths:
        for order in permutations(range(n)):
            if all(
                _same(_permute(before[name], n, list(order)), after[name]) for name in space.names
            ):
                return True
    return False


def _permute(array: FloatArray, n: int, order: list[int]) -> FloatArray:
    for axis in [axis for axis, size in enumerate(array.shape) if size == n]:
        array = np.take(array, order, axis=axis)
    return array


def _same(one: FloatArray, other: FloatArray) -> bool:
    return bool(np.allclose(one, other, rtol=1e-4, atol=1e-6 * (1 + np.abs(one).max(initial=0))))
