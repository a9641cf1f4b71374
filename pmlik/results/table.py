"""Tables of strings, printed to a terminal or as HTML."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, Template
from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from pmlik._typing import FloatArray
from pmlik.labels import ParameterSpace, printable

# A label keeps at least this width before the columns beside it move to a table of their own.
_LABEL_WIDTH = 24


@dataclass(frozen=True)
class Table:
    """A table of strings with a title above and notes below.

    ``columns``: headings; the first column is the rows' name. ``notes``: lines under the table.
    ``breaks``: columns before which a table that is too wide is best divided.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[tuple[str, str], ...]
    breaks: tuple[int, ...] = ()

    def pick(self, columns: Sequence[str]) -> Table:
        """Return the same with its first column and the named others, in the order named.

        Raises `KeyError` for a column that it does not have.
        """
        known = {name: i for i, name in enumerate(self.columns) if i}
        places = [0, *(known[name] for name in columns)]
        rows = tuple(tuple(row[i] for i in places) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in places), rows=rows, breaks=())


class Shown(ABC):
    """A record that prints as its table, in a terminal and in a notebook."""

    @abstractmethod
    def sheet(self) -> Table:
        """Return the record as a table of strings."""

    def __str__(self) -> str:
        return to_text(self.sheet())

    def _repr_html_(self) -> str:
        return to_html(self.sheet())


def to_text(sheet: Table, width: int | None = None) -> str:
    """Return plain text for a terminal ``width`` columns wide (default: the terminal's, or 80).

    Columns that do not fit are carried over to a second table under the first.
    """
    width = width or max(60, Console().width)
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


def _blocks(sheet: Table, width: int) -> list[list[int]]:
    """Return the columns by table, the first column in each of them."""
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


def _table(sheet: Table, columns: Sequence[int]) -> rich_table.Table:
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


@cache
def load_template(name: str) -> Template:
    """Return a template of this room; what it is filled with appears as text."""
    loader = PackageLoader("pmlik.results")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(name)


def to_html(sheet: Table) -> str:
    """Return an HTML fragment for a notebook; every string in it appears as text."""
    return load_template("sheet.html.jinja").render(sheet=sheet)


#: A variable with more elements is summarised in print.
_HANDFUL = 8


class DisplayRow(NamedTuple):
    """A row of a printed table: its label, the scalars it stands for, and its numbers."""

    label: str
    scalars: tuple[str, ...]
    numbers: Mapping[str, float]


def display_rows(
    space: ParameterSpace, columns: Mapping[str, Mapping[str, float]]
) -> list[DisplayRow]:
    """Return one row per scalar; for a large variable three: min, median and max.

    ``space``: the variables. ``columns``: numbers by column and label.
    """
    rows = []
    for name in space.names:
        labels = space.labels_of(name)
        if len(labels) <= _HANDFUL:
            for label in labels:
                numbers = {key: column.get(label, np.nan) for key, column in columns.items()}
                rows.append(DisplayRow(label, (label,), numbers))
            continue
        for word, function in _SUMMARIES.items():
            numbers = {
                key: _over_finite(function, [column.get(label, np.nan) for label in labels])
                for key, column in columns.items()
            }
            rows.append(DisplayRow(f"{name} ({len(labels)}) {word}", labels, numbers))
    return rows


_SUMMARIES: dict[str, Callable[[FloatArray], Any]] = {
    "min": np.min,
    "median": np.median,
    "max": np.max,
}


def _over_finite(function: Callable[[FloatArray], Any], values: Sequence[float]) -> float:
    known = np.array([value for value in values if not np.isnan(value)])
    return float(function(known)) if known.size else np.nan
