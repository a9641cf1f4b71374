"""Where chains start, and the local maxima that chains which disagree sit at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pmlik._summaries import unwind
from pmlik._typing import FloatArray
from pmlik.errors import StartError
from pmlik.inference.audit import thin
from pmlik.inference.prepare import Prepared
from pmlik.inference.sample import Init
from pmlik.inference.starts import describe_point, from_prior
from pmlik.labels import circles_by_label, circles_of, flatten_draws
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.point import PointEstimate, Status
from pmlik.results.posterior import PosteriorEstimate

# Evaluations per chain that look for its highest draw; fewer where each is an integral.
_DRAWS, _INTEGRALS = 200, 20

# Optima as near as this in log-density are equally high.
_LEVEL = 1e-3

# The same point, relative and absolute.
_SAME = (1e-3, 1e-6)

# A local maximum with less than this share of the mass at the MAP (in logarithms) has no weight.
_NEGLIGIBLE = -10.0

# Added to the correlations of the draws, whose determinant may be zero.
_RIDGE = 1e-6


def initial_values(
    prepared: Prepared, map_estimate: PointEstimate, init: Init
) -> dict[str, Any] | None:
    """Return ``initvals`` of ``pm.sample``; None for the sampler's own.

    From the MAP those that are inside the support, with the modes of latents given these.
    """
    if init == "prior":
        return from_prior(prepared.model)
    if init == "auto" or not map_estimate.trusted:
        return None
    known = {str(name): array for name, array in map_estimate.values.data_vars.items()}
    inside = {
        name: array
        for name, array in known.items()
        if bool((map_estimate.status[name] == Status.INTERIOR).all())
    }
    latents = map_estimate.latents
    if latents is not None:
        inside |= {str(name): array for name, array in latents.values.data_vars.items()}
    free = [rv.name for rv in prepared.model.free_RVs]
    found = {name: inside[name].to_numpy() for name in free if name in inside}
    return {name: value for name, value in found.items() if np.isfinite(value).all()} or None


def check_init_found(init: Init, starts: Mapping[str, Any] | None) -> list[Flag]:
    """Flag chains that could not start where they were asked to."""
    lost = init == "map" and not starts
    return [Flag(FlagCode.NO_INIT, Severity.WARNING)] if lost else []


class ChainMode(NamedTuple):
    """The local maximum that a chain sits at.

    ``below``: the log-density of the MAP minus its own; NaN if no maximum could be certified.
    ``log_share``: of its mass, relative to that around the MAP, by density and widths of the
    draws. ``where``: the maximum in words; empty for the MAP itself.
    """

    chain: int
    below: float
    log_share: float
    where: str

    @property
    def negligible(self) -> bool:
        """True if the maximum is lower, and has no weight beside the MAP."""
        return self.below > _LEVEL and self.log_share < _NEGLIGIBLE


def find_chain_modes(
    prepared: Prepared, map_estimate: PointEstimate, posterior: PosteriorEstimate
) -> tuple[ChainMode, ...]:
    """Search from the highest draw of each chain; empty where nothing is to be told.

    There is something if the MAP is certified and a chain sits at another local maximum.
    """
    problem, group = prepared.problem, posterior.tree["posterior"].dataset
    if not map_estimate.trusted or any(name not in group for name in problem.parameters.names):
        return ()
    drawn = unwind(group, circles_of(posterior.values), ("draw",))
    chains = range(group.sizes["chain"])
    try:
        found = [_maximum(prepared, map_estimate, group.isel(chain=[chain])) for chain in chains]
    except StartError:
        return ()
    widths = [_width(drawn[list(problem.parameters.names)].isel(chain=chain)) for chain in chains]
    level = [width for (_, where), width in zip(found, widths, strict=True) if not where]
    if not level and map_estimate.covariance is not None:
        level = [_log_volume(map_estimate.covariance.to_numpy())]
    width_at_map = float(np.median(level)) if level else np.nan
    modes = tuple(
        ChainMode(i, below, -below + width - width_at_map, where)
        for i, ((below, where), width) in enumerate(zip(found, widths, strict=True))
    )
    told = any(mode.where and np.isfinite(mode.below) for mode in modes)
    return modes if told else ()


def _maximum(
    prepared: Prepared, map_estimate: PointEstimate, chain: xr.Dataset
) -> tuple[float, str]:
    """Return ``below`` and ``where`` of the maximum that a search from the highest draw ends at.

    Raises `StartError` if that has no density.
    """
    problem, start = prepared.problem, _highest(prepared, prepared.unconstrained(chain))
    objective = problem.objective("map", prepared.start)
    reached = search_from_starts(objective, [Start("draw", lambda: start)], 1)
    best = min((o for o in reached if o.usable), key=lambda o: o.value, default=None)
    if best is None:
        return np.nan, "no certified maximum"
    there, usual = objective.expand(best.z), problem.values(map_estimate.unconstrained)
    below = map_estimate.log_likelihood + map_estimate.log_prior + best.value
    values, circles = problem.values(there), circles_by_label(map_estimate.values)
    for i, label in enumerate(problem.parameters.labels + problem.derived.labels):
        if label in circles:
            values[i] = circles[label].near(float(values[i]), float(usual[i]))
    same = abs(below) <= _LEVEL and np.allclose(values, usual, *_SAME)
    return below, "" if same else describe_point(problem, there)


def _highest(prepared: Prepared, x: FloatArray) -> FloatArray:
    thinned = thin(x[np.isfinite(x).all(axis=1)], _INTEGRALS if prepared.roles.latents else _DRAWS)
    densities = (prepared.problem.likelihood, prepared.problem.prior)
    height = sum(density.many("value", thinned)[0] for density in densities)
    return np.asarray(thinned[int(np.nanargmax(height))])


def _width(chain: xr.Dataset) -> float:
    """Return the logarithm of the volume of a chain's draws."""
    return _log_volume(np.atleast_2d(np.cov(flatten_draws(chain, ("draw",)), rowvar=False)))


@np.errstate(all="ignore")
def _log_volume(covariance: FloatArray) -> float:
    """Return the logarithm of the volume of a distribution, but for a constant."""
    sd = np.sqrt(covariance.diagonal())
    correlation = covariance / np.outer(sd, sd) + _RIDGE * np.eye(len(sd))
    return float(np.log(sd).sum() + 0.5 * np.linalg.slogdet(correlation)[1])


def describe_modes(modes: Sequence[ChainMode]) -> str:
    """Return in words which chain sits where, and how far below the MAP."""
    groups: dict[str, list[int]] = {}
    for mode in sorted(modes, key=lambda mode: bool(mode.where)):
        groups.setdefault(_place(mode), []).append(mode.chain)
    text = "; ".join(
        f"chain{'s' * (len(chains) > 1)} {', '.join(map(str, chains))} at {place}"
        for place, chains in groups.items()
    )
    return f"{text[:1].upper()}{text[1:]}."


def _place(mode: ChainMode) -> str:
    if not mode.where or not np.isfinite(mode.below):
        return mode.where or "the MAP"
    if abs(mode.below) <= _LEVEL:
        return f"a maximum as high as the MAP, {mode.where}"
    way = "below" if mode.below > 0 else "above"
    return f"a local maximum {abs(mode.below):.3g} {way} the MAP in log-density, {mode.where}"


def tell_modes(posterior: PosteriorEstimate, modes: Sequence[ChainMode]) -> PosteriorEstimate:
    """Return the posterior with one flag that explains why its chains disagree."""
    if not modes:
        return posterior
    of_rhat = [
        f for f in posterior.flags if f.code is FlagCode.HIGH_R_HAT and f.severity is Severity.ERROR
    ]
    names = tuple(name for flag in of_rhat for name in flag.variables)
    action = "compare(init='map') starts the chains at the MAP; a lower maximum may hold mass."
    told = Flag(FlagCode.CHAINS_AT_MODES, Severity.ERROR, names, action, describe_modes(modes))
    others = tuple(flag for flag in posterior.flags if flag not in of_rhat)
    return replace(posterior, flags=(told, *others))


def keep_both(
    first: PosteriorEstimate, second: PosteriorEstimate, modes: Sequence[ChainMode]
) -> PosteriorEstimate:
    """Return the second run, with the first one's draws in its tree, and a flag that says so."""
    tree = second.tree.copy()
    for name in ("posterior", "sample_stats"):
        if name in first.tree.children:
            tree[f"{name}_first"] = first.tree[name].copy()
    action = "The first draws are the group posterior_first of the tree."
    told = Flag(FlagCode.SAMPLED_AGAIN, Severity.WARNING, (), action, describe_modes(modes))
    return replace(second, tree=tree, flags=(*second.flags, told))
