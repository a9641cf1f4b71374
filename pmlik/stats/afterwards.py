"""The verbs that a comparison offers after the fit."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from pmlik.results.comparison import Comparison
from pmlik.stats.attach import attach
from pmlik.stats.derived import derive
from pmlik.stats.hypothesis import weigh_hypotheses
from pmlik.stats.predict import predict_new


@dataclass(frozen=True)
class StatsVerbs:
    """The functions of this room by the names of the comparison's methods."""

    attach = staticmethod(attach)
    derive = staticmethod(derive)
    hypothesis = staticmethod(weigh_hypotheses)
    predict = staticmethod(predict_new)


def load(path: str | os.PathLike[str]) -> Comparison:
    """Read a comparison that `Comparison.save` has written.

    It prints, reports and plots as the one that was saved. It has no compiled model until
    `Comparison.attach` joins it to one.

    Parameters
    ----------
    path : path

    Returns
    -------
    Comparison

    Raises
    ------
    FileError
        If there is no such file, or it is not one of these, or it is damaged or was changed.
    """
    found = Comparison.load(path)
    return replace(found, background=replace(found.background, verbs=StatsVerbs()))
