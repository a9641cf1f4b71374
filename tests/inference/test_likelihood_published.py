"""The log-likelihood and its curvature at published estimates."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.likelihoods import likelihood_of
from oracles.reference_models import CASES, truth


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
