"""What stands behind a comparison: the way from MLE to mean, the curves, the model, the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pmlik.attribution import Attribution
from pmlik.space import FloatArray

__all__ = ["Background", "Curves"]


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
    """

    attribution: Attribution | None = None
    curves: dict[str, Curves] = field(default_factory=dict)
    model: str = ""
    edges: tuple[tuple[str, str], ...] = ()
    call: str = ""
