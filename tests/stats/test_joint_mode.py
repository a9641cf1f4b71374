"""The joint mode of parameters and latents beside the marginal estimates."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytest

import pmlik
from oracles.latent_models import cbpp, eight_schools
from oracles.reference_models import data


def test_the_joint_mode_has_a_column_and_is_said_to_be_unbounded() -> None:
    comparison = pmlik.compare(
        eight_schools(centred=True), random_seed=1, progressbar=False, extras=False, sample=False
    )
    assert "joint mode" in comparison.table
    assert list(comparison.dataset["method"]) == ["mle", "map", "posterior", "joint"]
    assert not comparison.joint.trusted
    assert "UNBOUNDED" in {flag.code.name for flag in comparison.joint.flags}
    assert comparison.mle.trusted
    assert "joint" in str(comparison)


def test_a_joint_mode_that_has_no_maximum_does_not_fail_strict() -> None:
    pmlik.compare(
        eight_schools(centred=True),
        random_seed=1,
        progressbar=False,
        extras=False,
        sample=False,
        strict=True,
    )


def test_a_joint_mode_where_there_is_one_is_that_of_pymc() -> None:
    model = eight_schools(centred=False)
    comparison = pmlik.compare(model, random_seed=1, progressbar=False, extras=False, sample=False)
    assert comparison.joint.trusted
    # tau = 0, z = 0 and the pooled mean under its prior
    weights = 1 / data("06_eight_schools_marginal")["sigma"] ** 2
    pooled = (weights * data("06_eight_schools_marginal")["y"]).sum() / (weights.sum() + 1 / 25)
    assert float(comparison.joint.values["mu"]) == pytest.approx(pooled, rel=1e-6)
    assert float(comparison.joint.values["tau"]) == 0.0


@pytest.mark.slow
def test_the_integration_step_leads_from_pymcs_own_mode_to_the_marginal_one() -> None:
    model = cbpp(centred=False)
    comparison = pmlik.compare(
        model,
        random_seed=1,
        progressbar=False,
        extras=False,
        profile=False,
        sample_kwargs={"draws": 1000, "tune": 1000},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = pm.find_MAP(model=model, progressbar=False)
        theirs = pm.find_MAP(start, model=model, progressbar=False)
    table, steps = comparison.table, comparison.attribution.table
    assert table.at["sd", "joint mode"] == pytest.approx(float(theirs["sd"]), rel=1e-3)
    gap = (table["MAP"] - table["joint mode"]) / table["sd"]
    np.testing.assert_allclose(steps["integration"], gap[steps.index], equal_nan=True)
    assert abs(steps.at["sd", "integration"]) > 1
    # The other steps are the way from MLE to mean without it.
    total = (table["posterior mean"] - table["MLE"]) / table["sd"]
    names = ["prior", "scale", "skewness", "tail"]
    known = total.dropna().index
    np.testing.assert_allclose(steps.loc[known, names].sum(axis=1), total[known], atol=1e-9)
    finding = next(f for f in comparison.findings(all=True) if f.reason == "outlier")
    assert finding.labels == ("sd",)


def test_a_bambi_model_passes_through_unchanged() -> None:
    bambi = pytest.importorskip("bambi")
    frame = data("05_sleepstudy_slope").astype({"Subject": str})
    built = bambi.Model("Reaction ~ Days + (1 + Days | Subject)", frame)
    built.build()
    mle = pmlik.find_MLE(built.backend.model, random_seed=1, progressbar=False)
    # lme4: Reaction ~ Days + (Days || Subject), ML
    assert mle.log_likelihood == pytest.approx(-876.0016, abs=1e-4)
    assert float(mle.values["Days"]) == pytest.approx(10.467, abs=1e-3)
    assert float(mle.values["1|Subject_sigma"]) == pytest.approx(24.171, abs=1e-3)
    assert float(mle.values["Days|Subject_sigma"]) == pytest.approx(5.799, abs=1e-3)
    assert set(mle.latents.values) >= {"1|Subject", "Days|Subject"}


def test_a_joint_mode_that_takes_long_is_left_out_and_told(monkeypatch) -> None:
    model = eight_schools(centred=False)
    quick = pmlik.compare(model, random_seed=1, progressbar=False, extras=False, sample=False)
    assert quick.joint is not None
    assert "NO_JOINT_MODE" not in {flag.code.name for flag in quick.flags}
    monkeypatch.setattr("pmlik.inference.prepare._FEW_HESSIANS", np.inf)
    slow = pmlik.compare(model, random_seed=1, progressbar=False, extras=False, sample=False)
    assert slow.joint is None
    (flag,) = [flag for flag in slow.flags if flag.code.name == "NO_JOINT_MODE"]
    assert flag.variables == ("z",)
    assert "pmlik.find_MAP(model, parameters=['z'])" in flag.action
    assert "joint mode" not in slow.table
    for label in ("mu", "tau"):
        assert slow.table.at[label, "MLE"] == pytest.approx(quick.table.at[label, "MLE"], abs=1e-8)
