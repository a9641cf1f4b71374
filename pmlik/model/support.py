"""Free variables whose transform cuts the support of their distribution."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.transforms import LogExpM1, Ordered, _default_transform
from pymc.logprob.transforms import (
    ChainedTransform,
    CircularTransform,
    IntervalTransform,
    LogOddsTransform,
    LogTransform,
)
from pymc.pytensorf import constant_fold
from pytensor.graph.basic import equal_computations
from pytensor.graph.traversal import ancestors

from pmlik.model.graph import as_tensor, evaluate

_FIXED_BOUNDS = {
    LogTransform: (0.0, None),
    LogExpM1: (0.0, None),
    LogOddsTransform: (0.0, 1.0),
    CircularTransform: (-np.pi, np.pi),
}
_NO_DISTRIBUTION_FUNCTION = (NotImplementedError, TypeError, ValueError, RuntimeError)


def is_restricted(model: pm.Model, rv: Any) -> bool:
    """Return True unless the value variable covers the whole support of the distribution."""
    transform = model.rvs_to_transforms.get(rv)
    if transform is None:
        return False
    usual = _usual_transform(rv)
    cuts = _cuts(rv, transform, usual)
    return type(usual) is not type(transform) if cuts is None else any(c is not None for c in cuts)


def log_probability(model: pm.Model, rv: Any) -> Any | None:
    """Return the logarithm of the probability of what a transform leaves, as a graph.

    It has an entry per element of the variable, and depends on the parameters of the
    distribution alone. None if there is no distribution function to take it from.
    """
    transform = model.rvs_to_transforms.get(rv)
    if transform is None or rv.owner.op.ndim_supp or transform.ndim_supp:
        return None
    cuts = _cuts(rv, transform, _usual_transform(rv))
    if cuts is None or cuts == (None, None):
        return None
    try:
        term = _log_probability(rv, *cuts)
    except _NO_DISTRIBUTION_FUNCTION:
        return None
    return None if rv in ancestors([term]) else term


def without_dependents(model: pm.Model, names: Iterable[str]) -> set[str]:
    """Return those of the named variables that no distribution of another one contains."""
    chosen = {name: model[name] for name in names}
    above = {name: set(ancestors(rv.owner.inputs)) for name, rv in chosen.items()}
    return {
        name
        for name, rv in chosen.items()
        if not any(rv in above[other] for other in chosen if other != name)
    }


def is_ordered(model: pm.Model, rv: Any) -> bool:
    """Return True if a variable's transform puts its elements in order."""
    transform = model.rvs_to_transforms.get(rv)
    parts = getattr(transform, "transform_list", [transform])
    return any(isinstance(part, Ordered) for part in parts)


def _usual_transform(rv: Any) -> Any:
    """Return the transform that PyMC gives the distribution by itself."""
    return _default_transform(rv.owner.op, rv)


def _bounds(transform: Any, rv: Any) -> tuple[Any, Any] | None:
    """Return the ends of the values that a transform leaves; None if they are not known."""
    if isinstance(transform, IntervalTransform):
        lower, upper = transform.args_fn(*rv.owner.inputs)
        return lower, upper
    if isinstance(transform, ChainedTransform):
        return _chained_bounds(transform.transform_list, rv)
    return _FIXED_BOUNDS.get(type(transform))


def _chained_bounds(chain: Sequence[Any], rv: Any) -> tuple[Any, Any] | None:
    """Return the ends of a chain, each transform of which acts on what the one before gives."""
    ends: tuple[Any, Any] = (None, None)
    for transform in reversed(chain):
        own, inputs = _bounds(transform, rv), rv.owner.inputs
        if own is None:
            return None
        increases = own[0] is not None and not isinstance(transform, CircularTransform)
        if transform is not chain[-1] and not increases:
            return None
        lower, upper = (
            limit if end is None else transform.backward(pt.as_tensor(end), *inputs)
            for end, limit in zip(ends, own, strict=True)
        )
        ends = lower, upper
    return ends


def _cuts(rv: Any, transform: Any, usual: Any) -> tuple[Any, Any] | None:
    """Return the ends that the distribution does not have itself; None if they are not known."""
    bounds = _bounds(transform, rv)
    if bounds is None:
        return None
    own = _bounds(usual, rv) or (None, None)
    lower, upper = (
        None if _is_open(bound, end) else bound for bound, end in zip(bounds, own, strict=True)
    )
    return lower, upper


def _is_open(bound: Any, own: Any) -> bool:
    if bound is None:
        return True
    [value] = constant_fold([pt.as_tensor(bound)], raise_not_constant=False)
    if isinstance(value, np.ndarray | np.generic) and np.isinf(value).all():
        return True
    return own is not None and _equal(bound, own)


def _equal(one: Any, other: Any) -> bool:
    graphs = constant_fold([pt.as_tensor(one), pt.as_tensor(other)], raise_not_constant=False)
    if all(isinstance(graph, np.ndarray | np.generic) for graph in graphs):
        return bool(np.all(graphs[0] == graphs[1]))
    return bool(equal_computations([pt.as_tensor(one)], [pt.as_tensor(other)]))


def _log_probability(rv: Any, lower: Any, upper: Any) -> Any:
    """Return the difference of distribution functions, in the tail where it keeps its digits."""
    shape = _shape(rv)
    if lower is None:
        return _tails(rv, upper, shape)[0]
    below = _tails(rv, lower, shape)
    if upper is None:
        return below[1]
    above = _tails(rv, upper, shape)
    beyond = below[0] > np.log(0.5)
    larger = pt.switch(beyond, below[1], above[0])
    smaller = pt.switch(beyond, above[1], below[0])
    return larger + pt.log1mexp(smaller - larger)


def _tails(rv: Any, bound: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the logarithms of the probabilities below and above a bound."""
    at = pt.broadcast_to(pt.as_tensor(bound).astype("float64"), shape)
    inside = pt.switch(pt.isinf(at), 0.0, at)
    below = as_tensor(pm.logcdf(rv, inside))
    above = as_tensor(pm.logccdf(rv, inside))
    ends = pt.switch(at > 0, 0.0, -np.inf), pt.switch(at > 0, -np.inf, 0.0)
    infinite = pt.isinf(at)
    return pt.switch(infinite, ends[0], below), pt.switch(infinite, ends[1], above)


def _shape(rv: Any) -> tuple[int, ...]:
    static = rv.type.shape
    if None not in static:
        return tuple(static)
    return tuple(int(n) for n in evaluate([as_tensor(rv).shape])[0])
