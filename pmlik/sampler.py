"""The posterior by ``pm.sample``, and its summary in the words of the other estimates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from inspect import signature
from typing import Any, Literal

import arviz as az
import numpy as np
import pymc as pm
import xarray as xr
from threadpoolctl import threadpool_limits

from pmlik.errors import ModelError

__all__ = [
    "CiKind",
    "check_sample_kwargs",
    "diagnose",
    "draw",
    "draws_asked",
    "interval_of",
    "numeric_posterior",
]

CiKind = Literal["eti", "hdi"]

# pmlik judges the chains itself, once.
_DEFAULTS: dict[str, Any] = {"chains": 4, "compute_convergence_checks": False}
_PYMC_DRAWS: int = signature(pm.sample).parameters["draws"].default

# Up to this many coordinates nutpie is asked for a mass matrix with correlations: on a regression
# with an intercept far from the data it gives ten times the effective draws at the same cost.
_CORRELATED_LIMIT = 50

# With any of these the user has chosen a sampler, and nothing is added.
_CHOICES = {"step", "init", "trace", "callback", "compile_kwargs", "nuts_sampler_kwargs"}


def check_sample_kwargs(sample_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options for ``pm.sample`` as a dict, refused before any work where they can't be.

    Raises
    ------
    ModelError
    """
    if sample_kwargs is None:
        return {}
    if not isinstance(sample_kwargs, Mapping):
        raise ModelError(
            f"sample_kwargs: got {sample_kwargs!r}, need a dict such as {{'draws': 2000}}."
        )
    taken = {"model", "random_seed", "progressbar", "backend"} & set(sample_kwargs)
    if taken:
        raise ModelError(
            f"sample_kwargs: got {', '.join(sorted(taken))}; pass it as an argument of its own."
        )
    if sample_kwargs.get("return_inferencedata", True) is not True:
        raise ModelError("sample_kwargs: return_inferencedata must stay True.")
    for name in ("draws", "chains"):
        number = sample_kwargs.get(name, 1)
        if not isinstance(number, int | np.integer) or number < 1:
            raise ModelError(f"sample_kwargs: got {name}={number!r}, need an integer from 1 up.")
    return dict(sample_kwargs)


def draws_asked(sample_kwargs: Mapping[str, Any]) -> int:
    """How many draws a chain ``pm.sample`` was asked for."""
    return int(sample_kwargs.get("draws", _PYMC_DRAWS))


def draw(
    model: pm.Model,
    *,
    random_seed: int,
    progressbar: bool,
    backend: str | None,
    sample_kwargs: Mapping[str, Any],
) -> xr.DataTree:
    """Call ``pm.sample``: 4 chains, nutpie when it can be used, and whatever the user says."""
    chosen = dict(sample_kwargs)
    kwargs = _DEFAULTS | {"quiet": not progressbar}
    if backend is not None and "compile_kwargs" not in chosen:
        kwargs["backend"] = backend
    kwargs |= chosen
    fixed = {"model": model, "random_seed": random_seed, "progressbar": progressbar}
    with threadpool_limits(_threads(kwargs), user_api="blas"):
        return _call(model, chosen, backend, fixed, kwargs)


def _threads(kwargs: Mapping[str, Any]) -> int | None:
    """How many threads a chain's linear algebra gets, None where the user decides.

    ``pm.sample`` leaves all cores to each of nutpie's chains, which then wait for each other.
    """
    if "blas_cores" in kwargs:
        return None
    cores: int = kwargs.get("cores") or os.cpu_count() or 1
    return max(1, cores // min(cores, int(kwargs["chains"])))


def _call(
    model: pm.Model,
    chosen: dict[str, Any],
    backend: str | None,
    fixed: dict[str, Any],
    kwargs: dict[str, Any],
) -> xr.DataTree:
    tree: xr.DataTree
    if correlated := _adaptation(model, chosen, backend):
        try:
            tree = pm.sample(**fixed, **(kwargs | correlated))
            return tree
        except ValueError as error:  # pm.sample took another sampler, which lacks the option
            if "nuts" not in str(error):
                raise
    tree = pm.sample(**fixed, **kwargs)
    return tree


def _adaptation(
    model: pm.Model, chosen: dict[str, Any], backend: str | None
) -> dict[str, dict[str, Any]]:
    """Nutpie's option for correlated posteriors, where ``pm.sample`` will use nutpie."""
    nutpie = (
        chosen.get("nuts_sampler", "nutpie") == "nutpie"
        and find_spec("nutpie") is not None
        and backend in (None, "numba", "jax")
        and not _CHOICES & set(chosen)
        and all(rv.dtype.startswith("float") for rv in model.free_RVs)
    )
    if not nutpie or sum(np.size(v) for v in model.initial_point(0).values()) > _CORRELATED_LIMIT:
        return {}
    return {"nuts": {"adaptation": "low_rank"} | chosen.get("nuts", {})}


def numeric_posterior(tree: xr.DataTree, names: Sequence[str]) -> xr.Dataset:
    """The named variables of the posterior group that are numbers."""
    posterior = tree["posterior"].dataset
    return posterior[
        [n for n in names if n in posterior and posterior[n].dtype.kind in "fiub"]
    ].astype(float)


def interval_of(posterior: xr.Dataset, ci_kind: CiKind, ci_prob: float) -> xr.Dataset:
    """Posterior intervals with a last dim ``ci_bound``."""
    function = {"eti": az.eti, "hdi": az.hdi}[ci_kind]
    interval: xr.Dataset = function(posterior, prob=ci_prob)
    interval = interval.transpose(..., "ci_bound")
    return interval.assign_attrs(ci_kind=ci_kind, ci_prob=ci_prob)


def diagnose(tree: xr.DataTree, posterior: xr.Dataset) -> dict[str, float]:
    """Worst R-hat and effective sample sizes over all scalars, divergences, and worst BFMI."""
    worst = {
        "r_hat": _extreme(az.rhat(posterior), np.nanmax),
        "ess_bulk": _extreme(az.ess(posterior, method="bulk"), np.nanmin),
        "ess_tail": _extreme(az.ess(posterior, method="tail"), np.nanmin),
    }
    stats = tree["sample_stats"].dataset if "sample_stats" in tree.children else xr.Dataset()
    diverging = stats["diverging"].sum() if "diverging" in stats else 0
    bfmi = _extreme(az.bfmi(tree).dataset, np.nanmin) if "energy" in stats else np.nan
    return worst | {"divergences": float(diverging), "bfmi": bfmi}


def _extreme(dataset: xr.Dataset, of: Any) -> float:
    """The extreme over all scalars that have one (constants and broken draws have none)."""
    values = np.concatenate([np.zeros(0), *map(np.ravel, dataset.data_vars.values())])
    finite = values[np.isfinite(values)]
    return float(of(finite)) if finite.size else np.nan
