"""Several models in one table, against ArviZ's and PyMC's own numbers."""

from __future__ import annotations

import arviz as az
import numpy as np
import pymc as pm
import pytest

import pmlik

RNG = np.random.default_rng(3)
X = RNG.normal(size=30)
Y = 0.4 + 0.5 * X + RNG.normal(size=30)


def make(slope: bool, centre: float = 0.0, width: float = 5.0) -> pm.Model:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 5)
        b = pm.Normal("b", centre, width) if slope else 0.0
        sigma = pm.HalfNormal("sigma", 2)
        pm.Normal("y", a + b * X, sigma, observed=Y)
    return model


@pytest.fixture(scope="module")
def models() -> dict[str, pm.Model]:
    return {"line": make(True), "flat": make(False), "held": make(True, -0.3, 0.01)}


@pytest.fixture(scope="module")
def comparisons(models) -> dict[str, pmlik.Comparison]:
    return {
        name: pmlik.compare(model, random_seed=1, progressbar=False, extras=False)
        for name, model in models.items()
    }


@pytest.fixture(scope="module")
def trees(models, comparisons):
    """The draws with PyMC's own pointwise log-likelihood and log-prior."""
    from pymc.stats import compute_log_likelihood, compute_log_prior

    found = {}
    for name, model in models.items():
        tree = comparisons[name].posterior.tree.copy()
        compute_log_likelihood(tree, model=model, progressbar=False)
        compute_log_prior(tree, model=model, progressbar=False)
        found[name] = tree
    return found


def test_loo_and_its_differences_are_arviz_s(comparisons, trees) -> None:
    table = pmlik.compare_models(comparisons).table
    expected = az.compare(trees, round_to="none")
    for name in comparisons:
        row, other = table.loc[name], expected.loc[name]
        own = az.loo(trees[name], pointwise=True)
        assert row["elpd"] == pytest.approx(float(own.elpd), abs=1e-8)
        assert row["SE"] == pytest.approx(float(own.se), abs=1e-8)
        assert row["p_loo"] == pytest.approx(float(own.p), abs=1e-6)
        assert abs(row["d elpd"]) == pytest.approx(abs(float(other["elpd_diff"])), abs=1e-8)
        assert row["d SE"] == pytest.approx(float(other["dse"]), abs=1e-8)
    best = table["elpd"].idxmax()
    assert table["rank elpd"][best] == 1
    assert table["d elpd"][best] == 0


def test_criteria_of_the_likelihood_have_their_closed_forms(comparisons) -> None:
    table = pmlik.compare_models(comparisons).table
    n = len(Y)
    for name, design in (("line", np.column_stack([np.ones(n), X])), ("flat", np.ones((n, 1)))):
        residual = Y - design @ np.linalg.lstsq(design, Y)[0]
        log_l = -n / 2 * (np.log(2 * np.pi * (residual @ residual) / n) + 1)
        k = design.shape[1] + 1
        row = table.loc[name]
        assert row["log L"] == pytest.approx(log_l, abs=1e-9)
        assert row["AIC"] == pytest.approx(2 * k - 2 * log_l, abs=1e-9)
        corrected = 2 * k - 2 * log_l + 2 * k * (k + 1) / (n - k - 1)
        assert row["AICc"] == pytest.approx(corrected, abs=1e-9)
        assert row["BIC"] == pytest.approx(k * np.log(n) - 2 * log_l, abs=1e-9)
    assert table["dAIC"].min() == 0
    assert table.index[0] == table["AIC"].idxmin()


def test_a_prior_that_holds_the_slope_makes_the_rankings_disagree(comparisons) -> None:
    # Its likelihood is that of the line; its posterior predicts worse than the flat one's.
    table = pmlik.compare_models(comparisons).table
    assert table["AIC"]["held"] == pytest.approx(table["AIC"]["line"], abs=1e-8)
    assert table["AIC"]["held"] < table["AIC"]["flat"] - 1
    assert table["elpd"]["held"] < table["elpd"]["flat"] - 1


def test_the_finding_is_made_from_the_table(comparisons) -> None:
    found = pmlik.compare_models(comparisons)
    by_aic, by_elpd = (
        " > ".join(found.table.sort_values(column, ascending=up, kind="stable").index)
        for column, up in (("AIC", True), ("elpd", False))
    )
    assert by_aic != by_elpd
    assert found.finding.startswith(f"AIC ranks {by_aic}, PSIS-LOO {by_elpd}. ")


def test_models_of_other_data_are_refused(comparisons) -> None:
    with pm.Model() as fewer:
        a = pm.Normal("a", 0, 5)
        pm.Normal("y", a, 1, observed=Y[:-1])
    other = pmlik.compare(fewer, random_seed=1, progressbar=False, extras=False, sample=False)
    with pytest.raises(pmlik.ValuesError, match="line 30, fewer 29"):
        pmlik.compare_models({"line": comparisons["line"], "fewer": other})
    with pytest.raises(pmlik.ValuesError, match="at least two"):
        pmlik.compare_models({"line": comparisons["line"]})


def test_without_draws_the_criteria_of_the_likelihood_stay(comparisons) -> None:
    unsampled = pmlik.compare(
        make(False), random_seed=1, progressbar=False, extras=False, sample=False
    )
    table = pmlik.compare_models({"line": comparisons["line"], "flat": unsampled}).table
    assert np.isnan(table["elpd"]["flat"])
    assert np.isfinite(table["elpd"]["line"])
    assert np.isfinite(table["AIC"]).all()


def test_sensitivity_is_arviz_s(comparisons, trees) -> None:
    for name, comparison in comparisons.items():
        found = pmlik.sensitivity(comparison)
        expected = az.psense_summary(trees[name], round_to=12)
        columns = ["prior", "likelihood"]
        np.testing.assert_allclose(
            found.loc[expected.index, columns].to_numpy(float),
            expected[columns].to_numpy(float),
            atol=1e-6,
        )
