"""Turn a model into one of its parameters alone: the latents are integrated out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.model.fgraph import model_from_fgraph
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op

from pmlik._typing import FloatArray
from pmlik.errors import ModelError
from pmlik.inference.compiled import CompiledModel, compile_model
from pmlik.logp.density import LogDensity
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.model.discrete import sum_out_discrete
from pmlik.model.graph import as_tensor
from pmlik.model.roles import Latent, Potentials, Roles, read_roles
from pmlik.model.transform import carry_over, graph_of
from pmlik.model.validate import resolve_model

_NAME = "log_likelihood"


class MarginalOp(Op):
    """The marginal log-likelihood of the flat unconstrained vector, as a PyTensor operation."""

    __props__ = ("density",)

    def __init__(self, density: LogDensity | MarginalLogLikelihood) -> None:
        self.density = density

    def make_node(self, x: Any) -> Apply:
        """Take one vector and return one scalar."""
        return Apply(self, [pt.as_tensor(x).astype("float64")], [pt.dscalar()])

    def perform(self, node: Any, inputs: Sequence[FloatArray], outputs: Any) -> None:
        """Evaluate; ``-inf`` where the integral has no value."""
        value = self.density.value_and_gradient(np.asarray(inputs[0]))[0]
        outputs[0][0] = np.asarray(value if np.isfinite(value) else -np.inf)

    def infer_shape(self, node: Any, shapes: Any) -> list[tuple[()]]:
        """Return the shape of a scalar."""
        return [()]

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Return the exact gradient, an operation of its own."""
        return [MarginalGradientOp(self.density)(inputs[0]) * cotangents[0]]

    L_op = pullback  # its name up to PyTensor 3.1


class MarginalGradientOp(Op):
    """The gradient of a `MarginalOp`."""

    __props__ = ("density",)

    def __init__(self, density: LogDensity | MarginalLogLikelihood) -> None:
        self.density = density

    def make_node(self, x: Any) -> Apply:
        """Take one vector and return one of the same length."""
        return Apply(self, [pt.as_tensor(x).astype("float64")], [pt.dvector()])

    def perform(self, node: Any, inputs: Sequence[FloatArray], outputs: Any) -> None:
        """Evaluate; zeros where the integral has no value."""
        value, gradient = self.density.value_and_gradient(np.asarray(inputs[0]))
        usable = np.isfinite(value) and np.isfinite(gradient).all()
        outputs[0][0] = gradient if usable else np.zeros_like(gradient)

    def infer_shape(self, node: Any, shapes: Any) -> Any:
        """Return the shape of the input."""
        return shapes


def marginal_model(
    model: pm.Model | None = None,
    *,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
    potentials: Potentials = "likelihood",
    backend: str | None = None,
    quadrature: int | None = None,
) -> pm.Model:
    """Return the model of the parameters alone: latents are integrated out of the likelihood.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. It is not changed.
    latent : "auto" or sequence of str
        The latents, by default as read from the graph (see `find_MLE`).
    parameters : sequence of str
        Variables that are parameters although they look like latents.
    potentials : {"likelihood", "prior"}
        What ``pm.Potential`` terms count as.
    backend : {"numba", "jax", "c"}, optional
        For the integrand; default: as suits its cost.
    quadrature : int, optional
        Nodes of adaptive quadrature per latent, see `find_MLE`.

    Returns
    -------
    pm.Model
        With the priors of the parameters, and the marginal log-likelihood as a ``pm.Potential``
        named ``log_likelihood``: the Laplace approximation of the integral, exact where the latents
        are Gaussian and enter linearly. ``pm.find_MAP`` of it is the marginal MAP, of its
        `likelihood_model` the marginal MLE; ``pm.sample`` draws from the parameters' posterior.

    Raises
    ------
    ModelError
        If the model has no latents, or one that can't be integrated out.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 10)
    ...     a = pm.Normal("a", mu, 3)
    ...     y = pm.Normal("y", a, 2, observed=4.0)
    >>> marginal = pmlik.marginal_model(model, latent=["a"])
    >>> [rv.name for rv in marginal.free_RVs]
    ['mu']
    >>> found = pmlik.find_MLE(marginal, progressbar=False)  # y ~ Normal(mu, sqrt(13))
    >>> print(f"{found.values['mu']:.4f} {found.std_error['mu']:.4f}")
    4.0000 3.6056
    """
    model, _ = sum_out_discrete(resolve_model(model))
    roles = read_roles(model, potentials, latent=latent, parameters=parameters)
    if not roles.latents:
        raise ModelError(
            "The model has no latents to integrate out: its own likelihood is the marginal one. "
            "Name them with latent=[...], or use pmlik.likelihood_model."
        )
    problem = compile_model(
        model, roles, potentials=potentials, backend=backend, quadrature=quadrature
    )
    return parameters_model(model, roles, problem)


def parameters_model(model: pm.Model, roles: Roles, problem: CompiledModel) -> pm.Model:
    """Return the model of the parameters, with the compiled likelihood as a potential."""
    graph, memo = graph_of(model)
    kept = {memo[model[name]] for name in (*roles.parameters, *problem.derived.names)}
    for place in reversed(range(len(graph.outputs))):
        if graph.outputs[place] not in kept:
            graph.remove_output(place)
    clone = model_from_fgraph(graph, mutate_fgraph=True)
    carry_over(clone, model)
    name = _NAME
    while name in clone.named_vars:
        name = f"marginal_{name}"
    with clone:
        parts = [_unconstrained(clone, clone[each]) for each in roles.parameters]
        pm.Potential(name, MarginalOp(problem.likelihood)(pt.concatenate(parts)))
    return clone


def _unconstrained(clone: pm.Model, rv: Any) -> Any:
    """Return a parameter's unconstrained value as a function of the parameter."""
    transform = clone.rvs_to_transforms[rv]
    value = rv if transform is None else transform.forward(rv, *rv.owner.inputs)
    return pt.flatten(as_tensor(value))
