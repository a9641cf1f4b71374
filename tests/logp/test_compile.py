"""What is compiled how: digits of softplus, products of long matrices, threads."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pmlik.logp.compile import _is_better_alone, compile_mode, compile_quiet, softplus
from pmlik.model.transform import terms_model

RNG = np.random.default_rng(6)


def test_softplus_has_all_digits_everywhere() -> None:
    x = np.concatenate([np.linspace(-700, 700, 2001), 5 * RNG.normal(size=2000), [0.0, -1e-20]])
    exact = np.logaddexp(np.longdouble(0), x.astype(np.longdouble))
    np.testing.assert_allclose(softplus(x), exact.astype(float), rtol=1e-15)
    np.testing.assert_array_equal(
        softplus(np.array([-np.inf, np.inf, np.nan])), [0, np.inf, np.nan]
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


def test_a_sum_of_more_numbers_than_numpy_takes_operands() -> None:
    numbers = [pt.scalar(f"x{i}") for i in range(70)]
    with pm.Model() as model:
        total = pm.Potential("total", pt.add(*numbers) * pt.mul(*numbers))
    function = compile_quiet(numbers, [total], terms_model(model, ["total"]), compile_mode(None))
    values = [np.asarray(1 + 0.01 * i) for i in range(70)]
    assert function(*values)[0] == pytest.approx(np.sum(values) * np.prod(values), rel=1e-13)
