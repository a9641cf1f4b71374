"""The running process: progress, timing, threads, output of other libraries."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from threading import RLock

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

ProgressCallback = Callable[[str], None]


@dataclass(eq=False)
class Timer:
    """Wall-clock seconds by the name of a step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Record the seconds that the block takes under the name of a step."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = time.perf_counter() - begin


def least_seconds(
    call: Callable[[], object],
    repeats: int = 1,
    *,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the seconds of the fastest of several calls, as other processes only add to it.

    ``repeats``: number of calls that are timed.
    ``warm_up``: call once before, without timing, as the first call may compile.
    ``clock``: ``time.process_time`` to count only the time of this process.
    """
    if warm_up:
        call()
    seconds = []
    for _ in range(repeats):
        begin = clock()
        call()
        seconds.append(clock() - begin)
    return min(seconds)


@contextmanager
def steps(show: bool) -> Iterator[ProgressCallback]:
    """Yield a function that shows the current step; nothing stays on screen afterwards.

    ``show``: show progress. Outside terminals and notebooks nothing is shown in any case.
    """
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    visible = show and (console.is_terminal or console.is_jupyter)
    with Progress(*columns, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task("pmlik", total=None)
        yield lambda text: bar.update(task, description=text)


@contextmanager
def counting(show: bool, text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a progress bar; nothing stays on screen afterwards.

    ``show``: as in `steps`. ``text``: the label of the bar.
    ``total``: the count at which the bar is full.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    visible = show and (console.is_terminal or console.is_jupyter)
    with Progress(*columns, *times, console=console, transient=True, disable=not visible) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)


#: A matrix with at most this many rows is small.
SMALL = 500
_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit linear algebra to one thread."""
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
    """Ignore floating-point warnings, and use one thread if all matrices are small.

    ``size``: rows of the largest matrix.
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


# Arguments of pm.find_MAP since PyMC 6.4. Without them 6.3 returns the same dict, and compiles in
# the default mode.
SINCE_PYMC_6_4 = {"jitter": False, "return_inferencedata": False}


@contextmanager
def quiet_host(logger: str = "pymc") -> Iterator[None]:
    """Suppress warnings and log lines of PyMC about calls that pmlik makes."""
    log = logging.getLogger(logger)
    level = log.level
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


class ReentrantLock:
    """A lock that is pickled as a new one."""

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[ReentrantLock], tuple[()]]:
        return ReentrantLock, ()
