"""Panels, colours and marks that all figures share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pmlik.errors import ValuesError
from pmlik.labels import printable

if TYPE_CHECKING:
    from pmlik._summaries import Circle
    from pmlik.results.curves import Curves


#: Okabe and Ito's palette, which all kinds of colour vision can tell apart.
COLOURS = {
    "prior": "#E69F00",
    "likelihood": "#0072B2",
    "posterior": "#009E73",
    "MLE": "#0072B2",
    "MAP": "#D55E00",
    "mean": "#009E73",
    "reference": "#CC79A7",
}

#: Colours of the steps from MLE to posterior mean, in their order.
STEP_COLOURS = {
    "prior": "#E69F00",
    "scale": "#56B4E9",
    "skewness": "#CC79A7",
    "tail": "#009E73",
}

#: Marks of the estimates.
MARKERS = {"MLE": "^", "MAP": "D", "mean": "o", "reference": "*"}

#: Heights of the marks under the curves, so that none hides another.
HEIGHTS = {"MLE": -0.07, "MAP": -0.14, "mean": -0.21}

#: Names in a legend.
NAMES = {"MLE": "MLE", "MAP": "MAP", "mean": "posterior mean"}


def panels(
    n: int, figure_kwargs: Mapping[str, Any] | None, col_wrap: int = 3
) -> tuple[Figure, list[Any]]:
    """Return a figure and its ``n`` panels, row by row."""
    if n == 0:
        raise ValuesError("var_names, coords: they select nothing to draw.")
    if not isinstance(col_wrap, int | np.integer) or col_wrap < 1:
        raise ValuesError(f"col_wrap: got {col_wrap!r}, need a whole number from 1.")
    columns = min(n, col_wrap)
    rows = -(-n // columns)
    style = {"figsize": (4.2 * columns, 3.4 * rows), "layout": "constrained"}
    figure, grid = plt.subplots(rows, columns, squeeze=False, **{**style, **(figure_kwargs or {})})
    for unused in grid.flat[n:]:
        unused.set_axis_off()
    return figure, list(grid.flat[:n])


def add_legend(figure: Any, columns: int, handles: Mapping[str, Any] | None = None) -> None:
    """Put a legend above all panels, by default of everything that has a label."""
    style = {"loc": "outside upper center", "fontsize": "small", "frameon": False}
    if handles is not None:
        if not handles:  # which Matplotlib can't unpack
            return
        style |= {"handles": list(handles.values()), "labels": list(handles)}
    figure.legend(ncols=columns, **style)


def draw_curves(axes: Any, curves: Curves) -> None:
    """Draw prior, posterior and relative likelihood of one scalar, each on its own scale."""
    grid = curves.grid
    known = [d for d in (curves.posterior, curves.prior) if d is not None]
    peak = (float(np.nanmax(known[0])) if known else 1.0) or 1.0
    if curves.posterior is not None:
        axes.fill_between(grid, curves.posterior / peak, color=COLOURS["posterior"], alpha=0.25)
    for name, style, density in (
        ("prior", "--", curves.prior),
        ("posterior", "-", curves.posterior),
    ):
        if density is not None:
            axes.plot(grid, density / peak, style, color=COLOURS[name], label=name)
    if np.isfinite(curves.log_likelihood).any():
        relative = np.exp(curves.log_likelihood)
        axes.plot(grid, relative, color=COLOURS["likelihood"], lw=2.2, label="relative likelihood")
    axes.axhline(0, color="0.6", lw=0.8, zorder=0)
    axes.set(xlim=(grid[0], grid[-1]), xlabel=shorten(curves.label), yticks=[0, 0.5, 1])


def turn_ticks(axes: Any, circle: Circle | None) -> None:
    """Mark the axis of a circular quantity at round values within its turn."""
    if circle is None:
        return
    low, high = axes.get_xlim()
    around = axes.xaxis.get_major_locator().tick_values(low, high)
    step = float(around[1] - around[0])
    values = step * np.arange(np.ceil(circle.lower / step), np.floor(circle.upper / step) + 1)
    ticks: dict[float, float] = {}
    for at in np.sort(np.concatenate([values + k * circle.period for k in (-1, 0, 1)])):
        if low <= at <= high and at - max(ticks, default=-np.inf) > 0.9 * step:
            ticks[float(at)] = circle.wrap(float(at))
    axes.set_xticks(
        list(ticks), [f"{x + 0.0:.4g}".replace("-", "\N{MINUS SIGN}") for x in ticks.values()]
    )


def mark(axes: Any, kind: str, x: float, y: float, name: str | None = None) -> None:
    """Draw one estimate as a mark, with a name for the legend."""
    axes.plot(
        [x],
        [y],
        MARKERS[kind],
        color=COLOURS[kind],
        mec="white",
        ms=13 if kind == "reference" else 8,
        zorder=5,
        clip_on=False,
        ls="none",
        label=NAMES.get(kind) if name is None else name,
    )


def shorten(text: str, most: int = 32) -> str:
    """Return text that fits on an axis; a dollar sign does not begin mathematics."""
    text = printable(text)
    short = text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")
