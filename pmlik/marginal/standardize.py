"""Centred latents in standard units: the same integral, computed without loss of digits.

An effect ``u ~ Normal(mu, tau)`` is written ``u = mu + tau z`` with standard ``z``. The integral
does not change, and neither does Laplace's approximation, as the change of variable is linear.
But as ``tau`` goes to zero ``(u - mu) / tau`` loses all its digits, and ``z`` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.transforms import LogTransform, ZeroSumTransform
from pymc.logprob.transforms import Transform
from pytensor.graph.traversal import ancestors

from pmlik.model.graph import as_tensor
from pmlik.model.transform import TermsModel

_PRODUCTS = ("Dot", "Matmul", "MatMul")

# Chains are left as they are: in standard units each state depends on all before it.
_MAX_LEVELS = 2


class _Family(NamedTuple):
    """A location-scale family of distributions.

    ``location`` (None if it has none) and ``scale`` are the indices of these parameters,
    ``shape`` those of the others; ``standard`` is the distribution in standard units.
    """

    location: int | None
    scale: int
    shape: tuple[int, ...]
    standard: Callable[..., Any]


_FAMILIES = {
    "NormalRV": _Family(0, 1, (), lambda: pm.Normal.dist(0.0, 1.0)),
    "LogNormalRV": _Family(0, 1, (), lambda: pm.Normal.dist(0.0, 1.0)),
    "StudentTRV": _Family(1, 2, (0,), lambda nu: pm.StudentT.dist(nu=nu, mu=0.0, sigma=1.0)),
    "LaplaceRV": _Family(0, 1, (), lambda: pm.Laplace.dist(0.0, 1.0)),
    "LogisticRV": _Family(0, 1, (), lambda: pm.Logistic.dist(0.0, 1.0)),
    "CauchyRV": _Family(0, 1, (), lambda: pm.Cauchy.dist(0.0, 1.0)),
    "GumbelRV": _Family(0, 1, (), lambda: pm.Gumbel.dist(0.0, 1.0)),
    "MvNormalRV": _Family(0, 1, (), lambda: pm.Normal.dist(0.0, 1.0)),
    "ZeroSumNormalRV": _Family(None, 0, (), lambda: pm.Normal.dist(0.0, 1.0)),
}


class StandardizedTerms(Transform):
    """The transform from a latent to its standard units and back.

    ``rv`` (random variable): its operation gives the family, and which inputs are parameters.
    ``base``: transforms the constrained value to the real line, before location and scale.
    """

    name = "standardised"
    __props__ = ("family",)

    def __init__(self, rv: Any, base: Transform | None) -> None:
        self.family = _family_name(rv)
        self._base, self._parameters = base, _parameter_places(rv)
        multivariate = self.family in ("MvNormalRV", "ZeroSumNormalRV")
        self.ndim_supp = 1 if multivariate else 0

    def _location_and_scale(self, inputs: Sequence[Any]) -> tuple[Any, Any]:
        family, values = _FAMILIES[self.family], [inputs[i] for i in self._parameters]
        location = 0.0 if family.location is None else values[family.location]
        return location, values[family.scale]

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return the standard draw of a value, as PyMC's transforms do."""
        location, scale = self._location_and_scale(inputs)
        if self.family == "MvNormalRV":
            return pt.linalg.solve(_root(scale), value - location, b_ndim=1)
        if self.family == "ZeroSumNormalRV":
            return self._base.forward(value / scale, *inputs)  # type: ignore[union-attr]
        line = value if self._base is None else self._base.forward(value, *inputs)
        return (line - location) / scale

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return the value of a standard draw."""
        location, scale = self._location_and_scale(inputs)
        if self.family == "MvNormalRV":
            return location + (_root(scale) * value[..., None, :]).sum(axis=-1)
        if self.family == "ZeroSumNormalRV":
            return scale * self._base.backward(value, *inputs)  # type: ignore[union-attr]
        line = location + scale * value
        return line if self._base is None else self._base.backward(line, *inputs)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log-determinant of the Jacobian of `backward`."""
        # The terms of standardized latents are replaced by `standard_terms`, Jacobian and all.
        zeros = pt.zeros_like(value)
        if self.family == "ZeroSumNormalRV":
            return self._base.log_jac_det(value, *inputs)  # type: ignore[union-attr]
        return zeros.sum(axis=-1) if self.family == "MvNormalRV" else zeros


def standardize_latents(model: TermsModel, names: Sequence[str]) -> tuple[str, ...]:
    """Give the latents of a clone standard units if their family has some.

    Returns: the latents that have them.
    """
    latents = {model[name] for name in names}
    levels: dict[Any, int] = {}
    for rv in [model[name] for name in names]:
        levels[rv] = _level(rv, latents, levels)
    done = []
    for name in names:
        rv = model[name]
        base = model.rvs_to_transforms[rv]
        if isinstance(base, StandardizedTerms):  # the clone is assembled a second time
            done.append(name)
        elif levels[rv] <= _MAX_LEVELS and _has_standard(rv, base):
            model.rvs_to_transforms[rv] = StandardizedTerms(rv, base)
            # PyMC looks for an initial point's entries under this name.
            model.rvs_to_values[rv].name = f"{name}_{StandardizedTerms.name}__"
            done.append(name)
    return tuple(done)


def standard_terms(model: TermsModel, names: Sequence[str]) -> dict[str, Any]:
    """Return log-densities of standardized latents in their standard units, as graphs."""
    terms = {}
    for name in names:
        rv = model[name]
        family, value = _FAMILIES[_family_name(rv)], model.rvs_to_values[rv]
        places = _parameter_places(rv)
        shape = [rv.owner.inputs[places[i]] for i in family.shape]
        if shape:
            shape = model.replace_rvs_by_values(shape)
        # As wide as the variable; a shape parameter alone might not be.
        terms[name] = as_tensor(pm.logp(family.standard(*shape), value))
    return terms


def _level(rv: Any, latents: set[Any], levels: dict[Any, int]) -> int:
    if rv not in levels:
        above = (latents - {rv}) & set(ancestors(rv.owner.inputs))
        levels[rv] = 0  # against cycles, which models do not have
        levels[rv] = 1 + max((_level(other, latents, levels) for other in above), default=0)
    return levels[rv]


def _family_name(rv: Any) -> str:
    return type(rv.owner.op).__name__


def _parameter_places(rv: Any) -> list[int]:
    """Return which inputs of the node are the distribution's parameters."""
    parameters = rv.owner.op.dist_params(rv.owner)
    return [next(i for i, x in enumerate(rv.owner.inputs) if x is p) for p in parameters]


def _has_standard(rv: Any, base: Transform | None) -> bool:
    name = _family_name(rv)
    if name not in _FAMILIES or hasattr(rv.type, "dims"):
        return False
    expected = {"LogNormalRV": LogTransform, "ZeroSumNormalRV": ZeroSumTransform}.get(name)
    if expected is not None:
        return isinstance(base, expected)
    if base is not None:  # a transform that the user has chosen
        return False
    return name != "MvNormalRV" or rv.type.ndim <= 2


def _root(covariance: Any) -> Any:
    """Return a root of a covariance: the one that it was made of, or its Cholesky factor."""
    node = covariance.owner
    order = getattr(node and node.op, "new_order", None)
    if order is not None and order[-2:] == (0, 1) and set(order[:-2]) <= {"x"}:
        return covariance.owner.op(_root(node.inputs[0]))  # one for all: dims of length one before
    if node is not None and len(node.inputs) == 2:
        one, other = node.inputs
        name = type(getattr(node.op, "core_op", node.op)).__name__
        if name in _PRODUCTS and _is_transpose(other, one):
            return one
    return pt.linalg.cholesky(covariance)


def _is_transpose(var: Any, of: Any) -> bool:
    node, n = var.owner, of.type.ndim
    if node is None or node.inputs[0] is not of:
        return False
    swapped = (*range(n - 2), n - 1, n - 2)
    return (
        type(node.op).__name__ == "MatrixTranspose"
        or getattr(node.op, "new_order", None) == swapped
    )
