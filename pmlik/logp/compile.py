"""Compile PyTensor graphs: modes, backends, functions without warnings."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pymc as pm
from pymc.pytensorf import compile as pm_compile
from pytensor.compile.mode import Mode, get_mode
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.graph.traversal import ancestors
from pytensor.scalar import basic as scalar
from pytensor.scalar import math
from pytensor.tensor.blas import BatchedDot, Gemv
from pytensor.tensor.blas.gemm import GemmRelated
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.math import Dot
from scipy import special

from pmlik._runtime import SMALL, ReentrantLock, one_thread
from pmlik._typing import FloatArray
from pmlik.errors import ModelError
from pmlik.logp.straight import StraightLinker
from pmlik.model.graph import building_graphs
from pmlik.model.transform import TermsModel

#: PyMC's names of compiled backends.
BACKENDS = ("numba", "jax", "c")

# A matrix with a side below the first and one above the second is long and thin.
_THICK, _LONG = 64, 10_000

# Of a sum in one operation.
_OPERANDS = 30

#: Errors of operations without value at a point, and of graphs without derivative: the gradient
#: of an operation of the user's may raise anything.
NO_VALUE = (np.linalg.LinAlgError, FloatingPointError, ZeroDivisionError, ValueError)
NO_GRADIENT = (Exception,)


def compile_mode(backend: str | None, *, for_start: bool = False, in_place: bool = False) -> Mode:
    """Return PyTensor's mode for a backend of PyMC; None interprets the graph with NumPy.

    Interpreting takes a fraction of a second to build, compiling tens of seconds.

    ``backend`` {"numba", "jax", "c"}.
    ``for_start``: build fast, for a start that is refined later. By default an interpreted graph
        has all rewrites for numerical stability.
    ``in_place``: operations may overwrite their inputs, for a function that is called very often.
    Raises `ModelError` for an unknown backend.
    """
    if backend is None:
        query = "fast_compile" if for_start else "fast_run"
        left_out = ["fusion", "BlasOpt", "blas_opt_inplace", "c_blas"]
        mode = Mode(StraightLinker(), optimizer=query).excluding(
            *left_out, *([] if in_place else ["inplace"])
        )
        return mode.register(whole_arrays, few_operands)
    if backend not in BACKENDS:  # PyTensor itself would accept other spellings
        raise ModelError(f"backend: got {backend!r}, need one of {', '.join(BACKENDS)}, or None.")
    if backend == "jax" and find_spec("jax") is None:
        raise ModelError("backend: got 'jax', which is not installed. Install it: pip install jax.")
    return get_mode("cvm" if backend == "c" else backend)


def compile_quiet(
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    model: TermsModel,
    mode: Mode,
    check_bounds: bool = True,
) -> Callable[..., Any]:
    """Compile with PyMC's rewrites; a parameter outside its bounds gives ``-inf``, no error."""
    context = model if check_bounds else pm.Model(check_bounds=False)
    with context, warnings.catch_warnings(), building_graphs():
        warnings.simplefilter("ignore")
        function = pm_compile(
            list(inputs), list(outputs), mode=mode, trust_input=True, on_unused_input="ignore"
        )

    lock = ReentrantLock()  # a function keeps its arguments in one place for all threads

    def quiet(*args: FloatArray) -> Any:
        with lock, np.errstate(all="ignore"):
            return function(*args)

    def alone(*args: FloatArray) -> Any:
        with one_thread():
            return quiet(*args)

    return alone if _is_better_alone(function.maker.fgraph.apply_nodes) else quiet


def _is_better_alone(nodes: Iterable[Any]) -> bool:
    """Return True if there is linear algebra, and only of small or of long thin matrices.

    A long thin product waits for memory: one thread is hardly slower if the machine is idle.
    """
    found = False
    for node in nodes:
        op = getattr(node.op, "core_op", node.op)
        solves = type(op).__module__.startswith("pytensor.tensor.linalg")
        if not solves and not isinstance(op, Dot | BatchedDot | Gemv | GemmRelated):
            continue
        sizes = [size for matrix in node.inputs for size in _sides(matrix)]
        if min(sizes, default=0) > (SMALL if solves else _THICK):
            return False
        found |= solves or max(sizes, default=0) >= _LONG
    return found


def _sides(matrix: Any) -> list[int]:
    """Return the known sides of a matrix."""
    if not matrix.type.ndim:
        return []
    return [size for size in matrix.type.shape[-2:] if size is not None]


def plain_arrays(graphs: Sequence[Any]) -> list[Any]:
    """Lower PyMC's labelled arrays to plain ones, as only these have gradients."""
    if not any(hasattr(var.type, "dims") for var in ancestors(graphs)):
        return list(graphs)  # the rewrite exists only once PyTensor's labelled arrays are loaded
    return list(rewrite_graph(list(graphs), include=("lower_xtensor",)))


def softplus(x: FloatArray) -> FloatArray:
    """Return ``log(1 + exp(x))``, as exact as SciPy's ``log_expit`` and four times as fast."""
    small = np.log1p(np.exp(-np.abs(x)))
    return np.asarray(np.maximum(x, 0.0) + small)


def log1mexp(x: FloatArray) -> FloatArray:
    """Return ``log(1 - exp(x))`` for ``x < 0``, by the method of Maechler (2012)."""
    with np.errstate(all="ignore"):
        near, far = np.log(-np.expm1(x)), np.log1p(-np.exp(x))
    return np.where(x < -np.log(2), far, near)


def trigamma(x: FloatArray) -> FloatArray:
    """Return the second derivative of ``log gamma(x)``."""
    return np.asarray(special.polygamma(1, x))


_FUNCTIONS = {math.Softplus: softplus, math.Log1mexp: log1mexp, math.TriGamma: trigamma}


@node_rewriter([Elemwise])  # type: ignore[untyped-decorator]
def _with_function(fgraph: Any, node: Any) -> Any:
    function = _FUNCTIONS.get(type(node.op.scalar_op))
    if function is None or node.op.nfunc_spec or node.inputs[0].type.dtype != "float64":
        return None
    spec = (f"{__name__}.{function.__name__}", 1, 1)
    return Elemwise(node.op.scalar_op, nfunc_spec=spec)(*node.inputs, return_list=True)


@node_rewriter([Elemwise])  # type: ignore[untyped-decorator]
def _nested(fgraph: Any, node: Any) -> Any:
    """Split long sums and products, as NumPy's functions take 32 operands."""
    op, given = node.op.scalar_op, node.inputs
    if len(given) <= _OPERANDS or not isinstance(op, scalar.Add | scalar.Mul):
        return None
    parts = [given[i : i + _OPERANDS] for i in range(0, len(given), _OPERANDS)]
    elementwise = Elemwise(op)
    return [elementwise(*(elementwise(*p) if len(p) > 1 else p[0] for p in parts))]


#: Rewrites, and their positions among PyTensor's: after those that create these operations.
whole_arrays = (dfs_rewriter(_with_function), 48.9)
few_operands = (dfs_rewriter(_nested), 48.95)
