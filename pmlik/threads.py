"""How many threads linear algebra takes.

More than one wait for each other where matrices are small or thin: a triangular solve of eleven
rows takes a hundred times as long with two of them on a busy machine, and no less on an idle one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

__all__ = ["SMALL", "calm", "one_thread"]

#: Up to so many rows a matrix is small.
SMALL = 500

_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra by one thread."""
    if _alone.get():
        yield
        return
    token = _alone.set(True)
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        _alone.reset(token)


@contextmanager
def calm(size: int) -> Iterator[None]:
    """No warnings of numbers, and one thread where no matrix has more rows than ``SMALL``.

    Parameters
    ----------
    size : int
        Rows of the largest matrix.
    """
    with np.errstate(all="ignore"):
        if size > SMALL:
            yield
            return
        with one_thread():
            yield


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
