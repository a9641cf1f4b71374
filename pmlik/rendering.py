"""Tables and lines to terminal text and HTML. Knows nothing of what they are about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import StringIO

from jinja2 import Environment, PackageLoader
from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from pmlik.labels import printable

__all__ = ["Sheet", "count", "format_fixed", "format_number", "format_to", "to_html", "to_text"]

MINUS = "\N{MINUS SIGN}"

# A label keeps at least this width before the columns beside it move to a table of their own.
_LABEL_WIDTH = 24


@dataclass(frozen=True)
class Sheet:
    """A table of strings with a title above and notes below.

    Parameters
    ----------
    title : str
    columns : tuple of str
        Headings; the first column is the rows' name.
    rows : tuple of tuple of str
    notes : tuple of (heading, text)
        Lines under the table.
    breaks : tuple of int
        Columns before which a table that is too wide is best divided.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[tuple[str, str], ...]
    breaks: tuple[int, ...] = ()

    def pick(self, columns: Sequence[str]) -> Sheet:
        """The same with its first column and the named others, in the order named.

        Raises
        ------
        KeyError
            For a column that it does not have.
        """
        places = [0, *(self.columns.index(name) for name in _known(columns, self.columns))]
        rows = tuple(tuple(row[i] for i in places) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in places), rows=rows, breaks=())


def _known(names: Sequence[str], columns: Sequence[str]) -> Sequence[str]:
    unknown = [name for name in names if name not in columns[1:]]
    if unknown:
        raise KeyError(unknown[0])
    return names


def count(n: int, one: str, many: str) -> str:
    """A number of things, in words that fit the number."""
    return f"{n} {one if n == 1 else many}"


def decimals_for(error: float, digits: int = 2) -> int:
    """Decimals that show an error to ``digits`` significant digits, at least 0."""
    if not math.isfinite(error) or error <= 0:
        return 3
    return max(0, digits - 1 - math.floor(math.log10(error)))


def format_number(value: float, digits: int = 4) -> str:
    """A number to ``digits`` significant digits; a dash where there is none."""
    if math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}\N{INFINITY}"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return _real_minus(f"{value:.{digits}g}")
    return _real_minus(f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}")


def format_to(value: float, error: float) -> str:
    """A number to as many decimals as its error has with two significant digits.

    Where that would take more than nine characters, it is shown to five significant digits.
    """
    if not math.isfinite(value):
        return format_number(value)
    text = f"{value:.{decimals_for(error)}f}"
    return _real_minus(text) if len(text) <= 9 else format_number(value, 5)


def _real_minus(text: str) -> str:
    if text.startswith("-") and float(text) == 0:
        text = text[1:]
    return text.replace("-", MINUS)


def format_fixed(value: float, decimals: int) -> str:
    """A number with that many decimals whatever its size."""
    return _real_minus(f"{value:.{decimals}f}") if math.isfinite(value) else format_number(value)


def to_text(sheet: Sheet, width: int | None = None) -> str:
    """Plain text for a terminal ``width`` columns wide (default: the terminal's, or 80).

    Columns that do not fit are carried over to a second table under the first.
    """
    width = width or _terminal_width()
    console = Console(file=StringIO(), width=width, color_system=None, highlight=False)
    console.print(Text(printable(sheet.title)))
    console.print()
    if sheet.rows:
        for columns in _blocks(sheet, width):
            console.print(_table(sheet, columns))
            console.print()
    console.print(_notes(sheet.notes))
    file = console.file
    assert isinstance(file, StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _blocks(sheet: Sheet, width: int) -> list[list[int]]:
    """Columns by table, the first column in each of them."""
    widths = [
        max(len(sheet.columns[i]), *(len(row[i]) for row in sheet.rows)) + 1
        for i in range(len(sheet.columns))
    ]
    label = min(widths[0], max(_LABEL_WIDTH, width - sum(widths[1:])))
    divide = label + sum(widths[1:]) > width
    blocks, used = [[0]], label
    for i, needed in enumerate(widths[1:], start=1):
        if (divide and i in sheet.breaks) or (used + needed > width and len(blocks[-1]) > 1):
            blocks.append([0])
            used = label
        blocks[-1].append(i)
        used += needed
    return blocks


def _table(sheet: Sheet, columns: Sequence[int]) -> rich_table.Table:
    table = rich_table.Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for i in columns:
        table.add_column(
            Text(printable(sheet.columns[i])),
            justify="left" if i == 0 else "right",
            overflow="fold",
            no_wrap=i > 0,
        )
    for row in sheet.rows:
        table.add_row(*(Text(printable(row[i])) for i in columns))
    return table


def _notes(notes: Sequence[tuple[str, str]]) -> rich_table.Table:
    grid = rich_table.Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for heading, text in notes:
        grid.add_row(Text(printable(heading)), Text(printable(text)))
    return grid


def _terminal_width() -> int:
    return max(60, Console().width)


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("pmlik"), autoescape=True)


def to_html(sheet: Sheet) -> str:
    """An HTML fragment for a notebook; every string in it appears as text."""
    return _environment().get_template("sheet.html.jinja").render(sheet=sheet)
