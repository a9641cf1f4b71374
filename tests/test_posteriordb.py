"""Reference draws of posteriordb, which are not part of this repository.

Set PMLIK_REFERENCE to a folder that holds the cases; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pmlik

FOLDER = os.environ.get("PMLIK_REFERENCE")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOLDER is None, reason="PMLIK_REFERENCE is not set"),
]


def load(case: str, file: str) -> dict:
    return json.loads((Path(FOLDER) / case / f"{file}.json").read_text())


def kidscore_momiq() -> pm.Model:
    data = load("09_pdb_kidiq-kidscore_momiq", "data")
    with pm.Model() as model:
        beta = pm.Flat("beta", shape=2)
        sigma = pm.HalfCauchy("sigma", 2.5)
        mu = beta[0] + beta[1] * np.array(data["mom_iq"], float)
        pm.Normal("kid_score", mu, sigma, observed=np.array(data["kid_score"], float))
    return model


def low_dim_gauss_mix() -> pm.Model:
    data = load("09_pdb_low_dim_gauss_mix-low_dim_gauss_mix", "data")
    with pm.Model() as model:
        ordered = pm.distributions.transforms.ordered
        mu = pm.Normal("mu", 0, 2, shape=2, transform=ordered, initval=[-1, 1])
        sigma = pm.HalfNormal("sigma", 2, shape=2)
        theta = pm.Beta("theta", 5, 5)
        weights = pt.stack([theta, 1 - theta])
        pm.NormalMixture("y", weights, mu, sigma, observed=np.array(data["y"]))
    return model


CASES = {
    "09_pdb_kidiq-kidscore_momiq": kidscore_momiq,
    "09_pdb_low_dim_gauss_mix-low_dim_gauss_mix": low_dim_gauss_mix,
}


@pytest.mark.parametrize("case", CASES)
def test_map_and_posterior_are_the_reference(case: str) -> None:
    expected = load(case, "truth")
    comparison = pmlik.compare(CASES[case](), random_seed=1, progressbar=False)
    table = comparison.table
    np.testing.assert_allclose(
        table["MAP"],
        list(expected["map"]["values"].values()),
        rtol=0,
        atol=1e-6 * table["sd"].min(),
    )
    means = np.array([part["mean"] for part in expected["posterior"].values()])
    mcse = np.array([part["mcse_mean"] for part in expected["posterior"].values()])
    assert (np.abs(table["posterior mean"] - means) < 4 * mcse).all()
