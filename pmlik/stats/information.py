"""Divide the information about each parameter into shares of the data and of the prior."""

import numpy as np
import xarray as xr
from scipy import linalg

from pmlik._differences import fourth_order_difference
from pmlik._typing import FloatArray
from pmlik.errors import ValuesError
from pmlik.inference.compiled import CompiledModel
from pmlik.inference.prepare import prepared_of
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.information import InformationShares, describe_shares
from pmlik.results.point import PointEstimate

# A direction with a smaller share of information from the data is the prior's alone.
_PRIOR_ONLY = 1e-3
_STEP = 1e-4


def share_information(estimate: PointEstimate | Comparison) -> InformationShares:
    """Compute the likelihood's share of the posterior precision at the MAP.

    Parameters
    ----------
    estimate : PointEstimate or Comparison
        A MAP, as `find_MAP` returns it; of a comparison its MAP.

    Returns
    -------
    InformationShares
        NaN with a flag if the MAP can't be trusted or is on a border.

    Raises
    ------
    ValuesError
        If the estimate is not a MAP that was found in this session.

    Notes
    -----
    The trace of ``(I + P)^-1 I`` as the effective number of parameters: Spiegelhalter et al.
    (2002), doi:10.1111/1467-9868.00353, there with the expected deviance.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 2)
    ...     y = pm.Normal("y", mu, 1, observed=[1.0, 2.0, 3.0])
    >>> shares = pmlik.share_information(pmlik.find_MAP(model, progressbar=False))
    >>> round(float(shares.shares["mu"]), 4)  # 3 / (3 + 1/4)
    0.9231
    """
    if isinstance(estimate, Comparison):
        estimate = estimate.map
    if not isinstance(estimate, PointEstimate) or estimate.kind != "map":
        got = getattr(estimate, "kind", type(estimate).__name__)
        raise ValuesError(f"estimate: got {got}, need a MAP, from find_MAP or comparison.map.")
    prepared = prepared_of(estimate, "share_information")
    if not estimate.trusted or estimate.at_boundary:
        return _unknown(prepared.problem)
    return _shares(prepared.problem, estimate.unconstrained)


def _unknown(problem: CompiledModel) -> InformationShares:
    space = problem.parameters
    """Return shares that are NaN, with a flag."""
    flag = Flag(FlagCode.NO_SHARES, Severity.WARNING, (), "Look at the flags of the MAP.")
    empty = np.zeros((0, space.size))
    return InformationShares(
        space.to_dataset(np.full(space.size, np.nan)),
        _label(problem, empty, []),
        (),
        np.nan,
        (flag,),
    )


def _shares(problem: CompiledModel, x: FloatArray) -> InformationShares:
    """Return the shares at a regular MAP."""
    space, jacobian = problem.parameters, _jacobian(problem, x)
    data = natural_information(problem, x, "likelihood")
    both = data + natural_information(problem, x, "prior")
    # Units differ by orders of magnitude, so scale to a unit diagonal first.
    diagonal = np.abs(np.diag(both))
    unit = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled, scaled_both = (m * np.outer(unit, unit) for m in (data, both))
    try:
        values, vectors = linalg.eigh(scaled, scaled_both)
    except linalg.LinAlgError:  # the mode is flat in some direction
        return _unknown(problem)
    resolution = np.linalg.solve(scaled_both, scaled) * np.outer(unit, 1 / unit)
    share = np.einsum("ij,ji->i", jacobian @ resolution, np.linalg.pinv(jacobian))
    moved = (jacobian @ (unit[:, None] * vectors)).T
    moved = moved / np.abs(moved).max(axis=1, keepdims=True)
    return InformationShares(
        shares=space.to_dataset(share),
        directions=_label(problem, moved, values),
        prior_only=describe_shares(space.labels, moved[np.abs(values) < _PRIOR_ONLY]),
        effective_parameters=float(values.sum()),
        flags=(),
    )


def _label(
    problem: CompiledModel, moved: FloatArray, values: FloatArray | list[float]
) -> xr.DataArray:
    """Return the effect of each direction on each parameter, with the share of the data."""
    return xr.DataArray(
        moved,
        dims=("direction", "parameter"),
        coords={"parameter": list(problem.parameters.labels), "share": ("direction", list(values))},
        name="directions",
    )


def _jacobian(problem: CompiledModel, x: FloatArray) -> FloatArray:
    """Return the Jacobian (k, n) of the parameters' natural values."""
    k = problem.parameters.size
    jvp = problem.values.jvp(x)
    return np.array([jvp(unit)[:k] for unit in np.eye(len(x))]).T


def natural_information(problem: CompiledModel, x: FloatArray, which: str) -> FloatArray:
    """Return the negative Hessian of a log-density in natural units, along the Jacobian's columns.

    With ``theta = theta(x)`` and gradient ``g`` in natural units it is the Hessian in ``x``
    less ``sum_k g_k d2 theta_k / dx2``.

    ``x`` (n,), ``which`` {"likelihood", "prior"}.
    """
    density = {"likelihood": problem.likelihood, "prior": problem.prior}[which]
    m, k = problem.parameters.size + problem.derived.size, problem.parameters.size
    gradient = density.value_and_gradient(x)[1]
    weights = np.zeros(m)
    weights[:k] = np.linalg.lstsq(_jacobian(problem, x).T, gradient)[0]

    def pullback(at: FloatArray) -> FloatArray:
        return problem.values.vjp(at, weights)

    rows = [
        fourth_order_difference(pullback, x, step) / (12 * _STEP) for step in _STEP * np.eye(len(x))
    ]
    curvature = np.array(rows).reshape(len(x), len(x))
    return np.asarray(-(density.hessian(x) - (curvature + curvature.T) / 2))
