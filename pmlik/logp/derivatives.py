"""Derivatives from derivatives: Hessians from Hessian-vector products."""

from __future__ import annotations

import numpy as np

from pmlik._typing import FloatArray, Product

__all__ = ["hessian_from_products"]


def hessian_from_products(product: Product, n: int) -> FloatArray:
    """The dense (n, n) Hessian from ``n`` Hessian-vector products, made symmetric."""
    hessian = np.empty((n, n))
    basis = np.zeros(n)
    for i in range(n):
        basis[i] = 1.0
        hessian[:, i] = product(basis)
        basis[i] = 0.0
    return (hessian + hessian.T) / 2
