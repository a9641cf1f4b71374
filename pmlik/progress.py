"""One line in the terminal that says what a long step is doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

__all__ = ["Say", "steps"]

Say = Callable[[str], None]


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
