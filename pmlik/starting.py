"""A start with a likelihood that is not zero, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np

from pmlik._typing import FloatArray
from pmlik.errors import ModelError, StartError
from pmlik.logp.density import LogDensity
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.optimize.objective import CachedObjective, Objective
from pmlik.optimize.trust_region import find_scales
from pmlik.problem import Problem

__all__ = ["best_placed", "describe_point", "jitter", "usable_start"]


def usable_start(problem: Problem, seed: int) -> FloatArray:
    """A start with a non-zero likelihood.

    Raises
    ------
    StartError
        Naming the variable whose initval is outside its support, or the observed variable and
        an index where the likelihood is zero.
    ModelError
        Naming the covariate that is NaN.
    """
    outside = np.flatnonzero(problem.pinned & ~np.isfinite(problem.initial))
    if outside.size:
        natural = dict(zip(problem.unconstrained.names, problem.parameters.names, strict=True))
        names = [natural[name] for name in problem.unconstrained.owners(outside)]
        raise StartError(
            f"{', '.join(names)}: the initval lies outside the support. Give one inside it, or "
            "none."
        )
    start = find_start(problem, seed)
    if start is not None:
        return start
    for density, what in ((problem.likelihood, "likelihood"), (problem.prior, "prior density")):
        _explain(problem, density, what)
    raise StartError("The gradient of the log-density is not finite anywhere near the start.")


def _explain(problem: Problem, density: LogDensity | MarginalLogLikelihood, what: str) -> None:
    """Raise for the first term that is not finite at the initial point."""
    at = np.where(np.isfinite(problem.initial), problem.initial, 0.0)
    for name, terms in density.pointwise(at).items():
        if np.isfinite(terms).all():
            continue
        # PyMC makes all terms zero where one parameter is out of bounds; unchecked, that one
        # stands out.
        unchecked = ~np.isfinite(density.pointwise(at, check_bounds=False)[name])
        bad = unchecked if unchecked.any() else ~np.isfinite(terms)
        index = [int(i) for i in np.argwhere(bad)[0]]
        state = "undefined" if np.isnan(terms[tuple(index)]) else "zero"
        blame = density.blame(name)
        if blame:
            raise ModelError(
                f"{name}: the {what} is {state}, as its distribution is computed from values "
                f"that are not finite: {'; '.join(blame)}. Remove or impute them before "
                "building the model."
            )
        place = f" at index {index}" if index else ""
        tried = "." if problem.pinned.all() else ", and no start near it does better."
        raise StartError(
            f"{name}: the {what} is {state}{place} at the start "
            f"({describe_point(problem, at)}){tried} Check that the data lie inside the "
            "distribution's support, and its parameters inside theirs, or give other initvals."
        )


def find_start(problem: Problem, seed: int) -> FloatArray | None:
    """A point with finite log-likelihood, log-prior and gradient: the initial point if it has.

    Otherwise the best of twenty jittered initial points, as near as there are any. None where
    there is no such point among them.
    """
    joint = problem.objective("map", problem.initial)

    def value(x: FloatArray) -> float:
        return joint.value_and_gradient(x[joint.active])[0] if np.isfinite(x).all() else np.inf

    if np.isfinite(value(problem.initial)):
        return problem.initial
    rng = np.random.default_rng(seed)
    centre = np.where(np.isfinite(problem.initial), problem.initial, 0.0)
    # Where the prior's own centre overflows, the transforms' is tried.
    origin = np.where(problem.pinned, centre, 0.0)
    for middle, width in product((centre, origin), (0.1, 0.5, 1.0, 2.0, 5.0)):
        candidates = [jitter(problem, middle, width, rng) for _ in range(20)]
        values = [value(x) for x in candidates]
        best = int(np.argmin(values))
        if np.isfinite(values[best]):
            return candidates[best]
    return None


def jitter(problem: Problem, x: FloatArray, width: float, rng: np.random.Generator) -> FloatArray:
    """``x`` plus uniform noise on the unconstrained scale; what the user has pinned stays."""
    return x + np.where(problem.pinned, 0.0, rng.uniform(-width, width, size=len(x)))


def best_placed(objective: Objective, points: Iterable[FloatArray | None]) -> FloatArray | None:
    """The point with the lowest objective once its scales are where they belong."""
    examiner = CachedObjective(objective)
    scales, best, lowest = None, None, np.inf
    for point in points:
        if point is None:
            continue
        z = point[objective.active]
        if not np.isfinite(examiner.value_and_gradient(z)[0]):
            continue
        scales = scales or find_scales(examiner, z)
        z = scales.place(examiner, z, roughly=True)
        if examiner.value_and_gradient(z)[0] < lowest:
            best, lowest = objective.expand(z), examiner.value_and_gradient(z)[0]
    return best


def describe_point(problem: Problem, x: FloatArray, most: int = 6) -> str:
    """A point in natural units, in words."""
    labels = problem.parameters.labels
    values = problem.values(x)[: len(labels)]
    shown = [f"{label} = {value:.4g}" for label, value in zip(labels, values, strict=True)]
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "")
