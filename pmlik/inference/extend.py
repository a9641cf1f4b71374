"""Add quantities that a user names to an estimate: values, standard errors, statuses."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmlik._typing import BoolArray, FloatArray
from pmlik.errors import PmlikError
from pmlik.inference.checks import check_identified, check_standard_errors
from pmlik.inference.compiled import Addition
from pmlik.inference.point_state import PointFit
from pmlik.inference.prepare import Prepared
from pmlik.logp.quantities import Quantities
from pmlik.optimize.hessian import DENSE_LIMIT
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.result import select_result
from pmlik.results.flags import Flag
from pmlik.results.point import PointEstimate, Status

# An optimum found again has the same log-density but for this share.
_SAME = 1e-6

# The standard error of a constant is below this, relative to its value.
_NO_ERROR = 1e-10


def scale_of(estimate: PointEstimate, prepared: Prepared) -> FloatArray:
    """Return the length of a standard error (n,) in each unconstrained coordinate; 1 if unknown."""
    x, k = estimate.unconstrained, prepared.problem.parameters.size
    widths = np.ones(len(x))
    if len(x) > DENSE_LIMIT:
        return widths
    errors = prepared.problem.parameters.join(
        {name: estimate.std_error[name] for name in prepared.problem.parameters.names}
    )
    tangent = prepared.problem.values.jvp(x)
    known = np.isfinite(errors) & (errors > 0)
    for i, unit in enumerate(np.eye(len(x))):
        moved = np.abs(tangent(unit)[:k])
        own = known & (moved > 0) & np.isfinite(moved)
        widths[i] = np.min(errors[own] / moved[own], initial=np.inf)
    return np.where(np.isfinite(widths), widths, 1.0)


class _Found(NamedTuple):
    """Values, standard errors and statuses of the added scalars (q,), and flags about them."""

    values: FloatArray
    errors: FloatArray
    statuses: NDArray[np.str_]
    flags: list[Flag]


@np.errstate(all="ignore")
def extend_estimate(
    estimate: PointEstimate, prepared: Prepared, addition: Addition
) -> PointEstimate:
    """Return an estimate with quantities beside the others, by the delta method.

    ``prepared``: the estimate's, before the addition.
    """
    extended, quantities = prepared.with_quantities(addition), addition.quantities
    values = quantities.space.join({str(n): a for n, a in quantities(estimate.values).items()})
    if not np.isfinite(estimate.log_likelihood):
        nothing = np.full(len(values), np.nan)
        statuses = np.full(len(values), Status.UNKNOWN, dtype=_WORDS)
        found = _Found(nothing, nothing, statuses, [])
    else:
        found = _at_estimate(estimate, extended, quantities, values)
    space = quantities.space
    return replace(
        estimate,
        values=_beside(estimate.values, space.to_dataset(found.values)),
        std_error=_beside(estimate.std_error, space.to_dataset(found.errors)),
        status=_beside(estimate.status, space.to_dataset(found.statuses)),
        flags=(*estimate.flags, *found.flags),
        prepared=extended,
    )


_WORDS = f"U{max(map(len, Status))}"


def _beside(dataset: xr.Dataset, added: xr.Dataset) -> xr.Dataset:
    return dataset.assign({str(name): array for name, array in added.data_vars.items()})


def _at_estimate(
    estimate: PointEstimate, prepared: Prepared, quantities: Quantities, values: FloatArray
) -> _Found:
    """Return what the estimate's covariance gives; else what the end of a new search gives."""
    problem, q = prepared.problem, quantities.space.size
    errors = _by_covariance(estimate, prepared, q)
    smooth = problem.values.smooth(estimate.unconstrained)[-q:]
    statuses = np.full(q, Status.INTERIOR, dtype=_WORDS)
    known = np.isfinite(errors) & np.isfinite(values)
    unidentified = unused = held = np.zeros(q, bool)
    if not known.all():
        again = _search_again(estimate, prepared)
        if again is None:
            statuses = np.where(known, statuses, Status.UNKNOWN)
        else:
            variances = again.variances(list(range(len(again.labels) - q, len(again.labels))))
            unidentified, unused = variances.unidentified[-q:] & ~known, again.unused[-q:] & ~known
            held = again.held[-q:] | again.infinite[-q:]
            other = np.where(unidentified | unused, np.nan, again.constrained[-q:])
            values = np.where(known, values, other)
            statuses = np.where(known, statuses, again.statuses(variances.unidentified)[-q:])
            robust = estimate.std_error.attrs.get("covariance_kind") == "robust"
            if not robust:
                found = np.sqrt(np.where(again.unused, np.nan, variances.variance))[-q:]
                errors = np.where(known, errors, found)
    errors = np.where(smooth & ~unidentified & ~unused, errors, np.nan)
    constant = prepared.constant[-q:] & (errors <= _NO_ERROR * np.maximum(1.0, np.abs(values)))
    labels = list(quantities.space.labels)
    lacking = np.isnan(errors) & ~(unidentified | unused | held)
    flags = [
        *check_identified(labels, list(unidentified), list(unused), estimate.kind),
        *check_standard_errors(labels, list(lacking), [True] * q),
    ]
    return _Found(values, np.where(constant, np.nan, errors), statuses, flags)


def _by_covariance(estimate: PointEstimate, prepared: Prepared, q: int) -> FloatArray:
    """Return standard errors (q,) from the covariance of the parameters; NaN where it lacks some.

    The gradient in natural units is that within the surface that the parameters lie on.
    """
    errors = np.full(q, np.nan)
    if estimate.covariance is None:
        return errors
    problem, x = prepared.problem, estimate.unconstrained
    tangent = problem.values.jvp(x)
    jacobian = np.array([tangent(unit) for unit in np.eye(len(x))]).T
    known, added = jacobian[: problem.parameters.size], jacobian[-q:]
    covariance = estimate.covariance.to_numpy()
    for i, row in enumerate(added):
        moving = _connected(known, row != 0)
        places = (known[:, moving] != 0).any(axis=1)
        block = covariance[np.ix_(places, places)]
        if np.isfinite(block).all() and np.isfinite(row).all():
            gradient = np.linalg.lstsq(known[np.ix_(places, moving)].T, row[moving])[0]
            errors[i] = np.sqrt(max(gradient @ block @ gradient, 0.0))
    return errors


def _connected(known: FloatArray, moving: BoolArray) -> BoolArray:
    """Return the coordinates with all others that move the same parameters."""
    touched = known != 0
    while True:
        more = moving | touched[touched[:, moving].any(axis=1)].any(axis=0)
        if (more == moving).all():
            return moving
        moving = more


def _search_again(estimate: PointEstimate, prepared: Prepared) -> PointFit | None:
    """Return the end of a search from the estimate; None if it is another point."""
    problem = prepared.problem
    try:
        objective = problem.objective(estimate.kind, prepared.start)
        starts = [
            Start("the estimate", lambda: estimate.unconstrained),
            Start("inside", lambda: prepared.start),
        ]
        reached = search_from_starts(objective, starts, len(starts))
        start = prepared.start[objective.active]
        outcome = select_result(objective, reached, start, problem.n_observations)
    except PmlikError:
        return None
    fit = PointFit(prepared, estimate.kind, objective, outcome)
    density = problem.likelihood.value_and_gradient(fit.x)[0]
    close = abs(density - estimate.log_likelihood) <= _SAME * (1 + abs(density))
    k = problem.parameters.size
    parameters = list(problem.parameters.names)
    words = list(_words(estimate.status[parameters]))
    statuses = fit.statuses(fit.variances().unidentified)[:k]
    return fit if close and words == list(statuses) else None


def _words(status: xr.Dataset) -> list[str]:
    return [str(word) for array in status.data_vars.values() for word in array.to_numpy().flat]
