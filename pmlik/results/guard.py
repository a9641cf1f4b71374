"""Parts of a report, each made on its own: what fails is left out, with the reason."""

from __future__ import annotations

from collections.abc import Callable

from pmlik.labels import printable


class Guard:
    """Makes parts, and keeps one line for each that could not be made."""

    def __init__(self) -> None:
        self.left_out: list[str] = []

    def make[T](self, what: str, function: Callable[[], T], otherwise: T) -> T:
        """Return what a function returns; ``otherwise`` if it fails, and say which and why.

        ``what``: the part, for the line.
        """
        try:
            return function()
        except Exception as error:  # noqa: BLE001 - one part must not lose the others
            self.left_out.append(printable(f"{what} ({describe_failure(error)})"))
            return otherwise


def describe_failure(error: Exception) -> str:
    """Return the class and the first line of an exception."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
