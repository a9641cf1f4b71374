"""Discrete latents are summed out by pymc-extras; without it the error says so."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pymc as pm
import pytest

import pmlik

needs_extras = pytest.mark.skipif(
    find_spec("pymc_extras") is None, reason="pymc-extras is not installed"
)
RNG = np.random.default_rng(0)
Y = np.concatenate([RNG.normal(-2, 1, 40), RNG.normal(2, 0.7, 60)])


def priors():
    w = pm.Beta("w", 2, 2)
    mu = pm.Normal("mu", 0, 3, dims="component", initval=[-1.0, 1.0])
    return w, mu, pm.HalfNormal("sigma", 2, dims="component")


COORDS = {"component": ["low", "high"], "row": np.arange(100)}


def labelled(*, categorical: bool = False) -> pm.Model:
    with pm.Model(coords=COORDS) as model:
        w, mu, sigma = priors()
        if categorical:
            z = pm.Categorical("z", pm.math.stack([1 - w, w]), dims="row")
        else:
            z = pm.Bernoulli("z", w, dims="row")
        pm.Deterministic("mean", mu[z], dims="row")
        pm.Deterministic("gap", mu[1] - mu[0])
        pm.Normal("y", mu[z], sigma[z], observed=Y, dims="row")
    return model


def mixture() -> pm.Model:
    with pm.Model(coords=COORDS) as model:
        w, mu, sigma = priors()
        pm.Deterministic("gap", mu[1] - mu[0])
        pm.NormalMixture("y", [1 - w, w], mu, sigma, observed=Y, dims="row")
    return model


@needs_extras
@pytest.mark.parametrize("categorical", [True, False])
@pytest.mark.parametrize("find", [pmlik.find_MLE, pmlik.find_MAP])
def test_a_mixture_by_its_labels_is_the_mixture(find, categorical) -> None:
    model = labelled(categorical=categorical)
    one = find(model, random_seed=1, progressbar=False, n_starts=1)
    other = find(mixture(), random_seed=1, progressbar=False, n_starts=1)
    for name in ("w", "mu", "sigma", "gap"):
        np.testing.assert_allclose(one.values[name], other.values[name], rtol=1e-6)
        np.testing.assert_allclose(one.std_error[name], other.std_error[name], rtol=1e-5)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-9)
    assert one.n_observations == 100
    assert one.values["mu"].dims == ("component",)
    assert {f.variables for f in one.flags if f.code.name == "SUMMED_OUT"} == {("z",)}
    assert [rv.name for rv in model.free_RVs] == ["w", "mu", "sigma", "z"]  # it is not changed


@needs_extras
def test_the_terms_and_the_robust_errors_are_those_of_the_mixture() -> None:
    one, other = (pmlik.Likelihood(m, progressbar=False) for m in (labelled(), mixture()))
    at = {"w": 0.55, "mu": [-1.8, 2.1], "sigma": [0.9, 0.8]}
    np.testing.assert_allclose(one.pointwise(at)["y"], other.pointwise(at)["y"], rtol=1e-10)
    fits = [
        pmlik.find_MLE(m, random_seed=1, progressbar=False, n_starts=1, covariance_kind="robust")
        for m in (labelled(), mixture())
    ]
    np.testing.assert_allclose(fits[0].std_error["mu"], fits[1].std_error["mu"], rtol=1e-5)


@needs_extras
def test_a_simulated_data_set_is_drawn_from_the_mixture() -> None:
    mle = pmlik.find_MLE(labelled(), random_seed=1, progressbar=False, n_starts=1)
    spread = pmlik.bootstrap(mle, 60, random_seed=1, progressbar=False)
    assert spread.n_failed == 0
    ratio = spread.std_error["mu"] / mle.std_error["mu"]
    np.testing.assert_allclose(ratio, 1, atol=4 / np.sqrt(2 * 60))


@needs_extras
def test_a_hidden_markov_chain_has_its_forward_likelihood() -> None:
    from pymc_extras.distributions import DiscreteMarkovChain

    y = RNG.normal([0, 0, 3, 3, 3, 0, 0, 3], 1)
    with pm.Model() as model:
        p, mu = pm.Beta("p", 2, 2), pm.Normal("mu", 2, 2)
        P = pm.math.stack([pm.math.stack([1 - p, p]), pm.math.stack([p, 1 - p])])
        start = pm.Categorical.dist([0.5, 0.5])
        state = DiscreteMarkovChain("state", P=P, init_dist=start, shape=8)
        pm.Normal("y", mu * state, 1.0, observed=y)
    lik = pmlik.Likelihood(model, progressbar=False)
    from scipy import stats

    switch, alpha = np.array([[0.7, 0.3], [0.3, 0.7]]), np.array([0.5, 0.5])
    for t, seen in enumerate(y):
        alpha = (alpha if t == 0 else alpha @ switch) * stats.norm.pdf(seen, [0, 2.5], 1)
    assert float(lik.log(p=0.3, mu=2.5)) == pytest.approx(np.log(alpha.sum()), abs=1e-9)


@needs_extras
def test_what_cannot_be_summed_out_is_named() -> None:
    with pm.Model() as model:
        k = pm.Poisson("k", pm.Exponential("rate", 1))
        pm.Normal("y", k, 1.0, observed=[1.0, 2.0])
    with pytest.raises(pmlik.ModelError, match=r"^k: discrete free variable .*can't sum out"):
        pmlik.find_MLE(model, progressbar=False)


def test_without_pymc_extras_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("pmlik.model.discrete.find_spec", lambda name: None)
    with pytest.raises(pmlik.ModelError, match=r"^z: discrete free variable.*pymc-extras"):
        pmlik.find_MLE(labelled(), progressbar=False)
