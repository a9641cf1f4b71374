"""Draw the coverage of intervals against their level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pmlik.errors import ValuesError
from pmlik.plots.style import COLOURS, add_legend, panels, shorten

if TYPE_CHECKING:
    from pmlik.stats.calibration_record import Calibration

_NAMES = {"wald": "Wald", "profile": "profile", "posterior": "posterior (ETI)"}
_COLOURS = {"wald": "MAP", "profile": "likelihood", "posterior": "posterior"}
_MOST = 6


def plot_calibration(
    calibration: Calibration,
    *,
    var_names: Sequence[str] | str | None = None,
    figure_kwargs: Mapping[str, Any] | None = None,
    col_wrap: int = 3,
) -> Figure:
    """Draw how much more or less than its level each interval covers, a panel per scalar.

    The band is where 95 % of the shares of a right interval fall by chance.

    Parameters
    ----------
    calibration : Calibration
    var_names : str or sequence of str, optional
        Labels of scalars such as ``mu[a]``. Default: the first six.
    figure_kwargs : mapping, optional
        For ``matplotlib.pyplot.subplots``, such as ``figsize``.
    col_wrap : int
        Number of panels in a row.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValuesError
        For labels that are not there.
    """
    known = calibration.labels
    wanted = [var_names] if isinstance(var_names, str) else var_names
    labels = known[:_MOST] if wanted is None else list(wanted)
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise ValuesError(f"var_names: got {', '.join(unknown)}, need some of {', '.join(known)}.")
    levels = np.linspace(0.02, 0.98, 49)
    share = calibration.coverage(levels.tolist())["coverage"]
    band = 1.96 * np.sqrt(levels * (1 - levels) / calibration.n)
    figure, grid = panels(len(labels), figure_kwargs, col_wrap)
    for i, (axes, label) in enumerate(zip(grid, labels, strict=True)):
        axes.fill_between(100 * levels, -100 * band, 100 * band, color="0.9", lw=0)
        axes.axhline(0, color="0.5", lw=0.8)
        for method in calibration.methods:
            off = share.sel({"method": method, "parameter": label}).to_numpy() - levels
            name = _NAMES[method] if i == 0 else ""
            axes.plot(100 * levels, 100 * off, color=COLOURS[_COLOURS[method]], label=name, lw=2)
        axes.set(xlabel=f"level of {shorten(label)}, %", xlim=(0, 100))
        axes.set_ylabel("coverage minus level, %" if i % col_wrap == 0 else "")
    add_legend(figure, 3)
    return figure
