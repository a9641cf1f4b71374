"""The likelihood as a function: every number against SciPy, a closed form or a published one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from pymc.distributions import transforms as tr
from pymc.exceptions import ImputationWarning
from scipy import optimize, special, stats

import pmlik
from oracles import zoo
from oracles.reference_models import CASES, truth

RNG = np.random.default_rng(20250611)
Y = np.array([2.3, 4.1, 3.3, 5.2, 2.9, 4.4])
IDS = ["a", "b", "c", "d", "e", "f"]


def likelihood_of(model, **options):
    return pmlik.Likelihood(model, progressbar=False, **options)


def one_by_one(lik, values, batch):
    """`lik.log` at each point of a batch of plain arrays, one call a point."""
    return np.array(
        [lik.log({name: array[i] for name, array in values.items()}) for i in range(batch)]
    )


# --- Published answers ----------------------------------------------------------------------------

#: A parameter of each case whose negative value is outside the support.
POSITIVE = {
    "01_gamma_aircondit": "mu",
    "03_quine_negbin_additive": "theta",
    "07_gev_portpirie": "scale",
    "07_weibull_lung": "scale",
    "08_ar1_lh": "sigma",
    "08_mixture_faithful": "w1",
    "08_t_regression_stackloss": "s",
}


#: Cases whose derivatives take long to build, and are like those of others.
SLOW = {
    "03_quine_negbin_additive",
    "07_gev_portpirie",
    "08_ordered_logit_housing",
    "08_t_regression_stackloss",
}


@pytest.fixture(scope="module", params=CASES)
def published(request):
    make, names = CASES[request.param]
    lik, answer = likelihood_of(make()), truth(request.param)
    flat, values = np.array(list(answer["estimates"].values())), {}
    for name in names:
        shape = lik.template[name].shape
        size = int(np.prod(shape, dtype=int))
        values[name], flat = flat[:size].reshape(shape), flat[size:]
    assert not flat.size
    return request.param, lik, values, answer


def test_the_log_likelihood_at_published_estimates_is_the_published_one(published):
    _, lik, values, answer = published
    assert float(lik.log(values)) == pytest.approx(answer["loglik"], rel=1e-8)
    assert float(lik.nll(**values)) == pytest.approx(-answer["loglik"], rel=1e-8)
    assert lik.n_observations == answer["n_obs"]


def test_a_batch_at_published_estimates_is_right_whatever_else_is_in_it(published):
    case, lik, values, answer = published
    batch = {name: np.stack([array, array * 1.01, array, array]) for name, array in values.items()}
    outside = POSITIVE.get(case)
    for at in (0, 2) if outside else ():
        batch[outside][at] *= -1
    found = lik.log(batch).to_numpy()
    assert found[3] == pytest.approx(answer["loglik"], rel=1e-8)
    np.testing.assert_allclose(found, one_by_one(lik, batch, 4), rtol=1e-11)
    if outside:
        np.testing.assert_array_equal(found[[0, 2]], -np.inf)
    else:
        assert found[[0, 2]] == pytest.approx(answer["loglik"], rel=1e-8)
    # The published estimates are a maximum.
    assert -np.inf < found[1] < found[3]


def test_the_published_standard_errors_are_the_curvature_where_there_is_no_slope(published):
    case, lik, values, answer = published
    if case in SLOW:
        pytest.skip("its second derivatives take long to build")
    se = np.array(list(answer["se"].values()))
    gradient, hessian = lik.gradient(values), lik.hessian(values)
    slope = np.concatenate([np.ravel(gradient[name]) for name in CASES[case][1]])
    # In units of a standard error; the estimates are published with some 1e-6 of one.
    np.testing.assert_allclose(slope * se, 0, atol=1e-4)
    covariance = np.linalg.inv(-hessian.to_numpy())
    found = dict(zip(hessian.parameter.values.tolist(), np.diag(covariance) ** 0.5, strict=True))
    names = CASES[case][1]
    in_order = [error for n in names for label, error in found.items() if label.split("[")[0] == n]
    np.testing.assert_allclose(in_order, se, rtol=1e-5)


# --- One normal sample, used below ----------------------------------------------------------------


def normal_log(mu, sigma, y=Y):
    """The sum of normal log-densities, broadcast over ``mu`` and ``sigma``."""
    mu, sigma = np.broadcast_arrays(np.asarray(mu, float), np.asarray(sigma, float))
    return stats.norm.logpdf(y, mu[..., None], sigma[..., None]).sum(-1)


@pytest.fixture(scope="module")
def normal():
    with pm.Model(coords={"id": IDS}) as model:
        mu = pm.Normal("mu", 0, 5)
        sigma = pm.HalfNormal("sigma", 2)
        pm.Deterministic("cv", sigma / mu)
        pm.Normal("y", mu, sigma, observed=Y, dims="id")
    return likelihood_of(model)


@pytest.fixture(scope="module")
def line():
    """A regression with an intercept, a labelled slope for each of two columns, and sigma."""
    X = np.column_stack([RNG.normal(size=12), RNG.uniform(1, 3, size=12)])
    y = 1 + X @ [2.0, -1.0] + RNG.normal(0, 0.7, size=12)
    with pm.Model(coords={"term": ["age", "dose"]}) as model:
        alpha = pm.Normal("alpha", 0, 5)
        beta = pm.Normal("beta", 0, 5, dims="term")
        sigma = pm.HalfNormal("sigma", 2)
        pm.Normal("y", alpha + X @ beta, sigma, observed=y)
    return likelihood_of(model), X, y


@pytest.fixture(scope="module")
def shares():
    return likelihood_of(zoo.shares().model)


# --- Each observation -----------------------------------------------------------------------------


def labelled_normal():
    with pm.Model(coords={"id": IDS}) as model:
        pm.Normal("y", pm.Normal("mu"), pm.HalfNormal("s"), observed=Y, dims="id")
    return model, {"mu": 3.0, "s": 1.7}, {"y": (("id",), stats.norm.logpdf(Y, 3, 1.7))}


def two_way_poisson():
    y = np.array([[3, 0, 5], [2, 2, 9]])
    with pm.Model(coords={"year": [1990, 2000], "site": list("xyz")}) as model:
        rate = pm.Gamma("rate", 2, 1, dims="site")
        pm.Poisson("y", rate, observed=y, dims=("year", "site"))
    rates = [2.5, 0.8, 6.0]
    return model, {"rate": rates}, {"y": (("year", "site"), stats.poisson.logpmf(y, rates))}


def logistic():
    x, y = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([0, 1, 0, 1])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 2)
        pm.Bernoulli("y", logit_p=slope * x, observed=y)
    return (
        model,
        {"slope": 1.3},
        {"y": (("y_dim_0",), stats.bernoulli.logpmf(y, special.expit(1.3 * x)))},
    )


def multinomial_rows():
    y, p = np.array([[3, 5, 2], [10, 4, 6], [0, 1, 0]]), np.array([0.3, 0.5, 0.2])
    with pm.Model(coords={"year": [1990, 2000, 2010], "party": list("abc")}) as model:
        share = pm.Dirichlet("p", np.ones(3), dims="party")
        pm.Multinomial("y", n=y.sum(1), p=share, observed=y, dims=("year", "party"))
    return model, {"p": p}, {"y": (("year",), stats.multinomial.logpmf(y, y.sum(1), p))}


def mvnormal_rows():
    y = np.array([[1.0, 2.0], [0.2, 3.1], [2.2, 1.4], [-1.0, 0.0]])
    cov = np.array([[2.0, 0.7], [0.7, 1.0]])
    with pm.Model(coords={"row": [3, 5, 7, 9], "axis": ["u", "v"]}) as model:
        mu = pm.Normal("mu", 0, 2, dims="axis")
        pm.MvNormal("y", mu, cov, observed=y, dims=("row", "axis"))
    logpdf = stats.multivariate_normal.logpdf(y, [0.5, 1.5], cov)
    return model, {"mu": [0.5, 1.5]}, {"y": (("row",), logpdf)}


def two_observed():
    counts = np.array([4, 1, 7])
    with pm.Model(coords={"id": IDS, "site": list("xyz")}) as model:
        theta = pm.HalfNormal("theta", 3)
        pm.Normal("size", theta, 2.0, observed=Y, dims="id")
        pm.Poisson("count", theta, observed=counts, dims="site")
    expected = {
        "size": (("id",), stats.norm.logpdf(Y, 2.2, 2.0)),
        "count": (("site",), stats.poisson.logpmf(counts, 2.2)),
    }
    return model, {"theta": 2.2}, expected


def censored():
    t = np.array([0.5, 2.0, 3.0, 1.0, 3.0])
    with pm.Model(coords={"patient": [1, 2, 3, 4, 5]}) as model:
        rate = pm.Gamma("rate", 2, 1)
        time = pm.Exponential.dist(rate)
        pm.Censored("t", time, lower=0.5, upper=3.0, observed=t, dims="patient")
    law = stats.expon(scale=1 / 0.4)
    inside = law.logpdf(t)
    expected = np.where(t == 0.5, law.logcdf(0.5), np.where(t == 3.0, law.logsf(3.0), inside))
    return model, {"rate": 0.4}, {"t": (("patient",), expected)}


def potential():
    z = np.array([0.2, 1.1, -0.4])
    with pm.Model(coords={"id": IDS, "extra": [10, 20, 30]}) as model:
        mu = pm.Normal("mu", 0, 5)
        pm.Normal("y", mu, 1.5, observed=Y, dims="id")
        pm.Potential("laplace", -pt.abs(z - mu) - np.log(2), dims="extra")
    return (
        model,
        {"mu": 2.0},
        {
            "y": (("id",), stats.norm.logpdf(Y, 2.0, 1.5)),
            "laplace": (("extra",), stats.laplace.logpdf(z, 2.0)),
        },
    )


POINTWISE = {
    f.__name__: f
    for f in (
        labelled_normal,
        two_way_poisson,
        logistic,
        multinomial_rows,
        mvnormal_rows,
        two_observed,
        censored,
        potential,
    )
}


@pytest.mark.parametrize("case", POINTWISE)
def test_pointwise_is_scipys_log_density_of_each_observation(case):
    model, at, expected = POINTWISE[case]()
    lik = likelihood_of(model)
    found = lik.pointwise(at)
    assert list(found.data_vars) == list(expected)
    for name, (dims, values) in expected.items():
        assert found[name].dims == dims
        np.testing.assert_allclose(found[name], values, rtol=1e-12)
        for dim in dims:
            if dim in model.coords:
                assert found[name][dim].values.tolist() == list(model.coords[dim])
    total = sum(np.sum(values) for _, values in expected.values())
    assert float(lik.log(at)) == pytest.approx(total, rel=1e-12)
    # Several points at once: the dims of the batch come first.
    batch = {
        name: xr.DataArray(
            np.stack([value] * 3), dims=("k", *lik.template[name].dims), coords={"k": [7, 8, 9]}
        )
        for name, value in at.items()
    }
    several = lik.pointwise(batch)
    for name, (dims, values) in expected.items():
        assert several[name].dims == ("k", *dims)
        np.testing.assert_allclose(several[name].sel(k=9), values, rtol=1e-12)


def test_missing_observations_are_no_part_of_the_likelihood():
    data = np.array([4.1, np.nan, 5.9, 7.2, np.nan])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        with warnings.catch_warnings(action="ignore", category=ImputationWarning):
            pm.Normal("y", mu, 1.5, observed=data)
    lik, seen = likelihood_of(model), data[np.isfinite(data)]
    expected = stats.norm.logpdf(seen, 5.0, 1.5)
    assert float(lik.log(mu=5.0)) == pytest.approx(expected.sum(), rel=1e-12)
    assert float(lik.nll(mu=5.0, reduction="mean")) == pytest.approx(-expected.mean(), rel=1e-12)
    (found,) = lik.pointwise(mu=5.0).data_vars.values()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # Draws of a posterior hold the missing values too: they change nothing.
    draws = xr.Dataset(
        {"mu": ("draw", [4.0, 5.0]), "y_unobserved": (("draw", "z"), np.ones((2, 2)))}
    )
    np.testing.assert_allclose(
        lik.log(draws), stats.norm.logpdf(seen, [[4.0], [5.0]], 1.5).sum(1), rtol=1e-12
    )


def test_a_masked_array_is_as_data_with_gaps():
    data = np.ma.masked_equal([3, -1, 0, 5], -1)
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        with warnings.catch_warnings(action="ignore", category=ImputationWarning):
            pm.Poisson("y", rate, observed=data)
    expected = stats.poisson.logpmf([3, 0, 5], 2.5).sum()
    assert float(likelihood_of(model).log(rate=2.5)) == pytest.approx(expected, rel=1e-12)


def test_a_potential_may_count_as_prior():
    model, at, expected = potential()
    lik = likelihood_of(model, potentials="prior")
    assert list(lik.pointwise(at)) == ["y"]
    assert float(lik.log(at)) == pytest.approx(expected["y"][1].sum(), rel=1e-12)


def test_a_data_container_labels_the_observations_and_is_read_when_built():
    with pm.Model(coords={"id": [3, 1, 2]}) as model:
        x = pm.Data("x", [1.0, 2.0, 4.0], dims="id")
        y = pm.Data("obs", [0.5, 1.5, 5.0], dims="id")
        pm.Normal("y", pm.Normal("slope") * x, 2.0, observed=y, dims="id")
    lik = likelihood_of(model)
    expected = stats.norm.logpdf([0.5, 1.5, 5.0], 1.1 * np.array([1.0, 2.0, 4.0]), 2.0)
    found = lik.pointwise(slope=1.1)["y"]
    np.testing.assert_allclose(found.sel(id=[3, 1, 2]), expected, rtol=1e-12)
    with model:
        pm.set_data({"x": [0.0, 0.0, 0.0]})
    assert float(lik.log(slope=1.1)) == pytest.approx(expected.sum(), rel=1e-12)
    again = likelihood_of(model)
    expected = stats.norm.logpdf([0.5, 1.5, 5.0], 0, 2.0).sum()
    assert float(again.log(slope=1.1)) == pytest.approx(expected, rel=1e-12)


# --- As a loss ------------------------------------------------------------------------------------


def test_nll_reductions_are_those_of_a_loss(normal):
    terms = -stats.norm.logpdf(Y, 3.0, 1.2)
    at = {"mu": 3.0, "sigma": 1.2}
    assert float(normal.nll(at)) == pytest.approx(terms.sum(), rel=1e-13)
    assert float(normal.nll(at, reduction="sum")) == pytest.approx(terms.sum(), rel=1e-13)
    assert float(normal.nll(at, reduction="mean")) == pytest.approx(terms.mean(), rel=1e-13)
    none = normal.nll(at, reduction="none")["y"]
    np.testing.assert_allclose(none.sel(id=IDS), terms, rtol=1e-13)


def test_mean_nll_of_logits_is_the_cross_entropy_loss():
    # As torch.nn.CrossEntropyLoss()(logits, target), by hand.
    x, target = RNG.normal(size=(7, 2)), np.array([0, 2, 1, 1, 0, 2, 2])
    weights = RNG.normal(size=(2, 3))
    with pm.Model() as model:
        W = pm.Normal("W", 0, 1, shape=(2, 3))
        pm.Categorical("y", logit_p=x @ W, observed=target)
    lik, logits = likelihood_of(model), x @ weights
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    losses = -log_p[np.arange(7), target]
    assert float(lik.nll(W=weights, reduction="mean")) == pytest.approx(losses.mean(), rel=1e-12)
    np.testing.assert_allclose(lik.nll(W=weights, reduction="none")["y"], losses, rtol=1e-12)
    residual = np.exp(log_p) - np.eye(3)[target]
    np.testing.assert_allclose(lik.gradient(W=weights)["W"], -x.T @ residual, rtol=1e-10)


def test_the_mean_runs_over_the_entries_of_all_observed_variables():
    model, at, expected = two_observed()
    entries = np.concatenate([values for _, values in expected.values()])
    found = likelihood_of(model).nll(at, reduction="mean")
    assert float(found) == pytest.approx(-entries.mean(), rel=1e-12)


def test_rows_of_multivariate_data_are_one_entry_each_of_the_mean():
    model, at, expected = multinomial_rows()
    found = likelihood_of(model).nll(at, reduction="mean")
    assert float(found) == pytest.approx(-expected["y"][1].mean(), rel=1e-12)


# --- Derivatives in the user's units --------------------------------------------------------------


def test_derivatives_of_the_normal_log_likelihood_are_the_textbook_ones(normal):
    mu, sigma = np.array([3.0, 3.7, 1.0]), np.array([1.2, 0.9, 4.0])
    n, r = len(Y), Y - mu[:, None]
    s1, s2 = r.sum(1), (r**2).sum(1)
    gradient = normal.gradient(mu=mu, sigma=sigma)
    np.testing.assert_allclose(gradient["mu"], s1 / sigma**2, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradient["sigma"], -n / sigma + s2 / sigma**3, rtol=1e-12)
    hessian = normal.hessian(mu=mu, sigma=sigma)

    def entry(a, b):
        return hessian.sel(parameter=a, parameter_bis=b).to_numpy()

    np.testing.assert_allclose(entry("mu", "mu"), -n / sigma**2, rtol=1e-12)
    np.testing.assert_allclose(entry("mu", "sigma"), -2 * s1 / sigma**3, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(entry("sigma", "mu"), -2 * s1 / sigma**3, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        entry("sigma", "sigma"), n / sigma**2 - 3 * s2 / sigma**4, rtol=1e-10
    )


GROUP = np.repeat([0, 1, 2], [2, 3, 4])
STEPS = np.array([1.0, 1.6, 2.0, 2.4, 3.1, 4.0, 4.4, 5.2, 3.6])
ROWS = RNG.multivariate_normal([1, -1, 2], [[2, 0.8, 0.2], [0.8, 1, -0.3], [0.2, -0.3, 1.5]], 15)


def with_probability():
    with pm.Model() as model:
        pm.Binomial("y", n=[10, 8], p=pm.Beta("p", 2, 2), observed=[2, 5])
    return model, {"p": 0.3}, lambda p: stats.binom.logpmf([2, 5], [10, 8], p[0]).sum(), np.eye(1)


def with_interval():
    with pm.Model() as model:
        pm.Normal("y", 3, pm.Uniform("s", 0.5, 9.0), observed=Y)
    return model, {"s": 1.4}, lambda s: stats.norm.logpdf(Y, 3, s[0]).sum(), np.eye(1)


def with_softplus():
    with pm.Model() as model:
        s = pm.HalfNormal("s", 2, default_transform=tr.log_exp_m1)
        pm.StudentT("y", nu=4, mu=3, sigma=s, observed=Y)
    return model, {"s": 1.4}, lambda s: stats.t.logpdf(Y, 4, 3, s[0]).sum(), np.eye(1)


def with_simplex():
    y = np.array([5, 9, 2, 4])
    with pm.Model(coords={"party": list("ABCD")}) as model:
        p = pm.Dirichlet("p", np.ones(4), dims="party")
        pm.Multinomial("y", n=20, p=p, observed=y)
    constant = special.gammaln(21) - special.gammaln(y + 1).sum()
    tangents = np.eye(4)[:3] - np.eye(4)[3]
    at = {"p": [0.3, 0.4, 0.1, 0.2]}
    return model, at, lambda p: constant + (y * np.log(p)).sum(), tangents


def with_ordered():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=3, transform=tr.ordered, initval=[1.0, 2.0, 3.0])
        pm.Normal("y", mu[GROUP], 0.5, observed=STEPS)
    at = {"mu": [1.0, 2.2, 4.6]}
    return model, at, lambda mu: stats.norm.logpdf(STEPS, mu[GROUP], 0.5).sum(), np.eye(3)


def with_zero_sum():
    y = RNG.normal(np.arange(4.0), 1.0, size=(5, 4))
    with pm.Model(coords={"day": list("abcd")}) as model:
        mu = pm.Normal("mu", 0, 10)
        effect = pm.ZeroSumNormal("effect", sigma=2, dims="day")
        pm.Normal("y", mu + effect, 1.3, observed=y)
    tangents = np.zeros((4, 5))
    tangents[0, 0] = 1
    tangents[1:, 1:] = np.eye(4)[:3] - np.eye(4)[3]
    at = {"mu": 1.0, "effect": [-1.0, -0.5, 0.25, 1.25]}
    return model, at, lambda x: stats.norm.logpdf(y, x[0] + x[1:], 1.3).sum(), tangents


def with_cholesky():
    with pm.Model() as model:
        chol, _, _ = pm.LKJCholeskyCov("chol", n=3, eta=2, sd_dist=pm.HalfNormal.dist(2, size=3))
        pm.MvNormal("y", np.array([1.0, -1.0, 2.0]), chol=chol, observed=ROWS)

    def log_likelihood(packed):
        factor = np.zeros((3, 3))
        factor[np.tril_indices(3)] = packed
        return stats.multivariate_normal.logpdf(ROWS, [1, -1, 2], factor @ factor.T).sum()

    return model, {"chol": [1.3, 0.4, 0.9, 0.1, -0.2, 1.1]}, log_likelihood, np.eye(6)


DERIVATIVES = {
    f.__name__: f
    for f in (
        with_probability,
        with_interval,
        with_softplus,
        with_simplex,
        with_ordered,
        with_zero_sum,
        with_cholesky,
    )
}


@pytest.mark.parametrize("case", DERIVATIVES)
def test_derivatives_have_no_jacobian_of_a_transform(case):
    """Value, gradient and Hessian against differences of SciPy's density; then of `log` itself.

    The second only along directions that stay in the support (shares that add up to one).
    """
    model, at, oracle, tangents = DERIVATIVES[case]()
    lik = likelihood_of(model)
    names = lik.var_names
    flat = np.concatenate([np.ravel(np.asarray(at[name], float)) for name in names])
    assert float(lik.log(at)) == pytest.approx(oracle(flat), rel=1e-12)

    found = lik.gradient(at)
    gradient = np.concatenate([np.ravel(found[name]) for name in names])
    expected = zoo.jacobian_of(lambda x: [oracle(x)], flat)[0]
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-7)
    hessian = lik.hessian(at)
    np.testing.assert_allclose(hessian, zoo.hessian_of(oracle, flat), rtol=1e-5, atol=1e-5)

    along, curvature = differences(lik, flat, tangents)
    np.testing.assert_allclose(tangents @ gradient, along, rtol=1e-5, atol=1e-5)
    image = tangents @ hessian.to_numpy() @ tangents.T
    np.testing.assert_allclose(image, curvature, rtol=1e-4, atol=1e-4 * np.abs(image).max())


def differences(lik, flat, tangents, h=1e-4):
    """First and second central differences of `lik.log` along some directions, in one batch."""
    n = len(tangents)
    steps = [h * s * row for row in tangents for s in (1, -1)]
    pairs = [(i, j, s, t) for i in range(n) for j in range(n) for s in (1, -1) for t in (1, -1)]
    steps += [h * (s * tangents[i] + t * tangents[j]) for i, j, s, t in pairs]
    points, parts, start = flat + np.array(steps), {}, 0
    for name in lik.var_names:
        shape = lik.template[name].shape
        stop = start + int(np.prod(shape, dtype=int))
        parts[name], start = points[:, start:stop].reshape(-1, *shape), stop
    values = lik.log(parts).to_numpy()
    first = (values[: 2 * n : 2] - values[1 : 2 * n : 2]) / (2 * h)
    signs = np.array([s * t for *_, s, t in pairs])
    second = (signs * values[2 * n :]).reshape(n, n, 4).sum(-1) / (4 * h**2)
    return first, second


def test_derivatives_of_vectors_carry_the_models_labels(shares):
    y, p = np.array([5, 9, 2, 4]), np.array([[0.3, 0.4, 0.1, 0.2], [0.25, 0.25, 0.25, 0.25]])
    batch = xr.DataArray(p, dims=("draw", "party"), coords={"draw": [10, 20]})
    gradient = shares.gradient(p=batch)["p"]
    np.testing.assert_allclose(gradient.sel(draw=20, party="C"), 2 / 0.25, rtol=1e-12)
    np.testing.assert_allclose(gradient.transpose("draw", "party"), y / p, rtol=1e-12)
    hessian = shares.hessian(p=batch)
    for draw, row in zip([10, 20], p, strict=True):
        np.testing.assert_allclose(hessian.sel(draw=draw), -np.diag(y / row**2), rtol=1e-12)
    assert hessian.parameter.values.tolist() == ["p[A]", "p[B]", "p[C]", "p[D]"]
    one = hessian.sel(draw=10, parameter="p[B]", parameter_bis="p[B]")
    assert float(one) == pytest.approx(-9 / 0.4**2)


def test_derivatives_outside_the_support_are_nan_and_others_of_the_batch_are_not(normal):
    gradient = normal.gradient(mu=3.0, sigma=[-1.0, 1.2, -2.0])
    r = Y - 3.0
    np.testing.assert_allclose(gradient["mu"], [np.nan, r.sum() / 1.2**2, np.nan], rtol=1e-12)
    hessian = normal.hessian(mu=3.0, sigma=[-1.0, 1.2, -2.0])
    assert np.isnan(hessian[[0, 2]]).all()
    found = float(hessian[1].sel(parameter="mu", parameter_bis="mu"))
    assert found == pytest.approx(-6 / 1.2**2)


# --- Linear space ---------------------------------------------------------------------------------


def test_the_likelihood_is_the_product_of_the_densities(normal):
    mu, sigma = np.array([3.0, 3.7]), np.array([1.2, 0.9])
    product = [np.prod(stats.norm.pdf(Y, m, s)) for m, s in zip(mu, sigma, strict=True)]
    np.testing.assert_allclose(normal(mu=mu, sigma=sigma), product, rtol=1e-12)


def test_outside_the_support_the_likelihood_is_zero_and_that_is_no_underflow(normal):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = normal(mu=3.0, sigma=[-1.0, 1.2])
    np.testing.assert_allclose(found, [0, np.prod(stats.norm.pdf(Y, 3.0, 1.2))], rtol=1e-12)


@pytest.fixture(scope="module")
def large():
    y = np.random.default_rng(5).normal(3.0, 2.0, size=100_000)
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 10), 2.0, observed=y)
    return likelihood_of(model), y


def test_underflow_is_said_with_the_number_of_observations_and_what_to_use(large):
    lik, y = large
    with pytest.warns(pmlik.UnderflowWarning, match="100000") as caught:
        assert float(lik(mu=3.0)) == 0.0
    assert "`log`" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert float(lik.log(mu=3.0)) == pytest.approx(normal_log(3.0, 2.0, y), rel=1e-12)


def test_a_likelihood_too_large_for_a_number_is_said_too():
    with pm.Model() as model:
        pm.Normal("y", 0, pm.HalfNormal("s"), observed=np.zeros(400))
    with pytest.warns(pmlik.UnderflowWarning, match=r"400 observations overflows.*`log`"):
        assert float(likelihood_of(model)(s=1e-3)) == np.inf


def test_relative_likelihood_of_many_observations_does_not_underflow(large):
    lik, y = large
    mu = y.mean() + np.array([0.0, 0.005, -0.02])
    expected = np.exp(-len(y) * (mu - y.mean()) ** 2 / (2 * 2.0**2))
    np.testing.assert_allclose(lik.relative(mu=mu), expected, rtol=1e-6)


def test_relative_likelihood_is_the_ratio_to_the_one_at_the_mle(normal):
    highest = normal_log(Y.mean(), Y.std())
    mu, sigma = np.array([Y.mean(), 3.0, 2.0, 3.0]), np.array([Y.std(), 1.2, 3.0, -1.0])
    expected = np.exp(normal_log(mu[:3], sigma[:3]) - highest)
    found = normal.relative(mu=mu, sigma=sigma)
    np.testing.assert_allclose(found, [*expected, 0.0], rtol=1e-9)


# --- Where the likelihood is defined --------------------------------------------------------------


def scaled(prior):
    def make():
        with pm.Model() as model:
            pm.Normal("y", 3, prior("s"), observed=Y)
        return model, "s", lambda s: stats.norm.logpdf(Y, 3, s).sum()

    return make


def located(prior):
    def make():
        with pm.Model() as model:
            pm.Normal("y", prior("m"), 2.0, observed=Y)
        return model, "m", lambda m: stats.norm.logpdf(Y, m, 2.0).sum()

    return make


def a_probability(**options):
    def make():
        with pm.Model() as model:
            pm.Binomial("y", n=10, p=pm.Beta("p", 1, 1, **options), observed=2)
        return model, "p", lambda p: stats.binom.logpmf(2, 10, p)

    return make


def a_simplex(**options):
    def make():
        with pm.Model() as model:
            p = pm.Dirichlet("p", np.ones(3), **options)
            pm.Multinomial("y", n=7, p=p, observed=[4, 2, 1])
        return model, "p", lambda p: stats.multinomial.logpmf([4, 2, 1], 7, p)

    return make


def make_ordered():
    model, _, oracle, _ = with_ordered()
    return model, "mu", lambda mu: oracle(np.asarray(mu))


def make_cholesky():
    model, _, oracle, _ = with_cholesky()
    return model, "chol", lambda packed: oracle(np.asarray(packed))


def make_zero_sum():
    y = np.array([0.3, 1.2, -0.9])
    with pm.Model() as model:
        pm.Normal("y", pm.ZeroSumNormal("e", shape=3), 1.0, observed=y)
    return model, "e", lambda e: stats.norm.logpdf(y, e, 1.0).sum()


#: Model, values inside, values outside.
SUPPORTS = {
    "half-normal": (scaled(lambda n: pm.HalfNormal(n, 2)), [0.5, 3.0], [-0.5, -1e-9]),
    "half-normal without transform": (
        scaled(lambda n: pm.HalfNormal(n, 2, default_transform=None)),
        [0.5, 3.0],
        [-0.5, -1e-9],
    ),
    "interval": (scaled(lambda n: pm.Uniform(n, 0.5, 4)), [0.5, 0.51, 3.99, 4.0], [0.49, 4.01, -1]),
    "interval without transform": (
        scaled(lambda n: pm.Uniform(n, 0.5, 4, default_transform=None)),
        [0.5, 0.51, 3.99, 4.0],
        [0.49, 4.01, -1],
    ),
    "location in an interval": (located(lambda n: pm.Uniform(n, -1, 4)), [-1, 0, 4], [-1.01, 4.01]),
    "truncated": (
        located(lambda n: pm.TruncatedNormal(n, 0, 5, lower=1.0, upper=6.0)),
        [1.0, 5.9, 6.0],
        [0.99, 6.01],
    ),
    "truncated below": (
        located(lambda n: pm.TruncatedNormal(n, 0, 5, lower=1.0)),
        [1.0, 500.0],
        [0.99, -500.0],
    ),
    "truncated above": (
        located(lambda n: pm.TruncatedNormal(n, 0, 5, upper=4.0)),
        [-500.0, 4.0],
        [4.01, 500.0],
    ),
    "a user's interval": (
        located(lambda n: pm.Normal(n, 1, 5, transform=tr.Interval(0, None))),
        [0.0, 3.0],
        [-0.01, -3.0],
    ),
    "no border": (located(lambda n: pm.Normal(n, 0, 0.1)), [-90.0, 40.0], [np.inf, -np.inf]),
    "probability": (a_probability(), [0.3, 1e-12], [-0.1, 1.1, 2.0]),
    "probability without transform": (
        a_probability(default_transform=None),
        [0.3, 1e-12],
        [-0.1, 1.1, 2.0],
    ),
    "simplex": (
        a_simplex(),
        [[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]],
        [[0.5, 0.3, 0.3], [0.5, 0.3, 0.1], [0.9, 0.3, -0.2], [1.0, 2.0, 4.0]],
    ),
    "simplex without transform": (
        a_simplex(default_transform=None),
        [[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]],
        [[0.5, 0.3, 0.3], [0.5, 0.3, 0.1], [0.9, 0.3, -0.2], [1.0, 2.0, 4.0]],
    ),
    "ordered": (
        make_ordered,
        [[1.0, 2.0, 3.0], [-5.0, 4.0, 4.5], [1.0, 2.0, 2.0]],
        [[2.0, 1.0, 3.0], [1.0, 3.0, 2.0], [3.0, 2.0, 1.0]],
    ),
    "cholesky": (
        make_cholesky,
        [[1.3, 0.4, 0.9, 0.1, -0.2, 1.1], [0.5, -2.0, 1.9, 3.1, -0.2, 2.1]],
        [[-1.3, 0.4, 0.9, 0.1, -0.2, 1.1], [1.3, 0.4, 0.9, 0.1, -0.2, -1.1]],
    ),
    "sum to zero": (
        make_zero_sum,
        [[0.5, -0.3, -0.2], [1.0, 1.0, -2.0]],
        [[0.5, -0.3, -0.1], [1.0, 0.0, 0.0]],
    ),
}


@pytest.mark.parametrize("case", SUPPORTS)
def test_the_prior_gives_its_support_and_nothing_else(case):
    make, inside, outside = SUPPORTS[case]
    model, name, oracle = make()
    lik = likelihood_of(model)
    expected = [oracle(value) for value in inside]
    found = lik.log({name: [*inside, *outside]})
    np.testing.assert_allclose(found[: len(inside)], expected, rtol=1e-10)
    np.testing.assert_array_equal(found[len(inside) :], -np.inf)
    for value, log in zip(inside, expected, strict=True):
        assert float(lik.log({name: value})) == pytest.approx(log, rel=1e-10)
    for value in outside:
        assert float(lik.log({name: value})) == -np.inf


def test_on_the_closed_border_the_likelihood_is_scipys():
    for observed in (0, 4, 10):
        case = zoo.binomial(y=observed)
        found = likelihood_of(case.model).log(p=[0.0, 1.0])
        np.testing.assert_array_equal(found, stats.binom.logpmf(observed, 10, [0.0, 1.0]))
    with pm.Model() as model:
        pm.Multinomial("y", n=10, p=pm.Dirichlet("p", np.ones(3)), observed=[6, 4, 0])
    found = likelihood_of(model).log(p=[[0.6, 0.4, 0.0], [0.6, 0.0, 0.4], [1.0, 0.0, 0.0]])
    expected = stats.multinomial.logpmf([6, 4, 0], 10, [0.6, 0.4, 0.0])
    np.testing.assert_allclose(found, [expected, -np.inf, -np.inf], rtol=1e-12)


def test_a_likelihood_of_one_at_the_border_is_one():
    found = likelihood_of(zoo.binomial(2, 2, y=0).model)(p=0.0)
    assert float(found) == 1.0


def test_a_rate_of_zero_gives_zero_counts_for_sure():
    with pm.Model() as model:
        pm.Poisson("y", pm.HalfNormal("rate"), observed=[0, 0, 0])
    assert float(likelihood_of(model).log(rate=0.0)) == 0.0


def test_a_scale_of_zero_is_impossible(normal):
    np.testing.assert_array_equal(normal.log(mu=3.0, sigma=[0.0, 0.0]), -np.inf)


def test_outside_the_support_every_observation_is_impossible(normal):
    found = normal.pointwise(mu=3.0, sigma=[-1.0, 1.2])["y"]
    np.testing.assert_array_equal(found[0], -np.inf)
    np.testing.assert_allclose(found[1], stats.norm.logpdf(Y, 3.0, 1.2), rtol=1e-12)


def test_a_density_of_zero_at_the_border_of_the_prior_does_not_move_the_support():
    # Beta(2, 2) is zero at zero; the likelihood does not ask how dense the prior is.
    for transform in ({}, {"default_transform": None}):
        with pm.Model() as model:
            pm.Binomial("y", n=10, p=pm.Beta("p", 2, 2, **transform), observed=0)
        assert float(likelihood_of(model).log(p=0.0)) == 0.0


def test_data_outside_the_support_that_parameters_give_them_are_impossible():
    lik = likelihood_of(zoo.end_of_support().model)
    found = lik.log(top=[2.9, 3.0, 6.0])
    np.testing.assert_allclose(found, [-np.inf, -3 * np.log(3.0), -3 * np.log(6.0)], rtol=1e-12)


# --- Broadcasting ---------------------------------------------------------------------------------


def test_plain_arrays_broadcast_as_numpys(normal):
    mu, sigma = np.linspace(1, 5, 4), np.linspace(0.5, 3, 3)
    expected = normal_log(mu[:, None], sigma)
    np.testing.assert_allclose(normal.log(mu=mu, sigma=1.2), normal_log(mu, 1.2), rtol=1e-12)
    np.testing.assert_allclose(normal.log(mu=mu[:, None], sigma=sigma), expected, rtol=1e-12)
    np.testing.assert_allclose(normal.log(mu=mu, sigma=sigma[:, None]), expected.T, rtol=1e-12)
    found = normal.log(mu=mu[:, None], sigma=[1.2])
    np.testing.assert_allclose(found, normal_log(mu, 1.2)[:, None], rtol=1e-12)
    cube = np.linspace(1, 5, 24).reshape(2, 3, 4)
    np.testing.assert_allclose(normal.log(mu=cube, sigma=2), normal_log(cube, 2.0), rtol=1e-12)


def test_labelled_arrays_broadcast_by_the_names_of_their_dims(normal):
    mu = xr.DataArray([1.0, 3.0, 5.0], dims="m", coords={"m": ["low", "mid", "high"]})
    sigma = xr.DataArray([0.5, 2.0], dims="s")
    found = normal.log(mu=mu, sigma=sigma)
    assert set(found.dims) == {"m", "s"}
    expected = normal_log([[1.0], [3.0], [5.0]], [0.5, 2.0])
    np.testing.assert_allclose(found.transpose("m", "s"), expected, rtol=1e-12)
    assert float(found.sel(m="mid")[1]) == pytest.approx(normal_log(3.0, 2.0), rel=1e-12)
    # The same dim: no cross product.
    both = normal.log(mu=mu, sigma=xr.DataArray([0.5, 2.0, 1.0], dims="m", coords=mu.coords))
    np.testing.assert_allclose(both, normal_log([1.0, 3.0, 5.0], [0.5, 2.0, 1.0]), rtol=1e-12)


def test_vectors_broadcast_over_the_axes_before_their_own(line):
    lik, X, y = line
    beta = RNG.normal(size=(5, 2))
    sigma = np.array([0.5, 1.0, 1.5, 2.0, 2.5])

    def oracle(a, b, s):
        return stats.norm.logpdf(y, a + X @ b, s).sum()

    expected = [oracle(1.0, b, s) for b, s in zip(beta, sigma, strict=True)]
    np.testing.assert_allclose(lik.log(alpha=1.0, beta=beta, sigma=sigma), expected, rtol=1e-12)
    expected = [oracle(1.0, beta[0], s) for s in sigma]
    np.testing.assert_allclose(lik.log(alpha=1.0, beta=beta[0], sigma=sigma), expected, rtol=1e-12)
    expected = [[oracle(a, b, 2.0) for b in beta] for a in (0.0, 1.0, 2.0)]
    found = lik.log(alpha=[[0.0], [1.0], [2.0]], beta=beta, sigma=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = lik.pointwise(alpha=1.0, beta=beta, sigma=sigma)["y"]
    rows = [stats.norm.logpdf(y, 1 + X @ b, s) for b, s in zip(beta, sigma, strict=True)]
    np.testing.assert_allclose(found, rows, rtol=1e-12)


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(3)
    return xr.Dataset(
        {
            "alpha": (("chain", "draw"), rng.normal(1, 0.3, (2, 50))),
            "beta": (("chain", "draw", "term"), rng.normal([2, -1], 0.3, (2, 50, 2))),
            "sigma": (("chain", "draw"), rng.uniform(0.4, 1.2, (2, 50))),
            "sigma_log__": (("chain", "draw"), np.zeros((2, 50))),
        },
        coords={"chain": [0, 1], "draw": np.arange(100, 150), "term": ["age", "dose"]},
    )


def oracle_of_draws(draws, X, y):
    mu = draws["alpha"].values[..., None] + draws["beta"].values @ X.T
    return stats.norm.logpdf(y, mu, draws["sigma"].values[..., None]).sum(-1)


def test_a_whole_posterior_gives_one_labelled_number_a_draw(line, draws):
    lik, X, y = line
    expected = oracle_of_draws(draws, X, y)
    found = lik.log(draws)
    assert found.dims == ("chain", "draw")
    assert found["draw"].values.tolist() == list(range(100, 150))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(lik.log(draws.transpose("term", "draw", "chain")).transpose(
        "chain", "draw"), expected, rtol=1e-12)  # fmt: skip
    node = xr.DataTree.from_dict({"posterior": draws})["posterior"]
    np.testing.assert_allclose(lik.log(node), expected, rtol=1e-12)


def test_labels_in_another_order_are_aligned(line, draws):
    lik, X, y = line
    permuted = draws.sel(term=["dose", "age"])
    assert permuted["beta"].values[0, 0, 0] == draws["beta"].values[0, 0, 1]
    np.testing.assert_allclose(lik.log(permuted), oracle_of_draws(draws, X, y), rtol=1e-12)
    gradient = lik.gradient(permuted.isel(chain=0, draw=0))["beta"]
    at = draws.isel(chain=0, draw=0)
    residual = y - float(at["alpha"]) - X @ at["beta"].values
    expected = X.T @ residual / float(at["sigma"]) ** 2
    np.testing.assert_allclose(gradient.sel(term=["age", "dose"]), expected, rtol=1e-10)


def test_stacked_draws_keep_their_labels(line, draws):
    lik, X, y = line
    stacked = draws.stack(sample=("chain", "draw"))
    expected = oracle_of_draws(draws, X, y)
    found = lik.log(stacked)
    np.testing.assert_allclose(found, expected.ravel(), rtol=1e-12)
    assert found.sel(chain=1, draw=149).item() == pytest.approx(expected[1, -1], rel=1e-12)


def test_values_of_an_estimate_can_be_given_as_they_are(normal):
    # They hold the derived quantity too.
    values = pmlik.find_MLE(zoo.normal().model, progressbar=False).values
    assert float(likelihood_of(zoo.normal().model).log(values)) == pytest.approx(
        zoo.normal().log_likelihood, rel=1e-10
    )
    assert float(normal.log(normal.mle.values)) == pytest.approx(
        normal_log(Y.mean(), Y.std()), rel=1e-10
    )
    assert "cv" in normal.mle.values


def test_derived_and_transformed_names_in_a_mapping_are_ignored(normal):
    values = {"mu": 3.0, "sigma": 1.2, "cv": "whatever", "sigma_log__": 77.0, "y": None}
    assert float(normal.log(values)) == pytest.approx(normal_log(3.0, 1.2), rel=1e-12)


def test_keywords_replace_values_of_the_mapping(normal):
    found = normal.log({"mu": 3.0, "sigma": 1.2}, mu=[2.0, 4.0])
    np.testing.assert_allclose(found, normal_log([2.0, 4.0], 1.2), rtol=1e-12)


def test_any_kind_of_real_number_will_do(normal):
    expected = normal_log(3.0, 2.0)
    for three, two in ((3, 2), (np.int8(3), np.float32(2)), (np.array(3), True + 1)):
        assert float(normal.log(mu=three, sigma=two)) == pytest.approx(expected, rel=1e-12)
    found = normal.log(mu=(2, 3, 4), sigma=xr.DataArray(2))
    np.testing.assert_allclose(found, normal_log([2, 3, 4], 2.0), rtol=1e-12)


def test_the_likelihood_of_an_estimate_is_that_of_its_model(normal):
    mle = normal.mle
    other = pmlik.Likelihood.of(mle, progressbar=False)
    assert other.mle is mle
    assert float(other.log(mu=3.0, sigma=1.2)) == pytest.approx(normal_log(3.0, 1.2), rel=1e-12)
    joint = pmlik.find_MAP(zoo.binomial(2, 2).model, progressbar=False)
    lik = pmlik.Likelihood.of(joint, progressbar=False)
    assert float(lik.relative(p=0.5)) == pytest.approx(
        np.exp(stats.binom.logpmf(2, 10, 0.5) - stats.binom.logpmf(2, 10, 0.2)), rel=1e-9
    )


# --- Surfaces and profiles ------------------------------------------------------------------------


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


# --- Kinds of models ------------------------------------------------------------------------------


def garch_variances(y, omega, alpha, beta):
    """The recursion ``h_t = omega + alpha y_(t-1)^2 + beta h_(t-1)`` from one, as a plain loop."""
    h = [1.0]
    for value in y[:-1]:
        h.append(omega + alpha * value**2 + beta * h[-1])
    return np.array(h)


def garch_logp(value, *parameters):
    omega, alpha, beta = (parameter.squeeze() for parameter in parameters)

    def step(previous, h, omega, alpha, beta):
        return omega + alpha * previous**2 + beta * h

    later = pytensor.scan(
        step,
        sequences=[value[:-1]],
        outputs_info=[pt.ones(())],
        non_sequences=[omega, alpha, beta],
        return_updates=False,
    )
    variance = pt.concatenate([pt.ones(1), later])
    return -0.5 * (pt.log(2 * np.pi * variance) + value**2 / variance)


def test_a_time_series_by_scan_is_evaluated_in_batches():
    y = RNG.normal(0, 1.5, size=40)
    with pm.Model() as model:
        omega = pm.HalfNormal("omega", 2)
        alpha = pm.Uniform("alpha", 0, 1)
        pm.CustomDist("y", omega, alpha, 0.4, logp=garch_logp, observed=y)
    lik = likelihood_of(model)
    omegas, alphas = np.array([1.0, 2.0, 0.3]), np.array([0.2, 0.5, 0.9])
    expected = np.array(
        [
            stats.norm.logpdf(y, 0, np.sqrt(garch_variances(y, o, a, 0.4)))
            for o, a in zip(omegas, alphas, strict=True)
        ]
    )
    found = lik.log(omega=omegas, alpha=alphas)
    np.testing.assert_allclose(found, expected.sum(1), rtol=1e-11)
    np.testing.assert_allclose(lik.pointwise(omega=omegas, alpha=alphas)["y"], expected, rtol=1e-11)
    found = lik.log(omega=[1.0, -1.0, 0.3], alpha=[1.2, 0.5, 0.9])
    np.testing.assert_allclose(found, [-np.inf, -np.inf, expected[2].sum()], rtol=1e-11)

    def oracle(x):
        return [stats.norm.logpdf(y, 0, np.sqrt(garch_variances(y, x[0], x[1], 0.4))).sum()]

    gradient = lik.gradient(omega=omegas, alpha=alphas)
    for i in range(3):
        slope = zoo.jacobian_of(oracle, [omegas[i], alphas[i]])[0]
        np.testing.assert_allclose([gradient["omega"][i], gradient["alpha"][i]], slope, rtol=1e-7)


def test_an_autoregression_is_that_of_its_innovations():
    y = RNG.normal(size=30).cumsum() * 0.3
    with pm.Model(coords={"time": np.arange(30)}) as model:
        rho = pm.Normal("rho", 0, 1, shape=2)
        sigma = pm.HalfNormal("sigma", 1)
        first = pm.Normal.dist(0, 10)
        pm.AR("y", rho, sigma=sigma, constant=True, init_dist=first, observed=y, dims="time")
    lik = likelihood_of(model)
    rhos, sigmas = np.array([[0.1, 0.5], [0.0, 0.9], [-0.3, 0.2]]), np.array([0.5, 1.0, 0.7])

    def oracle(rho, sigma):
        later = stats.norm.logpdf(y[1:], rho[0] + rho[1] * y[:-1], sigma).sum()
        return later + stats.norm.logpdf(y[0], 0, 10)

    expected = [oracle(r, s) for r, s in zip(rhos, sigmas, strict=True)]
    np.testing.assert_allclose(lik.log(rho=rhos, sigma=sigmas), expected, rtol=1e-11)
    assert float(lik.log(rho=rhos[1], sigma=1.0)) == pytest.approx(expected[1], rel=1e-11)
    assert float(lik.pointwise(rho=rhos, sigma=sigmas)["y"].isel(point=2).sum()) == pytest.approx(
        expected[2], rel=1e-11
    )
    assert lik.n_observations == 30


def test_a_gaussian_with_a_covariance_that_depends_on_the_parameters_in_batches():
    rows = ROWS[:, :2]
    with pm.Model() as model:
        rho, s = pm.Uniform("rho", -1, 1), pm.HalfNormal("s", 2)
        cov = s**2 * pt.stacklists([[1.0, rho], [rho, 1.0]])
        pm.MvNormal("y", pm.Normal("mu", 0, 5, shape=2), cov, observed=rows)
    lik = likelihood_of(model)
    rhos, scales = np.array([2.0, 0.3, -0.8, 1.0, 0.0]), np.array([1.0, 1.2, 0.6, 1.0, 2.0])
    mus = RNG.normal(size=(5, 2))

    def oracle(mu, rho, s):
        cov = s**2 * np.array([[1.0, rho], [rho, 1.0]])
        return stats.multivariate_normal.logpdf(rows, mu, cov).sum()

    inside = [1, 2, 4]
    expected = np.full(5, -np.inf)
    expected[inside] = [oracle(mus[i], rhos[i], scales[i]) for i in inside]
    np.testing.assert_allclose(lik.log(rho=rhos, s=scales, mu=mus), expected, rtol=1e-11)
    found = lik.pointwise(rho=rhos, s=scales, mu=mus)["y"].sum("y_dim_0")
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    gradient = lik.gradient(rho=rhos, s=scales, mu=mus)
    assert np.isnan(gradient["mu"][[0, 3]]).all()
    for i in inside:
        slope = zoo.jacobian_of(lambda x, i=i: [oracle(mus[i], x[0], x[1])], [rhos[i], scales[i]])
        found = [gradient["rho"][i], gradient["s"][i]]
        np.testing.assert_allclose(found, slope[0], rtol=1e-6)


def test_a_mixture_in_batches_is_the_sum_over_its_components():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 5, shape=2, transform=tr.ordered, initval=[2.0, 4.0])
        pm.NormalMixture("y", w, mu, sigma=0.8, observed=Y)
    ws, mus = np.array([[0.3, 0.7], [0.9, 0.1]]), np.array([[2.0, 5.0], [3.0, 4.0]])
    dens = (ws[:, None, :] * stats.norm.pdf(Y[:, None], mus[:, None, :], 0.8)).sum(-1)
    found = likelihood_of(model).pointwise(w=ws, mu=mus)["y"]
    np.testing.assert_allclose(found, np.log(dens), rtol=1e-12)


def test_labelled_models_of_pymc_dims_have_the_same_likelihood():
    pmd = pytest.importorskip("pymc.dims")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pm.Model(coords={"group": ["a", "b"], "id": range(6)}) as model:
            group = pmd.Data("g", [0, 0, 0, 1, 1, 1], dims="id")
            mu = pmd.Normal("mu", 0, 5, dims="group")
            sigma = pmd.HalfNormal("sigma", 2)
            seen = pmd.Data("seen", Y, dims="id")
            pmd.Normal("y", mu.isel(group=group), sigma, observed=seen)
        lik = likelihood_of(model)
    mus, sigmas = np.array([[3.0, 4.0], [2.0, 5.0], [0.0, 0.0]]), np.array([1.0, 2.0, -1.0])
    expected = stats.norm.logpdf(Y, np.repeat(mus[:2], 3, axis=1), sigmas[:2, None])
    found = lik.log(mu=mus, sigma=sigmas)
    np.testing.assert_allclose(found, [*expected.sum(1), -np.inf], rtol=1e-12)
    labelled = xr.DataArray([4.0, 3.0], dims="group", coords={"group": ["b", "a"]})
    terms = lik.pointwise(mu=labelled, sigma=1.0)["y"]
    assert terms.dims == ("id",)
    np.testing.assert_allclose(terms, expected[0], rtol=1e-12)
    gradient = lik.gradient(mu=labelled, sigma=1.0)["mu"]
    np.testing.assert_allclose(gradient, [(Y[:3] - 3).sum(), (Y[3:] - 4).sum()], rtol=1e-10)


def test_many_points_in_several_chunks_are_the_same_points():
    y = RNG.normal(size=2000)
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu"), pm.HalfNormal("sigma"), observed=y)
    mu, sigma = RNG.normal(size=3001), RNG.uniform(-0.2, 2, size=3001)
    found = likelihood_of(model).log(mu=mu, sigma=sigma)
    squares = (y**2).sum() - 2 * mu * y.sum() + len(y) * mu**2
    with np.errstate(all="ignore"):
        closed = -len(y) * np.log(np.sqrt(2 * np.pi) * sigma) - squares / (2 * sigma**2)
    np.testing.assert_allclose(found, np.where(sigma > 0, closed, -np.inf), rtol=1e-10)


def test_the_model_is_taken_from_the_context_and_left_as_it_was():
    with pm.Model(coords={"term": ["x", "z"]}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term", initval=[0.5, -0.5])
        s = pm.HalfNormal("s", 2, initval=3.0)
        pm.Normal("y", beta[0] + beta[1] * np.arange(6.0), s, observed=Y)
        pm.Deterministic("ratio", beta[0] / s)
        lik = pmlik.Likelihood(progressbar=False)

    def state():
        point = model.initial_point()
        parts = (model.free_RVs, model.observed_RVs, model.deterministics, model.value_vars)
        names = [[var.name for var in part] for part in parts]
        transforms = [type(t).__name__ for t in model.rvs_to_transforms.values()]
        return names, transforms, dict(model.coords), model.compile_logp()(point), point

    before = state()
    at = {"beta": [1.0, 0.4], "s": 1.5}
    for verb in (lik, lik.log, lik.pointwise, lik.gradient, lik.hessian, lik.relative):
        verb(at)
    lik.surface({"beta[x]": [0.0, 1.0]}, others="profile")
    after = state()
    assert after[:4] == before[:4]
    for name, value in before[4].items():
        np.testing.assert_array_equal(after[4][name], value)
    expected = stats.norm.logpdf(Y, 1 + 0.4 * np.arange(6.0), 1.5).sum()
    assert float(lik.log(at)) == pytest.approx(expected, rel=1e-12)


def test_values_given_are_left_as_they_were(normal):
    mu, sigma = np.array([1.0, 2.0, 3.0]), xr.DataArray([-1.0, 1.0], dims="s")
    mu.flags.writeable = False
    copy = sigma.copy(deep=True)
    normal.gradient(mu=mu, sigma=sigma)
    normal.pointwise(mu=mu, sigma=sigma)
    assert sigma.identical(copy)


# --- Memory ---------------------------------------------------------------------------------------

MEMORY = """
import resource
import numpy as np
import pymc as pm
from scipy import stats
import pmlik

y = np.random.default_rng(1).normal(3.0, 2.0, size=10_000)
with pm.Model() as model:
    pm.Normal("y", pm.Normal("mu", 0, 5), pm.HalfNormal("sigma", 5), observed=y)
lik = pmlik.Likelihood(model, progressbar=False)
lik.log(mu=3.0, sigma=2.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mu, sigma = np.linspace(2, 4, 400), np.linspace(1, 3, 400)
surface = lik.surface(mu=mu, sigma=sigma)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i, j in ((0, 0), (399, 0), (0, 399), (399, 399), (123, 321), (200, 200)):
    expected = stats.norm.logpdf(y, mu[i], sigma[j]).sum()
    np.testing.assert_allclose(surface[i, j], expected, rtol=1e-11)
print(after / 1024, (after - before) / 1024)
"""


@pytest.mark.slow
def test_a_large_surface_of_a_large_model_is_right_and_stays_under_a_gigabyte():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    peak, growth = map(float, run.stdout.split())
    assert growth < 500
    assert peak < 1024  # megabytes, with everything that is imported
