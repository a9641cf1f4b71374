"""Three estimates side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pmlik.errors import Flag, Severity
from pmlik.estimates import (
    PointEstimate,
    PosteriorEstimate,
    describe_chains,
    describe_interval,
    labelled,
    space_of,
)
from pmlik.rendering import Sheet, format_number, format_to, to_html, to_text
from pmlik.space import FloatArray

__all__ = ["Comparison", "merge_estimates"]

#: A variable with more elements than this is summarised in print.
_HANDFUL = 8


@dataclass(frozen=True, eq=False)
class Comparison:
    """MLE, MAP and posterior of one model.

    Parameters
    ----------
    mle, map : PointEstimate
    posterior : PosteriorEstimate or None
        None when sampling failed, was interrupted or not asked for.
    dataset : xarray.Dataset
        Every variable with leading dims ``method`` (mle, map, posterior) and ``statistic``
        (estimate, std_error), natural units.
    flags : tuple of Flag
        Those of the three estimates, each once.
    timings : Mapping of str to float
        Seconds by step.
    random_seed : int
        Gives the same numbers again.
    versions : Mapping of str to str
        Of pmlik and what computed the numbers.
    """

    mle: PointEstimate
    map: PointEstimate
    posterior: PosteriorEstimate | None
    dataset: xr.Dataset
    flags: tuple[Flag, ...]
    timings: Mapping[str, float]
    random_seed: int
    versions: Mapping[str, str]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per scalar, indexed by label, natural units.

        ``MLE`` and ``SE`` are of the likelihood alone, ``MAP`` maximises likelihood times
        prior without Jacobian; ``posterior mean``, ``sd``, ``interval lower`` and ``interval
        upper`` are of the draws. ``shift in sd`` is posterior mean minus MLE in posterior
        standard deviations. ``flags`` names the codes of the flags about the row.
        """
        point, error = (self.dataset.sel(statistic=s, drop=True) for s in ("estimate", "std_error"))
        columns = {
            "MLE": labelled(point.sel({"method": "mle"}, drop=True)),
            "SE": labelled(error.sel({"method": "mle"}, drop=True)),
            "MAP": labelled(point.sel({"method": "map"}, drop=True)),
            "posterior mean": labelled(point.sel({"method": "posterior"}, drop=True)),
            "sd": labelled(error.sel({"method": "posterior"}, drop=True)),
        }
        interval = self.posterior.interval if self.posterior else None
        for bound in ("lower", "upper"):
            columns[f"interval {bound}"] = (
                {} if interval is None else labelled(interval.sel(ci_bound=bound, drop=True))
            )
        table = pd.DataFrame(columns, index=pd.Index(list(columns["MLE"]), name="parameter"))
        table["shift in sd"] = (table["posterior mean"] - table["MLE"]) / table["sd"]
        table["flags"] = [
            ", ".join(flag.code.name for flag in self._flags_of(label)) for label in table.index
        ]
        return table

    def _flags_of(self, label: str) -> list[Flag]:
        about = {label, label.split("[")[0]}
        return [flag for flag in self.flags if about & set(flag.variables)]

    @property
    def trusted(self) -> bool:
        """Whether the MLE, the MAP and the chains can all be trusted."""
        return (
            self.mle.trusted
            and self.map.trusted
            and self.posterior is not None
            and self.posterior.trusted
        )

    def sheet(self) -> Sheet:
        """The comparison as a table of strings."""
        columns = ["parameter", "MLE", "SE", "MAP"]
        if self.posterior is not None:
            columns += ["mean", "sd", describe_interval(self.posterior.interval), "shift/sd"]
        numbers = {flag: str(i) for i, flag in enumerate(self.flags, start=1)}
        rows = self._rows()
        marks = [",".join(numbers[flag] for flag in flags) for _, flags in rows]
        if any(marks):
            columns.append("flags")
        body = [
            (*row, mark) if any(marks) else row for (row, _), mark in zip(rows, marks, strict=True)
        ]
        n = len(self.table)
        title = (
            f"Likelihood and posterior of {n} quantities, {self.mle.n_observations} observations"
        )
        return Sheet(title, tuple(columns), tuple(body), tuple(self._notes(numbers)))

    def _rows(self) -> list[tuple[tuple[str, ...], list[Flag]]]:
        rows = []
        space = space_of(self.mle.values if self.posterior is None else self._point())
        for name in space.names:
            labels = list(space.labels_of(name))
            part = self.table.loc[labels]
            if len(labels) <= _HANDFUL:
                rows += [
                    (self._cells(label, part.loc[label]), self._flags_of(label)) for label in labels
                ]
                continue
            flags = [f for f in self.flags if {name, *labels} & set(f.variables)]
            for word in ("min", "median", "max"):
                numbers = part.drop(columns="flags").agg(word)
                rows.append((self._cells(f"{name} ({len(labels)}) {word}", numbers), flags))
        return rows

    def _point(self) -> xr.Dataset:
        return self.dataset.sel({"statistic": "estimate", "method": "mle"}, drop=True)

    def _cells(self, label: str, row: pd.Series[Any]) -> tuple[str, ...]:
        errors = [row["SE"], row["sd"]]
        error = min((e for e in errors if np.isfinite(e) and e > 0), default=np.nan)
        cells = [
            label,
            format_to(row["MLE"], error),
            format_number(row["SE"], 3),
            format_to(row["MAP"], error),
        ]
        if self.posterior is not None:
            lower, upper = row["interval lower"], row["interval upper"]
            cells += [
                format_to(row["posterior mean"], error),
                format_number(row["sd"], 3),
                f"{format_to(lower, error)} .. {format_to(upper, error)}",
                format_to(row["shift in sd"], 0.1),
            ]
        return tuple(cells)

    def _notes(self, numbers: Mapping[Flag, str]) -> list[tuple[str, str]]:
        ll = self.mle.log_likelihood
        notes = [
            (
                "likelihood",
                f"log L = {_fixed(ll)}, NLL = {_fixed(-ll)}, AIC = {_fixed(self.mle.aic)}, "
                f"BIC = {_fixed(self.mle.bic)} ({self.mle.n_parameters} parameters, "
                f"{self.mle.n_observations} observations)",
            ),
            ("MLE", _verdict(self.mle.trusted, str(self.mle.certificate))),
            ("MAP", _verdict(self.map.trusted, str(self.map.certificate))),
        ]
        if self.posterior is None:
            notes.append(("chains", "none"))
        else:
            chains = describe_chains(self.posterior.diagnostics)
            notes.append(("chains", _verdict(self.posterior.trusted, chains)))
        seconds = ", ".join(f"{step} {s:.1f} s" for step, s in self.timings.items())
        notes.append(("time", f"{seconds}; random_seed={self.random_seed}"))
        notes += [(f"flag {numbers[flag]}", f"{flag.severity}: {flag}") for flag in self.flags]
        return notes

    def __str__(self) -> str:
        return to_text(self.sheet())

    def _repr_html_(self) -> str:
        return to_html(self.sheet())


def _fixed(value: float) -> str:
    return format_to(value, 0.01) if np.isfinite(value) else format_number(value)


def _verdict(trusted: bool, what: str) -> str:
    return what if trusted else f"NOT TO BE TRUSTED: {what}"


def merge_estimates(
    mle: PointEstimate, map_estimate: PointEstimate, posterior: PosteriorEstimate | None
) -> tuple[xr.Dataset, tuple[Flag, ...]]:
    """Lay the estimates side by side; what one of them lacks is NaN.

    Returns
    -------
    dataset : xarray.Dataset
        See `Comparison.dataset`.
    flags : tuple of Flag
        All flags, each once, errors first.
    """
    methods = {"mle": mle, "map": map_estimate, "posterior": posterior}
    names = list(mle.values.data_vars)
    if posterior is not None:
        names += [name for name in posterior.values.data_vars if name not in names]
    variables = {name: _stack(str(name), methods) for name in names}
    flags = {flag: None for estimate in methods.values() if estimate for flag in estimate.flags}
    order = list(Severity)[::-1]
    return xr.Dataset(variables), tuple(sorted(flags, key=lambda flag: order.index(flag.severity)))


_STATISTICS = {"estimate": "values", "std_error": "std_error"}


def _stack(name: str, methods: Mapping[str, Any]) -> xr.DataArray:
    template = next(e.values[name] for e in methods.values() if e is not None and name in e.values)
    nothing = np.full(template.shape, np.nan)

    def numbers(estimate: Any, attribute: str) -> FloatArray:
        dataset = getattr(estimate, attribute, xr.Dataset())
        return np.asarray(dataset[name], dtype=float) if name in dataset else nothing

    stacked = [
        [numbers(estimate, attribute) for attribute in _STATISTICS.values()]
        for estimate in methods.values()
    ]
    return xr.DataArray(
        np.array(stacked),
        dims=("method", "statistic", *template.dims),
        coords={"method": list(methods), "statistic": list(_STATISTICS), **template.coords},
    )
