"""Latents that are coefficients: what multiplies a matrix of covariates in a regression.

A shrinkage prior (ridge, horseshoe, the Laplace distribution as a mixture) gives coefficients a
distribution with free scales, so that they read as latents. They can be meant as such, or as
parameters whose prior that is; nothing in the graph tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pymc as pm
from pymc.pytensorf import constant_fold
from pytensor.graph.traversal import ancestors

from pmlik.admission import constant_data
from pmlik.whitening import MATRIX_PRODUCTS, MOVES, operation_names, users_of

__all__ = ["find_coefficients"]


# A matrix of covariates has more entries than zeros; one that assigns groups to rows has not.
_DENSE = 0.5
_LINEAR = ("neg", "second", "identity", "add", "sub", "mul")


def find_coefficients(model: pm.Model, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the named free variables that multiply a dense matrix of data.

    Parameters
    ----------
    model : pm.Model
    names : iterable of str
    """
    names = tuple(names)
    if not names:
        return ()
    users = users_of([*model.basic_RVs, *model.potentials])
    free = set(model.free_RVs)
    return tuple(name for name in names if _meets_matrix(model[name], free, users))


def _meets_matrix(rv: Any, free: set[Any], users: dict[Any, list[Any]]) -> bool:
    """Whether a linear way leads from a variable to a product with a dense matrix of data."""
    if rv.type.ndim == 0:
        return False
    seen, stack = {rv}, [rv]
    while stack:
        var = stack.pop()
        for node in users.get(var, ()):
            rest = [other for other in node.inputs if other is not var]
            scalar, core = operation_names(node.op)
            product = core in MATRIX_PRODUCTS
            if product and any(_is_dense(other, free) for other in rest):
                return True
            if core == "Sum" and _is_weighted(var, free):
                return True
            divided = scalar == "true_div" and node.inputs[0] is var
            if product or divided or core in MOVES or scalar in _LINEAR:
                fresh = [out for out in node.outputs if out not in seen and out not in free]
                seen.update(fresh)
                stack.extend(fresh)
    return False


def _is_weighted(var: Any, free: set[Any]) -> bool:
    """Whether a sum's summands are products with a dense matrix."""
    node = var.owner
    if node is None or operation_names(node.op)[0] != "mul":
        return False
    return any(_is_dense(other, free) for other in node.inputs)


def _is_dense(matrix: Any, free: set[Any]) -> bool:
    if matrix.type.ndim != 2 or free & set(ancestors([matrix])):
        return False
    value = _value_of(matrix)
    if value is None or value.shape[1] < 2:
        return False
    return bool((value != 0).mean() > _DENSE)


def _value_of(matrix: Any) -> np.ndarray | None:
    """The array behind a constant, or behind ``pm.Data`` that was only moved about."""
    [value] = constant_fold([matrix], raise_not_constant=False)
    if isinstance(value, np.ndarray):
        return value
    while matrix.owner is not None and operation_names(matrix.owner.op)[1] in MOVES:
        matrix = matrix.owner.inputs[0]
    data = constant_data(matrix)
    return data if data is not None and data.ndim == 2 else None
