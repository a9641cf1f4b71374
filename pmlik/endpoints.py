"""Where the profile of a natural value has fallen to a level: the ends of an interval."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pmlik.curvature import Curvature
from pmlik.objective import Objective
from pmlik.problem import Problem
from pmlik.quantities import Profiled, Rounded
from pmlik.space import FloatArray
from pmlik.tracing import Failure, Finish, Point, Trace, correct, first_point, trace

__all__ = ["Ends", "Walker"]

# A step this long in x takes any transform to the border of its support.
_BEYOND = 1e3
# How far beyond an end a curve is drawn, and in how many steps.
_BEYOND_END, _MORE = 1.25, 2


@dataclass(frozen=True, eq=False)
class Ends:
    """Both sides of a profile.

    Parameters
    ----------
    lower, upper : float
        Natural units: where the level is reached; the border of the support or an infinity where
        it never is; NaN where the profile could not be followed that far.
    finishes : tuple of Finish
        Of the lower and the upper side.
    curve : tuple of Point
        What was seen, in ascending order of the value.
    naturals : array (p, m)
        All natural values at each of them.
    rises : tuple of bool
        Whether the profile rose again on the way to the lower, the upper end.
    better : array (n,) or None
        A full vector ``x`` with a higher log-likelihood than the estimate's.
    """

    lower: float
    upper: float
    finishes: tuple[Finish, Finish]
    curve: tuple[Point, ...] = ()
    naturals: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    rises: tuple[bool, bool] = (False, False)
    better: FloatArray | None = None


class Walker:
    """Walks the profiles of one estimate.

    Parameters
    ----------
    problem : Problem
    x : array (n,)
        The MLE, unconstrained.
    """

    def __init__(self, problem: Problem, x: FloatArray) -> None:
        self.problem = problem
        objective = Objective.of(problem, "mle", x)
        z = x[objective.active]
        self.rounded = Rounded(objective, z, Curvature.of(objective.hessian(z)))

    def ground(self, place: int) -> Profiled:
        """The objective with the natural value at a place to be held."""
        return Profiled(self.rounded, place, place < self.problem.parameters.size)

    def symmetric(self, place: int, quantile: float) -> tuple[float, float] | None:
        """Ends that are symmetric in a parameter's own coordinate, if it has one."""
        ground = self.ground(place)
        if ground.own is None:
            return None
        x = self.rounded.expand(np.zeros(self.rounded.size))
        reach = first_point(ground, self.rounded.size).reach
        ends = []
        for side in (-1, 1):
            there = x.copy()
            there[ground.own] += side * quantile * reach
            ends.append(float(self.problem.values(there)[place]))
        return min(ends), max(ends)

    @np.errstate(all="ignore")
    def ends(self, place: int, level: float, n_points: int = 0) -> Ends:
        """Both ends of the profile of a natural value, and what was seen on the way.

        Parameters
        ----------
        place : int
            Among the natural values, parameters first.
        level : float
            How far below the maximum the log-likelihood is at an end.
        n_points : int
            How many points a side the curve should have at least.
        """
        ground = self.ground(place)
        start = first_point(ground, self.rounded.size)
        if not start.reach > 0 or not np.isfinite(start.reach):
            return Ends(np.nan, np.nan, (Finish.LOST, Finish.LOST))
        rising = ground.rising(start.u)
        walks = [trace(ground, start, side * rising, level) for side in (-1, 1)]
        lower, upper = (self._end(ground, walk, rising) for walk in walks)
        below, above = (_ordered(ground, walk, level, n_points) for walk in walks)
        points = [*below[::-1], start, *above]
        better = next((w.end for w in walks if w.finish is Finish.BETTER and w.end), None)
        return Ends(
            lower=lower,
            upper=upper,
            finishes=(walks[0].finish, walks[1].finish),
            curve=tuple(points),
            naturals=np.array(
                [self.problem.values(self.rounded.expand(point.u)) for point in points]
            ),
            rises=(_rises(walks[0]), _rises(walks[1])),
            better=None if better is None else self.rounded.expand(better.u),
        )

    def _end(self, ground: Profiled, walk: Trace, rising: int) -> float:
        if walk.end is None:
            return np.nan
        if walk.finish is Finish.REACHED:
            return ground.natural(walk.end.u)
        if walk.finish is Finish.EDGE:
            return ground.natural(walk.end.u)
        if walk.finish is Finish.FLAT:
            return self._border(ground, walk, rising)
        return np.nan

    def _border(self, ground: Profiled, walk: Trace, rising: int) -> float:
        """The border of the support that a profile runs to without falling, or an infinity."""
        assert walk.end is not None
        if ground.own is None:
            saturated = abs(walk.wall - walk.end.held) < 1e-6 * walk.points[0].reach
            return walk.end.held if saturated else walk.side * np.inf
        x = self.rounded.expand(walk.end.u)
        ends = []
        for far in (_BEYOND, 2 * _BEYOND):
            x[ground.own] = walk.side * far
            ends.append(self.problem.values(x)[ground.place])
        return float(ends[0]) if ends[0] == ends[1] else walk.side * rising * np.inf


def _rises(walk: Trace) -> bool:
    """Whether the log-likelihood rose on the way out."""
    return any(walk.side * point.slope < 0 for point in walk.points[1:])


def _ordered(ground: Profiled, walk: Trace, level: float, n_points: int) -> list[Point]:
    """The points of a walk without the optimum, outward, with more in between and beyond."""
    points = sorted(walk.points[1:], key=lambda point: walk.side * point.held)
    if not n_points or not points:
        return points
    known = [walk.points[0], *points]
    target = float(np.sqrt(2 * level))
    if walk.finish is Finish.REACHED:
        for root in np.linspace(1, _BEYOND_END, _MORE + 1)[1:] * target:
            last = known[-1]
            rate = walk.side * last.slope / last.root
            there = _beside(ground, last, last.held + walk.side * (root - last.root) / rate)
            if there is None:
                break
            known.append(there)
    helds = walk.side * np.array([point.held for point in known])
    roots = np.array([point.root for point in known])
    if (np.diff(roots) <= 0).any():
        return known[1:]
    for root in np.linspace(0, target, n_points + 1)[1:]:
        held = walk.side * float(np.interp(root, roots, helds))
        near = min(known, key=lambda point: abs(point.held - held))
        if abs(near.root - root) > 0.2 * target / n_points:
            there = _beside(ground, near, held)
            if there is not None:
                points.append(there)
    points = [*points, *known[1:]]
    unique = {point.held: point for point in points}
    return sorted(unique.values(), key=lambda point: walk.side * point.held)


def _beside(ground: Profiled, near: Point, held: float) -> Point | None:
    there = correct(ground, near.u + (held - near.held) * near.tangent, held)
    return None if isinstance(there, Failure) else there
