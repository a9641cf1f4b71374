"""The straight function has the digits of PyTensor's interpreter, operation by operation."""

from __future__ import annotations

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.conditional.op import ifelse
from pytensor.link.basic import PerformLinker

import pmlik
from oracles.generated import make_model
from pmlik.inference.prepare import prepared_of
from pmlik.logp.compile import compile_mode
from pmlik.logp.straight import StraightLinker

x, A, n = pt.dvector("x"), pt.dmatrix("A"), pt.lscalar("n")
POINTS = [np.random.default_rng(i).normal(size=3) for i in range(3)]
MATRICES = [np.random.default_rng(i).normal(size=(3, 3)) for i in range(3)]

GRAPHS = {
    "sums of several": x + x**2 + pt.exp(x) + 1,
    "products of several": x * pt.sin(x) * (x + 2) * 3,
    "powers": x**4 + x**3 + x**-2 + pt.abs(x) ** 2.5,
    "integers": pt.true_div(n, 3) + n * x + pt.cast(x > 0, "int8") * 2,
    "switches": pt.switch(x > 0, x, pt.log1p(-x)) + pt.switch(n > 1, 1.0, 2.0),
    "axes": A.T[:, None, :] * x[None, :, None] + A.dimshuffle(1, "x", 0),
    "axes that go": A[:1].sum(axis=0)[None].squeeze(0) + A.sum(axis=0, keepdims=True)[0],
    "reductions": A.sum() + A.max(axis=1) + A.prod(axis=0) + pt.all(A > -9) + x.sum(axis=-1),
    "reductions of integers": (A > 0).sum(axis=0) + pt.cast(A, "float32").sum(),
    "elements": x[0] + A[-1, ::2].sum() + A[n, 1:] + x[n],
    "picked": A[[0, 2, 2]].sum(axis=0) + x[pt.argsort(x)],
    "filled": pt.set_subtensor(x[1], 5.0) + pt.inc_subtensor(A[0, 1:], x[:2]).sum(),
    "linear algebra": pt.dot(A, x) + pt.linalg.solve(A, x) + pt.linalg.slogdet(A)[1],
    "special functions": pt.gammaln(pt.abs(x)) + pt.sigmoid(x) + pt.softplus(x) + pt.erf(x),
    "an input itself": x,
    "a number": pt.as_tensor(3.5),
    "branches": ifelse(n > 1, x, 2 * x),
    "a loop": pytensor.scan(lambda a, b: 0.5 * b + a, x, pt.zeros(()), return_updates=False),
    "draws of one function": pt.grad((pt.exp(x) @ A @ x).sum(), x),
}


def functions(graphs, in_place=False):
    ours = compile_mode(None, in_place=in_place)
    theirs = Mode(PerformLinker(), optimizer=ours.provided_optimizer)
    return [
        pytensor.function([x, A, n], graphs, mode=mode, on_unused_input="ignore")
        for mode in (ours, theirs)
    ]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("case", GRAPHS)
def test_the_digits_are_those_of_the_interpreter(case: str, in_place: bool) -> None:
    ours, theirs = functions([GRAPHS[case], GRAPHS[case].sum()], in_place)
    for point, matrix in zip(POINTS * 2, MATRICES * 2, strict=True):
        for number in (1, 2):
            found, expected = (f(point.copy(), matrix.copy(), number) for f in (ours, theirs))
            for one, other in zip(found, expected, strict=True):
                assert isinstance(one, np.ndarray)
                assert one.dtype == np.asarray(other).dtype
                np.testing.assert_array_equal(one, other, strict=True)


def test_results_are_the_callers_own() -> None:
    ours, _ = functions([x, x + 1, A[0]])
    point = POINTS[0].copy()
    first = ours(point, MATRICES[0], 1)
    second = ours(point, MATRICES[0], 1)
    third = ours(point, MATRICES[0], 1)
    for result in (second[0], second[1], third[2]):
        result += 100.0
    np.testing.assert_array_equal(point, POINTS[0])
    np.testing.assert_array_equal(MATRICES[0], np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_array_equal(third[1], first[1])


def test_shared_values_are_read_at_each_call() -> None:
    offset = pytensor.shared(1.0)
    function = pytensor.function([x], x.sum() + offset, mode=compile_mode(None))
    assert isinstance(compile_mode(None).linker, StraightLinker)
    for value in (1.0, 5.0, -2.0):
        offset.set_value(value)
        assert function(np.ones(3)) == 3 + value


def test_a_mask_is_no_part_of_the_data() -> None:
    holed = np.ma.masked_invalid([1.0, np.nan, 3.0])
    data = pytensor.shared(np.zeros(3))
    function = pytensor.function([x], (x * data).sum(), mode=compile_mode(None))
    data.set_value(holed)
    for _ in range(3):
        assert np.isnan(function(np.ones(3)))


def test_shapes_that_do_not_fit_are_refused_at_first() -> None:
    function = pytensor.function([x, A], x + A[:, 0], mode=compile_mode(None))
    with pytest.raises(ValueError, match="broadcasting"):
        function(np.ones(1), np.ones((3, 3)))


@pytest.mark.parametrize("seed", [1, 8, 14, 20])
def test_a_models_density_and_derivatives_have_the_same_digits(seed: int) -> None:
    made = make_model(seed)
    likelihood = prepared_of(
        pmlik.find_MLE(made.model, random_seed=1, progressbar=False, n_starts=1), "a test"
    ).problem.likelihood
    argument, value, gradient, product = likelihood.graphs
    vector, image = product
    mode = compile_mode(None)
    plain = Mode(PerformLinker(), optimizer=mode.provided_optimizer)
    ours, theirs = (
        pytensor.function([argument, vector], [value, gradient, image], mode=one)
        for one in (mode, plain)
    )
    rng = np.random.default_rng(3)
    for _ in range(4):
        at = rng.normal(scale=0.3, size=(2, len(likelihood.active)))
        with np.errstate(all="ignore"):
            for one, other in zip(ours(*at), theirs(*at), strict=True):
                np.testing.assert_array_equal(one, other, strict=True)
