"""The background of a comparison: attribution, curves, prediction, the model, the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import xarray as xr

from pmlik.results.afterwards import Verbs
from pmlik.results.attribution import Attribution
from pmlik.results.curves import Curves
from pmlik.results.information import InformationShares

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


@dataclass(frozen=True)
class Predictive:
    """Prediction of observations that were left out, by PSIS-LOO.

    Parameters
    ----------
    elpd, std_error : float
        Expected log pointwise predictive density, summed over the observations, larger is
        better; and its standard error.
    effective_parameters : float
        ArviZ's ``p_loo``.
    n_observations : int
    worst_k : float
        The largest Pareto k.
    n_high : int
        Observations whose k is above ``threshold``, so that the estimate is unreliable.
    threshold : float
    """

    elpd: float
    std_error: float
    effective_parameters: float
    n_observations: int
    worst_k: float
    n_high: int
    threshold: float


#: An addition to the estimates, or the reason why it was left out.
Extra = xr.Dataset | Predictive | InformationShares | str


class ComputeCurves(Protocol):
    """Compute the curves of one scalar of a comparison that holds its model."""

    def __call__(self, comparison: Comparison, label: str, /) -> Curves: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Background:
    """Everything that a report shows beside the estimates.

    Parameters
    ----------
    attribution : Attribution or None
        None without a posterior.
    curves : mapping of str to Curves
        By label, those of the leading scalars.
    model : str
        The model's table as ``pm.Model.table`` prints it.
    edges : tuple of (str, str)
        The model's graph: from a variable to one that depends on it.
    call : str
        The line of Python that gives the same numbers again.
    extras : mapping of str to Extra
        ``log_likelihood`` (Dataset), ``predictive`` (`Predictive`), ``shares``
        (`InformationShares`), ``sensitivity`` (Dataset); where one was left out, the reason as a
        str.
    compute_curves : callable, optional
        Computes the curves of a scalar that are not kept; None in a comparison that was loaded.
    verbs : Verbs, optional
        Compute what is asked after the fit; None in a comparison that was loaded.
    """

    attribution: Attribution | None = None
    curves: Mapping[str, Curves] = field(default_factory=dict)
    model: str = ""
    edges: tuple[tuple[str, str], ...] = ()
    call: str = ""
    extras: Mapping[str, Extra] = field(default_factory=dict)
    compute_curves: ComputeCurves | None = field(default=None, repr=False)
    verbs: Verbs | None = field(default=None, repr=False)
