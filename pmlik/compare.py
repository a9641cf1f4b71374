"""Compare the MLE, the MAP and the posterior of one model: the whole pipeline.

`compare` collects its keywords in a record, and `_run` goes through the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import pandas as pd
import pymc as pm
import xarray as xr

from pmlik._budget import (
    AGAIN,
    CHAINS,
    CURVES,
    CURVES_ALONE,
    EXTRAS,
    LEAST_SEARCH,
    SHARE,
    OutOfWorkError,
)
from pmlik._runtime import Timer, steps
from pmlik.errors import ModelError
from pmlik.inference.audit import audit
from pmlik.inference.chain_modes import (
    check_init_found,
    find_chain_modes,
    initial_values,
    keep_both,
    tell_modes,
)
from pmlik.inference.checks import check_joint, check_order
from pmlik.inference.find import KINDS, estimate_kind, prepare_model
from pmlik.inference.given import GivenOptions, adopt_draws
from pmlik.inference.options import CovarianceKind, FitOptions, Seed, check_switch
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import Prepared, prepare_joint
from pmlik.inference.sample import (
    CiKind,
    Init,
    check_init,
    check_interval,
    check_sample_kwargs,
    estimate_posterior,
    posterior_or_flag,
    sampling_work,
    summarize_posterior,
)
from pmlik.inference.stages import Stages
from pmlik.inference.units import Cluster
from pmlik.model.roles import Latent, Potentials
from pmlik.model.validate import resolve_model
from pmlik.optimize.objective import Kind
from pmlik.results.background import Background
from pmlik.results.call import format_call
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, raise_if_strict
from pmlik.results.merge import merge_estimates
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate
from pmlik.results.references import add_reference, check_reference
from pmlik.stats.afterwards import StatsVerbs
from pmlik.stats.attribution import explain
from pmlik.stats.curves import curves_of, keep_curves
from pmlik.stats.fitted import keep_extras
from pmlik.stats.intervals import intervals_beside


def compare(
    model: pm.Model | None = None,
    *,
    var_names: Sequence[str] | str | None = None,
    random_seed: Seed = None,
    progressbar: bool = True,
    backend: str | None = None,
    potentials: Potentials = "likelihood",
    ci_kind: CiKind | None = None,
    ci_prob: float | None = None,
    sample: bool = True,
    sample_kwargs: Mapping[str, Any] | None = None,
    init: Init = "auto",
    posterior: object = None,
    mle: PointEstimate | Comparison | None = None,
    map: PointEstimate | Comparison | None = None,
    start: Mapping[str, Any] | None = None,
    n_starts: int | None = None,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
    quadrature: int | None = None,
    reference: Mapping[str, Any] | pd.Series | pd.DataFrame | None = None,
    profile: bool | None = None,
    extras: bool = True,
    covariance_kind: CovarianceKind = "observed",
    cluster: Cluster = None,
    strict: bool = False,
) -> Comparison:
    """Compare MLE, MAP and posterior of one model, side by side.

    If sampling fails or is interrupted, the MLE and the MAP are returned, with a flag.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. It is not changed.
    var_names : str or sequence of str, optional
        The variables in the table; default all. In a model of more than 2000 coordinates also
        those whose standard errors are computed.
    random_seed : int or numpy.random.Generator, optional
        Default: a fresh one, which the result keeps.
    progressbar : bool
        Show what is being done.
    backend : {"numba", "jax", "c"}, optional
        Default: as suits the cost of the work.
    potentials : {"likelihood", "prior"}
        The part of the model that ``pm.Potential`` terms belong to.
    ci_kind : {"eti", "hdi"}, optional
        Default: ArviZ's ``rcParams["stats.ci_kind"]``.
    ci_prob : float, optional
        Default: ArviZ's ``rcParams["stats.ci_prob"]``.
    sample : bool
        False leaves the posterior out.
    sample_kwargs : mapping, optional
        For ``pm.sample``, over the defaults of 4 chains and of nutpie when installed.
    init : {"auto", "map", "prior"}
        Where the chains start: as the sampler has it, at the MAP, or at draws from the prior.
        Chains that end at a local maximum without weight are sampled once more from the MAP.
    posterior : DataTree, Dataset, InferenceData or path, optional
        Draws of any sampler in place of sampling: a tree with a group ``posterior``, that group, a
        Dataset with dims ``chain`` and ``draw``, their netCDF file or Zarr store, what
        `sample_posterior` or `compare` returned. They must be of this model and, where they hold
        them, of the same data. PyMC computes deterministics that are missing.
    mle, map : PointEstimate or Comparison, optional
        Estimates of this model and its data, in place of a search.
    start, n_starts, latent, parameters, quadrature
        As in `find_MLE`.
    reference : mapping, pandas.Series or pandas.DataFrame, optional
        Answers from elsewhere to lay beside these, see `Comparison.with_reference`.
    profile : bool, optional
        Add profile likelihood intervals. Default: where they take a few seconds at most.
    extras : bool
        Compute what pages and files show beside the numbers: the curves of likelihood, prior and
        posterior, the terms of single observations, the shares of data and prior. False saves
        their time where the table is enough; `plot_compare` computes the curves that it draws.
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
    ValuesError
        If ``posterior``, ``mle`` or ``map`` is of another model or of other data.
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
    fit = FitOptions(
        model=model,
        var_names=var_names,
        random_seed=random_seed,
        progressbar=progressbar,
        backend=backend,
        potentials=potentials,
        start=start,
        n_starts=n_starts,
        latent=latent,
        parameters=parameters,
        quadrature=quadrature,
        covariance_kind=covariance_kind,
        cluster=cluster,
    )
    options = CompareOptions(
        fit=fit,
        given=GivenOptions(posterior=posterior, mle=mle, map=map),
        ci_kind=ci_kind,
        ci_prob=ci_prob,
        sample=sample,
        sample_kwargs=sample_kwargs,
        init=init,
        reference=reference,
        profile=profile,
        extras=extras,
        strict=strict,
    )
    check_switch("profile", profile)
    return _run(options)


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The keywords of `compare`: those of a fit, and its own."""

    fit: FitOptions
    given: GivenOptions
    ci_kind: CiKind | None = None
    ci_prob: float | None = None
    sample: bool = True
    sample_kwargs: Mapping[str, Any] | None = None
    init: Init = "auto"
    reference: Mapping[str, Any] | pd.Series | pd.DataFrame | None = None
    profile: bool | None = None
    extras: bool = True
    strict: bool = False


def _run(options: CompareOptions) -> Comparison:
    """Estimate, sample, check by the draws, profile, explain: the steps of `compare`."""
    check_interval(options.ci_kind, options.ci_prob)
    sampler = check_sample_kwargs(options.sample_kwargs)
    check_init(options.init, sampler)
    if options.given.posterior is not None and (sampler or options.init != "auto"):
        raise ModelError("posterior: nothing is sampled, so pass no sample_kwargs and no init.")
    clock, show = Timer(), options.fit.progressbar
    with steps(show) as say:
        prepared = prepare_model(options.fit, say, clock)
        names = _names(prepared, options)
        stages = Stages(say, clock)
        draws = adopt_draws(prepared, options.given, clock)
        mle, map_estimate = (
            _estimate(prepared, kind, getattr(options.given, kind), stages) for kind in KINDS
        )
        joint = _joint_mode(prepared, stages)
    order = check_order(mle, map_estimate)
    raise_if_strict((*order, *mle.flags, *map_estimate.flags), options.strict)
    posterior, failure = _sample(prepared, map_estimate, options, sampler, draws, stages)
    with steps(show) as say:
        stages.say = say
        mle, map_estimate, seen = _audit(prepared, mle, map_estimate, posterior, stages)
        order = check_order(mle, map_estimate)
        mle, intervals, noted = _intervals(mle, posterior, names, options, stages)
        mle, map_estimate = _add_latents(prepared, mle, map_estimate, stages)
        dataset, flags = merge_estimates(mle, map_estimate, posterior, names, joint=joint)
        found = (*order, *failure, *seen, *noted, *check_joint(prepared.roles, joint))
        posterior_flags = () if posterior is None else posterior.flags
        own = (*found, *mle.flags, *map_estimate.flags, *posterior_flags)
        raise_if_strict(own, options.strict)
        background = stages.run(
            "attribution",
            "Asking why they differ",
            partial(explain, prepared, mle, map_estimate, posterior, dataset=dataset),
            otherwise=Background,
        )
        if options.reference is not None:
            dataset = add_reference(dataset, options.reference)
        comparison = Comparison(
            mle=mle,
            map=map_estimate,
            posterior=posterior,
            dataset=dataset,
            flags=(*found, *flags),
            timings={},
            random_seed=prepared.seed,
            joint=joint,
            versions={name: version(name) for name in ("pmlik", "pymc", "pytensor", "arviz")},
            background=replace(background, call=_repeat(options, prepared.seed)),
            intervals=intervals,
        )
        return _add_extras(comparison, options, stages)


def _names(prepared: Prepared, options: CompareOptions) -> list[str]:
    """Return the variables in the table; refuse a reference to others before any work."""
    wanted = prepared.arguments.var_names
    names = [name for name in prepared.names if wanted is None or name in wanted]
    if options.reference is not None:
        check_reference(options.reference, names)
    return names


def _estimate(
    prepared: Prepared, kind: Kind, given: PointEstimate | Comparison | None, stages: Stages
) -> PointEstimate:
    before = prepared.problem.work
    estimate = estimate_kind(prepared, kind, stages.say, stages.clock, given)
    stages.work[kind.upper()] = prepared.problem.work - before
    return estimate


def _joint_mode(prepared: Prepared, stages: Stages) -> PointEstimate | None:
    """Return the mode of parameters and latents together, or None where it takes too much work."""
    if not prepared.roles.latents:
        return None

    def find() -> PointEstimate | None:
        most = max(LEAST_SEARCH, stages.work["MLE"] + stages.work["MAP"])
        together = prepare_joint(prepared, most)
        try:
            return None if together is None else estimate_point(together, "map", briefly=most)
        except OutOfWorkError:
            return None

    return stages.run("joint mode", "Maximising over the latents, too", find, lambda: None)


def _sample(
    prepared: Prepared,
    map_estimate: PointEstimate,
    options: CompareOptions,
    sampler: Mapping[str, Any],
    draws: xr.DataTree | None,
    stages: Stages,
) -> tuple[PosteriorEstimate | None, list[Flag]]:
    """Return the posterior, of draws that were given or of new ones, or why there is none."""
    if draws is not None:
        given = summarize_posterior(
            draws, prepared.model, prepared.names, ci_kind=options.ci_kind, ci_prob=options.ci_prob
        )
        stages.work["sampling"] = sampling_work(given, prepared.problem)
        return _settle(prepared, map_estimate, given, None, stages), []
    if not options.sample:
        return None, []
    request = partial(
        estimate_posterior,
        # The user's own model, for step methods made from its variables.
        prepared.model if prepared.roles.summed else resolve_model(options.fit.model),
        prepared.names,
        random_seed=prepared.seed,
        progressbar=options.fit.progressbar,
        backend=options.fit.backend,
        ci_kind=options.ci_kind,
        ci_prob=options.ci_prob,
        sample_kwargs=sampler,
    )
    starts = initial_values(prepared, map_estimate, options.init)
    flags = check_init_found(options.init, starts)
    with stages.clock("sampling"):
        posterior, failure = posterior_or_flag(partial(request, initvals=starts))
    stages.work["sampling"] = sampling_work(posterior, prepared.problem)
    if posterior is not None:
        posterior = _settle(prepared, map_estimate, posterior, request, stages)
    return posterior, [*flags, *failure]


def _settle(
    prepared: Prepared,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate,
    request: Callable[..., PosteriorEstimate] | None,
    stages: Stages,
) -> PosteriorEstimate:
    """Say where chains that disagree sit; sample once more where some have no weight there."""
    work = stages.work
    if not posterior.disagree or work["MAP"] > max(CHAINS, work["sampling"]):
        return posterior
    look = partial(find_chain_modes, prepared, map_estimate, posterior)
    with steps(prepared.arguments.progressbar) as stages.say:
        modes = stages.run("modes of chains", "Looking where the chains sit", look, lambda: ())
    stages.say = lambda _: None
    starts = initial_values(prepared, map_estimate, "map") if request else None
    short = work["sampling"] < AGAIN
    if request and starts and short and any(mode.negligible for mode in modes):
        again = partial(request, initvals=starts)
        second = stages.run("sampling again", "", again, lambda: posterior)
        if second is not posterior:
            return keep_both(posterior, second, modes)
    return tell_modes(posterior, modes)


def _audit(
    prepared: Prepared,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    stages: Stages,
) -> tuple[PointEstimate, PointEstimate, list[Flag]]:
    """Check the optima by the draws, where there are any."""
    if posterior is None:
        return mle, map_estimate, []
    check = partial(audit, prepared, mle, map_estimate, posterior)
    text = "Comparing the draws with the optima"
    return stages.run("audit", text, check, lambda: (mle, map_estimate, []))


def _intervals(
    mle: PointEstimate,
    posterior: PosteriorEstimate | None,
    names: Sequence[str],
    options: CompareOptions,
    stages: Stages,
) -> tuple[PointEstimate, dict[str, xr.Dataset], list[Flag]]:
    """Return the intervals, without those by profiles if these fail."""
    given = partial(intervals_beside, mle, posterior, names, ci_prob=options.ci_prob)
    return stages.run(
        "intervals",
        "Profiling the likelihood",
        partial(given, wanted=options.profile),
        partial(given, wanted=False),
    )


def _add_latents(
    prepared: Prepared, mle: PointEstimate, map_estimate: PointEstimate, stages: Stages
) -> tuple[PointEstimate, PointEstimate]:
    """Return the estimates with the conditional modes of their latents."""
    if not prepared.roles.latents:
        return mle, map_estimate

    def add() -> tuple[PointEstimate, PointEstimate]:
        return replace(mle, latent_modes=mle.latents), replace(
            map_estimate, latent_modes=map_estimate.latents
        )

    return stages.run("latents", "Finding the latents", add, lambda: (mle, map_estimate))


def _repeat(options: CompareOptions, seed: int) -> str:
    """Return the line of Python that gives the same numbers again."""
    fit = replace(options.fit, model=None, random_seed=seed)
    named = replace(options, fit=fit, given=options.given.named())
    return format_call("pmlik.compare", "model", named)


def _add_extras(comparison: Comparison, options: CompareOptions, stages: Stages) -> Comparison:
    """Add what pages and files show beside the estimates, if wanted, and the timings."""
    if options.extras:
        share = SHARE * sum(stages.work.values())
        least = CURVES if options.sample else CURVES_ALONE
        curves = partial(keep_curves, comparison, max(least, share))
        comparison = stages.run("curves", "Computing curves", curves, lambda: comparison)
        extras = partial(keep_extras, comparison, max(EXTRAS, share))
        text = "Computing the shares of data and prior"
        comparison = stages.run("data and prior", text, extras, lambda: comparison)
    background = replace(comparison.background, compute_curves=curves_of, verbs=StatsVerbs())
    flags = (*comparison.flags, *stages.flags)
    return replace(
        comparison, background=background, flags=flags, timings=dict(stages.clock.seconds)
    )
