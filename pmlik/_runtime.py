"""The process: progress, timing, threads, and what is printed."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from threadpoolctl import ThreadpoolController

__all__ = [
    "Timer",
    "ProgressCallback",
    "counting",
    "steps",
    "SMALL",
    "quiet_single_thread",
    "one_thread",
    "quiet_host",
    "SINCE_PYMC_6_4",
]

ProgressCallback = Callable[[str], None]


@dataclass(eq=False)
class Timer:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the block as the named step."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = time.perf_counter() - begin


@contextmanager
def steps(show: bool) -> Iterator[ProgressCallback]:
    """Yield a function that shows the current step; nothing stays on screen afterwards.

    Parameters
    ----------
    show : bool
        Show anything at all. Outside terminals and notebooks nothing is shown either.
    """
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    visible = show and (console.is_terminal or console.is_jupyter)
    with Progress(*columns, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task("pmlik", total=None)
        yield lambda text: bar.update(task, description=text)


@contextmanager
def counting(show: bool, text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves a bar on; nothing stays on screen afterwards.

    Parameters
    ----------
    show : bool
        As in `steps`.
    text : str
        What is being done.
    total : int
        Where the bar ends.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    visible = show and (console.is_terminal or console.is_jupyter)
    with Progress(*columns, *times, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)


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
def quiet_single_thread(size: int) -> Iterator[None]:
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


# PyMC 6.4 has these; 6.3 has neither, returns the same dict, and compiles in the default mode.
SINCE_PYMC_6_4 = {"jitter": False, "return_inferencedata": False}


@contextmanager
def quiet_host(logger: str = "pymc") -> Iterator[None]:
    """Keep PyMC's warnings and log lines about pmlik's own call from the user."""
    log = logging.getLogger(logger)
    level = log.level
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
