"""Type aliases and small tuples shared by all packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: A linear map of a flat vector, such as ``v -> H v``.
Product = Callable[[FloatArray], FloatArray]


class EigenvalueSigns(NamedTuple):
    """Numbers of positive, zero and negative eigenvalues of the observed information."""

    positive: int
    zero: int
    negative: int
