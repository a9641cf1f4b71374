"""Additions to the estimates: prediction, shares of data and prior, sensitivity.

`compare` computes each where it is quick and keeps it with the comparison; where it is left out,
the reason is kept in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import xarray as xr

from pmlik._budget import EXTRAS, Meter
from pmlik.errors import PmlikError
from pmlik.inference.prepare import prepared_of
from pmlik.labels import printable
from pmlik.results.background import Extra, Predictive
from pmlik.results.comparison import Comparison
from pmlik.results.format import count
from pmlik.results.information import InformationShares
from pmlik.stats.criteria import pointwise_log_likelihood, score_loo, sensitivity
from pmlik.stats.information import share_information

# The most numbers, draws times observations, that are kept, and that are computed for PSIS-LOO.
_MOST_KEPT = 1_000_000
_MOST_TERMS = 4_000_000

# Shares take a dense matrix and four gradients a coordinate.
_MOST_COORDINATES = 200

# Evaluations whose work is counted.
_TRIALS = 8


Compute = Callable[[Comparison, Mapping[str, Extra], float], Extra]


class _LeftOutError(Exception):
    """The reason why something was left out, in a sentence."""


def keep_extras(comparison: Comparison, most: float = EXTRAS) -> Comparison:
    """Return the same comparison with the additions that its background lacks.

    ``comparison``: one that was loaded keeps those that it was saved with.
    ``most``: evaluations over all draws that would be more work are left out.
    """
    if comparison.mle.prepared is None:
        return comparison
    extras = dict(comparison.background.extras)
    for name, compute in _COMPUTED.items():
        if name not in extras:
            extras[name] = _extra_or_reason(compute, comparison, extras, most)
    return replace(comparison, background=replace(comparison.background, extras=extras))


def _extra_or_reason(
    compute: Compute, comparison: Comparison, extras: Mapping[str, Extra], work: float
) -> Extra:
    try:
        return compute(comparison, extras, work)
    except (_LeftOutError, PmlikError) as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001 - a comparison does not fail with ArviZ
        return f"It can't be had: {printable(str(error))}"


def _log_likelihood(comparison: Comparison, extras: Mapping[str, Extra], work: float) -> xr.Dataset:
    """Return the terms of every draw and observation, where these are few enough to be kept."""
    if "log_likelihood" in _tree(comparison).children:
        raise _LeftOutError("As the sampler's own, in the posterior's tree.")
    return _terms(comparison, _MOST_KEPT, work)


def _terms(comparison: Comparison, most: int, work: float) -> xr.Dataset:
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
    call = "pmlik.Likelihood.of(comparison).pointwise(draws)"
    _refuse_slow(comparison, work, call, "likelihood")
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


def _refuse_slow(comparison: Comparison, most: float, call: str, *names: str) -> None:
    """Raise where log-densities of all draws would be more work than wanted.

    ``call``: what computes them all the same.
    """
    prepared, draws = prepared_of(comparison.mle, "comparison"), _draws(comparison)
    points = prepared.unconstrained(draws.isel(chain=[0], draw=slice(_TRIALS)))
    meter = Meter(lambda: prepared.problem.work)
    for name in names:
        getattr(prepared.problem, name).many("value", points)
    work = meter.spent / len(points) * draws.sizes["chain"] * draws.sizes["draw"]
    if work > most:
        raise _LeftOutError(f"It would take long for {_size(comparison)}; {call} computes it.")


def _predictive(comparison: Comparison, extras: Mapping[str, Extra], work: float) -> Predictive:
    """Return PSIS-LOO of the draws."""
    terms, tree = extras["log_likelihood"], _tree(comparison)
    if "log_likelihood" in tree.children:
        terms = tree["log_likelihood"].to_dataset()
    elif not isinstance(terms, xr.Dataset):
        terms = _terms(comparison, _MOST_TERMS, work)
    return score_loo(_draws(comparison), terms)


def _shares(comparison: Comparison, extras: Mapping[str, Extra], work: float) -> InformationShares:
    n = len(comparison.map.unconstrained)
    if comparison.map.prepared is None:
        raise _LeftOutError("The MAP's problem was not kept.")
    if n > _MOST_COORDINATES:
        raise _LeftOutError(
            f"{n} coordinates: more than {_MOST_COORDINATES}, so it is left to "
            "pmlik.share_information(comparison.map)."
        )
    return share_information(comparison.map)


def _sensitivity(comparison: Comparison, extras: Mapping[str, Extra], work: float) -> xr.Dataset:
    call = "pmlik.sensitivity(comparison)"
    _refuse_slow(comparison, work, call, "likelihood", "prior")
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
_COMPUTED: dict[str, Compute] = {
    "log_likelihood": _log_likelihood,
    "predictive": _predictive,
    "shares": _shares,
    "sensitivity": _sensitivity,
}
