"""What a report adds to the estimates: prediction, shares of data and prior, sensitivity.

Each answer is found once, where it is quick, and kept with the comparison; where there is none,
the reason is kept in its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import xarray as xr

from pmlik.errors import PmlikError
from pmlik.inference.prepare import prepared_of
from pmlik.labels import printable
from pmlik.results.background import Predictive
from pmlik.results.comparison import Comparison
from pmlik.results.format import count
from pmlik.results.information import InformationShares
from pmlik.stats.criteria import pointwise_log_likelihood, score_loo, sensitivity
from pmlik.stats.information import share_information

__all__ = ["keep_appraisal"]


# So many numbers, draws times observations, are kept; so many are computed for PSIS-LOO.
_MOST_KEPT = 1_000_000
_MOST_TERMS = 4_000_000

# Shares take a dense matrix and four gradients a coordinate.
_MOST_COORDINATES = 200

# Evaluations over all draws are left out where they would take longer.
_PATIENCE_SECONDS = 5.0
_TRIALS = 8


class _LeftOutError(Exception):
    """Why there is no answer, in a sentence."""


def keep_appraisal(comparison: Comparison) -> Comparison:
    """The same comparison, with the answers that its background lacks.

    Parameters
    ----------
    comparison : Comparison
        One that was loaded keeps the answers that it was saved with.
    """
    kept = comparison.background.appraisal
    if comparison.mle.prepared is None:
        return comparison
    for name, answer in _ANSWERS.items():
        if name not in kept:
            try:
                kept[name] = answer(comparison)
            except _LeftOutError as reason:
                kept[name] = str(reason)
            except PmlikError as error:
                kept[name] = str(error)
            except Exception as error:  # noqa: BLE001 - a report does not fail with ArviZ
                kept[name] = f"It can't be had: {printable(str(error))}"
    return comparison


def _log_likelihood(comparison: Comparison) -> xr.Dataset:
    """Of every draw and observation, where that is small enough to be kept."""
    if "log_likelihood" in _tree(comparison).children:
        raise _LeftOutError("As the sampler's own, in the posterior's tree.")
    return _terms(comparison, _MOST_KEPT)


def _terms(comparison: Comparison, most: int) -> xr.Dataset:
    draws = _draws(comparison)
    if prepared_of(comparison.mle, "comparison").roles.latents:
        raise _LeftOutError(
            "The model has latents: observations that share them are not independent, so the "
            "marginal likelihood has no term for each."
        )
    if draws.sizes["chain"] * draws.sizes["draw"] * comparison.mle.n_observations > most:
        raise _LeftOutError(
            f"{_size(comparison)} are too many terms to lay out; "
            "pmlik.Likelihood.of(comparison).pointwise(draws) computes them."
        )
    _refuse_slow(comparison, "likelihood")
    return pointwise_log_likelihood(comparison)


def _tree(comparison: Comparison) -> xr.DataTree:
    return xr.DataTree() if comparison.posterior is None else comparison.posterior.tree


def _size(comparison: Comparison) -> str:
    draws, n = _draws(comparison), comparison.mle.n_observations
    number = draws.sizes["chain"] * draws.sizes["draw"]
    return f"{count(number, 'draw', 'draws')} times {count(n, 'observation', 'observations')}"


def _draws(comparison: Comparison) -> xr.Dataset:
    if comparison.posterior is None or "posterior" not in comparison.posterior.tree.children:
        raise _LeftOutError("There is no posterior.")
    return comparison.posterior.tree["posterior"].to_dataset()


def _refuse_slow(comparison: Comparison, *names: str) -> None:
    """Where a log-density of all draws would take long."""
    prepared, draws = prepared_of(comparison.mle, "comparison"), _draws(comparison)
    number = draws.sizes["chain"] * draws.sizes["draw"]
    points = prepared.unconstrained(draws.isel(chain=[0], draw=slice(_TRIALS)))
    seconds = 0.0
    for name in names:
        many = getattr(prepared.problem, name).many
        many("value", points[:1])  # which may compile
        begin = time.perf_counter()
        many("value", points)
        seconds += (time.perf_counter() - begin) / len(points) * number
    if seconds > _PATIENCE_SECONDS:
        raise _LeftOutError(f"It would take about {seconds:.0f} s for {_size(comparison)}.")


def _predictive(comparison: Comparison) -> Predictive:
    """PSIS-LOO of the draws."""
    terms, tree = comparison.background.appraisal["log_likelihood"], _tree(comparison)
    if "log_likelihood" in tree.children:
        terms = tree["log_likelihood"].to_dataset()
    elif isinstance(terms, str):
        terms = _terms(comparison, _MOST_TERMS)
    return score_loo(_draws(comparison), terms)


def _shares(comparison: Comparison) -> InformationShares:
    n = len(comparison.map.unconstrained)
    if comparison.map.prepared is None:
        raise _LeftOutError("The MAP's problem was not kept.")
    if n > _MOST_COORDINATES:
        raise _LeftOutError(
            f"{n} coordinates: more than {_MOST_COORDINATES}, so it is left to "
            "pmlik.share_information(comparison.map)."
        )
    return share_information(comparison.map)


def _sensitivity(comparison: Comparison) -> xr.Dataset:
    _refuse_slow(comparison, "likelihood", "prior")
    table = sensitivity(comparison)
    return xr.Dataset(
        {
            "prior": ("parameter", table["prior"].to_numpy(float)),
            "likelihood": ("parameter", table["likelihood"].to_numpy(float)),
            "diagnosis": ("parameter", table["diagnosis"].astype(str).to_numpy(object)),
        },
        coords={"parameter": [str(label) for label in table.index]},
    )


# Each may use those before it.
_ANSWERS: dict[str, Callable[[Comparison], Any]] = {
    "log_likelihood": _log_likelihood,
    "predictive": _predictive,
    "shares": _shares,
    "sensitivity": _sensitivity,
}
