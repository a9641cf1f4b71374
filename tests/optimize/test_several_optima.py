"""Likelihoods with many local maxima: the number of searches follows from what they found."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import optimize

import pmlik


@pytest.mark.parametrize(("seed", "frequency", "noise"), [(1, 0.4, 0.5), (2, 2.6, 0.2)])
def test_the_frequency_of_a_sinusoid_is_the_highest_of_many_maxima(
    seed: int, frequency: float, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 10, 60))
    y = np.sin(2 * np.pi * frequency * t + 0.5) + noise * rng.normal(size=60)
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 2)
        angle = 2 * np.pi * pm.Uniform("frequency", 0.1, 3) * t
        pm.Normal("y", a * pt.sin(angle) + b * pt.cos(angle), pm.HalfNormal("s", 1), observed=y)
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)

    def lost(at: float) -> float:
        basis = np.column_stack([np.sin(2 * np.pi * at * t), np.cos(2 * np.pi * at * t)])
        rest = y - basis @ np.linalg.lstsq(basis, y)[0]
        return 30 * np.log(2 * np.pi * (rest @ rest) / 60) + 30

    grid = np.linspace(0.1, 3, 4000)
    near = grid[np.argmin([lost(at) for at in grid])]
    best = optimize.minimize_scalar(lost, bounds=(near - 1e-3, near + 1e-3), method="bounded")
    assert mle.log_likelihood == pytest.approx(-best.fun, abs=1e-5)


def test_one_optimum_takes_the_usual_searches() -> None:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 5), 1, observed=[0.0, 1.0, 2.0])
    assert len(pmlik.find_MLE(model, progressbar=False).certificate.searches) == 7
