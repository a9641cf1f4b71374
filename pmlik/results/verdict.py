"""The verdict: where likelihood and posterior agree or differ, and how firm that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from pmlik.labels import labelled
from pmlik.results.flags import Flag, Severity, name_few

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


#: Beyond these likelihood and posterior are said to differ: posterior standard deviations
#: between mean and MLE, and the factor (less one) between posterior sd and standard error.
SHIFT = 0.25
SPREAD = 0.25

# A statement is firm if it holds this many Monte Carlo standard errors either way.
_ERRORS = 2.0

# Values of a constant are this close to each other.
_SAME = 1e-8


#: What is said in the end: as a heading, and as a note below a table.
VERDICTS = {
    "agree": (
        "Likelihood and posterior agree",
        "likelihood and posterior agree (within a quarter of a posterior sd)",
    ),
    "differ": (
        "Likelihood and posterior differ",
        "likelihood and posterior differ (see shift/sd, and sd against SE)",
    ),
    "not trusted": (
        "No verdict: the MLE or the chains can't be trusted",
        "none, as the MLE or the chains can't be trusted",
    ),
    "nothing": (
        "No verdict: no quantity has both an MLE and a posterior",
        "none, as there is nothing to compare",
    ),
    "no posterior": ("No verdict: there is no posterior to compare with", "none"),
}


class Standing(StrEnum):
    """What is said of one row."""

    AGREE = "agree"
    DIFFER = "differ"
    REFUSED = "its MLE or its chains can't be trusted"
    NOT_COMPARED = "no MLE"


@dataclass(frozen=True)
class Judgement:
    """What is said of each row and of all, and what stands against it.

    ``open``: rows of which the Monte Carlo error could change what is said.
    ``against``: the errors that concern the MLE or the draws, each after the estimate that has it.
    ``beside``: errors of the MAP alone, which the verdict does not rest on.
    ``sampled``: True if there is a posterior.
    """

    rows: Mapping[str, Standing]
    open: frozenset[str] = frozenset()
    against: tuple[tuple[str, Flag], ...] = ()
    beside: tuple[tuple[str, Flag], ...] = ()
    n_divergences: int = 0
    sampled: bool = True

    @property
    def verdict(self) -> Literal["agree", "differ"] | None:
        """``differ`` if a row does, ``agree`` if all do; None if nothing can be said of any."""
        said = set(self.rows.values())
        if Standing.DIFFER in said:
            return "differ"
        return "agree" if Standing.AGREE in said else None

    @property
    def outcome(self) -> str:
        """The key of `VERDICTS`: the verdict, or the reason why there is none."""
        if self.verdict or self.against:
            return self.verdict or "not trusted"
        return "nothing" if self.sampled else "no posterior"

    @property
    def general(self) -> bool:
        """True if something stands against every statement."""
        return bool(self.against or self.n_divergences)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that say why the verdict is provisional; none if it is firm."""
        if self.verdict is None:
            return ()
        found = [f"{flag.sentence}{whose}" for whose, flag in self.against]
        if self.n_divergences and not any("diverged" in text for text in found):
            found.append(f"The sampler diverged in {self.n_divergences} draws.")
        firm = any(row is Standing.DIFFER and x not in self.open for x, row in self.rows.items())
        if self.open and not firm:
            found.append(f"The Monte Carlo error could change it ({name_few(sorted(self.open))}).")
        return tuple(found)

    def leaves_out(self, flag: Flag) -> bool:
        """True if a flag is about rows of which nothing is said."""
        names = set(flag.variables)
        about = [row for label, row in self.rows.items() if names & {label, label.split("[")[0]}]
        return bool(about) and set(about) <= {Standing.REFUSED, Standing.NOT_COMPARED}

    @property
    def differing(self) -> list[str]:
        """The rows that differ."""
        return [label for label, row in self.rows.items() if row is Standing.DIFFER]


def judge(comparison: Comparison) -> Judgement:
    """Return what can be said of a comparison.

    A row is compared where there is an MLE, and where its own chains have an R-hat of at most
    1.05 and an effective sample size from 100 up. What is said of it is firm where the Monte
    Carlo error of mean and sd can't change it.
    """
    table, posterior = comparison.table, comparison.posterior
    against, beside = _errors(comparison)
    if posterior is None:
        nothing = dict.fromkeys(table.index, Standing.REFUSED)
        return Judgement(nothing, against=against, beside=beside, sampled=False)
    differ, settled = differs(table), _is_settled(comparison)
    lacking = ~np.isfinite(table["shift in sd"])
    refused, unreliable = _without_mle(comparison), frozenset(posterior.unreliable)
    rows = dict[str, Standing]()
    for label in table.index:
        if label in (refused if lacking[label] else unreliable):
            rows[label] = Standing.REFUSED
        elif lacking[label]:
            rows[label] = Standing.NOT_COMPARED
        else:
            rows[label] = Standing.DIFFER if differ[label] else Standing.AGREE
    said = [label for label, row in rows.items() if row in (Standing.AGREE, Standing.DIFFER)]
    divergences = posterior.diagnostics["divergences"]
    return Judgement(
        rows,
        open=frozenset(label for label in said if not settled[label]),
        against=against,
        beside=beside,
        n_divergences=int(divergences) if np.isfinite(divergences) else 0,
    )


def _without_mle(comparison: Comparison) -> set[str]:
    """Return the rows that have no MLE because of an error."""
    table, flags = comparison.table, comparison.mle.flags
    errors = [flag.variables for flag in flags if flag.severity is Severity.ERROR]
    names, missing = set().union(*errors), table.index[~np.isfinite(table["MLE"])]
    return {x for x in missing if not all(errors) or names & {x, x.split("[")[0]}}


def _errors(comparison: Comparison) -> list[tuple[tuple[str, Flag], ...]]:
    """Return the flags that are errors, those of the MAP alone apart.

    Chains that disagree have few effective draws, too: once said is enough.
    """
    drawn = () if comparison.posterior is None else comparison.posterior.flags
    errors, told = list[Flag](), set[str]()
    for flag in comparison.flags:
        of_draws = flag in drawn and bool(flag.variables)
        if flag.severity is Severity.ERROR and not (of_draws and told.issuperset(flag.variables)):
            errors.append(flag)
            told.update(flag.variables if of_draws else ())
    others = [e for e in (comparison.mle, comparison.posterior) if e is not None]
    apart = {
        flag
        for flag in errors
        if flag in comparison.map.flags and not any(flag in other.flags for other in others)
    }
    return [
        tuple((comparison.whose(f), f) for f in errors if (f in apart) == aside)
        for aside in (False, True)
    ]


def differs(table: pd.DataFrame) -> pd.Series:
    """Return True where likelihood and posterior differ, by row of `Comparison.table`."""
    shift, spread = _distances(table)
    return (shift > SHIFT) | (spread > np.log1p(SPREAD))


def _distances(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the shift in posterior sds, and the logarithm of sd over standard error, by row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return table["shift in sd"].abs(), np.log(table["sd"] / table["SE"]).abs()


def _is_settled(comparison: Comparison) -> pd.Series:
    """Return True where the Monte Carlo error can't change what is said of a row."""
    table = comparison.table
    shift, spread = _distances(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_mean, of_sd = (monte_carlo_error(comparison, n) / table["sd"] for n in ("mean", "sd"))
    slack = _ERRORS * np.hypot(of_mean, shift * of_sd)
    wide = np.log1p(SPREAD)
    beyond = (shift - slack > SHIFT) | (spread - _ERRORS * of_sd > wide)
    within = (shift + slack <= SHIFT) & ~(spread + _ERRORS * of_sd > wide)
    return beyond | within


def monte_carlo_error(comparison: Comparison, of: str) -> pd.Series:
    """Return the Monte Carlo standard error of posterior ``mean``, ``sd`` or ``median``, by row.

    Zero where it is not known.
    """
    posterior = comparison.posterior
    known = {} if posterior is None else posterior.convergence
    found = labelled(known[f"mcse_{of}"]) if f"mcse_{of}" in known else {}
    return pd.Series(found, dtype=float).reindex(comparison.table.index).fillna(0.0)


def constant_rows(table: pd.DataFrame) -> set[str]:
    """Return the labels that have the same value everywhere, so that there is nothing to say."""
    mle, mean = table["MLE"], table["posterior mean"]
    same = (mean - mle).abs() <= _SAME * np.maximum(1.0, mean.abs())
    nothing = table["sd"].isna() & table["SE"].isna()
    return set(table.index[nothing & np.isfinite(mean) & (same | mle.isna())])
