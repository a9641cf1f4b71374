"""Centred latents in standard units: the same integral, where it can be computed.

An effect ``u ~ Normal(mu, tau)`` is written ``u = mu + tau z`` with standard ``z``. An integral
does not depend on its variable, and neither does Laplace's approximation under a linear change of
it; but as ``tau`` goes to zero ``(u - mu) / tau`` loses all its digits, and ``z`` does not.
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

__all__ = ["standardize_latents", "standard_terms", "StandardizedTerms"]

_PRODUCTS = ("Dot", "Matmul", "MatMul")

# Chains are left as they are, since in standard units each state meets all before it.
_MOST_LEVELS = 2


class _Family(NamedTuple):
    """A family of distributions that is one shape, moved and stretched.

    ``place`` and ``scale`` say which of its parameters do that (``place`` None: nothing moves
    it), ``shape`` which stay; ``standard`` is the distribution in standard units.
    """

    place: int | None
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
    """From a latent to its standard units and back.

    Parameters
    ----------
    family : str
        Class name of the random variable's operation.
    op : Op
        It says which of its inputs are parameters.
    base : Transform, optional
        What leads from the natural value to the whole line before it is moved and stretched.
    """

    name = "standardised"
    __props__ = ("family",)

    def __init__(self, rv: Any, base: Transform | None) -> None:
        self.family = _family_name(rv)
        self._base, self._parameters = base, _parameter_places(rv)
        multivariate = self.family in ("MvNormalRV", "ZeroSumNormalRV")
        self.ndim_supp = 1 if multivariate else 0

    def _moves(self, inputs: Sequence[Any]) -> tuple[Any, Any]:
        family, values = _FAMILIES[self.family], [inputs[i] for i in self._parameters]
        place = 0.0 if family.place is None else values[family.place]
        return place, values[family.scale]

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Return the standard draw of a value, as PyMC's transforms do."""
        place, scale = self._moves(inputs)
        if self.family == "MvNormalRV":
            return pt.linalg.solve(_root(scale), value - place, b_ndim=1)
        if self.family == "ZeroSumNormalRV":
            return self._base.forward(value / scale, *inputs)  # type: ignore[union-attr]
        line = value if self._base is None else self._base.forward(value, *inputs)
        return (line - place) / scale

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Return the value of a standard draw."""
        place, scale = self._moves(inputs)
        if self.family == "MvNormalRV":
            return place + (_root(scale) * value[..., None, :]).sum(axis=-1)
        if self.family == "ZeroSumNormalRV":
            return scale * self._base.backward(value, *inputs)  # type: ignore[union-attr]
        line = place + scale * value
        return line if self._base is None else self._base.backward(line, *inputs)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Return the log-determinant of the Jacobian of `backward`."""
        # The terms of standardised latents are replaced by `standard_terms`, Jacobian and all.
        zeros = pt.zeros_like(value)
        if self.family == "ZeroSumNormalRV":
            return self._base.log_jac_det(value, *inputs)  # type: ignore[union-attr]
        return zeros.sum(axis=-1) if self.family == "MvNormalRV" else zeros


def standardize_latents(model: TermsModel, names: Sequence[str]) -> tuple[str, ...]:
    """Give the latents of a clone standard units where their family has some.

    Returns
    -------
    tuple of str
        Those that were given them.
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
        elif levels[rv] <= _MOST_LEVELS and _has_standard(rv, base):
            model.rvs_to_transforms[rv] = StandardizedTerms(rv, base)
            # PyMC looks for an initial point's entries under this name.
            model.rvs_to_values[rv].name = f"{name}_{StandardizedTerms.name}__"
            done.append(name)
    return tuple(done)


def standard_terms(model: TermsModel, names: Sequence[str]) -> dict[str, Any]:
    """Log-densities of standardised latents in their standard units, as graphs of the values."""
    terms = {}
    for name in names:
        rv = model[name]
        family, value = _FAMILIES[_family_name(rv)], model.rvs_to_values[rv]
        places = _parameter_places(rv)
        shape = [rv.owner.inputs[places[i]] for i in family.shape]
        if shape:
            shape = model.replace_rvs_by_values(shape)
        # As wide as the variable, where a shape parameter alone would not be.
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
    """Which inputs of the node are the distribution's parameters."""
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
    """A root of a covariance: the one that it was made of where there is one."""
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
