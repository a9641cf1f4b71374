"""One posterior estimate: the draws, their summary, their record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import arviz as az
import numpy as np
import pymc as pm
import xarray as xr

from pmlik.chain_checks import check_chains, check_draws
from pmlik.errors import Flag, FlagCode, Severity
from pmlik.estimates import PosteriorEstimate
from pmlik.sampler import CiKind, diagnose, draw, draws_asked, interval_of, numeric_posterior

__all__ = ["estimate_posterior", "posterior_or_flag"]


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
) -> PosteriorEstimate:
    """Sample, summarise and check; draws that can't be summarised are kept all the same."""
    tree = draw(
        model,
        random_seed=random_seed,
        progressbar=progressbar,
        backend=backend,
        sample_kwargs=sample_kwargs,
    )
    kind = ci_kind or az.rcParams["stats.ci_kind"]
    prob = ci_prob or az.rcParams["stats.ci_prob"]
    draws = numeric_posterior(tree, names)
    try:
        return _summarise(tree, draws, kind, prob, draws_asked(sample_kwargs))
    except Exception as error:  # noqa: BLE001 - an hour of draws is not lost for a summary
        flag = Flag(FlagCode.NO_SUMMARY, Severity.ERROR, (), "", describe_error(error))
        nothing = xr.full_like(draws.isel(chain=0, draw=0, drop=True), np.nan)
        bounds = nothing.expand_dims(ci_bound=["lower", "upper"], axis=-1)
        unknown = dict.fromkeys(("r_hat", "ess_bulk", "ess_tail", "divergences"), np.nan)
        interval = bounds.assign_attrs(ci_kind=kind, ci_prob=prob)
        return PosteriorEstimate(tree, nothing, nothing, interval, unknown, (flag,))


def _summarise(
    tree: xr.DataTree, draws: xr.Dataset, kind: CiKind, prob: float, n_asked: int
) -> PosteriorEstimate:
    diagnostics = diagnose(tree, draws)
    broken = [str(name) for name, array in draws.data_vars.items() if not np.isfinite(array).all()]
    chains, length = draws.sizes["chain"], draws.sizes["draw"]
    return PosteriorEstimate(
        tree=tree,
        values=draws.mean(("chain", "draw"), skipna=False),
        std_error=draws.std(("chain", "draw"), ddof=1, skipna=False),
        interval=interval_of(draws, kind, prob),
        diagnostics=diagnostics,
        flags=(
            *check_draws(broken, length, n_asked),
            *check_chains(diagnostics, chains, length),
        ),
    )


def posterior_or_flag(
    sample: Callable[[], PosteriorEstimate],
) -> tuple[PosteriorEstimate | None, list[Flag]]:
    """The posterior, or why there is none; what is already estimated is not lost with it."""
    try:
        return sample(), []
    except KeyboardInterrupt:
        detail = "It was interrupted."
    except Exception as error:  # noqa: BLE001 - whatever the sampler raises, the MLE and MAP stay
        detail = describe_error(error)
    action = "Call sample_posterior for the whole error, or pass other sample_kwargs."
    return None, [Flag(FlagCode.NO_POSTERIOR, Severity.ERROR, (), action, detail)]


def describe_error(error: Exception) -> str:
    """Class and first line of an exception."""
    return f"{': '.join([type(error).__name__, *str(error).splitlines()[:1]])}."
