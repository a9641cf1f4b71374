"""Searches that go on from merged components, and components of amplitude zero."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import optimize

import pmlik
from pmlik import FlagCode, Status

QUIET = {"progressbar": False, "random_seed": 1}


def test_a_mode_of_merged_decays_is_left_for_one_without_the_third() -> None:
    """Priors favour two equal decays over unequal ones, and none at all over both."""
    t = np.linspace(0, 5, 24)
    y = 2.99 * np.exp(-3.64 * t) + 2.69 * np.exp(-2.97 * t)
    with pm.Model() as model:
        a, b = pm.HalfNormal("a", 3, shape=3), pm.HalfNormal("b", 3, shape=3)
        pm.Normal("y", pt.dot(pt.exp(-t[:, None] * b[None]), a), 0.03, observed=y)
    mode = pmlik.find_MAP(model, **QUIET)

    def loss(v: np.ndarray) -> float:  # without constants
        away = y - np.exp(-np.outer(t, v[3:])) @ v[:3]
        return float(0.5 * np.sum((away / 0.03) ** 2) + 0.5 * np.sum((v / 3) ** 2))

    start = [3.0, 2.7, 0.0, 3.6, 3.0, 0.0]
    right = optimize.minimize(loss, start, bounds=[(0, None)] * 6, options={"ftol": 1e-14}).fun
    found = np.concatenate([mode.values[name].to_numpy() for name in "ab"])
    assert mode.trusted
    assert loss(found) <= right + 1e-6


def test_the_rate_of_a_decay_of_amplitude_zero_is_not_identified() -> None:
    t = np.linspace(0, 4, 30)
    y = 2 - np.exp(-t) + 0.05 * np.cos(9 * t)
    with pm.Model() as model:
        level, rise = pm.Normal("level", 0, 5), pm.HalfNormal("rise", 5)
        rate = pm.Uniform("rate", 0.5, 5)
        pm.Normal("y", level + rise * pm.math.exp(-rate * t), 0.1, observed=y)
    mle = pmlik.find_MLE(model, **QUIET)
    assert mle.values["rise"] == 0
    assert mle.status["rise"] == Status.LOWER_BOUNDARY
    assert mle.status["rate"] == Status.NOT_IDENTIFIED
    assert np.isnan(mle.values["rate"])
    assert FlagCode.NOT_IDENTIFIED in {flag.code for flag in mle.flags}
    assert mle.values["level"] == pytest.approx(y.mean())
