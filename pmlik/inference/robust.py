"""Standard errors of the MLE that do not take the model's word for the spread of the data."""

from dataclasses import replace

import numpy as np
import xarray as xr

from pmlik._typing import FloatArray
from pmlik.errors import ModelError
from pmlik.inference.prepare import Prepared, prepared_of
from pmlik.inference.units import Cluster, read_units
from pmlik.optimize.hessian import DENSE_LIMIT, HessianEigen
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.point import PointEstimate


@np.errstate(all="ignore")
def make_robust(estimate: PointEstimate | Comparison, *, cluster: Cluster = None) -> PointEstimate:
    """Return the MLE with the sandwich in place of the inverse observed information.

    ``H^-1 (sum_c s_c s_c') H^-1`` with the observed information ``H`` and the scores ``s_c``, the
    exact gradients of the log-likelihood of each observation, or cluster of observations. It
    is valid if the model of the mean is right and that of the spread is not. Nothing is
    estimated again.

    Parameters
    ----------
    estimate : PointEstimate or Comparison
        Of `find_MLE`.
    cluster : str, array or mapping, optional
        As in `bootstrap`: observations within a cluster may depend on each other. In a model
        with latents the default is the independent blocks of latents, and clusters are unions
        of them.

    Returns
    -------
    PointEstimate
        In the user's units, by the delta method. No small-sample factor is applied (HC0 [2]_);
        other packages multiply by ``n / (n - k)``, or ``G / (G - 1)`` with ``G`` clusters.
        ``std_error.attrs["covariance_kind"]`` is ``"robust"``. NaN where the observed information
        gives none, at the boundary of the support, and if there are no more clusters than
        parameters.

    Raises
    ------
    ModelError
        For a MAP; if the log-likelihood is not one of independent terms; if the clusters do not
        fit; above 2000 coordinates.

    References
    ----------
    .. [1] White (1982), doi:10.2307/1912526.
    .. [2] White (1980), doi:10.2307/1912934.

    Examples
    --------
    >>> import numpy as np, pymc as pm, pmlik
    >>> with pm.Model() as model:  # twelve people in three rooms
    ...     mu = pm.Normal("mu", 0, 10)
    ...     y = pm.Normal("y", mu, 1, observed=np.repeat([1.0, 2.0, 4.0], 4))
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> by_room = pmlik.make_robust(mle, cluster=np.repeat(["a", "b", "c"], 4))
    >>> print(f"{mle.std_error['mu']:.3f} {by_room.std_error['mu']:.3f}")
    0.289 0.720
    """
    if isinstance(estimate, Comparison):
        estimate = estimate.mle
    prepared = _check(estimate)
    problem, x = prepared.problem, estimate.unconstrained
    units = read_units(problem, x, cluster, "a robust covariance")
    flags = list(estimate.flags)
    m = problem.parameters.size + problem.derived.size
    limit = estimate.at_boundary or estimate.at_infinity
    if limit or not np.isfinite(estimate.log_likelihood):
        roots = np.full((m, 1), np.nan)
        flags += [Flag(FlagCode.NO_ROBUST_ERROR, Severity.WARNING)] if limit else []
    elif units.size <= estimate.n_parameters:
        roots = np.full((m, 1), np.nan)
        detail = f"{units.size} of them for {estimate.n_parameters} parameters."
        flags.append(Flag(FlagCode.FEW_CLUSTERS, Severity.ERROR, (), "", detail))
    else:
        roots = _roots(prepared, x, problem.likelihood.unit_scores(x, units.codes, units.size))
    return replace(_with_roots(estimate, prepared, roots), flags=tuple(flags))


def _check(estimate: PointEstimate) -> Prepared:
    if not isinstance(estimate, PointEstimate):
        raise ModelError(f"estimate: got {type(estimate).__name__}, need what find_MLE returned.")
    if estimate.kind != "mle":
        raise ModelError(
            "estimate: got a MAP; a robust covariance is that of the MLE. Use find_MLE."
        )
    prepared = prepared_of(estimate, "make_robust")
    size = int(prepared.problem.likelihood.active.sum())
    if size > DENSE_LIMIT:
        raise ModelError(
            f"covariance_kind: got 'robust', but the likelihood has {size} coordinates, and above "
            f"{DENSE_LIMIT} no dense matrix is formed. Use 'observed'."
        )
    return prepared


def _roots(prepared: Prepared, x: FloatArray, scores: FloatArray) -> FloatArray:
    """Return a root (m, k) of the covariance of all constrained scalars."""
    objective = prepared.problem.objective("mle", prepared.start)
    active = objective.active
    curvature = HessianEigen.of(objective.hessian(x[active]))
    meat = np.linalg.qr(scores[:, active], mode="r")
    steps = np.array([curvature.newton_step(row) for row in meat])
    tangent = prepared.problem.values.jvp(x)
    return np.column_stack([tangent(objective.lift(step)) for step in steps])


def _with_roots(estimate: PointEstimate, prepared: Prepared, roots: FloatArray) -> PointEstimate:
    problem = prepared.problem
    k = problem.parameters.size
    flat = np.linalg.norm(roots, axis=1)
    known = problem.parameters.to_dataset(flat[:k]).merge(problem.derived.to_dataset(flat[k:]))
    errors = known.where(estimate.std_error.notnull())
    covariance = estimate.covariance
    if covariance is not None:
        product = xr.DataArray(roots[:k] @ roots[:k].T, covariance.coords, covariance.dims)
        covariance = product.where(covariance.notnull()).assign_attrs(covariance_kind="robust")
    return replace(
        estimate, std_error=errors.assign_attrs(covariance_kind="robust"), covariance=covariance
    )
