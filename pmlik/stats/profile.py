"""Profile log-likelihoods of parameters and derived quantities, and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from pmlik._runtime import steps
from pmlik._typing import FloatArray
from pmlik.errors import EstimationError, ValuesError
from pmlik.inference.options import check_ci_prob, check_count
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import prepared_of
from pmlik.labels import bounds_of, circles_by_label, label_bounds, labelled, select_variables
from pmlik.optimize.hessian import DENSE_LIMIT
from pmlik.optimize.multistart import Start
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.format import format_number, format_to
from pmlik.results.point import PointEstimate, Status
from pmlik.results.table import Shown, Table
from pmlik.stats.profile_endpoints import LimitInfo, ProfileEndpoints, ProfileTracer
from pmlik.stats.profile_trace import TraceStatus

# Derived variables with more elements than this are profiled only if they are named.
_FEW_ELEMENTS = 8

# Profiles start again from an optimum that is better by this, a few times at most.
_BETTER = 1e-6
_RESTARTS = 3


@dataclass(frozen=True, eq=False)
class Profile(Shown):
    """Profile log-likelihoods: the likelihood maximised over everything but one scalar.

    Parameters
    ----------
    estimate : PointEstimate
        The MLE of the profiles: the one given, or a higher one found while profiling.
    curves : Mapping of str to xarray.Dataset
        By label, each with the dim ``value`` (the scalar, natural units; an angle's go on beyond
        the cut at pi): ``log_likelihood``;
        ``signed_root``, ``sign(v - mle) sqrt(2 (l(mle) - l(v)))``, a straight line where the
        Wald interval is right; ``parameters`` (value, parameter), all parameters' natural
        values at the constrained optimum; ``distance``, how far that is from exact, in SE.
    interval : xarray.Dataset
        With a last dim ``ci_bound``, attributes ``ci_kind`` and ``ci_prob``. Infinite, or the
        border of the support, where the profile never falls far enough; NaN where it could not
        be traced. The ends of an angle are wrapped: the lower one is above the upper one where the
        interval crosses the cut. Where its profile falls far enough nowhere, the interval is the
        whole turn.
    flags : tuple of Flag
        About the profiles; those of the estimate are in ``estimate.flags``.
    """

    estimate: PointEstimate
    curves: Mapping[str, xr.Dataset]
    interval: xr.Dataset
    flags: tuple[Flag, ...]

    @property
    def ci_prob(self) -> float:
        """Probability of the intervals."""
        return float(self.interval.attrs["ci_prob"])

    def sheet(self) -> Table:
        """Return the intervals as a table of strings."""
        values, errors = labelled(self.estimate.values), labelled(self.estimate.std_error)
        rows = []
        for label, bounds in bounds_of(self.interval).items():
            error = errors[label]
            lower, upper = (format_to(bound, error) for bound in bounds)
            rows.append(
                (label, format_to(values[label], error), format_number(error, 3), lower, upper)
            )
        heads = ("parameter", "MLE", "SE", "lower", "upper")
        title = f"Profile likelihood intervals, {100 * self.ci_prob:g}%"
        notes = tuple(("flag", str(flag)) for flag in self.flags)
        return Table(title, heads, tuple(rows), notes)


def profile(
    estimate: PointEstimate | Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    ci_prob: float = 0.95,
    n_points: int = 10,
    progressbar: bool = True,
) -> Profile:
    """Compute profile log-likelihood curves and their intervals.

    Each scalar is held at values from the MLE outward, with the others optimised, until the
    log-likelihood has fallen by half the chi-square quantile of one degree of freedom. For a
    derived quantity that is an optimum under a constraint.

    Parameters
    ----------
    estimate : PointEstimate or Comparison
        An MLE as `find_MLE` returned it.
    var_names : str or sequence of str, optional
        Parameters and derived variables. Default: all, without derived variables of more than
        eight elements.
    coords : mapping, optional
        Labels to choose along the variables' dims.
    ci_prob : float
    n_points : int
        Approximate number of points on each side of a curve.
    progressbar : bool

    Returns
    -------
    Profile

    Raises
    ------
    ValuesError
        For names that the model does not have, and for a MAP.
    EstimationError
        If the likelihood has no maximum to start from.

    Notes
    -----
    Newton steps on the Lagrange conditions with exact derivatives; each point is predicted along
    the tangent of the last. Points are certified to 1e-6 standard errors, and the endpoints are
    found to 1e-7. Source: Venzon
    and Moolgavkar (1988), doi:10.2307/2347496.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> pmlik.profile(mle, progressbar=False).interval["p"].values.round(4)
    array([0.0364, 0.4994])
    """
    mle = mle_of(estimate, "profile")
    check_count("n_points", n_points, ValuesError)
    template = select_scalars(mle, var_names, coords)
    mle, found, flags = trace_profiles(
        mle,
        list(labelled(template)),
        ci_prob=ci_prob,
        n_points=n_points,
        progressbar=progressbar,
    )
    return Profile(
        estimate=mle,
        curves={label: label_curve(mle, label, ends) for label, ends in found.items()},
        interval=label_bounds(
            template,
            {label: (ends.lower, ends.upper) for label, ends in found.items()},
            ci_kind="profile",
            ci_prob=ci_prob,
        ),
        flags=tuple(flags),
    )


def mle_of(estimate: PointEstimate | Comparison, purpose: str) -> PointEstimate:
    """Return the MLE of an estimate or a comparison, which holds its compiled model.

    ``purpose``: the function that needs it, for the message.
    Raises `ValuesError` for a MAP, an estimate read from a file, and anything else.
    """
    point = estimate.mle if isinstance(estimate, Comparison) else estimate
    kind = getattr(point, "kind", type(point).__name__)
    if kind != "mle":
        raise ValuesError(
            f"{purpose}: got {str(kind).upper() if kind == 'map' else kind}, need the MLE of a "
            "model, as find_MLE or compare returned it."
        )
    prepared_of(point, purpose)
    return point


def select_scalars(
    estimate: PointEstimate,
    var_names: Sequence[str] | str | None,
    coords: Mapping[str, Any] | None,
    *,
    most: float = _FEW_ELEMENTS,
) -> xr.Dataset:
    """Return the part of an estimate's values that ``var_names`` and ``coords`` select.

    ``var_names``, ``coords``: as in ArviZ.
    ``most``: derived variables with more elements are left out unless they are named.
    Raises `ValuesError` for names and labels that are not there.
    """
    values = estimate.values
    names = var_names
    if names is None:
        parameters = prepared_of(estimate, "profile").problem.parameters.names
        names = [
            str(name)
            for name, array in values.data_vars.items()
            if name in parameters or array.size <= most
        ]
    return select_variables(values, names, coords, where="in the estimate")


def trace_profiles(
    mle: PointEstimate,
    labels: Sequence[str],
    *,
    ci_prob: float,
    n_points: int = 0,
    progressbar: bool = False,
) -> tuple[PointEstimate, dict[str, ProfileEndpoints], list[Flag]]:
    """Trace the profiles of scalars, again from a better optimum if one is found.

    ``ci_prob``: of the intervals at whose endpoints the profiles end.
    ``n_points``: approximate number of points on each side; 0 for the endpoints alone.
    Returns ``mle``: the one given, or the better one. ``ends``. ``flags``.
    """
    check_ci_prob(ci_prob, ValuesError)
    level = float(stats.chi2.ppf(ci_prob, 1)) / 2
    restarts: list[Flag] = []
    found: dict[str, ProfileEndpoints] = {}
    places, constant = places_of(mle), prepared_of(mle, "profile").constant
    labels = [label for label in labels if not constant[places[label]]]
    with steps(progressbar) as say:
        for _ in range(_RESTARTS + 1):
            _check_profilable(mle)
            tracer, found = tracer_of(mle), {}
            values, infinite = labelled(mle.values), mle.at_infinity
            better = None
            for done, label in enumerate(labels):
                say(f"Profiling {label}: {100 * done // len(labels)} %")
                if np.isnan(values[label]) and label not in infinite:
                    continue
                found[label] = tracer.endpoints(places[label], level, n_points, values[label])
                better = _restart(mle, found[label].better)
                if better is not None:
                    break
            if better is None:
                break
            restarts.append(_flag_better(mle, better))
            mle = better
    return mle, found, [*restarts, *_flags(labels, found)]


def tracer_of(mle: PointEstimate) -> ProfileTracer:
    """Return the tracer of an MLE's profiles."""
    prepared, places = prepared_of(mle, "profile"), places_of(mle)
    boundary = [places[label] for label in mle.at_boundary]
    parameters = prepared.problem.parameters.labels
    infinite = [places[label] for label in mle.at_infinity if label in parameters]
    faded = LimitInfo(boundary, infinite, prepared.start) if boundary or infinite else None
    circles = {places[label]: c for label, c in circles_by_label(mle.values).items()}
    return ProfileTracer(prepared.problem, mle.unconstrained, faded, circles)


def places_of(mle: PointEstimate) -> dict[str, int]:
    """Return the index of each scalar among the natural values, parameters first."""
    problem = prepared_of(mle, "profile").problem
    labels = problem.parameters.labels + problem.derived.labels
    return {label: place for place, label in enumerate(labels)}


def can_profile(mle: PointEstimate) -> bool:
    """True if there is a maximum to start from, in a model that is not too large."""
    return _has_supremum(mle) and len(mle.unconstrained) <= DENSE_LIMIT


def _has_supremum(mle: PointEstimate) -> bool:
    """True if the likelihood has a maximum, or a supremum at infinity that is known."""
    if mle.trusted:
        return True
    unknown = mle.labels_at(Status.UNKNOWN)
    parameters = prepared_of(mle, "profile").problem.parameters.labels
    known = bool(mle.at_infinity) and not set(unknown) & set(parameters)
    return known and mle.certificate.gradient_agrees


def _check_profilable(mle: PointEstimate) -> None:
    """Refuse an estimate that has no profiles, or too many coordinates."""
    if not _has_supremum(mle):
        reasons = " ".join(str(flag) for flag in mle.flags if flag.severity is Severity.ERROR)
        raise EstimationError(f"The likelihood has no maximum to profile from. {reasons}")
    if len(mle.unconstrained) > DENSE_LIMIT:
        raise ValuesError(
            f"The model has {len(mle.unconstrained)} coordinates; profiles are traced up to "
            f"{DENSE_LIMIT}."
        )


def _restart(mle: PointEstimate, x: FloatArray | None) -> PointEstimate | None:
    """Return the better optimum near a point, if there is one that can be trusted."""
    if x is None:
        return None
    again = estimate_point(
        prepared_of(mle, "profile"), "mle", [Start("point of a profile", lambda: x)]
    )
    gain = again.log_likelihood - mle.log_likelihood
    return again if again.trusted and gain > _BETTER else None


def _flag_better(mle: PointEstimate, better: PointEstimate) -> Flag:
    gain = better.log_likelihood - mle.log_likelihood
    detail = f"By {gain:.3g} in log-likelihood; all numbers are of the better optimum."
    return Flag(FlagCode.BETTER_OPTIMUM, Severity.WARNING, (), "", detail)


def _flags(labels: Sequence[str], found: Mapping[str, ProfileEndpoints]) -> list[Flag]:
    """Return the flags about the endpoints of profiles, and about those that are missing."""
    flags = []
    for label in labels:
        ends = found.get(label)
        if ends is None:
            flags.append(Flag(FlagCode.NO_PROFILE, Severity.WARNING, (label,)))
            continue
        sides = zip(
            ("lower", "upper"), (ends.lower, ends.upper), ends.statuses, ends.rises, strict=True
        )
        for side, end, finish, rises in sides:
            flags += _flag_side(label, f"It is the {side} side.", end, finish, rises)
    return flags


def _flag_side(label: str, side: str, end: float, finish: TraceStatus, rises: bool) -> list[Flag]:
    if finish is TraceStatus.FLAT:
        code = FlagCode.NO_FINITE_END if np.isinf(end) else FlagCode.ENDS_AT_BORDER
        return [Flag(code, Severity.INFO, (label,), "", side)]
    if finish is TraceStatus.AROUND and np.isfinite(end):
        return [Flag(FlagCode.WHOLE_TURN, Severity.INFO, (label,))] if "lower" in side else []
    if finish is TraceStatus.EDGE:
        return [Flag(FlagCode.ENDS_AT_EDGE, Severity.INFO, (label,), "", side)]
    if finish is TraceStatus.BETTER and np.isfinite(end):
        border = Flag(FlagCode.ENDS_AT_BORDER, Severity.INFO, (label,), "", side)
        return [border, Flag(FlagCode.PROFILE_RISES, Severity.WARNING, (label,), "", side)]
    if finish is not TraceStatus.REACHED:
        why = f"Because {finish.value}."
        return [Flag(FlagCode.PROFILE_BREAKS, Severity.WARNING, (label,), "", f"{side} {why}")]
    if rises:
        return [Flag(FlagCode.PROFILE_RISES, Severity.WARNING, (label,), "", side)]
    return []


def label_curve(mle: PointEstimate, label: str, ends: ProfileEndpoints) -> xr.Dataset:
    """Return the points of a profile, labelled, as in `Profile.curves`."""
    parameters = prepared_of(mle, "profile").problem.parameters
    delta_nll = np.array([point.delta_nll for point in ends.curve])
    value = ends.values[:, places_of(mle)[label]]
    circle = circles_by_label(mle.values).get(label)
    if circle is not None and len(value):
        value = np.unwrap(value, period=circle.period)
        at = int(np.argmin(np.abs(ends.sides)))
        value += circle.wrap(float(value[at])) - value[at]
    return xr.Dataset(
        {
            "log_likelihood": ("value", mle.log_likelihood - delta_nll),
            "signed_root": ("value", ends.sides * np.sqrt(2 * np.maximum(delta_nll, 0.0))),
            "parameters": (("value", "parameter"), ends.values[:, : parameters.size]),
            "distance": ("value", np.array([point.distance for point in ends.curve])),
        },
        coords={"value": value, "parameter": list(parameters.labels)},
    )
