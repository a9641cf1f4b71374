"""Latents whose transform cuts the support, imputed entries of data, and thresholds."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from pymc.distributions import transforms
from pymc.logprob.transforms import Transform
from scipy import optimize, special, stats

import pmlik
from oracles import fits
from pmlik.model.roles import read_roles

RNG = np.random.default_rng(5)
Y = RNG.normal(2.0, 1.0, 30)
GROUP = np.arange(30) % 6
fit = partial(fits.fit, n_starts=1)


def log_likelihood(model: pm.Model, **values: object) -> float:
    return float(pmlik.Likelihood(model).log(values))


# --- Restricted latents -------------------------------------------------------------------------

BOUNDS = {
    "above": (transforms.Interval(3.0, None), lambda d: d.logsf(3.0)),
    "below": (transforms.Interval(None, 0.5), lambda d: d.logcdf(0.5)),
    "between": (transforms.Interval(0.5, 3.0), lambda d: np.log(d.cdf(3.0) - d.cdf(0.5))),
    "far": (transforms.Interval(14.0, 15.0), lambda d: np.log(d.sf(14.0) - d.sf(15.0))),
    "positive": (transforms.log, lambda d: d.logsf(0.0)),
    "of the parameters": (
        transforms.Interval(bounds_fn=lambda rng, size, mu, sigma: (mu - sigma, None)),
        lambda d: stats.norm.logsf(-1.0),
    ),
}


@pytest.mark.parametrize("kind", BOUNDS)
def test_the_probability_of_what_a_transform_leaves_is_a_factor(kind) -> None:
    transform, expected = BOUNDS[kind]
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu"), pm.HalfNormal("sigma")
        pm.Normal("x", mu, sigma, shape=4, transform=transform)
        pm.Normal("y", mu, sigma, observed=Y)
    assert read_roles(model).restricted == ("x",)
    found = stats.norm(1.5, 1.3)
    whole = found.logpdf(Y).sum() + 4 * expected(found)
    assert log_likelihood(model, mu=1.5, sigma=1.3) == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize(
    ("name", "scipy", "parameters"),
    [
        ("Gamma", lambda a: stats.gamma(a, scale=0.5), {"beta": 2.0}),
        ("Weibull", lambda a: stats.weibull_min(a, scale=2.0), {"beta": 2.0}),
        ("Exponential", lambda a: stats.expon(scale=1 / a), {}),
    ],
)
def test_survival_times_known_to_lie_above_a_bound_are_censored(name, scipy, parameters) -> None:
    times, bounds = np.array([0.2, 0.7, 1.1, 0.4]), np.array([0.9, 1.5])
    first = "lam" if name == "Exponential" else "alpha"
    above = transforms.Interval(bounds_fn=lambda *_: (pt.constant(bounds), None))
    with pm.Model() as model:
        a = pm.HalfNormal("a", 5)
        given = {first: a, **parameters}
        getattr(pm, name)("late", **given, shape=2, default_transform=above, initval=bounds + 1)
        getattr(pm, name)("t", **given, observed=times)
    mle = fit(model)

    def negative(log_a: float) -> float:
        d = scipy(np.exp(log_a))
        return -(d.logpdf(times).sum() + d.logsf(bounds).sum())

    best = optimize.minimize_scalar(negative, bracket=(-1, 1), tol=1e-12)
    assert float(mle.values["a"]) == pytest.approx(np.exp(best.x), rel=1e-6)
    assert mle.log_likelihood == pytest.approx(-best.fun, abs=1e-9)
    assert [flag.variables for flag in mle.flags if flag.code.name == "RESTRICTED"] == [("late",)]


def test_a_second_transform_acts_on_what_the_first_one_gives() -> None:
    inner = transforms.Interval(-0.2, 0.7)  # of the logarithm
    with pm.Model() as model:
        a = pm.HalfNormal("a", 5)
        pm.Gamma("x", a, 2.0, shape=3, transform=inner, initval=np.ones(3))
        pm.Gamma("y", a, 2.0, observed=[0.5, 1.5, 0.8])
    found = stats.gamma(1.4, scale=0.5)
    part = np.log(found.cdf(np.exp(0.7)) - found.cdf(np.exp(-0.2)))
    whole = found.logpdf([0.5, 1.5, 0.8]).sum() + 3 * part
    assert log_likelihood(model, a=1.4) == pytest.approx(whole, rel=1e-10)


def test_a_transform_that_leaves_everything_restricts_nothing() -> None:
    with pm.Model() as model:
        s, top = pm.HalfNormal("s"), pm.HalfNormal("top")
        pm.HalfNormal("a", s, default_transform=transforms.Interval(0.0, None))
        pm.Uniform("b", 0, top)
        pm.Normal("c", 0, s, transform=transforms.Interval(None, 1.0))
        pm.Beta("d", s, top, default_transform=transforms.Interval(0.0, 1.0))
        pm.Normal("y", s + top, 1.0, observed=Y)
    roles = read_roles(model)
    assert roles.restricted == ("c",)
    assert roles.missing == ("a", "b", "c", "d")


def test_a_missing_response_with_a_transform_is_known_to_lie_there() -> None:
    gaps = Y.copy()
    gaps[:3] = np.nan
    with pm.Model() as model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mu = pm.Normal("mu")
        pm.Normal("y", mu, 1.0, observed=gaps, transform=transforms.Interval(3.0, None))
    whole = stats.norm(1.0).logpdf(Y[3:]).sum() + 3 * stats.norm(1.0).logsf(3.0)
    assert log_likelihood(model, mu=1.0) == pytest.approx(whole, rel=1e-10)


def test_one_that_depends_on_effects_is_integrated_with_them() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu")
        u = pm.Normal("u", mu, 0.7, shape=6)
        pm.Normal("x", u, 1.0, shape=6, transform=transforms.Interval(2.5, None))
        pm.Normal("y", u[GROUP], 1.0, observed=Y)
    roles = read_roles(model)
    assert (roles.latents, roles.restricted) == (("u",), ("x",))
    mle = fit(model, quadrature=31)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    at = float(mle.values["mu"]) + 0.7 * nodes
    rows = [stats.norm.logpdf(Y[g == GROUP][:, None], at).sum(axis=0) for g in range(6)]
    exact = special.logsumexp(
        np.array(rows) + stats.norm.logsf(2.5, at), b=weights / weights.sum(), axis=1
    ).sum()
    assert mle.log_likelihood == pytest.approx(exact, abs=1e-6)


class Shifted(Transform):
    """Leaves what is above one; its bound is not known to PyMC."""

    name, ndim_supp = "shifted", 0

    def forward(self, value, *inputs):
        return pt.log(value - 1.0)

    def backward(self, value, *inputs):
        return 1.0 + pt.exp(value)

    def log_jac_det(self, value, *inputs):
        return value


def test_one_without_a_known_probability_is_integrated_like_one_that_is_used() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu")
        pm.Normal("x", mu, 1.0, shape=3, transform=Shifted(), initval=np.full(3, 2.0))
        pm.Normal("y", mu, 1.0, observed=Y)
    assert read_roles(model).latents == ("x",)
    mle = fit(model, quadrature=41)
    found = stats.norm(float(mle.values["mu"]), 1)
    exact = found.logpdf(Y).sum() + 3 * found.logsf(1.0)
    assert mle.log_likelihood == pytest.approx(exact, abs=5e-3)


def test_one_above_another_is_no_difference_of_distribution_functions() -> None:
    above = transforms.Interval(2.0, None)
    with pm.Model() as model:
        mu = pm.Normal("mu")
        first = pm.Normal("first", mu, 1.0, transform=above, initval=3.0)
        pm.Normal("second", first, 1.0, transform=above, initval=3.0)
        pm.Normal("y", mu, 1.0, observed=Y)
    roles = read_roles(model)
    assert (roles.latents, roles.restricted) == (("first",), ("second",))


# --- Imputed entries ----------------------------------------------------------------------------


def imputed(how: str, width: float = 1.0) -> pm.Model:
    x = RNG.normal(size=30)
    hidden = np.where(np.arange(30) < 4, np.nan, x)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, width, shape=2)
        sigma = pm.HalfNormal("sigma")
        if how == "set":
            gaps = pm.Normal("gaps", 0, 5, shape=4)
            full = pt.set_subtensor(pt.as_tensor(hidden)[:4], gaps)
        elif how == "mask":
            gaps = pm.Normal("gaps", 0, 5, shape=4)
            full = pt.as_tensor(hidden)[np.isnan(hidden)].set(gaps)
        elif how == "where":
            gaps = pm.Normal("gaps", 0, 5, shape=30)
            full = pt.where(np.isnan(hidden), gaps, np.nan_to_num(hidden))
        else:
            gaps = pm.Normal("gaps", 0, 5, shape=4)
            full = pt.concatenate([gaps, hidden[4:]])
        residual = (full - mu[GROUP % 2]) / sigma
        pm.Potential("density", (-0.5 * residual**2 - pt.log(sigma)).sum())
        pm.Normal("y", full, 1.0, observed=Y)
    return model


@pytest.mark.parametrize("how", ["set", "mask", "where", "joined"])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_imputed_entries_are_latents_and_means_parameters_for_any_width(how, width) -> None:
    roles = read_roles(imputed(how, width))
    assert (roles.latents, roles.gaps) == (("gaps",), ("gaps",))
    assert roles.parameters == ("mu", "sigma")


def test_entries_beside_fixed_ones_of_a_design_are_parameters() -> None:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=5)
        loading = pm.Normal("loading", 0, 1, shape=2)
        effects = pt.set_subtensor(pt.zeros(6)[1:], b)
        matrix = pt.set_subtensor(pt.eye(6)[0, 1:3], loading)
        knots = pt.concatenate([[0.0, 0.3, 1.0], pm.Beta("knot", 1, 1, shape=2)])
        pm.Normal("y", (matrix @ effects)[GROUP] + knots.sum(), 1.0, observed=Y)
    assert read_roles(model).latents == ()


@pytest.mark.parametrize("width", [1.0, 2.0])
@pytest.mark.parametrize("how", ["divided", "multiplied", "solved"])
def test_a_mean_that_shares_a_scale_with_the_data_is_no_effect(how, width) -> None:
    table = Y.reshape(10, 3)
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, width, shape=3)
        sigma = pm.HalfNormal("sigma", shape=3)
        if how == "solved":
            root = pt.diag(sigma)
            z = pt.linalg.solve_triangular(root, table.T, lower=True).T
            z = z - pt.linalg.solve_triangular(root, mu, lower=True)
        else:
            factor = 1 / sigma if how == "multiplied" else None
            z = table / sigma - mu / sigma if factor is None else table * factor - mu * factor
        pm.Potential("density", (-0.5 * z**2 - pt.log(sigma)).sum())
    assert read_roles(model).latents == ()


# --- Thresholds ---------------------------------------------------------------------------------

RATING = np.digitize(RNG.normal(size=30), [-0.8, 0.0, 0.8])


def ordinal(how: str) -> pm.Model:
    ordered = {"transform": transforms.ordered, "initval": [-1.0, 0.0, 1.0]}
    with pm.Model() as model:
        s, u = pm.HalfNormal("s"), pm.Normal("u", 0, pm.HalfNormal("t"), shape=6)
        eta = u[GROUP]
        if how == "whitened":
            cut = pm.Normal("cut", 0, 1, shape=3, **ordered) * s
        elif how == "gaps":
            cut = pm.Normal("first") + pt.cumsum(pm.Exponential("cut", 1 / s, shape=3))
        elif how == "groups":
            start = np.tile(ordered["initval"], (2, 1))
            cut = pm.Normal("cut", 0, s, shape=(2, 3), transform=transforms.ordered, initval=start)
            cut = cut[GROUP % 2]
        else:
            cut = pm.Normal("cut", 0, s, shape=3, **ordered)
        if how == "probit":
            pm.OrderedProbit("y", eta=eta, cutpoints=cut, observed=RATING)
        elif how == "counts":
            counts = RNG.multinomial(8, np.full(4, 0.25), size=30)
            pm.OrderedMultinomial("y", eta=eta, cutpoints=cut, n=8, observed=counts)
        elif how == "potential":
            dist = pm.OrderedLogistic.dist(eta=eta, cutpoints=cut)
            pm.Potential("y", pm.logp(dist, RATING))
        else:
            pm.OrderedLogistic("y", eta=eta, cutpoints=cut, observed=RATING)
    return model


@pytest.mark.parametrize(
    "how", ["logit", "probit", "counts", "potential", "whitened", "gaps", "groups"]
)
def test_thresholds_are_parameters_and_effects_on_the_same_outcome_latents(how) -> None:
    assert read_roles(ordinal(how)).latents == ("u",)


def test_effects_on_unordered_categories_and_ordered_effects_stay_latents() -> None:
    with pm.Model() as model:
        effects = pm.Normal("effects", 0, pm.HalfNormal("s"), shape=(6, 3))
        shares = pm.Dirichlet("shares", pm.HalfNormal("c", shape=3), shape=(2, 3))
        level = pm.Normal(
            "level", 0, pm.HalfNormal("t"), shape=2, transform=transforms.ordered, initval=[0, 1]
        )
        pm.Categorical("y", p=pt.special.softmax(effects[GROUP], axis=-1), observed=RATING % 3)
        pm.Categorical("z", p=shares[GROUP % 2], observed=RATING % 3)
        pm.Normal("w", level[GROUP % 2], 1.0, observed=Y)
    assert read_roles(model).latents == ("effects", "shares", "level")
