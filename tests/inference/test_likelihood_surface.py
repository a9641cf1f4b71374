"""Slices and profiles of the likelihood on grids, against closed forms."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import optimize, special, stats

import pmlik
from oracles import zoo
from oracles.likelihoods import GROUP, STEPS, Y, likelihood_of, normal_log, with_ordered


def test_a_surface_over_all_parameters_is_the_log_likelihood(normal):
    mu, sigma = np.linspace(1, 5, 7), np.linspace(-0.5, 3, 8)
    found = normal.surface(mu=mu, sigma=sigma)
    assert found.dims == ("mu", "sigma")
    np.testing.assert_array_equal(found["sigma"], sigma)
    with np.errstate(all="ignore"):
        expected = np.where(sigma > 0, normal_log(mu[:, None], sigma), -np.inf)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    turned = normal.surface({"sigma": sigma, "mu": mu})
    assert turned.dims == ("sigma", "mu")
    np.testing.assert_allclose(turned, expected.T, rtol=1e-12)


def test_a_surface_holds_the_others_at_the_mle_or_where_told(normal):
    mu = np.linspace(1, 5, 5)
    np.testing.assert_allclose(normal.surface(mu=mu), normal_log(mu, Y.std()), rtol=1e-8)
    found = normal.surface(mu=mu, sigma=2.5)
    assert found.dims == ("mu",)
    np.testing.assert_allclose(found, normal_log(mu, 2.5), rtol=1e-12)


def test_the_profile_of_a_normal_mean_is_closed(normal):
    mu = np.array([-2.0, 1.0, 3.0, Y.mean(), 4.0, 9.0])
    s = np.sqrt(np.mean((Y - mu[:, None]) ** 2, axis=1))
    found = normal.surface(mu=mu, others="profile")
    np.testing.assert_allclose(found, normal_log(mu, s), rtol=1e-9)


def test_the_profile_of_a_normal_deviation_is_closed(normal):
    sigma = np.array([-1.0, 0.1, 0.5, 1.0, 3.0, 20.0])
    found = normal.surface(sigma=sigma, others="profile")
    expected = [-np.inf, *normal_log(Y.mean(), sigma[1:])]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_profile_of_a_regression_coefficient_is_closed(line):
    lik, X, y = line
    grid = np.array([0.5, 1.5, 2.0, 2.5, 6.0])
    rest = np.column_stack([np.ones(len(y)), X[:, 1]])
    expected = []
    for slope in grid:
        left = y - slope * X[:, 0]
        r = left - rest @ np.linalg.lstsq(rest, left)[0]
        expected.append(stats.norm.logpdf(r, 0, np.sqrt(np.mean(r**2))).sum())
    found = lik.surface({"beta[age]": grid}, others="profile")
    assert found.dims == ("beta[age]",)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_profile_over_two_of_a_regression_is_closed(line):
    lik, X, y = line
    alpha, dose = np.array([0.0, 1.0, 2.5]), np.array([-2.0, -1.0, 0.5])
    expected = np.empty((3, 3))
    for i, a in enumerate(alpha):
        for j, d in enumerate(dose):
            left = y - a - d * X[:, 1]
            r = left - X[:, 0] * (X[:, 0] @ left) / (X[:, 0] @ X[:, 0])
            expected[i, j] = stats.norm.logpdf(r, 0, np.sqrt(np.mean(r**2))).sum()
    found = lik.surface({"alpha": alpha, "beta[dose]": dose}, others="profile")
    assert found.dims == ("alpha", "beta[dose]")
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    held = lik.surface({"alpha": alpha, "beta[dose]": -1.0}, others="profile")
    np.testing.assert_allclose(held, expected[:, 1], rtol=1e-9)


def multinomial_profile(a, y):
    """One share held: the others divide what is left as their counts."""
    rest = (1 - a) * y[1:] / y[1:].sum()
    return stats.multinomial.logpmf(y, y.sum(), [a, *rest])


def test_the_profile_of_a_share_is_closed(shares):
    y, grid = np.array([5, 9, 2, 4]), np.array([0.01, 0.1, 0.25, 0.4, 0.7, 0.95])
    found = shares.surface({"p[A]": grid}, others="profile")
    expected = [multinomial_profile(a, y) for a in grid]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_the_profile_of_a_share_is_minus_infinity_where_there_is_none(shares):
    found = shares.surface({"p[A]": [-0.1, 0.0, 0.25, 1.0, 1.2]}, others="profile")
    assert float(found[2]) == pytest.approx(multinomial_profile(0.25, np.array([5, 9, 2, 4])))
    np.testing.assert_array_equal(found[[0, 1, 3, 4]], -np.inf)


@pytest.fixture(scope="module")
def ordered():
    return likelihood_of(with_ordered()[0])


def ordered_profile(held):
    """Group means with some held and the others in order; by SciPy, as a constrained problem."""
    means = np.array([STEPS[k == GROUP].mean() for k in range(3)])
    start = np.maximum.accumulate([held.get(k, means[k]) for k in range(3)])
    constraints = [{"type": "ineq", "fun": lambda m, k=k: m[k + 1] - m[k]} for k in (0, 1)]
    constraints += [{"type": "eq", "fun": lambda m, k=k, v=v: m[k] - v} for k, v in held.items()]
    found = optimize.minimize(
        lambda m: 2 * ((STEPS - m[GROUP]) ** 2).sum(), start, method="SLSQP",
        constraints=constraints, options={"ftol": 1e-14},
    )  # fmt: skip
    return stats.norm.logpdf(STEPS, found.x[GROUP], 0.5).sum()


@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_profile_of_an_ordered_mean_is_that_of_its_group_while_the_order_is_free(ordered, k):
    grid = {0: [0.0, 1.3, 2.0, 2.4], 1: [1.5, 2.0, 2.5, 4.0], 2: [2.7, 4.0, 7.0]}[k]
    found = ordered.surface({f"mu[{k}]": grid}, others="profile")
    expected = [ordered_profile({k: v}) for v in grid]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_the_profile_of_an_ordered_mean_past_another_is_not_impossible(ordered):
    # mu[0] = 3 drives mu[1], whose own mean is 2.5, to the border: no maximum inside, but the
    # value is in the support. NaN says that nothing is certified, -inf that it can't be.
    found = float(ordered.surface({"mu[0]": [2.0, 3.0]}, others="profile")[1])
    assert np.isnan(found) or found == pytest.approx(ordered_profile({0: 3.0}), rel=1e-5)


def test_the_profile_of_two_ordered_means_in_the_wrong_order_is_impossible(ordered):
    grids = {"mu[0]": [1.0, 2.0], "mu[1]": [1.5, 2.4]}
    found = ordered.surface(grids, others="profile")
    assert float(found[1, 1]) == pytest.approx(ordered_profile({0: 2.0, 1: 2.4}), rel=1e-8)
    assert float(found[1, 0]) == -np.inf


@pytest.mark.slow
def test_a_profile_needs_no_maximum_of_the_likelihood():
    # As sigma shrinks around equal observations the likelihood grows without bound; with mu held
    # elsewhere it does not.
    lik = likelihood_of(zoo.perfect_fit().model)
    mu = np.array([1.0, 2.0])
    found = lik.surface(mu=mu, others="profile")
    np.testing.assert_allclose(found, normal_log(mu, 2.5 - mu, np.full(4, 2.5)), rtol=1e-8)


def test_without_a_certified_maximum_what_needs_one_says_so_and_the_rest_works():
    x, y = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]), np.array([0, 0, 0, 1, 1, 1])
    with pm.Model() as model:  # separated: the slope runs off
        shift, slope = pm.Normal("shift", 0, 2), pm.Normal("slope", 0, 2)
        pm.Bernoulli("y", logit_p=shift + slope * x, observed=y)
    lik = likelihood_of(model)
    for asker, call in (
        ("surface", lambda: lik.surface(slope=[1.0, 2.0])),
        ("relative", lambda: lik.relative(shift=0.0, slope=1.0)),
    ):
        with pytest.raises(pmlik.EstimationError) as caught:
            call()
        message = str(caught.value)
        assert message.startswith(f"{asker}: the likelihood has no maximum")
        assert "slope" in message
    shifts, slopes = np.array([-1.0, 0.0, 1.0]), np.array([0.5, 20.0])
    p = special.expit(shifts[:, None, None] + slopes[:, None] * x)
    expected = np.where(y == 1, np.log(p), np.log1p(-p)).sum(-1)
    found = lik.surface(shift=shifts, slope=slopes)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_profile_is_flat_along_what_the_likelihood_does_not_determine():
    case = zoo.collinear()
    found = likelihood_of(case.model).surface(a=[-1.0, 0.0, 5.0], others="profile")
    np.testing.assert_allclose(found, case.log_likelihood, rtol=1e-8)


def test_a_profile_goes_past_what_the_likelihood_does_not_determine():
    y = np.array([1.0, 2.0, 4.0, 5.0, 7.0])
    lik = likelihood_of(zoo.empty_group().model)  # mu[none] has no data
    found = lik.surface({"mu[left]": [1.0, 1.5]}, others="profile")
    expected = [stats.norm.logpdf(y, [m, m, 16 / 3, 16 / 3, 16 / 3], 1).sum() for m in (1.0, 1.5)]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    # A whole variable without data.
    mu, case = np.array([1.0, 2.0]), likelihood_of(zoo.not_in_likelihood().model)
    found = case.surface(mu=mu, others="profile")
    expected = normal_log(mu, 1.5, np.array([1.1, 2.7, 0.4, 3.3]))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_what_is_not_determined_does_not_make_a_slice_impossible():
    # The MLE of mu[none] is NaN: any value serves, or the caller is told to give one.
    lik = likelihood_of(zoo.empty_group().model)
    y, expected = np.array([1.0, 2.0, 4.0, 5.0, 7.0]), []
    for m in (1.0, 1.5):
        expected.append(stats.norm.logpdf(y, [m, m, 16 / 3, 16 / 3, 16 / 3], 1).sum())
    try:
        found = lik.surface({"mu[left]": [1.0, 1.5]})
    except pmlik.PmlikError as error:
        assert "mu[none]" in str(error)  # noqa: PT017 - either answer is right
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-8)
