"""Three estimates side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from pmlik.errors import Flag, Severity
from pmlik.estimates import (
    DisplayRow,
    PointEstimate,
    PosteriorEstimate,
    describe_chains,
    describe_interval,
    display_rows,
    labelled,
    space_of,
)
from pmlik.rendering import Sheet, format_fixed, format_number, format_to, to_html, to_text
from pmlik.space import FloatArray

__all__ = ["Comparison", "merge_estimates"]

_BOUNDS = ("lower", "upper")


@dataclass(frozen=True, eq=False)
class Comparison:
    """MLE, MAP and posterior of one model.

    Parameters
    ----------
    mle, map : PointEstimate
    posterior : PosteriorEstimate or None
        None when sampling failed, was interrupted or not asked for.
    dataset : xarray.Dataset
        Every variable with leading dims ``method`` (mle, map, posterior; with latents joint) and
        ``statistic`` (estimate, std_error), natural units.
    flags : tuple of Flag
        Those of the three estimates, each once.
    timings : Mapping of str to float
        Seconds by step.
    random_seed : int
        Gives the same numbers again.
    versions : Mapping of str to str
        Of pmlik and what computed the numbers.
    joint : PointEstimate, optional
        In a model with latents: the mode of parameters and latents together, which plain
        ``pm.find_MAP`` looks for. The MLE and the MAP have the latents integrated out.
    intervals : Mapping of str to xarray.Dataset
        By ``ci_kind``: ``wald`` and ``profile`` of the likelihood, ``eti`` or ``hdi`` of the
        posterior, all of one ``ci_prob``, each with a last dim ``ci_bound``. Those that were
        computed.
    """

    mle: PointEstimate
    map: PointEstimate
    posterior: PosteriorEstimate | None
    dataset: xr.Dataset
    flags: tuple[Flag, ...]
    timings: Mapping[str, float]
    random_seed: int
    versions: Mapping[str, str]
    joint: PointEstimate | None = None
    intervals: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per scalar, indexed by label, natural units.

        ``MLE`` and ``SE`` are of the likelihood alone, ``MAP`` maximises likelihood times
        prior without Jacobian; ``posterior mean``, ``sd``, ``interval lower`` and ``interval
        upper`` are of the draws; ``profile lower`` and ``profile upper``, where there are
        profiles, of the likelihood. ``shift in sd`` is posterior mean minus MLE in posterior
        standard deviations. ``flags`` names the codes of the flags about the row.
        """
        point, error = (self.dataset.sel(statistic=s, drop=True) for s in ("estimate", "std_error"))
        columns = {
            "MLE": labelled(point.sel({"method": "mle"}, drop=True)),
            "SE": labelled(error.sel({"method": "mle"}, drop=True)),
            "MAP": labelled(point.sel({"method": "map"}, drop=True)),
            **self._joint_column(point),
            "posterior mean": labelled(point.sel({"method": "posterior"}, drop=True)),
            "sd": labelled(error.sel({"method": "posterior"}, drop=True)),
        }
        interval = self.posterior.interval if self.posterior else None
        for bound in _BOUNDS:
            columns[f"interval {bound}"] = (
                {} if interval is None else labelled(interval.sel(ci_bound=bound, drop=True))
            )
        for bound in _BOUNDS if "profile" in self.intervals else ():
            ends = self.intervals["profile"].sel(ci_bound=bound, drop=True)
            columns[f"profile {bound}"] = labelled(ends)
        table = pd.DataFrame(columns, index=pd.Index(list(columns["MLE"]), name="parameter"))
        table["shift in sd"] = (table["posterior mean"] - table["MLE"]) / table["sd"]
        table["flags"] = [
            ", ".join(flag.code.name for flag in self.flags if self._is_about(flag, [label]))
            for label in table.index
        ]
        return table

    def _joint_column(self, point: xr.Dataset) -> dict[str, dict[str, float]]:
        if self.joint is None:
            return {}
        return {"joint mode": labelled(point.sel({"method": "joint"}, drop=True))}

    @property
    def trusted(self) -> bool:
        """Whether the MLE, the MAP and the chains can all be trusted."""
        return (
            self.mle.trusted
            and self.map.trusted
            and self.posterior is not None
            and self.posterior.trusted
        )

    @property
    def verdict(self) -> Literal["agree", "differ"] | None:
        """Whether likelihood and posterior agree; None unless optimum and chains are certified.

        They agree if no posterior mean is further than a quarter of a posterior standard
        deviation from the MLE, and no posterior standard deviation more than a quarter off the
        standard error.
        """
        if not self.trusted:
            return None
        table = self.table
        shift = table["shift in sd"].abs()
        spread = np.log(table["sd"] / table["SE"]).abs()
        differ = (shift > _SHIFT) | (spread > np.log1p(_SPREAD))
        return "differ" if bool(differ.any()) else "agree"

    def sheet(self) -> Sheet:
        """The comparison as a table of strings."""
        columns = ["parameter", "MLE", "SE", "MAP", *(["joint"] if self.joint else [])]
        last = columns[-1]
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
        notes = tuple(self._notes(numbers))
        return Sheet(title, tuple(columns), tuple(body), notes, breaks=(columns.index(last) + 1,))

    def _rows(self) -> list[tuple[tuple[str, ...], list[Flag]]]:
        space = space_of(self.dataset.sel({"statistic": "estimate", "method": "mle"}, drop=True))
        numbers = self.table.drop(columns="flags").to_dict()
        return [
            (self._cells(row), [f for f in self.flags if self._is_about(f, row.scalars)])
            for row in display_rows(space, numbers)
        ]

    @staticmethod
    def _is_about(flag: Flag, scalars: Sequence[str]) -> bool:
        if not flag.variables:  # about all of them, which only an error has to say in each row
            return flag.severity is Severity.ERROR
        names = {*scalars, *(label.split("[")[0] for label in scalars)}
        return not names.isdisjoint(flag.variables)

    def _cells(self, row: DisplayRow) -> tuple[str, ...]:
        n = row.numbers
        error = min((e for e in (n["SE"], n["sd"]) if np.isfinite(e) and e > 0), default=np.nan)
        cells = [
            row.label,
            format_to(n["MLE"], error),
            format_number(n["SE"], 3),
            format_to(n["MAP"], error),
            *([format_to(n["joint mode"], error)] if self.joint else []),
        ]
        if self.posterior is not None:
            lower, upper = (format_to(n[f"interval {bound}"], error) for bound in _BOUNDS)
            cells += [
                format_to(n["posterior mean"], error),
                format_number(n["sd"], 3),
                f"{lower} .. {upper}",
                format_to(n["shift in sd"], 0.1),
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
        if self.joint is not None:
            what = "mode over parameters and latents together, as pm.find_MAP has it; "
            certificate = _verdict(self.joint.trusted, str(self.joint.certificate))
            notes.append(("joint", what + certificate))
        if self.posterior is None:
            notes.append(("chains", "none"))
        else:
            chains = describe_chains(self.posterior.diagnostics)
            notes.append(("chains", _verdict(self.posterior.trusted, chains)))
            notes.append(("verdict", _VERDICTS[self.verdict]))
        seconds = ", ".join(f"{step} {s:.1f} s" for step, s in self.timings.items())
        notes.append(("time", f"{seconds}; random_seed={self.random_seed}"))
        for flag in self.flags:
            notes.append((f"flag {numbers[flag]}", f"{flag.severity}{self._whose(flag)}: {flag}"))
        return notes

    def _whose(self, flag: Flag) -> str:
        """Which of the estimates a flag is about, where it is not all that there are."""
        estimates = {"MLE": self.mle, "MAP": self.map, "posterior": self.posterior}
        estimates["joint mode"] = self.joint
        whose = [n for n, estimate in estimates.items() if estimate and flag in estimate.flags]
        return f" ({', '.join(whose)})" if 0 < len(whose) < 2 else ""

    def __str__(self) -> str:
        return to_text(self.sheet())

    def _repr_html_(self) -> str:
        return to_html(self.sheet())


# Beyond these likelihood and posterior are said to differ.
_SHIFT = 0.25
_SPREAD = 0.25

_VERDICTS = {
    "agree": "likelihood and posterior agree (within a quarter of a posterior sd)",
    "differ": "likelihood and posterior differ (see shift/sd, and sd against SE)",
    None: "none, as not all three can be trusted",
}


def _fixed(value: float) -> str:
    return format_fixed(value, 3)


def _verdict(trusted: bool, what: str) -> str:
    return what if trusted else f"NOT TO BE TRUSTED: {what}"


def merge_estimates(
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    names: Sequence[str] | None = None,
    *,
    joint: PointEstimate | None = None,
) -> tuple[xr.Dataset, tuple[Flag, ...]]:
    """Lay the estimates of the named variables (default all) side by side.

    What one of the estimates lacks is NaN.

    Returns
    -------
    dataset : xarray.Dataset
        See `Comparison.dataset`.
    flags : tuple of Flag
        All flags, each once, errors first.
    """
    methods = {"mle": mle, "map": map_estimate, "posterior": posterior}
    if joint is not None:
        methods["joint"] = joint
    estimates = [estimate for estimate in methods.values() if estimate is not None]
    if names is None:
        names = list(dict.fromkeys(str(name) for e in estimates for name in e.values.data_vars))
    variables = {
        name: _stack(name, methods)
        for name in names
        if any(name in estimate.values for estimate in estimates)
    }
    flags = {flag: None for estimate in methods.values() if estimate for flag in estimate.flags}
    order = list(Severity)[::-1]
    coords = {"method": list(methods), "statistic": list(_STATISTICS)}
    dataset = xr.Dataset(variables, coords=coords)
    return dataset, tuple(sorted(flags, key=lambda flag: order.index(flag.severity)))


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
