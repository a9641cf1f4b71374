"""Predictions at new data, by the likelihood and by the posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from pmlik._runtime import quiet_host
from pmlik._typing import FloatArray
from pmlik.errors import ModelError, ValuesError
from pmlik.inference.options import seed_of
from pmlik.inference.predictive import expected_values, with_data
from pmlik.inference.prepare import Prepared, prepared_of
from pmlik.labels import labelled
from pmlik.logp.quantities import SAMPLE
from pmlik.results.comparison import Comparison
from pmlik.results.predictions import Predictions
from pmlik.stats.derived import add_functions

# Draws of the plug-in predictive.
_PLUG_IN = 4000

_POPULATION = (
    "Latents are at the mean of their distribution (the population level) in both columns."
)
_GROUPS = (
    "The plug-in predictive draws all latents from their distribution; the posterior predictive "
    "draws those of dims with new coords so, and has the others as in the posterior."
)


def predict_new(
    comparison: Comparison,
    *,
    data: Mapping[str, Any] | None,
    coords: Mapping[str, Any] | None,
    var_names: Sequence[str] | None,
    kind: Literal["mean", "response"],
    random_seed: int | None,
) -> Predictions:
    """Return predictions, see `Comparison.predict`."""
    if kind not in ("mean", "response"):
        raise ValuesError(f"kind: got {kind!r}, need 'mean' or 'response'.")
    if not isinstance(data, Mapping | None) or not isinstance(coords, Mapping | None):
        raise ValuesError("data, coords: need mappings of names to values.")
    prepared = prepared_of(comparison.mle, "predict")
    model = with_data(prepared.model, data or {}, coords)
    names = list(prepared.roles.observed if var_names is None else var_names)
    unknown = [name for name in names if name not in model.named_vars]
    if unknown or isinstance(var_names, str):
        raise ValuesError(f"var_names: got {var_names!r}, need names of the model's variables.")
    if kind == "mean":
        return _mean(comparison, prepared, model, names)
    return _response(comparison, prepared, model, names, coords or {}, seed_of(random_seed))


@dataclass(frozen=True, eq=False)
class _Expected:
    """The expected value of one variable as a function of labelled values.

    It is compiled where it is used, so that it can be pickled with its model.
    """

    model: pm.Model
    name: str
    parameters: tuple[str, ...]

    @cached_property
    def _evaluate(self) -> Any:
        return expected_values(self.model, [self.name], self.parameters)

    def __call__(self, values: xr.Dataset) -> xr.DataArray:
        known = {name: values[name] for name in self.parameters}
        sampled = "chain" in values.sizes
        if not sampled:
            return self._label(self._evaluate({n: a.to_numpy() for n, a in known.items()})[0], ())
        sizes = values.sizes["chain"], values.sizes["draw"]
        flat = {}
        for name, array in known.items():
            rows = array.transpose(*SAMPLE, ...).to_numpy()
            flat[name] = rows.reshape(-1, *rows.shape[2:])
        found = [
            self._evaluate({n: rows[i] for n, rows in flat.items()})[0]
            for i in range(sizes[0] * sizes[1])
        ]
        return self._label(np.array(found).reshape(*sizes, *np.shape(found[0])), SAMPLE)

    def _label(self, array: FloatArray, leading: tuple[str, ...]) -> xr.DataArray:
        ndim = array.ndim - len(leading)
        dims = [*(self.model.named_vars_to_dims.get(self.name) or [None] * ndim)][:ndim]
        own = [dim or f"{self.name}_dim_{i}" for i, dim in enumerate(dims)]
        labels = {d: list(self.model.coords[d]) for d in own if self.model.coords.get(d)}
        return xr.DataArray(array, dims=[*leading, *own], coords=labels)


def _mean(
    comparison: Comparison, prepared: Prepared, model: pm.Model, names: Sequence[str]
) -> Predictions:
    parameters = tuple(prepared.roles.parameters)
    functions = {f"E({name})": _Expected(model, name, parameters) for name in names}
    plain = replace(comparison, background=replace(comparison.background, curves={}))
    found = add_functions(plain, functions)
    table = found.table
    rows = [label for label in table.index if label not in comparison.table.index]
    shown = table.loc[rows, ["MLE", "SE"]].copy()
    for i, bound in enumerate(("lower", "upper")):
        ends = labelled(found.intervals["wald"].isel(ci_bound=i, drop=True))
        shown[f"delta {bound}"] = [ends.get(label, np.nan) for label in rows]
    if comparison.posterior is not None:
        columns = ["posterior mean", "sd", "interval lower", "interval upper"]
        shown = shown.join(table.loc[rows, columns])
    shown = shown.rename_axis("quantity")
    flags = [flag for flag in found.flags if flag not in comparison.flags]
    notes = (_POPULATION,) if prepared.roles.latents else ()
    return Predictions(
        "mean",
        shown,
        xr.DataTree(),
        float(found.intervals["wald"].attrs["ci_prob"]),
        notes,
        tuple(flags),
    )


def _response(
    comparison: Comparison,
    prepared: Prepared,
    model: pm.Model,
    names: Sequence[str],
    coords: Mapping[str, Any],
    seed: int,
) -> Predictions:
    if any(name not in {rv.name for rv in model.observed_RVs} for name in names):
        raise ValuesError("var_names: kind='response' draws observed variables alone.")
    parameters, prob = list(prepared.roles.parameters), _prob(comparison)
    at = comparison.mle.values[parameters]
    if not all(np.isfinite(array).all() for array in at.data_vars.values()):
        raise ValuesError("predict: the MLE has parameters without a finite value.")
    repeated = at.expand_dims(chain=[0], draw=np.arange(_PLUG_IN))
    groups = {"plug_in": _draw(model, repeated, names, seed)}
    if comparison.posterior is not None:
        draws = comparison.posterior.tree["posterior"].to_dataset()
        own = {rv.name for rv in model.free_RVs}
        renewed = [
            name
            for name in prepared.roles.latents
            if set(prepared.model.named_vars_to_dims.get(name) or ()) & set(coords)
        ]
        kept = [n for n in draws.data_vars if n in own and n not in renewed]
        groups["posterior_predictive"] = _draw(model, draws[kept], names, seed)
    columns: dict[str, dict[str, float]] = {}
    for group, dataset in groups.items():
        columns |= _summarize(group.split("_")[0].replace("plug", "plug-in"), dataset, prob)
    table = pd.DataFrame(columns).rename_axis("quantity")
    if "posterior sd" in table:
        table["sd ratio"] = table["plug-in sd"] / table["posterior sd"]
    notes = [_GROUPS] if prepared.roles.latents else []
    if "sd ratio" in table:
        ratio = float(table["sd ratio"].median())
        notes.append(
            f"The plug-in predictive's sd is {ratio:.3g} times the posterior predictive's (median "
            "of the rows): it leaves out that the parameters are not known."
        )
    return Predictions("response", table, xr.DataTree.from_dict(groups), prob, tuple(notes))


def _prob(comparison: Comparison) -> float:
    return float(comparison.intervals["wald"].attrs["ci_prob"])


def _draw(model: pm.Model, draws: xr.Dataset, names: Sequence[str], seed: int) -> xr.Dataset:
    """Return what `pm.sample_posterior_predictive` draws of new observations."""
    tree = xr.DataTree.from_dict({"posterior": draws})
    try:
        with quiet_host("pymc"):
            found = pm.sample_posterior_predictive(
                tree,
                model=model,
                var_names=list(names),
                random_seed=seed,
                predictions=True,
                progressbar=False,
            )
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{', '.join(names)}: PyMC can't draw them at the new data "
            f"({str(error).splitlines()[0]}). Give the observed variable dims, or the shape of its "
            "mean, so that new data can have another length."
        ) from error
    drawn: xr.Dataset = found["predictions"].to_dataset()
    return drawn


def _summarize(name: str, draws: xr.Dataset, prob: float) -> dict[str, dict[str, float]]:
    ends = draws.astype(float).quantile([(1 - prob) / 2, (1 + prob) / 2], SAMPLE)
    return {
        f"{name} mean": labelled(draws.mean(SAMPLE)),
        f"{name} sd": labelled(draws.std(SAMPLE, ddof=1)),
        f"{name} lower": labelled(ends.isel(quantile=0, drop=True)),
        f"{name} upper": labelled(ends.isel(quantile=1, drop=True)),
    }
