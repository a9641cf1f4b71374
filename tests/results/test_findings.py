"""Findings are made from the table and from nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from oracles.records import RECORDS, WIDE, make_comparison, make_point, make_posterior, many, plain
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.format import MINUS, format_to
from pmlik.results.point import PointEstimate


def test_agreement_is_the_verdict_row_by_row() -> None:
    comparison = plain()
    said = {label: f.reason for f in comparison.findings(all=True) for label in f.labels}
    assert comparison.verdict == "differ"
    assert said["first"] == "agree"
    assert said["second"] != "agree"


@pytest.mark.parametrize("shift", [0.24, 0.26])
def test_the_threshold_is_a_quarter_of_a_posterior_sd(shift: float) -> None:
    values = {"a": 1.0}
    comparison = make_comparison(
        make_point("mle", values, {"a": 0.5}),
        make_point("map", values, {"a": 0.5}),
        make_posterior({"a": 1.0 + shift * 0.5}, {"a": 0.5}),
    )
    (finding,) = comparison.findings()
    assert (finding.reason == "agree") == (shift < 0.25)
    assert comparison.verdict == ("agree" if shift < 0.25 else "differ")


def test_many_rows_are_looked_up_once_and_not_once_per_row(monkeypatch) -> None:
    labels = [f"x[{i}]" for i in range(300)]
    values, errors = dict.fromkeys(labels, 1.0), dict.fromkeys(labels, 0.5)
    flag = Flag(FlagCode.HIGH_R_HAT, Severity.WARNING, tuple(labels))
    comparison = make_comparison(
        make_point("mle", values, errors),
        make_point("map", values, errors),
        make_posterior(dict.fromkeys(labels, 3.0), errors),
    )
    comparison = replace(comparison, flags=(flag,))
    looked, plain_one = [], PointEstimate.labels_at
    monkeypatch.setattr(
        PointEstimate, "labels_at", lambda self, *s: looked.append(s) or plain_one(self, *s)
    )
    assert len([f for f in comparison.findings(all=True) if f.reason != "not trusted"]) >= 300
    assert len(looked) < 10
    assert comparison.flags_about(["x[17]"]) == [flag]
    assert comparison.flags_about(["y"]) == []


@pytest.mark.parametrize("ratio", [0.79, 0.81, 1.24, 1.26])
def test_the_threshold_of_the_width_is_a_quarter_either_way(ratio: float) -> None:
    values = {"a": 1.0}
    comparison = make_comparison(
        make_point("mle", values, {"a": 0.5}),
        make_point("map", values, {"a": 0.5}),
        make_posterior(values, {"a": 0.5 * ratio}),
    )
    (finding,) = comparison.findings()
    assert (finding.reason == "width") == (ratio in (0.79, 1.26))


def test_the_numbers_said_are_those_of_the_table() -> None:
    comparison = plain()
    text = next(str(f) for f in comparison.findings() if f.labels == ("second",))
    row, steps = comparison.table.loc["second"], comparison.attribution.table.loc["second"]
    signed = [f"{steps[name]:+.2f}" for name in ("prior", "skewness", "tail", "total")]
    shown = [format_to(row[c], row["SE"]) for c in ("MLE", "posterior mean", "interval lower")]
    for number in (*signed, *shown):
        assert number.replace("-", MINUS) in text


def test_the_most_important_come_first_and_fit_on_a_screen() -> None:
    comparison = many(1000)
    findings, everything = comparison.findings(), comparison.findings(all=True)
    sizes = [f.importance for f in everything if f.reason != "agree"]
    assert sizes == sorted(sizes, reverse=True)
    assert len(findings) <= 7
    more = next(f for f in findings if f.reason == "more")
    assert int(re.search(r"\d+", more.text)[0]) == len(sizes) - 5
    named = [label for f in everything for label in f.labels]
    assert sorted(named) == sorted(comparison.table.index)


def test_advice_is_given_once() -> None:
    actions = [f.action for f in many().findings() if f.action]
    assert len(actions) == len(set(actions))


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.ERROR])
def test_an_error_makes_a_verdict_provisional_and_a_warning_does_not(severity: Severity) -> None:
    flag = Flag(FlagCode.DIVERGENCES, severity, (), "Raise target_accept.", "12 of 4000.")
    comparison = plain()
    posterior = replace(comparison.posterior, flags=(flag,))
    comparison = make_comparison(comparison.mle, comparison.map, posterior)
    error = severity is Severity.ERROR
    assert comparison.verdict == "differ"
    assert comparison.provisional == error
    said = [f for f in comparison.findings() if f.reason == "not trusted"]
    rows = [f for f in comparison.findings() if f.reason != "not trusted"]
    assert len(said) == error
    assert all(finding.provisional == error for finding in rows)
    assert all(str(finding).startswith("Provisional") == error for finding in rows)


def test_nothing_is_said_of_what_can_not_be_compared() -> None:
    comparison = RECORDS["without_mle"]()
    assert comparison.verdict is None
    assert {f.reason for f in comparison.findings()} == {"no estimate"}


def test_the_profile_interval_is_told_where_there_is_one() -> None:
    comparison = plain()
    bounds = comparison.posterior.interval.assign_attrs(ci_kind="profile")
    comparison = replace(comparison, intervals={"profile": bounds})
    text = next(str(f) for f in comparison.findings() if f.labels == ("second",))
    assert re.search(r"\[.*\] by profile and \[.*\] by posterior \(89%\)", text)


def test_a_width_is_the_priors_doing_where_the_map_has_it_too() -> None:
    errors = {"first": 0.5, "second": 0.01}
    half = {name: error / 2 for name, error in errors.items()}
    comparison = make_comparison(
        make_point("mle", WIDE, errors), make_point("map", WIDE, half), make_posterior(WIDE, half)
    )
    assert all("the prior's doing" in f.text for f in comparison.findings())
    wide = {name: error * 2 for name, error in errors.items()}
    comparison = make_comparison(
        make_point("mle", WIDE, errors), make_point("map", WIDE, errors), make_posterior(WIDE, wide)
    )
    assert all("shape of the posterior" in f.text for f in comparison.findings())
    assert np.isfinite([f.importance for f in comparison.findings()]).all()
