"""Second derivatives: steps, signs and variances against NumPy's linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmlik._differences import hessian_from_products
from pmlik._typing import EigenvalueSigns
from pmlik.optimize.hessian import HessianEigen, HessianOperator, variances_by_solves


def positive_definite(n: int, seed: int, condition: float = 100.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return (q * np.geomspace(1, condition, n)) @ q.T


def with_eigenvalues(*values: float, seed: int = 0) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))
    matrix = (q * np.array(values)) @ q.T
    return (matrix + matrix.T) / 2


def rescaled(matrix: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return matrix * np.outer(scales, scales)


sizes, seeds = st.integers(1, 12), st.integers(0, 10_000)
WIDE = np.geomspace(1e-8, 1e8, 6)


# --- dense ------------------------------------------------------------------------------------


@given(sizes, seeds)
def test_a_hessian_is_rebuilt_from_its_products(n, seed):
    matrix = positive_definite(n, seed)
    rebuilt = hessian_from_products(lambda v: matrix @ v, n)
    np.testing.assert_allclose(rebuilt, matrix, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(rebuilt, rebuilt.T)


def test_a_hessian_that_is_not_quite_symmetric_is_made_so():
    skew = np.array([[2.0, 1.0], [1.2, 3.0]])
    np.testing.assert_allclose(
        hessian_from_products(lambda v: skew @ v, 2), [[2.0, 1.1], [1.1, 3.0]]
    )


def test_the_products_are_of_unit_vectors_and_one_a_coordinate():
    seen = []

    def product(v):
        seen.append(v.copy())
        return v

    hessian_from_products(product, 3)
    np.testing.assert_array_equal(seen, np.eye(3))


@given(sizes, seeds)
def test_the_newton_step_solves_the_linear_system(n, seed):
    matrix = positive_definite(n, seed)
    gradient = np.random.default_rng(seed).normal(size=n)
    step = HessianEigen.of(matrix).newton_step(gradient)
    np.testing.assert_allclose(step, -np.linalg.solve(matrix, gradient), rtol=1e-9, atol=1e-12)


@given(sizes, seeds)
def test_variances_are_the_diagonal_of_the_inverse(n, seed):
    matrix = positive_definite(n, seed)
    found = HessianEigen.of(matrix).variances(lambda v: v, n_root=len(matrix))
    inverse = np.linalg.inv(matrix)
    np.testing.assert_allclose(found.variance, np.diag(inverse), rtol=1e-9)
    np.testing.assert_allclose(found.root @ found.root.T, inverse, rtol=1e-7, atol=1e-12)
    assert not found.unidentified.any()


@given(sizes, st.integers(1, 8), seeds)
def test_variances_of_functions_are_by_the_delta_method(n, m, seed):
    matrix = positive_definite(n, seed)
    jacobian = np.random.default_rng(seed).normal(size=(m, n))
    found = HessianEigen.of(matrix).variances(lambda v: jacobian @ v)
    expected = np.diag(jacobian @ np.linalg.inv(matrix) @ jacobian.T)
    np.testing.assert_allclose(found.variance, expected, rtol=1e-9)
    assert found.root is None


def test_a_constant_function_has_no_variance_and_is_identified():
    found = HessianEigen.of(np.eye(2)).variances(lambda v: 0 * v, n_root=2)
    np.testing.assert_array_equal(found.variance, 0)
    assert not found.unidentified.any()


@pytest.mark.parametrize(
    ("values", "signs"),
    [
        ((1.0, 2.0, 3.0), (3, 0, 0)),
        ((1.0, 0.0, 3.0), (2, 1, 0)),
        ((1.0, -2.0, 3.0), (2, 0, 1)),
        ((-1.0, -2.0, -3.0), (0, 0, 3)),
        ((0.0, 0.0, 0.0), (0, 3, 0)),
        ((1.0, 1e-9, 1.0), (3, 0, 0)),
        ((1.0, -1e-9, 1.0), (2, 0, 1)),
    ],
)
def test_signs_count_the_eigenvalues(values, signs):
    curvature = HessianEigen.of(with_eigenvalues(*values))
    assert curvature.signs == EigenvalueSigns(*signs)


@given(st.lists(st.sampled_from([-2.0, 0.0, 3.0]), min_size=1, max_size=6), seeds)
def test_signs_are_those_of_any_symmetric_matrix_whatever_the_units(values, seed):
    # Sylvester's law of inertia: rescaling coordinates keeps the signs.
    matrix = with_eigenvalues(*values, seed=seed)
    scales = np.random.default_rng(seed).uniform(0.01, 100, size=len(values))
    expected = (values.count(3.0), values.count(0.0), values.count(-2.0))
    assert HessianEigen.of(rescaled(matrix, scales)).signs == EigenvalueSigns(*expected)


@given(seeds)
def test_badly_scaled_coordinates_lose_no_digits(seed):
    matrix = positive_definite(6, seed, condition=50.0)
    scales = np.random.default_rng(seed).permutation(WIDE)
    curvature = HessianEigen.of(rescaled(matrix, scales))
    assert curvature.signs == EigenvalueSigns(6, 0, 0)
    exact = np.diag(np.linalg.inv(matrix)) / scales**2
    found = curvature.variances(lambda v: v, n_root=len(matrix))
    np.testing.assert_allclose(found.variance, exact, rtol=1e-9)
    gradient = scales * np.ones(6)
    step = -np.linalg.solve(matrix, np.ones(6)) / scales
    np.testing.assert_allclose(curvature.newton_step(gradient), step, rtol=1e-8)


@given(seeds)
def test_a_singular_matrix_that_is_badly_scaled_is_still_seen_as_singular(seed):
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(20, 6))
    design[:, 5] = design[:, 0] + design[:, 1]
    matrix = rescaled(design.T @ design, rng.permutation(WIDE))
    assert HessianEigen.of(matrix).signs == EigenvalueSigns(5, 1, 0)


def collinear(scales: np.ndarray) -> np.ndarray:
    """Information on (a, b, c) of data that see a + b and c alone."""
    design = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0, -0.5]])
    return rescaled(design.T @ design, scales)


@pytest.mark.parametrize("scales", [np.ones(3), np.array([1e-6, 1e6, 1e3])])
def test_of_a_singular_matrix_the_estimable_functions_are_right_and_others_have_none(scales):
    curvature = HessianEigen.of(collinear(scales))
    functions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 2], [1, -1, 0.0]])
    jacobian = functions * scales
    found = curvature.variances(lambda v: jacobian @ v, n_root=len(functions))
    assert found.unidentified.tolist() == [True, True, False, False, False, True]
    reduced = np.linalg.inv(
        np.array([[3.0, 0.5], [0.5, 1.25]])  # of (a + b, c)
    )
    for row, weights in ((2, [0, 1]), (3, [1, 0]), (4, [1, 2])):
        assert found.variance[row] == pytest.approx(weights @ reduced @ np.array(weights))
    assert np.isnan(found.variance[[0, 1, 5]]).all()


def test_the_newton_step_of_a_singular_matrix_stays_out_of_the_flat_direction():
    curvature = HessianEigen.of(collinear(np.ones(3)))
    gradient = collinear(np.ones(3)) @ np.array([1.0, 2.0, 3.0])
    step = curvature.newton_step(gradient)
    np.testing.assert_allclose(collinear(np.ones(3)) @ step, -gradient, atol=1e-12)
    assert step[0] == pytest.approx(step[1])


def test_a_saddle_is_left_along_its_negative_direction():
    matrix = with_eigenvalues(3.0, 2.0, -1.0)
    direction = HessianEigen.of(matrix).steepest_negative()
    assert direction @ matrix @ direction < 0


def test_the_newton_step_of_a_saddle_climbs_nowhere_along_the_negative_direction():
    matrix = np.diag([2.0, -1.0])
    np.testing.assert_allclose(HessianEigen.of(matrix).newton_step(np.ones(2)), [-0.5, 0.0])


def test_a_value_moved_by_negative_curvature_has_no_variance():
    found = HessianEigen.of(np.diag([2.0, -1.0])).variances(lambda v: v)
    assert found.variance[0] == pytest.approx(0.5)
    assert np.isnan(found.variance[1])


def test_empty_rows_are_those_that_are_exactly_zero():
    matrix = np.diag([1.0, 0.0, 1e-300])
    curvature = HessianEigen.of(matrix)
    assert curvature.empty.tolist() == [False, True, False]
    assert curvature.scale[1] == 1.0


def test_a_matrix_without_coordinates_is_no_error():
    curvature = HessianEigen.of(np.zeros((0, 0)))
    assert curvature.signs == EigenvalueSigns(0, 0, 0)
    assert curvature.newton_step(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_entries_that_are_not_finite_are_refused(wrong):
    with pytest.raises(ValueError, match="infs or NaNs"):
        HessianEigen.of(np.array([[1.0, wrong], [wrong, 1.0]]))


def test_extreme_diagonals_do_not_overflow():
    matrix = np.diag([1e-280, 1.0, 1e280])
    found = HessianEigen.of(matrix).variances(lambda v: v)
    np.testing.assert_allclose(found.variance, [1e280, 1.0, 1e-280], rtol=1e-12)


def test_a_zero_diagonal_with_other_entries_is_a_saddle():
    # x * y has no curvature along either axis, and is a saddle.
    assert HessianEigen.of(np.array([[0.0, 1.0], [1.0, 0.0]])).signs == EigenvalueSigns(1, 0, 1)


@pytest.mark.parametrize("units", [1e-6, 1.0, 1e6])
def test_a_saddle_with_a_zero_on_its_diagonal_is_seen_in_any_units(units):
    matrix = rescaled(np.array([[2.0, 1.0], [1.0, 0.0]]), np.array([1.0, units]))
    assert HessianEigen.of(matrix).signs == EigenvalueSigns(1, 0, 1)


# --- iterative --------------------------------------------------------------------------------


def iterative(matrix: np.ndarray, **kwargs: int) -> HessianOperator:
    return HessianOperator.probe(lambda v: matrix @ v, len(matrix), **kwargs)


@settings(max_examples=50)
@given(st.integers(1, 40), seeds)
def test_conjugate_gradients_solve_as_numpy_does(n, seed):
    matrix = positive_definite(n, seed)
    vector = np.random.default_rng(seed).normal(size=n)
    solution = iterative(matrix).solve(vector)
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, vector), rtol=1e-6, atol=1e-9)


def test_the_diagonal_is_found_exactly_for_a_diagonal_matrix():
    diagonal = np.array([1.0, 40.0, 3e-2, 7.0])
    found = iterative(np.diag(diagonal), rounds=1)
    np.testing.assert_allclose(found.scale, diagonal**-0.5)


@pytest.mark.parametrize("spread", [1.0, 1e2, 1e4])
def test_conjugate_gradients_manage_coordinates_in_unlike_units(spread):
    n = 60
    rng = np.random.default_rng(1)
    scales = rng.permutation(np.geomspace(1 / spread, spread, n))
    matrix = rescaled(positive_definite(n, 2, condition=10.0), scales)
    exact = np.linalg.solve(rescaled(matrix, 1 / scales), np.ones(n)) / scales
    solution = iterative(matrix).solve(scales * np.ones(n))
    assert solution is not None
    np.testing.assert_allclose(solution, exact, rtol=1e-4)


@pytest.mark.parametrize("negative", [-1.0, -100.0])
def test_an_indefinite_matrix_gives_none(negative):
    matrix = with_eigenvalues(1.0, 2.0, 3.0, negative)
    assert iterative(matrix).solve(np.ones(4)) is None


def test_a_negative_definite_matrix_gives_none():
    assert iterative(-np.eye(3)).solve(np.ones(3)) is None


def test_a_singular_matrix_gives_none_where_the_vector_is_not_in_its_range():
    assert iterative(collinear(np.ones(3))).solve(np.array([1.0, 0.0, 0.0])) is None


def test_a_singular_matrix_gives_an_answer_where_the_vector_is_in_its_range():
    vector = np.array([1.0, 1.0, 0.0])
    solution = iterative(collinear(np.ones(3))).solve(vector)
    assert solution is not None
    dense = HessianEigen.of(collinear(np.ones(3))).variances(lambda v: v[:1] + v[1:2])
    assert vector @ solution == pytest.approx(dense.variance[0])


def test_products_that_are_not_finite_give_none():
    curvature = HessianOperator(lambda v: v * np.nan, np.ones(3), np.zeros(3, bool))
    assert curvature.solve(np.ones(3)) is None


def test_the_solution_for_zero_is_zero():
    np.testing.assert_array_equal(iterative(np.eye(3)).solve(np.zeros(3)), np.zeros(3))


def test_rows_without_any_entry_are_found_by_probing():
    matrix = positive_definite(5, 3)
    matrix[2, :] = matrix[:, 2] = 0
    assert iterative(matrix).empty.tolist() == [False, False, True, False, False]


def test_variances_by_solves_are_the_dense_ones():
    matrix = positive_definite(30, 5)
    jacobian = np.random.default_rng(5).normal(size=(8, 30))
    dense = HessianEigen.of(matrix).variances(lambda v: jacobian @ v)
    found = variances_by_solves(iterative(matrix), lambda i: jacobian[i], range(8), 8)
    np.testing.assert_allclose(found.variance, dense.variance, rtol=1e-8)
    assert not found.unidentified.any()
    assert found.root is None


def test_variances_by_solves_are_of_the_asked_values_only():
    asked = []

    def row(i):
        asked.append(i)
        return np.eye(3)[i]

    found = variances_by_solves(iterative(np.diag([1.0, 2.0, 4.0])), row, [2, 0], 5)
    assert asked == [2, 0]
    np.testing.assert_allclose(found.variance, [1.0, np.nan, 0.25, np.nan, np.nan])
    assert not found.unidentified.any()


def test_a_solve_that_fails_gives_no_variance_and_no_verdict_on_identification():
    found = variances_by_solves(iterative(collinear(np.ones(3))), lambda i: np.eye(3)[i], [0, 2], 3)
    assert found.unidentified.tolist() == [False, False, False]
    assert np.isnan(found.variance[0])


def test_a_large_system_is_solved_without_a_matrix():
    n = 20_000
    diagonal = np.linspace(1, 5, n)

    def product(v):
        image = diagonal * v
        image[:-1] -= 0.4 * v[1:]
        image[1:] -= 0.4 * v[:-1]
        return image

    solution = HessianOperator.probe(product, n).solve(np.ones(n))
    np.testing.assert_allclose(product(solution), np.ones(n), rtol=1e-6)


def test_a_large_hessian_of_zeros_is_not_indefinite():
    operator = HessianOperator.probe(np.zeros_like, 50)
    assert not operator.is_indefinite
    assert operator.empty.all()
