"""Parts of a flat vector as inputs of interpreted functions."""

import gc
import threading

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from pmlik.logp.compile import compile_mode, compile_quiet
from pmlik.logp.density import LogDensity
from pmlik.logp.parts import Parts
from pmlik.logp.transforms import ConstrainedValues
from pmlik.model.graph import building_graphs
from pmlik.model.transform import TermsModel

X = pt.vector("x", dtype="float64")


def pieces():
    """Return a scalar, a matrix and a vector made of ``x``, with two unused numbers between."""
    return X[0:1].reshape(()), X[1:5].reshape((2, 2)), X[7:9].reshape((2,))


def test_parts_are_split_and_joined():
    parts = Parts.of([piece.sum() for piece in pieces()], X)
    assert [(p.start, p.stop) for p in parts.places] == [(0, 1), (1, 5), (7, 9)]
    x = np.arange(1.0, 10.0)
    split = parts.split(x)
    assert [part.shape for part in split] == [(), (2, 2), (2,)]
    np.testing.assert_array_equal(parts.join(split, x.shape), x * (np.abs(x - 6.5) > 1))
    rows = np.stack([x, 2 * x])
    np.testing.assert_array_equal(
        parts.join(parts.split(rows), rows.shape)[1], 2 * x * (rows[0] != 6) * (rows[0] != 7)
    )


@pytest.mark.parametrize(
    "graph", [X.sum(), X[::2].sum(), X[0:2].sum() + X[1:3].sum(), X[0] + X[1:3].sum(), pt.exp(1.0)]
)
def test_other_uses_of_the_vector_are_no_parts(graph):
    assert Parts.of([graph], X) is None


def test_derivatives_by_parts_are_those_of_the_formula():
    a, m, b = pieces()
    terms = {"t": -pt.exp(a) * (m**2).sum() * pt.ones(()), "s": a * b[0] ** 3 + 0 * b[1]}
    model = TermsModel()
    density = LogDensity(terms, X, model, compile_mode(None), np.ones(9, bool))
    x = np.linspace(-1, 1, 9)
    flat, e = x[1:5], np.exp(x[0])
    gradient = np.zeros(9)
    gradient[0] = -e * flat @ flat + x[7] ** 3
    gradient[1:5], gradient[7] = -2 * e * flat, 3 * x[0] * x[7] ** 2
    hessian = np.zeros((9, 9))
    hessian[0, 0] = -e * flat @ flat
    hessian[0, 1:5] = hessian[1:5, 0] = -2 * e * flat
    hessian[0, 7] = hessian[7, 0] = 3 * x[7] ** 2
    hessian[range(1, 5), range(1, 5)] = -2 * e
    hessian[7, 7] = 6 * x[0] * x[7]
    np.testing.assert_allclose(density.value_and_gradient(x)[1], gradient, rtol=1e-13)
    np.testing.assert_allclose(density.hessian(x), hessian, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(density.product(x, x), hessian @ x, rtol=1e-13)
    _, value, whole, (v, image) = density.graphs
    found = compile_quiet([X, v], [value, whole, image], model, compile_mode(None))(x, x)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-13)
    np.testing.assert_allclose(found[2], hessian @ x, rtol=1e-13)
    values = ConstrainedValues([pt.exp(a), m * a], X, model, compile_mode(None))
    jacobian = np.zeros((5, 9))
    jacobian[0, 0], jacobian[1:, 0] = e, flat
    jacobian[range(1, 5), range(1, 5)] = x[0]
    np.testing.assert_allclose(values.jvp(x)(x), jacobian @ x, rtol=1e-13)
    np.testing.assert_allclose(values.vjp(x, np.arange(5.0)), np.arange(5.0) @ jacobian, rtol=1e-13)


def test_building_restores_collection_and_traces_also_when_nested():
    before = gc.isenabled(), pytensor.config.traceback__limit
    with building_graphs():
        with building_graphs():
            pass
        assert not gc.isenabled()
    assert (gc.isenabled(), pytensor.config.traceback__limit) == before


def test_threads_that_share_a_function_do_not_mix_their_arguments():
    x = pt.vector("x", dtype="float64")
    function = compile_quiet(
        [x], [pt.exp(x).sum() - pt.exp(x[0])], TermsModel(), compile_mode(None)
    )
    wrong: list[float] = []

    def call(value):
        expected = function(np.array([0.0, value]))[0]
        for _ in range(300):
            if function(np.array([0.0, value]))[0] != expected:
                wrong.append(value)

    threads = [threading.Thread(target=call, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
