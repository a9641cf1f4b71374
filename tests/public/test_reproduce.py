"""The printed call evaluates to the same table, for latents and for any container or label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import pmlik
from oracles import regressions
from pmlik.results.call import format_literal
from pmlik.results.references import add_reference

GROUP = np.repeat(np.arange(8), 4)
ROWS = np.random.default_rng(5).normal(size=32) + np.random.default_rng(6).normal(size=8)[GROUP]


def groups() -> pm.Model:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        sigma = pm.HalfNormal("sigma", 5)
        u = pm.Normal("u", mu, 1.0, shape=8)
        pm.Normal("y", u[GROUP], sigma, observed=ROWS)
    return model


def plain() -> pm.Model:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        pm.Normal("y", mu, 1.0, observed=ROWS)
    return model


def repeat(model: pm.Model, call: str) -> pmlik.Comparison:
    return eval(call, {"model": model, "pmlik": pmlik, "pd": pd})


def same(model: pm.Model, comparison: pmlik.Comparison) -> None:
    again = repeat(model, comparison.background.call)
    pd.testing.assert_frame_equal(comparison.table, again.table, check_exact=True)
    assert again.background.call == comparison.background.call


def test_keywords_that_are_the_defaults_are_left_out() -> None:
    call = pmlik.compare(plain(), random_seed=3, sample=False).background.call
    assert call == "pmlik.compare(model, random_seed=3, sample=False)"


def test_a_fresh_seed_is_in_the_line() -> None:
    comparison = pmlik.compare(plain(), sample=False, progressbar=False, extras=False)
    assert f"random_seed={comparison.random_seed}" in comparison.background.call


@pytest.mark.slow
def test_the_options_of_a_model_with_latents_give_the_same_table() -> None:
    model = groups()
    comparison = pmlik.compare(
        model,
        random_seed=3,
        progressbar=False,
        extras=False,
        sample=False,
        profile=False,
        latent=("u",),
        parameters=("sigma",),
        quadrature=np.int64(3),
        covariance_kind="robust",
        cluster=GROUP,
        reference=pd.DataFrame({"book": [0.1]}, index=["mu"]),
    )
    same(model, comparison)


def test_a_start_and_names_in_other_containers_give_the_same_table() -> None:
    model = plain()
    options = {"random_seed": 1, "sample": False, "progressbar": False, "profile": False}
    names, start = {"mu": 1}.keys(), {"mu": np.float64(0.3)}
    same(model, pmlik.compare(model, var_names=names, start=start, **options))


@pytest.fixture(scope="module")
def dataset():
    model = regressions.poisson()
    options = {"random_seed": 1, "sample": False, "progressbar": False, "profile": False}
    comparison = pmlik.compare(model, reference={}, **options)
    assert "reference={}" in comparison.background.call
    return comparison.dataset.drop_sel(method="reference")


@pytest.mark.parametrize(
    "reference",
    [
        {"beta": np.array([0.7, 0.4])},
        {np.str_("beta[a]"): np.float64(0.4)},
        pd.Series({"beta[one]": 0.7, "beta[a]": np.nan}, name="book"),
        pd.Series([0.7], index=["beta[one]"], name=np.str_("R")),
        pd.DataFrame({"R": [0.7, 0.4], "SE": [0.1, np.inf]}, index=["beta[one]", "beta[a]"]),
        pd.DataFrame({"R": pd.array([0.7, 0.4], "Float64")}, index=["beta[one]", "beta[a]"]),
    ],
    ids=["array", "names", "series", "named", "frame", "nullable"],
)
def test_a_reference_written_as_python_adds_the_same_numbers(dataset, reference) -> None:
    again = eval(format_literal(reference), {"pd": pd})
    xr.testing.assert_identical(add_reference(dataset, again), add_reference(dataset, reference))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.arange(3), "[0, 1, 2]"),
        (np.array([[0.5, np.nan]]), "[[0.5, float('nan')]]"),
        (pd.Index(["a", "b"]), "['a', 'b']"),
        (-np.inf, "float('-inf')"),
        (True, "True"),
        ((), "[]"),
        ({"u"}, "['u']"),
        ("numba", "'numba'"),
    ],
)
def test_a_value_is_written_as_python(value, expected) -> None:
    assert format_literal(value) == expected
