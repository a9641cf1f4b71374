"""Weights of mixtures of chi-squares against published ones, orthants and simulated projections."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import optimize, stats

import pmlik
from oracles.fits import fit
from pmlik.stats.chi_bar import chi_bar_sf, chi_bar_weights


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.4])
def test_two_values_have_the_weights_of_self_and_liang(rho) -> None:
    # Self and Liang (1987), case 7: 1/2 of one df, p of none, with p = arccos(rho) / 2 pi.
    none = np.arccos(rho) / (2 * np.pi)
    found = chi_bar_weights(np.array([[4.0, 2 * rho], [2 * rho, 1.0]]))
    np.testing.assert_allclose(found, [none, 0.5, 0.5 - none], atol=1e-12)


def test_independent_values_have_binomial_weights() -> None:
    for k in (1, 2, 3):
        expected = stats.binom.pmf(range(k + 1), k, 0.5)
        np.testing.assert_allclose(chi_bar_weights(np.diag(np.arange(1.0, k + 1))), expected)
    found, expected = chi_bar_weights(np.eye(5)), stats.binom.pmf(range(6), 5, 0.5)
    np.testing.assert_allclose(found, expected, atol=5 * np.sqrt(0.25 / 20_000))


def test_three_values_have_the_weights_of_ordered_means() -> None:
    # Robertson, Wright and Dykstra (1988), table of level probabilities of a simple order of four
    # equal groups: 1/4, 11/24, 1/4, 1/24; the differences of the means are not negative.
    differences = np.diff(np.eye(4), axis=0)
    found = chi_bar_weights(differences @ differences.T)
    np.testing.assert_allclose(found, [1 / 4, 11 / 24, 1 / 4, 1 / 24], atol=1e-12)


def test_more_values_have_the_level_probabilities_of_five_groups() -> None:
    # The same for five groups: 1/5, 5/12, 7/24, 1/12, 1/120.
    differences = np.diff(np.eye(5), axis=0)
    found = chi_bar_weights(differences @ differences.T)
    expected = np.array([1 / 5, 5 / 12, 7 / 24, 1 / 12, 1 / 120])
    np.testing.assert_allclose(found, expected, atol=5 * np.sqrt(0.25 / 20_000))


def test_non_negative_coefficients_have_the_covariance_of_least_squares() -> None:
    rng = np.random.default_rng(4)
    x = rng.gamma(2, 1, (40, 3))
    y = 1 + x @ [0.2, 0.1, 0.0] + rng.normal(size=40)
    with pm.Model() as model:
        a = pm.Normal("a", 0, 5)
        b = pm.HalfNormal("b", 2, shape=3)
        pm.Normal("y", a + x @ b, 1.0, observed=y)
    mle = fit(model)
    test = pmlik.likelihood_ratio_test(mle, null={"b": 0}, progressbar=False)
    centred = x - x.mean(axis=0)
    covariance = np.linalg.inv(centred.T @ centred)
    top = optimize.nnls(centred, y - y.mean())[1] ** 2
    statistic = ((y - y.mean()) ** 2).sum() - top
    assert test.statistic == pytest.approx(statistic, abs=1e-5)
    expected = chi_bar_sf(statistic, chi_bar_weights(covariance), 0)
    assert test.p_value == pytest.approx(expected, rel=1e-4)
    # The distribution itself, from data simulated under the null.
    simulated = np.random.default_rng(1).normal(size=(4000, 40))
    simulated -= simulated.mean(axis=1, keepdims=True)
    lost = [(row @ row) - optimize.nnls(centred, row)[1] ** 2 for row in simulated]
    share = np.mean(np.array(lost) >= statistic)
    assert abs(test.p_value - share) < 4 * np.sqrt(share * (1 - share) / 4000)


def test_variances_are_tested_in_their_own_scale() -> None:
    rng = np.random.default_rng(8)
    rows, columns, n = 12, 9, 3
    y = rng.normal(size=(rows, columns, n)) + 0.2 * rng.normal(size=(rows, 1, 1))
    y += 0.15 * rng.normal(size=(1, columns, 1))
    # Sufficient: the sums of squares of a balanced crossed design, each a scaled chi-square.
    by_row, by_column = y.mean(axis=(1, 2)), y.mean(axis=(0, 2))
    between = np.array([columns * n * by_row.var() * rows, rows * n * by_column.var() * columns])
    rest = y.size * y.var() - between.sum()
    df = np.array([rows - 1, columns - 1])
    left = y.size - 1 - df.sum()
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma", 2)
        tau = pm.HalfNormal("tau", 2, shape=2)
        scale = sigma**2 + np.array([columns * n, rows * n]) * tau**2
        pm.Gamma("between", alpha=df / 2, beta=1 / (2 * scale), observed=between)
        pm.Gamma("rest", alpha=left / 2, beta=1 / (2 * sigma**2), observed=rest)
    mle = fit(model)
    test = pmlik.likelihood_ratio_test(mle, null={"tau": [0, 0]}, progressbar=False)
    # Observed information of the variances under the null, with sigma^2 known there.
    pooled = (between.sum() + rest) / (df.sum() + left)
    size = np.array([columns * n, rows * n])
    own = between / pooled**3 - df / (2 * pooled**2)
    whole = (between.sum() + rest) / pooled**3 - (df.sum() + left) / (2 * pooled**2)
    information = np.diag(own * size**2) - np.outer(own * size, own * size) / whole
    weights = chi_bar_weights(np.linalg.inv(information))
    assert test.p_value == pytest.approx(chi_bar_sf(test.statistic, weights, 0), rel=1e-4)
    assert "weights" in test.reference
    assert test.notes == ()
    with pm.Model() as plain:
        sigma = pm.HalfNormal("sigma", 2)
        pm.Gamma("between", alpha=df / 2, beta=1 / (2 * sigma**2), observed=between)
        pm.Gamma("rest", alpha=left / 2, beta=1 / (2 * sigma**2), observed=rest)
    nested = pmlik.likelihood_ratio_test(mle, plain, random_seed=1, progressbar=False)
    assert nested.p_value == pytest.approx(test.p_value, rel=1e-5)


def test_a_value_inside_adds_a_degree_of_freedom() -> None:
    assert chi_bar_sf(3.0, np.array([0.25, 0.5, 0.25]), 1) == pytest.approx(
        stats.chi2.sf(3.0, [1, 2, 3]) @ [0.25, 0.5, 0.25]
    )
    assert chi_bar_sf(0.0, np.array([0.25, 0.5, 0.25]), 0) == 1
