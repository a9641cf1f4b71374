"""What the figures show, against closed forms; and that they are drawn where they can be."""

from __future__ import annotations

import matplotlib
import numpy as np
import pymc as pm
import pytest
from scipy import optimize, stats

import pmlik
from pmlik.labels import labelled, select_variables
from pmlik.stats.curves import compute_curves, compute_joint, curves_of

matplotlib.use("Agg")

Y = np.array([3.1, 1.4, 5.9, 2.6, 5.3, 5.8, 0.9, 2.7])


@pytest.fixture(scope="module")
def comparison() -> pmlik.Comparison:
    with pm.Model() as model:
        mu = pm.Normal("mu", 1, 3)
        sigma = pm.HalfNormal("sigma", 4)
        pm.Deterministic("cv", sigma / mu)
        pm.Normal("y", mu, sigma, observed=Y)
    return pmlik.compare(
        model,
        random_seed=1,
        progressbar=False,
        extras=False,
        sample_kwargs={"draws": 500, "tune": 500},
    )


@pytest.fixture(scope="module")
def likelihood(comparison) -> pmlik.Likelihood:
    return pmlik.Likelihood.of(comparison, progressbar=False)


def test_the_profile_is_the_closed_one(likelihood, comparison) -> None:
    curves = compute_curves(likelihood, comparison, "mu")
    n = len(Y)
    spread = np.mean((Y - curves.grid[:, None]) ** 2, axis=1)
    closed = -n / 2 * np.log(spread / Y.var())
    near = closed > -5
    np.testing.assert_allclose(curves.log_likelihood[near], closed[near], atol=2e-3)


def test_a_traced_profile_is_the_same_one(likelihood, comparison) -> None:
    curves = compute_curves(likelihood, comparison, "mu", traced=True)
    spread = np.mean((Y - curves.grid[:, None]) ** 2, axis=1)
    closed = -len(Y) / 2 * np.log(spread / Y.var())
    seen = np.isfinite(curves.log_likelihood)
    assert closed[seen].min() < -4
    assert (closed[~seen] < -4).all()
    np.testing.assert_allclose(np.exp(curves.log_likelihood[seen]), np.exp(closed[seen]), atol=5e-4)


def test_a_derived_quantity_has_its_profile(comparison) -> None:
    curves = curves_of(comparison, "cv")
    top = stats.norm.logpdf(Y, Y.mean(), Y.std()).sum()

    def closed(cv: float) -> float:
        """The mean is all that is free where sd = cv times mean."""
        best = optimize.minimize_scalar(
            lambda mu: -stats.norm.logpdf(Y, mu, cv * mu).sum(), bounds=(0.01, 30), method="bounded"
        )
        return -best.fun - top

    seen = np.isfinite(curves.log_likelihood)
    at = curves.grid[seen]
    assert at.min() < Y.std() / Y.mean() < at.max()
    found, expected = curves.log_likelihood[seen], np.array([closed(cv) for cv in at])
    # What is drawn is the relative likelihood, interpolated between certified points.
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=5e-4)
    assert min(found) < -3
    assert curves.prior is None
    figure = pmlik.plot_compare(comparison, var_names="cv")
    lines = {line.get_label() for line in figure.axes[0].lines}
    assert "relative likelihood" in lines


def test_the_priors_are_the_distributions(likelihood, comparison) -> None:
    mu, sigma = (compute_curves(likelihood, comparison, name) for name in ("mu", "sigma"))
    np.testing.assert_allclose(mu.prior, stats.norm(1, 3).pdf(mu.grid), rtol=1e-12)
    np.testing.assert_allclose(sigma.prior, stats.halfnorm(0, 4).pdf(sigma.grid), rtol=1e-12)
    assert sigma.grid[0] >= 0


def test_the_posterior_is_the_one_that_was_sampled(likelihood, comparison) -> None:
    curves = compute_curves(likelihood, comparison, "mu")
    assert np.trapezoid(curves.posterior, curves.grid) == pytest.approx(1, abs=0.02)
    mean = np.trapezoid(curves.posterior * curves.grid, curves.grid)
    assert mean == pytest.approx(float(comparison.posterior.values["mu"]), abs=0.05)
    assert curves.marks["MLE"] == pytest.approx(Y.mean())
    assert curves.marks["mean"] == float(comparison.posterior.values["mu"])


def test_the_joint_region_is_the_likelihood(likelihood, comparison) -> None:
    joint = compute_joint(likelihood, comparison, ("mu", "sigma"))
    mu, sigma = np.meshgrid(*joint.grids, indexing="ij")
    with np.errstate(divide="ignore", invalid="ignore"):
        log = stats.norm.logpdf(Y[:, None, None], mu, sigma).sum(axis=0)
    top = stats.norm.logpdf(Y, Y.mean(), Y.std()).sum()
    inside = sigma > 0
    np.testing.assert_allclose(joint.log_likelihood[inside], (log - top)[inside], rtol=1e-9)
    assert joint.draws.shape == (2000, 2)


def test_the_figure_draws_the_curves(likelihood, comparison) -> None:
    axes = pmlik.plot_likelihood(comparison, var_names="sigma").axes[0]
    curves = compute_curves(likelihood, comparison, "sigma")
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_allclose(
        lines["relative likelihood"].get_ydata(), np.exp(curves.log_likelihood), atol=1e-12
    )
    ratio = curves.prior / curves.posterior.max()
    np.testing.assert_allclose(lines["prior"].get_ydata(), ratio, atol=1e-12)
    assert lines["posterior mean"].get_xdata()[0] == curves.marks["mean"]
    assert axes.get_xlabel() == "sigma"


def test_two_scalars_get_their_joint_region(comparison) -> None:
    axes = pmlik.plot_likelihood(comparison).axes[2]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("mu", "sigma")


def test_a_likelihood_that_keeps_growing_is_drawn_too() -> None:
    x = np.array([-2.0, -1.0, 1.0, 2.0])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 3)
        pm.Bernoulli("y", logit_p=slope * x, observed=(x > 0).astype(int))
    lik = pmlik.Likelihood(model, progressbar=False)
    curves = compute_curves(lik, None, "slope")
    closed = -2 * (np.log1p(np.exp(-curves.grid)) + np.log1p(np.exp(-2 * curves.grid)))
    np.testing.assert_allclose(curves.log_likelihood, closed, atol=1e-3 * np.ptp(closed))
    assert "MLE" not in curves.marks
    pmlik.plot_likelihood(lik)


def test_elements_are_chosen_as_in_arviz() -> None:
    with pm.Model(coords={"g": ["a", "b", "c"]}) as model:
        mu = pm.Normal("mu", 0, 5, dims="g")
        p = pm.Dirichlet("p", np.ones(3), dims="g")
        pm.Normal("y", mu, 1, observed=[1.0, 2.0, 4.0])
        pm.Multinomial("n", n=10, p=p, observed=[2, 3, 5])
    lik = pmlik.Likelihood(model, progressbar=False)
    for var_names, coords, labels in (
        (None, {"g": ["b"]}, ["mu[b]", "p[b]"]),
        ("p", None, ["p[a]", "p[b]", "p[c]"]),
    ):
        selected = select_variables(
            lik.template, var_names, coords, where="a parameter of the likelihood"
        )
        assert list(labelled(selected)) == labels
    curves = compute_curves(lik, None, "mu[c]")
    closed = -((curves.grid - 4.0) ** 2) / 2
    np.testing.assert_allclose(curves.log_likelihood, closed, atol=1e-4)
    share = compute_curves(lik, None, "p[b]")
    assert share.prior is None  # a marginal of a joint prior
    top = stats.binom.logpmf(3, 10, 0.3)
    near = (share.grid > 0.05) & (share.grid < 0.8)
    binomial = stats.binom.logpmf(3, 10, share.grid[near]) - top
    np.testing.assert_allclose(share.log_likelihood[near], binomial, atol=5e-3)
    with pytest.raises(pmlik.ValuesError, match="'q' not a parameter"):
        pmlik.plot_likelihood(lik, var_names=["q"])
    with pytest.raises(pmlik.ValuesError, match="coords"):
        pmlik.plot_likelihood(lik, coords={"g": ["z"]})


def test_only_likelihoods_and_comparisons_are_drawn() -> None:
    with pytest.raises(pmlik.ValuesError, match="got str"):
        pmlik.plot_likelihood("model")


@pytest.mark.parametrize("plot", [pmlik.plot_compare, pmlik.plot_forest, pmlik.plot_attribution])
def test_plots_of_anything_but_a_comparison_are_refused(plot) -> None:
    with pytest.raises(pmlik.ValuesError, match="comparison: got int, need a Comparison"):
        plot(5)


def test_plots_of_nothing_and_in_no_columns_are_refused(comparison) -> None:
    for plot in (pmlik.plot_compare, pmlik.plot_forest, pmlik.plot_attribution):
        with pytest.raises(pmlik.ValuesError, match="select nothing"):
            plot(comparison, var_names=[])
    for wrong in (0, 2.5):
        with pytest.raises(pmlik.ValuesError, match="col_wrap: got"):
            pmlik.plot_compare(comparison, col_wrap=wrong)
    with pytest.raises(pmlik.ValuesError, match="need a PointEstimate"):
        pmlik.plot_waterfall(5)
