"""An estimate is of the model's data and coords when it was made, whatever happens to these."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr

import pmlik

N = 12
X = np.linspace(-1, 1, N)
Y = np.array([0.1, 0.3, -0.4, 0.9, 0.2, 1.4, 0.8, 1.1, 2.0, 1.2, 2.4, 1.9])
QUIET: dict[str, Any] = {"progressbar": False}


class Made:
    """A model, what it was written with, and what was estimated from it."""

    def __init__(self) -> None:
        self.plain = X**2
        self.shared = pytensor.shared(np.ones(N), name="scale")
        coords = {"obs": [f"o{i}" for i in range(N)], "k": ["a", "b"]}
        with pm.Model(coords=coords) as self.model:
            x = pm.Data("x", X, dims="obs")
            y = pm.Data("y_data", Y, dims="obs")
            pm.Data("firm", np.arange(N) // 3, dims="obs")
            b = pm.Normal("b", 0, 2, dims="k")
            mean = b[0] + b[1] * x + 0.1 * self.plain
            pm.Deterministic("first", mean[0])
            pm.Normal("y", mean, pm.HalfNormal("s", 1) * self.shared, observed=y, dims="obs")
        self.comparison = pmlik.compare(
            self.model, random_seed=1, sample=False, extras=False, **QUIET
        )
        with pm.Model(coords=coords) as self.smaller:
            y = pm.Data("y_data", Y, dims="obs")
            scale = pm.HalfNormal("s", 1) * self.shared
            mean = pm.Normal("b0", 0, 2) + 0.1 * self.plain
            pm.Normal("y", mean, scale, observed=y, dims="obs")
        self.reduced = pmlik.find_MLE(self.smaller, **QUIET)

    def change(self) -> None:
        """Change data, length and labels, a shared variable, an array, the coords, the model."""
        m, names = N + 5, [f"new{i}" for i in range(N + 5)]
        new = {"x": np.full(m, 7.0), "y_data": np.full(m, 99.0), "firm": np.zeros(m, int)}
        for model in (self.model, self.smaller):
            with model:
                kept = {name: value for name, value in new.items() if name in model.named_vars}
                pm.set_data(kept, coords={"obs": names})
        self.shared.set_value(np.full(m, 3.0))
        self.plain[:] = 50.0
        self.model._coords["k"] = ("c", "d")
        with self.model:
            pm.Deterministic("later", self.model["s"] ** 2)


def verbs(made: Made) -> dict[str, Callable[[], Any]]:
    comparison, mle = made.comparison, made.comparison.mle

    def boot(kind: str, **more: Any) -> Callable[[], Any]:
        return lambda: pmlik.bootstrap(mle, 4, kind=kind, random_seed=2, **more, **QUIET).draws

    def likelihood(of: Any) -> Callable[[], Any]:
        return lambda: pmlik.Likelihood.of(of, **QUIET).pointwise(b=[0.5, 1.0], s=0.6)["y"]

    return {
        "parametric bootstrap": boot("parametric"),
        "bootstrap of clusters": boot("nonparametric", cluster="firm"),
        "likelihood": likelihood(mle),
        "profile": lambda: pmlik.profile(mle, var_names=["b"], **QUIET).interval,
        "interval": lambda: pmlik.interval_profile(mle, var_names=["first"], **QUIET),
        "shares": lambda: pmlik.share_information(comparison).shares,
        "likelihood ratio": lambda: np.array(
            [
                getattr(pmlik.likelihood_ratio_test(mle, made.reduced), name)
                for name in ("statistic", "p_value")
            ]
        ),
        "robust": lambda: pmlik.make_robust(mle, cluster="firm").std_error,
        "curves": lambda: comparison.curves("s").log_likelihood,
        "pickled": lambda: pmlik.make_robust(pickle.loads(pickle.dumps(mle))).std_error,
        "table": lambda: comparison.table.to_string(),
    }


@pytest.fixture(scope="module")
def before_and_after() -> tuple[dict[str, Any], dict[str, Any]]:
    """What each verb gives before the change, and after it without having been called before."""
    made, changed = Made(), Made()
    changed.change()
    return tuple({n: verb() for n, verb in verbs(m).items()} for m in (made, changed))


@pytest.mark.parametrize(
    "verb",
    [
        "parametric bootstrap",
        "bootstrap of clusters",
        "likelihood",
        "profile",
        "interval",
        "shares",
        "likelihood ratio",
        "robust",
        "curves",
        "pickled",
        "table",
    ],
)
def test_a_change_of_the_model_changes_nothing(before_and_after, verb) -> None:
    before, after = (values[verb] for values in before_and_after)
    if isinstance(before, str):
        assert before == after
    elif isinstance(before, xr.Dataset | xr.DataArray):
        assert list(before.coords) == list(after.coords)
        xr.testing.assert_allclose(before, after, rtol=1e-10)
    else:
        np.testing.assert_allclose(before, after, rtol=1e-10)


def test_a_fit_after_the_change_is_of_the_new_data() -> None:
    with pm.Model() as model:
        data = pm.Data("data", Y)
        pm.Normal("y", pm.Normal("mu"), 1.0, observed=data)
    first = pmlik.find_MLE(model, **QUIET)
    with model:
        pm.set_data({"data": Y + 3})
    second = pmlik.find_MLE(model, **QUIET)
    assert float(first.values["mu"]) == pytest.approx(Y.mean(), abs=1e-8)
    assert float(second.values["mu"]) == pytest.approx(Y.mean() + 3, abs=1e-8)
    bias = pmlik.bootstrap(first, 50, random_seed=1, **QUIET).bias["mu"]
    assert abs(float(bias)) < 0.2  # its standard error is 0.3 / sqrt(50)
