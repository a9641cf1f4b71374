"""The curves that figures show, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pmlik._summaries import Circle
from pmlik._typing import FloatArray


@dataclass(frozen=True, eq=False)
class Curves:
    """Prior, profile likelihood and posterior of one scalar, natural units.

    Parameters
    ----------
    label : str
    grid : array (g,)
        Near the estimate: that of a circular scalar goes on beyond the ends of its turn.
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
class JointCurves:
    """Profile likelihood and posterior draws of two scalars.

    Parameters
    ----------
    labels : tuple of str
    grids : tuple of array
    log_likelihood : array (g, h)
        Profile log-likelihood minus its highest value.
    draws : array (d, 2) or None
    marks : mapping of str to (float, float)
    """

    labels: tuple[str, str]
    grids: tuple[FloatArray, FloatArray]
    log_likelihood: FloatArray
    draws: FloatArray | None
    marks: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class ProfileCurve:
    """The profile log-likelihood of one scalar, its parabola, and intervals; natural units.

    Parameters
    ----------
    label : str
    estimate : float
    grid : array (g,)
    log_likelihood, quadratic : array (g,)
        Minus the maximum. NaN where there is none.
    level : float
        Fall of the log-likelihood at an end of the interval.
    ci_prob : float
    intervals : mapping of str to (float, float)
        By ``ci_kind``.
    limits : tuple of float
        Of the axis.
    circle : Circle, optional
        Of a circular scalar: its grid goes on beyond the ends of the turn.
    """

    label: str
    estimate: float
    grid: FloatArray
    log_likelihood: FloatArray
    quadratic: FloatArray
    level: float
    ci_prob: float
    intervals: Mapping[str, tuple[float, float]]
    limits: tuple[float, float]
    circle: Circle | None = None
