"""Hold the draws against the optima: no draw is higher, and the chains come near."""

from dataclasses import replace

import numpy as np

from pmlik._typing import FloatArray
from pmlik.inference.chains import check_near, check_no_higher
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import Prepared
from pmlik.inference.starts import FROM_DRAW
from pmlik.optimize.multistart import Start
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.point import PointEstimate, Status
from pmlik.results.posterior import PosteriorEstimate

# The most evaluations of one observation, and the fewest draws that are looked at.
_MAX_EVALUATIONS = 200_000_000
_MIN_DRAWS = 200
_HOPELESS = (Status.MINUS_INFINITY, Status.PLUS_INFINITY, Status.UNBOUNDED)


def audit(
    prepared: Prepared,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate,
) -> tuple[PointEstimate, PointEstimate, list[Flag]]:
    """Check that no draw is higher than the optimum, and that the chains come near it.

    An optimum that a draw exceeds, or that was not found, is searched for again from there.

    Returns ``mle``, ``map_estimate``: as given, or found anew. ``flags``.
    """
    draws = _draws(prepared, posterior)
    if not len(draws):
        return mle, map_estimate, []
    problem = prepared.problem
    log_likelihood = problem.likelihood.many("value", draws)[0]
    joint = log_likelihood + problem.prior.many("value", draws)[0]
    mle, flags = _audit_one(prepared, mle, draws, log_likelihood)
    map_estimate, more = _audit_one(prepared, map_estimate, draws, joint)
    size = int(problem.likelihood.active.sum())
    near = check_near(_log_density(map_estimate), joint, size) if map_estimate.trusted else []
    return mle, map_estimate, [*flags, *more, *near]


def _draws(prepared: Prepared, posterior: PosteriorEstimate) -> FloatArray:
    """Return draws as unconstrained vectors (d, n), evenly thinned where the data are large."""
    space = prepared.problem.parameters
    group = posterior.tree["posterior"].dataset
    if any(name not in group for name in space.names):
        return np.zeros((0, 0))
    x = prepared.unconstrained(group)
    x = x[np.isfinite(x).all(axis=1)]
    most = max(_MIN_DRAWS, _MAX_EVALUATIONS // max(1, prepared.problem.n_observations))
    if prepared.roles.latents:  # each evaluation is an integral
        most = _MIN_DRAWS
    return thin(x, most)


def thin(x: FloatArray, most: int) -> FloatArray:
    """Return at most so many rows, evenly."""
    return x[:: max(1, -(-len(x) // most))]


def _log_density(estimate: PointEstimate) -> float:
    prior = estimate.log_prior if estimate.kind == "map" else 0.0
    return estimate.log_likelihood + prior


def _audit_one(
    prepared: Prepared, estimate: PointEstimate, draws: FloatArray, values: FloatArray
) -> tuple[PointEstimate, list[Flag]]:
    if estimate.labels_at(*_HOPELESS):
        return estimate, []
    best = int(np.nanargmax(values)) if np.isfinite(values).any() else -1
    gain = values[best] - _log_density(estimate)
    slack = 1e-6 * (1 + abs(values[best]))
    if best < 0 or gain <= slack or (estimate.trusted and not np.isfinite(gain)):
        return estimate, []
    again = estimate_point(prepared, estimate.kind, [Start(FROM_DRAW, lambda: draws[best])])
    if again.trusted and values[best] - _log_density(again) <= slack:
        detail = f"By {gain:.3g} in log-density." if np.isfinite(gain) else ""
        flag = Flag(FlagCode.RESTARTED, Severity.INFO, (), "", detail)
        return replace(again, flags=(*again.flags, flag)), []
    flags = check_no_higher(gain, estimate.kind)
    return replace(estimate, flags=(*estimate.flags, *flags)), []
