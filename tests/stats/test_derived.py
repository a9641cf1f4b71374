"""Quantities derived after the fit: against R's car::deltaMethod, closed forms and identities."""

from __future__ import annotations

import re

import cloudpickle
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pmlik
from oracles import regressions_of_r
from pmlik import FlagCode
from pmlik.labels import labelled


def compared(model: pm.Model, **options) -> pmlik.Comparison:
    quick = {"sample": False, "extras": False, "profile": False}
    return pmlik.compare(model, **(quick | {"random_seed": 1, "progressbar": False} | options))


@pytest.fixture(scope="module")
def breaks() -> pmlik.Comparison:
    sampler = {"draws": 200, "tune": 300, "chains": 2}
    return compared(regressions_of_r.warpbreaks(), sample=True, sample_kwargs=sampler)


@pytest.fixture(scope="module")
def derived(breaks) -> pmlik.Comparison:
    functions = {
        "rate ratio": lambda v: np.exp(v["woolB"]),
        "M to H": "exp(effect[M] - effect[H])",
        "rates": lambda v: np.exp(v["effect"]),
        "largest": lambda v: float(v["effect"].max()),
        "share": lambda v: v["woolB"] / v["effect"].sel(tension="M"),
    }
    return breaks.derive(functions, progressbar=False)


def test_figures_are_those_of_car_deltamethod(derived) -> None:
    # deltaMethod(w, "exp(woolB)"), "exp(tensionM - tensionH)", "woolB / tensionM"
    published = {
        "rate ratio": (0.813842482100, 0.041970868232),
        "M to H": (1.217948717949, 0.083225794163),
        "share": (0.641068610585, 0.200540488326),
    }
    found = derived.table.loc[list(published), ["MLE", "SE"]].to_numpy()
    np.testing.assert_allclose(found, list(published.values()), rtol=1e-8)
    logit = compared(regressions_of_r.mtcars()).derive(
        {"half": "-intercept / wt", "odds of 10 hp": "exp(10 * hp)"}, progressbar=False
    )
    # deltaMethod(m, "-(Intercept)/wt"), "exp(10*hp)"
    np.testing.assert_allclose(
        logit.table.loc[["half", "odds of 10 hp"], ["MLE", "SE"]],
        [(2.333934142357, 0.242291437587), (1.436997634305, 0.254839368426)],
        rtol=1e-7,
    )
    normal = compared(regressions_of_r.cars()).derive(
        {"stop": "-a / b", "signal": "(a + 15*b) / sigma"}, progressbar=False
    )
    # deltaMethod(c(a=, b=, ls=log(s$scale)), "-a/b", vcov.=vcov(s)), "(a+15*b)/exp(ls)"
    np.testing.assert_allclose(
        normal.table.loc[["stop", "signal"], ["MLE", "SE"]],
        [(4.47031220997, 1.25461437754), (2.747855345350, 0.309231108252)],
        rtol=1e-7,
    )


def test_a_row_is_that_of_the_same_deterministic() -> None:
    with regressions_of_r.cars() as model:
        pm.Deterministic("signal", (model["a"] + 15 * model["b"]) / model["sigma"])
    inside = compared(model, profile=True)
    beside = compared(regressions_of_r.cars(), profile=True).derive(
        {"signal": "(a + 15*b) / sigma"}, profile=True, progressbar=False
    )
    columns = ["MLE", "SE", "MAP", "profile lower", "profile upper"]
    np.testing.assert_allclose(
        beside.table.loc["signal", columns].astype(float),
        inside.table.loc["signal", columns].astype(float),
        rtol=1e-6,
    )
    tests = [
        pmlik.likelihood_ratio_test(c, null={"signal": 2.0}, progressbar=False).statistic
        for c in (inside, beside)
    ]
    assert tests[0] == pytest.approx(tests[1], rel=1e-6)
    again = [
        labelled(pmlik.bootstrap(c, 4, random_seed=1, progressbar=False).std_error)["signal"]
        for c in (inside, beside)
    ]
    assert again[0] == pytest.approx(again[1], rel=1e-9)


def test_the_posterior_is_that_of_each_draw(derived, breaks) -> None:
    draws = breaks.posterior.tree["posterior"]
    largest = draws["effect"].max("tension")
    row = derived.table.loc["largest"]
    assert row["posterior mean"] == pytest.approx(float(largest.mean()))
    assert row["sd"] == pytest.approx(float(largest.std(ddof=1)))
    assert row["shift in sd"] == pytest.approx((row["posterior mean"] - row["MLE"]) / row["sd"])
    added = derived.posterior.tree["posterior"]
    np.testing.assert_array_equal(added["largest"], largest)
    np.testing.assert_array_equal(added["rates"], np.exp(draws["effect"]))
    assert list(derived.table.index[-3:]) == ["rates[H]", "largest", "share"]
    assert {"r_hat", "ess_bulk"} <= set(derived.posterior.convergence)
    assert float(derived.posterior.convergence["r_hat"]["largest"]) > 0.9
    steps = derived.attribution.table.loc["largest"]
    assert steps["total"] == pytest.approx(row["shift in sd"])
    assert "largest" not in breaks.table.index


def test_rows_are_shown_kept_and_stored(derived, tmp_path) -> None:
    assert "rate ratio" in str(derived)
    assert "rate ratio" in derived.to_html()
    loaded = pmlik.load(derived.save(tmp_path / "c.nc"))
    assert str(loaded) == str(derived)
    with pytest.raises(pmlik.ValuesError, match="without its compiled model"):
        loaded.derive({"a": "woolB"})
    again = cloudpickle.loads(cloudpickle.dumps(derived))
    ends = [
        pmlik.interval_profile(c, var_names=["rate ratio"], progressbar=False)["rate ratio"]
        for c in (derived, again)
    ]
    np.testing.assert_allclose(*ends, rtol=1e-6)
    known = pmlik.interval_profile(derived, var_names=["woolB"], progressbar=False)["woolB"]
    np.testing.assert_allclose(ends[0], np.exp(known), rtol=1e-6)
    twice = derived.derive({"square": lambda v: v["rate ratio"] ** 2}, progressbar=False)
    assert twice.table.at["square", "SE"] == pytest.approx(
        2 * derived.table.at["rate ratio", "MLE"] * derived.table.at["rate ratio", "SE"]
    )


def test_no_derivative_is_no_standard_error(breaks) -> None:
    functions = {
        "sign": lambda v: v["woolB"] > 0,
        "bend": lambda v: abs(v["woolB"] - float(breaks.table.at["woolB", "MLE"])),
        "one": lambda v: 1.0,
        "flat": lambda v: (v["woolB"] - float(breaks.table.at["woolB", "MLE"])) ** 2,
    }
    found = breaks.derive(functions, profile=True, progressbar=False)
    assert np.isnan(found.table.loc[["sign", "bend", "one"], "SE"]).all()
    assert found.table.at["flat", "SE"] == pytest.approx(0, abs=1e-6)
    flags = [f for f in found.flags if f.code is FlagCode.NO_STANDARD_ERROR]
    assert {name for f in flags for name in f.variables} == {"sign", "bend"}


def test_a_simplex_stays_one_and_a_border_has_no_error() -> None:
    counts = np.array([20, 30, 50])
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(3))
        pm.Multinomial("y", 100, p, observed=counts)
    seen = []

    def first(v: xr.Dataset) -> xr.DataArray:
        seen.append(float(abs(v["p"].sum("p_dim_0") - 1).max()))
        return np.log(v["p"].isel(p_dim_0=0))

    found = compared(model).derive({"log p": first}, progressbar=False).table.loc["log p"]
    assert found["SE"] == pytest.approx(np.sqrt(1 / 20 - 1 / 100), rel=1e-8)
    assert max(seen) < 1e-12
    with pm.Model() as model:
        q = pm.Beta("q", 1, 1)
        pm.Binomial("y", n=10, p=q, observed=0)
    at_border = compared(model).derive({"odds": "q / (1 - q)"}, progressbar=False)
    assert at_border.table.at["odds", "MLE"] == 0
    assert np.isnan(at_border.table.at["odds", "SE"])


def test_what_is_identified_has_an_estimate_though_its_parts_have_none() -> None:
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 10), pm.Normal("b", 0, 10)
        pm.Normal("y", a + b, 1, observed=[1.0, 2.0, 3.0])
    found = compared(model).derive({"sum": "a + b", "a alone": "2 * a"}, progressbar=False)
    np.testing.assert_allclose(found.table.loc["sum", ["MLE", "SE"]].astype(float), [2, 3**-0.5])
    assert np.isnan(found.table.at["a alone", "MLE"])


def test_robust_errors_are_those_of_the_sandwich() -> None:
    found = compared(regressions_of_r.cars(), covariance_kind="robust")
    twice = found.derive({"twice": "2 * b"}, progressbar=False)
    assert twice.table.at["twice", "SE"] == pytest.approx(2 * found.table.at["b", "SE"], rel=1e-9)


def test_a_profile_of_a_ratio_is_fiellers() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])
    with pm.Model() as model:
        m = pm.Normal("m", 0, 100, shape=2)
        pm.Normal("y", m[None, :], 1, observed=np.column_stack([x, 2 * x]))
    found = compared(model).derive({"ratio": "m[0] / m[1]"}, profile=True, progressbar=False)
    z2 = stats.chi2.ppf(found.intervals["profile"].attrs["ci_prob"], 1) / 4
    a, b = 2.5, 5.0  # roots of (a - r b)^2 = z2 (1 + r^2)
    roots = np.roots([b**2 - z2, -2 * a * b, a**2 - z2])
    ends = found.table.loc["ratio", ["profile lower", "profile upper"]].astype(float)
    np.testing.assert_allclose(ends, np.sort(roots), rtol=1e-6)


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({"woolB": lambda v: v["woolB"]}, "in the comparison already"),
        ({"a[1]": lambda v: v["woolB"]}, "without brackets"),
        ({"a": lambda v: v["wolB"]}, "Did you mean woolB"),
        ({"a": lambda v: v.wolB}, "Did you mean woolB"),
        ({"a": lambda v: "x"}, "need a number"),
        ({"a": lambda v: 1 / 0}, "ZeroDivisionError"),
        ({"a": 3}, "need a function"),
        ({}, "need a mapping"),
        ({"a": "effect[L]"}, r"Did you mean effect\[M\]|effect\[H\]"),
        ({"a": "effect"}, "not a scalar"),
        ({"a": "__import__('os')"}, "not known here"),
        ({"a": "woolB.real"}, "can't be read"),
        ({"a": "woolB +"}, "can't be read"),
        ({"a": "woolB = 0"}, "hypothesis"),
    ],
)
def test_what_is_no_quantity_is_refused(breaks, functions, words) -> None:
    with pytest.raises(pmlik.ValuesError) as error:
        breaks.derive(functions)
    assert re.search(words, str(error.value)), str(error.value)


def test_the_posterior_weighs_hypotheses_by_counting(breaks) -> None:
    draws = np.ravel(breaks.posterior.tree["posterior"]["woolB"])
    found = breaks.hypothesis(["woolB = 0", "woolB > -0.2"], rope=(-0.25, 0.1))
    assert found.table["P(direction)"].tolist() == [np.mean(draws < 0), np.mean(draws > -0.2)]
    inside = (draws >= -0.25) & (draws <= 0.1)
    assert found.table["P(in ROPE)"].iloc[0] == np.mean(inside)
    assert "ROPE" in str(found)
