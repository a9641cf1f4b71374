"""What a search ended in: an optimum inside, a limit on a border or at infinity, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pmlik._typing import FloatArray
from pmlik.optimize.boundary import border_values, is_short_of_border
from pmlik.optimize.hessian import HessianEigen
from pmlik.optimize.limits import Limit, LimitKind, find_limit, is_noisy_between
from pmlik.optimize.multistart import are_equal, is_beside
from pmlik.optimize.objective import LARGE_DATA, Objective, ObjectiveLike, SearchPoint
from pmlik.optimize.unbounded import find_unbounded

__all__ = ["SearchResult", "select_result"]

_MOST_LIMITS, _MOST_TRIED = 3, 8
_MOST_PROBED = 50
_ADRIFT = 100.0

# With latents and more observations than this a certified optimum is not probed further.
_MOST_INTEGRATED = 10_000


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Where to take the estimate from, and what else there is.

    Parameters
    ----------
    objective : ObjectiveLike
        What ``optimum`` is an optimum of: the objective, or the part that a limit leaves.
    optimum : SearchPoint
    limit : Limit or None
        Where the estimate is one.
    unbounded : tuple of int
        Active coordinates along which the objective falls without bound.
    higher : float
        By how much the density was seen to be higher elsewhere, unexplained.
    others : tuple of SearchPoint
        Other local optima, lowest objective first.
    ends : tuple of (SearchPoint, int)
        Where each start ended, with the number of the optimum that it found: 0 for
        ``optimum``, from 1 for ``others``, -1 for none.
    """

    objective: ObjectiveLike
    optimum: SearchPoint
    limit: Limit | None
    unbounded: tuple[int, ...]
    higher: float
    others: tuple[SearchPoint, ...]
    ends: tuple[tuple[SearchPoint, int], ...]


def select_result(
    objective: Objective,
    reached: Sequence[SearchPoint],
    start: FloatArray,
    n_observations: int,
    *,
    probe: bool = True,
) -> SearchResult:
    """Choose among the ends of a search.

    Parameters
    ----------
    objective : Objective
    reached : sequence of SearchPoint
        Where each start ended.
    start : array (k,)
        The first start.
    n_observations : int
    probe : bool
        Whether to ask if there is no bound elsewhere, where that can be.
    """
    usable = _rank([o for o in reached if o.usable])
    found = _cluster(usable)
    large, long = _is_large_integral(objective, n_observations), n_observations > LARGE_DATA
    clusters = [o for o in found if large or _is_sound(objective, start, o, long)]
    best = clusters[0] if clusters else None
    stopped = [o for o in reached if not o.usable] + [o for o in found if o not in clusters]
    limits = _limits(objective, stopped, start, best)
    unbounded = {
        end.place
        for limit in limits
        for end in limit.ends
        if end.ending is LimitKind.UNBOUNDED and end.place is not None
    }
    chosen = _choose(limits, best)
    bounded = all(density.is_bounded for density in objective.densities)
    probed = probe and len(start) <= _MOST_PROBED and not large and not bounded
    if chosen is None and best is not None and probed:
        unbounded |= set(find_unbounded(objective, best, n_observations))
    here = (
        chosen.optimum if chosen else best or replace(reached[0], converged=False, contracted=False)
    )
    return SearchResult(
        objective=chosen.objective if chosen else objective,
        optimum=here,
        limit=chosen,
        unbounded=tuple(sorted(unbounded)),
        higher=0.0 if unbounded or chosen else _higher(objective, reached, here, start),
        others=tuple(_beside(chosen, clusters) if chosen else clusters[1:]),
        ends=tuple((o, _number(o, clusters) + (1 if chosen and o.usable else 0)) for o in reached),
    )


def _is_large_integral(objective: Objective, n_observations: int) -> bool:
    """Whether asking whether a certified optimum is sound would take longer than the search."""
    return objective.is_integral and n_observations > _MOST_INTEGRATED


def _beside(limit: Limit, clusters: Sequence[SearchPoint]) -> list[SearchPoint]:
    """The optima that are not just short of a limit."""
    value = limit.optimum.value
    return [o for o in clusters if abs(o.value - value) > 1e-4 * (1 + abs(value))]


def _is_sound(objective: Objective, start: FloatArray, optimum: SearchPoint, large: bool) -> bool:
    """Whether an optimum is one of the objective, and not of its rounding error."""
    if isinstance(optimum.curvature, HessianEigen) and optimum.curvature.empty.any():
        at_start = objective.hessian(start)
        lost = optimum.curvature.empty & at_start.any(axis=1) & np.isfinite(at_start).all()
        if lost.any():  # so far out that a coordinate does not matter any more
            return False
    if isinstance(optimum.curvature, HessianEigen) and _is_adrift(objective, optimum):
        return False
    return not is_noisy_between(objective, start, optimum.z, large=large)


def _is_adrift(objective: Objective, optimum: SearchPoint) -> bool:
    """Whether a coordinate that runs to a border has hardly any curvature left.

    A standard error of so many logarithms is a limit that the search has stopped short of.
    """
    diagonal = np.abs(np.diag(objective.hessian(optimum.z)))
    if optimum.is_flat and isinstance(optimum.curvature, HessianEigen):
        flat = optimum.curvature.flat_directions()
        if any(is_short_of_border(objective, optimum.z, s * d) for d in flat for s in (1, -1)):
            return True
    return any(
        border_values(objective, optimum.z, int(place), side) is not None
        for place in np.flatnonzero((diagonal > 0) & (diagonal < _ADRIFT**-2))
        for side in (-1.0, 1.0)
    )


def _rank(usable: Sequence[SearchPoint]) -> list[SearchPoint]:
    """Lowest first; of those that are equal but for rounding, certified and early ones first."""
    lowest = min(usable, key=lambda o: o.value, default=None)

    def rank(optimum: SearchPoint) -> tuple[float, bool]:
        if lowest is not None and are_equal(optimum, lowest):
            return lowest.value, not optimum.converged
        return optimum.value, False

    return sorted(usable, key=rank)


def _limits(
    objective: Objective,
    stopped: Sequence[SearchPoint],
    start: FloatArray,
    best: SearchPoint | None,
) -> list[Limit]:
    """Where the climbs lead that ended lower than any optimum, or without there being one."""
    bar = np.inf if best is None else best.value - 1e-6 * (1 + abs(best.value))
    limits: list[Limit] = []
    tried: list[float] = []
    for optimum in sorted(stopped, key=lambda o: o.value):
        if not optimum.value < bar:
            break
        if len(tried) == _MOST_TRIED or len(limits) == _MOST_LIMITS:
            break
        if any(abs(optimum.value - value) <= 1e-7 * (1 + abs(value)) for value in tried):
            continue
        tried.append(optimum.value)
        limit = find_limit(objective, start, optimum)
        if limit is not None and _is_real(objective, limit, start):
            limits.append(limit)
    return limits


def _is_real(objective: Objective, limit: Limit, start: FloatArray) -> bool:
    """Whether the objective at a limit is more than rounding error."""
    z, directions = limit.objective.place(limit.optimum.z), [e.direction for e in limit.ends]
    back = z.copy()
    moved = np.any(np.array(directions) != 0, axis=0)
    back[moved] = start[moved]  # along the held directions only: the others may sit on a spike
    return not is_noisy_between(objective, back, z, np.array(directions))


def _choose(limits: Sequence[Limit], best: SearchPoint | None) -> Limit | None:
    """The limit that is the estimate: attained and lower than the optimum, else any without one.

    One at infinity is only taken where there is nothing inside.
    """
    attained = [limit for limit in limits if limit.is_attained]
    if best is not None:
        attained = [limit for limit in attained if limit.optimum.value < best.value]
    elif not attained:
        attained = [limit for limit in limits if not limit.is_unbounded]
    return min(attained, key=lambda limit: limit.optimum.value, default=None)


def _higher(
    objective: Objective, reached: Sequence[SearchPoint], here: SearchPoint, start: FloatArray
) -> float:
    """How far below the optimum the objective was seen, rounding error aside."""
    if not here.usable:
        return 0.0
    for seen in sorted(reached, key=lambda o: o.lowest):
        gain = here.value - seen.lowest
        if not gain > 1e-6 or seen.lowest_at is None:
            return 0.0
        if not is_noisy_between(objective, start, seen.lowest_at):
            return float(gain)
    return 0.0


def _cluster(usable: Sequence[SearchPoint]) -> list[SearchPoint]:
    """One optimum a cluster, lowest first."""
    clusters: list[SearchPoint] = []
    for optimum in usable:
        if _number(optimum, clusters) < 0:
            clusters.append(optimum)
    return clusters


def _number(optimum: SearchPoint, clusters: Sequence[SearchPoint]) -> int:
    """Which cluster an optimum belongs to, -1 for none."""
    if not optimum.usable:
        return -1
    for i, known in enumerate(clusters):
        level = abs(optimum.value - known.value) <= 1e-6 * (1 + abs(known.value))
        # One that has stopped short is a little lower, and still the same.
        same = are_equal(optimum, known) and is_beside(known, optimum.z)
        if known is optimum or same or (level and known.is_flat):
            return i
    return -1
