"""Numerics of the integral over latents, on plain callables, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from pmlik.logp.sparsity import SparsityPattern, find_pattern
from pmlik.marginal.blocks import NotAloneError, find_groups
from pmlik.marginal.cholesky import BandPlan, BlockPlan, DensePlan, Plan, SparsePlan, make_plan
from pmlik.marginal.hessian import ColumnwiseHessian
from pmlik.marginal.importance import laplace_error
from pmlik.marginal.laplace import Laplace
from pmlik.marginal.quadrature import Quadrature

RNG = np.random.default_rng(5)


# --- matrices -----------------------------------------------------------------------------


def positive(matrix: np.ndarray) -> np.ndarray:
    both = matrix + matrix.T
    return both + np.eye(len(both)) * (np.abs(both).sum(axis=1).max() + 1)


def chain(n: int) -> np.ndarray:
    return positive(np.diag(RNG.normal(size=n - 1), 1))


def crossed(users: int, items: int, each: int) -> np.ndarray:
    matrix = np.zeros((users + items, users + items))
    for user in range(users):
        matrix[user, users + RNG.choice(items, each, replace=False)] = RNG.normal(size=each)
    return positive(matrix)


def grid(side: int) -> np.ndarray:
    place = np.arange(side**2).reshape(side, side)
    matrix = np.zeros((side**2, side**2))
    matrix[place[1:].ravel(), place[:-1].ravel()] = -1
    matrix[place[:, 1:].ravel(), place[:, :-1].ravel()] = -1
    return positive(matrix)


def arrow(n: int) -> np.ndarray:
    matrix = np.zeros((n, n))
    matrix[0, 1:] = 1
    return positive(matrix)


# Matrix, lengths of the arrays that its rows stand for, most products that it may cost, plan.
MATRICES = {
    "one": (np.array([[2.0]]), [1], 1, BlockPlan),
    "diagonal": (np.diag(RNG.uniform(1, 2, 200)), [200], 1, BlockPlan),
    "pairs": (np.kron(np.eye(40), positive(RNG.normal(size=(2, 2)))), [80], 2, BlockPlan),
    "two_arrays": (np.kron(positive(RNG.normal(size=(2, 2))), np.eye(40)), [40, 40], 2, BlockPlan),
    "chain": (chain(150), [150], 3, BandPlan),
    "crossed": (crossed(200, 15, 4), [200, 15], 30, BlockPlan),
    "arrow": (arrow(90), [1, 89], 2, BlockPlan),
    "grid": (grid(14), [196], 12, BandPlan),
    "dense": (positive(RNG.normal(size=(60, 60))), [60], 60, DensePlan),
}


def read(matrix: np.ndarray, sizes: list[int]) -> tuple[SparsityPattern, np.ndarray, int]:
    calls = []

    def product(v: np.ndarray) -> np.ndarray:
        calls.append(1)
        return matrix @ v

    pattern = find_pattern(product, sizes)
    images = np.array([matrix @ seed for seed in pattern.seeds])
    return pattern, pattern.read(images), len(calls)


@pytest.mark.parametrize("name", MATRICES)
def test_the_pattern_is_the_matrix_nonzeros_and_reads_it_exactly(name) -> None:
    matrix, sizes, most, _ = MATRICES[name]
    pattern, entries, _ = read(matrix, sizes)
    assert len(pattern.rows) == np.count_nonzero(matrix)
    assert pattern.n_colours <= most
    np.testing.assert_array_equal(pattern.to_sparse(entries).toarray(), matrix)


def test_a_block_diagonal_matrix_costs_two_products_a_level_however_large() -> None:
    diagonal = RNG.uniform(1, 2, size=2**14)
    calls = []

    def product(v: np.ndarray) -> np.ndarray:
        calls.append(1)
        return diagonal * v

    pattern = find_pattern(product, [len(diagonal)])
    assert pattern.is_diagonal
    assert pattern.n_colours == 1
    assert len(calls) <= 2 * 14 + 1


@pytest.mark.parametrize("name", MATRICES)
def test_spread_weights_make_the_weighted_sum_of_entries(name) -> None:
    matrix, sizes, _, _ = MATRICES[name]
    pattern, entries, _ = read(matrix, sizes)
    weights = RNG.normal(size=len(entries))
    spread = pattern.spread(weights)
    total = sum(w @ matrix @ v for w, v in zip(spread, pattern.seeds, strict=True))
    assert total == pytest.approx(weights @ entries, rel=1e-10)


@pytest.mark.parametrize("name", MATRICES)
def test_the_plan_suits_the_pattern(name) -> None:
    matrix, sizes, _, plan = MATRICES[name]
    assert isinstance(make_plan(read(matrix, sizes)[0]), plan)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("choose", [make_plan, DensePlan, SparsePlan])
def test_factors_have_determinant_solution_draws_and_inverse_of_numpy(name, choose) -> None:
    matrix, sizes, _, _ = MATRICES[name]
    pattern, entries, _ = read(matrix, sizes)
    plan: Plan = choose(pattern)
    factor, inverse = plan.factorise(entries), np.linalg.inv(matrix)
    assert factor.log_determinant == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-12)
    vector = RNG.normal(size=len(matrix))
    np.testing.assert_allclose(factor.solve(vector), inverse @ vector, atol=1e-12)
    found = factor.inverse_entries()
    np.testing.assert_allclose(found, inverse[pattern.rows, pattern.columns], atol=1e-12)
    root = np.array([factor.root_solve(unit) for unit in np.eye(len(matrix))]).T
    np.testing.assert_allclose(root @ root.T, inverse, atol=1e-12)
    shifted = entries - 2 * np.linalg.eigvalsh(matrix)[-1] * (pattern.rows == pattern.columns)
    assert plan.factorise(shifted) is None
    assert plan.factorise(np.full(len(entries), np.nan)) is None


def test_many_crossed_levels_have_a_border_of_one_factor() -> None:
    first, second = 1900, 1400  # of the larger factor each level meets three of the other
    rows = np.repeat(np.arange(first), 3)
    columns = first + (rows * 7 + np.tile([0, 11, 460], first)) % second
    pairs = np.unique(np.column_stack([rows, columns]), axis=0).T
    diagonal = np.arange(first + second)
    pattern = SparsityPattern.of(
        first + second,
        np.concatenate([pairs[0], pairs[1], diagonal]),
        np.concatenate([pairs[1], pairs[0], diagonal]),
    )
    entries = np.where(pattern.rows == pattern.columns, 9.0, -0.5)
    plan = make_plan(pattern)
    assert isinstance(plan, BlockPlan)
    factor, oracle = plan.factorise(entries), SparsePlan(pattern).factorise(entries)  # SuperLU
    assert factor.log_determinant == pytest.approx(oracle.log_determinant, rel=1e-12)
    found = factor.inverse_entries()
    for row in (0, 1000, first + 3):
        expected = oracle.solve((diagonal == row) * 1.0)
        here = pattern.entries_of_rows(row, row + 1)
        np.testing.assert_allclose(found[here], expected[pattern.columns[here]], atol=1e-13)


# --- integrals ----------------------------------------------------------------------------


class Groups:
    """Poisson or Gaussian counts with an intercept per group; theta is mean, log sd, log noise."""

    def __init__(self, y: np.ndarray, group: np.ndarray, *, gaussian: bool) -> None:
        self.y, self.group, self.gaussian = y, group, gaussian
        self.sizes = [int(group.max()) + 1]

    def _parts(self, theta, u):
        """Log-density of each observation and its derivatives up to the third in the predictor."""
        eta = theta[0] + np.exp(theta[1]) * u[self.group]
        if self.gaussian:
            precision = np.exp(-2 * theta[2])
            rest = self.y - eta
            terms = -0.5 * precision * rest**2 - theta[2] - 0.5 * np.log(2 * np.pi)
            nothing = np.zeros_like(eta)
            return eta, terms, precision * rest, nothing - precision, nothing
        rate = np.exp(eta)
        return eta, stats.poisson.logpmf(self.y, rate), self.y - rate, -rate, -rate

    def _sum(self, values):
        return np.bincount(self.group, values, self.sizes[0])

    def terms(self, theta, points):
        rows = []
        for u in points:
            rows.append(np.concatenate([self._parts(theta, u)[1], stats.norm.logpdf(u)]))
        return np.array(rows)

    def value(self, theta, u):
        return float(self.terms(theta, u[None]).sum())

    def value_and_gradient(self, theta, u):
        _, terms, first, _, _ = self._parts(theta, u)
        sd = np.exp(theta[1])
        gradient = np.zeros(3)
        gradient[0], gradient[1] = first.sum(), sd * (first * u[self.group]).sum()
        if self.gaussian:
            rest = self.y - theta[0] - sd * u[self.group]
            gradient[2] = (np.exp(-2 * theta[2]) * rest**2 - 1).sum()
        value = terms.sum() + stats.norm.logpdf(u).sum()
        return float(value), gradient, sd * self._sum(first) - u

    def product(self, theta, u, v):
        """By differences in theta (five points), exact in u."""
        _, _, _, second, _ = self._parts(theta, u)
        sd = np.exp(theta[1])
        in_u = sd**2 * self._sum(second) * v - v
        return self._in_theta(lambda t: self.value_and_gradient(t, u)[2] @ v, theta), in_u

    def third_derivative_product(self, theta, u, w, v):
        _, _, _, _, third = self._parts(theta, u)
        in_u = np.exp(3 * theta[1]) * self._sum(third) * w * v

        def weighed(t):
            second = self._parts(t, u)[3]
            return np.exp(2 * t[1]) * (self._sum(second) * w * v).sum() - w @ v

        return self._in_theta(weighed, theta), in_u

    @staticmethod
    def _in_theta(f, theta):
        h, gradient = 1e-3, np.zeros(len(theta))
        for i, unit in enumerate(np.eye(len(theta))):
            at = [f(theta + k * h * unit) for k in (-2, -1, 1, 2)]
            gradient[i] = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
        return gradient

    def sparse_hessian(self, pattern):
        return ColumnwiseHessian(self, pattern)

    def weighted_gradient(self, theta, points, weights):
        in_u = []
        for u, weight in zip(points, weights, strict=True):
            ours, own = np.split(weight, [len(self.y)])
            first = self._parts(theta, u)[2]
            in_u.append(np.exp(theta[1]) * self._sum(ours * first) - own * u)

        def total(t):
            return (self.terms(t, points) * weights).sum()

        return self._in_theta(total, theta), np.array(in_u)


GROUP = np.repeat(np.arange(6), 5)
THETA = np.array([0.7, -0.4, 0.2])


def gaussian() -> Groups:
    return Groups(RNG.normal(1, 1, size=30), GROUP, gaussian=True)


def poisson() -> Groups:
    return Groups(RNG.poisson(2.0, size=30).astype(float), GROUP, gaussian=False)


def laplace_of(integrand: Groups) -> Laplace:
    return Laplace(integrand, np.zeros(6), THETA)


def gradient_of(function, theta: np.ndarray) -> np.ndarray:
    return Groups._in_theta(function, theta)


def test_a_gaussian_integral_is_exact() -> None:
    groups = gaussian()
    laplace = laplace_of(groups)
    same = (GROUP[:, None] == GROUP) * np.exp(2 * THETA[1])
    covariance = same + np.eye(30) * np.exp(2 * THETA[2])
    exact = stats.multivariate_normal.logpdf(groups.y, np.full(30, THETA[0]), covariance)
    assert laplace.is_exact
    assert laplace.log_integral(THETA) == pytest.approx(exact, abs=1e-10)


def test_the_conditional_mode_is_the_best_linear_predictor() -> None:
    groups = gaussian()
    mode = laplace_of(groups).mode(THETA)
    shrink = np.exp(2 * THETA[1]) / (np.exp(2 * THETA[1]) + np.exp(2 * THETA[2]) / 5)
    residual = np.bincount(GROUP, groups.y - THETA[0]) / 5
    np.testing.assert_allclose(np.exp(THETA[1]) * mode.u, shrink * residual, rtol=1e-10)


def test_a_poisson_integral_is_laplaces_by_the_textbook() -> None:
    groups = poisson()
    laplace = laplace_of(groups)
    mode = laplace.mode(THETA)
    curvature = -groups.product(THETA, mode.u, np.ones(6))[1]
    value = groups.value(THETA, mode.u) + 3 * np.log(2 * np.pi) - np.log(curvature).sum() / 2
    assert not laplace.is_exact
    assert laplace.log_integral(THETA) == pytest.approx(value, abs=1e-10)
    np.testing.assert_allclose(groups.value_and_gradient(THETA, mode.u)[2], 0, atol=1e-10)


@pytest.mark.parametrize("build", [gaussian, poisson])
def test_the_gradient_is_the_slope_of_the_integral(build) -> None:
    laplace = laplace_of(build())
    value, gradient = laplace.value_and_gradient(THETA)
    assert value == laplace.log_integral(THETA)
    np.testing.assert_allclose(gradient, gradient_of(laplace.log_integral, THETA), atol=1e-8)


def exact_poisson(groups: Groups, theta: np.ndarray) -> float:
    total = 0.0
    for g in range(6):
        y = groups.y[g == GROUP]

        def density(z: float, y: np.ndarray = y) -> float:
            rate = np.exp(theta[0] + np.exp(theta[1]) * z)
            return float(np.exp(stats.poisson.logpmf(y, rate).sum() + stats.norm.logpdf(z)))

        total += np.log(integrate.quad(density, -8, 8, epsabs=1e-30, epsrel=1e-12)[0])
    return total


def test_quadrature_is_the_integral_and_its_gradient_the_slope() -> None:
    groups = poisson()
    laplace = laplace_of(groups)
    fine, coarse = Quadrature(laplace, groups, 20), Quadrature(laplace, groups, 3)
    assert fine.log_integral(THETA) == pytest.approx(exact_poisson(groups, THETA), abs=1e-9)
    for rule in (fine, coarse):  # that of three nodes, too, is its own gradient
        gradient = rule.value_and_gradient(THETA)[1]
        np.testing.assert_allclose(gradient, gradient_of(rule.log_integral, THETA), atol=1e-8)


def test_quadrature_with_one_node_is_laplaces_approximation() -> None:
    groups = poisson()
    laplace = laplace_of(groups)
    one = Quadrature(laplace, groups, 1)
    assert one.log_integral(THETA) == pytest.approx(laplace.log_integral(THETA), abs=1e-10)


def test_importance_sampling_tells_the_error_of_the_approximation() -> None:
    groups = poisson()
    laplace = laplace_of(groups)
    found = laplace_error(laplace, laplace.mode(THETA), 4000, seed=1)
    error = laplace.log_integral(THETA) - exact_poisson(groups, THETA)
    assert found.is_reliable
    assert abs(found.error - error) < 4 * found.mcse
    assert found.mcse < 0.01


def test_importance_sampling_of_a_gaussian_integral_has_no_error() -> None:
    laplace = laplace_of(gaussian())
    found = laplace_error(laplace, laplace.mode(THETA), 100, seed=1)
    assert found.error == pytest.approx(0, abs=1e-10)


def test_terms_are_assigned_to_the_one_latent_that_moves_them() -> None:
    owner = RNG.integers(-1, 37, size=200)

    def terms(u: np.ndarray) -> np.ndarray:
        return np.where(owner < 0, 1.0, np.sin(u[owner]))

    np.testing.assert_array_equal(find_groups(terms, np.zeros(37)), owner)


def test_terms_of_two_latents_are_refused() -> None:
    with pytest.raises(NotAloneError):
        find_groups(lambda u: np.array([u[0] * u[1], u[2]]), np.ones(3))


def test_a_mode_far_from_the_start_is_found() -> None:
    groups = Groups(np.full(30, 400.0), GROUP, gaussian=False)
    theta = np.array([-3.0, 1.5, 0.0])
    mode = Laplace(groups, np.zeros(6), theta).mode(theta)
    np.testing.assert_allclose(groups.value_and_gradient(theta, mode.u)[2], 0, atol=1e-7)


def test_where_the_integrand_has_no_value_the_integral_is_nan() -> None:
    laplace = laplace_of(poisson())
    value, gradient = laplace.value_and_gradient(np.array([np.nan, 0.0, 0.0]))
    assert np.isnan(value)
    assert np.isnan(gradient).all()
