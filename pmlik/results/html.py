"""The page of a comparison: plain values for its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pmlik.labels import labelled, printable
from pmlik.results.attribution import STEPS
from pmlik.results.figures import list_key, report_figures
from pmlik.results.findings import DIFFER, OUTLIER, Finding
from pmlik.results.fit_section import fit_section, information_section
from pmlik.results.flags import Flag, Severity, name_few
from pmlik.results.format import caution, count, format_to, unit_of
from pmlik.results.graph_layout import lay_out_graph
from pmlik.results.guard import Guard
from pmlik.results.posterior import describe_chains
from pmlik.results.table import load_template
from pmlik.results.verdict import SHIFT, SPREAD, VERDICTS

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


def render_page(comparison: Comparison, title: str | None) -> str:
    """Return `Comparison.to_html`."""
    return load_template("report.html.jinja").render(_gather_contents(comparison, title))


def _gather_contents(comparison: Comparison, title: str | None) -> dict[str, Any]:
    """Return everything that the template shows."""
    guard = Guard()
    nothing = ("No verdict: it could not be made", "none")
    words, kind = guard.make("verdict", partial(_verdict, comparison), nothing)
    none: tuple[Finding, ...] = ()
    everything = guard.make("findings", partial(comparison.findings, all=True), none)
    screen = guard.make("findings", comparison.findings, none)
    n = len(comparison.table)
    order = guard.make("order", partial(comparison.leading_labels, n), list(comparison.table.index))
    figures = report_figures(comparison, guard)
    contents = {
        name: guard.make(what, partial(function, comparison), otherwise)
        for name, (what, function, otherwise) in _PARTS.items()
    }
    contents |= {
        name: guard.make(what, partial(function, comparison, order), otherwise)
        for name, (what, function, otherwise) in _ORDERED.items()
    }
    return contents | {
        "title": printable(title or "Likelihood, prior and posterior side by side"),
        "verdict": words,
        "verdict_kind": kind,
        "threshold": _THRESHOLD,
        "provisional": [printable(reason) for reason in comparison.provisional_reasons],
        "findings": [_finding(finding) for finding in screen],
        "more_findings": [_finding(finding) for finding in everything]
        if len(everything) > len(screen)
        else (),
        "rows": _rows(comparison, order, everything, guard),
        "report_figures": figures,
        "model": comparison.background.model,
        "call": comparison.background.call,
        "left_out": list(dict.fromkeys(guard.left_out)),
    }


def _verdict(comparison: Comparison) -> tuple[str, str]:
    """Return the verdict in words, and its kind."""
    words = VERDICTS[comparison.judgement.outcome][0] + " (provisional)" * comparison.provisional
    return words, comparison.verdict or "none"


def _summary(comparison: Comparison) -> str:
    n, mle = len(comparison.table), comparison.mle
    draws = "no posterior"
    if comparison.posterior is not None:
        sizes = comparison.posterior.tree["posterior"].dataset.sizes
        draws = f"{sizes.get('chain', 1)} chains of {sizes.get('draw', 0)} draws"
    return (
        f"{count(n, 'quantity', 'quantities')}, "
        f"{count(mle.n_observations, 'observation', 'observations')}, "
        f"{count(mle.n_parameters, 'parameter', 'parameters')}; {draws}."
    )


def _headline(comparison: Comparison, order: list[str]) -> str:
    """Return how many differ and their names, the most important first."""
    if comparison.verdict != "differ":
        return ""
    different = set(comparison.judgement.differing)
    labels = [printable(label) for label in order if label in different]
    whole = count(len(order), "quantity", "quantities")
    return f"{len(labels)} of {whole}: {name_few(labels, _NAMED)}."


def _finding(finding: Finding) -> dict[str, Any]:
    """Return label, text and advice apart; the heading says that it differs."""
    label = finding.labels[0] if len(finding.labels) == 1 else ""
    lead = f"{label}: "
    about = bool(label) and finding.text.startswith(lead)
    text = finding.text.removeprefix(lead).removeprefix(DIFFER).strip() if about else finding.text
    return {
        "label": printable(label) if about else "",
        "text": printable(text[:1].upper() + text[1:]),
        "action": printable(finding.action),
        "provisional": finding.provisional,
    }


def _columns(comparison: Comparison) -> list[str]:
    """Return the headings of the page's table after the name."""
    columns = list(comparison.headings)
    if comparison.verdict:
        columns.insert(columns.index("shift/sd") + 1, _REASON)
    if "profile" in comparison.intervals:
        columns.insert(columns.index("SE") + 1, _profile_heading(comparison))
    return columns


_REASON = "leading reason"
_NAMED = 6
_THRESHOLD = (
    f"A quantity counts as different where the posterior mean is more than {SHIFT:g} posterior "
    f"standard deviations from the MLE, or the posterior standard deviation more than "
    f"{100 * SPREAD:g}% off the standard error."
)


def _profile_heading(comparison: Comparison) -> str:
    return f"{100 * comparison.intervals['profile'].attrs['ci_prob']:g}% profile"


def _rows(
    comparison: Comparison, order: list[str], findings: Sequence[Finding], guard: Guard
) -> list[dict[str, Any]]:
    reasons = {
        label: finding.reason
        for finding in findings
        if finding.reason != OUTLIER
        for label in finding.labels
    }
    none: list[str] = []
    differ = set(guard.make("marks", lambda: comparison.judgement.differing, none))
    columns = guard.make("columns", partial(_columns, comparison), none)
    made = [
        guard.make(
            f"row of {label}",
            partial(_row, comparison, label, columns, reasons.get(label, ""), label in differ),
            None,
        )
        for label in order
    ]
    return [row for row in made if row is not None]


def _row(
    comparison: Comparison, label: str, columns: Sequence[str], reason: str, differ: bool
) -> dict[str, Any] | None:
    cells = dict(zip(comparison.headings, comparison.cells(label), strict=True))
    cells[_REASON] = reason
    if "profile" in comparison.intervals:
        cells[_profile_heading(comparison)] = _profile(comparison.table.loc[label])
    about = comparison.flags_about([label])
    return {
        "label": printable(label),
        "cells": [cells[column] for column in columns],
        "flags": [str(i) for i, flag in enumerate(comparison.flags, start=1) if flag in about],
        "differs": differ,
    }


def _profile(row: Any) -> str:
    error = unit_of(row["SE"], row["sd"])
    lower, upper = (format_to(row[f"profile {bound}"], error) for bound in ("lower", "upper"))
    return f"{lower} .. {upper}"


def _steps(comparison: Comparison, order: list[str]) -> dict[str, Any] | None:
    if comparison.attribution is None:
        return None
    table = comparison.attribution.table
    beside = ["integration"] if "integration" in table else []
    names = [*STEPS, "total", *beside]
    rows = [
        (
            printable(label),
            [format_to(table.at[label, n], 0.1) for n in names],
            table.at[label, "note"],
        )
        for label in order
        if label in table.index
    ]
    notes = any(note for *_, note in rows)
    return {"names": names, "rows": rows, "notes": notes, "beside": bool(beside)}


def _flags(comparison: Comparison) -> list[dict[str, Any]]:
    order = {severity: i for i, severity in enumerate(list(Severity)[::-1])}
    numbered = sorted(enumerate(comparison.flags, start=1), key=lambda f: order[f[1].severity])
    return [_flag(comparison, i, flag) for i, flag in numbered]


def _flag(comparison: Comparison, number: int, flag: Flag) -> dict[str, Any]:
    names = [printable(name) for name in flag.variables]
    return {
        "number": number,
        "severity": str(flag.severity),
        "whose": comparison.whose(flag),
        "names": name_few(names, 12),
        "text": " ".join(filter(None, (flag.code.value, flag.detail))),
        "action": flag.action,
        "code": flag.code.name,
    }


def _latents(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the joint mode of parameters and latents beside the MLE and the MAP."""
    if "joint" not in comparison.dataset["method"].to_numpy():
        return []
    chosen = comparison.dataset.sel({"method": "joint", "statistic": "estimate"}, drop=True)
    joint, table = labelled(chosen), comparison.table
    rows = []
    for label, value in joint.items():
        row = table.loc[label]
        error = unit_of(row["SE"], row["sd"])
        shown = [format_to(v, error) for v in (row["MLE"], row["MAP"], value)]
        if np.isfinite(value):
            rows.append((printable(label), *shown))
    return rows


def _certificates(comparison: Comparison) -> list[tuple[str, str]]:
    rows = []
    for name, estimate in (("MLE", comparison.mle), ("MAP", comparison.map)):
        c = estimate.certificate
        signs = c.eigenvalue_signs
        text = str(c) + (f"; start: {c.start}" if c.start else "")
        if signs is not None:
            text += (
                f"; curvature positive in {signs.positive}, zero in {signs.zero}, negative in "
                f"{signs.negative} directions"
            )
        text += f"; {c.n_gradients} gradients and {c.n_products} Hessian-vector products."
        if same := sum(end.optimum == 0 for end in c.searches):
            text += f" {same} of {len(c.searches)} starts ended there."
        rows.append((name, caution(estimate.trusted, text)))
    if comparison.posterior is not None:
        rows.append(("chains", f"{describe_chains(comparison.posterior)}."))
    return rows


def _graph(comparison: Comparison) -> Any:
    edges = comparison.background.edges
    children = {child for _, child in edges}
    estimated = set(map(str, comparison.mle.values.data_vars))
    kinds = {
        name: ("derived" if name in children else "parameter")
        if name in estimated
        else ("observed" if name in children else "data")
        for edge in edges
        for name in edge
    }
    return lay_out_graph(edges, kinds)


def _reproduce(comparison: Comparison) -> list[tuple[str, str]]:
    seconds = ", ".join(f"{step} {s:.1f} s" for step, s in comparison.timings.items())
    starts = {
        name: ", ".join(dict.fromkeys(end.start for end in estimate.certificate.searches))
        for name, estimate in (("MLE", comparison.mle), ("MAP", comparison.map))
    }
    rows = [
        ("seed", str(comparison.random_seed)),
        ("versions", _join(comparison.versions)),
        ("time", seconds),
        *((f"starts of the {name}", text) for name, text in starts.items() if text),
    ]
    if comparison.posterior is not None:
        attrs = comparison.posterior.tree["posterior"].dataset.attrs
        sampler = [
            str(attrs[k]) for k in ("inference_library", "inference_library_version") if k in attrs
        ]
        if sampler:
            rows.append(("sampler", " ".join(sampler)))
    return rows


def _join(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _headings(comparison: Comparison) -> list[str]:
    return [printable(column) for column in _columns(comparison)]


# Parts of the page: what each is called where it is left out, what makes it, what stands for it.
_PARTS: dict[str, tuple[str, Callable[[Comparison], Any], Any]] = {
    "summary": ("summary", _summary, ""),
    "columns": ("headings", _headings, []),
    "key": ("legend of the panels", list_key, []),
    "fit": ("fit and prediction", fit_section, {"rows": (), "texts": ()}),
    "flags": ("flags", _flags, []),
    "latents": ("latents", _latents, []),
    "certificates": ("checks", _certificates, []),
    "graph": ("graph", _graph, None),
    "reproduce": ("reproduce", _reproduce, []),
}
_ORDERED: dict[str, tuple[str, Callable[[Comparison, list[str]], Any], Any]] = {
    "headline": ("headline", _headline, ""),
    "steps": ("why they differ", _steps, None),
    "information": ("data and prior", information_section, None),
}
