"""Exact gradients of single observations, or of clusters of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.gradient import grad

from pmlik.compilation import NO_GRADIENT, compile_mode, compile_quiet
from pmlik.problem import Problem
from pmlik.space import FloatArray
from pmlik.units import Units

__all__ = ["unit_scores"]


def unit_scores(problem: Problem, x: FloatArray, units: Units) -> FloatArray:
    """The gradient of the log-likelihood of each unit by itself.

    Parameters
    ----------
    problem : Problem
    x : array (n,)
    units : Units

    Returns
    -------
    array (u, n)
        Unconstrained scale; the rows sum to the gradient of the log-likelihood.

    Notes
    -----
    The gradient of the weighted log-likelihood is linear in the weights, so that the derivatives
    of its product with a vector ``v`` are the products of all observations' gradients with it.
    """
    weights = {
        name: pytensor.shared(np.ones(codes.shape), shape=codes.shape, name=f"weights of {name}")
        for name, codes in units.codes.items()
    }
    density = problem.likelihood.weighted(weights)
    along = _along(problem, density.graphs, list(weights.values()))
    if along is not None:
        columns = np.empty((len(x), units.size))
        for column, unit in zip(columns, np.eye(len(x)), strict=True):
            column[:] = units.gather(dict(zip(weights, along(x, unit), strict=True)))
        return columns.T
    rows = np.empty((units.size, len(x)))
    for i, unit in enumerate(np.eye(units.size)):
        for name, part in units.spread(unit).items():
            weights[name].set_value(part)
        rows[i] = density.value_and_gradient(x)[1]
    return rows


def _along(
    problem: Problem, graphs: tuple[Any, ...], weights: list[Any]
) -> Callable[..., Any] | None:
    """Products of each term's gradient with a vector; None where PyTensor has no derivative."""
    x, _, gradient, _ = graphs
    v = pt.vector("v", dtype="float64")
    try:
        pushed = grad((gradient * v).sum(), weights, disconnected_inputs="ignore")
    except NO_GRADIENT:
        return None
    return compile_quiet([x, v], pushed, problem.model, compile_mode(problem.backend))
