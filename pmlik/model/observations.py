"""The data of a model, and the number of observations."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pymc as pm
from pymc.distributions import timeseries
from pymc.distributions.distribution import PartialObservedRV
from pymc.distributions.multivariate import CARRV, ICARRV
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorConstant

from pmlik._typing import FloatArray
from pmlik.model.graph import as_tensor, evaluate
from pmlik.model.transform import TermsModel

# Constant integers up to this many may be a shape.
_MOST_AXES = 4

_SERIES = tuple(
    getattr(timeseries, name)
    for name in ("AutoRegressiveRV", "GARCH11RV", "RandomWalkRV", "EulerMaruyamaRV")
    if hasattr(timeseries, name)
)


def count_observations(model: TermsModel) -> int:
    """Return the number of observations: rows of multivariate data, elements of all other data.

    A single multivariate draw (a Gaussian process, a stationary series written as one
    ``pm.MvNormal``) and a time series count their elements, as R's packages do. A row of which
    some entries are missing is one observation.
    """
    return sum(count_of(model, rv) for rv in model.observed_RVs)


def count_of(model: TermsModel, rv: Any) -> int:
    """Return the number of observations of one observed variable."""
    if rv.owner and isinstance(rv.owner.op, PartialObservedRV):
        return _count_partly_observed(rv)
    shape = _observed_shape(model.rvs_to_values[rv])
    ndim = getattr(rv.owner.op, "ndim_supp", 0) if rv.owner else 0
    rows = int(np.prod(shape[: len(shape) - ndim]))
    elementwise = ndim == 0 or rows == 1 or isinstance(rv.owner.op, _SERIES)
    return int(np.prod(shape)) if elementwise else rows


def _count_partly_observed(rv: Any) -> int:
    """Return the number of rows with an observed entry; of entries if there is one row."""
    whole, mask = rv.owner.inputs[:2]
    observed = np.logical_not(evaluate([mask])[0])
    batched = whole.type.ndim - rv.owner.op.ndim_supp
    rows = observed.reshape(*observed.shape[:batched], -1).any(axis=-1)
    return int(rows.sum() if rows.size > 1 else observed.sum())


def potentials_with_data(model: TermsModel) -> tuple[str, ...]:
    """Return the terms that are potentials of arrays of numbers, which no one can count.

    Such are a ``pm.Data`` or a constant of several entries, outside the prior of a variable.
    """
    data = set(model.data_vars)
    return tuple(
        potential.name
        for potential in model.potentials
        if potential in model.terms
        and any(v in data or _has_entries(v) for v in ancestors([potential], model.basic_RVs))
    )


def unnormalised_terms(model: pm.Model, names: Iterable[str]) -> tuple[str, ...]:
    """Return the variables whose density PyMC leaves without its constant: CAR and ICAR."""
    return tuple(
        name for name in names if isinstance(getattr(model[name].owner, "op", None), CARRV | ICARRV)
    )


def _has_entries(variable: Any) -> bool:
    """Return True for a constant that is more than a number or a shape."""
    if not isinstance(variable, TensorConstant):
        return False
    data = variable.data
    return bool(data.size > (1 if data.dtype.kind == "f" else _MOST_AXES))


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
