"""Eight observations, and the closed form of a normal fit to them."""

from __future__ import annotations

import numpy as np

Y = np.array([4.1, 5.9, 7.2, 3.8, 6.5, 5.1, 8.0, 4.4])
CENTRE, SD = Y.mean(), Y.std()
SE_MU, SE_SD = SD / np.sqrt(8), SD / np.sqrt(16)
