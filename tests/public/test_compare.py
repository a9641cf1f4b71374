"""The comparison end to end, on real data and on a posterior known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmlik


@pytest.fixture(scope="module")
def challenger() -> pmlik.Comparison:
    from quickstart import model

    return pmlik.compare(model, random_seed=1, progressbar=False, extras=False)


def compare_binomial() -> pmlik.Comparison:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Binomial("y", n=10, p=p, observed=2)
    return pmlik.compare(
        model,
        random_seed=1,
        progressbar=False,
        extras=False,
        ci_kind="eti",
        ci_prob=0.9,
        sample_kwargs={"draws": 4000},
    )


@pytest.fixture(scope="module")
def binomial() -> pmlik.Comparison:
    return compare_binomial()


def test_challenger_is_the_published_fit(challenger) -> None:
    # R: glm(damage ~ temperature, binomial): 15.0429 (7.3786), -0.2322 (0.1082).
    table = challenger.table
    assert table.loc["intercept", "MLE"] == pytest.approx(15.0429, abs=5e-5)
    assert table.loc["intercept", "SE"] == pytest.approx(7.3786, abs=5e-5)
    assert table.loc["slope", "MLE"] == pytest.approx(-0.2322, abs=5e-5)
    assert table.loc["slope", "SE"] == pytest.approx(0.1082, abs=5e-5)


def test_challenger_derived_risk_follows_from_the_coefficients(challenger) -> None:
    mle = challenger.mle
    eta = float(mle.values["intercept"] + 31 * mle.values["slope"])
    risk = 1 / (1 + np.exp(-eta))
    assert float(mle.values["risk_at_31F"]) == pytest.approx(risk, rel=1e-12)
    # Delta method by hand, from the covariance of the two parameters.
    gradient = risk * (1 - risk) * np.array([1.0, 31.0 - 70.0])
    error = np.sqrt(gradient @ mle.covariance.to_numpy() @ gradient)
    assert float(mle.std_error["risk_at_31F"]) == pytest.approx(error, rel=1e-10)


def test_everything_in_challenger_can_be_trusted(challenger) -> None:
    assert challenger.trusted
    assert challenger.flags == ()


def test_the_readme_shows_what_the_quickstart_prints(challenger) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    block = readme.split("```")[1].strip().splitlines()
    printed = str(challenger).splitlines()
    assert block[:3] == printed[:3]
    # The draws may be others with another sampler; MLE, SE and MAP may not.
    for line, own in zip(block[3:7], printed[3:7], strict=True):
        assert line.split()[:4] == own.split()[:4]


def test_no_draw_is_likelier_than_the_mle(challenger) -> None:
    from quickstart import damage, temperature

    draws = challenger.posterior.tree["posterior"].dataset.stack(sample=("chain", "draw"))
    eta = draws["intercept"].to_numpy()[:, None] + np.outer(draws["slope"], temperature)
    log_likelihood = (np.array(damage) * eta - np.logaddexp(0, eta)).sum(1)
    assert log_likelihood.max() <= challenger.mle.log_likelihood


def test_the_columns_are_what_they_say(challenger) -> None:
    table, tree = challenger.table, challenger.posterior.tree["posterior"].dataset
    slope = tree["slope"].to_numpy()
    assert table.loc["slope", "posterior mean"] == pytest.approx(slope.mean())
    assert table.loc["slope", "sd"] == pytest.approx(slope.std(ddof=1))
    shift = (slope.mean() - table.loc["slope", "MLE"]) / slope.std(ddof=1)
    assert table.loc["slope", "shift in sd"] == pytest.approx(shift)
    attributes = challenger.posterior.interval.attrs
    tail = (1 - attributes["ci_prob"]) / 2
    lower, upper = np.quantile(slope, [tail, 1 - tail])
    assert table.loc["slope", "interval lower"] == pytest.approx(lower)
    assert table.loc["slope", "interval upper"] == pytest.approx(upper)


def test_binomial_has_three_different_answers_each_in_closed_form(binomial) -> None:
    row = binomial.table.loc["p"]
    posterior = stats.beta(3, 9)
    assert row["MLE"] == pytest.approx(0.2, abs=1e-9)
    assert row["SE"] == pytest.approx(np.sqrt(0.2 * 0.8 / 10), rel=1e-9)
    assert row["MAP"] == pytest.approx(0.2, abs=1e-9)
    mcse = posterior.std() / np.sqrt(binomial.posterior.diagnostics["ess_bulk"])
    assert row["posterior mean"] == pytest.approx(posterior.mean(), abs=4 * mcse)
    assert row["sd"] == pytest.approx(posterior.std(), rel=0.05)
    assert row["interval lower"] == pytest.approx(posterior.ppf(0.05), abs=0.01)
    assert row["interval upper"] == pytest.approx(posterior.ppf(0.95), abs=0.01)
    assert binomial.mle.log_likelihood == pytest.approx(stats.binom(10, 0.2).logpmf(2))


def test_the_same_seed_gives_the_same_comparison(binomial) -> None:
    again = compare_binomial()
    np.testing.assert_array_equal(
        binomial.table.drop(columns="flags").to_numpy(),
        again.table.drop(columns="flags").to_numpy(),
    )


def test_dataset_and_table_hold_the_same_numbers(challenger) -> None:
    for method, column in (("mle", "MLE"), ("map", "MAP"), ("posterior", "posterior mean")):
        value = challenger.dataset["slope"].sel({"method": method, "statistic": "estimate"})
        assert float(value) == challenger.table.loc["slope", column]


def test_print_and_html_show_the_rounded_table(challenger) -> None:
    text, html = str(challenger), challenger._repr_html_()
    minus = "\N{MINUS SIGN}"
    for piece in (f"{minus}0.232", "0.108", "23 observations", f"log L = {minus}10.158"):
        assert piece in text
        assert piece in html
    assert max(map(len, text.splitlines())) <= 80


def test_compare_works_in_the_model_context() -> None:
    with pm.Model():
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 1, observed=[1.0, 2.0, 4.5])
        comparison = pmlik.compare(sample=False, progressbar=False, extras=False)
    assert comparison.table.loc["mu", "MLE"] == pytest.approx(2.5)
    # Normal with known variance: precision 3 of the data, 0.01 of the prior.
    assert comparison.table.loc["mu", "MAP"] == pytest.approx(7.5 / 3.01)


def test_a_long_vector_is_summarised_in_print_and_whole_in_the_table() -> None:
    y = np.linspace(-1, 1, 40)
    with pm.Model(coords={"unit": range(40)}) as model:
        mu = pm.Normal("mu", 0, 10, dims="unit")
        pm.Normal("y", mu, 1, observed=y, dims="unit")
    comparison = pmlik.compare(model, sample=False, progressbar=False, extras=False)
    np.testing.assert_allclose(comparison.table["MLE"], y, atol=1e-9)
    text = str(comparison)
    assert "mu[7]" not in text
    for word in ("min", "median", "max"):
        assert f"mu (40) {word}" in text


def test_var_names_choose_the_rows() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Deterministic("double", 2 * mu)
        pm.Normal("y", mu, 1, observed=[1.0, 2.0])
    comparison = pmlik.compare(
        model, var_names=["double"], sample=False, progressbar=False, extras=False
    )
    assert list(comparison.table.index) == ["double"]
    assert comparison.table.loc["double", "MLE"] == pytest.approx(3.0)


@pytest.mark.parametrize("latent", [False, True])
def test_a_derived_quantity_that_is_another_one_keeps_its_name_and_dims(latent: bool) -> None:
    y = [1.0, 2.0, 4.0]
    with pm.Model(coords={"side": ["left", "right"]}) as model:
        mu = pm.Normal("mu", 0, 100, dims="side")
        twice = pm.Deterministic("twice", 2 * mu)
        pm.Deterministic("again", twice, dims="side")
        pm.Deterministic("itself", mu, dims="side")
        mean = mu[0]
        if latent:
            mean = mean + pm.Normal("u", 0, pm.HalfNormal("sd", 1), shape=3)
        pm.Normal("y", mean, 1, observed=y)
        pm.Normal("z", mu[1], 1, observed=y)
    comparison = pmlik.compare(model, sample=False, progressbar=False, extras=False, random_seed=1)
    table = comparison.table
    for name, factor in (("mu", 1), ("again", 2), ("itself", 1)):
        for side in ("left", "right"):
            assert table.at[f"{name}[{side}]", "MLE"] == pytest.approx(factor * 7 / 3, abs=1e-6)
    assert [table.at[f"twice[{i}]", "MLE"] for i in (0, 1)] == pytest.approx([14 / 3] * 2)
    likelihood = pmlik.likelihood_model(model) if not latent else pmlik.marginal_model(model)
    assert {var.name for var in likelihood.deterministics} >= {"twice", "again", "itself"}


@pytest.mark.parametrize(
    ("asked", "rows"), [("twice", ["twice"]), ("~twice", ["a"]), (["~a"], ["twice"])]
)
def test_names_are_a_string_or_all_but_some(asked, rows) -> None:
    with pm.Model() as model:
        a = pm.Normal("a")
        pm.Deterministic("twice", 2 * a)
        pm.Normal("y", a, 1, observed=[0.5, 1.5])
    comparison = pmlik.compare(model, var_names=asked, sample=False, progressbar=False)
    assert list(comparison.table.index) == rows
    assert comparison.table.loc[rows[0], "MLE"] == pytest.approx({"twice": 2.0, "a": 1.0}[rows[0]])
