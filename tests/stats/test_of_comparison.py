"""What takes a point estimate takes a comparison, too."""

from __future__ import annotations

import numpy as np
import pymc as pm
import xarray as xr

import pmlik


def test_a_comparison_stands_for_its_estimates() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        pm.Bernoulli("y", p, observed=[0, 0, 0, 0, 1, 0, 1, 0, 0, 0])
    both = pmlik.compare(model, sample=False, extras=False, random_seed=1, progressbar=False)
    assert float(pmlik.make_robust(both).std_error["p"]) == float(
        pmlik.make_robust(both.mle).std_error["p"]
    )
    shares = (pmlik.share_information(one).effective_parameters for one in (both, both.map))
    assert len(set(shares)) == 1
    drawn = [
        pmlik.bootstrap(one, 5, random_seed=1, progressbar=False).std_error
        for one in (both, both.mle)
    ]
    xr.testing.assert_identical(*drawn)
    assert np.isfinite(drawn[0]["p"])
