"""A comparison as a page, a table for a paper, a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader

from pmlik.errors import FileError, ValuesError
from pmlik.results.comparison import Comparison
from pmlik.results.files import check_replaceable, write_text
from pmlik.results.html import gather_contents
from pmlik.results.markup import to_latex, to_markdown
from pmlik.results.storage import save, to_json
from pmlik.results.table import Table, to_text

__all__ = ["SUFFIXES", "report_html", "report_latex", "report_markdown", "write_report"]


def report_html(comparison: Comparison, *, title: str | None = None) -> str:
    """One page that needs nothing else: no network, no other file.

    Verdict and findings first, then the table, the figures, why they differ, the flags, what is
    known of the optima and the chains, the model, how to get the numbers again, and a glossary.

    Parameters
    ----------
    comparison : Comparison
    title : str, optional
        Of the page.
    """
    environment = Environment(
        loader=PackageLoader("pmlik.results"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("report.html.jinja")
    return template.render(gather_contents(comparison, title))


def report_markdown(
    comparison: Comparison,
    *,
    columns: Sequence[str] | None = None,
    var_names: Sequence[str] | None = None,
) -> str:
    """The table in Markdown, then the findings and the notes.

    Parameters
    ----------
    comparison : Comparison
    columns : sequence of str, optional
        Which, in order: ``MLE``, ``SE``, ``MAP``, ``mean``, ``sd``, ``interval``, ``shift/sd``,
        ``flags`` and the names of references. Default: all that there are.
    var_names : sequence of str, optional
        Variables; default all.

    Raises
    ------
    ValuesError
        For columns and variables that the comparison does not have.
    """
    sheet = select_sheet(comparison, columns, var_names)
    found = [("finding", str(finding)) for finding in comparison.findings()]
    return to_markdown(Table(sheet.title, sheet.columns, sheet.rows, (*found, *sheet.notes)))


def report_latex(
    comparison: Comparison,
    *,
    columns: Sequence[str] | None = None,
    var_names: Sequence[str] | None = None,
    label: str = "",
) -> str:
    """The table for a paper, by ``booktabs``, with the likelihood and the flags below.

    Parameters
    ----------
    comparison, columns, var_names
        As in `report_markdown`.
    label : str
        For a reference to the table.

    Raises
    ------
    ValuesError
        As in `report_markdown`.
    """
    sheet = select_sheet(comparison, columns, var_names)
    notes = tuple(n for n in sheet.notes if n[0] == "likelihood" or n[0].startswith("flag"))
    return to_latex(Table(sheet.title, sheet.columns, sheet.rows, notes), label)


def select_sheet(
    comparison: Comparison, columns: Sequence[str] | None, var_names: Sequence[str] | None
) -> Table:
    """The comparison as strings, those columns and variables of it that were asked for."""
    for name, given in (("columns", columns), ("var_names", var_names)):
        if isinstance(given, str):
            raise ValuesError(f"{name}: got the string {given!r}, need a list of names.")
    if var_names is not None:
        comparison = comparison.select(var_names)
    sheet = comparison.sheet()
    if columns is None:
        return sheet
    interval = comparison.interval_heading
    try:
        return sheet.pick([interval if c == "interval" else c for c in columns])
    except KeyError as error:
        raise ValuesError(
            f"columns: {error} is not in the table, which has {', '.join(sheet.columns[1:])}."
        ) from None


_WRITERS: dict[str, Callable[[Comparison], str]] = {
    ".html": report_html,
    ".htm": report_html,
    ".md": report_markdown,
    ".tex": report_latex,
    ".json": to_json,
    ".txt": lambda comparison: to_text(comparison.sheet(), 100) + "\n",
}

#: What a report's name can end in.
SUFFIXES = (*_WRITERS, ".nc", ".zarr")


def write_report(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write a report in the format that the suffix names.

    The file appears whole or not at all.

    Parameters
    ----------
    comparison : Comparison
    path : path
        Ends in ``.html``, ``.md``, ``.tex``, ``.json``, ``.txt``, ``.nc`` or ``.zarr``.

    Raises
    ------
    FileError
        For another suffix, or a folder that does not exist.
    """
    target = Path(path)
    if target.suffix.lower() in (".nc", ".zarr"):
        return save(comparison, target)
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise FileError(f"{target}: need a name that ends in {', '.join(_WRITERS)}, .nc or .zarr.")
    check_replaceable(target)
    return write_text(target, writer(comparison))
