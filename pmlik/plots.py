"""Figures, drawn by Matplotlib in the panels of an ArviZ `PlotCollection`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from arviz_plots import PlotCollection
from scipy import stats

from pmlik.canvas import COLOURS, HEIGHTS, mark, panels, shorten
from pmlik.errors import ValuesError
from pmlik.inference.likelihood import Likelihood
from pmlik.results.background import Curves
from pmlik.results.comparison import Comparison
from pmlik.results.point import PointEstimate, SearchEnd
from pmlik.stats.curves import Joint, compute_curves, compute_joint, select_labels
from pmlik.stats.profile import Profile
from pmlik.stats.profile_curves import ProfileCurve, compute_profiles

__all__ = ["plot_likelihood", "plot_profile", "plot_waterfall"]

_KINDS = {"profile": "profile", "wald": "Wald"}
_REGIONS = (0.5, 0.95)
_MOST_DOTS = 1000


def plot_likelihood(
    likelihood: Likelihood | Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    figure_kwargs: Mapping[str, Any] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Prior, relative profile likelihood and posterior of each parameter, on one axis.

    Each curve is drawn relative to its own scale: the likelihood to its maximum, the two
    densities to the posterior's peak (without a posterior: the prior's). Where two scalars are
    selected, a further panel has the regions of their profile likelihood against posterior draws.

    Parameters
    ----------
    likelihood : Likelihood or Comparison
        A comparison adds MAP and posterior.
    var_names : str or sequence of str, optional
        The parameters; default all.
    coords : mapping, optional
        Labels to choose along the parameters' dims.
    figure_kwargs : mapping, optional
        For the figure, as in ``arviz_plots.PlotCollection.wrap``.
    **pc_kwargs
        Passed to ``arviz_plots.PlotCollection.wrap``, such as ``col_wrap``.

    Returns
    -------
    arviz_plots.PlotCollection
        One panel a scalar.

    Raises
    ------
    ValuesError
        For names that are not parameters.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> lik = pmlik.Likelihood(model, progressbar=False)
    >>> pmlik.plot_likelihood(lik).savefig("p.png")  # doctest: +SKIP
    """
    comparison = likelihood if isinstance(likelihood, Comparison) else None
    if comparison is not None:
        likelihood = Likelihood.of(comparison)
    if not isinstance(likelihood, Likelihood):
        raise ValuesError(
            f"likelihood: got {type(likelihood).__name__}, need a Likelihood or a Comparison."
        )
    labels = select_labels(likelihood, var_names, coords)
    together = " and ".join(labels) if len(labels) == 2 else None
    names = [*labels, together] if together else labels
    collection = panels(names, figure_kwargs, pc_kwargs)
    for i, label in enumerate(labels):
        curves = compute_curves(likelihood, comparison, label)
        _draw_curves(collection.get_target(f"panel_{i}", {}), curves, first=i == 0)
    if together:
        joint = compute_joint(likelihood, comparison, (labels[0], labels[1]))
        _draw_joint(collection.get_target(f"panel_{len(labels)}", {}), joint)
    return collection


def plot_profile(
    profile: Profile | Comparison | PointEstimate,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    ci_prob: float | None = None,
    figure_kwargs: Mapping[str, Any] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Profile log-likelihoods against their quadratic approximations, with the intervals of both.

    The dashed parabola is what a standard error supposes; where the solid curve leaves it, the
    Wald interval is wrong. The grey line is the level that ends an interval.

    Parameters
    ----------
    profile : Profile, Comparison or PointEstimate
        A profile as `profile` returned it; anything else is profiled first. A comparison adds
        the posterior's interval.
    var_names : str or sequence of str, optional
        The variables; default all that `profile` takes.
    coords : mapping, optional
        Labels to choose along the variables' dims.
    ci_prob : float, optional
        Where a profile has to be made: default 0.95, of a comparison that of its intervals.
    figure_kwargs : mapping, optional
        For the figure, as in ``arviz_plots.PlotCollection.wrap``.
    **pc_kwargs
        Passed to ``arviz_plots.PlotCollection.wrap``, such as ``col_wrap``.

    Returns
    -------
    arviz_plots.PlotCollection
        One panel a scalar.

    Raises
    ------
    ValuesError, EstimationError
        As in `profile`.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> pmlik.plot_profile(mle).savefig("p.png")  # doctest: +SKIP
    """
    drawn = compute_profiles(profile, var_names, coords, ci_prob)
    collection = panels([panel.label for panel in drawn], figure_kwargs, pc_kwargs)
    for i, panel in enumerate(drawn):
        _draw_profile(collection.get_target(f"panel_{i}", {}), panel, first=i == 0)
    return collection


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
        name = f"{100 * panel.ci_prob:g}% {_KINDS.get(kind, kind.upper())}"
        low, high = np.clip(ends, *panel.limits)
        axes.plot([low, high], [y, y], style, color=shade, lw=2, label=name)
        for end in ends:
            if panel.limits[0] <= end <= panel.limits[1]:
                axes.plot([end], [y], "|", color=shade, ms=9, mew=2, ls="none")
    depth = -level * (1.4 + 0.2 * len(panel.intervals))
    axes.set(xlim=panel.limits, ylim=(depth, 0.12 * level), xlabel=shorten(panel.label))
    axes.set_ylabel("log-likelihood below its maximum" if first else "")
    if first:
        axes.figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)


def plot_waterfall(
    estimate: PointEstimate,
    *,
    figure_kwargs: Mapping[str, Any] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """How far below the best each start of the search ended, in order.

    A plateau at zero is the estimate found again and again; other plateaus are other local
    maxima; crosses are ends that are no maximum at all.

    Parameters
    ----------
    estimate : PointEstimate
    figure_kwargs : mapping, optional
        For the figure, as in ``arviz_plots.PlotCollection.wrap``.
    **pc_kwargs
        Passed to ``arviz_plots.PlotCollection.wrap``.

    Returns
    -------
    arviz_plots.PlotCollection
    """
    ends = sorted(estimate.certificate.searches, key=lambda end: -end.log_density)
    collection = panels(["waterfall"], figure_kwargs, pc_kwargs)
    axes = collection.get_target("panel_0", {})
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
    axes.figure.legend(loc="outside upper center", ncols=3, fontsize="small", frameon=False)
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


def _draw_joint(axes: Any, joint: Joint) -> None:
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
