"""Reference draws of posteriordb, which are not part of this repository.

Set PMLIK_REFERENCE to a folder that holds the cases; without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import arviz as az
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


def eight_schools(*, centred: bool) -> pm.Model:
    data = load("09_pdb_eight_schools-eight_schools_centered", "data")
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        if centred:
            theta = pm.Normal("theta", mu, tau, shape=8)
        else:
            theta = pm.Deterministic("theta", mu + tau * pm.Normal("theta_trans", 0, 1, shape=8))
        pm.Normal("y", theta, np.array(data["sigma"], float), observed=np.array(data["y"], float))
    return model


def test_eight_schools_centred_is_flagged_and_says_which_answer_stands_apart() -> None:
    # What a careful user does after the default's divergences; the energy flag stays.
    options = {"target_accept": 0.99, "tune": 5000, "draws": 60_000}
    comparison = pmlik.compare(
        eight_schools(centred=True),
        random_seed=1,
        progressbar=False,
        extras=False,
        sample_kwargs=options,
    )
    check_eight_schools(comparison, "09_pdb_eight_schools-eight_schools_centered")
    codes = {flag.code.name for flag in comparison.flags}
    assert codes & {"DIVERGENCES", "LOW_BFMI", "HIGH_R_HAT", "LOW_ESS"}
    assert comparison.table["joint mode"][["mu", "tau"]].isna().all()
    finding = next(f for f in comparison.findings(all=True) if f.reason == "integration")
    assert "joint mode stands apart" in finding.text
    assert "without bound as tau" in finding.text


def test_eight_schools_non_centred_has_four_answers_and_the_mean_stands_apart() -> None:
    options = {"target_accept": 0.95, "tune": 2000, "draws": 10_000}
    comparison = pmlik.compare(
        eight_schools(centred=False),
        random_seed=1,
        progressbar=False,
        extras=False,
        sample_kwargs=options,
    )
    check_eight_schools(comparison, "09_pdb_eight_schools-eight_schools_noncentered")
    expected = load("09_pdb_eight_schools-eight_schools_noncentered", "truth")["map"]["values"]
    table = comparison.table
    assert table.at["mu", "joint mode"] == pytest.approx(expected["mu"], abs=1e-6)
    assert table.at["tau", "joint mode"] == expected["tau"] == 0.0
    assert comparison.verdict == "differ"
    finding = next(f for f in comparison.findings(all=True) if f.reason == "outlier")
    assert finding.labels == ("tau",)
    assert "posterior mean stands apart" in finding.text
    steps = comparison.attribution.table
    # Here the mode over both is the marginal one: nothing to integrate away at tau = 0.
    np.testing.assert_allclose(steps.loc[["mu", "tau"], "integration"], 0, atol=1e-6)


def check_eight_schools(comparison: pmlik.Comparison, case: str) -> None:
    reference, table = load(case, "truth")["posterior"], comparison.table
    draws = comparison.posterior.tree["posterior"].dataset[["theta", "mu", "tau"]]
    ours = az.mcse(draws, method="mean")
    labels = [f"theta[{i}]" for i in range(8)] + ["mu", "tau"]
    errors = np.concatenate([np.ravel(ours[name]) for name in ("theta", "mu", "tau")])
    for label, own, part in zip(labels, errors, reference.values(), strict=True):
        error = np.hypot(part["mcse_mean"], own)
        assert abs(table.at[label, "posterior mean"] - part["mean"]) < 4 * error, label
    assert table.at["mu", "MLE"] == pytest.approx(7.685617, abs=1e-5)
    assert table.at["mu", "MAP"] == pytest.approx(4.620923, abs=1e-5)
    assert table.at["tau", "MLE"] == table.at["tau", "MAP"] == 0.0


@pytest.mark.parametrize("case", CASES)
def test_map_and_posterior_are_the_reference(case: str) -> None:
    expected = load(case, "truth")
    comparison = pmlik.compare(CASES[case](), random_seed=1, progressbar=False, extras=False)
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
