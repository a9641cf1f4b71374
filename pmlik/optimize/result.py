"""Result of a search: an optimum inside, a limit on a border or at infinity, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from pmlik._budget import LEAST_SEARCH
from pmlik._typing import FloatArray
from pmlik.optimize.affine import AffineObjective
from pmlik.optimize.boundary import LEVEL, border_values, is_short_of_border
from pmlik.optimize.hessian import HessianEigen
from pmlik.optimize.limits import Limit, LimitKind, find_limit
from pmlik.optimize.multistart import are_equal, is_beside
from pmlik.optimize.objective import (
    LARGE_DATA,
    CachedObjective,
    Objective,
    ObjectiveLike,
    SearchPoint,
)
from pmlik.optimize.rounding import is_noisy_between
from pmlik.optimize.unbounded import find_unbounded

_MOST_LIMITS, _MOST_TRIED = 3, 8
_MOST_PROBED = 50
_ADRIFT = 100.0

# With latents and more observations than this a certified optimum is not probed further.
_MOST_INTEGRATED = 10_000


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The chosen optimum or limit, and the other optima.

    ``objective``: the objective of ``optimum``: the whole, or the part that a limit leaves free.
    ``limit``: set if the estimate is a limit.
    ``unbounded``: active coordinates along which the objective falls without bound.
    ``higher``: unexplained excess of the log-density elsewhere over that of the optimum.
    ``others``: other local optima, lowest objective first.
    ``runs``: end of the search from each start, with the number of its optimum: 0 for ``optimum``,
        from 1 for ``others``, -1 for none.
    """

    objective: ObjectiveLike
    optimum: SearchPoint
    limit: Limit | None
    unbounded: tuple[int, ...]
    higher: float
    others: tuple[SearchPoint, ...]
    runs: tuple[tuple[SearchPoint, int], ...]


def select_result(
    objective: Objective,
    reached: Sequence[SearchPoint],
    start: FloatArray,
    n_observations: int,
    *,
    probe: bool = True,
) -> SearchResult:
    """Choose the estimate among the ends of all searches.

    ``reached``: end of the search from each start. ``start`` (k,): the first start.
    ``probe``: True to search for directions without bound, if the objective may have any.
    """
    clusters, rejected = _sound_optima(objective, reached, start, n_observations)
    best = clusters[0] if clusters else None
    stopped = [o for o in reached if not o.usable] + rejected
    searched = 0.0 if objective.meter is None else objective.meter.spent
    limits = list[Limit]()
    with _step(objective, "limits", searched):
        limits.extend(_limits(objective, stopped, start, best))
    chosen = _release(objective, _choose(limits, best), start)
    unbounded = _unbounded_directions(limits, chosen)
    if chosen is not None:
        if probe:
            z = chosen.objective.place(chosen.optimum.z)
            with _step(objective, PROBE, searched):
                unbounded.update(
                    _probe_unbounded(objective, z, chosen.optimum, start, n_observations)
                )
        return SearchResult(
            objective=chosen.objective,
            optimum=chosen.optimum,
            limit=chosen,
            unbounded=tuple(sorted(unbounded)),
            higher=0.0,
            others=tuple(_beside(chosen, clusters)),
            runs=tuple((o, _number(o, clusters) + int(o.usable)) for o in reached),
        )
    if probe and best is not None:
        with _step(objective, PROBE, searched):
            unbounded.update(_probe_unbounded(objective, best.z, best, start, n_observations))
    here = best or replace(reached[0], converged=False, contracted=False)
    return SearchResult(
        objective=objective,
        optimum=here,
        limit=None,
        unbounded=tuple(sorted(unbounded)),
        higher=0.0 if unbounded else _higher(objective, reached, here, start),
        others=tuple(clusters[1:]),
        runs=tuple((o, _number(o, clusters)) for o in reached),
    )


#: The name of the last step of a search.
PROBE = "directions without bound"


def _step(objective: Objective, name: str, searched: float) -> AbstractContextManager[None]:
    """Return a step that takes no more work than the search before, but always a little."""
    if objective.meter is None:
        return nullcontext()
    return objective.meter.step(name, max(LEAST_SEARCH, searched))


def _sound_optima(
    objective: Objective, reached: Sequence[SearchPoint], start: FloatArray, n_observations: int
) -> tuple[list[SearchPoint], list[SearchPoint]]:
    """Return the distinct optima, lowest first, and those rejected as rounding error."""
    found = _cluster(_rank([o for o in reached if o.usable]))
    if _is_large_integral(objective, n_observations):
        return found, []
    large = n_observations > LARGE_DATA
    sound = [o for o in found if _is_sound(objective, start, o, large)]
    return sound, [o for o in found if o not in sound]


def _unbounded_directions(limits: Sequence[Limit], chosen: Limit | None) -> set[int]:
    """Return the coordinates along which a search fell without bound, below what is reported."""
    lowest = np.inf if chosen is None else chosen.optimum.value
    return {
        end.coordinate
        for limit in limits
        for end in limit.directions
        if limit.optimum.value < lowest
        if end.kind is LimitKind.UNBOUNDED and end.coordinate is not None
    }


def _probe_unbounded(
    objective: Objective,
    z: FloatArray,
    optimum: SearchPoint,
    start: FloatArray,
    n_observations: int,
) -> Iterator[int]:
    """Yield the coordinates without bound far from an optimum, if a probe pays for itself.

    ``z`` (k,): the optimum, inside or in a limit.
    ``optimum``: of the whole objective, or of the part that a limit leaves free.
    """
    large = _is_large_integral(objective, n_observations)
    bounded = all(density.is_bounded for density in objective.densities)
    if large or bounded or len(z) > _MOST_PROBED:
        return
    curvature = optimum.curvature if len(optimum.z) == len(z) else None
    scale = np.ones(len(z)) if curvature is None else curvature.scale
    yield from find_unbounded(objective, z, scale, start, n_observations)


def _is_large_integral(objective: Objective, n_observations: int) -> bool:
    """Return True if further checks of an optimum would take longer than its search."""
    return objective.is_integral and n_observations > _MOST_INTEGRATED


def _beside(limit: Limit, clusters: Sequence[SearchPoint]) -> list[SearchPoint]:
    """Return the optima that are not just short of a limit."""
    value = limit.optimum.value
    return [o for o in clusters if abs(o.value - value) > 1e-4 * (1 + abs(value))]


def _is_sound(objective: Objective, start: FloatArray, optimum: SearchPoint, large: bool) -> bool:
    """Return True if an optimum is one of the objective, and not of its rounding error."""
    if isinstance(optimum.curvature, HessianEigen) and optimum.curvature.empty.any():
        at_start = objective.hessian(start)
        lost = optimum.curvature.empty & at_start.any(axis=1) & np.isfinite(at_start).all()
        if lost.any():  # so far out that a coordinate does not matter any more
            return False
    if isinstance(optimum.curvature, HessianEigen) and _is_adrift(objective, optimum):
        return False
    return not is_noisy_between(objective, start, optimum.z, large=large)


def _is_adrift(objective: Objective, optimum: SearchPoint) -> bool:
    """Return True if a coordinate that diverges to a border has hardly any curvature left.

    With so large a standard error the search has stopped short of a limit.
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
    """Sort by value; among optima equal within rounding, certified and early ones first."""
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
) -> Iterator[Limit]:
    """Yield the limits of searches that stopped lower than the best optimum."""
    bar = np.inf if best is None else best.value - 1e-6 * (1 + abs(best.value))
    found, tried = 0, list[float]()
    for optimum in sorted(stopped, key=lambda o: o.value):
        if not optimum.value < bar:
            break
        if len(tried) == _MOST_TRIED or found == _MOST_LIMITS:
            break
        if any(abs(optimum.value - value) <= 1e-7 * (1 + abs(value)) for value in tried):
            continue
        tried.append(optimum.value)
        limit = find_limit(objective, start, optimum)
        if limit is not None and _is_real(objective, limit, start):
            found += 1
            yield limit


def _is_real(objective: Objective, limit: Limit, start: FloatArray) -> bool:
    """Return True if the objective at a limit is that of its values, and not rounding error."""
    if not limit.holds(objective):
        return False
    z, directions = limit.objective.place(limit.optimum.z), [e.direction for e in limit.directions]
    back = z.copy()
    moved = np.any(np.array(directions) != 0, axis=0)
    back[moved] = start[moved]  # along the held directions only: the others may sit on a spike
    return not is_noisy_between(objective, back, z, np.array(directions))


def _choose(limits: Sequence[Limit], best: SearchPoint | None) -> Limit | None:
    """Return the limit to report: attained and lower than the optimum, or any without an optimum.

    A limit at infinity is only taken if there is no optimum inside.
    """
    attained = [limit for limit in limits if limit.is_attained]
    if best is not None:
        attained = [limit for limit in attained if limit.optimum.value < best.value]
    elif not attained:
        attained = [limit for limit in limits if not limit.is_unbounded]
    return min(attained, key=lambda limit: limit.optimum.value, default=None)


def _release(objective: Objective, limit: Limit | None, start: FloatArray) -> Limit | None:
    """Return a limit without what changes nothing at it: the rate of an amplitude of zero.

    Such a coordinate goes back to the start, free, and the objective is flat along it.
    """
    ends = () if limit is None else limit.directions
    if limit is None or not limit.optimum.usable or any(e.coordinate is None for e in ends):
        return limit
    if not any(e.is_border for e in ends) or len(start) > _MOST_PROBED:
        return limit
    z, value = limit.border[objective.active], limit.optimum.value
    held = np.isin(np.arange(len(z)), [e.coordinate for e in ends if e.coordinate is not None])
    near = limit.objective.place(limit.optimum.z)
    void = np.array(
        [
            _moves(objective, z, k, start) and _is_void(objective, near, k, start)
            for k in range(len(z))
        ]
    )
    kept = tuple(e for e in ends if not (e.is_border and void[e.coordinate]))
    if not void.any() or not kept:
        return limit
    held &= ~void
    z, border = np.where(void & ~held, start, z), limit.border.copy()
    border[objective.active] = z
    part = AffineObjective.fix(objective, z, held)
    there = CachedObjective(part).examine(np.zeros(part.size))
    moved = not abs(there.value - value) <= LEVEL * (1 + abs(value))
    if moved or there.curvature is None or there.is_saddle:
        return limit
    optimum = replace(there, converged=limit.optimum.converged, start=limit.optimum.start)
    return Limit(kept, part, optimum, border)


def _moves(objective: Objective, z: FloatArray, place: int, start: FloatArray) -> bool:
    """Return True if a coordinate moves any constrained value: not in a simplex at its corner."""
    moved = np.where(np.arange(len(z)) == place, start, z)
    at, there = (objective.values(objective.expand(point)) for point in (z, moved))
    return not np.allclose(at, there, rtol=1e-9, atol=1e-12, equal_nan=True)


def _is_void(objective: Objective, z: FloatArray, place: int, start: FloatArray) -> bool:
    """Return True if the objective is the same wherever a coordinate is."""
    value, moved = objective.value_and_gradient(z)[0], z.copy()
    for offset in (0.0, -2.0, 2.0):
        moved[place] = start[place] + offset
        if not abs(objective.value_and_gradient(moved)[0] - value) <= LEVEL * (1 + abs(value)):
            return False
    return True


def _higher(
    objective: Objective, reached: Sequence[SearchPoint], here: SearchPoint, start: FloatArray
) -> float:
    """Return the depth of the lowest value below the optimum, rounding error aside."""
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
    """Return one optimum per cluster, lowest first."""
    clusters: list[SearchPoint] = []
    for optimum in usable:
        if _number(optimum, clusters) < 0:
            clusters.append(optimum)
    return clusters


def _number(optimum: SearchPoint, clusters: Sequence[SearchPoint]) -> int:
    """Return the number of the cluster of an optimum, -1 for none."""
    if not optimum.usable:
        return -1
    for i, known in enumerate(clusters):
        level = abs(optimum.value - known.value) <= 1e-6 * (1 + abs(known.value))
        # One that has stopped short is a little lower, and still the same.
        same = are_equal(optimum, known) and is_beside(known, optimum.z)
        if known is optimum or same or (level and known.is_flat):
            return i
    return -1
