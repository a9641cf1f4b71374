"""What stands behind a comparison: the way from MLE to mean, the curves, the model, the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pmlik._typing import FloatArray
from pmlik.results.attribution import Attribution

__all__ = ["Background", "Curves", "Predictive"]


@dataclass(frozen=True, eq=False)
class Curves:
    """Prior, profile likelihood and posterior of one scalar, natural units.

    Parameters
    ----------
    label : str
    grid : array (g,)
    log_likelihood : array (g,)
        Profile log-likelihood minus its highest value; NaN where it could not be had.
    prior, posterior : array (g,) or None
        Densities.
    marks : mapping of str to float
        ``MLE``, ``MAP``, ``mean``, those that exist.
    """

    label: str
    grid: FloatArray
    log_likelihood: FloatArray
    prior: FloatArray | None
    posterior: FloatArray | None
    marks: Mapping[str, float]


@dataclass(frozen=True)
class Predictive:
    """How well the posterior predicts an observation that was left out, by PSIS-LOO.

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


@dataclass(frozen=True, eq=False)
class Background:
    """What a report needs beside the estimates.

    Parameters
    ----------
    attribution : Attribution or None
        None without a posterior.
    curves : dict of str to Curves
        By label, those drawn so far; a comparison that was loaded can draw no more.
    model : str
        The model's table as ``pm.Model.table`` prints it.
    edges : tuple of (str, str)
        The model's graph: from a variable to one that depends on it.
    call : str
        The line of Python that gives the same numbers again.
    appraisal : dict of str to object
        What was asked of the estimates so far: ``log_likelihood`` (Dataset), ``predictive``
        (`Predictive`), ``shares`` (`InformationShares`), ``sensitivity`` (Dataset); where one
        was left out, the reason as a str.
    """

    attribution: Attribution | None = None
    curves: dict[str, Curves] = field(default_factory=dict)
    model: str = ""
    edges: tuple[tuple[str, str], ...] = ()
    call: str = ""
    appraisal: dict[str, Any] = field(default_factory=dict)
