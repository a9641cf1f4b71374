"""Central differences, and Hessians from products with vectors.

Differences are numerators, so that each caller divides by its own step.
"""

from collections.abc import Callable

import numpy as np

from pmlik._typing import FloatArray, Product


def central_difference[Value: (float, FloatArray)](
    function: Callable[[FloatArray], Value], x: FloatArray, step: FloatArray
) -> Value:
    """Return ``f(x + step) - f(x - step)``.

    Divided by 2 step lengths it is the derivative along the step, with an error of second order.

    ``x``, ``step`` (n,).
    """
    ahead = function(x + step)
    return ahead - function(x - step)


def fourth_order_difference[Value: (float, FloatArray)](
    function: Callable[[FloatArray], Value], x: FloatArray, step: FloatArray
) -> Value:
    """Return ``8 (f(x + step) - f(x - step)) - (f(x + 2 step) - f(x - 2 step))``.

    Divided by 12 step lengths it is the derivative along the step, with an error of fourth order.

    ``x``, ``step`` (n,).
    """
    near = central_difference(function, x, step)
    return 8 * near - central_difference(function, x, 2 * step)


def hessian_from_products(product: Product, n: int) -> FloatArray:
    """Return the dense (n, n) Hessian from ``n`` Hessian-vector products, made symmetric."""
    hessian = np.empty((n, n))
    basis = np.zeros(n)
    for i in range(n):
        basis[i] = 1.0
        hessian[:, i] = product(basis)
        basis[i] = 0.0
    return (hessian + hessian.T) / 2


def product_by_differences(
    gradient: Callable[[FloatArray], FloatArray],
    x: FloatArray,
    v: FloatArray,
    widths: FloatArray,
    step: float,
) -> FloatArray:
    """Return the Hessian times ``v`` (n,) by central differences of the gradient.

    ``x``, ``v`` (n,). ``gradient``: ``x (n,) -> (n,)``.
    ``widths`` (n,): a natural length of each coordinate.
    ``step``: length of the step in the coordinate that moves most, in its width.
    """
    fastest = float(np.max(np.abs(v) / widths, initial=0.0))
    if fastest == 0:
        return np.zeros(len(x))
    length = step / fastest
    return np.asarray(central_difference(gradient, x, length * v) / (2 * length))
