"""Second derivatives term by term, against closed forms and differences."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from scipy import optimize, sparse, stats

import pmlik
from pmlik.inference.options import FitOptions
from pmlik.inference.prepare import prepare
from pmlik.logp.sparsity import SparsityPattern, colour_apart
from pmlik.marginal.hessian import TermwiseHessian, find_incidence
from pmlik.marginal.laplace import Laplace

RNG = np.random.default_rng(5)
FIRST = np.repeat(np.arange(12), 7)
SECOND = np.tile(np.arange(7), 12)


def crossed(*, gaussian: bool) -> pm.Model:
    """Two grouping factors, every level of one with every level of the other."""
    rng = np.random.default_rng(8)
    eta = 1 + 0.8 * rng.normal(size=12)[FIRST] + 0.5 * rng.normal(size=7)[SECOND]
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10)
        sd = pm.HalfNormal("sd", 5, shape=2)
        one = pm.Normal("one", 0, sd[0], shape=12)
        other = pm.Normal("other", 0, sd[1], shape=7)
        mean = b + one[FIRST] + other[SECOND]
        if gaussian:
            s = pm.HalfNormal("s", 5)
            pm.Normal("y", mean, s, observed=eta + 0.6 * rng.normal(size=len(eta)))
        else:
            pm.Poisson("y", pm.math.exp(mean), observed=rng.poisson(np.exp(eta)))
    return model


def likelihood(model: pm.Model):
    return prepare(FitOptions(model=model, random_seed=1)).problem.likelihood


def test_crossed_effects_are_a_multivariate_normal() -> None:
    model = crossed(gaussian=True)
    y = model["y"].owner and model.rvs_to_values[model["y"]].data
    blocks = [np.equal.outer(group, group).astype(float) for group in (FIRST, SECOND)]

    def nll(theta: np.ndarray) -> float:
        a, b, s = np.exp(2 * theta[1:])
        cov = a * blocks[0] + b * blocks[1] + s * np.eye(len(y))
        return -stats.multivariate_normal(np.full(len(y), theta[0]), cov).logpdf(y)

    best = optimize.minimize(nll, np.zeros(4), method="BFGS", options={"gtol": 1e-7})
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    ours = [float(mle.values["b"]), *mle.values["sd"].values, float(mle.values["s"])]
    assert mle.log_likelihood == pytest.approx(-best.fun, abs=1e-8)
    np.testing.assert_allclose(ours, [best.x[0], *np.exp(best.x[1:])], rtol=2e-5)


def test_many_crossing_levels_cost_three_second_derivatives() -> None:
    laplace = likelihood(crossed(gaussian=False)).laplace
    assert isinstance(laplace.hessian, TermwiseHessian)
    assert laplace.hessian.incidence.pairs == [(0, 0), (0, 1), (1, 1)]


def test_entries_and_their_gradient_are_differences() -> None:
    density = likelihood(crossed(gaussian=False))
    laplace, f = density.laplace, density.integrand
    theta, u = np.array([0.8, -0.3, -0.6]), RNG.normal(size=19)
    _, _, _, entries = laplace.hessian.value_gradient_hessian(theta, u)
    dense = laplace.pattern.to_sparse(entries).toarray()
    h = 1e-5
    for i, unit in enumerate(np.eye(19)):
        ahead, behind = (f.value_and_gradient(theta, u + s * h * unit)[2] for s in (1, -1))
        np.testing.assert_allclose(dense[i], (ahead - behind) / (2 * h), atol=1e-6)
    weights = RNG.normal(size=len(entries))
    in_theta, in_u = laplace.hessian.weighted_hessian_gradient(theta, u, weights)

    def weighed(theta: np.ndarray, u: np.ndarray) -> float:
        return float(weights @ laplace.hessian.value_gradient_hessian(theta, u)[3])

    for gradient, at in ((in_theta, 0), (in_u, 1)):
        for i, unit in enumerate(h * np.eye(len(gradient))):
            moved = [(theta + s * unit, u) if at == 0 else (theta, u + s * unit) for s in (1, -1)]
            difference = (weighed(*moved[0]) - weighed(*moved[1])) / (2 * h)
            assert gradient[i] == pytest.approx(difference, abs=2e-5)


def test_terms_in_large_units_are_differentiated_one_by_one_too() -> None:
    rng = np.random.default_rng(8)
    year = np.linspace(1960, 2020, len(FIRST))
    with pm.Model() as model:
        slope, sd = pm.Normal("slope", 0, 1), pm.HalfNormal("sd", 5)
        effects = pm.Normal("effects", 0, sd, shape=19)
        eta = slope * year + effects[FIRST] + effects[12 + SECOND]
        pm.Poisson("y", pm.math.exp(eta), observed=rng.poisson(2, len(year)))
    assert isinstance(likelihood(model).laplace.hessian, TermwiseHessian)


def test_later_starts_cost_few_gradients_and_no_second_derivatives() -> None:
    mle = pmlik.find_MLE(crossed(gaussian=False), random_seed=1, progressbar=False)
    assert [end.optimum for end in mle.certificate.searches] == [0, 0, 0]
    assert mle.certificate.n_gradients < 300


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("gaussian", [True, False])
def test_a_misread_pattern_is_read_again_or_given_up(gaussian, again, monkeypatch) -> None:
    theta = np.array([0.8, -0.3, -0.6, -0.5][: 4 if gaussian else 3])
    misread, untouched = (likelihood(crossed(gaussian=gaussian)).laplace for _ in range(2))
    diagonal = SparsityPattern.of(19, np.arange(19), np.arange(19))
    misread.use_pattern(diagonal)
    if not again:
        monkeypatch.setattr(Laplace, "_read_pattern", lambda *_, **__: diagonal)
    value, gradient = misread.value_and_gradient(theta)
    expected = untouched.value_and_gradient(theta)
    assert value == pytest.approx(expected[0], abs=1e-10)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-8)
    assert misread.pattern.is_full is not again
    assert again is np.array_equal(misread.pattern.rows, untouched.pattern.rows)


def test_values_by_a_misread_pattern_are_forgotten(monkeypatch) -> None:
    theta, other = np.array([0.8, -0.3, -0.6]), np.array([0.7, -0.3, -0.6])
    misread, untouched = (likelihood(crossed(gaussian=False)) for _ in range(2))
    pattern = untouched.laplace.pattern
    kept = (pattern.rows == 0) == (pattern.columns == 0)  # without entries of the first level
    few = SparsityPattern.of(19, pattern.rows[kept], pattern.columns[kept])
    misread.laplace.use_pattern(few)
    monkeypatch.setattr(misread.laplace, "_n_modes", 2)  # the next check is at the fourth mode
    value = untouched.value_and_gradient(theta)[0]
    assert abs(misread.value_and_gradient(theta)[0] - value) > 0.01
    misread.value_and_gradient(other)
    assert misread.value_and_gradient(theta)[0] == pytest.approx(value, abs=1e-10)


def test_an_incidence_that_cannot_be_told_is_not_guessed() -> None:
    everywhere = SparsityPattern.of(9, *(side.ravel() for side in np.indices((9, 9))))
    matrix = RNG.normal(size=(4, 9))
    assert find_incidence(lambda v: matrix @ v, everywhere) is None  # nine latents a term
    diagonal = SparsityPattern.of(
        9, np.arange(9), np.arange(9)
    )  # terms that merely add their latents
    assert find_incidence(lambda v: matrix @ v, diagonal) is None


def test_columns_of_a_row_are_apart() -> None:
    hub = np.zeros((30, 31))
    hub[np.arange(30), np.arange(30)] = hub[:, 30] = 1.0
    colours = colour_apart(sparse.csr_array(hub))
    assert colours.max() == 1  # a star needs two colours, not one a node
    assert (colours[:30] != colours[30]).all()
