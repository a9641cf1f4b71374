"""Estimates and draws from elsewhere: read, and checked to be of this model and its data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from pymc.distributions.distribution import SymbolicRandomVariable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable

from pmlik._runtime import Timer
from pmlik._typing import FloatArray
from pmlik.errors import PmlikError, ValuesError
from pmlik.inference.prepare import Prepared
from pmlik.inference.robust import make_robust
from pmlik.labels import ParameterSpace, labelled
from pmlik.logp.compile import compile_mode
from pmlik.logp.points import read_points
from pmlik.model.dims import label_space
from pmlik.model.graph import as_tensor, evaluate
from pmlik.model.observations import observed_values
from pmlik.model.validate import constant_data
from pmlik.optimize.objective import Kind
from pmlik.results.call import Name
from pmlik.results.comparison import Comparison
from pmlik.results.files import as_path
from pmlik.results.flags import name_few
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate


@dataclass(frozen=True, kw_only=True)
class GivenOptions:
    """The keywords of `compare` for what was estimated or sampled already."""

    posterior: object = None
    mle: PointEstimate | Comparison | None = None
    map: PointEstimate | Comparison | None = None

    def named(self) -> GivenOptions:
        """Return the same with names in place of what can't be written on one line."""
        path = isinstance(self.posterior, str | os.PathLike)
        posterior = str(self.posterior) if path else _name("posterior", self.posterior)
        return GivenOptions(
            posterior=posterior, mle=_name("mle", self.mle), map=_name("map_estimate", self.map)
        )


def _name(name: str, given: Any) -> Any:
    return None if given is None else Name(name)


# --- Point estimates ------------------------------------------------------------------------------


def adopt_estimate(
    prepared: Prepared, given: PointEstimate | Comparison, kind: Kind
) -> PointEstimate:
    """Return a given estimate as one of a prepared model.

    It is of this model and its data if it has the same scalars, and log-likelihood and log-prior
    at its point are those that it has.

    Raises `ValuesError` if it is not.
    """
    estimate = getattr(given, kind) if isinstance(given, Comparison) else given
    if not isinstance(estimate, PointEstimate) or estimate.kind != kind:
        found = f"the {estimate.kind.upper()}" if isinstance(estimate, PointEstimate) else ""
        raise ValuesError(
            f"{kind}: got {found or type(given).__name__}, need what find_{kind.upper()} or "
            "compare returned."
        )
    problem, x = prepared.problem, estimate.unconstrained
    mine = {*problem.parameters.labels, *problem.derived.labels}
    other = set(labelled(estimate.values))
    if mine != other or len(x) != len(problem.initial):
        differ = name_few(sorted(mine ^ other)) or "the number of coordinates"
        raise ValuesError(f"{kind}: it is not of this model: {differ} differ.")
    pairs = {"log-likelihood": (problem.likelihood, estimate.log_likelihood)}
    if kind == "map" or np.isfinite(estimate.log_prior):
        pairs["log-prior"] = (problem.prior, estimate.log_prior)
    for name, (density, known) in pairs.items():
        value = float(density.many("value", x[None])[0][0])
        if not abs(value - known) <= _SAME * (1 + abs(known)):
            raise ValuesError(
                f"{kind}: it is not of this model and its data: the {name} at its point is "
                f"{value:.6f}, and it has {known:.6f}."
            )
    before = estimate.prepared
    if isinstance(before, Prepared):
        _refuse_other_data(prepared, observed_values(before.problem.model), kind)
    adopted = replace(estimate, prepared=prepared)
    if kind == "mle" and prepared.arguments.covariance_kind == "robust":
        return make_robust(adopted, cluster=prepared.arguments.cluster)
    return adopted


# Numbers that agree to this are the same, computed or stored in single precision.
_SAME, _SINGLE = 1e-6, 1e-4


# --- Draws ----------------------------------------------------------------------------------------

# Draws that are looked at, and the share of them that may be outside the support, by rounding.
_LOOKED_AT, _ROUNDED = 200, 0.05

_GROUPS = ("posterior", "sample_stats", "observed_data", "constant_data", "log_likelihood")
_SAMPLED = ("chain", "draw")
_NEED = (
    "need a DataTree or InferenceData with a posterior, its posterior, a Dataset with the dims "
    "chain and draw, what sample_posterior or compare returned, or the path of a file of these"
)


def adopt_draws(prepared: Prepared, options: GivenOptions, clock: Timer) -> xr.DataTree | None:
    """Return given draws as the tree that ``pm.sample`` of a prepared model would return.

    Variables have the model's dims, coords and order; deterministics that are missing are
    computed by PyMC. What was given is not changed.

    Raises `ValuesError` for what is no posterior, or one of another model or of other data.
    """
    if options.posterior is None:
        return None
    with clock("reading draws"):
        return _adopt(prepared, _as_tree(options.posterior))


def _adopt(prepared: Prepared, tree: xr.DataTree) -> xr.DataTree:
    group = tree["posterior"].to_dataset()
    for dim in _SAMPLED:
        if not group.sizes.get(dim):
            raise ValuesError(f"posterior: it has no {dim}s: {_NEED}.")
    _refuse_other_data(prepared, _numbers(tree, "observed_data"), "posterior")
    _refuse_other_constants(prepared, _numbers(tree, "constant_data"))
    free = _adopt_free(prepared, group)
    _refuse_outside(prepared, free)
    derived = _adopt_derived(prepared, free, group)
    found = {**free, **derived}
    dataset = xr.Dataset({name: found[name] for name in prepared.names if name in found})
    for name, array in group.data_vars.items():
        if name not in found:  # somebody's own, kept where its labels are the model's
            with suppress(ValueError):
                dataset = xr.merge([dataset, array.to_dataset(name=name)], join="exact")
    groups = {name: child.to_dataset() for name, child in tree.children.items()}
    return xr.DataTree.from_dict({**groups, "posterior": dataset.assign_attrs(group.attrs)})


def _as_tree(given: Any) -> xr.DataTree:
    """Return a tree with a group ``posterior``; raises `ValuesError` where there is none."""
    if isinstance(given, str | os.PathLike):
        given = _read_file(as_path(given))
    if isinstance(given, Comparison):
        given = given.posterior
    if isinstance(given, PosteriorEstimate):
        given = given.tree
    if isinstance(given, xr.DataTree) and "posterior" not in given.children:
        given = given.to_dataset()
    if isinstance(given, xr.Dataset):
        given = xr.DataTree.from_dict({"posterior": given})
    if isinstance(given, xr.DataTree):
        return given
    groups = {name: getattr(given, name, None) for name in _GROUPS}
    found = {name: g for name, g in groups.items() if isinstance(g, xr.Dataset | xr.DataTree)}
    if "posterior" not in found:
        raise ValuesError(f"posterior: got {type(given).__name__}, {_NEED}.")
    datasets = {n: g.to_dataset() if isinstance(g, xr.DataTree) else g for n, g in found.items()}
    return xr.DataTree.from_dict(datasets)


def _read_file(path: Path) -> xr.DataTree | Comparison:
    if not path.exists():
        raise ValuesError(f"posterior: {path}: there is no such file.")
    try:
        with xr.open_datatree(path, engine="zarr" if path.is_dir() else "h5netcdf") as tree:
            if "pmlik" not in tree.attrs:
                loaded: xr.DataTree = tree.load()
                return loaded
        return Comparison.load(path)
    except PmlikError:
        raise
    except Exception as error:  # whatever a damaged file makes the libraries below raise
        first = str(error).splitlines()[:1] or [type(error).__name__]
        raise ValuesError(
            f"posterior: {path} can't be read as netCDF or Zarr ({first[0]})."
        ) from error


def _numbers(tree: xr.DataTree, group: str) -> dict[str, FloatArray]:
    """Return the arrays of numbers of a group that may be missing."""
    dataset = tree[group].to_dataset() if group in tree.children else xr.Dataset()
    arrays = {str(name): array.to_numpy() for name, array in dataset.data_vars.items()}
    return {name: array for name, array in arrays.items() if array.dtype.kind in "fiub"}


def _refuse_other_data(prepared: Prepared, given: Mapping[str, FloatArray], what: str) -> None:
    """Refuse observed data other than the model's; those that are not given are not compared."""
    own = observed_values(prepared.problem.model)
    if given and own and not any(name in prepared.model.named_vars for name in given):
        raise ValuesError(
            f"{what}: it is of other data: its observed variables are {', '.join(given)}, the "
            f"model's {', '.join(own)}."
        )
    _refuse_different(own, given, what, "observed data")


def _refuse_other_constants(prepared: Prepared, given: Mapping[str, FloatArray]) -> None:
    """Refuse values of ``pm.Data`` other than the model's."""
    held = {var.name: constant_data(var) for var in prepared.model.data_vars}
    own = {name: data for name, data in held.items() if data is not None}
    _refuse_different(own, given, "posterior", "data")


def _refuse_different(
    own: Mapping[str, FloatArray], given: Mapping[str, FloatArray], what: str, kind: str
) -> None:
    for name in own:
        if name not in given:
            continue
        mine, other = np.asarray(own[name]), given[name]
        if mine.shape != other.shape:
            how = f"their shape is {other.shape}, the model's {mine.shape}"
        elif not np.allclose(mine, other, rtol=_SAME, atol=0, equal_nan=True):
            where = ~np.isclose(mine, other, rtol=_SAME, atol=0, equal_nan=True)
            how = f"{int(where.sum())} of {mine.size} values differ"
        else:
            continue
        raise ValuesError(f"{what}: it is of other data: {kind} {name}: {how}.")


def _adopt_free(prepared: Prepared, group: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the draws of the free variables; latents may be missing."""
    model = prepared.model
    missing = [name for name in prepared.problem.parameters.names if name not in group]
    if missing:
        raise ValuesError(
            f"posterior: it lacks {name_few(missing)} of the model; it has "
            f"{name_few([str(n) for n in group.data_vars]) or 'no variables'}."
        )
    names = [rv.name for rv in model.free_RVs if rv.name in group]
    shapes = evaluate([as_tensor(model[name]).shape for name in names])
    arrays = [np.empty(tuple(int(n) for n in shape)) for shape in shapes]
    space = label_space(model, names, arrays)
    return {name: _fit(group[name], name, space) for name in names}


def _fit(given: xr.DataArray, name: str, space: ParameterSpace) -> xr.DataArray:
    """Return draws with the dims and coords that the model's variable has."""
    like = space.empty(name)
    dims = [str(dim) for dim in given.dims if dim not in _SAMPLED]
    if given.dtype.kind not in "fiub" or not set(_SAMPLED) <= {*given.dims}:
        raise ValuesError(f"posterior: {name} is not of numbers with the dims chain and draw.")
    own = [str(dim) for dim in like.dims]
    if set(dims) == set(own):
        dims = own
    array = given.transpose(*_SAMPLED, *dims)
    if array.shape[2:] != like.shape:
        raise ValuesError(
            f"posterior: {name} has shape {array.shape[2:]} per draw, the model's {like.shape}."
        )
    for theirs, mine in zip(dims, own, strict=True):
        if mine in space.coords and theirs in given.coords:
            array = array.isel({theirs: _order(name, mine, given[theirs], like[mine])})
    coords: dict[Any, Any] = {**{dim: _numbered(given, dim) for dim in _SAMPLED}, **like.coords}
    return xr.DataArray(array.to_numpy(), dims=[*_SAMPLED, *own], coords=coords)


def _numbered(given: xr.DataArray, dim: str) -> Any:
    return given[dim].to_numpy() if dim in given.coords else np.arange(given.sizes[dim])


def _order(name: str, dim: str, given: xr.DataArray, own: xr.DataArray) -> list[int]:
    """Return the positions of the model's labels among those given, which may be numbers only."""
    theirs, mine = (list(map(str, pd.Index(index.to_numpy()))) for index in (given, own))
    if sorted(theirs) == sorted(mine) and len(set(mine)) == len(mine):
        return [theirs.index(label) for label in mine]
    if theirs != mine and theirs != [str(i) for i in range(len(theirs))]:
        raise ValuesError(
            f"posterior: {name}: its labels along {dim} are {name_few(theirs)}, the model's "
            f"{name_few(mine)}."
        )
    return list(range(len(mine)))


def _refuse_outside(prepared: Prepared, free: Mapping[str, xr.DataArray]) -> None:
    """Refuse draws of which many are outside the support of the parameters."""
    space = prepared.problem.parameters
    step = max(1, next(iter(free.values())).sizes["draw"] // _LOOKED_AT)
    some = {name: free[name].isel(draw=slice(None, None, step)) for name in space.names}
    flat = read_points(some, space).flat
    flat = flat[np.isfinite(flat).all(axis=1)]
    with np.errstate(all="ignore"):
        outside = ~prepared.natural.inside(flat)
    if outside.mean() > _ROUNDED if len(flat) else True:
        raise ValuesError(
            f"posterior: {outside.sum()} of {len(flat)} draws lie outside the support of "
            f"{name_few(space.names)}; need draws in the user's units."
        )


def _adopt_derived(
    prepared: Prepared, free: Mapping[str, xr.DataArray], group: xr.Dataset
) -> dict[str, xr.DataArray]:
    """Return the draws of the deterministics: those given, checked, and the others computed.

    Those that depend on variables without draws, or have random numbers of their own, are left
    out or taken as they are.
    """
    model = prepared.model
    names = [var.name for var in model.deterministics if _is_function_of(var, model, free)]
    draws = xr.Dataset(dict(free))
    given = [name for name in names if name in group]
    found = _compute(model, draws, [name for name in names if name not in group])
    if given:
        some = {"chain": [0], "draw": sorted({0, draws.sizes["draw"] // 2})}
        computed = _compute(model, draws.isel(some), given)
        for name in given:
            like = computed[name].isel(chain=0, draw=0, drop=True)
            indexes: dict[str, Any] = {
                str(dim): index.to_numpy() for dim, index in like.coords.items()
            }
            dims = tuple(map(str, like.dims))
            space = ParameterSpace((name,), (like.shape,), (dims,), indexes)
            found[name] = _fit(group[name], name, space)
            mine, other = computed[name].to_numpy(), found[name].isel(some).to_numpy()
            scale = np.nanmax(np.abs(mine), initial=0.0)
            if not np.allclose(mine, other, rtol=_SINGLE, atol=_SINGLE * scale, equal_nan=True):
                raise ValuesError(
                    f"posterior: it is not of this model: its {name} is not what the model "
                    "computes from its parameters."
                )
    return found


def _compute(model: pm.Model, draws: xr.Dataset, names: Sequence[str]) -> dict[str, xr.DataArray]:
    if not names:
        return {}
    interpreted = {"mode": compile_mode(None)}
    computed = pm.compute_deterministics(
        draws, var_names=names, model=model, progressbar=False, compile_kwargs=interpreted
    )
    return {name: computed[name] for name in names}


def _is_function_of(var: Any, model: pm.Model, free: Iterable[str]) -> bool:
    """Return True if a variable depends on nothing random but the named variables."""
    known = {model[name] for name in free}
    inside = [v for v in ancestors([var], known) if v not in known]
    random = (RandomVariable, SymbolicRandomVariable)
    return not any(
        v in model.basic_RVs or isinstance(getattr(v.owner, "op", None), random) for v in inside
    )
