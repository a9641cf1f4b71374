"""What a long step is doing, in one line of the terminal, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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

__all__ = ["Clock", "Say", "counting", "steps"]

Say = Callable[[str], None]


@dataclass(eq=False)
class Clock:
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
def steps(show: bool) -> Iterator[Say]:
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
