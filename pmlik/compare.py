"""Compare the MLE, the MAP and the posterior of one model: the whole pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm

from pmlik._runtime import ProgressCallback, Timer, steps
from pmlik._typing import FloatArray
from pmlik.inference.checks import check_joint, check_order
from pmlik.inference.find import KINDS, estimate_kind, prepare_model
from pmlik.inference.options import Arguments, CovarianceKind
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import Prepared, prepare_joint
from pmlik.inference.sample import (
    CiKind,
    check_interval,
    check_near,
    check_no_higher,
    check_sample_kwargs,
    estimate_posterior,
    posterior_or_flag,
)
from pmlik.inference.starts import FROM_DRAW
from pmlik.inference.units import Cluster
from pmlik.model.roles import Latent, Potentials
from pmlik.optimize.multistart import Start
from pmlik.results.comparison import Comparison, merge_estimates
from pmlik.results.flags import Flag, FlagCode, Severity, raise_if_strict
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate
from pmlik.results.references import add_reference, check_reference
from pmlik.stats.attribution import explain
from pmlik.stats.intervals import intervals_beside

__all__ = ["compare", "audit"]


def compare(
    model: pm.Model | None = None,
    *,
    var_names: Sequence[str] | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
    backend: str | None = None,
    potentials: Potentials = "likelihood",
    ci_kind: CiKind | None = None,
    ci_prob: float | None = None,
    sample: bool = True,
    sample_kwargs: Mapping[str, Any] | None = None,
    start: Mapping[str, Any] | None = None,
    n_starts: int | None = None,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
    quadrature: int | None = None,
    reference: Mapping[str, Any] | pd.Series | pd.DataFrame | None = None,
    profile: bool | None = None,
    covariance_kind: CovarianceKind = "observed",
    cluster: Cluster = None,
    strict: bool = False,
) -> Comparison:
    """MLE, MAP and posterior of one model, side by side.

    If sampling fails or is interrupted, the MLE and the MAP are returned, with a flag.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. It is not changed.
    var_names : sequence of str, optional
        The variables in the table; default all. In a model of more than 2000 coordinates also
        those whose standard errors are computed.
    random_seed : int, optional
        Default: a fresh one, which the result keeps.
    progressbar : bool
        Show what is being done.
    backend : {"numba", "jax", "c"}, optional
        Default: as suits the cost of the work.
    potentials : {"likelihood", "prior"}
        What ``pm.Potential`` terms count as.
    ci_kind : {"eti", "hdi"}, optional
        Default: ArviZ's ``rcParams["stats.ci_kind"]``.
    ci_prob : float, optional
        Default: ArviZ's ``rcParams["stats.ci_prob"]``.
    sample : bool
        False leaves the posterior out.
    sample_kwargs : mapping, optional
        For ``pm.sample``, over the defaults of 4 chains and of nutpie when installed.
    start, n_starts, latent, parameters, quadrature
        As in `find_MLE`.
    reference : mapping, pandas.Series or pandas.DataFrame, optional
        Answers from elsewhere to lay beside these, see `Comparison.with_reference`.
    profile : bool, optional
        Whether to add profile likelihood intervals. Default: where they take a few seconds at
        most.
    covariance_kind, cluster
        Of the MLE, as in `find_MLE`; the MAP's standard errors are from its own curvature.
    strict : bool
        Raise instead of returning an estimate that can't be trusted.

    Returns
    -------
    Comparison

    Raises
    ------
    ModelError
        See `find_MLE`.
    EstimationError
        With ``strict=True``, if a flag of severity ``error`` is raised.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> comparison = pmlik.compare(model, sample=False, progressbar=False)
    >>> comparison.table[["MLE", "MAP"]].round(4)
               MLE   MAP
    parameter
    p          0.2  0.25
    """
    check_interval(ci_kind, ci_prob)
    options = check_sample_kwargs(sample_kwargs)
    arguments = Arguments(
        model,
        var_names,
        random_seed,
        progressbar,
        backend,
        potentials,
        start,
        n_starts,
        latent,
        parameters,
        quadrature,
        covariance_kind,
        cluster,
    )
    clock = Timer()
    with steps(progressbar) as say:
        prepared = prepare_model(arguments, say, clock)
        names = [name for name in prepared.names if var_names is None or name in var_names]
        if reference is not None:
            check_reference(reference, names)
        mle, map_estimate = (estimate_kind(prepared, kind, say, clock) for kind in KINDS)
        joint = _joint_mode(prepared, say, clock)
    found = check_order(mle, map_estimate)
    raise_if_strict((*found, *mle.flags, *map_estimate.flags), strict)
    posterior: PosteriorEstimate | None = None
    if sample:
        posterior, failure = _sample(prepared, options, ci_kind, ci_prob, clock)
        found += failure
    if posterior is not None:
        with steps(progressbar) as say, clock("audit"):
            say("Comparing the draws with the optima")
            mle, map_estimate, seen = audit(prepared, mle, map_estimate, posterior)
        found = check_order(mle, map_estimate) + seen
    with steps(progressbar) as say, clock("intervals"):
        say("Profiling the likelihood")
        mle, intervals, noted = intervals_beside(mle, posterior, names, ci_prob, profile)
    found += noted + check_joint(prepared.roles.latents, joint)
    if prepared.roles.latents:
        with clock("latents"):
            mle, map_estimate = (replace(e, latent_modes=e.latents) for e in (mle, map_estimate))
    dataset, flags = merge_estimates(mle, map_estimate, posterior, names, joint=joint)
    estimates = [e for e in (mle, map_estimate, posterior) if e is not None]
    raise_if_strict((*found, *(flag for e in estimates for flag in e.flags)), strict)
    request = {
        "ci_kind": ci_kind,
        "ci_prob": ci_prob,
        "sample": None if sample else False,
        "sample_kwargs": sample_kwargs or None,
    }
    with steps(progressbar) as say, clock("attribution"):
        say("Asking why they differ")
        background = explain(
            prepared, mle, map_estimate, posterior, dataset=dataset, options=request
        )
    if reference is not None:
        dataset = add_reference(dataset, reference)
    return Comparison(
        mle=mle,
        map=map_estimate,
        posterior=posterior,
        dataset=dataset,
        flags=(*found, *flags),
        timings=clock.seconds,
        random_seed=prepared.seed,
        joint=joint,
        versions={name: version(name) for name in ("pmlik", "pymc", "pytensor", "arviz")},
        background=background,
        intervals=intervals,
    )


def _joint_mode(prepared: Prepared, say: ProgressCallback, clock: Timer) -> PointEstimate | None:
    """The mode of everything at once, latents too: what ``pm.find_MAP`` of the model looks for."""
    if not prepared.roles.latents:
        return None
    say("Maximising over the latents, too")
    with clock("joint mode"):
        together = prepare_joint(prepared)
        return None if together is None else estimate_point(together, "map")


def _sample(
    prepared: Prepared,
    options: Mapping[str, Any],
    ci_kind: CiKind | None,
    ci_prob: float | None,
    clock: Timer,
) -> tuple[PosteriorEstimate | None, list[Flag]]:
    """The posterior of a prepared model, or the flag that says why there is none."""
    request = partial(
        estimate_posterior,
        prepared.model,
        prepared.names,
        random_seed=prepared.seed,
        progressbar=prepared.arguments.progressbar,
        backend=prepared.arguments.backend,
        ci_kind=ci_kind,
        ci_prob=ci_prob,
        sample_kwargs=options,
    )
    with clock("sampling"):
        return posterior_or_flag(request)


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
