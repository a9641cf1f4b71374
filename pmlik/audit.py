"""Draws and optima held against each other: each can show the other to be wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pmlik._typing import FloatArray
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import Prepared
from pmlik.inference.sample import check_near, check_no_higher
from pmlik.inference.starts import FROM_DRAW
from pmlik.optimize.multistart import Start
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate

__all__ = ["audit"]


# So many evaluations of one observation are made at most, and at least so many draws looked at.
_MOST_EVALUATIONS = 200_000_000
_LEAST_DRAWS = 200
_HOPELESS = (FlagCode.AT_INFINITY, FlagCode.UNBOUNDED)


def audit(
    prepared: Prepared,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate,
) -> tuple[PointEstimate, PointEstimate, list[Flag]]:
    """No draw may be higher than the optimum, and the chains have to come near it.

    An optimum that a draw exceeds, or that was not found, is searched for again from there.

    Returns
    -------
    mle, map_estimate : PointEstimate
        As given, or found anew.
    flags : list of Flag
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
    near = check_near(_height(map_estimate), joint, size) if map_estimate.trusted else []
    return mle, map_estimate, [*flags, *more, *near]


def _draws(prepared: Prepared, posterior: PosteriorEstimate) -> FloatArray:
    """Draws as unconstrained vectors (d, n), evenly thinned where the data are large."""
    space = prepared.problem.parameters
    group = posterior.tree["posterior"].dataset
    if any(name not in group for name in space.names):
        return np.zeros((0, 0))
    x = prepared.unconstrained(group)
    x = x[np.isfinite(x).all(axis=1)]
    most = max(_LEAST_DRAWS, _MOST_EVALUATIONS // max(1, prepared.problem.n_observations))
    if prepared.roles.latents:  # each evaluation is an integral
        most = _LEAST_DRAWS
    return x[:: -(-len(x) // most)] if len(x) > most else x


def _height(estimate: PointEstimate) -> float:
    prior = estimate.log_prior if estimate.kind == "map" else 0.0
    return estimate.log_likelihood + prior


def _audit_one(
    prepared: Prepared, estimate: PointEstimate, draws: FloatArray, heights: FloatArray
) -> tuple[PointEstimate, list[Flag]]:
    if any(flag.code in _HOPELESS and flag.severity is Severity.ERROR for flag in estimate.flags):
        return estimate, []
    best = int(np.nanargmax(heights)) if np.isfinite(heights).any() else -1
    gain = heights[best] - _height(estimate)
    slack = 1e-6 * (1 + abs(heights[best]))
    if best < 0 or gain <= slack or (estimate.trusted and not np.isfinite(gain)):
        return estimate, []
    again = estimate_point(prepared, estimate.kind, [Start(FROM_DRAW, lambda: draws[best])])
    if again.trusted and heights[best] - _height(again) <= slack:
        detail = f"By {gain:.3g} in log-density." if np.isfinite(gain) else ""
        flag = Flag(FlagCode.RESTARTED, Severity.INFO, (), "", detail)
        return replace(again, flags=(*again.flags, flag)), []
    flags = check_no_higher(gain, estimate.kind)
    return replace(estimate, flags=(*estimate.flags, *flags)), []
