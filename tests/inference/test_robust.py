"""Robust covariances against closed forms and statsmodels, scores against differences."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import statsmodels.api as sm

import pmlik
from oracles import zoo
from pmlik.inference.units import read_units
from pmlik.results.flags import FlagCode

N = 60
RNG = np.random.default_rng(5)
X = np.column_stack([np.ones(N), RNG.normal(size=N), RNG.uniform(-1, 1, size=N)])
FIRM = RNG.integers(0, 12, size=N)
MEAN = X @ [0.4, 0.3, -0.5] + 0.3 * RNG.normal(size=12)[FIRM]
Y = {
    "normal": MEAN + RNG.normal(size=N) * np.exp(0.5 * X[:, 1]),
    "poisson": RNG.poisson(np.exp(MEAN)),
    "logit": RNG.binomial(1, 1 / (1 + np.exp(-MEAN))),
}
FAMILIES = {
    "normal": sm.families.Gaussian(),
    "poisson": sm.families.Poisson(),
    "logit": sm.families.Binomial(),
}


def regression(family: str, **names) -> pm.Model:
    with pm.Model(coords={"term": ["one", "a", "b"], **names}) as model:
        beta = pm.Normal("beta", 0, 10, dims="term")
        eta, dims = X @ beta, "firm" if names else None
        if family == "normal":
            pm.Normal("y", eta, 1.5, observed=Y[family], dims=dims)
        elif family == "poisson":
            pm.Poisson("y", pm.math.exp(eta), observed=Y[family], dims=dims)
        else:
            pm.Bernoulli("y", logit_p=eta, observed=Y[family], dims=dims)
    return model


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> tuple[str, pmlik.PointEstimate]:
    mle = pmlik.find_MLE(regression(request.param), random_seed=1, progressbar=False)
    return request.param, mle


def fit(family: str):
    return sm.GLM(Y[family], X, family=FAMILIES[family])


def test_sandwich_is_statsmodels_hc0(family) -> None:
    name, mle = family
    # In a Gaussian GLM the dispersion cancels, so that a known sigma makes no difference.
    theirs = fit(name).fit(tol=1e-14, maxiter=200, cov_type="HC0")
    ours = pmlik.make_robust(mle)
    np.testing.assert_allclose(ours.values["beta"], theirs.params, rtol=1e-8)
    np.testing.assert_allclose(ours.covariance, theirs.cov_params(), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(ours.std_error["beta"], theirs.bse, rtol=1e-8)


def test_clustered_sandwich_is_statsmodels(family) -> None:
    name, mle = family
    options = {"groups": FIRM, "use_correction": False}
    theirs = fit(name).fit(tol=1e-14, maxiter=200, cov_type="cluster", cov_kwds=options)
    ours = pmlik.make_robust(mle, cluster=FIRM)
    np.testing.assert_allclose(ours.covariance, theirs.cov_params(), rtol=1e-8, atol=1e-12)


def test_ols_has_whites_closed_form() -> None:
    mle = pmlik.find_MLE(regression("normal"), random_seed=1, progressbar=False)
    beta, *_ = np.linalg.lstsq(X, Y["normal"])
    bread, residual = np.linalg.inv(X.T @ X), Y["normal"] - X @ beta
    white = bread @ (X.T * residual**2) @ X @ bread
    np.testing.assert_allclose(pmlik.make_robust(mle).covariance, white, rtol=1e-8)


def test_clusters_by_coord_by_data_and_by_array_are_the_same(family) -> None:
    name, mle = family
    expected = pmlik.make_robust(mle, cluster=FIRM).std_error["beta"]
    labels = [f"firm {i}" for i in FIRM]
    by_coord = pmlik.find_MLE(
        regression(name, firm=labels),
        covariance_kind="robust",
        cluster="firm",
        random_seed=1,
        progressbar=False,
    )
    np.testing.assert_allclose(by_coord.std_error["beta"], expected, rtol=1e-8)
    assert by_coord.std_error.attrs["covariance_kind"] == "robust"
    assert by_coord.covariance.attrs["covariance_kind"] == "robust"
    model = regression(name)
    with model:
        pm.Data("of_firm", FIRM)
    again = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    by_data = pmlik.make_robust(again, cluster="of_firm")
    np.testing.assert_allclose(by_data.std_error["beta"], expected, rtol=1e-8)


def test_each_observation_a_cluster_is_no_clusters(family) -> None:
    _, mle = family
    alone, none = pmlik.make_robust(mle, cluster=np.arange(N)), pmlik.make_robust(mle)
    np.testing.assert_allclose(alone.covariance, none.covariance, rtol=1e-12)


def test_compare_takes_robust_errors_for_the_mle_alone() -> None:
    model = regression("poisson")
    options = {"sample": False, "random_seed": 1, "progressbar": False, "extras": False}
    plain = pmlik.compare(model, **options)
    robust = pmlik.compare(model, covariance_kind="robust", cluster=FIRM, **options)
    expected = pmlik.make_robust(plain.mle, cluster=FIRM)
    np.testing.assert_allclose(robust.mle.std_error["beta"], expected.std_error["beta"], rtol=1e-8)
    np.testing.assert_allclose(robust.map.std_error["beta"], plain.map.std_error["beta"])
    column = robust.table["SE"].to_numpy()
    np.testing.assert_allclose(column[:3], expected.std_error["beta"], rtol=1e-8)


def test_scores_are_differences_of_the_pointwise_log_likelihood() -> None:
    mle = pmlik.find_MLE(zoo.line().model, random_seed=1, progressbar=False)
    problem, x = mle.prepared.problem, mle.unconstrained + 0.1
    units = read_units(problem, x, None, "a test")
    scores = problem.likelihood.unit_scores(x, units.codes, units.size)
    differences = zoo.jacobian_of(lambda at: problem.likelihood.pointwise(at)["y"], x)
    np.testing.assert_allclose(scores, differences, rtol=1e-6, atol=1e-8)


def test_derived_quantities_follow_by_the_delta_method() -> None:
    with pm.Model() as model:
        rate = pm.Gamma("rate", 1, 1)
        pm.Deterministic("log_rate", pm.math.log(rate))
        pm.Poisson("y", rate, observed=Y["poisson"])
    robust = pmlik.make_robust(pmlik.find_MLE(model, random_seed=1, progressbar=False))
    mean, spread = Y["poisson"].mean(), Y["poisson"].std()
    assert float(robust.std_error["rate"]) == pytest.approx(spread / np.sqrt(N), rel=1e-8)
    expected = spread / np.sqrt(N) / mean
    assert float(robust.std_error["log_rate"]) == pytest.approx(expected, rel=1e-8)


def test_several_observed_variables_are_added_within_clusters() -> None:
    y = Y["normal"].reshape(2, -1)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        for name, part in zip("ab", y, strict=True):
            pm.Normal(name, mu, 2.0, observed=part)
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    labels = {"a": np.arange(30), "b": np.arange(30)}
    together = pmlik.make_robust(mle, cluster=labels)
    residual = (y - y.mean()).sum(axis=0)
    assert float(together.std_error["mu"]) == pytest.approx(np.sqrt((residual**2).sum()) / N)
    apart = pmlik.make_robust(mle)
    assert float(apart.std_error["mu"]) == pytest.approx(y.std() / np.sqrt(N))


def test_a_series_in_one_term_is_refused() -> None:
    with pm.Model() as model:
        rho = pm.Uniform("rho", -1, 1)
        pm.AR("y", rho, sigma=1.0, init_dist=pm.Normal.dist(), observed=Y["normal"])
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    with pytest.raises(pmlik.ModelError, match="y: its 60 values are one term"):
        pmlik.make_robust(mle)


def test_a_potential_in_one_term_is_refused() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        pm.Normal("y", mu, 1, observed=Y["normal"])
        pm.Potential("penalty", -((mu - 1) ** 2))
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    with pytest.raises(pmlik.ModelError, match=r"penalty: this pm\.Potential is one term"):
        pmlik.make_robust(mle)


def test_no_more_clusters_than_parameters_gives_nan_and_a_flag(family) -> None:
    _, mle = family
    robust = pmlik.make_robust(mle, cluster=np.arange(N) % 3)
    assert robust.std_error["beta"].isnull().all()
    assert any(flag.code is FlagCode.FEW_CLUSTERS for flag in robust.flags)


def test_at_the_border_there_is_none() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Bernoulli("y", p, observed=np.zeros(8, int))
    robust = pmlik.make_robust(pmlik.find_MLE(model, random_seed=1, progressbar=False))
    assert np.isnan(robust.std_error["p"])
    assert any(flag.code is FlagCode.NO_ROBUST_ERROR for flag in robust.flags)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("town", "cluster: got 'town', need a dim of the observed variable 'y'"),
        (FIRM[:-1], r"cluster: got labels of shape \(59,\), need \(60,\)"),
        ([*FIRM[:-1].astype(float), np.nan], "cluster: got a missing label"),
        ({"z": FIRM}, "cluster: got no labels for 'y'"),
    ],
)
def test_clusters_that_do_not_fit_are_refused(family, cluster, message) -> None:
    with pytest.raises(pmlik.ModelError, match=message):
        pmlik.make_robust(family[1], cluster=cluster)


def test_arguments_are_checked() -> None:
    model = regression("poisson")
    with pytest.raises(pmlik.ModelError, match="covariance_kind: got 'hc3'"):
        pmlik.find_MLE(model, covariance_kind="hc3", progressbar=False)
    with pytest.raises(pmlik.ModelError, match="cluster: needs covariance_kind='robust'"):
        pmlik.find_MLE(model, cluster=FIRM, progressbar=False)
    with pytest.raises(pmlik.ModelError, match="got a MAP"):
        pmlik.make_robust(pmlik.find_MAP(model, random_seed=1, progressbar=False))
