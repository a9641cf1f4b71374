"""Compiled densities: Hessians from few products."""

from __future__ import annotations

import numpy as np
import pymc as pm

from pmlik.inference.options import FitOptions
from pmlik.inference.prepare import prepare

RNG = np.random.default_rng(6)
GROUP = np.repeat(np.arange(20), 7)
X = RNG.normal(size=140)
Y = RNG.normal(size=140)


def likelihood(model: pm.Model):
    return prepare(FitOptions(model=model, random_seed=1, progressbar=False)).problem.likelihood


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
