"""Exact gradients of single observations, or of clusters of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.gradient import grad

from pmlik._typing import FloatArray
from pmlik.inference.compiled import CompiledModel
from pmlik.inference.units import ResamplingUnits
from pmlik.logp.compile import NO_GRADIENT, compile_mode, compile_quiet
from pmlik.marginal.density import MarginalLogLikelihood

__all__ = ["unit_scores"]


# Differences over this share of a standard error: what they leave out and what rounding adds
# are both about 1e-11 of a score.
_STEP = 3e-3


def unit_scores(problem: CompiledModel, x: FloatArray, units: ResamplingUnits) -> FloatArray:
    """The gradient of the log-likelihood of each unit by itself.

    Parameters
    ----------
    problem : CompiledModel
    x : array (n,)
    units : ResamplingUnits

    Returns
    -------
    array (u, n)
        Unconstrained scale; the rows sum to the gradient of the log-likelihood. Exact, and with
        latents by differences of the units' integrals that are exact to the fourth order.

    Notes
    -----
    The gradient of the weighted log-likelihood is linear in the weights, so that the derivatives
    of its product with a vector ``v`` are the products of all observations' gradients with it.
    """
    if isinstance(problem.likelihood, MarginalLogLikelihood):
        return _by_differences(problem.likelihood, x, units)
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


def _by_differences(
    likelihood: MarginalLogLikelihood, x: FloatArray, units: ResamplingUnits
) -> FloatArray:
    """The scores of blocks of latents, and of observations that depend on none."""
    blocks = likelihood.blocks
    codes = np.concatenate([np.ravel(units.codes[name]) for name in likelihood.terms])
    owner = blocks.terms[: len(codes)]
    alone = owner < 0
    inside, first = np.unique(owner[~alone], return_index=True)
    unit_of_block = codes[~alone][first]

    def by_unit(point: FloatArray) -> FloatArray:
        terms, integrals = likelihood.log_integrals(point)
        total = np.bincount(codes[alone], terms[: len(codes)][alone], units.size)
        return total + np.bincount(unit_of_block, integrals[inside], units.size)

    scores = np.zeros((units.size, len(x)))
    for i, width in enumerate(likelihood.widths(x)):
        if not likelihood.active[i]:
            continue
        step = _STEP * width * np.eye(len(x))[i]
        near, far = (by_unit(x + k * step) - by_unit(x - k * step) for k in (1, 2))
        scores[:, i] = (8 * near - far) / (12 * _STEP * width)
    return scores


def _along(
    problem: CompiledModel, graphs: tuple[Any, ...], weights: list[Any]
) -> Callable[..., Any] | None:
    """Products of each term's gradient with a vector; None where PyTensor has no derivative."""
    x, _, gradient, _ = graphs
    v = pt.vector("v", dtype="float64")
    try:
        pushed = grad((gradient * v).sum(), weights, disconnected_inputs="ignore")
    except NO_GRADIENT:
        return None
    return compile_quiet([x, v], pushed, problem.model, compile_mode(problem.backend))
