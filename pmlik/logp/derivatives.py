"""Hessians from Hessian-vector products, and those products from gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pmlik._differences import central_difference
from pmlik._typing import FloatArray, Product


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
