"""Figures as SVG that stands in a page: text in the page's colour, no name used twice."""

from __future__ import annotations

import re
import warnings
from io import StringIO
from itertools import count
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib import pyplot as plt

__all__ = ["in_page_style", "to_svg"]


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
_numbers = count()


def in_page_style() -> Any:
    """The context to draw in."""
    return mpl.rc_context(_STYLE)


def to_svg(figure: Any, description: str) -> Markup:
    """A figure as an ``svg`` element with a text alternative; the figure is closed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    description : str
        What it shows, for those who do not see it.
    """
    stream = StringIO()
    with warnings.catch_warnings():  # of glyphs that the page's font may well have
        warnings.simplefilter("ignore")
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.S)
    text = text.replace(_INK, "currentColor")
    prefix = f"f{next(_numbers)}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'url\(#|xlink:href="#', lambda match: match[0] + prefix, text)
    text = re.sub(r' (d|x|y|transform)="[^"]*"', _shorten_numbers, text)
    head = Markup('<svg role="img" aria-label="{}" ').format(description)
    return Markup(head + Markup(text.replace("<svg ", "", 1)))


def _shorten_numbers(attribute: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, as no more is seen."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])
