"""Transform a model: the same variables under another density."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor
from pymc.initial_point import make_initial_point_fn
from pymc.model.fgraph import ModelDeterministic, ModelVar, fgraph_from_model, model_from_fgraph
from pymc.model.transform.conditioning import remove_value_transforms
from pytensor.compile import view_op
from pytensor.graph import FunctionGraph
from pytensor.graph.basic import Constant, Variable
from pytensor.xtensor import as_xtensor

from pmlik.errors import ModelError
from pmlik.model.graph import as_tensor, in_double_precision
from pmlik.model.roles import Potentials, Roles, read_roles, refuse_latents
from pmlik.model.support import log_probability
from pmlik.model.validate import resolve_model

#: The term of an unused latent of which the transform leaves a part, by its name.
_PROBABILITY = "probability of "


class TermsModel(pm.Model):
    """A ``pm.Model`` whose log-density is the sum of some of its terms.

    Built by `likelihood_model`, never by hand.
    """

    _terms: tuple[str, ...]

    @property
    def terms(self) -> list[Any]:
        """Return the variables whose terms are summed to the log-density."""
        return [self[name] for name in self._terms]

    def logp(self, vars: Any = None, jacobian: bool = True, sum: bool = True) -> Any:
        """Return the graph of the log-density, as ``pm.Model.logp`` does if ``vars`` are named.

        Without ``vars`` it is the sum of the model's terms, without Jacobian for any value of
        ``jacobian``: a likelihood is not a density of the parameters.
        """
        if vars is None:
            vars, jacobian = self.terms, False
        return super().logp(vars=vars, jacobian=jacobian, sum=sum)

    def copy(self) -> TermsModel:
        """Return an independent copy with the same density."""
        return terms_model(self, self._terms)


def likelihood_terms(roles: Roles, potentials: Potentials) -> tuple[str, ...]:
    """Return the names of the terms of the log-likelihood."""
    restricted = tuple(f"{_PROBABILITY}{name}" for name in roles.restricted)
    return roles.observed + (roles.potentials if potentials == "likelihood" else ()) + restricted


def prior_terms(roles: Roles, potentials: Potentials) -> tuple[str, ...]:
    """Return the names of the terms of the log-prior; missing values integrate to one."""
    return roles.parameters + (roles.potentials if potentials == "prior" else ())


def likelihood_model(
    model: pm.Model | None = None, *, potentials: Potentials = "likelihood"
) -> pm.Model:
    """Return the model whose log-density is the likelihood of ``model``.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. It is not changed.
    potentials : {"likelihood", "prior"}
        The density that ``pm.Potential`` terms belong to.

    Returns
    -------
    pm.Model
        With the same variables, dims, coords, transforms, initial values and a copy of the
        data. ``pm.find_MAP`` of it is the maximum likelihood estimate. Its ``logp()`` is
        ``log p(y | theta)`` with all constants, and no Jacobian.

    Raises
    ------
    ModelError
        If the model has no likelihood, or one that is an integral over latents.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> likelihood = pmlik.likelihood_model(model)
    >>> float(likelihood.compile_logp()({"p_logodds__": 0.0}).round(6))
    -3.124809
    """
    model = resolve_model(model)
    roles = read_roles(model, potentials)
    refuse_latents(roles)
    return terms_model(model, likelihood_terms(roles, potentials))


def terms_model(
    model: pm.Model, terms: Iterable[str], *, exact_constants: bool = False
) -> TermsModel:
    """Return a clone of ``model`` whose log-density is the sum of the named terms.

    ``exact_constants``: hold the constants of the clone's graph in double precision.
    """
    graph, _ = graph_of(model)
    if exact_constants:
        graph = _with_exact_constants(graph)
    terms = tuple(terms)
    clone = _as_terms_model(model_from_fgraph(graph, mutate_fgraph=True), model, terms)
    for name in terms:
        if name not in clone.named_vars:
            probability = log_probability(clone, clone[name.removeprefix(_PROBABILITY)])
            with clone:
                pm.Potential(name, probability)
    return clone


def graph_of(model: pm.Model) -> tuple[Any, dict[Any, Any]]:
    """Return the model as a graph, and a mapping from its variables to the graph's.

    A deterministic that equals another named variable gets a node of its own: else the model made
    from the graph would give both the same name.
    """
    graph, memo = fgraph_from_model(without_initial_values(model))
    nodes = [out.owner for out in graph.outputs if isinstance(out.owner.op, ModelVar)]
    nodes.sort(key=lambda node: isinstance(node.op, ModelDeterministic))
    taken = set()
    for node in nodes:
        inner = node.inputs[0]
        if inner in taken:
            graph.change_node_input(node, 0, view_op(inner), import_missing=True)
        taken.add(inner)
    return graph, memo


def open_data(model: TermsModel, names: Iterable[str]) -> dict[str, Any]:
    """Replace the data of the named observed variables by shared variables.

    ``model``: a clone made by pmlik; it is changed in place. Covariates stay as they are.
    Returns: in double precision or 64-bit integers, with the shape of the data.
    """
    opened = {}
    for name in names:
        rv = model[name]
        value = model.rvs_to_values[rv]
        data = np.asarray(value.eval() if not isinstance(value, Constant) else value.data)
        dtype = np.result_type(data, np.float64 if data.dtype.kind == "f" else np.int64)
        shared = pytensor.shared(data.astype(dtype), name=value.name, shape=data.shape)
        dims = getattr(value.type, "dims", None)
        opened[name] = shared
        other = shared if dims is None else as_xtensor(shared, dims=dims)
        other.name = value.name
        model.values_to_rvs.pop(value)
        model.rvs_to_values[rv] = other
        model.values_to_rvs[other] = rv
    return opened


def untransformed_model(model: TermsModel) -> TermsModel:
    """Return the model with constrained value variables, and without initial values."""
    copy = without_initial_values(model)
    return _as_terms_model(remove_value_transforms(copy), copy, model._terms)


def factor_graphs(
    model: TermsModel, names: Sequence[str], *, jacobian: bool = False
) -> dict[str, Any]:
    """Return graphs of the named terms before they are summed, constrained scale.

    Their inputs are the value variables. With ``jacobian=True`` they are densities of these.

    Raises `ModelError`: naming the variable whose distribution has no density.
    """
    if not names:
        return {}
    try:
        graphs = model.logp(vars=[model[name] for name in names], jacobian=jacobian, sum=False)
    except (NotImplementedError, RuntimeError, ValueError) as error:
        if len(names) > 1:  # find the one without density
            return {n: factor_graphs(model, [n], jacobian=jacobian)[n] for n in names}
        raise ModelError(
            f"{names[0]}: PyMC has no density for its distribution. Pass `logp=` to pm.CustomDist, "
            f"or add the term as a pm.Potential. ({str(error).splitlines()[0]})"
        ) from error
    return dict(zip(names, map(as_tensor, graphs), strict=True))


def without_initial_values(model: pm.Model) -> Any:
    """Return a shallow copy without initial values, which ``fgraph_from_model`` refuses.

    ``copy.copy`` is no way to it: ``pm.Model.__copy__`` calls ``fgraph_from_model`` itself. The
    user's model must not change, not even for a moment.
    """
    copy = object.__new__(type(model))
    copy.__dict__.update(model.__dict__)
    copy.rvs_to_initial_values = {}
    return copy


def _as_terms_model(clone: Any, model: Any, terms: Iterable[str]) -> TermsModel:
    """Restore what the conversion to a graph and back loses, and set the clone's density."""
    carry_over(clone, model)
    # pm.Model and its subclasses share one instance layout; PyMC's freeze_model does the same.
    clone.__class__ = TermsModel
    clone._terms = tuple(terms)
    result: TermsModel = clone
    return result


def carry_over(clone: pm.Model, model: pm.Model) -> None:
    """Restore what the conversion to a graph and back loses, for the variables of the clone."""
    clone.name, clone.check_bounds = model.name, model.check_bounds
    _separate_derived(clone, model)
    for name, value in _initial_values(model).items():
        if name in clone.named_vars:
            clone.rvs_to_initial_values[clone[name]] = value
    _restore_order(clone, model)


def _separate_derived(clone: pm.Model, model: pm.Model) -> None:
    """Give a deterministic that equals another variable a view, and both their own names back."""
    derived, others = ({v.name for v in vs} for vs in (model.deterministics, model.potentials))
    for name in others & set(clone.named_vars):
        clone.named_vars[name].name = name
    own = {name: var for name, var in clone.named_vars.items() if name in derived}
    views = {name: view_op(var, name=name) for name, var in own.items() if var.name != name}
    if views:
        clone.named_vars.update(views)
        clone.deterministics.clear()
        clone.deterministics.extend(clone.named_vars[name] for name in own)


def _with_exact_constants(graph: Any) -> Any:
    """Return the graph with constants in double precision.

    ``fgraph_from_model`` keeps coords and lengths of dims in these two attributes of the graph,
    and PyMC has no public function that sets them.
    """
    exact = FunctionGraph(outputs=in_double_precision(graph.outputs), clone=False)
    exact._coords, exact._dim_lengths = graph._coords, graph._dim_lengths
    return exact


def _initial_values(model: pm.Model) -> dict[str, Any]:
    """Return the user's initial values by name, with symbolic ones evaluated."""
    given = {rv.name: v for rv, v in model.rvs_to_initial_values.items() if v is not None}
    symbolic = {
        name for name, v in given.items() if isinstance(v, Variable) and not isinstance(v, Constant)
    }
    if symbolic:
        point = make_initial_point_fn(model=model, return_transformed=False)(0)
        given.update({name: point[name] for name in symbolic})
    return given


def _restore_order(clone: pm.Model, model: pm.Model) -> None:
    """Restore the user's order of variables; the conversion sorts them topologically."""
    for attribute in ("free_RVs", "observed_RVs", "deterministics", "potentials", "data_vars"):
        order = {var.name: i for i, var in enumerate(getattr(model, attribute))}
        getattr(clone, attribute).sort(key=lambda var, order=order: order[var.name])
