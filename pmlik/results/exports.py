"""What a comparison can be turned into, as methods."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

__all__ = ["Exports"]

PathLike = str | os.PathLike[str]


class Exports:
    """The methods of a comparison that write it down."""

    def save(self, path: PathLike) -> Path:
        """Write everything to netCDF (``.nc``) or Zarr (``.zarr``); `pmlik.load` reads it.

        What was there stays until the new file is complete.

        Parameters
        ----------
        path : path

        Raises
        ------
        FileError
            For another suffix, for anything in that place but a file (or for Zarr, a store that
            pmlik wrote), and where it can't be written.
        """
        from pmlik.results.storage import save

        return save(_itself(self), path)

    def to_datatree(self) -> xr.DataTree:
        """Everything as one tree: groups ``mle``, ``map``, ``posterior``, ``attribution``, ...

        The values in ``mle`` and ``map`` are the estimates; a point is never in ``posterior``,
        which has the draws.
        """
        from pmlik.results.storage import to_datatree

        return to_datatree(_itself(self))

    def to_json(self, path: PathLike | None = None, *, draws: bool = True) -> str:
        """Everything as JSON, full precision.

        NaN is ``null``, infinities are the strings ``"Infinity"`` and ``"-Infinity"``.

        Parameters
        ----------
        path : path, optional
            Written there too.
        draws : bool
            Include the posterior's draws.
        """
        from pmlik.results.storage import to_json

        return _write(to_json(_itself(self), draws=draws), path)

    def to_html(self, path: PathLike | None = None, *, title: str | None = None) -> str:
        """One page that needs no other file and no network.

        Parameters
        ----------
        path : path, optional
            Written there too.
        title : str, optional
        """
        from pmlik.results.reports import report_html

        return _write(report_html(_itself(self), title=title), path)

    def to_markdown(
        self,
        path: PathLike | None = None,
        *,
        columns: Sequence[str] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> str:
        """The table in Markdown, then findings and notes.

        Parameters
        ----------
        path : path, optional
            Written there too.
        columns : sequence of str, optional
            Which, in order: ``MLE``, ``SE``, ``MAP``, ``mean``, ``sd``, ``interval``,
            ``shift/sd``, ``flags`` and the names of references. Default: all.
        var_names : sequence of str, optional
            Variables; default all.

        Raises
        ------
        ValuesError
            For columns and variables that it does not have.
        """
        from pmlik.results.reports import report_markdown

        text = report_markdown(_itself(self), columns=columns, var_names=var_names)
        return _write(text, path)

    def to_latex(
        self,
        path: PathLike | None = None,
        *,
        columns: Sequence[str] | None = None,
        var_names: Sequence[str] | None = None,
        label: str = "",
    ) -> str:
        """The table for a paper, by ``booktabs``, with the likelihood and the flags below.

        Parameters
        ----------
        path, columns, var_names
            As in `to_markdown`.
        label : str
            For a reference to the table.

        Raises
        ------
        ValuesError
            For columns and variables that it does not have.
        """
        from pmlik.results.reports import report_latex

        text = report_latex(_itself(self), columns=columns, var_names=var_names, label=label)
        return _write(text, path)


def _itself(comparison: Any) -> Any:
    """The comparison, which this module does not know by its type."""
    return comparison


def _write(text: str, path: PathLike | None) -> str:
    if path is not None:
        from pmlik.results.files import write_text

        write_text(path, text)
    return text
