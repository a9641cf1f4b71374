"""Draw profile likelihoods, and the ends of the searches for an optimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pmlik.errors import ValuesError
from pmlik.plots.likelihood import CURVE_KINDS
from pmlik.plots.style import COLOURS, add_legend, panels, shorten, turn_ticks

if TYPE_CHECKING:
    from pmlik.results.curves import ProfileCurve
    from pmlik.results.point import PointEstimate, SearchEnd


def draw_profiles(
    curves: Sequence[ProfileCurve],
    figure_kwargs: Mapping[str, Any] | None,
    col_wrap: int,
) -> Figure:
    """Draw one panel per profile: the curve, its parabola, the ends of the intervals."""
    figure, grid = panels(len(curves), figure_kwargs, col_wrap)
    for i, (axes, panel) in enumerate(zip(grid, curves, strict=True)):
        _draw_profile(axes, panel, first=i == 0)
    return figure


def _draw_profile(axes: Any, panel: ProfileCurve, *, first: bool) -> None:
    level, colour = panel.level, COLOURS["likelihood"]
    inside = panel.log_likelihood >= -level
    axes.fill_between(
        panel.grid, panel.log_likelihood, -level, where=inside, color=colour, alpha=0.12, lw=0
    )
    if np.isfinite(panel.quadratic).any():
        name = "quadratic approximation"
        axes.plot(panel.grid, panel.quadratic, "--", color=COLOURS["MAP"], label=name)
    axes.plot(panel.grid, panel.log_likelihood, color=colour, lw=2.2, label="profile likelihood")
    axes.axhline(-level, color="0.5", lw=0.8, zorder=0)
    axes.plot([panel.estimate], [0], "^", color=colour, mec="white", ms=8, zorder=5, ls="none")
    colours = {"profile": colour, "wald": COLOURS["MAP"]}
    for i, (kind, ends) in enumerate(panel.intervals.items(), start=1):
        y = -level * (1.25 + 0.2 * i)
        shade = colours.get(kind, COLOURS["posterior"])
        style = "--" if kind == "wald" else "-"
        if np.isnan(ends).all():
            continue
        name = f"{100 * panel.ci_prob:g}% {CURVE_KINDS.get(kind, kind.upper())}"
        low, high = np.clip(ends, *panel.limits)
        axes.plot([low, high], [y, y], style, color=shade, lw=2, label=name)
        for end in ends:
            if panel.limits[0] <= end <= panel.limits[1]:
                axes.plot([end], [y], "|", color=shade, ms=9, mew=2, ls="none")
    depth = -level * (1.4 + 0.2 * len(panel.intervals))
    axes.set(xlim=panel.limits, ylim=(depth, 0.12 * level), xlabel=shorten(panel.label))
    turn_ticks(axes, panel.circle)
    axes.set_ylabel("log-likelihood below its maximum" if first else "")
    if first:
        add_legend(axes.figure, 3)


def plot_waterfall(
    estimate: PointEstimate,
    *,
    figure_kwargs: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw how far below the best each start of the search ended, in order.

    A plateau at zero is the estimate found again and again; other plateaus are other local
    maxima; crosses are ends that are no maximum at all.

    Parameters
    ----------
    estimate : PointEstimate
    figure_kwargs : mapping, optional
        For ``matplotlib.pyplot.subplots``, such as ``figsize``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not hasattr(estimate, "certificate"):
        raise ValuesError(f"estimate: got {type(estimate).__name__}, need a PointEstimate.")
    ends = sorted(estimate.certificate.searches, key=lambda end: -end.log_density)
    figure, [axes] = panels(1, figure_kwargs)
    best = max((end.log_density for end in ends if end.certified), default=np.nan)
    known = [end.log_density for end in ends if np.isfinite(end.log_density)]
    top = best if np.isfinite(best) else max(known, default=0.0)
    kinds: dict[str, tuple[str, str, Callable[[SearchEnd], bool]]] = {
        "estimate": ("o", COLOURS["likelihood"], lambda end: end.optimum == 0),
        "other maximum": ("s", COLOURS["prior"], lambda end: end.optimum > 0),
        "no maximum": ("x", COLOURS["MAP"], lambda end: end.optimum < 0),
    }
    for name, (marker, colour, chosen) in kinds.items():
        at = [(i, top - end.log_density) for i, end in enumerate(ends, start=1) if chosen(end)]
        if at:
            axes.plot(*zip(*at, strict=True), marker, color=colour, label=name, ls="none")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.axhline(0, color="0.6", lw=0.8, zorder=0)
    axes.set(xlabel="start, best first", ylabel="log-density below the best")
    axes.set_ylim(bottom=min(-0.02, axes.get_ylim()[0]), top=max(0.2, axes.get_ylim()[1]))
    axes.invert_yaxis()
    axes.xaxis.get_major_locator().set_params(integer=True)
    add_legend(figure, 3)
    return figure
