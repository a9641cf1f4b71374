"""Draw the curves and regions of a likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from arviz_plots import PlotCollection
from scipy import stats

from pmlik.plots.style import COLOURS, HEIGHTS, mark, panels, shorten

if TYPE_CHECKING:
    from pmlik.results.curves import Curves, JointCurves

__all__ = ["CURVE_KINDS", "draw_likelihood"]

CURVE_KINDS = {"profile": "profile", "wald": "Wald"}
_REGIONS = (0.5, 0.95)
_MOST_DOTS = 1000


def draw_likelihood(
    curves: Sequence[Curves],
    joint: JointCurves | None,
    figure_kwargs: Mapping[str, Any] | None,
    pc_kwargs: Mapping[str, Any],
) -> PlotCollection:
    """Draw one panel per scalar, and a further one for the regions of two scalars.

    Parameters
    ----------
    curves : sequence of Curves
    joint : JointCurves, optional
    figure_kwargs, pc_kwargs : mapping
        As in `plot_likelihood`.
    """
    names = [panel.label for panel in curves]
    if joint is not None:
        names.append(" and ".join(joint.labels))
    collection = panels(names, figure_kwargs, pc_kwargs)
    for i, panel in enumerate(curves):
        _draw_curves(collection.get_target(f"panel_{i}", {}), panel, first=i == 0)
    if joint is not None:
        _draw_joint(collection.get_target(f"panel_{len(curves)}", {}), joint)
    return collection


def _draw_curves(axes: Any, curves: Curves, *, first: bool) -> None:
    grid, relative = curves.grid, np.exp(curves.log_likelihood)
    densities = {"prior": curves.prior, "posterior": curves.posterior}
    drawn = [d for d in (curves.posterior, curves.prior) if d is not None]
    peak = (float(np.nanmax(drawn[0])) if drawn else 1.0) or 1.0
    if curves.posterior is not None:
        axes.fill_between(grid, curves.posterior / peak, color=COLOURS["posterior"], alpha=0.25)
    for name, style in (("prior", "--"), ("posterior", "-")):
        density = densities[name]
        if density is not None:
            axes.plot(grid, density / peak, style, color=COLOURS[name], label=name)
    axes.plot(grid, relative, color=COLOURS["likelihood"], lw=2.2, label="relative likelihood")
    axes.axhline(0, color="0.6", lw=0.8, zorder=0)
    for name, value in curves.marks.items():
        mark(axes, name, value, HEIGHTS[name])
    axes.set(
        xlim=(grid[0], grid[-1]),
        ylim=(-0.27, 1.08),
        xlabel=shorten(curves.label),
        yticks=[0, 0.5, 1],
    )
    axes.set_ylabel("relative to the peak" if first else "")
    if first:
        axes.figure.legend(loc="outside upper center", ncols=6, fontsize="small", frameon=False)


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
