"""Recognise latents: noncentered variables and coefficients under a common prior."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
from pymc.pytensorf import constant_fold
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.scan.op import Scan

from pmlik.model.graph import MATRIX_PRODUCTS, MOVES, operation_names, users_of
from pmlik.model.validate import constant_data

# Distributions by class name, and the parameters of their standard form: "I" is the identity
# matrix, None any value.
_STANDARD: dict[str, tuple[Any, ...]] = {
    "NormalRV": (0, 1),
    "LaplaceRV": (0, 1),
    "LogisticRV": (0, 1),
    "StudentTRV": (None, 0, 1),
    "ZeroSumNormalRV": (1, None),
    "MvNormalRV": (0, "I"),
    "ICARRV": (None, 1, None),
}
_SHAPES = {"Shape", "Shape_i"}
_WRITES = {"AdvancedIncSubtensor", "AdvancedIncSubtensor1", "IncSubtensor"}
_FEWEST_DATA, _FEWEST_JOINED = 4, 8
_SOLVES = {"SolveTriangular", "Solve", "CholeskySolve"}


class Noncentered(NamedTuple):
    """A noncentered latent.

    ``scales``: the free variables that it is multiplied by.
    ``rivals``: the same variables, if all of them are standard arrays that are only multiplied:
        then either side could be the latent.
    """

    scales: frozenset[str]
    rivals: frozenset[str]


def find_noncentered(model: pm.Model) -> dict[str, Noncentered]:
    """Return the free variables that are noncentered latents, in the model's order.

    Such a variable is an array with a constant standard prior, and every path from it to the
    data is linear up to a product with a function of another free variable. A factor that is a
    standard array with other uses (the weights of a network's layers) does not count. If both
    factors are standard arrays that are only multiplied, both are returned, as either could be
    the latent.
    """
    standard = [rv for rv in model.free_RVs if _is_standard_array(rv)]
    paths = {rv: _PathsToData(rv, model) for rv in standard}
    linear = {rv for rv, path in paths.items() if path.end_in_products}
    plain_arrays = set(standard) - linear
    found = {}
    for rv in standard:
        partners = paths[rv].partners - plain_arrays
        if rv in linear and partners:
            names = frozenset(partner.name for partner in partners)
            found[rv.name] = Noncentered(names, names if partners <= linear else frozenset())
    return found


def _is_standard_array(rv: Any) -> bool:
    """Return True if a variable has several elements and a constant standard prior."""
    shape = rv.type.shape
    if None not in shape and int(np.prod(shape)) <= 1:
        return False  # a single effect is a parameter
    core = getattr(rv.owner.op, "core_op", rv.owner.op)
    expected = _STANDARD.get(type(core).__name__)
    if expected is None:
        return False
    parameters = rv.owner.op.dist_params(rv.owner)
    return all(map(_is_constant, parameters, expected))


def _is_constant(var: Any, expected: Any) -> bool:
    if expected is None:
        return True
    [value] = constant_fold([var], raise_not_constant=False)
    if not isinstance(value, np.ndarray | np.generic | float | int):
        return False
    if expected == "I":
        matrix = np.asarray(value)
        return matrix.ndim == 2 and np.array_equal(matrix, np.eye(len(matrix)))
    return bool(np.all(np.asarray(value) == expected))


class _PathsToData:
    """The operations on a variable between itself and the data.

    ``rv`` (variable): the first variable of the paths.
    """

    def __init__(self, rv: Any, model: pm.Model) -> None:
        self._model = model
        self._others = set(model.free_RVs) - {rv}
        self._random = set(model.basic_RVs) - {rv}
        self._potentials = set(model.potentials)
        self.partners: set[Any] = set()
        users = self._users = users_of([*self._random, *model.potentials])
        linear, stack, self.end_in_products = {rv}, [rv], True
        while stack and self.end_in_products:
            var = stack.pop()
            if var in self._potentials:
                self.end_in_products = False
            for node in users.get(var, ()):
                if operation_names(node.op)[1] in _SHAPES:
                    continue
                partners = self._partners(node, var)
                if partners and self._is_residual(node, partners):
                    self.end_in_products = False
                elif partners:
                    self.partners |= partners
                elif self._stays_linear(node, linear):
                    fresh = [out for out in node.outputs if out not in linear]
                    linear.update(fresh)
                    stack.extend(fresh)
                else:
                    self.end_in_products = False

    def _free(self, inputs: Iterable[Any]) -> set[Any]:
        return self._others & set(ancestors(inputs))

    def _partners(self, node: Any, var: Any) -> set[Any]:
        """Return the free variables that ``var`` is multiplied by in ``node``."""
        rest = [inp for inp in node.inputs if inp is not var]
        if isinstance(node.op, Scan):
            sequences = node.inputs[1 : 1 + node.op.info.n_seqs]
            return self._free(rest) if any(var in ancestors([s]) for s in sequences) else set()
        scalar, core = operation_names(node.op)
        multiplied = scalar == "mul" or core in MATRIX_PRODUCTS
        divided = scalar == "true_div" and node.inputs[0] is var
        solved = core in _SOLVES and node.inputs[-1] is var
        return self._free(rest) if multiplied or divided or solved else set()

    def _is_residual(self, node: Any, partners: set[Any]) -> bool:
        """Return True if a potential sums a product with data that have the same factor.

        Such is ``y / sigma - mu / sigma``, of which ``mu`` is a mean.
        """
        seen, stack = set(node.outputs), list(node.outputs)
        while stack:
            var = stack.pop()
            for user in self._users.get(var, ()):
                if any(out in self._random for out in user.outputs):
                    return False
                scalar, core = operation_names(user.op)
                summed = scalar in ("add", "sub")
                if summed and any(
                    partners & set(ancestors([inp])) and _varies(inp)
                    for inp in user.inputs
                    if inp not in seen
                ):
                    return self._reaches_potentials_alone(user)
                if summed or core in MOVES or scalar in ("neg", "identity"):
                    fresh = [out for out in user.outputs if out not in seen]
                    seen.update(fresh)
                    stack.extend(fresh)
        return False

    def _reaches_potentials_alone(self, node: Any) -> bool:
        observed = [v for rv in self._random for v in rv.owner.inputs]
        return set(node.outputs).isdisjoint(ancestors(observed))

    def _stays_linear(self, node: Any, linear: set[Any]) -> bool:
        if any(out in self._random for out in node.outputs):
            return False
        scalar, core = operation_names(node.op)
        # A product here is one by a constant: with a free variable it would be a partner.
        if core in MOVES or scalar in ("neg", "second", "identity", "mul"):
            return True
        if scalar in ("add", "sub"):  # a sum with data is a residual, not an effect
            return all(
                inp in linear or (self._free([inp]) and not _holds_data(inp, self._model))
                for inp in node.inputs
            )
        if scalar == "true_div":
            return node.inputs[0] in linear
        if core in MATRIX_PRODUCTS:
            return all(_selects(inp) for inp in node.inputs if inp not in linear)
        return False


def _varies(graph: Any) -> bool:
    """Return True if a graph contains an array of data."""
    return any(_is_data(var) for var in graph_inputs([graph]))


def _is_data(var: Any, fewest: int = _FEWEST_DATA) -> bool:
    """Return True for a constant array of several distinct numbers; zeros and ones are a design."""
    data = constant_data(var)
    if data is None or data.dtype.kind not in "iuf" or data.size < fewest:
        return False
    return len(np.unique(data)) >= fewest  # NaN count as one


def _holds_data(graph: Any, model: pm.Model) -> bool:
    """Return True if a graph is made of observations and of entries that stand in for some."""
    free, observed = set(model.free_RVs), set(model.observed_RVs)
    above = list(ancestors([graph], blockers=free))
    return any(var in observed or _filled(var.owner) for var in above)


def _filled(node: Any) -> list[Any]:
    """Return what a node writes into an array of data, or puts beside most of it."""
    if node is None:
        return []
    scalar, core = operation_names(node.op)
    if core in _WRITES and node.op.set_instead_of_inc and _is_rearranged_data(node.inputs[0]):
        return [node.inputs[1]]
    parts = []
    if scalar == "Switch" and node.outputs[0].type.ndim:
        parts = node.inputs[1:]
    elif core == "Join" and any(_is_data(var, _FEWEST_JOINED) for var in node.inputs):
        parts = node.inputs  # fixed knots or loadings beside free ones are fewer
    rest = [var for var in parts if not _is_rearranged_data(var)]
    return rest if len(rest) < len(parts) else []


def _is_rearranged_data(var: Any) -> bool:
    while var.owner is not None and (
        operation_names(var.owner.op)[1] in MOVES or operation_names(var.owner.op)[0] == "Cast"
    ):
        var = var.owner.inputs[0]
    return _is_data(var)


def find_imputed(model: pm.Model) -> tuple[str, ...]:
    """Return the continuous free variables that are written into an array of data."""
    names = []
    users = users_of([*model.basic_RVs, *model.potentials])
    for rv in model.free_RVs:
        seen, stack = {rv}, [rv] if rv.dtype[0] == "f" else []
        while stack:
            var = stack.pop()
            for node in users.get(var, ()):
                if var in _filled(node):
                    names.append(rv.name)
                if operation_names(node.op)[1] in MOVES:
                    fresh = [out for out in node.outputs if out not in seen]
                    seen.update(fresh)
                    stack.extend(fresh)
    return tuple(dict.fromkeys(names))


def _selects(matrix: Any) -> bool:
    """Return True if a constant matrix has at most one entry per row, as one of dummies does."""
    [value] = constant_fold([matrix], raise_not_constant=False)
    if not isinstance(value, np.ndarray) or value.ndim != 2:
        return False
    return bool(((value != 0).sum(axis=1) <= 1).all())


# A matrix of covariates has more entries than zeros; one that assigns groups to rows has fewer.
_DENSE = 0.5
_LINEAR = ("neg", "second", "identity", "add", "sub", "mul")


def find_coefficients(model: pm.Model, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the named free variables that multiply a dense matrix of data."""
    names = tuple(names)
    if not names:
        return ()
    users = users_of([*model.basic_RVs, *model.potentials])
    free = set(model.free_RVs)
    return tuple(name for name in names if _meets_matrix(model[name], free, users))


def _meets_matrix(rv: Any, free: set[Any], users: dict[Any, list[Any]]) -> bool:
    """Return True if a linear path leads from a variable to a product with a dense matrix."""
    if rv.type.ndim == 0:
        return False
    seen, stack = {rv}, [rv]
    while stack:
        var = stack.pop()
        for node in users.get(var, ()):
            if _is_dense_product(node, var, free):
                return True
            if _is_linear(node, var):
                fresh = [out for out in node.outputs if out not in seen and out not in free]
                seen.update(fresh)
                stack.extend(fresh)
    return False


def _is_dense_product(node: Any, var: Any, free: set[Any]) -> bool:
    """Return True if a node multiplies a variable by a dense matrix, or sums such products."""
    core = operation_names(node.op)[1]
    if core == "Sum" and var.owner is not None and operation_names(var.owner.op)[0] == "mul":
        return any(_is_dense(factor, free) for factor in var.owner.inputs)
    factors = (other for other in node.inputs if other is not var)
    return core in MATRIX_PRODUCTS and any(_is_dense(factor, free) for factor in factors)


def _is_linear(node: Any, var: Any) -> bool:
    scalar, core = operation_names(node.op)
    divided = scalar == "true_div" and node.inputs[0] is var
    return divided or core in MATRIX_PRODUCTS or core in MOVES or scalar in _LINEAR


def _is_dense(matrix: Any, free: set[Any]) -> bool:
    if matrix.type.ndim != 2 or free & set(ancestors([matrix])):
        return False
    value = _value_of(matrix)
    if value is None or value.shape[1] < 2:
        return False
    return bool((value != 0).mean() > _DENSE)


def _value_of(matrix: Any) -> np.ndarray | None:
    """Return the array of a constant, or of ``pm.Data`` that was only rearranged."""
    [value] = constant_fold([matrix], raise_not_constant=False)
    if isinstance(value, np.ndarray):
        return value
    while matrix.owner is not None and operation_names(matrix.owner.op)[1] in MOVES:
        matrix = matrix.owner.inputs[0]
    data = constant_data(matrix)
    return data if data is not None and data.ndim == 2 else None
