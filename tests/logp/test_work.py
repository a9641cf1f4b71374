"""The work of a graph is counted from its nodes and their sizes."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest

from pmlik.logp.work import count_work


def logp(n: int) -> object:
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("y", mu, 1, observed=np.linspace(-1, 1, n))
    return model.logp()


def test_work_grows_with_the_rows_and_is_the_same_each_time() -> None:
    few, many = count_work([logp(10)]), count_work([logp(100_000)])
    assert count_work([logp(10)]) == few
    assert few.nodes == many.nodes
    assert many.elements > 1000 * few.elements
    assert many.gradient > 10 * few.gradient


def test_values_at_once_share_their_nodes() -> None:
    each = count_work([logp(10)])
    assert each.many(100) < 10 * each.many(1)
    assert each.compiled().nodes < each.nodes


@pytest.mark.parametrize("steps", [10, 1000])
def test_a_loop_counts_its_steps(steps: int) -> None:
    x = pt.scalar("x")
    path = pytensor.scan(lambda y: y + x * y, outputs_info=[x], n_steps=steps, return_updates=False)
    straight = count_work([x + x * x])
    assert steps * straight.nodes < count_work([path[-1]]).nodes < 10 * steps * straight.nodes
