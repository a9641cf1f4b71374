"""The verbs that a comparison offers after the fit."""

from __future__ import annotations

from dataclasses import dataclass

from pmlik.stats.derived import derive
from pmlik.stats.hypothesis import weigh_hypotheses
from pmlik.stats.predict import predict_new


@dataclass(frozen=True)
class StatsVerbs:
    """The functions of this room by the names of the comparison's methods."""

    derive = staticmethod(derive)
    hypothesis = staticmethod(weigh_hypotheses)
    predict = staticmethod(predict_new)
