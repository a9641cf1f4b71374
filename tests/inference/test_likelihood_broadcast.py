"""Batches of points: plain arrays, labelled arrays, whole posteriors."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import pmlik
from oracles import zoo
from oracles.likelihoods import Y, likelihood_of, normal_log

RNG = np.random.default_rng(20250611)


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
