"""What a search says where there is no ordinary optimum, against closed forms."""

from __future__ import annotations

import matplotlib
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import optimize, special, stats

import pmlik
from oracles.fits import fit, flag_of
from oracles.reference_models import data, mixture_faithful, t_regression_stackloss, truth
from pmlik import FlagCode, Severity
from pmlik.optimize.convergence import gradient_error_at
from pmlik.results.directions import describe_direction, simplify

matplotlib.use("Agg")


# --- At the boundary


def test_no_success_in_ten_puts_p_at_zero() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Binomial("y", 10, p, observed=0)
    found = fit(model)
    assert float(found.values["p"]) == 0.0
    assert np.isnan(found.std_error["p"])
    assert found.log_likelihood == pytest.approx(0.0, abs=1e-12)
    assert flag_of(found, FlagCode.AT_BOUNDARY).variables == ("p",)
    assert found.trusted


@pytest.mark.parametrize("counts", [[12, 0, 5, 3], [12, 5, 3, 0], [0, 0, 5, 3], [0, 20, 0]])
def test_a_category_never_seen_has_share_zero(counts) -> None:
    n, shares = sum(counts), np.array(counts) / sum(counts)
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(len(counts)))
        pm.Multinomial("y", n=n, p=p, observed=counts)
    found = fit(model)
    np.testing.assert_allclose(found.values["p"], shares, atol=1e-8)
    inside = (shares > 0) & (shares < 1)
    errors = np.where(inside, np.sqrt(shares * (1 - shares) / n), np.nan)  # of the other shares
    np.testing.assert_allclose(found.std_error["p"], errors, rtol=1e-6)
    assert found.log_likelihood == pytest.approx(stats.multinomial(n, shares).logpmf(counts))
    assert set(flag_of(found, FlagCode.AT_BOUNDARY).variables) == {
        f"p[{i}]" for i in np.flatnonzero(~inside)
    }


def test_beside_a_boundary_the_rest_is_conditional() -> None:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1, shape=2)
        pm.Deterministic("difference", p[1] - p[0])
        pm.Binomial("y", 10, p, observed=[10, 4])
    found = fit(model)
    np.testing.assert_allclose(found.values["p"], [1.0, 0.4], rtol=1e-9)
    assert float(found.values["difference"]) == pytest.approx(-0.6)
    assert np.isnan(found.std_error["difference"])
    assert float(found.std_error["p"][1]) == pytest.approx(np.sqrt(0.4 * 0.6 / 10), rel=1e-6)
    assert found.log_likelihood == pytest.approx(stats.binom.logpmf(4, 10, 0.4), abs=1e-9)
    assert flag_of(found, FlagCode.AT_BOUNDARY).variables == ("p[0]",)
    assert found.n_parameters == 2


def test_degrees_of_freedom_go_to_infinity_on_light_tails() -> None:
    y = np.linspace(-1, 1, 20)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        s = pm.HalfNormal("s", 5)
        nu = pm.Gamma("nu", 2, 0.1)
        pm.StudentT("y", nu=nu, mu=mu, sigma=s, observed=y)
    found = fit(model)
    assert float(found.values["nu"]) == np.inf
    assert float(found.values["s"]) == pytest.approx(y.std(), rel=1e-5)
    assert float(found.std_error["s"]) == pytest.approx(y.std() / np.sqrt(40), rel=1e-4)
    normal = stats.norm.logpdf(y, 0, y.std()).sum()
    assert found.log_likelihood == pytest.approx(normal, abs=1e-5)
    assert flag_of(found, FlagCode.AT_BOUNDARY).variables == ("nu",)


def test_a_second_variance_that_the_data_do_not_show_is_zero() -> None:
    y = np.array([1.0, -1, 1.2, 0.3, -0.2, 0.1])
    with pm.Model() as model:
        s = pm.HalfNormal("s", 1)
        k = pm.HalfNormal("k", 1)
        late = np.array([0.0, 0, 0, 1, 1, 1])
        pm.Normal("y", 0, pt.sqrt(s**2 + k**2 * late), observed=y)
    found = fit(model)
    assert float(found.values["k"]) == 0.0
    assert float(found.values["s"]) == pytest.approx(np.sqrt(np.mean(y**2)), rel=1e-6)
    assert flag_of(found, FlagCode.AT_BOUNDARY).variables == ("k",)


# --- At an edge of the support of the data


def test_the_largest_observation_is_the_end_of_a_uniform() -> None:
    with pm.Model() as model:
        end = pm.HalfNormal("end", 10)
        pm.Uniform("y", 0, end, observed=[1.0, 2.0, 4.0, 7.0])
    found = fit(model)
    assert float(found.values["end"]) == pytest.approx(7.0, rel=1e-12)
    assert np.isnan(found.std_error["end"])
    assert found.log_likelihood == pytest.approx(-4 * np.log(7), rel=1e-12)
    flag_of(found, FlagCode.AT_BOUNDARY)


def test_the_least_observation_is_the_start_of_an_exponential() -> None:
    y = np.array([1.3, 2.0, 4.0, 7.0])

    def logp(value, c, rate):
        return pt.switch(value >= c, pt.log(rate) - rate * (value - c), -np.inf)

    with pm.Model() as model:
        c = pm.Uniform("c", 0, 10)
        rate = pm.HalfNormal("rate", 2)
        pm.CustomDist("y", c, rate, logp=logp, observed=y)
    found = fit(model)
    expected = 1 / (y.mean() - y.min())
    assert float(found.values["c"]) == pytest.approx(1.3, rel=1e-12)
    assert float(found.values["rate"]) == pytest.approx(expected, rel=1e-7)
    assert float(found.std_error["rate"]) == pytest.approx(expected / 2, rel=1e-6)
    assert np.isnan(found.std_error["c"])


def test_an_edge_that_bends_is_not_taken_for_an_optimum() -> None:
    with pm.Model() as model:
        low = pm.Normal("low", 0, 10)
        width = pm.HalfNormal("width", 10)
        pm.Uniform("y", low, low + width, observed=[1.0, 2.0, 4.0, 7.0])
    found = fit(model)
    assert np.isnan(found.values["width"]) or float(found.values["width"]) == pytest.approx(6.0)


# --- At infinity


@pytest.fixture(scope="module")
def separation() -> pmlik.PointEstimate:
    iris = data("04_separation_iris")
    with pm.Model() as model:
        intercept = pm.Normal("intercept", 0, 20)
        slope = pm.Normal("slope", 0, 20)
        eta = intercept + slope * iris["Petal.Length"].to_numpy()
        pm.Bernoulli("versicolor", logit_p=eta, observed=iris["versicolor"].to_numpy())
    return fit(model)


def test_complete_separation_is_named_with_its_direction_and_supremum(separation) -> None:
    found = flag_of(separation, FlagCode.AT_INFINITY)
    assert set(found.variables) == {"intercept", "slope"}
    assert "intercept -> -inf" in found.detail
    assert "slope -> +inf" in found.detail
    assert separation.log_likelihood == pytest.approx(truth("04_separation_iris")["sup_loglik"])
    assert np.isnan(separation.values["slope"])
    assert np.isnan(separation.std_error["slope"])
    assert np.isnan(separation.aic)
    assert not separation.trusted


def test_beside_separation_derived_probabilities_have_their_limits() -> None:
    x = np.arange(6.0)
    with pm.Model() as model:
        a = pm.Normal("a", 0, 5)
        b = pm.Normal("b", 0, 5)
        pm.Deterministic("risk", pm.math.invlogit(a + b * np.array([0.0, 5.0])))
        pm.Deterministic("log_odds", a + 5 * b)
        pm.Bernoulli("y", logit_p=a + b * x, observed=x > 2.5)
    found = fit(model)
    np.testing.assert_allclose(found.values["risk"], [0, 1], atol=1e-12)
    assert np.isnan(found.std_error["risk"]).all()
    assert np.isnan(found.values["log_odds"])


def test_what_is_bounded_does_not_run_off() -> None:
    # Nothing is ever counted: the rate goes to zero, by the slope, whatever the bounded level.
    with pm.Model() as model:
        a = pm.Uniform("a", -2, 2)
        b = pm.Normal("b", 0, 5)
        pm.Poisson("y", pt.exp(a + b * np.array([1.0, 2.0, 3.0])), observed=[0, 0, 0])
    found = flag_of(fit(model), FlagCode.AT_INFINITY)
    assert found.variables == ("b",)
    assert "b -> -inf" in found.detail


def test_a_heavy_tailed_prior_holds_what_separation_lets_go() -> None:
    # The mode of logit p = b x solves sum x / (1 + exp(b x)) = 4 b / (3 w^2 + b^2).
    x, w = np.array([50.0, 80.0]), 100.0
    with pm.Model() as model:
        a = pm.Uniform("a", -1, 1)
        b = pm.StudentT("b", nu=3, mu=0, sigma=w)
        pm.Bernoulli("y", logit_p=b * x, observed=[1, 1])
        pm.Bernoulli("z", logit_p=a, observed=[1, 1])
    found = pmlik.find_MAP(model, random_seed=1, progressbar=False)
    slope = optimize.brentq(
        lambda s: (x * special.expit(-s * x)).sum() - 4 * s / (3 * w**2 + s**2), 1e-3, 10
    )
    assert float(found.values["a"]) == 1.0
    assert float(found.values["b"]) == pytest.approx(slope, rel=1e-6)
    assert flag_of(found, FlagCode.AT_BOUNDARY).variables == ("a",)


def test_quasi_complete_separation_leaves_the_rest() -> None:
    # In group 1 all are ones; group 0 alone determines its own logit.
    y = np.r_[[0, 1, 0, 1, 1, 0, 0, 1], np.ones(10)].astype(int)
    group = np.repeat([0, 1], [8, 10])
    with pm.Model() as model:
        a = pm.Normal("a", 0, 5)
        b = pm.Normal("b", 0, 5)
        pm.Bernoulli("y", logit_p=a + b * group, observed=y)
    found = fit(model)
    assert flag_of(found, FlagCode.AT_INFINITY).variables == ("b",)
    assert np.isnan(found.values["b"])
    assert float(found.values["a"]) == pytest.approx(special.logit(0.5), abs=1e-6)
    assert float(found.std_error["a"]) == pytest.approx(1 / np.sqrt(8 * 0.25), rel=1e-6)
    assert found.log_likelihood == pytest.approx(8 * np.log(0.5), abs=1e-9)


# --- Unbounded


def test_one_variance_an_observation_has_no_maximum() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        s = pm.HalfNormal("s", 1, shape=4)
        pm.Normal("y", mu, s, observed=[1.0, 2.0, 4.0, 7.0])
    found = fit(model)
    assert flag_of(found, FlagCode.UNBOUNDED).severity is Severity.ERROR
    assert np.isnan(found.values["s"]).all()
    assert np.isnan(found.log_likelihood)


def test_a_perfect_fit_has_no_maximum() -> None:
    with pm.Model() as model:
        a = pm.Normal("a", 0, 5)
        b = pm.Normal("b", 0, 5)
        s = pm.HalfNormal("s", 1)
        pm.Normal("y", a + b * np.arange(3.0), s, observed=[1.0, 2.0, 3.0])
    found = flag_of(fit(model), FlagCode.UNBOUNDED)
    assert found.severity is Severity.ERROR
    assert found.variables == ("s",)


@pytest.mark.parametrize(
    ("make", "case", "name"),
    [
        (mixture_faithful, "08_mixture_faithful", "sd[short]"),
        (t_regression_stackloss, "08_t_regression_stackloss", "s"),
    ],
)
def test_the_interior_maximum_of_an_unbounded_likelihood_is_called_that(make, case, name) -> None:
    found = fit(make())
    said = flag_of(found, FlagCode.UNBOUNDED)
    assert said.severity is Severity.WARNING
    assert name in said.variables
    assert found.log_likelihood == pytest.approx(truth(case)["loglik"], abs=1e-8)


# --- Saddles, flat directions, several optima


def product_of_two(sd: float = 1.0) -> pm.Model:
    with pm.Model() as model:
        w = pm.Normal("w", 0, sd)
        z = pm.Normal("z", 0, sd)
        pm.Normal("y", w * z, 0.1, observed=1.0)
    return model


def test_the_saddle_of_a_product_is_left_and_named() -> None:
    found = fit(product_of_two())
    said = flag_of(found, FlagCode.SADDLE)
    assert said.severity is Severity.INFO
    assert "w + z" in said.detail or "w - z" in said.detail
    assert set(flag_of(found, FlagCode.NOT_IDENTIFIED).variables) == {"w", "z"}
    assert found.log_likelihood == pytest.approx(stats.norm.logpdf(0, 0, 0.1), abs=1e-9)


def test_the_map_of_a_product_has_a_twin() -> None:
    found = pmlik.find_MAP(product_of_two(), random_seed=1, progressbar=False)
    # Of w = z the stationary point solves 100 (1 - w^2) w = w.
    assert abs(float(found.values["w"])) == pytest.approx(np.sqrt(0.99), rel=1e-8)
    assert "as high" in flag_of(found, FlagCode.SEVERAL_OPTIMA).detail


def test_a_collinear_design_names_the_flat_combination() -> None:
    x = np.arange(10.0)
    with pm.Model() as model:
        b1 = pm.Normal("b1", 0, 10)
        b2 = pm.Normal("b2", 0, 10)
        pm.Normal("y", b1 * x + 2 * b2 * x, 1, observed=3 * x + np.sin(x))
    said = flag_of(fit(model), FlagCode.NOT_IDENTIFIED)
    assert set(said.variables) == {"b1", "b2"}
    assert "b1 - 0.5 b2" in said.detail


def test_a_higher_far_mode_is_found_and_the_other_listed() -> None:
    y = np.array([-4.2, -4.2, 5.5, 6.1, 6.3, 5.9])
    with pm.Model() as model:
        mu = pm.Normal("mu", -4, 5, initval=-4)
        pm.Cauchy("y", mu, 0.3, observed=y)
    found = fit(model)
    grid = np.linspace(-10, 10, 200_001)
    heights = stats.cauchy.logpdf(y[:, None], grid, 0.3).sum(axis=0)
    assert float(found.values["mu"]) == pytest.approx(grid[heights.argmax()], abs=1e-4)
    assert found.log_likelihood == pytest.approx(heights.max(), abs=1e-6)
    near = grid < 0
    other = flag_of(found, FlagCode.SEVERAL_OPTIMA)
    assert f"{heights[near].max() - heights.max():.3g}" in other.detail
    numbers = {end.optimum for end in found.certificate.searches}
    assert {0, 1} <= numbers
    axes = pmlik.plot_waterfall(found).axes[0]
    drops = [float(v) for line in axes.get_lines()[:2] for v in line.get_ydata()]
    assert max(drops) == pytest.approx(heights.max() - heights[near].max(), abs=1e-6)


def test_switched_labels_are_the_same_optimum() -> None:
    y = np.array([-2.1, -1.9, -2.3, -1.6, 2.0, 2.2, 1.7, 2.6, 1.9])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 3, shape=2, initval=[-1.0, 1.0])
        pm.NormalMixture("y", [0.5, 0.5], mu, [1.0, 1.0], observed=y)
    found = fit(model)
    codes = {f.code for f in found.flags}
    assert FlagCode.LABEL_SWITCHING in codes


# --- Gradients, starts, directions


def test_a_wrong_gradient_is_found_out() -> None:
    from pytensor.graph.op import Op

    class Square(Op):
        """x^2 with a derivative that is wrong by a factor."""

        itypes = (pt.dscalar,)
        otypes = (pt.dscalar,)

        def perform(self, node, inputs, outputs):
            outputs[0][0] = np.asarray(inputs[0] ** 2)

        def pullback(self, inputs, outputs, cotangents):
            return [3.0 * inputs[0] * cotangents[0]]

        grad = None

        def L_op(self, inputs, outputs, cotangents):
            return [3.0 * inputs[0] * cotangents[0]]

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        pm.Normal("z", mu, 1, observed=0.3)
        pm.Potential("term", -Square()(mu - 1.0))
    assert flag_of(fit(model), FlagCode.GRADIENT_WRONG).severity is Severity.ERROR


def test_a_right_gradient_agrees_with_differences() -> None:
    class Quartic:
        def value_and_gradient(self, z):
            return float((z**4).sum()), 4 * z**3

    z, direction = np.array([1.0, -0.5]), np.array([0.3, 0.7])
    assert gradient_error_at(Quartic(), z, direction) < 1e-9


def test_a_start_in_natural_units_is_where_the_search_begins() -> None:
    y = np.array([-4.2, -4.2, 5.5, 6.1, 6.3, 5.9])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        s = pm.HalfNormal("s", 1)
        pm.Normal("y", mu, s, observed=y)
    found = fit(model, start={"mu": 1.0, "s": 3.0}, n_starts=1)
    assert found.certificate.start == "initial point"
    assert len(found.certificate.searches) == 1
    assert float(found.values["s"]) == pytest.approx(y.std(), rel=1e-9)
    with pytest.raises(pmlik.ValuesError, match="sigma"):
        fit(model, start={"sigma": 1.0})
    with pytest.raises(pmlik.StartError, match="s must lie inside the support"):
        fit(model, start={"s": -1.0})
    with pytest.raises(pmlik.ModelError, match="n_starts: got 0"):
        fit(model, n_starts=0)


def test_directions_in_words() -> None:
    assert describe_direction(["a", "b"], np.array([-2.0, 1.0])) == "a - 0.5 b"
    assert describe_direction(["a", "b", "c"], np.array([0.0, 1.0, 1.0])) == "b + c"
    basis = simplify(np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]]))
    assert all((np.abs(row) > 1e-9).sum() == 2 for row in basis)


def test_separation_with_centred_covariates_has_no_optimum_far_out() -> None:
    # So far out that rounding leaves a curvature of 1e-38, in a cone that no eigenvector is in.
    x = np.r_[np.linspace(1.0, 1.9, 50), np.linspace(3.0, 5.1, 50)] - 3
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 5), pm.Normal("b", 0, 5)
        pm.Bernoulli("y", logit_p=a + b * x, observed=np.repeat([0, 1], 50))
    for seed in (1, 2, 3):
        mle = pmlik.find_MLE(model, random_seed=seed, progressbar=False)
        assert any(flag.code is pmlik.FlagCode.AT_INFINITY for flag in mle.flags)
        assert np.isnan(float(mle.values["b"]))
