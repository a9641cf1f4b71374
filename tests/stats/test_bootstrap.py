"""The bootstrap against closed forms, statsmodels, rows repeated, and its own failures."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import statsmodels.api as sm

import pmlik
from oracles import zoo
from oracles.fits import fit, near, resample
from oracles.regressions import SPREAD, N
from pmlik.logp.sparsity import SparsityPattern
from pmlik.stats.refit import Refitter

# --- Standard errors ------------------------------------------------------------------------------


def test_a_pattern_that_lacks_an_entry_is_noticed(monkeypatch) -> None:
    group = np.repeat(np.arange(20), 6)
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=120), rng.normal(size=120)
    with pm.Model() as model:
        mean = pm.Normal("mean", 0, 10, shape=20)
        slope = pm.Normal("slope", 0, 10)
        pm.Normal("y", mean[group] + slope * x, 1.0, observed=y)
    estimate = fit(model)
    weights = rng.exponential(size=(3, 120))
    shapes = {"y": (120,)}

    def refit() -> np.ndarray:
        refitter = Refitter(estimate.prepared, "mle", estimate.unconstrained, shapes)
        assert refitter._batched.replicated.is_sparse
        return refitter({"y": weights}).values

    expected = []
    for weight in weights:
        design = np.column_stack([group[:, None] == np.arange(20), x])
        expected.append(sm.WLS(y, design, weights=weight).fit().params)
    np.testing.assert_allclose(refit(), expected, rtol=1e-8, atol=1e-10)

    def diagonal_only(product, sizes):
        return SparsityPattern.of(21, np.arange(21), np.arange(21))

    monkeypatch.setattr("pmlik.logp.replicates.find_pattern", diagonal_only)
    np.testing.assert_allclose(refit(), expected, rtol=1e-8, atol=1e-10)


def test_parametric_errors_are_those_of_the_information(counted) -> None:
    n = 2000
    found = resample(counted, n)
    assert found.n_failed == 0
    near(found.std_error["beta"], counted.std_error["beta"], n)
    near(found.std_error["ratio"], counted.std_error["ratio"], n)
    # Mean of the replicates, in its own Monte Carlo error; the bias itself is of order 1 / N.
    assert (abs(found.bias["beta"]) < 5 * counted.std_error["beta"] / np.sqrt(n) + 0.02).all()


def test_parametric_draws_of_a_mean_are_normal_and_have_its_exact_law() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 2.0, observed=SPREAD)
    estimate, n = fit(model), 2000
    found = resample(estimate, n)
    from scipy import stats

    law = stats.norm(SPREAD.mean(), 2 / np.sqrt(N))
    assert stats.kstest(found.draws["mu"], law.cdf).pvalue > 1e-3
    interval = pmlik.interval_bootstrap(found, ci_prob=0.9)["mu"]
    error = np.sqrt(0.05 * 0.95 / n) / law.pdf(law.ppf(0.05))
    np.testing.assert_allclose(interval, law.ppf([0.05, 0.95]), atol=5 * error)


@pytest.mark.parametrize("kind", ["nonparametric", "bayesian"])
def test_resampled_errors_are_those_of_the_sandwich(counted, kind) -> None:
    n = 2000
    near(
        resample(counted, n, kind=kind).std_error["beta"],
        pmlik.make_robust(counted).std_error["beta"],
        n / 4,  # the sandwich is the leading term in 1 / N only
    )


def test_resampled_means_have_closed_forms() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 1, observed=SPREAD)
    estimate, n = fit(model), 2000
    plain = SPREAD.std() / np.sqrt(N)
    near(resample(estimate, n, kind="nonparametric").std_error["mu"], plain, n)
    rubin = SPREAD.std() / np.sqrt(N + 1)  # variance of a Dirichlet-weighted mean
    near(resample(estimate, n, kind="bayesian").std_error["mu"], rubin, n)
    pairs = np.arange(N) // 2
    blocks = SPREAD.reshape(-1, 2).mean(axis=1).std() / np.sqrt(N / 2)
    near(resample(estimate, n, kind="nonparametric", cluster=pairs).std_error["mu"], blocks, n)


def test_variables_on_the_same_dims_are_resampled_together() -> None:
    def build(dims) -> pm.Model:
        with pm.Model(coords={"unit": np.arange(N)}) as model:
            mu = pm.Normal("mu", 0, 10, shape=2)
            pm.Normal("first", mu[0], 1, observed=SPREAD, dims=dims)
            pm.Normal("second", mu[1], 1, observed=2 * SPREAD, dims=dims)
        return model

    joint = resample(fit(build("unit")), 300, kind="nonparametric").draws["mu"].values
    np.testing.assert_allclose(joint[:, 1], 2 * joint[:, 0], rtol=1e-6)
    apart = resample(fit(build(None)), 300, kind="nonparametric").draws["mu"].values
    assert abs(np.corrcoef(apart.T)[0, 1]) < 0.3  # five standard errors of a zero correlation


# --- Simulation -----------------------------------------------------------------------------------


def test_what_depends_on_an_observed_variable_is_simulated_from_its_draw() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        first = pm.Normal("first", mu, 1, observed=SPREAD)
        shift = pm.Normal("shift", 0, 10)
        pm.Normal("second", first + shift, 0.001, observed=SPREAD + 3)
    found = resample(fit(model), 200).draws
    assert float(found["mu"].std()) == pytest.approx(1 / np.sqrt(N), rel=0.25)
    assert float(found["shift"].std()) == pytest.approx(0.001 / np.sqrt(N), rel=0.25)


def test_missing_values_stay_missing() -> None:
    estimate = fit(zoo.missing_values().model)
    found = resample(estimate, 1000)
    near(found.std_error["mu"], estimate.std_error["mu"], 1000)


def test_multivariate_rows_are_simulated_and_resampled() -> None:
    covariance = np.array([[1.0, 0.8], [0.8, 2.0]])
    y = np.random.default_rng(0).multivariate_normal([0, 1], covariance, size=40)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10, shape=2)
        pm.MvNormal("y", mu, cov=covariance, observed=y)
    estimate = fit(model)
    parametric = resample(estimate, 1500).draws["mu"].values
    np.testing.assert_allclose(np.cov(parametric.T), covariance / 40, rtol=0.2)
    rows = resample(estimate, 1500, kind="nonparametric").draws["mu"].values
    np.testing.assert_allclose(np.cov(rows.T), np.cov(y.T, ddof=0) / 40, rtol=0.2)


def test_a_time_series_is_simulated_and_not_resampled() -> None:
    rng, y = np.random.default_rng(8), [0.0]
    for _ in range(149):
        y.append(0.6 * y[-1] + rng.normal())
    with pm.Model() as model:
        rho = pm.Uniform("rho", -1, 1)
        pm.AR("y", rho, sigma=1.0, init_dist=pm.Normal.dist(), observed=y)
    estimate = fit(model)
    found = resample(estimate, 200)
    assert float(found.std_error["rho"]) == pytest.approx(float(estimate.std_error["rho"]), rel=0.3)
    with pytest.raises(pmlik.ModelError, match=r"y: its 150 values .*kind='parametric'"):
        resample(estimate, 10, kind="nonparametric")


def test_what_cannot_be_simulated_is_refused_by_name() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.CustomDist("y", mu, logp=lambda y, mu: -((y - mu) ** 2), observed=SPREAD)
    estimate = fit(model)
    with pytest.raises(pmlik.ModelError, match="y: PyMC can't draw from this distribution"):
        resample(estimate, 10)
    assert resample(estimate, 10, kind="bayesian").n_failed == 0
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Potential("term", -((SPREAD - mu) ** 2))
    with pytest.raises(pmlik.ModelError, match=r"term: a pm\.Potential can't be simulated"):
        resample(fit(model), 10)


def test_the_users_model_is_not_touched(counted) -> None:
    model = counted.prepared.model
    before = model.compile_logp()(model.initial_point())
    resample(counted, 20)
    assert model.compile_logp()(model.initial_point()) == before
    assert [rv.name for rv in model.free_RVs] == ["beta"]


# --- Seeds, records, intervals --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parametric", "nonparametric", "bayesian"])
def test_replicate_i_depends_on_the_seed_and_i_alone(counted, kind) -> None:
    few, many = (resample(counted, n, kind=kind, random_seed=7) for n in (30, 700))
    assert many.draws.isel(replicate=slice(30)).identical(few.draws)
    assert many.fits.isel(replicate=slice(30)).identical(few.fits)
    other = resample(counted, 30, kind=kind, random_seed=8)
    assert not np.isclose(other.draws["ratio"], few.draws["ratio"]).any()


def test_record_has_the_models_dims_and_prints(counted) -> None:
    found = resample(counted, 50, kind="bayesian")
    assert found.draws["beta"].dims == ("replicate", "term")
    assert found.draws["ratio"].dims == ("replicate",)
    assert list(found.draws["beta"]["term"].values) == ["one", "a"]
    assert list(found.fits) == ["log_likelihood", "newton_decrement", "outcome"]
    assert float(found.fits["newton_decrement"].max()) < 1e-6
    text = str(found)
    assert "Bayesian bootstrap" in text
    assert "beta[one]" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize("method", ["percentile", "basic"])
def test_intervals_are_quantiles(counted, method) -> None:
    found = resample(counted, 99, kind="bayesian")
    interval = pmlik.interval_bootstrap(found, ci_prob=0.9, method=method)
    draws = np.sort(found.draws["beta"].values, axis=0)
    expected = np.stack([draws[4], draws[94]], axis=-1)  # the 5th and the 95th of 99
    if method == "basic":
        expected = 2 * counted.values["beta"].values[:, None] - expected[:, ::-1]
    np.testing.assert_allclose(interval["beta"], expected)
    assert interval["beta"].dims == ("term", "ci_bound")
    assert list(interval["ci_bound"].values) == ["lower", "upper"]
    assert interval.attrs == {
        "ci_kind": "bootstrap",
        "ci_prob": 0.9,
        "method": method,
        "n_replicates": 99,
        "n_failed": 0,
    }


def test_too_few_replicates_have_no_quantiles(counted) -> None:
    found = resample(counted, 20, kind="bayesian")
    assert pmlik.interval_bootstrap(found, ci_prob=0.95)["beta"].isnull().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "jackknife"}, "kind: got 'jackknife'"),
        ({"cluster": np.arange(N)}, "cluster: a parametric bootstrap simulates"),
        ({"random_seed": -1}, "random_seed: got -1"),
        ({"kind": "bayesian", "cluster": np.zeros(N)}, "every resample would be the same"),
        ({"kind": "bayesian", "cluster": "town"}, "cluster: got 'town'"),
    ],
)
def test_bad_arguments_are_named(counted, options, message) -> None:
    with pytest.raises(pmlik.ModelError, match=message):
        resample(counted, 10, **options)


def test_bad_numbers_are_named(counted) -> None:
    with pytest.raises(pmlik.ModelError, match="n: got 1"):
        resample(counted, 1)
    with pytest.raises(pmlik.ModelError, match="estimate: got Dataset"):
        resample(counted.values, 10)
    found = resample(counted, 10)
    with pytest.raises(pmlik.ModelError, match="ci_prob: got 95"):
        pmlik.interval_bootstrap(found, ci_prob=95)
    with pytest.raises(pmlik.ModelError, match="method: got 'bca'"):
        pmlik.interval_bootstrap(found, method="bca")
