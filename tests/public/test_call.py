"""The line that gives the same numbers again has every keyword that was given."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import pmlik
from pmlik.results.call import format_call, format_literal

GIVEN: dict[str, Any] = {
    "var_names": ["mu"],
    "random_seed": 3,
    "progressbar": False,
    "backend": "c",
    "potentials": "prior",
    "ci_kind": "hdi",
    "ci_prob": 0.5,
    "sample": False,
    "sample_kwargs": {"draws": 10, "target_accept": np.float64(0.9)},
    "init": "prior",
    "posterior": "draws.nc",
    "start": {"mu": np.array([1.0, 2.0])},
    "n_starts": 2,
    "latent": ["u"],
    "parameters": ("tau",),
    "quadrature": 5,
    "reference": pd.DataFrame({"R": [1.5, np.nan]}, index=["mu[0]", "mu[1]"]),
    "profile": False,
    "extras": False,
    "covariance_kind": "robust",
    "cluster": {"y": np.array([0, 0, 1])},
    "strict": True,
}


def test_every_keyword_that_is_no_default_is_in_the_line(monkeypatch) -> None:
    module = sys.modules["pmlik.compare"]
    keywords = list(inspect.signature(pmlik.compare).parameters)[1:]
    assert list(GIVEN) == [name for name in keywords if name not in ("mle", "map")]
    monkeypatch.setattr(module, "_run", lambda options: options)

    def line_of(options: Any) -> str:
        fit = replace(options.fit, model=None)
        return format_call("pmlik.compare", "model", replace(options, fit=fit))

    with pm.Model() as model:
        pm.Normal("mu")
    line = line_of(pmlik.compare(model, **GIVEN))
    for name, value in GIVEN.items():
        assert f"{name}={format_literal(value)}" in line
    again = eval(line, {"pmlik": pmlik, "model": model, "pd": pd})
    assert line_of(again) == line
    pd.testing.assert_frame_equal(again.reference, GIVEN["reference"])
    assert line_of(pmlik.compare(model)) == "pmlik.compare(model)"


@pytest.mark.parametrize(
    "value",
    [
        float("inf"),
        pd.Series([1.0, 2.0], index=["a", "b"], name="R"),
        {"a": [1, (2.5, None)], "b": "text"},
        [True, -1e-300],
    ],
)
def test_a_literal_evaluates_to_its_value(value: Any) -> None:
    found = eval(format_literal(value), {"pd": pd})
    if isinstance(value, pd.Series):
        pd.testing.assert_series_equal(found, value)
    else:
        assert format_literal(found) == format_literal(value)


def test_the_line_gives_the_same_table() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        pm.Binomial("y", 10, p, observed=2)
    comparison = pmlik.compare(
        model,
        sample=False,
        progressbar=False,
        random_seed=2,
        start={"p": np.array(0.5)},
        reference=pd.Series({"p": 0.2}, name="R"),
        profile=False,
    )
    again = eval(comparison.background.call, {"pmlik": pmlik, "model": model, "pd": pd})
    pd.testing.assert_frame_equal(again.table, comparison.table, check_exact=True)
    assert "start={'p': 0.5}" in comparison.background.call
