"""Identities that hold for every model, whatever its numbers."""

from __future__ import annotations

import warnings

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymc.distributions import transforms as tr
from scipy import stats

import pmlik
from oracles import zoo
from oracles.fits import fit

# An example is a model to build, so there are few of them, the same every time.
few = settings(
    max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
samples = st.lists(st.floats(0.1, 50, allow_subnormal=False), min_size=4, max_size=9, unique=True)


def map_of(model):
    return pmlik.find_MAP(model, progressbar=False)


# --- Reparametrisation ----------------------------------------------------------------------------


def by_rate(y):
    with pm.Model() as model:
        rate = pm.Exponential("rate", 1.0)
        pm.Exponential("y", rate, observed=y)
    return model


def by_log_mean(y):
    """The same likelihood and, by its Jacobian, the same prior as a distribution."""
    with pm.Model() as model:
        log_mean = pm.Flat("log_mean")
        rate = pm.Deterministic("rate", pt.exp(-log_mean))
        pm.Potential("prior", -rate - log_mean)
        pm.Exponential("y", rate, observed=y)
    return model


@few
@given(samples)
def test_the_mle_is_equivariant_under_reparametrisation(y):
    y = np.array(y)
    mle = 1 / y.mean()
    natural = fit(by_rate(y))
    other = pmlik.find_MLE(by_log_mean(y), potentials="prior", progressbar=False)
    zoo.assert_values(natural.values, {"rate": mle})
    zoo.assert_values(other.values, {"log_mean": np.log(y.mean()), "rate": mle})
    # The standard error goes along by the delta method: 1 / sqrt(n) on the log scale.
    zoo.assert_values(natural.std_error, {"rate": mle / np.sqrt(len(y))})
    zoo.assert_values(other.std_error, {"log_mean": len(y) ** -0.5, "rate": mle / len(y) ** 0.5})
    assert natural.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-10)


def test_the_map_is_not_equivariant():
    y = np.array([0.3, 1.2, 2.5])
    natural = map_of(by_rate(y))
    other = pmlik.find_MAP(by_log_mean(y), potentials="prior", progressbar=False)
    total = y.sum() + 1
    zoo.assert_values(natural.values, {"rate": 3 / total})
    zoo.assert_values(other.values, {"rate": 4 / total})  # the Jacobian is worth one observation


@few
@given(samples, st.floats(0.01, 100))
def test_the_mle_goes_along_with_a_change_of_units(y, factor):
    y = np.array(y)

    def model(data):
        with pm.Model() as model:
            mu, sigma = pm.Normal("mu", 0, 100), pm.HalfNormal("sigma", 100)
            pm.Normal("y", mu, sigma, observed=data)
        return model

    found = fit(model(factor * y))
    centre, sd = factor * y.mean(), factor * y.std()
    zoo.assert_values(found.values, {"mu": centre, "sigma": sd}, rtol=1e-6)
    se = {"mu": sd / np.sqrt(len(y)), "sigma": sd / np.sqrt(2 * len(y))}
    zoo.assert_values(found.std_error, se, rtol=1e-6)


# --- Priors ---------------------------------------------------------------------------------------


def gamma_model(y, *, flat, copies=1):
    with pm.Model() as model:
        shape = pm.HalfFlat("shape") if flat else pm.HalfNormal("shape", 2)
        rate = pm.HalfFlat("rate") if flat else pm.HalfNormal("rate", 2)
        pm.Gamma("y", shape, rate, observed=np.tile(y, copies))
    return model


GAMMA = np.array([1.3, 2.2, 0.7, 1.9, 3.4, 1.1, 2.6])


@pytest.fixture(scope="module")
def gamma():
    return fit(gamma_model(GAMMA, flat=False))


def test_a_flat_prior_makes_the_map_the_mle(gamma):
    found = pmlik.compare(
        gamma_model(GAMMA, flat=True), sample=False, progressbar=False, extras=False
    )
    for estimate in (found.mle, found.map):
        zoo.assert_values(estimate.values, gamma.values)
        zoo.assert_values(estimate.std_error, gamma.std_error)
    np.testing.assert_allclose(found.map.covariance, gamma.covariance, rtol=1e-6)
    assert found.map.log_prior == 0


def test_the_mle_does_not_depend_on_the_prior_density(gamma):
    zoo.assert_values(fit(gamma_model(GAMMA, flat=True)).values, gamma.values)


def test_data_twice_give_the_same_mle_and_standard_errors_over_root_two(gamma):
    twice = fit(gamma_model(GAMMA, flat=False, copies=2))
    zoo.assert_values(twice.values, gamma.values)
    zoo.assert_values(twice.std_error, gamma.std_error / np.sqrt(2))
    assert twice.log_likelihood == pytest.approx(2 * gamma.log_likelihood, rel=1e-10)
    assert twice.n_observations == 2 * gamma.n_observations


def test_the_map_nears_the_mle_as_data_accumulate(gamma):
    gaps = [
        float(abs(map_of(gamma_model(GAMMA, flat=False, copies=k)).values - gamma.values)["shape"])
        for k in (1, 100)
    ]
    assert gaps[1] < gaps[0] / 20


def test_information_of_the_logit_is_the_likelihoods_and_not_that_with_the_jacobian():
    # Binomial(10), y = 2, uniform prior: n p (1 - p) = 1.6; with the Jacobian it would be 1.92.
    case = zoo.binomial()
    with case.model:
        p = case.model["p"]
        pm.Deterministic("logit", pt.log(p / (1 - p)))
    found = pmlik.compare(case.model, sample=False, progressbar=False, extras=False)
    for estimate in (found.mle, found.map):
        assert float(estimate.std_error["logit"]) ** -2 == pytest.approx(1.6, rel=1e-9)
        assert float(estimate.std_error["p"]) == pytest.approx(np.sqrt(0.2 * 0.8 / 10), rel=1e-9)


# --- Densities ------------------------------------------------------------------------------------


def several():
    """One model with most kinds of transforms, and start values of every kind."""
    rng = np.random.default_rng(5)
    coords = {"arm": ["x", "y", "z"], "obs": np.arange(100, 109)}
    with pm.Model(coords=coords) as model:
        sigma = pm.HalfNormal("sigma", 2, initval=1.25)
        share = pm.Dirichlet("share", np.array([2.0, 3.0, 4.0]), dims="arm")
        effect = pm.ZeroSumNormal("effect", sigma=1.5, dims="arm", initval=[0.5, -0.2, -0.3])
        alpha = pm.Normal("alpha", 1, 3, initval="prior")
        bound = pm.Uniform("bound", -1, 4, initval=pt.as_tensor(0.5) + 0.25)
        group = pm.Data("group", np.arange(9) % 3, dims="obs")
        mean = pm.Deterministic("mean", alpha + effect[group], dims="obs")
        pm.Normal("y", mean, sigma, observed=rng.normal(size=9), dims="obs")
        pm.Multinomial("votes", n=np.int64(20), p=share, observed=np.array([5, 7, 8]), dims="arm")
        pm.Normal("other", bound, 1.0, observed=np.array([1.0, 1.5, 0.9]))
        pm.Potential("extra", -0.1 * bound**2)
    return model


def description(model):
    """All that a verb could change in a model, as far as it can be compared."""
    return {
        "names": list(model.named_vars),
        "variables": [id(var) for var in model.named_vars.values()],
        "initvals": [(rv.name, id(v)) for rv, v in model.rvs_to_initial_values.items()],
        "transforms": [(rv.name, id(t)) for rv, t in model.rvs_to_transforms.items()],
        "values": [(rv.name, id(v)) for rv, v in model.rvs_to_values.items()],
        "dims": dict(model.named_vars_to_dims),
        "coords": dict(model.coords),
        "free": [id(rv) for rv in model.free_RVs],
        "observed": [id(rv) for rv in model.observed_RVs],
        "potentials": [id(rv) for rv in model.potentials],
        "data": [(d.name, d.get_value().tolist()) for d in model.data_vars],
        "type": type(model),
        "attributes": sorted(vars(model)),
    }


@pytest.fixture(scope="module")
def everything():
    model = several()
    before = description(model)
    found = pmlik.compare(model, sample=False, progressbar=False, extras=False, random_seed=1)
    derived = pmlik.likelihood_model(model)
    return model, before, found, derived


def test_no_verb_changes_the_model(everything):
    model, before, _, _ = everything
    assert description(model) == before
    fit(model)
    map_of(model)
    assert description(model) == before


def scipy_parts(estimate):
    at = {name: array.to_numpy() for name, array in estimate.values.data_vars.items()}
    rng = np.random.default_rng(5)
    likelihood = (
        stats.norm.logpdf(
            rng.normal(size=9), at["alpha"] + at["effect"][np.arange(9) % 3], at["sigma"]
        ).sum()
        + stats.multinomial.logpmf([5, 7, 8], 20, at["share"])
        + stats.norm.logpdf([1.0, 1.5, 0.9], at["bound"], 1).sum()
        - 0.1 * at["bound"] ** 2
    )
    # The density of a sum-to-zero vector is on its plane of two dimensions.
    plane = -((at["effect"] ** 2).sum()) / (2 * 1.5**2) - 2 * np.log(1.5 * np.sqrt(2 * np.pi))
    prior = (
        stats.halfnorm.logpdf(at["sigma"], scale=2)
        + stats.dirichlet.logpdf(at["share"] / at["share"].sum(), [2.0, 3.0, 4.0])
        + plane
        + stats.norm.logpdf(at["alpha"], 1, 3)
        - np.log(5)
    )
    return float(likelihood), float(prior)


def test_log_likelihood_and_log_prior_are_two_numbers_that_scipy_gives_too(everything):
    _, _, found, _ = everything
    for estimate in (found.mle, found.map):
        likelihood, prior = scipy_parts(estimate)
        assert estimate.log_likelihood == pytest.approx(likelihood, rel=1e-9)
        assert estimate.log_prior == pytest.approx(prior, rel=1e-7)
        assert estimate.nll == -estimate.log_likelihood


def test_no_estimate_has_a_higher_value_of_the_others_objective(everything):
    _, _, found, _ = everything
    mle, mode = found.mle, found.map
    assert mle.log_likelihood > mode.log_likelihood
    assert mode.log_likelihood + mode.log_prior > mle.log_likelihood + mle.log_prior


def unconstrained(model, estimate):
    point = {}
    for rv in model.free_RVs:
        value = pt.as_tensor(estimate.values[rv.name].to_numpy())
        transform = model.rvs_to_transforms[rv]
        forward = value if transform is None else transform.forward(value, *rv.owner.inputs)
        point[model.rvs_to_values[rv].name] = np.asarray(forward.eval())
    return point


def slope_by_differences(function, point):
    """Central differences of PyMC's own density in every unconstrained coordinate."""
    slopes = []
    for name, value in point.items():
        for at in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                moved = np.array(value, float)
                moved[at] += sign * 1e-5
                ends.append(float(function({**point, name: moved})))
            slopes.append((ends[0] - ends[1]) / 2e-5)
    return np.array(slopes)


def test_the_gradient_of_pymcs_own_density_is_zero_at_each_optimum(everything):
    model, _, found, _ = everything
    terms = [*model.observed_RVs, *model.potentials]
    likelihood = model.compile_logp(vars=terms, jacobian=False, mode="FAST_COMPILE")
    joint = model.compile_logp(jacobian=False, mode="FAST_COMPILE")
    for function, estimate in ((likelihood, found.mle), (joint, found.map)):
        slopes = slope_by_differences(function, unconstrained(model, estimate))
        # Certified within 1e-6 SE: a slope of 1e-6 times the root of the information.
        np.testing.assert_allclose(slopes, 0, atol=5e-6)


@pytest.mark.parametrize("potentials", ["likelihood", "prior"])
def test_likelihood_model_has_the_observed_log_density_and_no_jacobian(everything, potentials):
    model, _, _, derived = everything
    if potentials == "prior":
        derived = pmlik.likelihood_model(model, potentials="prior")
    rng = np.random.default_rng(9)
    point = {k: rng.normal(size=np.shape(v)) for k, v in model.initial_point(0).items()}
    terms = model.observed_RVs + (model.potentials if potentials == "likelihood" else [])
    expected = model.compile_logp(vars=terms, jacobian=False, mode="FAST_COMPILE")(point)
    for jacobian in (True, False):
        found = derived.compile_logp(jacobian=jacobian, mode="FAST_COMPILE")(point)
        assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_likelihood_model_has_the_gradient_of_the_observed_log_density(everything):
    model, _, _, derived = everything
    point = {k: np.full(np.shape(v), 0.3) for k, v in model.initial_point(0).items()}
    gradient = derived.compile_dlogp(mode="FAST_COMPILE")(point)
    terms = [*model.observed_RVs, *model.potentials]
    function = model.compile_logp(vars=terms, jacobian=False, mode="FAST_COMPILE")
    np.testing.assert_allclose(
        gradient, slope_by_differences(function, point), rtol=1e-6, atol=1e-6
    )


def test_likelihood_model_keeps_names_order_dims_coords_and_transforms(everything):
    model, _, _, derived = everything
    for attribute in ("free_RVs", "observed_RVs", "deterministics", "potentials", "data_vars"):
        names = [[var.name for var in getattr(m, attribute)] for m in (model, derived)]
        assert names[0] == names[1]
    assert set(model.named_vars) == set(derived.named_vars)
    dims = [
        {name: tuple(axes) for name, axes in m.named_vars_to_dims.items()} for m in (model, derived)
    ]
    assert dims[0] == dims[1]  # PyMC 6.3 clones tuples to lists
    assert {k: list(v) for k, v in model.coords.items()} == {
        k: list(v) for k, v in derived.coords.items()
    }
    transforms = [[type(m.rvs_to_transforms[rv]) for rv in m.free_RVs] for m in (model, derived)]
    assert transforms[0] == transforms[1]
    assert [v.name for v in model.value_vars] == [v.name for v in derived.value_vars]


def test_initial_values_of_every_kind_survive_in_the_likelihood_model(everything):
    model, _, _, derived = everything
    # "prior" draws anew for each model, so that one is compared by its strategy.
    ours, theirs = derived.initial_point(0), model.initial_point(0)
    assert list(ours) == list(theirs)
    for name in ours:
        if not name.startswith("alpha"):
            np.testing.assert_allclose(ours[name], theirs[name], err_msg=name)
    assert derived.rvs_to_initial_values[derived["alpha"]] == "prior"
    assert float(np.exp(ours["sigma_log__"])) == pytest.approx(1.25)
    bound = -1 + 5 / (1 + np.exp(-ours["bound_interval__"]))
    assert float(bound) == pytest.approx(0.75)


def test_the_likelihood_model_holds_a_copy_of_the_data():
    with pm.Model() as model:
        x = pm.Data("x", np.array([1.0, 2.0, 6.0]))
        pm.Normal("y", pm.Normal("mu", 0, 1), 1, observed=x)
    derived = pmlik.likelihood_model(model)
    derived.set_data("x", np.array([0.0, 0.0]))
    assert model["x"].get_value().tolist() == [1.0, 2.0, 6.0]


def test_find_map_of_the_likelihood_model_is_the_mle():
    case = zoo.normal_mean()
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        found = pm.find_MAP(model=pmlik.likelihood_model(case.model), progressbar=False)
    assert float(found["mu"]) == pytest.approx(case.mle["mu"], rel=1e-5)


def test_an_initial_value_picks_the_mode_near_it():
    for start in (-4.0, 4.0):
        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 10, initval=start)
            pm.Cauchy("y", mu, 1, observed=np.array([-3.0, 3.0]))
        found = fit(model)
        assert float(found.values["mu"]) == pytest.approx(np.sign(start) * np.sqrt(8), rel=1e-7)


def test_a_model_with_a_prefixed_submodel_keeps_its_names():
    with pm.Model(name="outer") as model:
        mu = pm.Normal("mu", 0, 10, transform=tr.Interval(-50, 50))
        pm.Normal("y", mu, 1, observed=np.array([1.0, 4.0]))
    found = fit(model)
    zoo.assert_values(found.values, {"outer::mu": 2.5})
    zoo.assert_values(found.std_error, {"outer::mu": 2**-0.5})


# --- Scale ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_units_that_are_far_from_one_change_nothing(size):
    y = size * np.array([1.0, 2.5, 2.0, 4.0])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, size)
        sigma = pm.HalfNormal("sigma", size)
        pm.Normal("y", mu, sigma, observed=y)
    found = fit(model)
    assert found.certificate.converged
    zoo.assert_values(found.values, {"mu": y.mean(), "sigma": y.std()}, rtol=1e-6, atol=0)
    se = {"mu": y.std() / 2, "sigma": y.std() / np.sqrt(8)}
    zoo.assert_values(found.std_error, se, rtol=1e-6, atol=0)


def test_regressors_of_very_different_sizes_are_least_squares():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 3)) * [1e-4, 1.0, 1e5] + [0, 1, 2e5]
    y = X @ [1e4, 1.0, 1e-5] + rng.normal(size=30)
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, np.array([1e5, 10.0, 1e-3]), shape=3)
        pm.Normal("y", X @ beta, 1, observed=y)
    found = fit(model)
    assert found.certificate.converged
    covariance = np.linalg.inv(X.T @ X)
    zoo.assert_values(found.values, {"beta": np.linalg.lstsq(X, y)[0]}, rtol=1e-6, atol=0)
    zoo.assert_values(found.std_error, {"beta": np.sqrt(np.diag(covariance))}, rtol=1e-6, atol=0)


def test_many_observations_keep_their_precision():
    y = np.random.default_rng(4).normal(3.0, 2.0, size=100_000)
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu", 0, 10), pm.HalfNormal("sigma", 5)
        pm.Normal("y", mu, sigma, observed=y)
    found = fit(model)
    assert found.certificate.converged
    zoo.assert_values(found.values, {"mu": y.mean(), "sigma": y.std()}, rtol=1e-8)
    assert found.log_likelihood == pytest.approx(
        stats.norm.logpdf(y, y.mean(), y.std()).sum(), rel=1e-11
    )
