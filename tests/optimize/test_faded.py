"""Many groups of which one has no count: its logarithm goes to minus infinity, the others stay."""

from __future__ import annotations

import numpy as np
import pymc as pm
from scipy import stats

import pmlik
from pmlik.optimize.affine import AffineObjective

N, EMPTY = 2100, 17


def test_an_empty_group_among_thousands_is_named_after_few_evaluations() -> None:
    counts = np.random.default_rng(0).poisson(4.0, (N, 3))
    counts[counts.sum(axis=1) == 0, 0] = 1
    counts[EMPTY] = 0
    with pm.Model(coords={"group": [f"g{i}" for i in range(N)]}) as model:
        rate = pm.Normal("rate", 0, 10, dims="group")
        pm.Poisson("y", pm.math.exp(rate[:, None]), observed=counts)
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
    (flag,) = [flag for flag in mle.flags if flag.code.name == "AT_INFINITY"]
    assert flag.variables == (f"rate[g{EMPTY}]",)
    means = counts.mean(axis=1)  # the closed form
    others = np.arange(N) != EMPTY
    np.testing.assert_allclose(mle.values["rate"][others], np.log(means[others]), atol=1e-6)
    assert mle.status["rate"][EMPTY] == pmlik.Status.MINUS_INFINITY
    exact = stats.poisson.logpmf(counts, means[:, None]).sum()
    np.testing.assert_allclose(mle.log_likelihood, exact, rtol=1e-9)
    assert mle.certificate.n_gradients < 1000
    assert mle.certificate.n_products < 10_000


class _Quadratic:
    """A quadratic of four coordinates, as far as a part of it needs one."""

    hessian_matrix = np.diag([1.0, 2.0, 3.0, 4.0]) + 0.1
    active = np.ones(4, bool)

    def value_and_gradient(self, z):
        return float(z @ self.hessian_matrix @ z / 2), self.hessian_matrix @ z

    def hessian(self, z):
        return self.hessian_matrix

    def product(self, z, v):
        return self.hessian_matrix @ v

    def lift(self, z):
        return z


def test_free_coordinates_are_the_same_as_the_columns_of_a_matrix() -> None:
    whole, origin = _Quadratic(), np.array([1.0, -1.0, 0.5, 2.0])
    fixed = np.array([False, True, False, True])
    some = AffineObjective.fix(whole, origin, fixed)
    same = AffineObjective(whole, origin, np.eye(4)[:, ~fixed])
    u, v = np.array([0.3, -0.2]), np.array([1.0, 2.0])
    assert some.size == same.size == 2
    calls = {"place": (u,), "lift": (u,), "hessian": (u,), "product": (u, v)}
    for name, arguments in calls.items():
        np.testing.assert_array_equal(
            getattr(some, name)(*arguments), getattr(same, name)(*arguments)
        )
    for one, other in zip(some.value_and_gradient(u), same.value_and_gradient(u), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(some.basis, same.basis)
