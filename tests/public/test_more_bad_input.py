"""Arguments of the wrong kind, and names that tables can't hold, are refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymc as pm
import pytest

import pmlik

QUIET = {"progressbar": False}


@pytest.fixture(scope="module")
def comparison() -> pmlik.Comparison:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 5), pm.HalfNormal("s", 5), observed=[1.0, 2.0, 4.0])
    return pmlik.compare(model, sample=False, extras=False, **QUIET)


WRONG: dict[str, Callable[[pmlik.Comparison], object]] = {
    "start: got 5": lambda c: pmlik.find_MLE(c.mle.prepared.model, start=5, **QUIET),
    "var_names: got 5": lambda c: pmlik.profile(c.mle, var_names=5, **QUIET),
    "coords: got 5": lambda c: pmlik.profile(c.mle, coords=5, **QUIET),
    "n_points: got 2.5": lambda c: pmlik.profile(c.mle, n_points=2.5, **QUIET),
    "n_points: got -1": lambda c: pmlik.profile(c.mle, n_points=-1, **QUIET),
    "executor: got 5": lambda c: pmlik.bootstrap(c.mle, 5, executor=5, **QUIET),
    "n: got 1000000000000": lambda c: pmlik.bootstrap(c.mle, 10**12, **QUIET),
    "boundary: got 'x'": lambda c: pmlik.likelihood_ratio_test(
        c.mle, null={"mu": 0}, boundary="x", **QUIET
    ),
    "profile: got 'x'": lambda c: pmlik.compare(c.mle.prepared.model, profile="x", **QUIET),
    "comparison: got PointEstimate": lambda c: pmlik.sensitivity(c.mle),
}


@pytest.mark.parametrize("begin", WRONG)
def test_an_argument_of_the_wrong_kind_is_named(begin: str, comparison: pmlik.Comparison) -> None:
    with pytest.raises(pmlik.PmlikError) as caught:
        WRONG[begin](comparison)
    assert str(caught.value).startswith(begin)


@pytest.mark.parametrize("dim", ["method", "statistic", "replicate", "ci_bound"])
def test_a_dim_of_the_tables_is_refused_at_the_start(dim: str) -> None:
    with pm.Model(coords={dim: ["a", "b"]}) as model:
        pm.Normal("y", pm.Normal("t", 0, 5, dims=dim), 1, observed=[1.0, 2.0])
    with pytest.raises(pmlik.ModelError, match=f"t: its dim is called '{dim}'"):
        pmlik.compare(model, **QUIET)


def test_labels_that_are_tuples_and_names_like_elements_are_refused() -> None:
    with pm.Model(coords={"g": [("a", 1), ("b", 2)]}) as model:
        pm.Normal("y", pm.Normal("t", 0, 5, dims="g"), 1, observed=[1.0, 2.0])
    with pytest.raises(pmlik.ModelError, match="t: the labels of its dim 'g' are tuples"):
        pmlik.find_MLE(model, **QUIET)
    with pm.Model(coords={"g": ["a", "b"]}) as model:
        t = pm.Normal("t", 0, 5, dims="g")
        pm.Normal("y", t + pm.Normal("t[a]"), 1, observed=[1.0, 2.0])
    with pytest.raises(pmlik.ModelError, match=r"t\[a\]: reads like an element of t"):
        pmlik.find_MLE(model, **QUIET)


def test_rows_of_repeated_labels_are_told_apart() -> None:
    with pm.Model(coords={"g": ["a", "a", "b"]}) as model:
        pm.Normal("y", pm.Normal("mu", 0, 5, dims="g"), 1, observed=[1.0, 2.0, 3.0])
    comparison = pmlik.compare(model, sample=False, **QUIET)
    assert list(comparison.table.index) == ["mu[a]", "mu[a (2)]", "mu[b]"]
    assert list(comparison.table["MLE"]) == pytest.approx([1, 2, 3])
    ends = pmlik.interval_profile(comparison.mle, ci_prob=0.95, **QUIET)["mu"].to_numpy()
    assert ends == pytest.approx(np.array([[y - 1.959964, y + 1.959964] for y in (1, 2, 3)]))
    assert "mu[a (2)]" in comparison.to_html()
