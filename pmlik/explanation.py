"""What a comparison keeps beside its numbers, gathered from a prepared model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pmlik.attribution import Attribution, lay_out
from pmlik.background import Background
from pmlik.errors import PmlikError
from pmlik.estimates import PointEstimate, PosteriorEstimate
from pmlik.inference.prepare import Prepared
from pmlik.model.describe import describe_edges, describe_model
from pmlik.modes import find_sampled_mode, median_of

__all__ = ["explain"]


def explain(
    prepared: Prepared,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    *,
    dataset: xr.Dataset,
    options: Mapping[str, Any],
) -> Background:
    """The way from MLE to posterior mean, the model and the call.

    Parameters
    ----------
    prepared : Prepared
    mle, map_estimate : PointEstimate
    posterior : PosteriorEstimate or None
    dataset : xarray.Dataset
        The comparison's, with a method ``joint`` where there are latents.
    options : mapping
        Further keywords of the call, by name; what is None is left out.
    """
    return Background(
        attribution=_attribute(prepared, mle, map_estimate, posterior, dataset),
        model=describe_model(prepared.model),
        edges=describe_edges(prepared.model),
        call=_call(prepared, options),
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
    return lay_out(points, posterior.std_error[kept])


def _call(prepared: Prepared, options: Mapping[str, Any]) -> str:
    arguments = prepared.arguments
    given = {
        "random_seed": prepared.seed,
        "var_names": arguments.var_names,
        "backend": arguments.backend,
        "start": arguments.start or None,
        "n_starts": arguments.n_starts,
        "potentials": None if arguments.potentials == "likelihood" else arguments.potentials,
        **options,
    }
    words = [f"{name}={_literal(value)}" for name, value in given.items() if value is not None]
    return f"pmlik.compare({', '.join(['model', *words])})"


def _literal(value: Any) -> str:
    """Python for a value, arrays as lists."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_literal(v)}" for key, v in value.items()) + "}"
    if isinstance(value, np.ndarray | np.generic | xr.DataArray):
        return repr(np.asarray(value).tolist())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)
