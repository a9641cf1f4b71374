"""The document's seven steps: what the example says, against SciPy, sums and closed forms."""

from __future__ import annotations

import decimal
import math

import arviz as az
import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

import likelihood_vs_posterior as example
import pmlik
from oracles import zoo

Y = example.INCHES
N, MEAN, SD = len(Y), float(np.mean(Y)), float(np.sqrt(np.mean((Y - np.mean(Y)) ** 2)))
PRIORS = {"weak": (0.0, 5.0), "strong and wrong": (-3.0, 1.0)}
# At the last one the likelihood itself underflows.
THETAS = [(2.0, 3.0), (-4.0, 9.0), (2.6, 4.6), (11.0, 0.7)]


@pytest.fixture(scope="module")
def seen():
    return example.walk()


def log_likelihood(mu, sigma, times=1):
    return times * float(stats.norm.logpdf(Y, mu, sigma).sum()) if sigma > 0 else -np.inf


def log_prior(prior, mu, sigma):
    """Normal times half-normal(5), written out anew."""
    return stats.norm.logpdf(mu, *PRIORS[prior]) + stats.halfnorm.logpdf(sigma, scale=5)


def exact_posterior(prior, times=1):
    """Mean and sd of mu and sigma: mu is conjugate given sigma, which leaves one integral."""
    m0, s0 = PRIORS[prior]
    n = times * N

    def given(sigma):
        precision = n / sigma**2 + s0**-2
        centre = (n * MEAN / sigma**2 + m0 / s0**2) / precision
        # p(y, sigma), by Bayes' rule at mu = 0, up to a constant
        log = -n * np.log(sigma) - n * (SD**2 + MEAN**2) / (2 * sigma**2)
        log += stats.halfnorm.logpdf(sigma, scale=5)
        log += 0.5 * centre**2 * precision - 0.5 * np.log(precision)
        return log, centre, 1 / precision

    top = optimize.minimize_scalar(lambda s: -given(s)[0], bounds=(1, 30), method="bounded").x
    width = top / math.sqrt(n)

    def expect(function):
        def integrand(sigma):
            log, centre, variance = given(sigma)
            return math.exp(log - given(top)[0]) * function(sigma, centre, variance)

        ends = max(0.3, top - 9 * width), top + 14 * width
        return integrate.quad(integrand, *ends, points=[top], limit=400, epsrel=1e-10)[0]

    whole = expect(lambda *_: 1.0)
    mu, sigma = expect(lambda s, c, v: c) / whole, expect(lambda s, c, v: s) / whole
    of_mu = expect(lambda s, c, v: v + (c - mu) ** 2) / whole
    of_sigma = expect(lambda s, c, v: (s - sigma) ** 2) / whole
    return np.array([mu, sigma]), np.sqrt([of_mu, of_sigma])


def exact_mode(prior, times=1):
    """The MAP by SciPy's simplex search and Newton steps on finite differences."""
    return zoo.maximise(
        lambda x: log_likelihood(*x, times) + log_prior(prior, *x), [MEAN - 1, SD + 0.5]
    )[0]


def test_the_data_are_those_of_fisher():
    # The Design of Experiments, chapter 3: total 314 eighths of an inch, t = 2.148 with 14 df.
    assert (8 * Y).sum() == 314
    assert stats.ttest_1samp(Y, 0).statistic == pytest.approx(2.148, abs=5e-4)


# --- 1 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theta", THETAS[:3])
def test_1_likelihood_is_the_product_of_the_densities(seen, theta):
    likelihood, factors = example.likelihood_and_factors(seen.lik, *theta)
    np.testing.assert_allclose(factors, stats.norm.pdf(Y, *theta), rtol=1e-12)
    assert likelihood == pytest.approx(math.prod(stats.norm.pdf(Y, *theta)), rel=1e-11)


# --- 2 --------------------------------------------------------------------------------------------


def test_2_the_product_underflows_at_255_observations_and_not_before(seen):
    densities = stats.norm.pdf(np.resize(Y, 400), MEAN, SD)
    products = np.multiply.accumulate(densities)
    assert seen.underflow.n == 1 + int(np.argmax(products == 0)) == 255
    assert seen.underflow.before == products[253] > 0


def test_2_the_sum_of_logarithms_is_exact_where_the_product_is_zero(seen):
    # The same product with 60 digits and exponents without end.
    with decimal.localcontext(prec=60):
        variance = sum((decimal.Decimal(x) - decimal.Decimal(MEAN)) ** 2 for x in Y) / N
        constant = (2 * decimal.Decimal(math.pi) * variance).sqrt()
        product = decimal.Decimal(1)
        for x in np.resize(Y, 255):
            off = decimal.Decimal(x) - decimal.Decimal(MEAN)
            product *= (-(off**2) / (2 * variance)).exp() / constant
        exact = float(product.ln())
        assert float(product) == 0.0
    assert seen.underflow.log == pytest.approx(exact, rel=1e-14)


def test_2_the_likelihood_that_underflowed_is_zero_and_says_so(seen):
    assert seen.underflow.likelihood == 0.0
    assert "255 observations" in seen.underflow.warning
    assert "`log`" in seen.underflow.warning


# --- 3 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theta", THETAS)
def test_3_log_gradient_and_hessian_are_the_closed_form(seen, theta):
    mu, sigma = theta
    off, squares = math.fsum(Y - mu), math.fsum((Y - mu) ** 2)
    log = -N * math.log(math.sqrt(2 * math.pi) * sigma) - squares / (2 * sigma**2)
    gradient = [off / sigma**2, -N / sigma + squares / sigma**3]
    cross = -2 * off / sigma**3
    hessian = [[-N / sigma**2, cross], [cross, N / sigma**2 - 3 * squares / sigma**4]]
    at = {"mu": mu, "sigma": sigma}
    close = {"rtol": 1e-12, "atol": 0}
    np.testing.assert_allclose(seen.lik.log(at), log, **close)
    np.testing.assert_allclose(seen.lik.gradient(at).to_array(), gradient, **close)
    np.testing.assert_allclose(seen.lik.hessian(at), hessian, **close)
    for ours, theirs in zip(example.closed_form(mu, sigma), (log, gradient, hessian), strict=True):
        np.testing.assert_allclose(ours, theirs, **close)


def test_3_the_differences_that_the_example_prints_are_below_the_bar(seen):
    assert (seen.differences < 1e-12).all()


# --- 4 --------------------------------------------------------------------------------------------


def test_4_gradient_descent_ends_at_mean_and_sd_that_divides_by_n(seen):
    np.testing.assert_allclose(seen.path[-1], [MEAN, SD], rtol=1e-10)
    found = pmlik.find_MLE(example.darwin(), progressbar=False)
    np.testing.assert_allclose(seen.path[-1], found.values.to_array(), rtol=1e-9)


def test_4_each_step_goes_down_the_mean_nll(seen):
    by_hand = [-log_likelihood(*theta) / N for theta in seen.path]
    np.testing.assert_allclose(seen.losses, by_hand, rtol=1e-12)
    assert (np.diff(seen.losses[:60]) < 0).all()
    # Later the loss is flat to rounding error.
    assert (np.diff(seen.losses) < 1e-14).all()


def test_4_the_steps_are_those_of_the_hand_made_gradient(seen):
    mu, sigma = seen.path[:-1].T
    off = Y[:, None] - mu
    gradient = [-off.mean(0) / sigma**2, 1 / sigma - (off**2).mean(0) / sigma**3]
    np.testing.assert_allclose(np.diff(seen.path, axis=0).T, -4.0 * np.array(gradient), atol=1e-11)


# --- 5 --------------------------------------------------------------------------------------------


def integral_of_likelihood(power):
    """Of L sigma**power over mean and sd, in closed form (a Gaussian and a gamma integral)."""
    k = N - 2 - power
    constant = (2 * math.pi) ** (-N / 2) * math.sqrt(2 * math.pi / N)
    return constant * 0.5 * (2 / (N * SD**2)) ** (k / 2) * special.gamma(k / 2)


# d variance = 2 sd d sd, d precision = 2 sd^-3 d sd
INTEGRALS = {
    "mean, sd": integral_of_likelihood(0),
    "mean in cm": 2.54 * integral_of_likelihood(0),
    "variance": 2 * integral_of_likelihood(1),
    "precision": 2 * integral_of_likelihood(-3),
}


@pytest.mark.parametrize("name", INTEGRALS)
def test_5_the_likelihood_integrates_to_what_the_units_make_of_it_and_never_to_one(seen, name):
    found = seen.writings[name].likelihood_integral
    assert found == pytest.approx(INTEGRALS[name], rel=1e-4, abs=0)
    assert found < 1e-17


@pytest.mark.parametrize("name", INTEGRALS)
def test_5_the_posterior_integrates_to_one_in_every_writing(seen, name):
    # All four were divided by the probability of the data that the first one gave.
    assert seen.writings[name].posterior_integral == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", INTEGRALS)
def test_5_the_maximiser_of_the_likelihood_does_not_move(seen, name):
    assert seen.writings[name].mle == pytest.approx((MEAN, SD), rel=1e-8)


# Log of the Jacobian's share in the density of (mean, spread), as a power of the sd.
@pytest.mark.parametrize(
    ("name", "power"), [("mean, sd", 0), ("mean in cm", 0), ("variance", -1), ("precision", 3)]
)
def test_5_the_mode_of_the_posterior_moves_with_the_jacobian(seen, name, power):
    mode, _ = zoo.maximise(
        lambda x: log_likelihood(*x) + log_prior("weak", *x) + power * math.log(x[1]), [2.0, 4.5]
    )
    assert seen.writings[name].map == pytest.approx(tuple(mode), rel=1e-6)


def test_5_the_modes_are_apart(seen):
    sds = [seen.writings[name].map[1] for name in ("variance", "mean, sd", "precision")]
    assert sds == pytest.approx([4.316, 4.444, 4.906], abs=5e-4)


# --- 6 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", example.PRIORS)
def test_6_the_likelihood_does_not_change_with_the_prior(seen, prior):
    comparison = seen.priors[prior].comparison
    lik = pmlik.Likelihood.of(comparison, progressbar=False)
    mu, sigma = np.transpose(THETAS)
    expected = [log_likelihood(*theta) for theta in THETAS]
    np.testing.assert_allclose(lik.log(mu=mu, sigma=sigma), expected, rtol=1e-12)
    zoo.assert_values(comparison.mle.values, {"mu": MEAN, "sigma": SD})


@pytest.mark.parametrize("prior", PRIORS)
def test_6_the_map_is_the_one_that_scipy_finds(seen, prior):
    mu, sigma = exact_mode(prior)
    zoo.assert_values(
        seen.priors[prior].comparison.map.values, {"mu": mu, "sigma": sigma}, rtol=1e-6
    )


def test_6_under_a_flat_prior_the_map_is_the_mle(seen):
    zoo.assert_values(seen.priors["flat"].comparison.map.values, {"mu": MEAN, "sigma": SD})


@pytest.mark.parametrize("prior", PRIORS)
def test_6_the_posterior_on_the_grid_is_exact(seen, prior):
    mean, sd = exact_posterior(prior)
    np.testing.assert_allclose(seen.priors[prior].mean, mean, rtol=1e-5)
    np.testing.assert_allclose(seen.priors[prior].sd, sd, rtol=1e-4)


def test_6_the_flat_posterior_on_the_grid_is_students(seen):
    # mu: t with n - 2 degrees of freedom and scale sd / sqrt(n - 2), of sd sd / sqrt(n - 4).
    flat = seen.priors["flat"]
    of_sigma = math.sqrt(N * SD**2 / 2) * special.gamma((N - 3) / 2) / special.gamma((N - 2) / 2)
    assert flat.mean == pytest.approx((MEAN, of_sigma), rel=1e-5)
    assert flat.sd[0] == pytest.approx(SD / math.sqrt(N - 4), rel=1e-4)
    near = np.abs(example.MU - MEAN) < 6
    student = stats.t(N - 2, MEAN, SD / math.sqrt(N - 2)).pdf(example.MU)
    np.testing.assert_allclose(flat.density[near], student[near], rtol=1e-4)


@pytest.mark.parametrize("prior", example.PRIORS)
def test_6_the_draws_have_the_exact_means(seen, prior):
    found = seen.priors[prior]
    ess = az.ess(found.comparison.posterior.tree)
    for name, mean, sd in zip(("mu", "sigma"), found.mean, found.sd, strict=True):
        # Five Monte Carlo standard errors: six checks fail by chance once in 300 000 seeds.
        error = sd / math.sqrt(float(ess[name]))
        assert float(found.comparison.posterior.values[name]) == pytest.approx(mean, abs=5 * error)
        assert error < 0.04 * sd


def test_6_the_wrong_prior_drags_map_and_posterior_away_from_the_data(seen):
    found = seen.priors["strong and wrong"]
    assert exact_posterior("strong and wrong")[0][0] == pytest.approx(-1.356, abs=5e-4)
    assert found.comparison.table.loc["mu", "MAP"] == pytest.approx(-1.236, abs=5e-4)
    assert (MEAN - found.mean[0]) / found.sd[0] == pytest.approx(4.19, abs=0.01)


# --- 7 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [15, 150, 1500])
def test_7_distances_are_those_of_scipy(seen, n):
    prior, times = "strong and wrong", n // N
    mode, (mean, sd) = exact_mode(prior, times), exact_posterior(prior, times)
    mle = np.array([MEAN, SD])
    expected = np.abs([mle - mode, mle - mean, mode - mean]) / sd
    np.testing.assert_allclose(seen.distances.sel(n=n), expected, rtol=2e-3, atol=1e-5)


def test_7_distances_fall_as_one_over_the_root_of_n(seen):
    largest = seen.distances.max("parameter")
    n = largest["n"].to_numpy()
    assert (n[1:] == 10 * n[:-1]).all()
    assert (largest.diff("n") < 0).all()
    ratio = largest.isel(n=-1).to_numpy() / largest.isel(n=-2).to_numpy()
    # Not quite at 1500, where the wrong prior still has a say in the sd.
    np.testing.assert_allclose(ratio, 10**-0.5, rtol=0.02)


def test_7_the_line_has_the_height_that_theory_gives(seen):
    # The shift of mu is sd^2 / n (mean - m0) / s0^2, in posterior sds of sd / sqrt(n).
    m0, s0 = PRIORS["strong and wrong"]
    last = seen.distances.sel(parameter="mu", pair="MLE-MAP").isel(n=-1)
    theory = SD * (MEAN - m0) / s0**2
    assert float(last) * math.sqrt(float(last["n"])) == pytest.approx(theory, rel=0.005)


# --- Shorter -------------------------------------------------------------------------------------


def test_bernoulli_two_of_ten(seen):
    b = seen.bernoulli
    assert b.mle == pytest.approx(0.2, abs=1e-9)
    assert b.map == pytest.approx(0.2, abs=1e-9)
    assert b.log_likelihood == pytest.approx(-5.00402, abs=5e-6)
    assert b.log_likelihood == pytest.approx(2 * math.log(0.2) + 8 * math.log(0.8), rel=1e-12)
    assert b.logit_mode == pytest.approx(0.25, abs=1e-9)
    # The trapezoidal rule on 1001 points.
    assert b.posterior_mean == pytest.approx(stats.beta(3, 9).mean(), abs=1e-8)
    posterior = stats.beta(3, 9)
    relative = posterior.pdf(b.grid) / posterior.pdf(0.2)
    np.testing.assert_allclose(b.relative, relative, rtol=1e-10, atol=1e-15)


def test_mean_nll_of_a_softmax_is_the_cross_entropy_loss(seen):
    # What torch.nn.CrossEntropyLoss()(logits, classes) is defined as, by hand.
    losses = special.logsumexp(example.LOGITS, axis=1) - example.LOGITS[[0, 1, 2], [0, 1, 2]]
    assert losses[0] == pytest.approx(math.log(math.e**2 + math.e + math.e**0.1) - 2, rel=1e-14)
    assert seen.cross_entropy == pytest.approx(losses.mean(), rel=1e-12)
    assert seen.cross_entropy == pytest.approx(0.524050, abs=5e-7)


# --- What is printed and drawn -------------------------------------------------------------------


def test_the_page_fits_a_screen_and_has_the_numbers(seen):
    lines = list(example.describe(seen))
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    page = "\n".join(lines)
    for number in (f"{MEAN:.6f}", f"{SD:.6f}", "n = 255: 0", "-748.6385", "-5.00402", "0.524050"):
        assert number in page


@pytest.fixture(scope="module")
def figure(seen, tmp_path_factory):
    path = tmp_path_factory.mktemp("figure") / "figure.png"
    drawn = example.draw(seen, path)
    assert path.stat().st_size < 400_000  # it is in the README
    return drawn


def test_the_figure_marks_mle_map_and_mean_where_they_are(figure):
    for ax, prior in zip(figure.axes[1:3], PRIORS, strict=True):
        marks = {line.get_marker(): line.get_xdata()[0] for line in ax.lines}
        assert marks["^"] == pytest.approx(MEAN, rel=1e-6)
        assert marks["D"] == pytest.approx(exact_mode(prior)[0], rel=1e-5)
        # Of draws, see above: an effective sample of 625 at the least, five times 1 / 25 sd.
        mean, sd = exact_posterior(prior)
        assert marks["o"] == pytest.approx(mean[0], abs=0.2 * sd[0])


def test_the_figure_has_one_likelihood_curve_under_three_priors(figure):
    for ax in figure.axes[:3]:
        (line,) = [line for line in ax.lines if line.get_label() == "likelihood"]
        mu, drawn = line.get_data()
        # The profile of a normal mean: sigma^2 is SD^2 + (mean - mu)^2 at its best.
        np.testing.assert_allclose(drawn, (1 + ((mu - MEAN) / SD) ** 2) ** (-N / 2), rtol=1e-9)
