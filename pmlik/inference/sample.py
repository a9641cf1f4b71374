"""Sample the posterior by pm.sample and summarize it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from inspect import signature
from typing import Any, Literal

import arviz as az
import numpy as np
import pymc as pm
import xarray as xr
from threadpoolctl import threadpool_limits

from pmlik._summaries import Circle, is_constant, unwind
from pmlik.errors import ModelError
from pmlik.inference.chains import check_chains, check_draws, diagnose, measure_convergence
from pmlik.inference.checks import check_circles
from pmlik.inference.compiled import CompiledModel
from pmlik.inference.options import Seed, check_ci_prob, seed_of
from pmlik.labels import mark_circles
from pmlik.logp.compile import compile_mode
from pmlik.model.circular import find_circles
from pmlik.model.validate import resolve_model
from pmlik.results.flags import Flag, FlagCode, Severity, raise_if_strict
from pmlik.results.guard import describe_failure
from pmlik.results.posterior import PosteriorEstimate


def estimate_posterior(
    model: pm.Model,
    names: Sequence[str],
    *,
    random_seed: int,
    progressbar: bool,
    backend: str | None,
    ci_kind: CiKind | None,
    ci_prob: float | None,
    sample_kwargs: Mapping[str, Any],
    initvals: Mapping[str, Any] | None = None,
) -> PosteriorEstimate:
    """Sample, summarize and check.

    ``initvals``: where chains start, without jitter; the sampler's own choice by default.
    """
    tree = run_pymc_sample(
        model,
        random_seed=random_seed,
        progressbar=progressbar,
        backend=backend,
        sample_kwargs=sample_kwargs,
        initvals=initvals,
    )
    n_requested = n_requested_draws(sample_kwargs)
    return summarize_posterior(
        tree, model, names, ci_kind=ci_kind, ci_prob=ci_prob, n_requested=n_requested
    )


def summarize_posterior(
    tree: xr.DataTree,
    model: pm.Model,
    names: Sequence[str],
    *,
    ci_kind: CiKind | None,
    ci_prob: float | None,
    n_requested: int = 0,
) -> PosteriorEstimate:
    """Summarize and check draws; those that can't be summarized are kept, with a flag."""
    kind = ci_kind or az.rcParams["stats.ci_kind"]
    prob = ci_prob or az.rcParams["stats.ci_prob"]
    draws = numeric_posterior(tree, names)
    try:
        circles = {n: c for n, c in find_circles(model).items() if n in draws}
        return summarize_draws(tree, draws, circles, kind, prob, n_requested)
    except Exception as error:  # noqa: BLE001 - a failed summary must not lose the draws
        flag = Flag(FlagCode.NO_SUMMARY, Severity.ERROR, (), "", f"{describe_failure(error)}.")
        nothing = xr.full_like(draws.isel(chain=0, draw=0, drop=True), np.nan)
        bounds = nothing.expand_dims(ci_bound=["lower", "upper"], axis=-1)
        unknown = dict.fromkeys(("r_hat", "ess_bulk", "ess_tail", "divergences"), np.nan)
        interval = bounds.assign_attrs(ci_kind=kind, ci_prob=prob)
        return PosteriorEstimate(tree, nothing, nothing, interval, unknown, (flag,))


def summarize_draws(
    tree: xr.DataTree,
    draws: xr.Dataset,
    circles: Mapping[str, Circle],
    kind: CiKind,
    prob: float,
    n_requested: int,
) -> PosteriorEstimate:
    """Return means, standard deviations, intervals and convergence of draws, with flags.

    ``circles``: the turn of each circular variable. ``n_requested``: draws per chain.
    """
    draws = unwind(draws, circles)
    varying = _varying(draws)
    convergence = measure_convergence(varying)
    diagnostics = diagnose(tree, convergence)
    broken = [str(name) for name, array in draws.data_vars.items() if not np.isfinite(array).all()]
    chains, length = draws.sizes["chain"], draws.sizes["draw"]
    interval = interval_of(varying, kind, prob)
    values = draws.mean(("chain", "draw"), skipna=False)
    std_error = varying.std(("chain", "draw"), ddof=1, skipna=False)
    for name, circle in circles.items():
        values[name], sd = circle.mean_and_sd(draws[name], ("chain", "draw"))
        std_error[name] = sd.where(std_error[name].notnull())
        interval[name] = circle.wrap(interval[name])
    return PosteriorEstimate(
        tree=tree,
        values=mark_circles(values, circles),
        std_error=std_error,
        interval=interval,
        diagnostics=diagnostics,
        flags=(
            *check_draws(broken, length, n_requested),
            *check_chains(convergence, diagnostics, chains, length),
            *check_circles(std_error, circles),
        ),
        convergence=convergence,
    )


def _varying(draws: xr.Dataset) -> xr.Dataset:
    """Return the draws with NaN for scalars that are constant: rounding has no distribution."""
    kept = {}
    for name, array in draws.data_vars.items():
        first = array.transpose("chain", "draw", ...)
        flat = first.to_numpy().reshape(-1, *first.shape[2:])
        constant = first.isel(chain=0, draw=0, drop=True).copy(data=is_constant(flat))
        kept[name] = array.where(~constant)
    return draws.assign(kept)


def posterior_or_flag(
    sample: Callable[[], PosteriorEstimate],
) -> tuple[PosteriorEstimate | None, list[Flag]]:
    """Return the posterior, or a flag with the reason; the estimates made before are kept."""
    try:
        return sample(), []
    except KeyboardInterrupt:
        detail = "It was interrupted."
    except Exception as error:  # noqa: BLE001 - whatever the sampler raises, the MLE and MAP stay
        detail = f"{describe_failure(error)}."
    action = "Call sample_posterior for the whole error, or pass other sample_kwargs."
    return None, [Flag(FlagCode.NO_POSTERIOR, Severity.ERROR, (), action, detail)]


def sample_posterior(
    model: pm.Model | None = None,
    *,
    random_seed: Seed = None,
    progressbar: bool = True,
    backend: str | None = None,
    ci_kind: CiKind | None = None,
    ci_prob: float | None = None,
    sample_kwargs: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> PosteriorEstimate:
    """Sample the posterior by ``pm.sample``, with a summary and checks.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. Latents are sampled with the parameters.
    random_seed : int or numpy.random.Generator, optional
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
        In the user's units.

    Raises
    ------
    ModelError
        If there is no model, or an argument is invalid.
    EstimationError
        With ``strict=True``, if a flag of severity ``error`` is raised. Errors of ``pm.sample``
        pass through.
    """
    model = resolve_model(model)
    check_interval(ci_kind, ci_prob)
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


def check_interval(ci_kind: str | None, ci_prob: float | None) -> None:
    """Refuse an unknown kind of interval, and a probability outside (0, 1)."""
    if ci_kind not in (None, "eti", "hdi"):
        raise ModelError(f"ci_kind: got {ci_kind!r}, need 'eti' or 'hdi'.")
    if ci_prob is not None:
        check_ci_prob(ci_prob)


CiKind = Literal["eti", "hdi"]
Init = Literal["auto", "map", "prior"]

# pmlik checks the chains itself, once.
_DEFAULTS: dict[str, Any] = {"chains": 4, "compute_convergence_checks": False}
_PYMC_DRAWS: int = signature(pm.sample).parameters["draws"].default

# Up to this many coordinates nutpie adapts a mass matrix with correlations: in a regression with an
# intercept far from the data it gives ten times the effective draws at the same cost.
_CORRELATED_LIMIT = 50

# A name as similar as this to a known one is a misspelling of it.
_SIMILAR = 0.8
_OF_NUTS = {"nuts", "target_accept", "max_treedepth", "early_max_treedepth", "step_scale"}
_KNOWN = (set(signature(pm.sample).parameters) - {"kwargs"}) | _OF_NUTS

# With any of these the user has chosen a sampler, and nothing is added.
_CHOICES = {"step", "init", "trace", "callback", "compile_kwargs", "nuts_sampler_kwargs"}


def check_sample_kwargs(sample_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options for ``pm.sample`` as a dict; invalid ones are refused before any work.

    Raises `ModelError`.
    """
    if sample_kwargs is None:
        return {}
    if not isinstance(sample_kwargs, Mapping):
        raise ModelError(
            f"sample_kwargs: got {sample_kwargs!r}, need a dict such as {{'draws': 2000}}."
        )
    taken = {"model", "random_seed", "progressbar", "backend"} & set(sample_kwargs)
    if taken:
        raise ModelError(
            f"sample_kwargs: got {', '.join(sorted(taken))}; pass it as an argument of its own."
        )
    if sample_kwargs.get("return_inferencedata", True) is not True:
        raise ModelError("sample_kwargs: return_inferencedata must stay True.")
    for name in ("draws", "chains"):
        number = sample_kwargs.get(name, 1)
        if not isinstance(number, int | np.integer) or number < 1:
            raise ModelError(f"sample_kwargs: got {name}={number!r}, need an integer from 1 up.")
    _refuse_misspelt(sample_kwargs)
    return dict(sample_kwargs)


def check_init(init: str, sample_kwargs: Mapping[str, Any]) -> None:
    """Refuse an unknown way to start chains, and a second one."""
    if init not in ("auto", "map", "prior"):
        raise ModelError(f"init: got {init!r}, need 'auto', 'map' or 'prior'.")
    if init != "auto" and "initvals" in sample_kwargs:
        raise ModelError(f"init: got {init!r} and initvals in sample_kwargs; pass one of them.")


def _refuse_misspelt(names: Iterable[Any]) -> None:
    """Refuse a name that is nearly one of ``pm.sample``'s; others may be of a step method."""
    for name in names:
        close = get_close_matches(str(name), _KNOWN, 1, _SIMILAR)
        if name not in _KNOWN and close:
            raise ModelError(f"sample_kwargs: got {name!r}, which pm.sample lacks: {close[0]!r}?")


def n_requested_draws(sample_kwargs: Mapping[str, Any]) -> int:
    """Return the number of draws per chain that ``pm.sample`` was called with."""
    return int(sample_kwargs.get("draws", _PYMC_DRAWS))


def run_pymc_sample(
    model: pm.Model,
    *,
    random_seed: int,
    progressbar: bool,
    backend: str | None,
    sample_kwargs: Mapping[str, Any],
    initvals: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Call ``pm.sample`` with 4 chains, nutpie if it can be used, and the user's options."""
    chosen = dict(sample_kwargs)
    kwargs = _DEFAULTS | {"quiet": not progressbar}
    if backend is not None and "compile_kwargs" not in chosen:
        kwargs["backend"] = backend
    kwargs |= chosen
    if initvals:
        kwargs["initvals"] = dict(initvals)
    fixed = {"model": model, "random_seed": random_seed, "progressbar": progressbar}
    with threadpool_limits(_threads(kwargs), user_api="blas"):
        return _call(model, _extra(model, chosen, backend, bool(initvals)), fixed, kwargs)


def _threads(kwargs: Mapping[str, Any]) -> int | None:
    """Return the number of threads for a chain's linear algebra; None if the user decides.

    ``pm.sample`` leaves all cores to each of nutpie's chains, which then wait for each other.
    """
    if "blas_cores" in kwargs:
        return None
    cores: int = kwargs.get("cores") or os.cpu_count() or 1
    return max(1, cores // min(cores, int(kwargs["chains"])))


def _call(
    model: pm.Model, extra: dict[str, Any], fixed: dict[str, Any], kwargs: dict[str, Any]
) -> xr.DataTree:
    tree: xr.DataTree
    if extra:
        try:
            tree = pm.sample(**fixed, **(kwargs | extra))
            return tree
        except (ValueError, TypeError) as error:  # pm.sample took a sampler without the option
            if "nuts" not in str(error) and "jitter_rvs" not in str(error):
                raise
    tree = pm.sample(**fixed, **kwargs)
    return tree


def _extra(
    model: pm.Model, chosen: dict[str, Any], backend: str | None, still: bool
) -> dict[str, Any]:
    """Return options of the sampler that ``pm.sample`` will use.

    nutpie adapts to correlations in a small model. With ``still`` chains start without jitter.
    """
    nutpie = (
        chosen.get("nuts_sampler", "nutpie") == "nutpie"
        and find_spec("nutpie") is not None
        and backend in (None, "numba", "jax")
        and not _CHOICES & set(chosen)
        and all(rv.dtype.startswith("float") for rv in model.free_RVs)
    )
    if not nutpie:
        by_pymc = chosen.get("nuts_sampler", "pymc") == "pymc" and "init" not in chosen
        return {"init": "adapt_diag"} if still and by_pymc else {}
    options: dict[str, Any] = {}
    if still and backend is None:
        options["compile_kwargs"] = {"jitter_rvs": set()}
    if sum(np.size(v) for v in model.initial_point(0).values()) <= _CORRELATED_LIMIT:
        options["nuts"] = {"adaptation": "low_rank"} | chosen.get("nuts", {})
    return options


def numeric_posterior(tree: xr.DataTree, names: Sequence[str]) -> xr.Dataset:
    """Return the named variables of the posterior group that are numbers."""
    posterior = tree["posterior"].dataset
    return posterior[
        [n for n in names if n in posterior and posterior[n].dtype.kind in "fiub"]
    ].astype(float)


def interval_of(posterior: xr.Dataset, ci_kind: CiKind, ci_prob: float) -> xr.Dataset:
    """Return posterior intervals with a last dim ``ci_bound``."""
    function = {"eti": az.eti, "hdi": az.hdi}[ci_kind]
    interval: xr.Dataset = function(posterior, prob=ci_prob)
    interval = interval.transpose(..., "ci_bound")
    return interval.assign_attrs(ci_kind=ci_kind, ci_prob=ci_prob)


# Drawing takes at least this much work, since it is compiled; a compiled evaluation takes a tenth
# of an interpreted one, and so many make a draw where the sampler does not say.
_COMPILING, _COMPILED, _EVALUATIONS_PER_DRAW = 10.0, 0.1, 10


def sampling_work(posterior: PosteriorEstimate | None, problem: CompiledModel) -> float:
    """Return about the work of drawing the chains, from the evaluations that they took."""
    if posterior is None or "posterior" not in posterior.tree.children:
        return 0.0
    draws = posterior.tree["posterior"].sizes
    count = float(draws["chain"] * draws["draw"] * _EVALUATIONS_PER_DRAW)
    if "sample_stats" in posterior.tree.children and "n_steps" in posterior.tree["sample_stats"]:
        count = float(posterior.tree["sample_stats"]["n_steps"].sum())
    each = _COMPILED * (problem.likelihood.size.gradient + problem.prior.size.gradient)
    return _COMPILING + 2 * count * each  # as many again while tuning
