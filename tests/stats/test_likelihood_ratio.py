"""Likelihood-ratio tests against published ones, closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import stats

import pmlik
from oracles.fits import fit, fit_case
from oracles.reference_models import (
    birthwt_logit,
    data,
    gamma_aircondit,
    gev_portpirie,
    ordered_logit_housing,
    quine_negbin_additive,
    truth,
    warpbreaks_poisson,
    weibull_lung,
)

#: Case, which of its tests, full model, the null on its scalars.
PUBLISHED = [
    ("01_gamma_aircondit", 0, gamma_aircondit, ["kappa"], 1),
    ("03_birthwt_logit", 0, birthwt_logit, ["beta[race2]", "beta[race3]"], 0),
    ("03_birthwt_logit", 1, birthwt_logit, "slopes", 0),
    ("03_birthwt_logit", 2, birthwt_logit, ["beta[age]"], 0),
    ("03_quine_negbin_additive", 0, quine_negbin_additive, ["beta[EthN]"], 0),
    (
        "03_warpbreaks_poisson",
        0,
        warpbreaks_poisson,
        ["beta[woolB:tensionM]", "beta[woolB:tensionH]"],
        0,
    ),
    ("07_gev_portpirie", 0, gev_portpirie, ["shape"], 0),  # where the density divides by zero
    ("07_weibull_lung", 0, weibull_lung, "slopes", 0),
    ("08_ordered_logit_housing", 0, ordered_logit_housing, ["beta[ContHigh]"], 0),
]


@pytest.mark.parametrize(("case", "which", "build", "labels", "value"), PUBLISHED)
def test_statistics_and_p_values_are_the_published_ones(case, which, build, labels, value) -> None:
    mle, expected = fit_case(case), truth(case)["tests"][which]
    if labels == "slopes":
        labels = [f"beta[{term}]" for term in mle.values["term"].values[1:]]
    test = pmlik.likelihood_ratio_test(mle, null=dict.fromkeys(labels, value))
    assert test.df == expected["df"]
    assert test.statistic == pytest.approx(expected["statistic"], abs=1e-6)
    assert test.p_value == pytest.approx(expected["p_value"], rel=1e-6)
    assert test.p_value == test.p_value_naive
    assert test.log_likelihood_null == pytest.approx(expected["loglik_null"], abs=1e-6)


def test_two_models_give_the_same_test_as_the_null_on_one() -> None:
    sealevel = data("07_gev_portpirie")["sealevel"].to_numpy(float)
    with pm.Model() as gumbel:
        loc = pm.Normal("loc", 4, 1)
        scale = pm.HalfNormal("scale", 1)
        pm.Gumbel("sealevel", loc, scale, observed=sealevel)
    expected = truth("07_gev_portpirie")["tests"][0]
    test = pmlik.likelihood_ratio_test(gev_portpirie(), gumbel, random_seed=1, progressbar=False)
    assert test.statistic == pytest.approx(expected["statistic"], abs=1e-6)
    assert test.p_value == pytest.approx(expected["p_value"], rel=1e-6)
    assert "chi-square with 1 df" in str(test)
    assert "chi-square with 1 df" in test._repr_html_()


def test_a_derived_quantity_is_tested_by_its_profile() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Deterministic("odds", p / (1 - p))
        pm.Binomial("y", n=10, p=p, observed=2)
    mle = fit(model)
    by_odds = pmlik.likelihood_ratio_test(mle, null={"odds": 1.0})
    expected = 2 * (stats.binom.logpmf(2, 10, 0.2) - stats.binom.logpmf(2, 10, 0.5))
    assert by_odds.statistic == pytest.approx(expected, abs=1e-9)
    assert by_odds.p_value == pytest.approx(stats.chi2.sf(expected, 1), rel=1e-9)


def test_several_elements_of_a_simplex_are_held_at_once() -> None:
    counts = np.array([3, 7, 10])
    with pm.Model() as model:
        share = pm.Dirichlet("share", np.ones(3))
        pm.Multinomial("y", n=20, p=share, observed=counts)
    null = {"share[0]": 1 / 3, "share[1]": 1 / 3}
    test = pmlik.likelihood_ratio_test(fit(model), null=null)
    g = stats.power_divergence(counts, lambda_="log-likelihood")
    assert test.statistic == pytest.approx(g.statistic, abs=1e-8)
    assert (test.df, test.p_value) == (2, pytest.approx(g.pvalue, rel=1e-8))


def one_way(y: np.ndarray, *, effect: bool) -> pm.Model:
    """Groups in rows, by their means and the sum of squares within, which are sufficient.

    The group effect is integrated out: a mean has the variance tau^2 + sigma^2 / size.
    """
    n_groups, size = y.shape
    with pm.Model() as model:
        mu = pm.Normal("mu", 1500, 500)
        sigma = pm.HalfNormal("sigma", 100)
        tau = pm.HalfNormal("tau", 100) if effect else 0.0
        sd = pm.math.sqrt(tau**2 + sigma**2 / size)
        pm.Normal("means", mu, sd, observed=y.mean(axis=1))
        within = size * y.var(axis=1).sum()
        half = n_groups * (size - 1) / 2
        pm.Gamma("within", alpha=half, beta=1 / (2 * sigma**2), observed=within)
    return model


def of_one_way(y: np.ndarray) -> float:
    """Twice the log-likelihood ratio of no group effect, in closed form (balanced, ML)."""
    a, n = y.shape
    within = y.var(axis=1).sum() / (a * (n - 1)) * n
    between = n * y.mean(axis=1).var()
    total = y.var()
    if between <= within:
        return 0.0
    return a * n * np.log(total) - a * (n - 1) * np.log(within) - a * np.log(between)


def test_a_variance_on_its_boundary_has_the_mixture() -> None:
    y = np.random.default_rng(3).normal(size=(8, 5)) * 50 + 1500
    y = y + 60 * np.random.default_rng(4).normal(size=(8, 1))
    full = fit(one_way(y, effect=True))
    expected = of_one_way(y)
    assert expected > 0.1
    tests = [
        pmlik.likelihood_ratio_test(full, null={"tau": 0}),
        pmlik.likelihood_ratio_test(full, fit(one_way(y, effect=False))),
    ]
    for test in tests:
        assert test.statistic == pytest.approx(expected, abs=1e-6)
        assert test.p_value_naive == pytest.approx(stats.chi2.sf(expected, 1), rel=1e-6)
        assert test.p_value == pytest.approx(test.p_value_naive / 2)
        assert "50:50 mixture of chi-square with 0 and 1 df" in test.reference
        assert "naive" in str(test)


def test_poisson_is_on_the_boundary_of_the_negative_binomial() -> None:
    y = np.random.default_rng(5).negative_binomial(8, 0.6, 80)
    with pm.Model() as full:
        mu = pm.HalfNormal("mu", 10)
        alpha = pm.HalfNormal("alpha", 10)
        pm.NegativeBinomial("y", mu=mu, alpha=alpha, observed=y)
    with pm.Model() as reduced:
        mu = pm.HalfNormal("mu", 10)
        pm.Poisson("y", mu, observed=y)
    test = pmlik.likelihood_ratio_test(full, reduced, random_seed=1, progressbar=False)
    assert "50:50 mixture" in test.reference
    assert test.p_value == pytest.approx(stats.chi2.sf(test.statistic, 1) / 2)
    told = pmlik.likelihood_ratio_test(
        full, reduced, boundary=False, random_seed=1, progressbar=False
    )
    assert told.p_value == told.p_value_naive == test.p_value_naive


def test_an_inner_null_of_a_positive_parameter_is_no_boundary() -> None:
    hours = data("01_gamma_aircondit")["hours"].to_numpy(float)
    with pm.Model() as exponential:
        mu = pm.HalfNormal("mu", 200)
        pm.Exponential("hours", 1 / mu, observed=hours)
    expected = truth("01_gamma_aircondit")["tests"][0]
    test = pmlik.likelihood_ratio_test(
        gamma_aircondit(), exponential, random_seed=1, progressbar=False
    )
    assert test.statistic == pytest.approx(expected["statistic"], abs=1e-6)
    assert test.p_value == pytest.approx(expected["p_value"], rel=1e-6)


def normal(y, *, mean: bool = True) -> pm.Model:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10) if mean else 0.0
        sigma = pm.HalfNormal("sigma", 10)
        pm.Normal("y", mu, sigma, observed=y)
    return model


Y = np.array([1.2, 3.1, 2.2, 4.0, 2.7, 1.1])


@pytest.mark.parametrize(
    ("full", "reduced", "message"),
    [
        (normal(Y), normal(Y[:5], mean=False), "6 and 5 observations"),
        (normal(Y), normal(Y + 1, mean=False), "y: the observed data of the two models differ"),
        (normal(Y, mean=False), normal(Y), "1 parameters and the reduced one 2"),
    ],
)
def test_models_that_are_not_nested_are_refused(full, reduced, message) -> None:
    with pytest.raises(pmlik.NestingError, match=message):
        pmlik.likelihood_ratio_test(full, reduced, random_seed=1, progressbar=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a reduced model or null"),
        ({"null": {}}, "need a mapping"),
        ({"null": {"nu": 0}}, "'nu' is not a scalar of the model"),
        ({"null": {"mu": [0, 1]}}, "mu: got shape"),
        ({"null": {"mu": np.nan}}, "mu needs one value"),
        ({"null": {"mu": "zero"}}, "mu: got 'zero', need numbers"),
    ],
)
def test_a_null_that_does_not_fit_is_named(options, message) -> None:
    with pytest.raises(pmlik.ValuesError, match=message):
        pmlik.likelihood_ratio_test(normal(Y), progressbar=False, random_seed=1, **options)


def test_a_null_outside_the_support_has_no_maximum() -> None:
    with pytest.raises(pmlik.EstimationError, match="sigma = -1"):
        pmlik.likelihood_ratio_test(
            normal(Y), null={"sigma": -1.0}, progressbar=False, random_seed=1
        )


# --- a parameter that drops out -----------------------------------------------------------------


def saturating(n: int, effect: float) -> pm.Model:
    rng = np.random.default_rng(n)
    dose = rng.uniform(0, 5, n)
    y = 1 + effect * dose / (dose + 1) + 0.5 * rng.normal(size=n)
    with pm.Model() as model:
        base = pm.Normal("base", 0, 5)
        emax = pm.HalfNormal("emax", 5)
        ed50 = pm.HalfNormal("ed50", 5)
        pm.Normal("y", base + emax * dose / (dose + ed50), 0.5, observed=y)
    return model


def test_a_dose_response_without_effect_has_no_half_effective_dose() -> None:
    mle = fit(saturating(25, 0.8))
    model = mle.prepared.model
    y = model.rvs_to_values[model["y"]]
    test = pmlik.likelihood_ratio_test(mle, null={"emax": 0}, progressbar=False)
    null = stats.norm.logpdf(y.data, y.data.mean(), 0.5).sum()
    assert test.statistic == pytest.approx(2 * (mle.log_likelihood - null), abs=1e-5)
    assert np.isnan(test.p_value)
    assert [flag.code for flag in test.flags] == [pmlik.FlagCode.DROPS_OUT]
    assert test.flags[0].variables == ("ed50",)
    assert "Davies" in str(test)
    with pm.Model() as flat:
        base = pm.Normal("base", 0, 5)
        pm.Normal("y", base, 0.5, observed=y.data)
    nested = pmlik.likelihood_ratio_test(mle, flat, random_seed=1, progressbar=False)
    assert nested.statistic == pytest.approx(test.statistic, abs=1e-5)
    assert np.isnan(nested.p_value)
    assert [flag.variables for flag in nested.flags] == [("ed50",)]
    assert "null={'emax': 0.0}" in str(nested)
    simulated = pmlik.likelihood_ratio_test(
        mle, null={"emax": 0}, bootstrap=9, random_seed=1, progressbar=False
    )
    assert simulated.statistic == test.statistic
    # Two free parameters under the alternative, one of them on its boundary.
    assert 0.1 <= simulated.p_value <= 0.5


def test_a_mixture_without_its_second_part_has_no_second_mean() -> None:
    y = np.random.default_rng(4).normal(0.3, 1, 40)
    with pm.Model() as model:
        w = pm.Uniform("w", 0, 1)
        delta = pm.HalfNormal("delta", 3)
        mean = pm.Normal("mean", 0, 3)
        parts = pm.math.stack([mean, mean + delta])
        pm.NormalMixture("y", pm.math.stack([1 - w, w]), parts, 1, observed=y)
    mle = fit(model)
    test = pmlik.likelihood_ratio_test(mle, null={"w": 0}, progressbar=False)
    null = stats.norm.logpdf(y, y.mean(), 1).sum()
    assert test.log_likelihood_null == pytest.approx(null, abs=1e-5)


def test_an_ordinary_null_has_its_chi_square() -> None:
    y = np.random.default_rng(5).normal(0.4, 1.5, 20)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        sigma = pm.HalfNormal("sigma", 5)
        pm.Normal("y", mu, sigma, observed=y)
    mle = fit(model)
    test = pmlik.likelihood_ratio_test(mle, null={"mu": 0}, progressbar=False)
    assert test.flags == ()
    simulated = pmlik.likelihood_ratio_test(
        mle, null={"mu": 0}, bootstrap=99, random_seed=2, progressbar=False
    )
    assert abs(simulated.p_value - test.p_value) < 4 * np.sqrt(test.p_value / 99)
    with pytest.raises(pmlik.ValuesError, match="null"):
        pmlik.likelihood_ratio_test(mle, mle, bootstrap=9)
