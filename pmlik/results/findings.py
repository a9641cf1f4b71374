"""Sentences made from the numbers of a comparison, so that they cannot disagree with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pmlik.labels import bounds_of, labelled
from pmlik.results.flags import name_few
from pmlik.results.format import MINUS, count, format_number, format_to, unit_of
from pmlik.results.guard import Guard
from pmlik.results.outliers import describe_outlier, describe_unbounded, find_outlier
from pmlik.results.point import Status
from pmlik.results.verdict import (
    SHIFT,
    SPREAD,
    Judgement,
    Standing,
    constant_rows,
    monte_carlo_error,
)

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison

#: The beginning of the finding of a difference, after the label.
DIFFER = "likelihood and posterior differ."

#: The reason of the finding that says which of four answers stands apart.
OUTLIER = "outlier"

# The most differences that fit on a screen.
_MOST = 5

# With a standard error this many times the posterior's, the likelihood says little.
_WEAK = 3.0

# The steps that begin or end at the posterior's median, which the draws know with an error.
_BY_DRAWS = ("skewness", "tail")

# Steps below this much of a posterior sd are not mentioned.
_NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Finding:
    """One thing that the comparison shows.

    Parameters
    ----------
    labels : tuple of str
        The scalars concerned; empty: all.
    reason : str
        The leading one: a step's name, ``width``, ``agree``, ``outlier``, ``latents``,
        ``no estimate`` or ``not trusted``.
    text : str
        The finding and its meaning.
    action : str
        Advice.
    importance : float
        In posterior standard deviations; infinite if nothing can be compared.
    provisional : bool
        True if further draws, or a better MLE, might change it.
    """

    labels: tuple[str, ...]
    reason: str
    text: str
    action: str
    importance: float
    provisional: bool = False

    def __str__(self) -> str:
        return f"{'Provisional: ' * self.provisional}{self.text} {self.action}".strip()


class _Known(NamedTuple):
    """A comparison, and what findings take from it by label.

    ``map_error``: standard errors of the MAP.
    ``intervals``: (lower, upper), by what the interval is called.
    ``median_error``: Monte Carlo standard errors of the posterior medians.
    ``latents``: rows of latents, and of what they move: the likelihood integrates over them.
    ``boundary``: rows whose MLE is at a boundary.
    """

    comparison: Comparison
    map_error: Mapping[str, float]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    median_error: pd.Series
    latents: frozenset[str]
    boundary: frozenset[str]


def _look_up(comparison: Comparison) -> _Known:
    intervals = {
        kind: bounds_of(dataset)
        for kind, dataset in comparison.intervals.items()
        if kind not in ("wald", "eti", "hdi")
    }
    if comparison.posterior is not None:
        prob = f"{100 * comparison.posterior.interval.attrs['ci_prob']:g}%"
        intervals[f"posterior ({prob})"] = bounds_of(comparison.posterior.interval)
    map_error, latents = labelled(comparison.map.std_error), _latent_labels(comparison)
    median_error = monte_carlo_error(comparison, "median")
    boundary = frozenset(comparison.mle.at_boundary)
    return _Known(comparison, map_error, intervals, median_error, latents, boundary)


def _latent_labels(comparison: Comparison) -> frozenset[str]:
    """Return the rows that the likelihood integrates over, and those that depend on them."""
    if comparison.mle.latents is None:
        return frozenset()
    rows = comparison.dataset.sel({"method": "mle", "statistic": "estimate"}, drop=True)
    known = [name for name in rows.data_vars if name in comparison.mle.values]
    return frozenset(labelled(rows.drop_vars(known)))


def _joint_unbounded(comparison: Comparison) -> tuple[str, ...]:
    """Return the scalars along which the joint mode alone grows without bound."""
    if comparison.joint is None:
        return ()
    points = (comparison.mle, comparison.map)
    shared = {label for point in points for label in point.labels_at(Status.UNBOUNDED)}
    found = comparison.joint.labels_at(Status.UNBOUNDED)
    return tuple(label for label in found if label not in shared)


def find_findings(comparison: Comparison) -> tuple[Finding, ...]:
    """Return all findings: what stands against the verdict, then the most important first."""
    known, table, judgement = _look_up(comparison), comparison.table, comparison.judgement
    found, guard = [], Guard()
    aside = known.latents | constant_rows(table)
    agree = dict[bool, list[str]]()
    for label, standing in judgement.rows.items():
        if standing is Standing.AGREE and label not in aside:
            open_ = judgement.general or label in judgement.open
            agree.setdefault(open_, []).append(label)
        if standing in (Standing.AGREE, Standing.REFUSED) or label in aside:
            continue
        make = _difference if standing is Standing.DIFFER else _without
        failed = Finding((label,), "no estimate", "", "", 0.0)
        finding = guard.make(label, partial(make, known, label), failed)
        text = finding.text or f"No finding about {guard.left_out[-1]}."
        found.append(replace(finding, text=text))
    found += guard.make("outlier", partial(_outlier, comparison), [])
    found += guard.make("latents", partial(_about_latents, known), [])
    found.sort(key=lambda finding: -finding.importance)
    n_rows = len(table) - len(aside)
    agreed = [_agreement(agree[o], n_rows, provisional=o) for o in sorted(agree)]
    return (*_objections(judgement), *found, *agreed)


def select_findings(findings: Sequence[Finding], *, all: bool = False) -> tuple[Finding, ...]:
    """Return at most a screen of findings, each piece of advice once. ``all``: leave none out."""
    ahead = [finding for finding in findings if finding.reason != "agree"]
    kept = ahead if all else ahead[:_MOST]
    chosen, said = [], set()
    for finding in kept:
        chosen.append(replace(finding, action="" if finding.action in said else finding.action))
        said.add(finding.action)
    if len(kept) < len(ahead):
        more = count(len(ahead) - len(kept), "finding", "findings")
        text = f"{more} more: comparison.findings(all=True) has them."
        chosen.append(Finding((), "more", text, "", 0.0))
    return (*chosen, *(finding for finding in findings if finding.reason == "agree"))


def _objections(judgement: Judgement) -> list[Finding]:
    """Return what stands against a verdict, or keeps it provisional."""
    heads = {True: "Left out", False: "Provisional"} if judgement.verdict else {}
    objections = [
        (f"{heads.get(judgement.leaves_out(flag), 'No verdict')}{whose}", flag)
        for whose, flag in judgement.against
    ] + [(f"Not to be trusted{whose}", flag) for whose, flag in judgement.beside]
    said = [
        Finding(flag.variables, "not trusted", f"{head}: {flag.sentence}", flag.action, np.inf)
        for head, flag in objections
    ]
    if not judgement.against and not judgement.sampled:
        text = "No verdict: there is no posterior to hold against the MLE and the MAP."
        action = "Call compare with sample=True, or sample_posterior."
        said.append(Finding((), "not trusted", text, action, np.inf))
    return said


def _outlier(comparison: Comparison) -> list[Finding]:
    """Return the finding about the one of four answers that stands apart."""
    table = comparison.table
    if unbounded := _joint_unbounded(comparison):
        text = describe_unbounded(unbounded, table)
        return [Finding((), "integration", text, _ACTIONS["integration"], np.inf)]
    outlier = find_outlier(table, comparison.circles)
    if outlier is None or outlier.distance <= SHIFT:
        return []
    text = describe_outlier(outlier, table)
    action = _ACTIONS["integration"] if outlier.method == "joint mode" else ""
    return [Finding((outlier.label,), OUTLIER, text, action, outlier.distance)]


def _about_latents(known: _Known) -> list[Finding]:
    """Return one finding about all rows without an MLE that are integrated over."""
    if not known.latents:
        return []
    names = list(
        dict.fromkeys(
            label.split("[")[0] for label in known.comparison.table.index if label in known.latents
        )
    )
    text = (
        f"{', '.join(names)}: not compared. The likelihood is of the parameters, and integrates "
        "over latents; their modes given the MLE are in comparison.mle.latents."
    )
    return [Finding(tuple(sorted(known.latents)), "latents", text, "", 0.0)]


def _without(known: _Known, label: str) -> Finding:
    row = known.comparison.table.loc[label]
    lacking = [name for name in ("MLE", "posterior mean", "sd") if not np.isfinite(row[name])]
    names = {label, label.split("[")[0]}
    why = [flag for flag in known.comparison.flags if names & set(flag.variables)]
    text = f"{label}: not compared, as there is no {lacking[0] if lacking else 'MLE'}."
    text += f" {why[0].code.value}" if why else ""
    if lacking[:1] == ["MLE"] and np.isfinite(row["posterior mean"]):
        text += (
            f" The posterior's {format_to(row['posterior mean'], row['sd'])} "
            f"(sd {format_number(row['sd'], 2)}) rests on the prior."
        )
    action = "Report the posterior with its prior, and see how far another prior moves it."
    return Finding((label,), "no estimate", text, action if "rests" in text else "", 10.0)


def _difference(known: _Known, label: str) -> Finding:
    row = known.comparison.table.loc[label]
    shift, ratio = row["shift in sd"], row["sd"] / row["SE"]
    moved = abs(shift) > SHIFT
    excess = abs(np.log(ratio)) / np.log1p(SPREAD) * SHIFT if ratio > 0 else 0.0
    parts = [f"{label}: {DIFFER}"]
    reason = "width"
    provisional = known.comparison.judgement.general or label in known.comparison.judgement.open
    if moved:
        sentence, reason, clear = _shift_sentence(known, label)
        provisional = provisional or not clear
        parts.append(sentence)
    if ratio > 0 and np.isfinite(ratio) and abs(np.log(ratio)) > np.log1p(SPREAD):
        parts.append(_width_sentence(known, label, ratio))
    parts.append(_interval_sentence(known, label))
    importance = float(np.nanmax([abs(shift), excess]))
    advice = reason if reason != "width" else "narrow" if ratio < 1 else "wide"
    text = " ".join(filter(None, parts))
    return Finding((label,), reason, text, _ACTIONS[advice], importance, provisional)


def _shift_sentence(known: _Known, label: str) -> tuple[str, str, bool]:
    """Return the sentence, the leading step, and True if it leads by more than chance."""
    row = known.comparison.table.loc[label]
    shift, error = row["shift in sd"], unit_of(row["SE"], row["sd"])
    way = f"{format_to(row['MLE'], error)} to {format_to(row['posterior mean'], error)}"
    text = f"From MLE to posterior mean ({way}) it is {_signed(shift)} posterior sd"
    steps = _steps(known, label)
    if not steps:
        return f"{text}.", "prior", True
    reason, *after = sorted(steps, key=lambda name: -steps[name] * np.sign(shift))
    error = 2 * known.median_error[label] / row["sd"]
    by_draws = [name in _BY_DRAWS for name in (reason, *after[:1])]
    lead = abs(steps[reason] - steps[after[0]]) if after else np.inf
    others = [
        f"{name} {_signed(size)}"
        for name, size in steps.items()
        if name != reason and abs(size) >= _NEGLIGIBLE
    ]
    text += f", most of it {_REASONS[reason]} ({_signed(steps[reason])}"
    text += f"; {', '.join(others)})." if others else ")."
    if label in known.boundary:
        text += " The MLE sits on the boundary of the support, the mean can't."
    return text, reason, bool(lead >= error * sum(by_draws))


def _steps(known: _Known, label: str) -> dict[str, float]:
    attribution = known.comparison.attribution
    if attribution is None or label not in attribution.table.index:
        return {}
    row = attribution.table.loc[label].drop(["total", "note", "integration"], errors="ignore")
    return {str(name): float(size) for name, size in row.items() if np.isfinite(size)}


def _width_sentence(known: _Known, label: str, ratio: float) -> str:
    row = known.comparison.table.loc[label]
    of_map = known.map_error.get(label, np.nan)
    text = (
        f"The posterior sd ({format_number(row['sd'], 3)}) is {format_number(ratio, 2)} times the "
        f"standard error ({format_number(row['SE'], 3)})"
    )
    if ratio < 1 / _WEAK:
        return f"{text}: the data say little about it, the prior most."
    if not (np.isfinite(of_map) and of_map > 0):
        return f"{text}."
    prior, shape = np.log(of_map / row["SE"]), np.log(row["sd"] / of_map)
    if abs(prior) > abs(shape) and np.sign(prior) == np.sign(np.log(ratio)):
        return f"{text}: the prior's doing."
    return f"{text}: the shape of the posterior, which the curvature at the top does not show."


def _interval_sentence(known: _Known, label: str) -> str:
    row = known.comparison.table.loc[label]
    error = unit_of(row["SE"], row["sd"])
    shown = [
        f"[{format_to(at[label][0], error)}, {format_to(at[label][1], error)}] by {name}"
        for name, at in known.intervals.items()
        if label in at and not np.isnan(at[label]).any()
    ]
    crossed = any(at[label][0] > at[label][1] for at in known.intervals.values() if label in at)
    across = ", across the ends of the turn" if crossed else ""
    return f"The interval is {' and '.join(shown)}{across}." if shown else ""


def _agreement(labels: Sequence[str], n_rows: int, *, provisional: bool) -> Finding:
    whole = "everything" if len(labels) == n_rows else name_few(labels, 4)
    text = (
        f"Likelihood and posterior agree on {whole}: no mean is "
        f"further than {SHIFT:g} posterior sd from the MLE, no posterior sd more than "
        f"{100 * SPREAD:g}% off the standard error."
    )
    action = "Either may be reported for these."
    return Finding(tuple(labels), "agree", text, action, 0.0, provisional)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", MINUS)


_REASONS = {
    "prior": "the prior",
    "scale": "the scale (a mode depends on the one it is taken on)",
    "skewness": "the skewness of the posterior",
    "tail": "the long tail of the posterior",
}
_ACTIONS = {
    "prior": (
        "Say what the prior is when you report it; if it is not meant to say that much, widen "
        "it and compare again."
    ),
    "scale": (
        "A posterior mode is not invariant: report the mean or the median with an interval, not "
        "the MAP."
    ),
    "skewness": "A standard error is symmetric and this is not: report an interval.",
    "tail": "The mean follows the tail: report the median and an interval.",
    "integration": (
        "Do not report what pm.find_MAP of this model returns: report MLE or MAP with the latents "
        "integrated out, or the posterior."
    ),
    "narrow": "See what the prior adds before the smaller error is reported.",
    "wide": "Report an interval by profile or posterior, not MLE and standard error.",
}
