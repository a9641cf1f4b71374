"""Draw the curves and regions of a likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from pmlik.plots.style import COLOURS, HEIGHTS, add_legend, draw_curves, mark, panels, shorten

if TYPE_CHECKING:
    from pmlik.results.curves import Curves, JointCurves


CURVE_KINDS = {"profile": "profile", "wald": "Wald"}
_REGIONS = (0.5, 0.95)
_MOST_DOTS = 1000


def draw_likelihood(
    curves: Sequence[Curves],
    joint: JointCurves | None,
    figure_kwargs: Mapping[str, Any] | None,
    col_wrap: int,
) -> Figure:
    """Draw one panel per scalar, and a further one for the regions of two scalars."""
    figure, grid = panels(len(curves) + (joint is not None), figure_kwargs, col_wrap)
    for i, (axes, panel) in enumerate(zip(grid, curves, strict=False)):
        _draw_panel(axes, panel, first=i == 0)
    if joint is not None:
        _draw_joint(grid[-1], joint)
    return figure


def _draw_panel(axes: Any, curves: Curves, *, first: bool) -> None:
    draw_curves(axes, curves)
    for name, value in curves.marks.items():
        mark(axes, name, value, HEIGHTS[name])
    axes.set_ylim(-0.27, 1.08)
    axes.set_ylabel("relative to the peak" if first else "")
    if first:
        add_legend(axes.figure, 6)


def _draw_joint(axes: Any, joint: JointCurves) -> None:
    if joint.draws is not None:
        dots = joint.draws[:: max(1, len(joint.draws) // _MOST_DOTS)]
        axes.plot(*dots.T, ".", color=COLOURS["posterior"], ms=3, alpha=0.35, label="posterior")
    levels = [-stats.chi2.ppf(prob, 2) / 2 for prob in sorted(_REGIONS, reverse=True)]
    lowest = 10 * levels[0]
    shown = np.where(np.isfinite(joint.log_likelihood), joint.log_likelihood, lowest)
    lines = axes.contour(
        *joint.grids,
        np.maximum(shown, lowest).T,
        levels=levels,
        colors=COLOURS["likelihood"],
        linestyles=["-", "--"],
        linewidths=1.8,
    )
    names = dict(zip(levels, (f"{100 * p:.0f} %" for p in sorted(_REGIONS)[::-1]), strict=True))
    axes.clabel(lines, fmt=names, fontsize="x-small")
    for name, (x, y) in joint.marks.items():
        mark(axes, name, x, y)
    axes.set(xlabel=shorten(joint.labels[0]), ylabel=shorten(joint.labels[1]))
    axes.set_title("likelihood regions and posterior draws", fontsize="small")
