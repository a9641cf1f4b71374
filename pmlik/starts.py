"""The starts of a search, in order, each a recipe that is followed when its turn comes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from pmlik._typing import FloatArray
from pmlik.host import find_MAP_point, prior_draws
from pmlik.logp.compile import compile_mode
from pmlik.marginalization import parameters_model
from pmlik.model.transform import likelihood_terms, prior_terms, terms_model
from pmlik.optimize.hessian import DENSE_LIMIT
from pmlik.optimize.multistart import Start, minimize
from pmlik.optimize.objective import LARGE_DATA, Kind
from pmlik.optimize.trust_region import TRUST_REGION_OPTIONS
from pmlik.problem import Problem
from pmlik.starting import best_placed

if TYPE_CHECKING:
    from pmlik.preparation import Prepared

__all__ = ["FROM_DRAW", "count_starts", "first_start", "list_starts"]


#: The name of a start that is a posterior draw.
FROM_DRAW = "best posterior draw"
_SMALL = 5000

# How many starts are all used, up to how many coordinates; no more than a few on large data.
_COUNTS = ((10, 7), (50, 4))
_FEW = 2

# And in a model with latents, where each evaluation is an integral.
_COUNTS_WITH_LATENTS = ((50, 3),)

# Widths of the jitter of further starts.
_JITTERS = (10.0, 1.0, 4.0, 0.5, 2.0)

# Of so many draws from the prior the best is taken, and every other time any.
_DRAWS, _DRAWS_WITH_LATENTS = 50, 10


def count_starts(prepared: Prepared) -> int:
    """How many starts are used in any case."""
    if prepared.arguments.n_starts is not None:
        return prepared.arguments.n_starts
    size = len(prepared.problem.initial)
    counts = _COUNTS_WITH_LATENTS if prepared.roles.latents else _COUNTS
    count = next((count for limit, count in counts if size <= limit), 1)
    return min(count, _FEW) if prepared.problem.n_observations > LARGE_DATA else count


def first_start(problem: Problem) -> str:
    """The user's own start has the first word; in large models the host's many cheap steps."""
    own = problem.pinned.any() and len(problem.initial) <= DENSE_LIMIT
    return "initial point" if own else "pm.find_MAP"


def list_starts(prepared: Prepared, kind: Kind) -> list[Start]:
    """Where to search from, in order; the later ones only while nothing is certified."""
    problem, start, seed = prepared.problem, prepared.start, prepared.seed
    objective = problem.objective(kind, start)

    def from_map() -> FloatArray:
        joint = problem.objective("map", start)
        return joint.expand(minimize(joint, start[joint.active], "MAP").z)

    def jittered(i: int, width: float) -> FloatArray:
        noise = np.random.default_rng([seed, i]).uniform(-width, width, size=len(start))
        return np.asarray(start + noise)

    @cache
    def draw_prior() -> Callable[[int], FloatArray | None]:
        return prior_draws(prepared.model, problem.unconstrained)

    def drawn(i: int) -> FloatArray | None:
        most = _DRAWS_WITH_LATENTS if prepared.roles.latents else _DRAWS
        first = seed + i * most
        draws = [draw_prior()(j) for j in range(first, first + (1 if i % 2 else most))]
        return best_placed(objective, draws)

    own = [Start("initial point", lambda: start, way) for way in TRUST_REGION_OPTIONS]
    host = Start("pm.find_MAP", partial(_from_host, prepared, kind))
    draws = [
        Start(
            "draw from the prior",
            partial(drawn, i),
            TRUST_REGION_OPTIONS[i % len(TRUST_REGION_OPTIONS)],
        )
        for i in range(len(_JITTERS))
    ]
    # The third start differs most, in case the first two end on a plateau.
    unpinned = first_start(problem) == host.name
    starts = [host, own[0], draws.pop(0), *own[1:]] if unpinned else [*own, host]
    if kind == "mle":
        starts.append(Start("MAP", from_map))
    more = max(0, count_starts(prepared) - len(starts) - len(draws) - len(_JITTERS))
    widths = _JITTERS * (1 + -(-more // len(_JITTERS)))
    jitters = [
        Start("jittered initial point", partial(jittered, i, width))
        for i, width in enumerate(widths)
    ]
    n = len(draws)
    between = [start for pair in zip(draws, jitters, strict=False) for start in pair]
    return starts + between + jitters[n:]


def _from_host(prepared: Prepared, kind: Kind) -> FloatArray | None:
    problem, start = prepared.problem, prepared.start
    terms = likelihood_terms(prepared.roles, prepared.potentials)
    if kind == "map":
        terms += prior_terms(prepared.roles, prepared.potentials)
    own = start is problem.initial and not prepared.arguments.start
    # On large data building is cheap against the hundreds of evaluations that follow.
    small = problem.n_observations + len(start) < _SMALL
    mode = compile_mode(problem.backend, for_start=small)
    model = prepared.model
    if prepared.roles.latents:
        model = parameters_model(model, prepared.roles, problem)
        named = [potential.name for potential in model.potentials]
        terms = (*named, *(prior_terms(prepared.roles, "likelihood") if kind == "map" else ()))
    host_model = terms_model(model, terms)
    return find_MAP_point(host_model, None if own else start, problem.unconstrained, mode)
