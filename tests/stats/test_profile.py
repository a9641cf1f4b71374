"""Profile likelihoods against published intervals, closed forms and other packages."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import optimize, stats

import pmlik
from oracles.fits import fit, fit_case
from oracles.reference_models import CASES, truth

LEVEL = stats.chi2.ppf(0.95, 1) / 2
# In this case R's search stops on a lesser optimum: see the test further down.
LESSER = ("08_t_regression_stackloss", "s", 0)


def ends(interval, names) -> np.ndarray:
    return np.concatenate([interval[name].values.reshape(-1, 2) for name in names])


@pytest.mark.parametrize("case", CASES)
def test_ends_are_the_published_ones(case) -> None:
    expected, names = truth(case), CASES[case][1]
    interval = pmlik.interval_profile(fit_case(case), progressbar=False)
    found = ends(interval, names)
    for row, (name, published) in zip(found, expected["profile_ci95"].items(), strict=True):
        for side, end in enumerate(published):
            if (case, name, side) == LESSER:
                continue
            if end is None:
                assert not np.isfinite(row[side])
            else:
                assert abs(row[side] - end) < 1e-6 * expected["se"][name], (name, side)


def test_a_return_level_has_its_published_profile() -> None:
    expected = truth("07_gev_portpirie")["return_level_100"]
    mle = fit_case("07_gev_portpirie")
    interval = pmlik.interval_profile(mle, var_names="return_level_100", progressbar=False)
    error = expected["se_delta"]
    np.testing.assert_allclose(
        interval["return_level_100"], expected["profile_ci95"], atol=1e-6 * error
    )


def test_the_one_end_that_differs_is_not_on_the_profile() -> None:
    # R's search for the profile of s sits on a lesser optimum at its lower end: with the same s
    # the other parameters found here have a higher likelihood, by scipy's own density.
    case = "08_t_regression_stackloss"
    expected, mle = truth(case), fit_case(case)
    end = expected["profile_ci95"]["s"][0]
    lik = pmlik.Likelihood.of(mle, progressbar=False)
    profile = lik.surface({"s": [0.4, 0.2, end]}, others="profile")
    level = expected["loglik"] - LEVEL
    assert float(profile[-1]) > level + 0.5
    found = pmlik.profile(mle, var_names="s", progressbar=False)
    # Below it the profile rises without bound, as the line runs through points: it never falls to
    # the level, and the interval reaches the border.
    assert float(found.interval["s"][0]) == 0
    codes = [flag.code for flag in found.flags]
    assert codes == [pmlik.FlagCode.ENDS_AT_BORDER, pmlik.FlagCode.PROFILE_RISES]
    from oracles.reference_models import data, design

    curve = found.curves["s"]
    near = curve.isel(value=int(np.abs(curve["value"].values - end).argmin()))
    *beta, _, df = near["parameters"].values
    y, X = data(case)["stack.loss"].to_numpy(float), design(case).to_numpy(float)

    def nll(theta: np.ndarray) -> float:
        return -stats.t.logpdf(y, np.exp(theta[-1]), X @ theta[:-1], end).sum()

    by_scipy = optimize.minimize(nll, [*beta, np.log(df)], method="Nelder-Mead")
    assert -by_scipy.fun > level + 0.5


# --- closed forms -----------------------------------------------------------------------------


def normal(y) -> pm.Model:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        sigma = pm.HalfNormal("sigma", 10)
        pm.Deterministic("variance", sigma**2)
        pm.Deterministic("precision", 1 / sigma**2)
        pm.Normal("y", mu, sigma, observed=y)
    return model


Y = np.array([1.2, 3.1, 2.2, 4.0, 2.7, 1.1])


@pytest.fixture(scope="module")
def of_normal() -> pmlik.Profile:
    return pmlik.profile(fit(normal(Y)), progressbar=False)


def variance_ends(n: int, s2: float) -> list[float]:
    """Where ``n/2 (log v + s2/v - log s2 - 1)`` is the level."""

    def gap(v: float) -> float:
        return n / 2 * (np.log(v / s2) + s2 / v - 1) - LEVEL

    return [optimize.brentq(gap, s2 / 100, s2), optimize.brentq(gap, s2, 100 * s2)]


def test_a_normal_mean_has_its_closed_interval(of_normal) -> None:
    n, s2 = len(Y), Y.var()
    half = np.sqrt(s2 * np.expm1(2 * LEVEL / n))  # n/2 log(1 + d^2 / s2) = level
    np.testing.assert_allclose(of_normal.interval["mu"], Y.mean() + half * np.array([-1, 1]))


def test_intervals_are_invariant_under_transformations(of_normal) -> None:
    low, high = variance_ends(len(Y), Y.var())
    interval = of_normal.interval
    np.testing.assert_allclose(interval["variance"], [low, high], rtol=1e-8)
    np.testing.assert_allclose(interval["sigma"], np.sqrt([low, high]), rtol=1e-8)
    np.testing.assert_allclose(interval["precision"], [1 / high, 1 / low], rtol=1e-8)


def test_a_curve_is_the_closed_profile(of_normal) -> None:
    curve, n, s2 = of_normal.curves["mu"], len(Y), Y.var()
    depth = n / 2 * np.log1p((curve["value"] - Y.mean()) ** 2 / s2)
    top = stats.norm.logpdf(Y, Y.mean(), np.sqrt(s2)).sum()
    np.testing.assert_allclose(curve["log_likelihood"], top - depth, atol=1e-9)
    root = np.sign(curve["value"] - Y.mean()) * np.sqrt(2 * depth)
    np.testing.assert_allclose(curve["signed_root"], root, atol=1e-6)
    spread = np.sqrt(s2 + (curve["value"] - Y.mean()) ** 2)
    np.testing.assert_allclose(curve["parameters"].sel(parameter="sigma"), spread, rtol=1e-6)
    assert float(curve["distance"].max()) < 1e-6
    assert (np.diff(curve["value"]) > 0).all()


def binomial_ends(k: int, n: int, level: float = LEVEL) -> list[float]:
    def depth(p: float) -> float:
        top = stats.binom.logpmf(k, n, k / n)
        return top - stats.binom.logpmf(k, n, p) - level

    low = optimize.brentq(depth, 1e-12, k / n, xtol=1e-14) if k else 0.0
    high = optimize.brentq(depth, k / n, 1 - 1e-12, xtol=1e-14) if k < n else 1.0
    return [low, high]


@pytest.mark.parametrize("k", [0, 1, 7, 10])
def test_a_proportion_has_its_likelihood_interval(k) -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Deterministic("odds", p / (1 - p))
        pm.Binomial("y", n=10, p=p, observed=k)
    found = pmlik.profile(fit(model), progressbar=False)
    low, high = binomial_ends(k, 10)
    np.testing.assert_allclose(found.interval["p"], [low, high], atol=1e-7)
    with np.errstate(divide="ignore"):
        odds = np.array([low / (1 - low), np.divide(high, 1 - high)])
    np.testing.assert_allclose(found.interval["odds"], odds, rtol=1e-5, atol=1e-7)
    codes = {flag.code for flag in found.flags if flag.variables == ("p",)}
    assert codes == ({pmlik.FlagCode.ENDS_AT_BORDER} if k in (0, 10) else set())


def test_elements_of_a_simplex_have_the_binomial_interval() -> None:
    counts = [3, 7, 10]
    with pm.Model() as model:
        share = pm.Dirichlet("share", np.ones(3))
        pm.Multinomial("y", n=20, p=share, observed=counts)
    interval = pmlik.interval_profile(fit(model), progressbar=False)["share"]
    np.testing.assert_allclose(interval, [binomial_ends(k, 20) for k in counts], atol=1e-7)


def test_a_quantity_that_is_not_monotone_ends_at_its_own_border() -> None:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 5)
        pm.Deterministic("square", b**2)
        pm.Normal("y", b, 1, observed=[0.5, 1.5])
    found = pmlik.interval_profile(fit(model), progressbar=False)
    half = np.sqrt(2 * LEVEL / 2)
    np.testing.assert_allclose(found["b"], [1 - half, 1 + half], atol=1e-8)
    np.testing.assert_allclose(found["square"], [0, (1 + half) ** 2], atol=1e-6)


def test_a_gaussian_likelihood_has_equal_wald_and_profile_intervals() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, 3))
    with pm.Model(coords={"term": ["a", "b", "c"]}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term")
        pm.Normal("y", X @ beta, 1.3, observed=rng.normal(size=30))
    mle = fit(model)
    wald = pmlik.interval_wald(mle)
    xr_profile = pmlik.interval_profile(mle, progressbar=False)
    np.testing.assert_allclose(wald["beta"], xr_profile["beta"], atol=1e-7)
    assert wald["beta"].dims == xr_profile["beta"].dims == ("term", "ci_bound")
    assert list(wald["beta"]["ci_bound"]) == ["lower", "upper"]
    assert wald.attrs == {"ci_kind": "wald", "ci_prob": 0.95, "scale": "natural"}
    assert xr_profile.attrs["ci_kind"] == "profile"


def test_wald_on_the_unconstrained_scale_is_symmetric_there(of_normal) -> None:
    wald = pmlik.interval_wald(of_normal.estimate, scale="unconstrained")
    n, sigma = len(Y), Y.std()
    half = stats.norm.ppf(0.975) / np.sqrt(2 * n)  # the SE of log sigma is 1/sqrt(2n)
    np.testing.assert_allclose(wald["sigma"], sigma * np.exp([-half, half]))
    np.testing.assert_allclose(wald["mu"], pmlik.interval_wald(of_normal.estimate)["mu"])
    assert np.isnan(wald["variance"]).all()


# --- limits -----------------------------------------------------------------------------------


def test_separation_has_one_finite_end() -> None:
    from oracles.reference_models import data

    iris = data("04_separation_iris")
    with pm.Model() as model:
        intercept = pm.Normal("intercept", 0, 20)
        slope = pm.Normal("slope", 0, 20)
        eta = intercept + slope * iris["Petal.Length"].to_numpy()
        pm.Bernoulli("versicolor", logit_p=eta, observed=iris["versicolor"].to_numpy())
    found = pmlik.interval_profile(fit(model), progressbar=False)
    published = truth("04_separation_iris")["one_sided_profile"]["Petal.Length"]
    assert float(found["slope"][0]) == pytest.approx(published[0], rel=1e-6)
    assert found["slope"][1] == np.inf
    assert found["intercept"][0] == -np.inf
    assert np.isfinite(found["intercept"][1])


def test_a_variance_at_zero_is_released_where_another_parameter_leaves() -> None:
    # Rubin's eight schools: R's intervals, that of mu maximises over tau >= 0.
    y = np.array([28, 8, -3, 7, -1, 1, 18, 12.0])
    s = np.array([15, 10, 16, 11, 9, 11, 10, 18.0])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        pm.Normal("y", mu, pm.math.sqrt(s**2 + tau**2), observed=y)
    mle = fit(model)
    found = pmlik.interval_profile(mle, progressbar=False)
    expected = [-0.296901019547824, 15.8923442373076]
    np.testing.assert_allclose(found["mu"], expected, atol=1e-5)
    np.testing.assert_allclose(found["tau"], [0, 13.0175260109936], atol=1e-5)
    test = pmlik.likelihood_ratio_test(mle, null={"mu": 0})
    assert test.statistic == pytest.approx(3.56253509399694, abs=1e-6)
    test = pmlik.likelihood_ratio_test(mle, null={"tau": 0})
    assert (test.statistic, test.p_value) == (0, 1)


def test_an_edge_of_the_data_ends_an_interval() -> None:
    y = np.array([0.3, 1.2, 2.2, 0.7])
    with pm.Model() as model:
        top = pm.Pareto("top", 1.0, 0.1)
        pm.Uniform("y", 0, top, observed=y)
    found = pmlik.interval_profile(fit(model), progressbar=False)["top"]
    np.testing.assert_allclose(found, [2.2, 2.2 * np.exp(LEVEL / 4)], rtol=1e-6)


def test_overdispersion_that_is_not_there_has_no_upper_end() -> None:
    y = np.random.default_rng(1).poisson(4, 40)
    with pm.Model() as model:
        mu = pm.HalfNormal("mu", 10)
        alpha = pm.HalfNormal("alpha", 10)
        pm.NegativeBinomial("y", mu=mu, alpha=alpha, observed=y)
    found = pmlik.interval_profile(fit(model), progressbar=False)

    def depth(a: float) -> float:
        m = y.mean()  # the MLE of the mean whatever alpha is
        top = stats.poisson.logpmf(y, m).sum()
        return top - stats.nbinom.logpmf(y, a, a / (a + m)).sum() - LEVEL

    assert float(found["alpha"][0]) == pytest.approx(optimize.brentq(depth, 1, 50), rel=1e-5)
    assert found["alpha"][1] == np.inf


def test_a_better_optimum_met_on_the_way_is_taken_and_told() -> None:
    # Two modes of a cosine likelihood; the search is held to the lower one.
    with pm.Model() as model:
        b = pm.Normal("b", 0, 3)
        wave = 0.8 * pm.math.cos(3 * b) - 0.05 * (b - 0.9) ** 2
        pm.Potential("likelihood", wave)
        pm.Normal("y", b * 0, 1, observed=[0.0])
    low = pmlik.find_MLE(model, start={"b": 2.05}, n_starts=1, random_seed=1, progressbar=False)
    assert float(low.values["b"]) == pytest.approx(2.08, abs=0.1)
    found = pmlik.profile(low, progressbar=False)
    assert float(found.estimate.values["b"]) == pytest.approx(0.01, abs=0.1)
    assert found.estimate.log_likelihood > low.log_likelihood
    assert pmlik.FlagCode.BETTER_OPTIMUM in [flag.code for flag in found.flags]


# --- another package --------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["01_gamma_aircondit", "03_quine_negbin_additive"])
def test_minos_finds_the_same_ends(case) -> None:
    from iminuit import Minuit

    mle = fit_case(case)
    density, values = mle.prepared.problem.likelihood, mle.prepared.problem.values
    minuit = Minuit(
        lambda x: -density.value_and_gradient(x)[0],
        mle.unconstrained,
        grad=lambda x: -density.value_and_gradient(x)[1],
    )
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.strategy, minuit.tol = 2, 1e-4
    minuit.migrad()
    minuit.minos(cl=0.95)
    names = CASES[case][1]
    ours = ends(pmlik.interval_profile(mle, progressbar=False), names)
    errors = ends(mle.std_error.expand_dims(ci_bound=2, axis=-1), names)
    for i, (name, row) in enumerate(zip(minuit.parameters, ours, strict=True)):
        found = minuit.merrors[name]
        for side, error in enumerate((found.lower, found.upper)):
            x = mle.unconstrained.copy()
            x[i] = minuit.values[name] + error
            assert (
                abs(values(x)[i] - row[side]) < 1e-2 * errors[i, side]
            )  # MINOS looks for it to 0.01 SE


# --- what is asked for ------------------------------------------------------------------------


def test_scalars_are_chosen_as_in_arviz() -> None:
    mle = fit_case("03_birthwt_logit")
    found = pmlik.profile(
        mle, var_names=["beta"], coords={"term": ["age", "lwt"]}, ci_prob=0.9, progressbar=False
    )
    assert list(found.curves) == ["beta[age]", "beta[lwt]"]
    assert found.interval["beta"].sizes == {"term": 2, "ci_bound": 2}
    assert found.ci_prob == 0.9
    assert "beta[age]" in str(found)
    assert "beta[age]" in found._repr_html_()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"var_names": ["gamma"]}, "'gamma' not in the estimate"),
        ({"coords": {"term": ["height"]}}, "coords"),
        ({"ci_prob": 95}, "ci_prob: got 95"),
    ],
)
def test_bad_input_is_named(options, message) -> None:
    mle = fit_case("03_birthwt_logit")
    for function in (pmlik.profile, pmlik.interval_profile, pmlik.interval_wald):
        with pytest.raises(pmlik.ValuesError, match=message):
            function(mle, **options)


def test_a_map_has_no_likelihood_profile(of_normal) -> None:
    map_estimate = pmlik.find_MAP(normal(Y), random_seed=1, progressbar=False)
    with pytest.raises(pmlik.ValuesError, match="profile: got MAP, need the MLE"):
        pmlik.profile(map_estimate, progressbar=False)


def test_an_unidentified_parameter_has_none_and_the_others_have() -> None:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1)
        b = pm.Normal("b", 0, 1)
        c = pm.Normal("c", 0, 1)
        pm.Normal("y", a + b, 1, observed=[0.5, 1.5])
        pm.Normal("w", c, 1, observed=[2.0])
    found = pmlik.profile(fit(model), progressbar=False)
    assert np.isnan(found.interval["a"]).all()
    half = np.sqrt(2 * LEVEL)
    np.testing.assert_allclose(found.interval["c"], [2 - half, 2 + half], atol=1e-7)
    told = {flag.variables[0] for flag in found.flags if flag.code is pmlik.FlagCode.NO_PROFILE}
    assert told == {"a", "b"}


def test_a_comparison_has_the_intervals_side_by_side() -> None:
    comparison = pmlik.compare(
        normal(Y),
        random_seed=1,
        progressbar=False,
        extras=False,
        ci_prob=0.9,
        sample_kwargs={"draws": 200, "tune": 200, "chains": 2},
    )
    assert list(comparison.intervals) == ["wald", "profile", "eti"]
    assert {interval.attrs["ci_prob"] for interval in comparison.intervals.values()} == {0.9}
    alone = pmlik.interval_profile(comparison, ci_prob=0.9, progressbar=False)
    np.testing.assert_allclose(comparison.intervals["profile"]["sigma"], alone["sigma"])
    row = comparison.table.loc["sigma"]
    assert [row["profile lower"], row["profile upper"]] == list(alone["sigma"].values)
    without = pmlik.compare(normal(Y), sample=False, profile=False, progressbar=False, extras=False)
    assert list(without.intervals) == ["wald"]
    assert "profile lower" not in without.table


def test_profiles_are_drawn(of_normal, tmp_path) -> None:
    figure = pmlik.plot_profile(of_normal, var_names=["sigma", "variance"])
    for axes, name in zip(figure.axes, ["sigma", "variance"], strict=True):
        assert axes.get_xlabel() == name
        drawn = {line.get_label(): line for line in axes.get_lines()}
        x, y = drawn["profile likelihood"].get_data()
        known, top = np.isfinite(y), np.nanargmax(y)
        rises, falls = known.copy(), known.copy()
        rises[top + 1 :], falls[:top] = False, False
        crossings = [
            np.interp(-LEVEL, y[rises], x[rises]),
            np.interp(LEVEL, -y[falls], x[falls]),
        ]
        error = float(of_normal.estimate.std_error[name])
        np.testing.assert_allclose(crossings, of_normal.interval[name], atol=0.02 * error)
        xs, _ = drawn["95% profile"].get_data()
        np.testing.assert_allclose(xs, of_normal.interval[name])
    figure.savefig(tmp_path / "profile.png")
