"""The record of hypotheses about a comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pmlik.results.flags import Flag
from pmlik.results.format import format_number, format_to
from pmlik.results.table import Shown, Table


@dataclass(frozen=True, eq=False)
class Hypotheses(Shown):
    """What likelihood and posterior say of hypotheses, a row for each.

    Parameters
    ----------
    table : pandas.DataFrame
        Indexed by hypothesis. ``estimate`` is the MLE of the left minus the right side, natural
        units, ``SE`` its standard error (delta method), ``z`` their ratio, ``p-value`` that of
        the Wald test; ``LR`` and ``p-value LR`` of the likelihood-ratio test, where it was asked
        for. ``posterior mean`` and ``sd`` are of the same difference, ``P(direction)`` is the
        posterior probability of an inequality, and for an equation that of the more probable
        sign; ``P(in ROPE)`` that of the region of practical equivalence.
    rope : tuple of float or None
        Both ends of that region, of the difference.
    flags : tuple of Flag
    notes : tuple of str
        About the reference distributions.
    """

    table: pd.DataFrame
    rope: tuple[float, float] | None = None
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()

    def sheet(self) -> Table:
        """Return the hypotheses as a table of strings."""
        shown = [c for c in self.table.columns if self.table[c].notna().any()]
        rows = []
        for text, row in self.table.iterrows():
            error = np.nanmin([row["SE"], row["sd"], np.inf])
            cells = [
                format_to(row[c], error)
                if c in ("estimate", "posterior mean")
                else format_number(row[c], 3)
                for c in shown
            ]
            rows.append((str(text), *cells))
        notes = [("note", note) for note in self.notes]
        if self.rope is not None:
            notes.insert(0, ("ROPE", f"from {self.rope[0]:g} to {self.rope[1]:g}"))
        notes += [("flag", str(flag)) for flag in self.flags]
        break_at = shown.index("posterior mean") + 1 if "posterior mean" in shown else 0
        return Table(
            "Hypotheses by likelihood and posterior",
            ("hypothesis", *shown),
            tuple(rows),
            tuple(notes),
            breaks=(break_at,) if break_at else (),
        )
