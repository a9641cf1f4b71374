"""Variables whose values repeat after a turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytensor.tensor as pt
import pytest

from pmlik._summaries import Circle
from pmlik.model.circular import find_circles

TURN, DEGREES = Circle(-np.pi, np.pi), Circle(-180.0, 180.0)


def test_free_variables_are_circular_by_their_transform() -> None:
    with pm.Model(coords={"g": [0, 1]}) as model:
        pm.VonMises("mu", 0, 1, shape=2)
        circular = pm.distributions.transforms.circular
        pm.Uniform("phase", -np.pi, np.pi, default_transform=None, transform=circular)
        pm.Uniform("cut", -np.pi, np.pi)
        pm.Normal("a")
        labelled = hasattr(pmd, "VonMises")  # PyMC 6.3 has none
        if labelled:
            pmd.VonMises("labelled", 0, 1, dims="g")
    names = ("mu", "phase", "labelled") if labelled else ("mu", "phase")
    assert find_circles(model) == dict.fromkeys(names, TURN)


@pytest.mark.parametrize(
    ("graph", "circle"),
    [
        (lambda mu, a, b: mu * 1, TURN),
        (lambda mu, a, b: mu[0], TURN),
        (lambda mu, a, b: mu[::-1], TURN),
        (lambda mu, a, b: mu * 180 / np.pi, DEGREES),
        (lambda mu, a, b: pt.rad2deg(-mu), DEGREES),
        (lambda mu, a, b: pt.mod(mu, 2 * np.pi), Circle(0.0, 2 * np.pi)),
        (lambda mu, a, b: pt.mod(a + 90, 360) - 180, DEGREES),
        (lambda mu, a, b: pt.arctan2(a, b), TURN),
        (lambda mu, a, b: 12 / np.pi * pt.arctan2(a, b) + 12, Circle(0.0, 24.0)),
        (lambda mu, a, b: 1 - mu, Circle(1 - np.pi, 1 + np.pi)),
        (lambda mu, a, b: mu + a, TURN),
        (lambda mu, a, b: mu[0] - mu[1], TURN),
        (lambda mu, a, b: a + b, None),
        (lambda mu, a, b: pt.cos(mu), None),
        (lambda mu, a, b: mu * a, None),
        (lambda mu, a, b: mu * 0, None),
        (lambda mu, a, b: mu[0] + 2 * mu[1], None),
        (lambda mu, a, b: pt.mod(a, b), None),
        (lambda mu, a, b: mu.sum(), None),
    ],
)
def test_deterministics_are_circular_by_their_graph(
    graph: Callable[..., object], circle: Circle | None
) -> None:
    with pm.Model() as model:
        mu = pm.VonMises("mu", 0, 1, shape=2)
        pm.Deterministic("derived", graph(mu, pm.Normal("a"), pm.Normal("b")))
    found = find_circles(model).get("derived")
    assert found == (circle if circle is None else pytest.approx(circle))
