"""The record of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd
import xarray as xr

from pmlik.results.flags import Flag
from pmlik.results.format import format_number, format_to
from pmlik.results.table import Shown, Table


@dataclass(frozen=True, eq=False)
class Predictions(Shown):
    """Predictions by the likelihood and by the posterior, side by side.

    Parameters
    ----------
    kind : {"mean", "response"}
    table : pandas.DataFrame
        One row per scalar. Of a mean: ``MLE``, ``SE`` (delta method), ``delta lower`` and
        ``delta upper``; ``posterior mean``, ``sd``, ``interval lower`` and ``interval upper`` of
        the draws. Of new observations: mean, sd and equal-tailed interval of the ``plug-in``
        predictive, which takes the MLE for the truth, and of the ``posterior`` predictive, with
        ``sd ratio``, the first sd over the second.
    draws : xarray.DataTree
        Of new observations: groups ``plug_in`` and ``posterior_predictive``; else empty.
    ci_prob : float
    notes : tuple of str
    flags : tuple of Flag
    """

    kind: Literal["mean", "response"]
    table: pd.DataFrame
    draws: xr.DataTree
    ci_prob: float
    notes: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()

    def sheet(self) -> Table:
        """Return the predictions as a table of strings."""
        errors = [c for c in self.table.columns if c in ("SE", "sd") or c.endswith(" sd")]
        rows = []
        for label, row in self.table.iterrows():
            unit = row[errors].min()
            cells = [
                format_number(row[c], 3) if c in errors or "ratio" in c else format_to(row[c], unit)
                for c in self.table.columns
            ]
            rows.append((str(label), *cells))
        what = "Expected values" if self.kind == "mean" else "New observations"
        notes = [("note", note) for note in self.notes]
        notes += [("flag", str(flag)) for flag in self.flags]
        title = f"{what}, {100 * self.ci_prob:g}% intervals"
        return Table(title, ("quantity", *map(str, self.table.columns)), tuple(rows), tuple(notes))
