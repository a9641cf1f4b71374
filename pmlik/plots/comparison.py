"""Figures of a comparison: all estimates and intervals of each scalar, and why they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from pmlik.errors import ValuesError
from pmlik.labels import bounds_of, labelled, select_variables
from pmlik.plots.style import (
    COLOURS,
    MARKERS,
    NAMES,
    STEP_COLOURS,
    add_legend,
    draw_curves,
    mark,
    panels,
    shorten,
    turn_ticks,
)

if TYPE_CHECKING:
    from pmlik._summaries import Circle
    from pmlik.results.comparison import Comparison
    from pmlik.results.curves import Curves


_MOST_ROWS = 40
_ROW = 0.34


def choose_labels(
    comparison: Comparison,
    var_names: Sequence[str] | str | None,
    coords: Mapping[str, Any] | None,
    most: int,
) -> list[str]:
    """Return the labels that ``var_names`` and ``coords`` select, in the table's order.

    Without either, the ``most`` that matter most.

    Raises `ValuesError` for names, labels and coords that the comparison does not have, and for
        anything else than a comparison.
    """
    if not hasattr(comparison, "leading_labels"):
        raise ValuesError(f"comparison: got {type(comparison).__name__}, need a Comparison.")
    if var_names is None and coords is None:
        chosen = set(comparison.leading_labels(most))
        return [str(label) for label in comparison.table.index if label in chosen]
    known = [str(label) for label in comparison.table.index]
    names = [var_names] if isinstance(var_names, str) else var_names
    dataset, where = comparison.dataset.isel(method=0, statistic=0, drop=True), "in the comparison"
    here = labelled(select_variables(dataset, None, coords, where=where))
    within = [label for label in known if label in here]
    if names is None:
        return within
    variables = [name for name in names if name not in known or name in dataset]
    chosen = {*names, *labelled(select_variables(dataset, variables, where=where))}
    return [label for label in within if label in chosen]


def plot_compare(
    comparison: Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    col_wrap: int | None = None,
    figure_kwargs: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw one panel per scalar: prior, relative likelihood, posterior, estimates, intervals.

    Each curve is relative to its own scale, as in `plot_likelihood`. Below the axis each
    method has a row: its estimate, and the interval around it (MLE: by Wald, and by profile
    and bootstrap where they were computed; MAP: none; posterior: of the draws).

    Parameters
    ----------
    comparison : Comparison
        The curves of the scalars that matter most are kept with it; others are computed, which
        may take seconds. One that was loaded has those that were saved with it.
    var_names : str or sequence of str, optional
        Variables, derived ones too, or labels of scalars. Default: the 12 that matter most.
    coords : mapping, optional
        Labels to choose along the variables' dims.
    col_wrap : int, optional
        Panels in a row; default 3, or 2 where that leaves no gap.
    figure_kwargs : mapping, optional
        For ``matplotlib.pyplot.subplots``, such as ``figsize``.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per scalar.

    Raises
    ------
    ValuesError
        For names that the comparison does not have.
    """
    labels = choose_labels(comparison, var_names, coords, 12)
    figure, grid = panels(
        len(labels),
        figure_kwargs,
        (2 if len(labels) in (2, 4) else 3) if col_wrap is None else col_wrap,
    )
    rows = list_rows(comparison)
    for i, (axes, label) in enumerate(zip(grid, labels, strict=True)):
        _draw_panel(axes, comparison.curves(label), rows, label, first=i == 0)
        turn_ticks(axes, comparison.circles.get(label))
    handles = _legend(*grid)
    add_legend(figure, min(len(handles), 3 * min(len(labels), 3)), handles)
    return figure


def list_rows(comparison: Comparison) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the rows of a panel: a name, the kind of mark, and values by label.

    Each value is ``(estimate, lower, upper)``, NaN where there is none.
    """
    table, prob = comparison.table, _prob(comparison)
    z = stats.norm.ppf((1 + prob) / 2)
    rows: list[tuple[str, str, dict[str, Any]]] = []

    def add(name: str, kind: str, centre: Any, lower: Any, upper: Any) -> None:
        values = zip(centre, lower, upper, strict=True)
        at = dict(zip(table.index, (tuple(map(float, v)) for v in values), strict=True))
        at |= {n: _unwound(circle, near[n], *at[n]) for n, circle in comparison.circles.items()}
        if any(np.isfinite(v).any() for v in at.values()):
            rows.append((name, kind, at))

    near = table["MLE"].where(np.isfinite(table["MLE"]), table["posterior mean"])
    nothing = np.full(len(table), np.nan)
    mle, error = table["MLE"], table["SE"]
    wald = f"MLE, {100 * prob:g}% Wald" if np.isfinite(error).any() else "MLE"
    add(wald, "MLE", mle, mle - z * error, mle + z * error)
    for kind, interval in comparison.intervals.items():
        if kind not in ("wald", "eti", "hdi"):
            at = bounds_of(interval)
            ends = [at.get(label, (np.nan, np.nan)) for label in table.index]
            own = 100 * float(interval.attrs.get("ci_prob", prob))
            add(f"{own:g}% {kind}", "interval", nothing, *np.transpose(ends))
    add("MAP", "MAP", table["MAP"], nothing, nothing)
    if comparison.posterior is not None:
        kind = str(comparison.posterior.interval.attrs["ci_kind"]).upper()
        low, high = table["interval lower"], table["interval upper"]
        add(f"posterior mean, {100 * prob:g}% {kind}", "mean", table["posterior mean"], low, high)
    for name in comparison.references:
        add(name, "reference", table[name], nothing, nothing)
    return rows


def _unwound(
    circle: Circle, near: float, centre: float, lower: float, upper: float
) -> tuple[float, float, float]:
    """Return a circular estimate and the ends of its interval on the line, near a value."""
    middle = circle.near(centre if np.isfinite(centre) else near, near)
    return (middle if np.isfinite(centre) else np.nan, *circle.unwrap(lower, upper, middle))


def _prob(comparison: Comparison) -> float:
    if comparison.posterior is None:
        return 0.95
    return float(comparison.posterior.interval.attrs["ci_prob"])


_STEP = 0.085


def _draw_panel(axes: Any, curves: Curves, rows: Any, label: str, *, first: bool) -> None:
    draw_curves(axes, curves)
    limits = (curves.grid[0], curves.grid[-1])
    for i, (name, kind, at) in enumerate(rows, start=1):
        _draw_row(axes, kind, name, at[label], -_STEP * i, limits)
    bottom = -_STEP * (len(rows) + 0.8)
    axes.set_ylim(bottom, 1.08)
    axes.set_ylabel("relative to the peak" if first else "")


def _draw_row(
    axes: Any, kind: str, name: str, at: Any, y: float, limits: tuple[float, float]
) -> None:
    """Draw an estimate and its interval; an arrow shows what lies outside the panel."""
    (centre, lower, upper), (low, high) = at, limits
    colour = COLOURS["MLE" if kind == "interval" else kind]
    outside = [] if low <= centre <= high or not np.isfinite(centre) else [centre]
    if upper >= low and lower <= high:  # neither is NaN
        style = ":" if kind == "interval" else "-"
        outside = [end for end in (lower, upper) if not low <= end <= high] + outside
        axes.plot(
            [max(lower, low), min(upper, high)],
            [y, y],
            style,
            color=colour,
            lw=2.2,
            solid_capstyle="butt",
            label=name if kind == "interval" else None,
        )
    for value in outside:
        edge, arrow = (low, "<") if value < low else (high, ">")
        axes.plot([edge], [y], arrow, color=colour, ms=6, clip_on=False)
    if low <= centre <= high:
        mark(axes, kind, centre, y, name)


def _legend(*targets: Any) -> dict[str, Any]:
    """Return each label once: the curves, then the others in the order drawn."""
    handles: dict[str, Any] = {}
    for axes in targets:
        for line, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, line)
    curves = [name for name in ("relative likelihood", "prior", "posterior") if name in handles]
    return {name: handles[name] for name in dict.fromkeys([*curves, *handles])}


def plot_forest(
    comparison: Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    figure_kwargs: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw estimates and intervals side by side: one row per scalar, one panel per variable.

    Each variable has its own axis, since units differ.

    Parameters
    ----------
    comparison : Comparison
    var_names, coords, figure_kwargs
        As in `plot_compare`. Default: the 40 scalars that matter most.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per variable.
    """
    labels = choose_labels(comparison, var_names, coords, _MOST_ROWS)
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(_variable(comparison, label), []).append(label)
    rows = list_rows(comparison)
    heights = [len(group) * max(0.34, 0.13 * len(rows)) + 0.5 for group in groups.values()]
    style = {"figsize": (7.0, sum(heights) + 0.6), "height_ratios": heights}
    figure, grid = panels(len(groups), {**style, **(figure_kwargs or {})}, col_wrap=1)
    for axes, group in zip(grid, groups.values(), strict=True):
        limits = _finite_range([at[label] for label in group for _, _, at in rows])
        for j, label in enumerate(group):
            for k, (row_name, kind, at) in enumerate(rows):
                y = j + 0.7 * ((k + 0.5) / len(rows) - 0.5)
                _draw_row(axes, kind, row_name, at[label], y, limits)
        axes.set_xlim(limits)
        turn_ticks(axes, comparison.circles.get(group[0]))
        axes.set_yticks(range(len(group)), [shorten(label) for label in group])
        axes.set(ylim=(len(group) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
    handles = _legend(*grid)
    add_legend(figure, min(len(handles), 3), handles)
    return figure


def _finite_range(values: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Return the range of the finite estimates and ends, with a margin."""
    finite = np.array(values)[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    with np.errstate(over="ignore"):
        margin = 0.04 * (high - low)
    if not 0 < margin < np.inf:
        margin = 0.04 * abs(low) or 1.0
    return float(low - margin), float(high + margin)


def _variable(comparison: Comparison, label: str) -> str:
    names = [str(name) for name in comparison.dataset.data_vars]
    owners = [name for name in names if label == name or label.startswith(f"{name}[")]
    return max(owners, key=len)


def plot_attribution(
    comparison: Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    figure_kwargs: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw the steps from MLE to posterior mean, one row per scalar.

    Parameters
    ----------
    comparison : Comparison
    var_names, coords, figure_kwargs
        As in `plot_compare`. Default: the 40 scalars that matter most.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValuesError
        For a comparison without a posterior.
    """
    chosen = choose_labels(comparison, var_names, coords, _MOST_ROWS)
    if comparison.attribution is None:
        raise ValuesError("comparison: got one without a posterior, so there is no attribution.")
    steps = comparison.attribution.table
    labels = [label for label in chosen if label in steps.index]
    style = {"figsize": (7.0, 1.5 + _ROW * 1.6 * len(labels))}
    figure, [axes] = panels(min(len(labels), 1), {**style, **(figure_kwargs or {})})
    for i, label in enumerate(labels):
        _draw_steps(axes, steps.loc[label], i)
    axes.axvline(0, color="0.6", lw=0.8, zorder=0)
    axes.use_sticky_edges = False
    axes.margins(x=0.05)
    notes = [
        f"\n({steps.at[label, 'note']})" if steps.at[label, "note"] else "" for label in labels
    ]
    texts = [shorten(label) + note for label, note in zip(labels, notes, strict=True)]
    axes.set_yticks(range(len(labels)), texts)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(labels) - 0.4, -0.6))
    axes.set_xlabel("from the MLE, in posterior standard deviations")
    handles = _legend(axes)
    order = [name for name in (*STEP_COLOURS, NAMES["mean"]) if name in handles]
    add_legend(figure, 5, {name: handles[name] for name in order})
    return figure


def _draw_steps(axes: Any, row: Any, y: int) -> None:
    """Draw a bar per step, each at its own height, and the mean at the end."""
    known = [step for step in STEP_COLOURS if np.isfinite(row[step])]
    at = 0.0
    for i, step in enumerate(known):
        height = y + 0.17 * (i - (len(known) - 1) / 2)
        axes.barh(height, row[step], left=at, height=0.15, color=STEP_COLOURS[step], label=step)
        at += row[step]
        axes.plot([at, at], [height - 0.1, height + 0.25], color="0.5", lw=0.7, zorder=1)
    if known:
        axes.plot(
            [row["total"]],
            [y + 0.17 * (len(known) + 1) / 2],
            MARKERS["mean"],
            color=COLOURS["mean"],
            mec="white",
            ms=7,
            ls="none",
            label=NAMES["mean"],
        )
