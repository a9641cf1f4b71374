"""A comparison as a table of strings: cells, notes, selected columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from pmlik.errors import ValuesError
from pmlik.labels import labelled, space_of
from pmlik.results.flags import Flag, name_few
from pmlik.results.format import caution, count, format_fixed, format_number, format_to, unit_of
from pmlik.results.guard import Guard
from pmlik.results.posterior import describe_chains, describe_interval
from pmlik.results.table import Table, display_rows
from pmlik.results.verdict import VERDICTS

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


def build_frame(comparison: Comparison) -> pd.DataFrame:
    """Return `Comparison.table`."""
    point, error = (
        comparison.dataset.sel(statistic=s, drop=True) for s in ("estimate", "std_error")
    )

    posterior = comparison.posterior

    def column(dataset: xr.Dataset, method: str) -> dict[str, float]:
        return labelled(dataset.sel({"method": method}, drop=True))

    columns = {
        "MLE": column(point, "mle"),
        "SE": column(error, "mle"),
        "MAP": column(point, "map"),
        **({"joint mode": column(point, "joint")} if comparison.joint else {}),
        "posterior mean": column(point, "posterior"),
        "sd": column(error, "posterior"),
        **_bounds("interval", posterior.interval if posterior else None),
    }
    if "profile" in comparison.intervals:
        columns |= _bounds("profile", comparison.intervals["profile"])
    table = pd.DataFrame(columns, index=pd.Index(list(columns["MLE"]), name="parameter"))
    for name in comparison.references:
        table[name] = column(point, name)
    mean = table["posterior mean"].copy()
    for label, circle in comparison.circles.items():
        mean[label] = circle.near(mean[label], table.at[label, "MLE"])
    shift = (mean - table["MLE"]) / table["sd"]
    table["shift in sd"] = shift.where(np.isfinite(shift))
    flags = [comparison.flags_about([label]) for label in table.index]
    table["flags"] = [", ".join(flag.code.name for flag in about) for about in flags]
    return table


def _bounds(name: str, interval: xr.Dataset | None) -> dict[str, dict[str, float]]:
    """Return the columns of both ends; empty ones where there is no interval."""
    return {
        f"{name} {bound}": {}
        if interval is None
        else labelled(interval.sel(ci_bound=bound, drop=True))
        for bound in ("lower", "upper")
    }


def tabulate(comparison: Comparison) -> Table:
    """Return the comparison as a table: one row per scalar, three per large variable."""
    columns = ["parameter", *headings_of(comparison)]
    last = "joint" if comparison.joint else "MAP"
    numbers = {flag: str(i) for i, flag in enumerate(comparison.flags, start=1)}
    rows = _rows(comparison)
    marks = [",".join(numbers[flag] for flag in flags) for _, flags in rows]
    if any(marks):
        columns.append("flags")
    body = [(*row, mark) if any(marks) else row for (row, _), mark in zip(rows, marks, strict=True)]
    title = (
        f"Likelihood and posterior of {count(len(comparison.table), 'quantity', 'quantities')}, "
        f"{count(comparison.mle.n_observations, 'observation', 'observations')}"
    )
    notes = tuple(_notes(comparison, numbers))
    return Table(title, tuple(columns), tuple(body), notes, breaks=(columns.index(last) + 1,))


def select_table(
    comparison: Comparison, columns: Sequence[str] | None, var_names: Sequence[str] | str | None
) -> Table:
    """Return the table of some variables with some of its columns; ``interval`` names its own.

    Raises `ValuesError` for columns and variables that the comparison does not have.
    """
    if isinstance(columns, str):
        raise ValuesError(f"columns: got the string {columns!r}, need a list of names.")
    if var_names is not None:
        comparison = comparison.select(var_names)
    table = tabulate(comparison)
    if columns is None:
        return table
    interval = interval_heading(comparison)
    try:
        return table.pick([interval if c == "interval" else c for c in columns])
    except KeyError as error:
        raise ValuesError(
            f"columns: {error} is not in the table, which has {', '.join(table.columns[1:])}."
        ) from None


def headings_of(comparison: Comparison) -> list[str]:
    """Return the headings of the cells of a row."""
    return [heading for heading, _ in _columns(comparison)]


def interval_heading(comparison: Comparison) -> str:
    """Return the probability and the kind of the posterior's interval."""
    posterior = comparison.posterior
    return "interval" if posterior is None else describe_interval(posterior.interval)


def cells_of(comparison: Comparison, label: str) -> tuple[str, ...]:
    """Return the numbers of one scalar as strings, one per heading."""
    return _cells(comparison, comparison.table.loc[label].to_dict())


def _rows(comparison: Comparison) -> list[tuple[tuple[str, ...], list[Flag]]]:
    chosen = {"statistic": "estimate", "method": "mle"}
    space = space_of(comparison.dataset.sel(chosen, drop=True))
    numbers = comparison.table.drop(columns="flags").to_dict()
    return [
        ((row.label, *_cells(comparison, row.numbers)), comparison.flags_about(row.scalars))
        for row in display_rows(space, numbers)
    ]


def _cells(comparison: Comparison, numbers: Mapping[str, float]) -> tuple[str, ...]:
    error = unit_of(numbers["SE"], numbers["sd"])
    return tuple(write(numbers, error) for _, write in _columns(comparison))


def _columns(
    comparison: Comparison,
) -> list[tuple[str, Callable[[Mapping[str, float], float], str]]]:
    """Return the headings, and what writes a cell from a row's numbers and their error."""

    def to_error(name: str) -> Callable[[Mapping[str, float], float], str]:
        return lambda n, error: format_to(n[name], error)

    columns = [("MLE", to_error("MLE")), ("SE", lambda n, _: format_number(n["SE"], 3))]
    columns.append(("MAP", to_error("MAP")))
    if comparison.joint:
        columns.append(("joint", to_error("joint mode")))
    if comparison.posterior is not None:
        lower, upper = to_error("interval lower"), to_error("interval upper")
        columns += [
            ("mean", to_error("posterior mean")),
            ("sd", lambda n, _: format_number(n["sd"], 3)),
            (interval_heading(comparison), lambda n, e: f"{lower(n, e)} .. {upper(n, e)}"),
            ("shift/sd", lambda n, _: format_to(n["shift in sd"], 0.1)),
        ]
    return columns + [(name, to_error(name)) for name in comparison.references]


def _notes(comparison: Comparison, numbers: Mapping[Flag, str]) -> list[tuple[str, str]]:
    guard = Guard()
    nothing: list[tuple[str, str]] = []
    notes = guard.make("estimates", partial(_estimate_notes, comparison), nothing)
    seconds = ", ".join(f"{step} {s:.1f} s" for step, s in comparison.timings.items())
    notes.append(("time", f"{seconds}; random_seed={comparison.random_seed}"))
    for flag in comparison.flags:
        about = f"{flag.severity}{comparison.whose(flag)}"
        notes.append((f"flag {numbers[flag]}", f"{about}: {flag}"))
    return notes + [("left out", text) for text in guard.left_out]


def _estimate_notes(comparison: Comparison) -> list[tuple[str, str]]:
    notes = [("likelihood", _likelihood_note(comparison)), *_angle_notes(comparison)]
    for name, estimate in (("MLE", comparison.mle), ("MAP", comparison.map)):
        notes.append((name, caution(estimate.trusted, str(estimate.certificate))))
    joint, posterior = comparison.joint, comparison.posterior
    if joint is not None:
        what = "mode over parameters and latents together, as pm.find_MAP has it; "
        notes.append(("joint", what + caution(joint.trusted, str(joint.certificate))))
    if posterior is None:
        notes.append(("chains", "none"))
    else:
        notes.append(("chains", describe_chains(posterior)))
        reasons, words = comparison.provisional_reasons, VERDICTS[comparison.judgement.outcome][1]
        notes.append(("verdict", f"provisional: {words}" if reasons else words))
        notes += [("provisional", reason) for reason in reasons]
    return notes


def _angle_notes(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the note about intervals of angles whose ends seem to be interchanged."""
    ends = comparison.table.loc[list(comparison.circles)]
    over = ends.index[ends["interval lower"] > ends["interval upper"]]
    text = "the interval goes on across the cut, from its first end up to its second"
    return [("angles", f"{name_few(list(over))}: {text}")] if len(over) else []


def _likelihood_note(comparison: Comparison) -> str:
    mle = comparison.mle
    numbers = (mle.log_likelihood, mle.nll, mle.aic, mle.bic)
    log_likelihood, nll, aic, bic = map(format_fixed, numbers)
    return (
        f"log L = {log_likelihood}, NLL = {nll}, AIC = {aic}, BIC = {bic} ("
        f"{count(mle.n_parameters, 'parameter', 'parameters')}, "
        f"{count(mle.n_observations, 'observation', 'observations')})"
    )
