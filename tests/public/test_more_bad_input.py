"""Arguments of the wrong kind, and names that tables can't hold, are refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

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


class _Squared(Op):  # type: ignore[misc]
    """The square of a number, with a gradient as a user may write it."""

    def __init__(self, gradient: Callable[[Any], Any]) -> None:
        self._gradient = gradient

    def make_node(self, x: Any) -> Apply:
        x = pt.as_tensor_variable(x)
        return Apply(self, [x], [x.type()])

    def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
        outputs[0][0] = np.asarray(inputs[0] ** 2)

    def grad(self, inputs: Any, grads: Any) -> Any:
        return self._gradient(2 * inputs[0] * grads[0])

    def pullback(self, inputs: Any, outputs: Any, grads: Any) -> Any:
        return self.grad(inputs, grads)


def _raise(g: Any) -> Any:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    "gradient", [lambda g: [g, g], lambda g: [pt.stack([g, g])], lambda g: None, _raise]
)
def test_a_malformed_gradient_of_an_op_is_told_in_one_sentence(
    gradient: Callable[..., Any],
) -> None:
    with pm.Model() as model:
        pm.Normal("y", _Squared(gradient)(pm.Normal("a")), 1, observed=[1.0, 2.0])
    with pytest.raises(pmlik.ModelError, match=r"^y: the log-density has no gradient .*`pullback`"):
        pmlik.find_MLE(model, **QUIET)


def test_a_deterministic_may_rename_a_potential() -> None:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 3)
        pm.Normal("y", a, 1, observed=[1.0, 2.0])
        pm.Deterministic("d", pm.Potential("q", -0.5 * a**2))
    mle = pmlik.find_MLE(model, **QUIET)  # a third observation, of zero
    np.testing.assert_allclose([mle.values["a"], mle.values["d"]], [1, -0.5], rtol=1e-9)


def test_an_executor_that_is_closed_is_told(comparison: pmlik.Comparison) -> None:
    with ThreadPoolExecutor(1) as closed:
        pass
    with pytest.raises(pmlik.ModelError, match="executor: got one that takes no work"):
        pmlik.bootstrap(comparison.mle, 5, executor=closed, **QUIET)


def test_too_many_nodes_are_refused() -> None:
    with pm.Model() as model:
        u = pm.Normal("u", 0, pm.HalfNormal("s"), shape=3)
        pm.Poisson("y", pt.exp(u), observed=[1, 2, 3])
    with pytest.raises(pmlik.ModelError, match="quadrature: got 400 nodes, need at most 300"):
        pmlik.find_MLE(model, quadrature=400, **QUIET)


def test_values_known_to_lie_above_are_not_resampled() -> None:
    above = pm.distributions.transforms.Interval(2.0, None)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        pm.Normal("up", mu, 1, shape=2, initval=[3.0, 3.0], transform=above)
        pm.Normal("y", mu, 1, observed=[0.0, 1.0, 1.5])
    mle = pmlik.find_MLE(model, **QUIET)
    for kind in ("parametric", "nonparametric"):
        with pytest.raises(pmlik.ModelError, match=r"up: values known to lie.*pm\.Censored"):
            pmlik.bootstrap(mle, 5, kind=kind, **QUIET)
