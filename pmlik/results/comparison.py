"""Three estimates side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from pmlik._typing import FloatArray
from pmlik.errors import ValuesError
from pmlik.labels import labelled, space_of
from pmlik.results.attribution import Attribution
from pmlik.results.background import Background
from pmlik.results.exports import Exports
from pmlik.results.findings import Finding, FindingInputs, differs, find_findings, select_findings
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.format import count, format_fixed, format_number, format_to
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate, describe_chains, describe_interval
from pmlik.results.references import add_reference, reference_names
from pmlik.results.table import Table, display_rows, to_html, to_text

__all__ = ["Comparison", "merge_estimates"]

_BOUNDS = ("lower", "upper")


@dataclass(frozen=True, eq=False)
class Comparison(Exports):
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
    background : Background
        Why they differ, the model and the call.
    joint : PointEstimate, optional
        In a model with latents: the mode of parameters and latents together, which plain
        ``pm.find_MAP`` looks for; None, with a flag, where the search would take too long.
        The MLE and the MAP have the latents integrated out.
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
    background: Background = field(default_factory=Background)
    joint: PointEstimate | None = None
    intervals: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def attribution(self) -> Attribution | None:
        """Posterior mean minus MLE, step by step; None without a posterior."""
        return self.background.attribution

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per scalar, indexed by label, natural units.

        ``MLE`` and ``SE`` are of the likelihood alone, ``MAP`` maximises likelihood times
        prior without Jacobian; ``posterior mean``, ``sd``, ``interval lower`` and ``interval
        upper`` are of the draws; ``profile lower`` and ``profile upper``, where there are
        profiles, of the likelihood. ``shift in sd`` is posterior mean minus MLE in posterior
        standard deviations. References have a column each. ``flags`` names the codes of the
        flags about the row.
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
        for name in reference_names(self.dataset):
            table[name] = labelled(point.sel({"method": name}, drop=True))
        table["shift in sd"] = (table["posterior mean"] - table["MLE"]) / table["sd"]
        table["flags"] = [
            ", ".join(flag.code.name for flag in self.flags if is_about(flag, [label]))
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
        """Whether likelihood and posterior agree; None unless optima and chains are certified.

        They agree if no posterior mean is further than a quarter of a posterior standard
        deviation from the MLE, and no posterior standard deviation more than a quarter off the
        standard error.
        """
        if not self.trusted or self.table["shift in sd"].isna().all():
            return None
        return "differ" if bool(differs(self.table).any()) else "agree"

    def findings(self, *, all: bool = False) -> tuple[Finding, ...]:
        """What differs, by how much, why, and what to do: sentences made from the numbers.

        Parameters
        ----------
        all : bool
            Also those that do not fit on a screen.

        Returns
        -------
        tuple of Finding
            The most important first; ``str(finding)`` is the sentence. Unless optima and chains
            can all be trusted there is no verdict, only why.
        """
        return select_findings(self._all_findings, all=all)

    @cached_property
    def _all_findings(self) -> tuple[Finding, ...]:
        return find_findings(self._evidence)

    def with_reference(self, reference: Mapping[str, Any] | pd.Series | pd.DataFrame) -> Comparison:
        """The same comparison with answers from elsewhere beside it.

        Parameters
        ----------
        reference : mapping, pandas.Series or pandas.DataFrame
            Values by label or variable, natural units, as ``{"beta": 0.23}``. Each column of a
            frame is a column of the table; one called ``std_error`` or ``SE`` belongs to the
            one before it.

        Raises
        ------
        ValuesError
            For labels that the comparison does not have.
        """
        return replace(self, dataset=add_reference(self.dataset, reference))

    @property
    def _evidence(self) -> FindingInputs:
        intervals = {}
        for kind, dataset in self.intervals.items():
            if kind not in ("wald", "eti", "hdi"):
                intervals[kind] = bounds_of(dataset)
        if self.posterior is not None:
            prob = f"{100 * self.posterior.interval.attrs['ci_prob']:g}%"
            intervals[f"posterior ({prob})"] = bounds_of(self.posterior.interval)
        return FindingInputs(
            table=self.table,
            steps=None if self.attribution is None else self.attribution.table,
            map_error=labelled(self.map.std_error),
            intervals=intervals,
            flags=self.flags,
            n_observations=self.mle.n_observations,
            trusted=self.trusted,
            latents=self._latent_labels,
            joint_flags=self._joint_flags,
        )

    @property
    def _latent_labels(self) -> frozenset[str]:
        """The rows that the likelihood integrates over, and what these move."""
        if not any(flag.code is FlagCode.INTEGRATED_OUT for flag in self.mle.flags):
            return frozenset()
        rows = self.dataset.sel({"method": "mle", "statistic": "estimate"}, drop=True)
        hidden = rows.drop_vars([name for name in rows.data_vars if name in self.mle.values])
        return frozenset(labelled(hidden))

    @property
    def _joint_flags(self) -> tuple[Flag, ...]:
        """Those of the joint mode that no other estimate has."""
        others = [e for e in (self.mle, self.map, self.posterior) if e is not None]
        shared = {flag for estimate in others for flag in estimate.flags}
        return tuple(f for f in (self.joint.flags if self.joint else ()) if f not in shared)

    def sheet(self) -> Table:
        """The comparison as a table of strings."""
        columns = ["parameter", *self.headings]
        last = "joint" if self.joint else "MAP"
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
            f"Likelihood and posterior of {count(n, 'quantity', 'quantities')}, "
            f"{count(self.mle.n_observations, 'observation', 'observations')}"
        )
        notes = tuple(self._notes(numbers))
        return Table(title, tuple(columns), tuple(body), notes, breaks=(columns.index(last) + 1,))

    @property
    def headings(self) -> list[str]:
        """What the cells of a row are."""
        columns = ["MLE", "SE", "MAP", *(["joint"] if self.joint else [])]
        if self.posterior is not None:
            columns += ["mean", "sd", self.interval_heading, "shift/sd"]
        return [*columns, *reference_names(self.dataset)]

    @property
    def interval_heading(self) -> str:
        """Probability and kind of the posterior's interval."""
        return "interval" if self.posterior is None else describe_interval(self.posterior.interval)

    def select(self, var_names: Sequence[str]) -> Comparison:
        """The same comparison with the rows of these variables only.

        Raises
        ------
        ValuesError
            For a name that it does not have.
        """
        unknown = [name for name in var_names if name not in self.dataset.data_vars]
        if unknown:
            raise ValuesError(
                f"var_names: {', '.join(map(repr, unknown))} not in the comparison, which has "
                f"{', '.join(map(str, self.dataset.data_vars))}."
            )
        return replace(self, dataset=self.dataset[list(var_names)])

    def _rows(self) -> list[tuple[tuple[str, ...], list[Flag]]]:
        space = space_of(self.dataset.sel({"statistic": "estimate", "method": "mle"}, drop=True))
        numbers = self.table.drop(columns="flags").to_dict()
        return [
            (
                (row.label, *self._cells(row.numbers)),
                [f for f in self.flags if is_about(f, row.scalars)],
            )
            for row in display_rows(space, numbers)
        ]

    def cells(self, label: str) -> tuple[str, ...]:
        """The numbers of one scalar as strings, one a heading."""
        return self._cells(self.table.loc[label].to_dict())

    def _cells(self, n: Mapping[str, float]) -> tuple[str, ...]:
        error = min((e for e in (n["SE"], n["sd"]) if np.isfinite(e) and e > 0), default=np.nan)
        cells = [
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
        return (*cells, *(format_to(n[name], error) for name in reference_names(self.dataset)))

    def _notes(self, numbers: Mapping[Flag, str]) -> list[tuple[str, str]]:
        ll = self.mle.log_likelihood
        notes = [
            (
                "likelihood",
                f"log L = {_fixed(ll)}, NLL = {_fixed(-ll)}, AIC = {_fixed(self.mle.aic)}, "
                f"BIC = {_fixed(self.mle.bic)} "
                f"({count(self.mle.n_parameters, 'parameter', 'parameters')}, "
                f"{count(self.mle.n_observations, 'observation', 'observations')})",
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
            nothing = "none, as there is nothing to compare"
            words = nothing if self.trusted and not self.verdict else _VERDICTS[self.verdict]
            notes.append(("verdict", words))
        seconds = ", ".join(f"{step} {s:.1f} s" for step, s in self.timings.items())
        notes.append(("time", f"{seconds}; random_seed={self.random_seed}"))
        for flag in self.flags:
            notes.append((f"flag {numbers[flag]}", f"{flag.severity}{self.whose(flag)}: {flag}"))
        return notes

    def whose(self, flag: Flag) -> str:
        """Which of the estimates a flag is about, where it is not all that there are."""
        estimates = {"MLE": self.mle, "MAP": self.map, "posterior": self.posterior}
        estimates["joint mode"] = self.joint
        whose = [n for n, estimate in estimates.items() if estimate and flag in estimate.flags]
        return f" ({', '.join(whose)})" if 0 < len(whose) < 2 else ""

    def __str__(self) -> str:
        return to_text(self.sheet())

    def _repr_html_(self) -> str:
        return to_html(self.sheet())


_VERDICTS = {
    "agree": "likelihood and posterior agree (within a quarter of a posterior sd)",
    "differ": "likelihood and posterior differ (see shift/sd, and sd against SE)",
    None: "none, as not all three can be trusted",
}


def _fixed(value: float) -> str:
    return format_fixed(value, 3)


def _verdict(trusted: bool, what: str) -> str:
    return what if trusted else f"NOT TO BE TRUSTED: {what}"


def is_about(flag: Flag, scalars: Sequence[str]) -> bool:
    """Whether a flag belongs into the row of these scalars."""
    if not flag.variables:  # about all of them, which only an error has to say in each row
        return flag.severity is Severity.ERROR
    names = {*scalars, *(label.split("[")[0] for label in scalars)}
    return not names.isdisjoint(flag.variables)


def bounds_of(interval: xr.Dataset) -> dict[str, tuple[float, float]]:
    """(lower, upper) by label."""
    lower, upper = (labelled(interval.sel(ci_bound=bound, drop=True)) for bound in _BOUNDS)
    return {label: (lower[label], upper[label]) for label in lower}


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
