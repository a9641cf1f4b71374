"""The one of the four answers of a model with latents that stands apart, and the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from pmlik._summaries import Circle
from pmlik.results.flags import name_few
from pmlik.results.format import format_number, format_to, unit_of

_METHODS = ("MLE", "MAP", "joint mode", "posterior mean")


class Outlier(NamedTuple):
    """The answer that is furthest from the median of the other three.

    ``method``, ``label``: the column and the row of the table.
    ``distance``: in posterior standard deviations.
    """

    method: str
    label: str
    distance: float


def find_outlier(
    table: pd.DataFrame, circles: Mapping[str, Circle] | None = None
) -> Outlier | None:
    """Return the answer that stands apart the most, over all rows that have four.

    ``table``: `Comparison.table`. ``circles``: the turn of each circular row.
    Returns: None where there is no joint mode, or no row with all four.
    """
    if "joint mode" not in table:
        return None
    found = []
    for label, row in table[[*_METHODS, "sd"]].iterrows():
        values = row[list(_METHODS)].to_numpy(dtype=float)
        if not np.isfinite(values).all() or not row["sd"] > 0:
            continue
        if circles and label in circles:
            values = circles[str(label)].near(values, np.full(len(values), values[0]))
        for i, method in enumerate(_METHODS):
            others = np.median(np.delete(values, i))
            found.append(Outlier(method, str(label), float(abs(values[i] - others) / row["sd"])))
    return max(found, key=lambda outlier: outlier.distance, default=None)


def describe_outlier(outlier: Outlier, table: pd.DataFrame) -> str:
    """Return a sentence about the outlier, with the four numbers and the reason."""
    row = table.loc[outlier.label]
    unit = unit_of(row["SE"], row["sd"])
    others = ", ".join(
        f"{name} {format_to(row[name], unit)}" for name in _METHODS if name != outlier.method
    )
    return (
        f"Of the four answers the {outlier.method} stands apart, most in {outlier.label}: "
        f"{format_to(row[outlier.method], unit)} against {others} "
        f"({format_number(outlier.distance, 2)} posterior sd from the median of these). "
        f"{_REASONS[outlier.method]}"
    )


def describe_unbounded(labels: tuple[str, ...], table: pd.DataFrame) -> str:
    """Return the reason why there is no joint mode, and the other answers."""
    known = [
        f"{label} {format_to(row['MAP'], row['SE'] if row['SE'] > 0 else row['sd'])}"
        for label, row in table.iterrows()
        if np.isfinite(row["MAP"])
    ]
    shown = f" The MAP with the latents integrated out exists: {', '.join(known[:4])}."
    return (
        "Of the four answers the joint mode stands apart: it has no value. The density of "
        f"parameters and latents together grows without bound as {name_few(labels)} goes to the "
        "border, where the latents' own density is a spike that no data hold down. pm.find_MAP "
        f"looks for it, and where it stops is an accident.{shown if known else ''}"
    )


_REASONS = {
    "MLE": "It alone knows no prior.",
    "MAP": "It maximises in the user's units, with the latents integrated out.",
    "joint mode": (
        "It alone maximises over the latents, where the others integrate over them: such a mode is "
        "far from where the mass is, and moves with the way the latents are written."
    ),
    "posterior mean": (
        "It alone is an average over all values, where the others are maxima, which may sit on a "
        "border."
    ),
}
