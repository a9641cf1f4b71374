"""Every example runs by itself, writes its report, and its comparison survives a file."""

from __future__ import annotations

import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import pytest

import pmlik
from oracles.equality import assert_equal
from oracles.reference_models import truth
from pmlik.results.attribution import STEPS

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = [
    "quickstart",
    "eight_schools",
    "sleepstudy",
    "bambi_model",
    "separation",
    "mixture",
    "extremes",
    "nonlinear",
    "calibration",
]


def load_example(name: str) -> dict[str, Any]:
    if name == "bambi_model":
        pytest.importorskip("bambi")
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@cache
def compare(name: str) -> pmlik.Comparison:
    names = load_example(name)
    options = names.get("OPTIONS", {})
    return pmlik.compare(names["model"], random_seed=1, progressbar=False, **options)


def test_every_example_is_here() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == {*NAMES, "likelihood_vs_posterior"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_a_screen_and_writes_its_report(name: str, tmp_path: Path) -> None:
    load_example(name)  # skipped where it needs what is not here
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    paths = ("Report: ", "Picture: ", "Profile: ")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(paths)]
    # 40 and a blank one, and another where the seconds take one line more.
    assert 20 <= len(lines) <= 42
    assert max(map(len, lines)) <= 80
    assert (tmp_path / f"{name}.html").stat().st_size > 50_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_adds_up_and_comes_back_from_a_file(name: str, tmp_path: Path) -> None:
    comparison = compare(name)
    table = comparison.attribution.table
    np.testing.assert_allclose(
        table[list(STEPS)].sum(axis=1), table["total"], rtol=1e-9, atol=1e-12
    )
    known = table["note"] == ""
    shift = comparison.table["shift in sd"][table.index]
    np.testing.assert_allclose(table["total"][known], shift[known], rtol=1e-9, atol=1e-12)
    loaded = pmlik.load(comparison.save(tmp_path / f"{name}.nc"))
    assert_equal(comparison, loaded)
    assert loaded.to_json() == comparison.to_json()


def assert_published(
    comparison: pmlik.Comparison, case: str, labels: dict[str, str], tolerance: float
) -> None:
    """Estimates, standard errors and log-likelihood of a reference case, in standard errors."""
    expected = truth(case)
    for label, name in labels.items():
        row, error = comparison.table.loc[label], expected["se"][name]
        assert row["MLE"] == pytest.approx(expected["estimates"][name], abs=tolerance * error)
        assert row["SE"] == pytest.approx(error, rel=1e-4)
        ends = [row["profile lower"], row["profile upper"]]
        np.testing.assert_allclose(ends, expected["profile_ci95"][name], atol=1e-3 * error)
    log_likelihood = comparison.mle.log_likelihood
    assert log_likelihood == pytest.approx(expected["loglik"], abs=1e-6)


@pytest.mark.slow
def test_sleepstudy_is_lme4s() -> None:
    comparison, names = compare("sleepstudy"), load_example("sleepstudy")
    labels = {
        "b[Intercept]": "(Intercept)",
        "b[Days]": "Days",
        "sd[Intercept]": "sd_Intercept",
        "sd[Days]": "sd_Days",
        "cor": "cor",
        "sigma": "sigma",
    }
    assert_published(comparison, "05_sleepstudy_slope", labels, 1e-4)
    for label, (value, _) in names["LME4"].items():
        assert comparison.table.at[label, "MLE"] == pytest.approx(value, rel=1e-4)
    assert comparison.mle.log_likelihood == pytest.approx(names["LME4_LOG_LIKELIHOOD"], abs=1e-6)
    mode = comparison.mle.latents.values["u"].sel(subject="309")
    np.testing.assert_allclose(mode, names["LME4_RANEF_309"], rtol=1e-4)


@pytest.mark.slow
def test_the_bambi_model_is_glmmtmbs() -> None:
    labels = {
        "Intercept": "(Intercept)",
        "period[2]": "period2",
        "period[3]": "period3",
        "period[4]": "period4",
        "1|herd_sigma": "sd_herd",
    }
    assert_published(compare("bambi_model"), "05_cbpp_glmm", labels, 1e-3)


@pytest.mark.slow
def test_eight_schools_is_the_closed_form() -> None:
    comparison, expected = compare("eight_schools"), truth("06_eight_schools_marginal")
    row = comparison.table.loc["mu"]
    assert row["MLE"] == pytest.approx(expected["estimates"]["mu"], abs=1e-6)
    assert row["SE"] == pytest.approx(expected["se"]["mu"], rel=1e-6)
    assert comparison.table.at["tau", "MLE"] == 0
    assert np.isnan(comparison.table.at["tau", "SE"])
    assert comparison.mle.log_likelihood == pytest.approx(expected["loglik"], abs=1e-8)


@pytest.mark.slow
def test_the_return_level_has_the_intervals_that_it_should() -> None:
    comparison = compare("extremes")
    expected = truth("07_gev_portpirie")["return_level_100"]
    level, error = expected["estimate"], expected["se_delta"]
    wald, profile, eti = (
        comparison.intervals[kind]["return_level_100"].to_numpy()
        for kind in ("wald", "profile", "eti")
    )
    half = 1.959963984540054 * error
    np.testing.assert_allclose(wald, [level - half, level + half], atol=1e-5 * error)
    np.testing.assert_allclose(profile, expected["profile_ci95"], atol=1e-3 * error)
    for low, high in (profile, eti):
        assert high - level > 1.5 * (level - low)


@pytest.mark.slow
def test_the_certified_digits_are_nists() -> None:
    table, certified = compare("nonlinear").table, load_example("nonlinear")["CERTIFIED"]
    for name, value in certified.items():
        assert table.at[name, "MLE"] == pytest.approx(value, rel=1e-9)


@pytest.mark.slow
def test_the_mixture_is_that_of_mixtools() -> None:
    comparison = compare("mixture")
    expected = {"mu[short]": 2.0186, "mu[long]": 4.2733, "sd[short]": 0.2356, "sd[long]": 0.4371}
    for label, value in {**expected, "share_short": 0.3484}.items():
        assert comparison.table.at[label, "MLE"] == pytest.approx(value, abs=6e-5)
    assert comparison.mle.log_likelihood == pytest.approx(-276.36, abs=5e-3)


@pytest.mark.slow
def test_separated_species_have_no_mle() -> None:
    comparison = compare("separation")
    assert np.isnan(comparison.table.at["slope", "MLE"])
    assert "AT_INFINITY" in {flag.code.name for flag in comparison.mle.flags}


@pytest.mark.slow
def test_the_centred_schools_have_the_same_mle_and_no_joint_mode() -> None:
    names = load_example("eight_schools")
    with pm.Model() as centred:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        theta = pm.Normal("theta", mu, tau, shape=8)
        pm.Normal("effect", theta, names["error"], observed=names["effect"])
    found = pmlik.compare(centred, random_seed=1, progressbar=False, sample=False)
    expected = compare("eight_schools").table
    for column in ("MLE", "MAP"):
        for label in ("mu", "tau"):
            assert found.table.at[label, column] == pytest.approx(
                expected.at[label, column], abs=1e-6
            )
    assert "UNBOUNDED" in {flag.code.name for flag in found.joint.flags}
