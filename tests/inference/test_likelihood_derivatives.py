"""Gradients and Hessians in the user's units, against closed forms and differences."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from oracles import zoo
from oracles.likelihoods import CONSTRAINED, Y, likelihood_of


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


@pytest.mark.parametrize("case", CONSTRAINED)
def test_derivatives_have_no_jacobian_of_a_transform(case):
    """Value, gradient and Hessian against differences of SciPy's density; then of `log` itself.

    The second only along directions that stay in the support (shares that add up to one).
    """
    model, at, oracle, tangents = CONSTRAINED[case]()
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
