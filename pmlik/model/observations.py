"""The data of a model, and the number of observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions import timeseries

from pmlik._typing import FloatArray
from pmlik.model.graph import as_tensor, evaluate
from pmlik.model.transform import TermsModel

_SERIES = tuple(
    getattr(timeseries, name)
    for name in ("AutoRegressiveRV", "GARCH11RV", "RandomWalkRV", "EulerMaruyamaRV")
    if hasattr(timeseries, name)
)


def count_observations(model: TermsModel) -> int:
    """Return the number of observations: rows of multivariate data, elements of all other data.

    A single multivariate draw (a Gaussian process, a stationary series written as one
    ``pm.MvNormal``) and a time series count their elements, as R's packages do.
    """
    return sum(count_of(model, rv) for rv in model.observed_RVs)


def count_of(model: TermsModel, rv: Any) -> int:
    """Return the number of observations of one observed variable."""
    shape = _observed_shape(model.rvs_to_values[rv])
    ndim = getattr(rv.owner.op, "ndim_supp", 0) if rv.owner else 0
    rows = int(np.prod(shape[: len(shape) - ndim]))
    elementwise = ndim == 0 or rows == 1 or isinstance(rv.owner.op, _SERIES)
    return int(np.prod(shape)) if elementwise else rows


def observed_values(model: pm.Model) -> dict[str, FloatArray]:
    """Return the data by the name of the observed variable."""
    names = [rv.name for rv in model.observed_RVs]
    graphs = [as_tensor(model.rvs_to_values[rv]) for rv in model.observed_RVs]
    return dict(zip(names, evaluate(graphs), strict=True))


def _observed_shape(value: Any) -> tuple[int, ...]:
    static = value.type.shape
    if None not in static:
        return tuple(static)
    shape = evaluate([as_tensor(value).shape])[0]
    return tuple(int(n) for n in shape)
