"""The mode of the density that a sampler sees: likelihood x prior x Jacobian."""

from __future__ import annotations

import numpy as np
import xarray as xr

from pmlik._typing import FloatArray
from pmlik.errors import PmlikError
from pmlik.estimates import PointEstimate, PosteriorEstimate
from pmlik.inference.compiled import sampled_prior
from pmlik.inference.prepare import Prepared
from pmlik.logp.density import LogDensity
from pmlik.logp.points import read_points
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.objective import Objective

__all__ = ["find_sampled_mode", "median_of"]


@np.errstate(all="ignore")
def find_sampled_mode(
    prepared: Prepared, map_estimate: PointEstimate, median: xr.Dataset
) -> xr.Dataset:
    """Where the density of the unconstrained parameters is highest, in natural units.

    It is not invariant: another parametrisation of the same model has another one. `find_MAP`
    leaves the Jacobian off, and so differs from it.

    Parameters
    ----------
    prepared : Prepared
    map_estimate : PointEstimate
    median : xarray.Dataset
        Posterior medians; a start that is where the mass is.

    Returns
    -------
    xarray.Dataset
        All NaN if no optimum could be certified.
    """
    problem = prepared.problem
    k = problem.parameters.size
    objective = Objective((problem.likelihood, _prior(prepared)), problem.values, prepared.start)
    candidates = {
        "MAP": map_estimate.certificate.x,
        "posterior median": _unconstrained(prepared, median),
    }
    starts = [
        Start(name, lambda x=x: x)  # type: ignore[misc]
        for name, x in candidates.items()
        if x is not None and len(x) == len(prepared.start)
    ]
    starts.append(Start("initial point", lambda: prepared.start))
    try:
        reached = search_from_starts(objective, starts, 2)
    except PmlikError:
        reached = []
    usable = [optimum for optimum in reached if optimum.usable and not optimum.is_flat]
    best = min(usable, key=lambda optimum: optimum.value, default=None)
    if best is None:
        flat = np.full(k + problem.derived.size, np.nan)
    else:
        flat = problem.values(objective.expand(best.z))
    parameters = problem.parameters.to_dataset(flat[:k])
    return parameters.merge(problem.derived.to_dataset(flat[k:]))


def _prior(prepared: Prepared) -> LogDensity:
    return sampled_prior(prepared.problem, prepared.roles, prepared.potentials)


def _unconstrained(prepared: Prepared, values: xr.Dataset) -> FloatArray | None:
    """The medians as one flat vector, if they are a point of the support at all."""
    space = prepared.problem.parameters
    if any(name not in values for name in space.names):
        return None
    try:
        flat = read_points({name: values[name] for name in space.names}, space).flat
        x = prepared.natural.many_to_unconstrained(flat)[0]
    except PmlikError:
        return None
    return x if np.isfinite(x).all() else None


def median_of(posterior: PosteriorEstimate) -> xr.Dataset:
    """Posterior medians, of the variables that have a mean."""
    draws = posterior.tree["posterior"].dataset
    names = [name for name in posterior.values.data_vars if name in draws]
    return draws[names].astype(float).median(("chain", "draw"), skipna=False)
