"""Data of the models with and without latents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pymc as pm
import pymc.dims as pmd

RNG = np.random.default_rng(20)
N, J = 24, 4
GROUP = np.tile(np.arange(J), N // J)
X = RNG.normal(size=N)
XX = RNG.normal(size=(N, 3))
Y = RNG.normal(size=N)
COUNTS = RNG.poisson(3, size=N)
YES = RNG.integers(0, 2, size=N)
TABLE = pmd.as_xtensor(Y.reshape(J, -1), dims=("g", "rep"))
Build = Callable[[], pm.Model]
