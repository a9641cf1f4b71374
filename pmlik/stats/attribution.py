"""Attribute the shift from MLE to posterior mean to prior, Jacobian and skewness."""

import numpy as np
import xarray as xr

from pmlik._summaries import unwind
from pmlik._typing import FloatArray
from pmlik.errors import PmlikError
from pmlik.inference.compiled import sampled_prior
from pmlik.inference.prepare import Prepared
from pmlik.labels import circles_of
from pmlik.logp.points import read_points
from pmlik.model.describe import describe_edges, describe_model
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.objective import Objective
from pmlik.results.attribution import Attribution, lay_out
from pmlik.results.background import Background
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate


def explain(
    prepared: Prepared,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    *,
    dataset: xr.Dataset,
) -> Background:
    """Return the attribution of posterior mean minus MLE, and a description of the model.

    ``dataset``: the comparison's, with a method ``joint`` where there are latents.
    """
    return Background(
        attribution=_attribute(prepared, mle, map_estimate, posterior, dataset),
        model=describe_model(prepared.model),
        edges=describe_edges(prepared.model),
    )


def _attribute(
    prepared: Prepared,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    dataset: xr.Dataset,
) -> Attribution | None:
    if posterior is None or "posterior" not in posterior.tree.children:
        return None
    median = median_of(posterior)
    kept = [name for name in dataset.data_vars if name in posterior.values]
    if not kept:
        return None
    try:
        mode = find_sampled_mode(prepared, map_estimate, median)
    except PmlikError:
        mode = xr.Dataset()
    points = {
        "mle": mle.values,
        "map": map_estimate.values,
        "sampled mode": mode,
        "median": median,
        "mean": posterior.values,
    }
    if "joint" in dataset["method"].to_numpy():
        joint = {"method": "joint", "statistic": "estimate"}
        points["joint mode"] = dataset.sel(joint, drop=True)
    return lay_out(points, posterior.std_error[kept], circles_of(posterior.values))


@np.errstate(all="ignore")
def find_sampled_mode(
    prepared: Prepared, map_estimate: PointEstimate, median: xr.Dataset
) -> xr.Dataset:
    """Return the mode of the density of the unconstrained parameters, in natural units.

    It is not invariant: another parametrisation of the same model has another one. `find_MAP`
    leaves the Jacobian off and differs from it.

    ``median``: posterior medians; one of the starts.
    Returns: all NaN if no optimum could be certified.
    """
    problem = prepared.problem
    k = problem.parameters.size
    prior = sampled_prior(problem, prepared.roles, prepared.potentials)
    objective = Objective((problem.likelihood, prior), problem.values, prepared.start)
    candidates = {
        "MAP": map_estimate.unconstrained,
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


def _unconstrained(prepared: Prepared, values: xr.Dataset) -> FloatArray | None:
    """Return the medians as one flat vector; None if they lie outside the support."""
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
    """Return the posterior medians of the variables that have a mean."""
    draws = posterior.tree["posterior"].dataset
    names = [name for name in posterior.values.data_vars if name in draws]
    known = unwind(draws[names].astype(float), circles_of(posterior.values))
    return known.median(("chain", "draw"), skipna=False)
