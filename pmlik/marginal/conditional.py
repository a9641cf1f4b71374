"""Conditional modes and standard deviations of the latents, given data and parameters."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.traversal import ancestors

from pmlik._typing import FloatArray
from pmlik.logp.compile import compile_mode
from pmlik.logp.transforms import ConstrainedValues
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.marginal.laplace import Laplace, Mode
from pmlik.model.dims import label_space
from pmlik.model.graph import as_tensor, in_double_precision
from pmlik.model.roles import Roles
from pmlik.model.transform import TermsModel

_MAX_ROWS = 2000


def conditional_modes(
    model: TermsModel,
    roles: Roles,
    likelihood: MarginalLogLikelihood,
    x: FloatArray,
    backend: str | None = None,
) -> tuple[xr.Dataset, xr.Dataset, bool]:
    """Return the latents' modes given ``x``, with the derived quantities that they move.

    Also their standard deviations, and True if the latents are Gaussian given the parameters: the
    fields of `LatentModes`.

    ``model``: the model that the likelihood was compiled from.
    ``x`` (n,): the parameters, unconstrained.
    """
    latents = {model[name] for name in roles.latents}
    missing = {model[name] for name in roles.missing}
    above = {name: set(ancestors([model[name]])) for name in roles.derived}
    moved = [n for n in roles.derived if above[n] & latents and not above[n] & missing]
    names = [*roles.latents, *moved]
    values = _constrained_values(model, roles, names, backend)
    mode = likelihood.mode(x)
    u = likelihood.integrand.start if mode is None else mode.u
    with np.errstate(all="ignore"):
        arrays = values.arrays(np.concatenate([x, u]))
    space = label_space(model, names, arrays)
    flat = space.join(dict(zip(names, arrays, strict=True)))
    if mode is None:
        nothing = space.to_dataset(np.full(space.size, np.nan))
        return nothing, nothing, likelihood.is_exact
    errors = _standard_deviations(values, x, mode, likelihood.laplace)
    smooth = values.smooth(np.concatenate([x, u]))
    errors = np.where(smooth, errors, np.nan)
    return space.to_dataset(flat), space.to_dataset(errors), likelihood.is_exact


def _constrained_values(
    model: TermsModel, roles: Roles, names: list[str], backend: str | None
) -> ConstrainedValues:
    graphs = [as_tensor(g) for g in model.replace_rvs_by_values([model[n] for n in names])]
    inputs = [model.rvs_to_values[model[name]] for name in (*roles.parameters, *roles.latents)]
    joined, x = join_nonshared_inputs(
        point=model.initial_point(0), outputs=in_double_precision(graphs), inputs=inputs
    )
    return ConstrainedValues(list(joined), x, model, compile_mode(backend))


def _standard_deviations(
    values: ConstrainedValues, x: FloatArray, mode: Mode, laplace: Laplace
) -> FloatArray:
    """Return roots of the diagonal of ``J Q^-1 J'``, with the values' Jacobian ``J`` in ``u``."""
    joint = np.concatenate([x, mode.u])
    jvp = values.jvp(joint)

    def jvp_in_latents(v: FloatArray) -> FloatArray:
        return jvp(np.concatenate([np.zeros(len(x)), v]))

    found = _by_colours(jvp_in_latents, mode, laplace)
    if found is not None:
        return found
    m = len(values(joint))
    if m > _MAX_ROWS:
        return np.full(m, np.nan)
    rows = (values.vjp(joint, unit)[len(x) :] for unit in np.eye(m))
    return np.sqrt([float(row @ mode.factor.solve(row)) for row in rows])


def _by_colours(
    jvp: Callable[[FloatArray], FloatArray], mode: Mode, laplace: Laplace
) -> FloatArray | None:
    """Return the same from one product per colour of the latents' Hessian.

    None unless each value depends on at most one latent of each colour, and the latents that it
    depends on have entries in common: else that many products do not give the Jacobian.
    """
    pattern, n = laplace.pattern, len(mode.u)
    entries = np.array([jvp(seed) for seed in pattern.seeds])
    numbers = np.array([jvp(seed * np.arange(1, n + 1)) for seed in pattern.seeds])
    with np.errstate(all="ignore"):
        columns = np.where(entries != 0, np.round(numbers / entries) - 1, 0)
    if not (np.isfinite(columns).all() and ((columns >= 0) & (columns < n)).all()):
        return None
    columns = columns.astype(np.int64)
    v = np.random.default_rng(0).normal(size=n)
    image = jvp(v)
    error = np.abs(np.einsum("cm,cm->m", entries, v[columns]) - image)
    if (error > 1e-9 * (1 + np.abs(image))).any():
        return None
    inverse, variance = mode.factor.inverse_entries(), np.zeros(len(image))
    for one, at in zip(entries, columns, strict=True):
        for other, where in zip(entries, columns, strict=True):
            both = np.flatnonzero((one != 0) & (other != 0))
            place = pattern.locate(at[both], where[both])
            if (place < 0).any():
                return None
            variance[both] += one[both] * other[both] * inverse[place]
    return np.sqrt(np.maximum(variance, 0.0))
