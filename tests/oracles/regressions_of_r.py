"""Three regressions on R's own data, whose figures R has computed; the data are ``pm.Data``.

The fits in R, with ``ctl <- glm.control(epsilon=1e-14, maxit=100)``:
warpbreaks ``glm(breaks ~ wool + tension, poisson, warpbreaks, control=ctl)``
mtcars     ``glm(am ~ hp + wt, binomial, mtcars, control=ctl)``
cars       ``survreg(Surv(dist) ~ speed, cars, dist="gaussian",
           control=survreg.control(rel.tolerance=1e-14, maxiter=100))``
"""

from __future__ import annotations

import numpy as np
import pymc as pm


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=float)


BREAKS = _numbers(
    "26 30 54 25 70 52 51 26 67 18 21 29 17 12 18 35 30 36 36 21 24 18 10 43 28 15 26 "
    "27 14 29 19 29 31 41 20 44 42 26 19 16 39 28 21 39 29 20 21 24 17 13 15 15 16 28"
).astype(int)
WOOL_B = np.repeat([0.0, 1.0], 27)
TENSION = np.tile(np.repeat(["L", "M", "H"], 9), 2)
AM = _numbers("1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 0 0 0 0 0 1 1 1 1 1 1 1").astype(int)
HP = _numbers(
    "110 110 93 110 175 105 245 62 95 123 123 180 180 180 205 215 230 66 52 65 97 150 150 245 175 "
    "66 91 113 264 175 335 109"
)
WT = _numbers(
    "2.62 2.875 2.32 3.215 3.44 3.46 3.57 3.19 3.15 3.44 3.44 4.07 3.73 3.78 5.25 5.424 5.345 2.2 "
    "1.615 1.835 2.465 3.52 3.435 3.84 3.845 1.935 2.14 1.513 3.17 2.77 3.57 2.78"
)
SPEED = _numbers(
    "4 4 7 7 8 9 10 10 10 11 11 12 12 12 12 13 13 13 13 14 14 14 14 15 15 15 16 16 17 17 17 18 18 "
    "18 18 19 19 19 20 20 20 20 20 22 23 24 24 24 24 25"
)
DIST = _numbers(
    "2 10 4 22 16 10 18 26 34 17 28 14 20 24 28 26 34 34 46 26 36 60 80 20 26 54 32 40 32 40 50 42 "
    "56 76 84 36 46 68 32 48 52 56 64 66 54 70 92 93 120 85"
)


def warpbreaks() -> pm.Model:
    """Return the Poisson regression, with tension relative to L."""
    with pm.Model(coords={"tension": ["M", "H"]}) as model:
        wool = pm.Data("wool", WOOL_B)
        tension = pm.Data("tension_is", (TENSION[:, None] == ["M", "H"]).astype(float))
        intercept = pm.Normal("intercept", 0, 10)
        wool_b = pm.Normal("woolB", 0, 10)
        effect = pm.Normal("effect", 0, 10, dims="tension")
        mu = pm.math.exp(intercept + wool_b * wool + tension @ effect)
        pm.Poisson("breaks", mu, observed=BREAKS)
    return model


def mtcars() -> pm.Model:
    """Return the logistic regression."""
    with pm.Model() as model:
        hp, wt = pm.Data("hp_of", HP), pm.Data("wt_of", WT)
        intercept = pm.Normal("intercept", 0, 100)
        b_hp, b_wt = pm.Normal("hp", 0, 10), pm.Normal("wt", 0, 100)
        pm.Bernoulli("am", logit_p=intercept + b_hp * hp + b_wt * wt, observed=AM)
    return model


def cars() -> pm.Model:
    """Return the normal regression."""
    with pm.Model(coords={"car": np.arange(50)}) as model:
        speed = pm.Data("speed", SPEED, dims="car")
        a, b = pm.Normal("a", 0, 100), pm.Normal("b", 0, 100)
        sigma = pm.HalfNormal("sigma", 100)
        pm.Normal("dist", a + b * speed, sigma, observed=DIST, dims="car")
    return model
