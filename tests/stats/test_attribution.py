"""The steps from MLE to posterior mean: against closed forms, exact sums, known causes."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmlik
from oracles.records import make_comparison, make_point, make_posterior
from pmlik.results.attribution import STEPS, lay_out

# Rubin (1981), doi:10.3102/10769986006004377: effects and their known errors.
EFFECT = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERROR = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def compare(model: pm.Model, draws: int = 1000, **options) -> pmlik.Comparison:
    return pmlik.compare(
        model,
        random_seed=1,
        progressbar=False,
        extras=False,
        sample_kwargs={"draws": draws},
        **options,
    )


def beta_binomial(a: float, b: float, n: int, y: int) -> pm.Model:
    with pm.Model() as model:
        p = pm.Beta("p", a, b)
        pm.Deterministic("odds", p / (1 - p))
        pm.Binomial("y", n=n, p=p, observed=y)
    return model


@pytest.fixture(scope="module")
def binomial() -> pmlik.Comparison:
    return compare(beta_binomial(2, 2, 10, 2), draws=4000)


@pytest.fixture(scope="module")
def schools() -> pmlik.Comparison:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        pm.Normal("y", mu, pm.math.sqrt(tau**2 + ERROR**2), observed=EFFECT)
    return compare(model, draws=4000)


def test_every_point_on_the_way_is_the_closed_form(binomial) -> None:
    points = binomial.attribution.waypoints["p"]
    posterior = stats.beta(4, 10)
    mcse = 4 * posterior.std() / np.sqrt(binomial.posterior.diagnostics["ess_bulk"])
    assert float(points.sel(waypoint="mle")) == pytest.approx(2 / 10, abs=1e-9)
    assert float(points.sel(waypoint="map")) == pytest.approx(3 / 12, abs=1e-9)
    # The mode of the logit: the Jacobian p (1 - p) raises both exponents by one.
    assert float(points.sel(waypoint="sampled mode")) == pytest.approx(4 / 14, abs=1e-9)
    assert float(points.sel(waypoint="median")) == pytest.approx(posterior.median(), abs=mcse)
    assert float(points.sel(waypoint="mean")) == pytest.approx(posterior.mean(), abs=mcse)


def test_a_derived_quantity_is_followed_along_the_same_points(binomial) -> None:
    points = binomial.attribution.waypoints
    for name in ("mle", "map", "sampled mode"):
        p = float(points["p"].sel(waypoint=name))
        assert float(points["odds"].sel(waypoint=name)) == pytest.approx(p / (1 - p), rel=1e-12)


def test_eight_schools_is_as_published(schools) -> None:
    # Marginal MLE 7.69 and tau = 0 (the reference answers' closed form), MAP and the mode with
    # Jacobian by hand below, means 4.4 and 3.6 of posteriordb's reference draws.
    points = schools.attribution.waypoints
    assert float(points["mu"].sel(waypoint="mle")) == pytest.approx(7.68561672495604, abs=1e-6)
    assert float(points["tau"].sel(waypoint="mle")) == 0
    assert float(points["tau"].sel(waypoint="map")) == pytest.approx(0, abs=1e-6)
    weights = 1 / ERROR**2
    at_zero = (weights @ EFFECT) / (weights.sum() + 1 / 25)
    assert float(points["mu"].sel(waypoint="map")) == pytest.approx(at_zero, abs=1e-6)
    mode = points.sel(waypoint="sampled mode")
    mu, tau = mode_by_grid()
    assert float(mode["mu"]) == pytest.approx(mu, abs=2e-3)
    assert float(mode["tau"]) == pytest.approx(tau, abs=2e-3)


def mode_by_grid() -> tuple[float, float]:
    """Of the density of (mu, log tau), by the mean given tau, which is closed."""
    tau = np.linspace(0.01, 20, 200_001)
    weights = 1 / (tau[:, None] ** 2 + ERROR**2)
    mu = (weights @ EFFECT) / (weights.sum(1) + 1 / 25)
    density = stats.norm.logpdf(EFFECT, mu[:, None], 1 / np.sqrt(weights)).sum(1)
    density += stats.norm.logpdf(mu, 0, 5) + stats.halfcauchy.logpdf(tau, 0, 5) + np.log(tau)
    best = int(np.argmax(density))
    return mu[best], tau[best]


@pytest.mark.parametrize("name", ["binomial", "schools"])
def test_the_steps_add_up(name, request) -> None:
    comparison = request.getfixturevalue(name)
    table = comparison.attribution.table
    total = table[list(STEPS)].sum(axis=1)
    np.testing.assert_allclose(total, table["total"], rtol=1e-12, atol=1e-14)
    shift = comparison.table["shift in sd"]
    np.testing.assert_allclose(table["total"], shift[table.index], rtol=1e-12, atol=1e-14)
    assert (table["note"] == "").all()


def test_steps_have_the_models_dims() -> None:
    values, errors = {"mu": [1.0, 2.0, 3.0], "s": 1.0}, {"mu": [0.1, 0.1, 0.1], "s": 0.2}
    comparison = make_comparison(
        make_point("mle", values, errors),
        make_point("map", values, errors),
        make_posterior(values, errors),
    )
    steps = comparison.attribution.steps
    assert steps["mu"].dims == ("step", "mu_dim")
    table = comparison.attribution.table
    assert float(steps["mu"].sel(step="tail")[1]) == table.at["mu[1]", "tail"]
    assert float(steps["s"].sel(step="prior")) == table.at["s", "prior"]


def test_what_exists_still_adds_up_without_a_point() -> None:
    one = make_point("mle", {"a": 1.0, "b": np.nan}, {"a": 0.1, "b": np.nan})
    posterior = make_posterior({"a": 3.0, "b": 5.0}, {"a": 0.5, "b": 2.0})
    points = {
        "mle": one.values,
        "map": posterior.values * np.nan,
        "sampled mode": posterior.values - 0.25,
        "median": posterior.values - 0.125,
        "mean": posterior.values,
    }
    table = lay_out(points, posterior.std_error).table
    assert table.loc["a", ["prior", "scale", "skewness", "tail"]].to_list() == pytest.approx(
        [np.nan, 3.5, 0.25, 0.25], nan_ok=True
    )
    assert table.at["a", "total"] == pytest.approx(4.0)
    assert table.at["a", "note"] == "no MAP"
    assert table.loc["b", ["prior", "scale", "skewness", "tail"]].to_list() == pytest.approx(
        [np.nan, np.nan, 0.0625, 0.0625], nan_ok=True
    )
    assert table.at["b", "total"] == pytest.approx(0.125)
    assert table.at["b", "note"] == "no MLE, no MAP"


def test_latents_add_a_step_that_is_not_in_the_sum() -> None:
    posterior = make_posterior({"a": 3.0}, {"a": 0.5})
    names = ("mle", "map", "sampled mode", "median", "mean")
    points = dict.fromkeys(names, posterior.values - 0.5) | {"mean": posterior.values}
    points["joint mode"] = posterior.values - 2.0
    table = lay_out(points, posterior.std_error).table
    assert table.at["a", "integration"] == pytest.approx(3.0)
    assert table.at["a", "total"] == pytest.approx(1.0)


def test_a_comparison_without_posterior_has_no_attribution() -> None:
    model = beta_binomial(2, 2, 10, 2)
    assert compare(model, sample=False).attribution is None


# --- constructed cases with a known cause ---------------------------------------------------


def leading(comparison: pmlik.Comparison, label: str) -> str:
    return next(f.reason for f in comparison.findings(all=True) if label in f.labels)


def test_a_strong_prior_leads() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 0.5)
        pm.Normal("y", mu, 1, observed=[2.0, 2.5, 1.5])
    assert leading(compare(model), "mu") == "prior"


def test_a_weak_likelihood_leaves_it_to_the_prior() -> None:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1)
        pm.Normal("y", 1e-2 * b, 1, observed=[0.02, 0.01, 0.06])
    comparison = compare(model)
    finding = next(f for f in comparison.findings() if "b" in f.labels)
    assert finding.reason == "prior"
    assert "the data say little" in finding.text


def test_few_trials_under_a_flat_prior_are_skewed() -> None:
    # MLE and MAP coincide; 2/10 to the mean 3/12 is scale (to 3/12) and nothing else.
    comparison = compare(beta_binomial(1, 1, 10, 2), draws=4000)
    assert leading(comparison, "p") == "scale"
    assert abs(comparison.attribution.table.at["p", "prior"]) < 1e-6


@pytest.mark.parametrize("n", [5, 8])
def test_a_skewed_scale_is_led_by_the_step_that_the_closed_form_says(n: int) -> None:
    # A flat prior: sigma**2 is inverse gamma((n - 1) / 2, S / 2) a posteriori.
    y = np.array([1.0, -2.0, 0.5, 1.5, -0.5, 0.75, -1.25, 2.25])[:n]
    with pm.Model() as model:
        sigma = pm.HalfFlat("sigma")
        pm.Normal("y", 0, sigma, observed=y)
    comparison = compare(model, draws=4000)
    square, shape = y @ y, (n - 1) / 2
    variance = stats.invgamma(shape, scale=square / 2)
    mean = variance.expect(np.sqrt)
    points = [np.sqrt(square / n)] * 2 + [
        np.sqrt(square / (n - 1)),
        np.sqrt(variance.median()),
        mean,
    ]
    steps = dict(zip(STEPS, np.diff(points), strict=True))
    found = comparison.attribution.waypoints["sigma"].to_numpy()
    np.testing.assert_allclose(found[:3], points[:3], rtol=1e-8)
    np.testing.assert_allclose(found[3:], points[3:], rtol=0.03)
    assert leading(comparison, "sigma") == max(steps, key=steps.get)


def test_a_boundary_is_named(schools) -> None:
    finding = next(f for f in schools.findings() if "tau" in f.labels)
    assert finding.reason == "scale"
    assert "boundary" in finding.text


def test_there_is_no_verdict_on_chains_that_disagree() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 0.5)
        pm.Normal("y", mu, 1, observed=[2.0, 2.5, 1.5])
    comparison = pmlik.compare(
        model,
        random_seed=1,
        progressbar=False,
        extras=False,
        sample_kwargs={"draws": 5, "tune": 5, "chains": 2},
    )
    assert comparison.verdict is None
    assert all(finding.reason == "not trusted" for finding in comparison.findings())


def test_data_that_say_all_agree() -> None:
    y = np.random.default_rng(0).normal(3, 1, size=400)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 100)
        pm.Normal("y", mu, 1, observed=y)
    comparison = compare(model)
    assert comparison.verdict == "agree"
    (finding,) = comparison.findings()
    assert finding.reason == "agree"
