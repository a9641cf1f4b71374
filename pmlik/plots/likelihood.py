"""Figures of a likelihood: curves and contours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from arviz_plots import PlotCollection
from scipy import stats

from pmlik.errors import ValuesError
from pmlik.inference.likelihood import Likelihood
from pmlik.plots.style import COLOURS, HEIGHTS, mark, panels, shorten
from pmlik.results.background import Curves
from pmlik.results.comparison import Comparison
from pmlik.stats.curves import Joint, compute_curves, compute_joint, select_labels

__all__ = ["plot_likelihood", "CURVE_KINDS"]

CURVE_KINDS = {"profile": "profile", "wald": "Wald"}
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
