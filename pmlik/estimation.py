"""The verbs: find the MLE, find the MAP, sample the posterior, compare the three."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import pandas as pd
import pymc as pm

from pmlik._runtime import ProgressCallback, Timer, steps
from pmlik.audit import audit
from pmlik.checks import check_joint, check_order
from pmlik.comparison import Comparison, merge_estimates
from pmlik.errors import Flag, ModelError, raise_if_strict
from pmlik.estimates import PointEstimate, PosteriorEstimate
from pmlik.estimator import estimate_point
from pmlik.explanation import explain
from pmlik.intervals import intervals_beside
from pmlik.logp.compile import compile_mode
from pmlik.model.roles import Latent, Potentials
from pmlik.model.validate import resolve_model
from pmlik.optimize.objective import Kind
from pmlik.posterior import estimate_posterior, posterior_or_flag
from pmlik.preparation import Arguments, CovarianceKind, Prepared, prepare, prepare_joint, seed_of
from pmlik.references import add_reference, check_reference
from pmlik.sampler import CiKind, check_sample_kwargs
from pmlik.units import Cluster

__all__ = ["compare", "find_MAP", "find_MLE", "sample_posterior"]


def find_MLE(
    model: pm.Model | None = None,
    *,
    var_names: Sequence[str] | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
    backend: str | None = None,
    potentials: Potentials = "likelihood",
    start: Mapping[str, Any] | None = None,
    n_starts: int | None = None,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
    quadrature: int | None = None,
    covariance_kind: CovarianceKind = "observed",
    cluster: Cluster = None,
    strict: bool = False,
) -> PointEstimate:
    """Maximum likelihood estimate, with standard errors and a certificate.

    Searches from several starts, ``pm.find_MAP`` of `likelihood_model` and the initial point among
    them, and is polished by Newton steps with exact derivatives until it is within 1e-6 standard
    errors of the optimum.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. It is not changed.
    var_names : sequence of str, optional
        In a model of more than 2000 coordinates, the variables whose standard errors are
        computed (none by default). A smaller model has them all.
    random_seed : int, optional
        For the jitter of starting points, which only unusual models need.
    progressbar : bool
        Show what is being done.
    backend : {"numba", "jax", "c"}, optional
        Default: interpret the graph, and compile with Numba where that is the faster whole.
    potentials : {"likelihood", "prior"}
        What ``pm.Potential`` terms count as.
    start : mapping, optional
        Values of some or all parameters, natural units, to start from.
    n_starts : int, optional
        How many starts to use in any case: ``pm.find_MAP``'s point, the initial point, draws
        from the prior, the MAP, jitter. More are used while no optimum is certified. Default:
        7 up to 10 coordinates, 4 up to 50, else 1; at most 2 above 50 000
        observations; with latents 3 up to 50.
    latent : "auto" or sequence of str
        The latents, which are integrated out of the likelihood. Read from the model's graph by
        default: variables whose distribution depends on other free variables, standard draws
        that are multiplied by one, and missing values that the data depend on.
    parameters : sequence of str
        Variables that are parameters although they look like latents.
    quadrature : int, optional
        Integrate by adaptive Gauss-Hermite quadrature with so many nodes, where each latent
        stands alone (one grouping factor). Default: Laplace's approximation, which is exact
        for Gaussian latents that enter linearly.
    covariance_kind : {"observed", "robust"}
        Inverse observed information, or the sandwich of `make_robust`.
    cluster : str, array or mapping, optional
        For ``"robust"``: the clusters of observations, as in `make_robust`.
    strict : bool
        Raise instead of returning an estimate that can't be trusted.

    Returns
    -------
    PointEstimate
        Natural units. Standard errors are of the likelihood alone. The highest optimum found;
        ``certificate.searches`` tells where each start ended. At the border of the support the
        estimate is the limit.

    Raises
    ------
    ModelError
        If the model has no likelihood, or one that is zero wherever the search could start; if
        it can't be told which variables are latents.
    EstimationError
        With ``strict=True``, if a flag of severity ``error`` is raised.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> print(f"{mle.values['p']:.4f} {mle.std_error['p']:.4f} {mle.log_likelihood:.4f}")
    0.2000 0.1265 -1.1974
    """
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
    return _one_point(arguments, "mle", strict)


def find_MAP(
    model: pm.Model | None = None,
    *,
    var_names: Sequence[str] | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
    backend: str | None = None,
    potentials: Potentials = "likelihood",
    start: Mapping[str, Any] | None = None,
    n_starts: int | None = None,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
    quadrature: int | None = None,
    strict: bool = False,
) -> PointEstimate:
    """Maximum of likelihood times prior in natural units, as ``pm.find_MAP`` defines it.

    Parameters
    ----------
    model, var_names, random_seed, progressbar, backend, potentials, start, n_starts, strict
    latent, parameters, quadrature
        As in `find_MLE`.

    Returns
    -------
    PointEstimate
        Natural units. Standard errors are of the log-likelihood plus the log-prior, Jacobian
        off.

    Raises
    ------
    ModelError, EstimationError
        As in `find_MLE`.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> print(f"{pmlik.find_MAP(model, progressbar=False).values['p']:.4f}")  # 3 / 12
    0.2500
    """
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
    )
    return _one_point(arguments, "map", strict)


def sample_posterior(
    model: pm.Model | None = None,
    *,
    random_seed: int | None = None,
    progressbar: bool = True,
    backend: str | None = None,
    ci_kind: CiKind | None = None,
    ci_prob: float | None = None,
    sample_kwargs: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> PosteriorEstimate:
    """The posterior by ``pm.sample``, summarised and checked.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. Latents are welcome here.
    random_seed : int, optional
    progressbar : bool
    backend : {"numba", "jax", "c"}, optional
        Default: ``pm.sample``'s own choice.
    ci_kind : {"eti", "hdi"}, optional
        Default: ArviZ's ``rcParams["stats.ci_kind"]``.
    ci_prob : float, optional
        Default: ArviZ's ``rcParams["stats.ci_prob"]``.
    sample_kwargs : mapping, optional
        For ``pm.sample``, over the defaults of 4 chains and of nutpie when installed.
    strict : bool
        Raise instead of returning chains that can't be trusted.

    Returns
    -------
    PosteriorEstimate
        Natural units.

    Raises
    ------
    ModelError
        If there is no model, or an argument is not what it has to be.
    EstimationError
        With ``strict=True``, if a flag of severity ``error`` is raised. What ``pm.sample``
        itself raises is passed on.
    """
    model = resolve_model(model)
    _check_interval(ci_kind, ci_prob)
    options = check_sample_kwargs(sample_kwargs)
    compile_mode(backend)
    names = [var.name for var in model.unobserved_RVs]
    posterior = estimate_posterior(
        model,
        names,
        random_seed=seed_of(random_seed),
        progressbar=progressbar,
        backend=backend,
        ci_kind=ci_kind,
        ci_prob=ci_prob,
        sample_kwargs=options,
    )
    raise_if_strict(posterior.flags, strict)
    return posterior


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
    _check_interval(ci_kind, ci_prob)
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
        prepared = _prepare(arguments, say, clock)
        names = [name for name in prepared.names if var_names is None or name in var_names]
        if reference is not None:
            check_reference(reference, names)
        mle, map_estimate = (_estimate(prepared, kind, say, clock) for kind in _KINDS)
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


_KINDS: dict[Kind, str] = {
    "mle": "Maximising the likelihood",
    "map": "Maximising likelihood x prior",
}


def _prepare(arguments: Arguments, say: ProgressCallback, clock: Timer) -> Prepared:
    say("Building the likelihood")
    with clock("building"):
        return prepare(arguments)


def _estimate(prepared: Prepared, kind: Kind, say: ProgressCallback, clock: Timer) -> PointEstimate:
    say(_KINDS[kind])
    with clock(kind.upper()):
        return estimate_point(prepared, kind)


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


def _one_point(arguments: Arguments, kind: Kind, strict: bool) -> PointEstimate:
    clock = Timer()
    with steps(arguments.progressbar) as say:
        estimate = _estimate(_prepare(arguments, say, clock), kind, say, clock)
    raise_if_strict(estimate.flags, strict)
    return estimate


def _check_interval(ci_kind: str | None, ci_prob: float | None) -> None:
    if ci_kind not in (None, "eti", "hdi"):
        raise ModelError(f"ci_kind: got {ci_kind!r}, need 'eti' or 'hdi'.")
    if ci_prob is not None and not (isinstance(ci_prob, float) and 0 < ci_prob < 1):
        raise ModelError(f"ci_prob: got {ci_prob!r}, need a probability between 0 and 1.")
