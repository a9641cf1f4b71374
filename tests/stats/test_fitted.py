"""What a report adds to the estimates: found once, kept, the same after a file."""

from __future__ import annotations

import re
from dataclasses import replace

import arviz as az
import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmlik
from oracles.equality import strip_ids
from oracles.records import many, plain
from pmlik.results.background import Predictive
from pmlik.stats import fitted as module
from pmlik.stats.fitted import keep_extras

Y = np.array([1.0, -2.0, 0.5, 3.0, -1.5, 0.75])
SAMPLING = {"draws": 300, "tune": 300}


def compare(model: pm.Model, **options) -> pmlik.Comparison:
    return pmlik.compare(model, random_seed=1, progressbar=False, sample_kwargs=SAMPLING, **options)


@pytest.fixture(scope="module")
def fitted() -> pmlik.Comparison:
    with pm.Model(coords={"component": ["a", "b"]}) as model:
        mu = pm.Normal("mu", 0, [2.0, 0.5], dims="component")
        sigma = pm.HalfNormal("sigma", 2)
        pm.Deterministic("gap", mu[1] - mu[0])
        pm.Normal("y", mu[[0, 0, 0, 1, 1, 1]], sigma, observed=Y)
    return compare(model)


def compute_anew(comparison: pmlik.Comparison, **options: float) -> pmlik.Comparison:
    background = replace(comparison.background, extras={})
    return keep_extras(replace(comparison, background=background), **options)


def test_the_terms_kept_are_the_densities_of_the_draws(fitted) -> None:
    draws = fitted.posterior.tree["posterior"].dataset
    mu = draws["mu"].transpose("chain", "draw", "component").to_numpy()[..., [0, 0, 0, 1, 1, 1]]
    expected = stats.norm.logpdf(Y, mu, draws["sigma"].to_numpy()[..., None])
    tree = fitted.to_datatree()
    found = tree["log_likelihood"]["y"].transpose("chain", "draw", ...)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_prediction_kept_is_arviz_s(fitted) -> None:
    terms, draws = fitted.background.extras["log_likelihood"], fitted.posterior.tree["posterior"]
    tree = az.from_dict(
        {
            "posterior": {str(k): v.to_numpy() for k, v in draws.data_vars.items()},
            "log_likelihood": {"y": terms["y"].transpose("chain", "draw", ...).to_numpy()},
        }
    )
    kept, expected = fitted.background.extras["predictive"], az.loo(tree, pointwise=True)
    assert kept.elpd == pytest.approx(float(expected.elpd), abs=1e-9)
    assert kept.std_error == pytest.approx(float(expected.se), abs=1e-9)
    assert kept.worst_k == pytest.approx(float(expected.pareto_k.max()), abs=1e-6)
    assert kept.n_high == int((expected.pareto_k > expected.good_k).sum())
    assert kept.n_observations == len(Y)


def test_the_page_has_what_was_kept_and_a_loaded_one_the_same(fitted, tmp_path) -> None:
    page = fitted.to_html()
    loaded = pmlik.load(fitted.save(tmp_path / "it.nc"))
    assert strip_ids(loaded.to_html()) == strip_ids(page)
    assert loaded.to_json() == fitted.to_json()
    kept = fitted.background.extras["predictive"]
    total = fitted.background.extras["shares"].effective_parameters
    minus = "\N{MINUS SIGN}"
    for number in (-2 * kept.elpd, 2 * kept.std_error, kept.effective_parameters, total):
        assert f"{number:.2f}".replace("-", minus) in page
    assert fitted.mle.n_parameters == 3
    assert "Of 3 parameters the data determine" in page
    assert "potential" in page or "Sensitivity" in page


def test_the_shares_on_the_page_have_their_closed_form() -> None:
    n, y, a, b = 10, 2, 3.0, 5.0
    with pm.Model() as model:
        p = pm.Beta("p", a, b)
        pm.Binomial("y", n, p, observed=y)
    page = compare(model).to_html()
    mode = (y + a - 1) / (n + a + b - 2)
    data = y / mode**2 + (n - y) / (1 - mode) ** 2
    prior = (a - 1) / mode**2 + (b - 1) / (1 - mode) ** 2
    share = data / (data + prior)
    assert f'<td class="number">{100 * share:.0f}%</td>' in page
    assert f"the data determine {share:.2f}" in page


def test_what_only_the_prior_knows_is_named() -> None:
    with pm.Model() as model:
        one, other = pm.Normal("one", 0, 1), pm.Normal("other", 0, 1)
        pm.Normal("y", one + other, 1, observed=Y)
    page = compare(model).to_html()
    assert "The likelihood says nothing of: one \N{MINUS SIGN} other." in page or (
        "The likelihood says nothing of: one - other." in page
    )


def test_latents_have_no_terms_and_the_page_says_why(tmp_path) -> None:
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfNormal("tau", 5)
        theta = pm.Normal("theta", mu, tau, shape=6)
        pm.Normal("y", theta, 1, observed=Y)
    comparison = compare(model)
    tree = comparison.to_datatree()
    assert "log_likelihood" not in tree.children
    assert "The model has latents" in tree.attrs["pmlik_left_out"]
    assert "No PSIS-LOO. The model has latents" in comparison.to_html()


def test_large_data_are_not_laid_out_by_draw(monkeypatch) -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        pm.Normal("y", mu, 1, observed=Y)
    comparison = compare(model)
    size = 4 * SAMPLING["draws"] * len(Y)
    monkeypatch.setattr(module, "_MOST_KEPT", size - 1)
    first = compute_anew(comparison)
    assert "too many terms" in first.background.extras["log_likelihood"]
    assert isinstance(first.background.extras["predictive"], Predictive)  # computed, and let go
    assert "log_likelihood" not in first.to_datatree().children
    monkeypatch.setattr(module, "_MOST_TERMS", size - 1)

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "pointwise_log_likelihood", refuse)
    comparison = compute_anew(comparison)
    for name in ("log_likelihood", "predictive"):
        assert (
            "1200 draws times 6 observations are too many terms"
            in comparison.background.extras[name]
        )
    page = comparison.to_html()
    assert "No PSIS-LOO. 1200 draws times 6 observations" in page
    assert '"left_out": {"log_likelihood"' in comparison.to_json(draws=False)


def test_what_would_take_long_is_left_out() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        pm.Normal("y", mu, 1, observed=Y)
    comparison = compare(model)
    kept = compute_anew(comparison, most=0.0).background.extras
    assert re.match("It would take long for 1200 draws", kept["sensitivity"])
    assert "pmlik.sensitivity(comparison)" in kept["sensitivity"]
    assert isinstance(kept["shares"], pmlik.InformationShares)


def test_without_a_posterior_the_shares_stay() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=[2.0])
    comparison = pmlik.compare(model, sample=False, progressbar=False)
    kept = comparison.background.extras
    assert float(kept["shares"].shares["mu"]) == pytest.approx(0.5)
    assert kept["predictive"] == "There is no posterior."
    assert "50%" in comparison.to_html()


def test_records_without_a_model_have_neither(tmp_path) -> None:
    for comparison in (plain(), many()):
        assert keep_extras(comparison).background.extras == {}
        assert "Data and prior" not in comparison.to_html()


@pytest.mark.parametrize("k", [0.3, 0.95])
def test_an_unreliable_prediction_is_called_so(k: float) -> None:
    comparison = plain()
    kept = Predictive(-11.5, 2.0, 2.1, 23, k, int(k > 0.7), 0.7)
    background = replace(comparison.background, extras={"predictive": kept})
    page = replace(comparison, background=background).to_html()
    assert ("PSIS-LOO is not reliable" in page) == (k > 0.7)
    assert ("PSIS-LOO is reliable" in page) == (k < 0.7)
    # AIC of the record is 2 * 2 + 2 * 10.125.
    assert "24.25 and 23.00, 1.25 apart, which is less than the standard error (4.00)" in page
