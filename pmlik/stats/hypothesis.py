"""Test hypotheses by the likelihood, and weigh them by the posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from pmlik._typing import FloatArray
from pmlik.errors import ValuesError
from pmlik.results.comparison import Comparison
from pmlik.results.hypotheses import Hypotheses
from pmlik.stats.derived import add_functions, known_values
from pmlik.stats.expressions import Hypothesis, read_hypothesis
from pmlik.stats.likelihood_ratio import LikelihoodRatioTest, likelihood_ratio_test
from pmlik.stats.profile import places_of


def weigh_hypotheses(
    comparison: Comparison,
    hypotheses: str | Sequence[str],
    *,
    method: Literal["wald", "lr"],
    rope: float | tuple[float, float] | None,
) -> Hypotheses:
    """Return a row per hypothesis, see `Comparison.hypothesis`."""
    if method not in ("wald", "lr"):
        raise ValuesError(f"method: got {method!r}, need 'wald' or 'lr'.")
    region = _read_rope(rope)
    values = known_values(comparison)
    texts = [hypotheses] if isinstance(hypotheses, str) else list(hypotheses)
    if not texts:
        raise ValuesError("hypotheses: got none.")
    read = {one.text: one for one in (read_hypothesis(text, values) for text in texts)}
    plain = replace(comparison, background=replace(comparison.background, curves={}))
    derived = add_functions(plain, {text: one.function for text, one in read.items()})
    tests: dict[str, LikelihoodRatioTest | None] = dict.fromkeys(read)
    if method == "lr":
        tests = {text: _likelihood_ratio(derived, one) for text, one in read.items()}
    rows = {text: _row(derived, one, tests[text], region) for text, one in read.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("hypothesis")
    done = [test for test in tests.values() if test is not None]
    flags = [flag for flag in derived.flags if set(flag.variables) & set(read)]
    return Hypotheses(
        table,
        region,
        tuple(dict.fromkeys([*flags, *(flag for test in done for flag in test.flags)])),
        tuple(dict.fromkeys(_note(test) for test in done if test.p_value != test.p_value_naive)),
    )


def _note(test: LikelihoodRatioTest) -> str:
    return f"{test.null}: the p-value of the likelihood ratio is by {test.reference}."


def _read_rope(rope: Any) -> tuple[float, float] | None:
    if rope is None:
        return None
    try:
        ends = np.asarray(rope, dtype=float)
    except (TypeError, ValueError):
        ends = np.full(3, np.nan)
    low, high = (
        (-ends, ends) if ends.ndim == 0 else ends if ends.shape == (2,) else (np.nan, np.nan)
    )
    if not low < high:
        raise ValuesError(f"rope: got {rope!r}, need a positive number or a pair (lower, upper).")
    return float(low), float(high)


def _likelihood_ratio(comparison: Comparison, one: Hypothesis) -> LikelihoodRatioTest | None:
    """Return the test of the hypothesis' border; None where the likelihood integrates over it."""
    label = one.label or one.text
    if label not in places_of(comparison.mle):
        return None
    return likelihood_ratio_test(comparison.mle, null={label: one.value}, progressbar=False)


def _row(
    comparison: Comparison,
    one: Hypothesis,
    test: LikelihoodRatioTest | None,
    rope: tuple[float, float] | None,
) -> dict[str, float]:
    found = comparison.table.loc[one.text]
    estimate, error = float(found["MLE"]) - one.value, float(found["SE"])
    z = estimate / error if error > 0 else np.nan
    row = {"estimate": estimate, "SE": error, "z": z, "p-value": _p_value(z, one.relation)}
    if test is not None:
        root = float(np.sign(estimate) * np.sqrt(test.statistic))
        regular = test.p_value == test.p_value_naive and one.relation != "="
        row["LR"] = test.statistic
        row["p-value LR"] = _p_value(root, one.relation) if regular else test.p_value
    row["posterior mean"] = float(found["posterior mean"]) - one.value
    row["sd"] = float(found["sd"])
    draws = None
    if comparison.posterior is not None:
        draws = np.ravel(comparison.posterior.tree["posterior"][one.text]) - one.value
    return row | _probabilities(draws, one.relation, rope)


def _p_value(z: float, relation: str) -> float:
    """Return the p-value of a normal statistic; small where the data speak for an inequality."""
    if relation == "=":
        return float(2 * stats.norm.sf(abs(z)))
    return float(stats.norm.sf(z if relation == ">" else -z))


def _probabilities(
    draws: FloatArray | None, relation: str, rope: tuple[float, float] | None
) -> dict[str, float]:
    found = {"P(direction)": np.nan, **({"P(in ROPE)": np.nan} if rope else {})}
    if draws is None or not np.isfinite(draws).all():
        return found
    above, below = float((draws > 0).mean()), float((draws < 0).mean())
    found["P(direction)"] = {"=": max(above, below), ">": above, "<": below}[relation]
    if rope:
        found["P(in ROPE)"] = float(((rope[0] <= draws) & (draws <= rope[1])).mean())
    return found
