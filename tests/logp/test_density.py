"""Compiled densities: Hessians from few products, and products of long matrices."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from threadpoolctl import ThreadpoolController

from pmlik._runtime import one_thread, quiet_single_thread
from pmlik.inference.options import Arguments
from pmlik.inference.prepare import prepare
from pmlik.logp.compile import _is_better_alone, softplus

RNG = np.random.default_rng(6)
GROUP = np.repeat(np.arange(20), 7)
X = RNG.normal(size=140)
Y = RNG.normal(size=140)


def test_softplus_has_all_digits_everywhere() -> None:
    x = np.concatenate([np.linspace(-700, 700, 2001), 5 * RNG.normal(size=2000), [0.0, -1e-20]])
    exact = np.logaddexp(np.longdouble(0), x.astype(np.longdouble))
    np.testing.assert_allclose(softplus(x), exact.astype(float), rtol=1e-15)
    np.testing.assert_array_equal(
        softplus(np.array([-np.inf, np.inf, np.nan])), [0, np.inf, np.nan]
    )


def likelihood(model: pm.Model):
    return prepare(Arguments(model, random_seed=1, progressbar=False)).problem.likelihood


def test_hessian_of_groups_is_the_closed_form_from_a_handful_of_products() -> None:
    with pm.Model() as model:
        mean = pm.Flat("mean", shape=20)
        slope = pm.Flat("slope")
        pm.Normal("y", mean[GROUP] + slope * X, 0.5, observed=Y)
    density = likelihood(model)
    design = np.column_stack([GROUP[:, None] == np.arange(20), X])
    for x in RNG.normal(size=(2, 21)):
        np.testing.assert_allclose(
            density.hessian(x), -design.T @ design / 0.25, rtol=1e-10, atol=1e-10
        )
    before = density.n_products
    density.hessian(x)
    assert density.n_products - before <= 4  # the means together, the slope, and the check


def test_an_entry_that_was_zero_where_the_pattern_was_found_is_not_lost() -> None:
    with pm.Model() as model:
        mean = pm.Flat("mean", shape=20)
        bend = pm.math.maximum(mean[0] - 3, 0.0) * mean[1]  # they meet where mean[0] > 3 only
        pm.Normal("y", mean[GROUP] + bend, 1.0, observed=Y)
    density = likelihood(model)
    far = np.zeros(20)
    far[:2] = 5.0, 2.0
    near = density.hessian(np.zeros(20))
    assert near[0, 1] == 0
    hessian, step = density.hessian(far), 1e-5
    differences = [
        (density.value_and_gradient(far + e)[1] - density.value_and_gradient(far - e)[1]) / 2e-5
        for e in step * np.eye(20)
    ]
    np.testing.assert_allclose(hessian, differences, rtol=1e-6, atol=1e-5)
    assert abs(hessian[0, 1]) > 1


def test_a_dense_hessian_is_dense() -> None:
    design = RNG.normal(size=(140, 15))
    with pm.Model() as model:
        beta = pm.Flat("beta", shape=15)
        pm.Normal("y", design @ beta, 1.0, observed=Y)
    np.testing.assert_allclose(
        likelihood(model).hessian(RNG.normal(size=15)), -design.T @ design, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize(("rows", "columns", "long"), [(20_000, 3, True), (200, 3, False)])
def test_long_thin_products_are_told_from_short_ones(rows, columns, long) -> None:
    design = RNG.normal(size=(rows, columns))
    with pm.Model() as model:
        beta = pm.Flat("beta", shape=columns)
        pm.Normal("y", design @ beta, 1.0, observed=np.zeros(rows))
    graph = model.compile_fn(model.logp()).f.maker.fgraph
    assert _is_better_alone(graph.apply_nodes) is long


@pytest.mark.parametrize(("n", "alone"), [(30, True), (600, False)])
def test_large_linear_algebra_keeps_its_threads(n, alone) -> None:
    with pm.Model() as model:
        scale = pm.HalfNormal("scale")
        pm.MvNormal("y", np.zeros(n), np.eye(n) + scale, observed=np.ones(n))
    graph = model.compile_fn(model.logp()).f.maker.fgraph
    assert _is_better_alone(graph.apply_nodes) is alone


def test_one_thread_is_for_a_while() -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in ThreadpoolController().info()]

    before = threads()
    with one_thread(), quiet_single_thread(10):
        assert set(threads()) == {1}
    assert threads() == before
