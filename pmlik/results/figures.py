"""The figures of the page, as SVG."""

from __future__ import annotations

import re
import warnings
from functools import partial
from hashlib import sha256
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

import arviz as az
import matplotlib as mpl
import numpy as np
import xarray as xr
from markupsafe import Markup
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from pmlik._summaries import unwind
from pmlik.labels import circles_of, flatten_draws, labelled, printable
from pmlik.plots.comparison import list_rows, plot_attribution, plot_compare, plot_forest
from pmlik.plots.profile import plot_waterfall
from pmlik.plots.style import COLOURS, shorten
from pmlik.results.flags import FlagCode, Severity
from pmlik.results.guard import Guard
from pmlik.results.point import PointEstimate

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


# With one of these flags, or one of an error, the page shows where the searches ended.
_SEARCH = {
    FlagCode.SEVERAL_OPTIMA,
    FlagCode.LABEL_SWITCHING,
    FlagCode.HIGHER_ELSEWHERE,
    FlagCode.UNBOUNDED,
    FlagCode.RESTARTED,
}
_TRACED = 4


class ReportFigure(NamedTuple):
    """A figure of one section of the page."""

    section: str
    svg: Markup
    caption: str


class Key(NamedTuple):
    """An entry of the legend that all panels share."""

    shape: str
    colour: str
    text: str


#: Shapes of the rows of a panel.
_SHAPES = {
    "MLE": "triangle",
    "MAP": "diamond",
    "mean": "circle",
    "reference": "star",
    "interval": "dots",
}


def list_key(comparison: Comparison) -> list[Key]:
    """Return the legend of the panels: the curves, then the rows below."""
    curves = comparison.background.curves.values()
    drawn = {
        "relative likelihood": any(np.isfinite(c.log_likelihood).any() for c in curves),
        "prior": any(c.prior is not None for c in curves),
        "posterior": any(c.posterior is not None for c in curves),
    }
    shapes = {"relative likelihood": "line", "prior": "dashes", "posterior": "area"}
    colours = {**COLOURS, "relative likelihood": COLOURS["likelihood"], "interval": COLOURS["MLE"]}
    keys = [Key(shapes[name], colours[name], name) for name, there in drawn.items() if there]
    return keys + [
        Key(_SHAPES[kind], colours[kind], printable(name))
        for name, kind, _ in list_rows(comparison)
    ]


def report_figures(comparison: Comparison, guard: Guard) -> list[ReportFigure]:
    """Return all figures that the comparison can have.

    ``guard``: learns which figures could not be drawn.
    """
    kept = comparison.background.curves
    leading = guard.make("order of the panels", comparison.leading_labels, list(kept))
    makers = {f"panel of {n}": partial(_panel, comparison, n) for n in leading if n in kept}
    makers["forest"] = partial(_forest, comparison)
    makers["figure of the steps"] = partial(_attribution, comparison)
    for name, estimate in (("MLE", comparison.mle), ("MAP", comparison.map)):
        makers[f"searches for the {name}"] = partial(_waterfall, name, estimate)
    makers["traces"] = partial(_traces, comparison)
    figures: list[ReportFigure] = []
    others = set(plt.get_fignums())
    with in_page_style():
        for what, make in makers.items():
            figures += guard.make(what, make, [])
    for number in set(plt.get_fignums()) - others:  # of figures that failed
        plt.close(number)
    return figures


def _panel(comparison: Comparison, label: str) -> list[ReportFigure]:
    size = {"figsize": (5.0, 3.2)}
    figure = plot_compare(comparison, var_names=[label], figure_kwargs=size)
    for legend in list(figure.legends):  # the page has one for all
        legend.remove()
    row = dict(zip(comparison.headings, comparison.cells(label), strict=True))
    words = f"{printable(label)}: MLE {row['MLE']} (SE {row['SE']}), MAP {row['MAP']}"
    if comparison.posterior is not None:
        interval = comparison.interval_heading
        words += f", posterior mean {row['mean']} (sd {row['sd']}), {interval} {row[interval]}"
    return [ReportFigure("panels", to_svg(figure, f"Panel of {words}."), f"{words}.")]


def _forest(comparison: Comparison) -> list[ReportFigure]:
    if len(comparison.table) < 2:
        return []
    text = "Estimates and intervals side by side, each variable on its own axis."
    return [_figure("forest", plot_forest(comparison), text)]


def _attribution(comparison: Comparison) -> list[ReportFigure]:
    if comparison.attribution is None or comparison.attribution.table["total"].isna().all():
        return []
    text = "From the MLE to the posterior mean step by step, in posterior standard deviations."
    more = " The table below has the numbers."
    return [_figure("attribution", plot_attribution(comparison), text, more)]


def _waterfall(name: str, estimate: PointEstimate) -> list[ReportFigure]:
    wrong = not estimate.trusted or any(flag.code in _SEARCH for flag in estimate.flags)
    ends = [end for end in estimate.certificate.searches if np.isfinite(end.log_density)]
    if not wrong or len(ends) < 2:
        return []
    figure = plot_waterfall(estimate, figure_kwargs={"figsize": (5.2, 3.6)})
    text = f"Where each of the {len(ends)} searches for the {name} ended, best first."
    return [_figure("search", figure, text)]


def _figure(section: str, figure: Figure, text: str, more: str = "") -> ReportFigure:
    """Return a figure with its caption, which with ``more`` is its text alternative."""
    return ReportFigure(section, to_svg(figure, text + more), text)


def _traces(comparison: Comparison) -> list[ReportFigure]:
    posterior = comparison.posterior
    if posterior is None or not any(f.severity is not Severity.INFO for f in posterior.flags):
        return []
    draws = unwind(posterior.tree["posterior"].to_dataset(), circles_of(posterior.values))
    draws = _worst_draws(draws)
    names = [str(name) for name in draws.data_vars]
    size = {"figsize": (7.0, 1.6 * len(names) + 0.6), "figsize_units": "inches"}
    groups = {"posterior": draws}
    if "sample_stats" in posterior.tree.children:  # which draws diverged
        groups["sample_stats"] = posterior.tree["sample_stats"].to_dataset()
    collection = az.plot_trace(
        xr.DataTree.from_dict(groups), backend="matplotlib", figure_kwargs=size, col_wrap=1
    )
    figure = collection.viz["figure"].item()
    ink = mpl.rcParams["text.color"]  # ArviZ takes one against a background, and there is none
    for axes, name in zip(figure.axes, names, strict=False):
        axes.set_title("")
        axes.set_title(shorten(name), loc="left", fontsize="small", color=ink)
        axes.set_xlabel("")
    figure.axes[len(names) - 1].set_xlabel("draw", color=ink)
    text = f"Trace of {', '.join(map(printable, names))}: every chain, draw by draw."
    n_scalars = sum(array.size for array in posterior.values.data_vars.values())
    text += " Those with the largest R-hat." if n_scalars > len(names) else ""
    return [ReportFigure("search", to_svg(figure, text), text)]


def _worst_draws(draws: xr.Dataset) -> xr.Dataset:
    """Return the scalars whose chains agree least, by label."""
    numeric = draws[[name for name, array in draws.data_vars.items() if array.dtype.kind in "fiu"]]
    with np.errstate(all="ignore"):  # R-hat of a constant is NaN
        r_hat = labelled(az.rhat(numeric))
    worst = sorted(r_hat, key=lambda label: -np.nan_to_num(r_hat[label], nan=0.0))[:_TRACED]
    flat, labels, dims = flatten_draws(numeric), list(r_hat), ("chain", "draw")
    chosen = {label: (dims, flat[..., labels.index(label)]) for label in worst}
    return xr.Dataset(chosen, coords={dim: numeric[dim] for dim in dims})


# A colour that nothing else has, to be replaced by the colour of the text around.
_INK = "#010203"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pmlik",
    "font.family": "sans-serif",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": 10.0,
}


def in_page_style() -> Any:
    """Return the context to draw in."""
    return mpl.rc_context(_STYLE)


def to_svg(figure: Figure, description: str) -> Markup:
    """Return a figure as an ``svg`` element with a text alternative, and close the figure.

    ``description``: the text alternative.
    """
    stream = StringIO()
    with (
        mpl.rc_context({"svg.hashsalt": "pmlik"}),
        warnings.catch_warnings(),
    ):  # of glyphs
        warnings.simplefilter("ignore")
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.S)
    text = text.replace(_INK, "currentColor")
    prefix = f"f{sha256(text.encode()).hexdigest()[:8]}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'url\(#|xlink:href="#', lambda match: match[0] + prefix, text)
    text = re.sub(r' (d|x|y|transform)="[^"]*"', _shorten_numbers, text)
    head = Markup('<svg role="img" aria-label="{}" ').format(description)
    return Markup(head + Markup(text.replace("<svg ", "", 1)))


def _shorten_numbers(attribute: re.Match[str]) -> str:
    """Return coordinates to a hundredth of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])
