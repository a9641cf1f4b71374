"""Confidence intervals of the likelihood: Wald, profile, bootstrap."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import arviz as az
import numpy as np
import xarray as xr
from scipy import stats

from pmlik._budget import PROFILES
from pmlik._typing import FloatArray
from pmlik.errors import ModelError, ValuesError
from pmlik.inference.options import check_ci_prob
from pmlik.inference.prepare import prepared_of
from pmlik.labels import circles_by_label, circles_of, label_bounds, labelled
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, Severity
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate
from pmlik.stats.bootstrap import Bootstrap
from pmlik.stats.profile import (
    can_profile,
    mle_of,
    places_of,
    select_scalars,
    trace_profiles,
    tracer_of,
)
from pmlik.stats.profile_endpoints import ProfileEndpoints

# By default a comparison has profiles only of this many scalars. A scalar is the work of about 20
# Hessians.
_MOST_SCALARS = 40
_HESSIANS = 20
Scale = Literal["natural", "unconstrained"]


def interval_wald(
    estimate: PointEstimate | Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    ci_prob: float = 0.95,
    scale: Scale = "natural",
) -> xr.Dataset:
    """Return the estimate plus and minus a normal quantile of standard errors.

    Parameters
    ----------
    estimate : PointEstimate or Comparison
        An MLE as `find_MLE` returned it.
    var_names, coords
        As in `profile`; by default all variables.
    ci_prob : float
    scale : {"natural", "unconstrained"}
        Scale on which the interval is symmetric. ``"unconstrained"`` takes the standard error of
        the value variable (a log, a logit) and transforms the bounds back, which keeps them
        inside the support. Only for parameters with an elementwise transform; NaN for the others
        and for derived quantities.

    Returns
    -------
    xarray.Dataset
        Natural units, with a last dim ``ci_bound`` (lower, upper) and the attributes
        ``ci_kind``, ``ci_prob`` and ``scale``. NaN without a standard error. That of an angle
        which crosses the cut at pi has a lower end above the upper one.

    Raises
    ------
    ValuesError
        For wrong names or options, and for a MAP.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> pmlik.interval_wald(mle)["p"].values.round(4)
    array([-0.0479,  0.4479])
    >>> pmlik.interval_wald(mle, scale="unconstrained")["p"].values.round(4)
    array([0.0504, 0.5407])
    """
    mle = mle_of(estimate, "interval_wald")
    check_ci_prob(ci_prob, ValuesError)
    if scale not in ("natural", "unconstrained"):
        raise ValuesError(f"scale: got {scale!r}, need 'natural' or 'unconstrained'.")
    template = select_scalars(mle, var_names, coords, most=np.inf)
    quantile = float(stats.norm.ppf((1 + ci_prob) / 2))
    if scale == "natural":
        errors = labelled(mle.std_error)
        bounds = {
            label: (value - quantile * errors[label], value + quantile * errors[label])
            for label, value in labelled(template).items()
        }
    else:
        bounds = _unconstrained(mle, list(labelled(template)), quantile)
    for label, circle in circles_by_label(template).items():
        reach = quantile * labelled(mle.std_error)[label]
        value = labelled(template)[label]
        bounds[label] = circle.interval(value - reach, value + reach)
    return label_bounds(template, bounds, ci_kind="wald", ci_prob=ci_prob, scale=scale)


def _unconstrained(
    mle: PointEstimate, labels: Sequence[str], quantile: float
) -> dict[str, tuple[float, float]]:
    """Return bounds that are symmetric in the value variables, in natural units."""
    errors, places = labelled(mle.std_error), places_of(mle)
    tracer = tracer_of(mle)
    bounds = {}
    for label in labels:
        if np.isfinite(errors[label]):
            ends = tracer.symmetric(places[label], quantile)
            if ends is not None:
                bounds[label] = ends
    return bounds


def interval_profile(
    estimate: PointEstimate | Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    ci_prob: float = 0.95,
    progressbar: bool = True,
) -> xr.Dataset:
    """Return the values with a profile log-likelihood within a chi-square quantile of the maximum.

    Invariant under reparametrisation, and as asymmetric as the likelihood.

    Parameters
    ----------
    estimate, var_names, coords, ci_prob, progressbar
        As in `profile`, which also has the curves and the flags.

    Returns
    -------
    xarray.Dataset
        Natural units, with a last dim ``ci_bound`` (lower, upper) and the attributes ``ci_kind``,
        ``ci_prob``, and ``notes``: why a bound is infinite, on a border, or NaN. If a better
        optimum was found while profiling, the interval is around that one.

    Raises
    ------
    ValuesError, EstimationError
        As in `profile`.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=0)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> pmlik.interval_profile(mle, progressbar=False)["p"].values.round(4)  # 1 - exp(-1.92/10)
    array([0.    , 0.1748])
    """
    mle = mle_of(estimate, "interval_profile")
    template = select_scalars(mle, var_names, coords)
    _, found, flags = trace_profiles(
        mle, list(labelled(template)), ci_prob=ci_prob, progressbar=progressbar
    )
    return _label_ends(template, found, flags, ci_prob)


def intervals_beside(
    mle: PointEstimate,
    posterior: PosteriorEstimate | None,
    names: Sequence[str],
    *,
    ci_prob: float | None,
    wanted: bool | None,
) -> tuple[PointEstimate, dict[str, xr.Dataset], list[Flag]]:
    """Compute the intervals of a comparison, all of one probability.

    ``names``: the variables of the table.
    ``ci_prob``: default: ArviZ's ``rcParams["stats.ci_prob"]``.
    ``wanted``: True to profile. Default: if it is cheap.
    Returns ``mle``: the one given, or a better optimum that a profile found.
    ``intervals``: by ``ci_kind``. ``flags``.
    """
    prob = float(ci_prob or az.rcParams["stats.ci_prob"])
    known = [name for name in names if name in mle.values]
    template = select_scalars(mle, None, None)
    template = template[[name for name in known if name in template]]
    labels = list(labelled(template))
    profiled, flags = None, list[Flag]()
    if labels and can_profile(mle) and (wanted or (wanted is None and _is_cheap(mle, labels))):
        mle, found, flags = trace_profiles(mle, labels, ci_prob=prob)
        profiled = _label_ends(template, found, flags, prob)
    intervals = {"wald": interval_wald(mle, var_names=known, ci_prob=prob)}
    if profiled is not None:
        intervals["profile"] = profiled
    if posterior is not None:
        intervals[str(posterior.interval.attrs["ci_kind"])] = posterior.interval
    return mle, intervals, [flag for flag in flags if flag.severity is not Severity.INFO]


def _is_cheap(mle: PointEstimate, labels: Sequence[str]) -> bool:
    """True if the profiles are few and expected to be quick."""
    if len(labels) > _MOST_SCALARS:
        return False
    each = prepared_of(mle, "interval_profile").problem.hessian_work
    return each * _HESSIANS * len(labels) < PROFILES


def _label_ends(
    template: xr.Dataset, found: Mapping[str, ProfileEndpoints], flags: Sequence[Flag], prob: float
) -> xr.Dataset:
    """Return the endpoints of profiles as an interval dataset."""
    return label_bounds(
        template,
        {label: (ends.lower, ends.upper) for label, ends in found.items()},
        ci_kind="profile",
        ci_prob=prob,
        notes=[str(flag) for flag in flags],
    )


def interval_bootstrap(
    bootstrap: Bootstrap,
    *,
    ci_prob: float = 0.95,
    method: Literal["percentile", "basic"] = "percentile",
) -> xr.Dataset:
    """Return confidence intervals from bootstrap replicates.

    Parameters
    ----------
    bootstrap : Bootstrap
    ci_prob : float
    method : {"percentile", "basic"}
        Percentile: quantiles of the replicates. Basic: twice the estimate minus these.

    Returns
    -------
    xarray.Dataset
        Natural units, with a last dim ``ci_bound`` (lower, upper). Attributes ``ci_kind``,
        ``ci_prob``, ``method``, ``n_replicates`` and ``n_failed``: the number of replicates left
        out, as they have no estimate. NaN if that is more than a tenth.

    Raises
    ------
    ModelError
        For an unknown method, or a ``ci_prob`` outside (0, 1).

    Notes
    -----
    Source: Davison and Hinkley (1997), doi:10.1017/CBO9780511802843, chapter 5. Quantiles are
    interpolated as by Hyndman and Fan's definition 6, the ``(n + 1) p``-th replicate.
    """
    if not isinstance(bootstrap, Bootstrap):
        raise ModelError(f"bootstrap: got {type(bootstrap).__name__}, need a Bootstrap.")
    if method not in ("percentile", "basic"):
        raise ModelError(f"method: got {method!r}, need 'percentile' or 'basic'.")
    check_ci_prob(ci_prob)
    probs = [(1 - ci_prob) / 2, (1 + ci_prob) / 2]
    kept = bootstrap.usable_draws
    variables, circles = {}, circles_of(bootstrap.values)
    for name, array in kept.data_vars.items():
        ends = _quantiles(array.values, probs)
        if method == "basic":
            ends = 2 * bootstrap.values[name].values - ends[::-1]
        if name in circles:
            ends = circles[str(name)].wrap(ends)
        dims = (*array.dims[1:], "ci_bound")
        coords = {**bootstrap.values[name].coords, "ci_bound": ["lower", "upper"]}
        variables[name] = xr.DataArray(np.moveaxis(ends, 0, -1), dims=dims, coords=coords)
    attributes = {
        "ci_kind": "bootstrap",
        "ci_prob": ci_prob,
        "method": method,
        "n_replicates": bootstrap.n,
        "n_failed": bootstrap.n_failed,
    }
    return xr.Dataset(variables, attrs=attributes)


def _quantiles(rows: FloatArray, probs: list[float]) -> FloatArray:
    """Return quantiles (2, ...) along the first axis; NaN where the sample is too small."""
    enough = (~np.isnan(rows)).sum(axis=0) * min(probs[0], 1 - probs[1]) >= 1
    usable = np.where(enough, rows, 0.0) if len(rows) else np.zeros((1, *rows.shape[1:]))
    ends = np.nanquantile(usable, probs, axis=0, method="weibull")
    return np.asarray(np.where(enough, ends, np.nan))
