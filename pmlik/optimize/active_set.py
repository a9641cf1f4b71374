"""Constrained optima with coordinates held at borders of the support, or at infinity.

A coordinate that steps over a border is held, and released where the objective falls inward.
"""

import numpy as np

from pmlik._typing import FloatArray
from pmlik.optimize.constrained import (
    ConstrainedObjective,
    ConstrainedStatus,
    Constraints,
    Crossing,
    Point,
    iterate,
)

# The slope at a held border is taken this far inside, in logarithms. What is released has this
# slope there, and gains this at least, in log-likelihood.
_PROBE, _SLOPE, _GAIN = 7.0, 1e-8, 1e-10
_RELEASES = 20

# Heights above that well inside, in logarithms, at which another optimum is looked for.
_DEPTHS = (5.0, 3.5, 2.5, 1.5, 0.5)


def solve_constrained(
    objective: ConstrainedObjective,
    u: FloatArray,
    wanted: float | FloatArray,
    held: frozenset[int] = frozenset(),
) -> Point | ConstrainedStatus:
    """Find the constrained optimum at values of the quantities.

    Newton steps solve the linearised Lagrange conditions. The result is certified: the reduced
    Hessian is positive definite, the distance left is below 1e-6 standard errors, and the
    objective does not fall from any border that is held.

    ``u`` (n,): a start near the optimum. ``wanted`` (q,): the values.
    ``held``: the borders held at first.
    """
    wanted = np.atleast_1d(np.asarray(wanted, dtype=float))
    best: Point | ConstrainedStatus = ConstrainedStatus.STALLED
    kept = frozenset[int]()
    for _ in range(_RELEASES):
        found = _solve_with_borders(objective, u, wanted, held)
        if isinstance(found, ConstrainedStatus):
            return best if isinstance(best, Point) else found
        if isinstance(best, Point) and not found.delta_nll < best.delta_nll:
            found = best
        best = found
        released = _release(objective, found, wanted, found.held - kept)
        if released is None:
            return found
        border, u = released
        kept, held = kept | {border}, found.held - {border}
    return best


def falls_inward(objective: ConstrainedObjective, point: Point) -> bool:
    """Return True if the objective falls from a border at which a point is held after all."""
    return _release(objective, point, point.constraint_values, point.held) is not None


def lowest_inside(objective: ConstrainedObjective, point: Point, border: int) -> Point | None:
    """Return the lowest of some optima with one of a point's borders held inside instead.

    Where the objective depends on the square of a coordinate it may rise from the border at
    first, and fall further in.
    """
    held, u, reached = tuple(sorted(point.held)), point.u, list[Point]()
    for depth in _DEPTHS:
        heights = [
            objective.borders[j].typical + depth if j == border else objective.borders[j].far
            for j in held
        ]
        wanted = np.concatenate([point.constraint_values, heights])
        found = iterate(Constraints(objective, wanted, held), u)
        if isinstance(found, Point):
            u = found.u
            reached.append(found)
    return min(reached, key=lambda one: one.delta_nll, default=None)


def _solve_with_borders(
    objective: ConstrainedObjective, u: FloatArray, wanted: FloatArray, held: frozenset[int]
) -> Point | ConstrainedStatus:
    """Find the constrained optimum; hold the borders that steps lead over, release none."""
    while True:
        found = iterate(Constraints.of(objective, wanted, held), u)
        if not isinstance(found, Crossing):
            return found
        u, held = found.u, held | found.borders


def _release(
    objective: ConstrainedObjective, point: Point, wanted: FloatArray, held: frozenset[int]
) -> tuple[int, FloatArray] | None:
    """Return a border from which the objective falls inward, and a point inside of it."""
    if not held:
        return None

    def lagrangian(u: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = objective.value_and_gradient(u)
        values, normals = objective.quantities(u)
        return (
            value - float(point.multipliers @ (values - wanted)),
            gradient - point.multipliers @ normals,
        )

    probe = point.u
    for j in held:
        border = objective.borders[j]
        probe = probe + (border.typical + _PROBE - border.height(probe)) * border.direction
    gradient = lagrangian(probe)[1]
    slopes = {j: float(gradient @ objective.borders[j].direction) for j in held}
    for j in sorted(held, key=lambda j: -slopes[j]):
        if not slopes[j] > _SLOPE:
            break
        border = objective.borders[j]
        inward = border.typical + np.arange(_PROBE, -_PROBE, -1.0) - border.height(point.u)
        rungs = [point.u + height * border.direction for height in inward]
        lowest, best = min((lagrangian(rung)[0], i) for i, rung in enumerate(rungs))
        if lowest < point.delta_nll - _GAIN * (1 + abs(point.delta_nll)):
            return j, rungs[best]
    return None
