"""Exact gradients of single observations, or of clusters of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.gradient import grad

from pmlik._typing import FloatArray, IntArray
from pmlik.logp.compile import NO_GRADIENT

if TYPE_CHECKING:
    from pmlik.logp.density import LogDensity


def unit_scores(
    density: LogDensity, x: FloatArray, codes: Mapping[str, IntArray], n_units: int
) -> FloatArray:
    """Return the gradient of the log-likelihood of each unit by itself.

    Parameters
    ----------
    density : LogDensity
    x : array (n,)
    codes : mapping of str to array of int
        By term, in its shape: the unit of each entry, numbered from 0.
    n_units : int

    Returns
    -------
    array (n_units, n)
        Unconstrained scale; the rows sum to the gradient of the log-likelihood.

    Notes
    -----
    The gradient of the weighted log-likelihood is linear in the weights, so that the derivatives
    of its product with a vector ``v`` are the products of all observations' gradients with it.
    """
    weights = {
        name: pytensor.shared(np.ones(part.shape), shape=part.shape, name=f"weights of {name}")
        for name, part in codes.items()
    }
    weighted = density.weighted(weights)
    products = _compile_products(weighted, list(weights.values()))
    if products is not None:
        columns = np.zeros((len(x), n_units))
        for column, direction in zip(columns, np.eye(len(x)), strict=True):
            for part, terms in zip(codes.values(), products(x, direction), strict=True):
                column += np.bincount(part.ravel(), terms.ravel(), minlength=n_units)
        return columns.T
    rows = np.empty((n_units, len(x)))
    for row, unit in zip(rows, np.eye(n_units), strict=True):
        for name, part in codes.items():
            weights[name].set_value(unit[part])
        row[:] = weighted.value_and_gradient(x)[1]
    return rows


def _compile_products(weighted: LogDensity, weights: list[Any]) -> Callable[..., Any] | None:
    """Compile products of each term's gradient with a vector; None if there is no derivative."""
    x, _, gradient, _ = weighted.graphs
    v = pt.vector("v", dtype="float64")
    try:
        products = grad((gradient * v).sum(), weights, disconnected_inputs="ignore")
    except NO_GRADIENT:
        return None
    return weighted.compile([x, v], products)
