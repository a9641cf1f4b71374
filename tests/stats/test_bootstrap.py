"""The bootstrap against closed forms, statsmodels, rows repeated, and its own failures."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import statsmodels.api as sm

import pmlik
from oracles import zoo
from oracles.fits import fit, resample
from pmlik.logp.sparsity import SparsityPattern
from pmlik.results.flags import FlagCode, Severity
from pmlik.stats.refit import Refitter
from pmlik.stats.refit_status import RefitStatus

N = 80
RNG = np.random.default_rng(11)
X = np.column_stack([np.ones(N), RNG.normal(size=N)])
COUNTS = RNG.poisson(np.exp(X @ [0.7, 0.4]))
SPREAD = X @ [1.0, -0.5] + RNG.normal(size=N) * np.exp(0.6 * X[:, 1])


def poisson(rows=slice(None), **dims) -> pm.Model:
    with pm.Model(coords={"term": ["one", "a"], **dims}) as model:
        beta = pm.Normal("beta", 0, 10, dims="term")
        pm.Deterministic("ratio", pm.math.exp(beta[1]))
        rate = pm.math.exp(X[rows] @ beta)
        pm.Poisson("y", rate, observed=COUNTS[rows], dims=next(iter(dims), None))
    return model


def normal(rows=slice(None)) -> pm.Model:
    with pm.Model(coords={"term": ["one", "a"]}) as model:
        beta = pm.Normal("beta", 0, 10, dims="term")
        sigma = pm.HalfNormal("sigma", 10)
        pm.Normal("y", X[rows] @ beta, sigma, observed=SPREAD[rows])
    return model


def reweighted(estimate: pmlik.PointEstimate, weights, kind="mle") -> np.ndarray:
    weights = np.atleast_2d(np.asarray(weights, float))
    refitter = Refitter(estimate.prepared, kind, estimate.certificate.x, {"y": (N,)})
    refits = refitter({"y": weights})
    assert refits.outcome == [RefitStatus.CERTIFIED] * len(weights)
    return refits.values


@pytest.fixture(scope="module")
def counted() -> pmlik.PointEstimate:
    return fit(poisson())


@pytest.fixture(scope="module")
def spread() -> pmlik.PointEstimate:
    return fit(normal())


# --- Refits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [poisson, normal])
def test_integer_weights_are_rows_repeated(build) -> None:
    estimate = fit(build())
    for seed in range(3):
        counts = np.random.default_rng(seed).multinomial(N, np.full(N, 1 / N))
        repeated = fit(build(np.repeat(np.arange(N), counts)))
        expected = np.concatenate([np.ravel(array) for array in repeated.values.values()])
        np.testing.assert_allclose(reweighted(estimate, counts)[0], expected, rtol=1e-8)


def test_weight_two_everywhere_is_data_twice(spread) -> None:
    once, twice = reweighted(spread, [np.ones(N), np.full(N, 2.0)])
    np.testing.assert_allclose(twice, once, rtol=1e-9)
    expected = np.concatenate([np.ravel(array) for array in spread.values.values()])
    np.testing.assert_allclose(once, expected, rtol=1e-9)


def test_weights_are_statsmodels_frequency_weights(counted) -> None:
    weights = np.random.default_rng(2).exponential(size=(4, N))
    ours = reweighted(counted, weights)
    for row, weight in zip(ours, weights, strict=True):
        theirs = sm.GLM(COUNTS, X, family=sm.families.Poisson(), freq_weights=weight)
        params = theirs.fit(tol=1e-14, maxiter=200).params
        np.testing.assert_allclose(row[:2], params, rtol=1e-8)
        np.testing.assert_allclose(row[2], np.exp(params[1]), rtol=1e-8)


def test_weights_of_a_normal_regression_are_weighted_least_squares(spread) -> None:
    weights = np.random.default_rng(3).exponential(size=N)
    row = reweighted(spread, weights)[0]
    theirs = sm.WLS(SPREAD, X, weights=weights).fit()
    np.testing.assert_allclose(row[:2], theirs.params, rtol=1e-8)
    variance = np.sum(weights * theirs.resid**2) / weights.sum()
    assert row[2] == pytest.approx(np.sqrt(variance), rel=1e-8)


def test_weights_leave_the_prior_of_a_map_alone() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 1, 0.1)
        pm.Normal("y", mu, 1, observed=SPREAD)
    estimate = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    weights = np.random.default_rng(3).exponential(size=N)
    expected = (1 / 0.1**2 + weights @ SPREAD) / (1 / 0.1**2 + weights.sum())
    assert reweighted(estimate, weights, "map")[0, 0] == pytest.approx(expected, rel=1e-10)


def test_new_data_are_what_find_MLE_gives_for_them(counted) -> None:
    drawn = np.random.default_rng(4).poisson(2.0, size=(3, N))
    refits = Refitter(counted.prepared, "mle", counted.certificate.x)({"y": drawn})
    for row, log_likelihood, y in zip(refits.values, refits.log_likelihood, drawn, strict=True):
        theirs = sm.GLM(y, X, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=200)
        np.testing.assert_allclose(row[:2], theirs.params, rtol=1e-8, atol=1e-9)
        assert log_likelihood == pytest.approx(theirs.llf, rel=1e-12)


def test_one_at_a_time_is_all_at_once(spread) -> None:
    weights = np.random.default_rng(6).exponential(size=(5, N))
    options = (spread.prepared, "mle", spread.certificate.x, {"y": (N,)})
    together, alone = (Refitter(*options, together=t)({"y": weights}) for t in (None, False))
    np.testing.assert_allclose(together.values, alone.values, rtol=1e-9)
    np.testing.assert_allclose(together.log_likelihood, alone.log_likelihood, rtol=1e-12)


# --- Standard errors ----------------------------------------------------------------------------


def near(found, expected, n) -> None:
    """Within five Monte Carlo standard errors of a standard deviation from ``n`` replicates."""
    np.testing.assert_allclose(found, expected, rtol=5 / np.sqrt(2 * n))


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
        refitter = Refitter(estimate.prepared, "mle", estimate.certificate.x, shapes)
        assert refitter._replicated.is_sparse
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


# --- Simulation ---------------------------------------------------------------------------------


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


# --- Failures -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def challenger() -> pmlik.PointEstimate:
    from quickstart import model

    return fit(model)


def is_separated(temperature: np.ndarray, damage: np.ndarray) -> bool:
    """Whether one threshold tells the outcomes apart, or ties at it do: no finite MLE exists."""
    if damage.min() == damage.max():
        return True
    hot, cold = temperature[damage == 0], temperature[damage == 1]
    return bool(cold.max() <= hot.min() or hot.max() <= cold.min())


@pytest.mark.parametrize("kind", ["parametric", "nonparametric"])
def test_failures_are_the_separated_data_sets(challenger, kind) -> None:
    import quickstart

    temperature = np.array(quickstart.temperature)
    damage = np.array(quickstart.damage)
    n = 1000
    found = resample(challenger, n, kind=kind)
    if kind == "parametric":
        from pmlik.inference.simulate import simulator

        prepared = challenger.prepared
        values = {name: challenger.values[name].values for name in prepared.roles.parameters}
        simulate = simulator(prepared.model, prepared.roles, values, None)
        seeds = [np.random.SeedSequence(1, spawn_key=(i,)) for i in range(n)]
        expected = [is_separated(temperature, simulate(seed)["damage"]) for seed in seeds]
    else:
        expected = []
        for i in range(n):
            rng = np.random.default_rng(np.random.SeedSequence(1, spawn_key=(i,)))
            rows = rng.multinomial(23, np.full(23, 1 / 23)) > 0
            expected.append(is_separated(temperature[rows], damage[rows]))
    failed = found.draws["slope"].isnull().values
    np.testing.assert_array_equal(failed, expected)
    assert found.n_failed == sum(expected) > 0
    assert set(found.failures) == {str(RefitStatus.INFINITY)}
    (flag,) = found.flags
    assert flag.code is FlagCode.REFITS_FAILED
    assert flag.severity is Severity.WARNING
    assert f"{sum(expected)} of {n}" in flag.detail
    interval = pmlik.interval_bootstrap(found)
    assert interval.attrs["n_failed"] == sum(expected)
    assert np.isfinite(interval["slope"]).all()


def test_too_many_failures_give_nan_and_an_error() -> None:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10, shape=2)
        x = np.array([-2, -1, 0, 1, 2, 3.0])
        pm.Bernoulli("y", logit_p=b[0] + b[1] * x, observed=[0, 0, 1, 0, 1, 1])
    found = resample(fit(model), 200, kind="nonparametric")
    assert found.n_failed > 20
    assert not found.trusted
    assert found.std_error["b"].isnull().all()
    assert pmlik.interval_bootstrap(found)["b"].isnull().all()
    assert found.draws.sizes["replicate"] == 200


def test_estimates_at_the_border_are_estimates() -> None:
    found = resample(fit(zoo.binomial().model), 1000)
    zero = found.fits["outcome"] == str(RefitStatus.BOUNDARY)
    np.testing.assert_array_equal(found.draws["p"].values == 0, zero.values)
    p, n = 0.8**10, 1000
    assert float(zero.mean()) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / n))
    assert found.n_failed == 0
    assert [flag.code for flag in found.flags] == [FlagCode.REFITS_AT_BOUNDARY]
    near(found.std_error["p"], np.sqrt(0.2 * 0.8 / 10), n)
    # All that a binomial of ten can estimate is tenths.
    np.testing.assert_allclose(found.draws["p"] * 10, np.round(found.draws["p"] * 10), atol=1e-9)


def test_what_is_not_identified_stays_nan() -> None:
    found = resample(fit(zoo.collinear().model), 50, kind="bayesian")
    assert found.draws["b"].isnull().all()
    assert np.isfinite(found.draws["total"]).all()
    assert found.n_failed == 0


SMALL = np.repeat([0, 1, 2], [2, 9, 9])


def small_groups(n_more: int) -> pm.Model:
    """A mean a group, of which one has two rows; ``n_more`` more groups make it a sparse one."""
    group = np.concatenate([SMALL, np.repeat(3 + np.arange(n_more), 12)])
    y = np.random.default_rng(4).normal(size=len(group)) + group
    with pm.Model(coords={"group": np.arange(group.max() + 1)}) as model:
        mean = pm.Normal("mean", 0, 100, dims="group")
        pm.Deterministic("last", mean[-1] + 1)
        pm.Normal("y", mean[group], 2.0, observed=y)
    return model


@pytest.mark.parametrize("n_more", [0, 40])
def test_a_group_that_is_not_drawn_has_no_estimate_and_the_others_have(n_more) -> None:
    estimate = fit(small_groups(n_more))
    model = estimate.prepared.model
    y = model.rvs_to_values[model["y"]].eval()
    group = np.concatenate([SMALL, np.repeat(3 + np.arange(n_more), 12)])
    size = 3 + n_more
    weights = np.random.default_rng(5).multinomial(len(y), np.full(len(y), 1 / len(y)), size=60)
    refitter = Refitter(estimate.prepared, "mle", estimate.certificate.x, {"y": (len(y),)})
    alone = Refitter(
        estimate.prepared, "mle", estimate.certificate.x, {"y": (len(y),)}, together=False
    )
    absent = 0
    for refits, some in ((refitter({"y": weights.astype(float)}), 60), (None, 12)):
        refits = refits or alone({"y": weights[:some].astype(float)})
        for row, weight, end in zip(refits.values, weights, refits.outcome, strict=False):
            count = np.bincount(group, weight, minlength=size)
            with np.errstate(all="ignore"):
                mean = np.bincount(group, weight * y, minlength=size) / count
            np.testing.assert_allclose(row, [*mean, mean[-1] + 1], rtol=1e-8, atol=1e-10)
            assert end is (RefitStatus.CERTIFIED if count.all() else RefitStatus.PARTIAL)
            absent += not count.all()
    assert absent >= 3  # or the draws were no test


def test_what_some_resamples_say_nothing_about_is_flagged() -> None:
    estimate = fit(small_groups(40))
    n = 400
    spread = resample(estimate, n, kind="nonparametric")
    lacking = spread.draws["mean"].isnull().mean("replicate")
    rows = len(SMALL) + 40 * 12
    expected = (1 - 2 / rows) ** rows  # that neither of the two is drawn: about exp(-2)
    assert abs(lacking[0] - expected) < 4 * np.sqrt(expected * (1 - expected) / n)
    assert not lacking[1:].any()
    assert spread.n_failed == 0
    [flag] = spread.flags
    assert flag.code is FlagCode.REFITS_SAY_NOTHING
    assert flag.severity is Severity.WARNING
    assert flag.variables == ("mean[0]",)
    assert f"mean[0] in {round(float(lacking[0]) * n)}" in flag.detail
    ends = pmlik.interval_bootstrap(spread)
    for values in (spread.std_error["mean"], spread.bias["mean"], ends["mean"].max("ci_bound")):
        assert np.isnan(values[0])
        assert not np.isnan(values[1:]).any()
    kept = spread.draws["mean"][:, 1].values
    assert spread.std_error["mean"][1].item() == pytest.approx(kept.std(ddof=1), rel=1e-12)


def test_an_estimate_without_a_finite_optimum_is_refused() -> None:
    estimate = fit(zoo.separation().model)
    with pytest.raises(pmlik.ModelError, match="no finite optimum to start from"):
        resample(estimate, 10)


# --- Seeds, records, intervals ------------------------------------------------------------------


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
    assert list(found.fits) == ["log_likelihood", "estimated_distance", "outcome"]
    assert float(found.fits["estimated_distance"].max()) < 1e-6
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
