"""Who is who in a model: parameters, latents, missing values; and which models can be taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.data import MinibatchOp
from pymc.distributions.distribution import PartialObservedRV
from pymc.distributions.simulator import SimulatorRV
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import NormalRV

from pmlik.errors import ModelError

__all__ = [
    "Potentials",
    "Roles",
    "constant_data",
    "observed_data",
    "read_roles",
    "refuse_latents",
    "resolve_model",
]

#: Whether ``pm.Potential`` terms belong to the likelihood or to the prior.
Potentials = Literal["likelihood", "prior"]

# Operations that are linear in each of their arguments, or a quotient.
_PRODUCTS = {"mul", "true_div"}
_PRODUCT_CLASSES = {
    "Dot",
    "Einsum",
    "BatchedDot",
    "SolveTriangular",
    "Solve",
    "CholeskySolve",
    "XDot",
}


@dataclass(frozen=True)
class Roles:
    """The names of a model's variables by what they are for.

    Parameters
    ----------
    parameters : tuple of str
        Free variables with a prior of their own.
    latents : tuple of str
        Free variables whose distribution is part of the model.
    missing : tuple of str
        Missing observations that nothing else depends on: they integrate to one.
    observed, potentials, derived : tuple of str
        The rest, in the model's order.
    """

    parameters: tuple[str, ...]
    latents: tuple[str, ...]
    missing: tuple[str, ...]
    observed: tuple[str, ...]
    potentials: tuple[str, ...]
    derived: tuple[str, ...]


def resolve_model(model: pm.Model | None) -> pm.Model:
    """The model given, or the one on the context stack.

    Raises
    ------
    ModelError
        If there is none, or it is not a PyMC model, or only a sub-model of one.
    """
    try:
        found = pm.modelcontext(model)
    except TypeError:
        raise ModelError(
            "No model: got none as an argument and there is none on the context stack. "
            "Pass a pm.Model, or call inside `with model:`."
        ) from None
    if not hasattr(found, "free_RVs"):
        raise ModelError(f"model: got {type(found).__name__}, need a pm.Model.")
    if not found.isroot:
        raise ModelError(
            f"model: got the sub-model {found.name!r}; pass the outermost model, which holds it."
        )
    return found


def read_roles(model: pm.Model, potentials: Potentials = "likelihood") -> Roles:
    """Read each variable's role from the model's graph, and refuse what has no likelihood.

    Raises
    ------
    ModelError
        One sentence that names the variable, what was got, what is needed, what to do.
    """
    if potentials not in ("likelihood", "prior"):
        raise ModelError(f"potentials: got {potentials!r}, need 'likelihood' or 'prior'.")
    _refuse_without_likelihood(model, potentials)
    _refuse_discrete(model)
    _refuse_unusable_observed(model)
    missing = _missing(model)
    latents = tuple(
        rv.name
        for rv in model.free_RVs
        if rv.name not in missing and (_depends_on_free(rv, model) or _is_whitened(rv, model))
    )
    entangled = tuple(name for name in missing if _is_used(model[name], model))
    return Roles(
        parameters=tuple(
            rv.name for rv in model.free_RVs if rv.name not in missing and rv.name not in latents
        ),
        latents=latents + entangled,
        missing=tuple(name for name in missing if name not in entangled),
        observed=tuple(rv.name for rv in model.observed_RVs),
        potentials=tuple(potential.name for potential in model.potentials),
        derived=tuple(var.name for var in model.deterministics),
    )


def refuse_latents(roles: Roles) -> None:
    """Raise for a model whose likelihood is an integral over latents.

    Raises
    ------
    ModelError
        Naming the latents.
    """
    if roles.latents:
        raise ModelError(
            f"{', '.join(roles.latents)}: latent (random effects, states or missing values), as "
            "the distribution depends on other free variables, or as it is a standard normal that "
            "is multiplied by another free variable. The likelihood is the integral over them, "
            "which pmlik can't take yet; dropping their distribution would not give an MLE. "
            "pmlik.sample_posterior works on this model."
        )


def _refuse_without_likelihood(model: pm.Model, potentials: Potentials) -> None:
    if not model.free_RVs:
        raise ModelError(
            "The model has no free variables: there is no parameter to estimate. "
            "Give at least one variable a prior and no `observed`."
        )
    if not model.observed_RVs and not (model.potentials and potentials == "likelihood"):
        raise ModelError(
            "The model has no observed variable, so it has no likelihood. Pass data as "
            "`observed=` to at least one variable."
        )


def _refuse_discrete(model: pm.Model) -> None:
    discrete = [rv.name for rv in model.free_RVs if not rv.dtype.startswith("float")]
    if discrete:
        raise ModelError(
            f"{', '.join(discrete)}: discrete free variable, which has no gradient. Marginalise "
            "it: write the sum out with pm.Mixture, or use pymc_extras.marginalize."
        )


def _refuse_unusable_observed(model: pm.Model) -> None:
    for rv in model.observed_RVs:
        op = rv.owner.op if rv.owner else None
        value = model.rvs_to_values[rv]
        minibatch = any(
            v.owner and isinstance(v.owner.op, MinibatchOp) for v in ancestors([rv, value])
        )
        if minibatch or isinstance(op, MinibatchRandomVariable):
            raise ModelError(
                f"{rv.name}: its likelihood is scaled by `total_size` or taken from a minibatch, "
                "so it is an estimate of the likelihood and not the likelihood. Pass all the data, "
                "without `total_size`."
            )
        if isinstance(op, SimulatorRV):
            raise ModelError(
                f"{rv.name}: pm.Simulator has no likelihood, only simulations. Use a distribution "
                "with a density, or pm.CustomDist with `logp=`."
            )
        _refuse_not_finite(rv.name, observed_data(value))


def _refuse_not_finite(name: str, data: NDArray[Any] | None) -> None:
    if data is None or not np.issubdtype(data.dtype, np.floating) or np.isfinite(data).all():
        return
    at = tuple(int(i) for i in np.argwhere(~np.isfinite(data))[0])
    where = f" at index {list(at)}" if at else ""
    raise ModelError(
        f"{name}: the observed data hold {data[at]}{where}, need finite values. Remove or correct "
        "it (a censored value belongs in pm.Censored, a missing one is a NaN in `observed=`)."
    )


def constant_data(var: Any) -> NDArray[Any] | None:
    """The array that a constant or shared variable holds, None for any other."""
    if isinstance(var, Constant):
        data = var.data
    elif isinstance(var, SharedVariable):
        data = var.get_value(borrow=True)
    else:
        return None
    return data if isinstance(data, np.ndarray) else None


def observed_data(value: Any) -> NDArray[Any] | None:
    """The data behind an observed variable, None where they are computed in the graph."""
    if (data := constant_data(value)) is not None:
        return data
    if value.owner and len(value.owner.inputs) == 1:  # a cast or a view of the data
        return observed_data(value.owner.inputs[0])
    return None


def _missing(model: pm.Model) -> tuple[str, ...]:
    observed = {rv.name for rv in model.observed_RVs}
    suffix = "_unobserved"
    return tuple(
        rv.name
        for rv in model.free_RVs
        if rv.name.endswith(suffix) and f"{rv.name.removesuffix(suffix)}_observed" in observed
    )


def _is_used(rv: Any, model: pm.Model) -> bool:
    """Whether anything but a deterministic depends on the value of a missing observation."""
    if isinstance(rv.owner.op, PartialObservedRV):
        return True
    others = [other for other in model.basic_RVs if other is not rv]
    return any(
        rv in ancestors(other.owner.inputs if other in others else [other])
        for other in [*others, *model.potentials]
    )


def _depends_on_free(rv: Any, model: pm.Model) -> bool:
    free = set(model.free_RVs) - {rv}
    return any(ancestor in free for ancestor in ancestors(rv.owner.inputs))


def _is_whitened(rv: Any, model: pm.Model) -> bool:
    """A standard normal array that is multiplied by another free variable before any use.

    A single number is never read so: one effect is a parameter.
    """
    if not _is_standard_normal(rv) or _static_size(rv) == 1:
        return False
    random = set(model.basic_RVs) - {rv}
    ends = [*model.observed_RVs, *model.potentials, *(set(model.free_RVs) - {rv})]
    users = _users(ends)
    others = set(model.free_RVs) - {rv}
    seen: set[Any] = set()
    stack, met_product = [rv], False
    while stack:
        var = stack.pop()
        for node in users.get(var, ()):
            if any(out in random for out in node.outputs):
                return False
            if _is_product(node, var, others):
                met_product = True
                continue
            fresh = [out for out in node.outputs if out not in seen]
            seen.update(fresh)
            stack.extend(fresh)
        if var in model.potentials:
            return False
    return met_product


def _is_standard_normal(rv: Any) -> bool:
    if not isinstance(rv.owner.op, NormalRV):
        return False
    mu, sigma = rv.owner.op.dist_params(rv.owner)
    return _is_constant(mu, 0.0) and _is_constant(sigma, 1.0)


def _is_constant(var: Any, value: float) -> bool:
    while var.owner and len(var.owner.inputs) == 1:  # broadcasting only
        var = var.owner.inputs[0]
    return isinstance(var, Constant) and bool(np.all(np.asarray(var.data) == value))


def _static_size(rv: Any) -> int | None:
    """Number of elements of a variable where its static shape tells, else None."""
    shape = rv.type.shape
    return None if None in shape else int(np.prod(shape))


def _users(ends: Iterable[Any]) -> dict[Any, list[Any]]:
    users: dict[Any, list[Any]] = {}
    for node in {var.owner for var in ancestors(list(ends)) if var.owner}:
        for var in set(node.inputs):
            users.setdefault(var, []).append(node)
    return users


def _is_product(node: Any, var: Any, others: set[Any]) -> bool:
    op = node.op
    scalar = getattr(getattr(op, "scalar_op", None), "name", None) or str(
        getattr(op, "scalar_op", "")
    )
    core = getattr(op, "core_op", op)
    if scalar not in _PRODUCTS and type(core).__name__ not in _PRODUCT_CLASSES:
        return False
    rest = [inp for inp in node.inputs if inp is not var]
    return any(ancestor in others for ancestor in ancestors(rest))
