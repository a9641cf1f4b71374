"""Starts of a search: pm.find_MAP, the initial point, prior draws, jitter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pymc as pm
import pytensor
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.mode import Mode
from threadpoolctl import threadpool_limits

from pmlik._budget import Meter
from pmlik._runtime import SINCE_PYMC_6_4, quiet_host
from pmlik._typing import BoolArray, FloatArray
from pmlik.errors import ModelError, StartError
from pmlik.inference.compiled import CompiledModel
from pmlik.inference.marginal_model import parameters_model
from pmlik.labels import ParameterSpace
from pmlik.logp.compile import compile_mode
from pmlik.logp.density import LogDensity
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.model.transform import TermsModel, likelihood_terms, prior_terms, terms_model
from pmlik.optimize.hessian import DENSE_LIMIT
from pmlik.optimize.multistart import Start, minimize
from pmlik.optimize.objective import LARGE_DATA, CachedObjective, Kind, Objective
from pmlik.optimize.trust_region import TRUST_REGION_OPTIONS, find_scales

if TYPE_CHECKING:
    from pmlik.inference.prepare import Prepared


#: The name of a start that is a posterior draw.
FROM_DRAW = "best posterior draw"
_SMALL = 5000

# (coordinates, starts): up to so many coordinates, so many starts are always used; on large data
# no more than a few.
_COUNTS = ((10, 7), (50, 4))
_FEW, _MOST_STARTS = 2, 30

# The same in a model with latents, where each evaluation is an integral.
_COUNTS_WITH_LATENTS = ((50, 3),)

# A Hessian of more work than this is slow.
_SLOW = 0.05

# The most work of a search from one start: so many gradients and Hessians, each integral of so
# many evaluations; or this much, which no quick model comes near.
_GRADIENTS, _HESSIANS, _EVALUATIONS, _LEAST_WORK = 600, 80, 30, 30.0

# Widths of the jitter of further starts.
_JITTERS = (10.0, 1.0, 4.0, 0.5, 2.0)

# A start from the prior is the best of so many draws; every second one is a single draw.
_DRAWS, _DRAWS_WITH_LATENTS = 50, 10


def count_starts(prepared: Prepared) -> int:
    """Return the number of starts that are always used."""
    if prepared.arguments.n_starts is not None:
        return prepared.arguments.n_starts
    size = len(prepared.problem.initial)
    counts = _COUNTS_WITH_LATENTS if prepared.roles.latents else _COUNTS
    count = next((count for limit, count in counts if size <= limit), 1)
    slow = prepared.problem.n_observations > LARGE_DATA or _is_slow(prepared)
    return min(count, _FEW) if slow else count


def _is_slow(prepared: Prepared) -> bool:
    """Return True if a Hessian is so much work that few can be had, as of an equation solver."""
    each = prepared.problem.likelihood.size.gradient
    return not prepared.roles.latents and each * len(prepared.problem.initial) > _SLOW


def most_work(prepared: Prepared) -> float:
    """Return the most work that the search for an estimate may take, from all starts."""
    likelihood, n = prepared.problem.likelihood, min(len(prepared.problem.initial), DENSE_LIMIT)
    gradient = likelihood.size.gradient * (_EVALUATIONS if likelihood.is_integral else 1)
    hessian = 2 * n * gradient if likelihood.by_differences else likelihood.size.products(n)
    each = _GRADIENTS * gradient + _HESSIANS * hessian
    return max(_LEAST_WORK, count_starts(prepared) * each)


def most_starts(prepared: Prepared) -> int:
    """Return the number of starts that are used where a small objective has several optima."""
    asked, small = prepared.arguments.n_starts is not None, _COUNTS[0]
    regular = not asked and not prepared.roles.latents and len(prepared.problem.initial) <= small[0]
    return _MOST_STARTS if regular and count_starts(prepared) == small[1] else 0


def first_start(problem: CompiledModel) -> str:
    """Return the name of the first start: the user's own, or in large models `pm.find_MAP`."""
    own = problem.pinned.any() and len(problem.initial) <= DENSE_LIMIT
    return "initial point" if own else "pm.find_MAP"


def list_starts(prepared: Prepared, kind: Kind, meter: Meter | None = None) -> list[Start]:
    """Return the starts in order; the later ones are used only while nothing is certified.

    ``meter``: counts the work of finding them.
    """
    problem, start, seed = prepared.problem, prepared.start, prepared.seed
    objective = replace(problem.objective(kind, start), meter=meter)

    def from_map() -> FloatArray:
        joint = replace(problem.objective("map", start), meter=meter)
        return joint.expand(minimize(joint, start[joint.active], "MAP").z)

    def jittered(i: int, width: float) -> FloatArray:
        return jitter(start, width, np.random.default_rng([seed, i]))

    @cache
    def draw_prior() -> Callable[[int], FloatArray | None]:
        return prior_draws(prepared.model, problem.unconstrained)

    def drawn(i: int) -> FloatArray | None:
        most = _DRAWS_WITH_LATENTS if prepared.roles.latents else _DRAWS
        first = seed + i * most
        draws = [draw_prior()(j) for j in range(first, first + (1 if i % 2 else most))]
        return best_placed(objective, draws)

    own = [Start("initial point", lambda: start, options) for options in TRUST_REGION_OPTIONS]
    pymc = Start("pm.find_MAP", partial(_from_find_MAP, prepared, kind))
    draws = [
        Start(
            "draw from the prior",
            partial(drawn, i),
            TRUST_REGION_OPTIONS[i % len(TRUST_REGION_OPTIONS)],
        )
        for i in range(max(len(_JITTERS), most_starts(prepared) // 2))
    ]
    # The third start differs most, in case the first two end on a plateau.
    unpinned = first_start(problem) == pymc.name
    starts = [pymc, own[0], draws.pop(0), *own[1:]] if unpinned else [*own, pymc]
    if kind == "mle":
        starts.append(Start("MAP", from_map))
    wanted = max(count_starts(prepared), most_starts(prepared))
    more = max(0, wanted - len(starts) - len(draws) - len(_JITTERS))
    widths = _JITTERS * (1 + -(-more // len(_JITTERS)))
    jitters = [
        Start("jittered initial point", partial(jittered, i, width))
        for i, width in enumerate(widths)
    ]
    n = len(draws)
    between = [start for pair in zip(draws, jitters, strict=False) for start in pair]
    return starts + between + jitters[n:]


# The points where `pm.find_MAP` stopped, by problem, kind and start.
_FOUND: WeakKeyDictionary[CompiledModel, dict[Any, FloatArray | None]] = WeakKeyDictionary()


def _from_find_MAP(prepared: Prepared, kind: Kind) -> FloatArray | None:
    """Return the point (n,) where `pm.find_MAP` stops on the objective of an estimate."""
    known = _FOUND.setdefault(prepared.problem, {})
    key = kind, bool(prepared.arguments.start), prepared.start.tobytes()
    if key not in known:
        known[key] = _run_find_MAP(prepared, kind)
    return known[key]


def _run_find_MAP(prepared: Prepared, kind: Kind) -> FloatArray | None:
    problem, start = prepared.problem, prepared.start
    terms = likelihood_terms(prepared.roles, prepared.potentials)
    if kind == "map":
        terms += prior_terms(prepared.roles, prepared.potentials)
    own = start is problem.initial and not prepared.arguments.start
    # On large data compiling is cheap against the hundreds of evaluations that follow.
    small = problem.n_observations + len(start) < _SMALL
    mode = compile_mode(problem.backend, for_start=small)
    model = prepared.model
    if prepared.roles.latents:
        model = parameters_model(model, prepared.roles, problem)
        named = [potential.name for potential in model.potentials]
        terms = (*named, *(prior_terms(prepared.roles, "likelihood") if kind == "map" else ()))
    objective_model = terms_model(model, terms)
    return find_MAP_point(objective_model, None if own else start, problem.unconstrained, mode)


def usable_start(problem: CompiledModel, seed: int) -> FloatArray:
    """Return a start (n,) with a non-zero likelihood.

    Raises `StartError`: naming the variable whose initval is outside its support, or the observed
        variable and an index where the likelihood is zero.
    Raises `ModelError`: naming the covariate that is NaN.
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
        _raise_first_problem(problem, density, what)
    raise StartError("The gradient of the log-density is not finite anywhere near the start.")


def _raise_first_problem(
    problem: CompiledModel, density: LogDensity | MarginalLogLikelihood, what: str
) -> None:
    """Raise an error about the first term that is not finite at the initial point."""
    at = np.where(np.isfinite(problem.initial), problem.initial, 0.0)
    for name, terms in density.pointwise(at).items():
        if np.isfinite(terms).all():
            continue
        # PyMC makes all terms zero if one parameter is out of bounds; without its checks only
        # the term of that one is not finite.
        unchecked = ~np.isfinite(density.pointwise(at, check_bounds=False)[name])
        bad = unchecked if unchecked.any() else ~np.isfinite(terms)
        index = [int(i) for i in np.argwhere(bad)[0]]
        state = "undefined" if np.isnan(terms[tuple(index)]) else "zero"
        inputs = density.nonfinite_inputs(name)
        if inputs:
            raise ModelError(
                f"{name}: the {what} is {state}, as its distribution is computed from values "
                f"that are not finite: {'; '.join(inputs)}. Remove or impute them before "
                "building the model."
            )
        place = f" at index {index}" if index else ""
        tried = "." if problem.pinned.all() else ", and no start near it does better."
        raise StartError(
            f"{name}: the {what} is {state}{place} at the start "
            f"({describe_point(problem, at)}){tried} Check that the data lie inside the "
            "distribution's support, and its parameters inside theirs, or give other initvals."
        )


def find_start(problem: CompiledModel, seed: int) -> FloatArray | None:
    """Return a point with finite log-likelihood, log-prior and gradient, or None.

    The initial point if it is one, otherwise the best of twenty jittered initial points, with
    the smallest jitter that has any.
    """
    joint = problem.objective("map", problem.initial)

    def value(x: FloatArray) -> float:
        return joint.value_and_gradient(x[joint.active])[0] if np.isfinite(x).all() else np.inf

    if np.isfinite(value(problem.initial)):
        return problem.initial
    rng = np.random.default_rng(seed)
    centre = np.where(np.isfinite(problem.initial), problem.initial, 0.0)
    # If the centre of the prior overflows, zero on the unconstrained scale is tried.
    origin = np.where(problem.pinned, centre, 0.0)
    for middle, width in product((centre, origin), (0.1, 0.5, 1.0, 2.0, 5.0)):
        candidates = [jitter(middle, width, rng, problem.pinned) for _ in range(20)]
        values = [value(x) for x in candidates]
        best = int(np.argmin(values))
        if np.isfinite(values[best]):
            return candidates[best]
    return None


def jitter(
    x: FloatArray, width: float, rng: np.random.Generator, fixed: BoolArray | None = None
) -> FloatArray:
    """Return ``x`` plus uniform noise on the unconstrained scale, without that at ``fixed``."""
    noise = rng.uniform(-width, width, size=len(x))
    return np.asarray(x + (noise if fixed is None else np.where(fixed, 0.0, noise)))


def best_placed(objective: Objective, points: Iterable[FloatArray | None]) -> FloatArray | None:
    """Return the point with the lowest objective after its scales are adjusted to the data.

    Not if each evaluation is an integral: finding the scales takes longer than a search.
    """
    cached = CachedObjective(objective)
    scales, best, lowest = None, None, np.inf
    for point in points:
        if point is None:
            continue
        z = point[objective.active]
        if not np.isfinite(cached.value_and_gradient(z)[0]):
            continue
        if not objective.is_integral:
            scales = scales or find_scales(cached, z)
            z = scales.place(cached, z, roughly=True)
        if cached.value_and_gradient(z)[0] < lowest:
            best, lowest = objective.expand(z), cached.value_and_gradient(z)[0]
    return best


def describe_point(problem: CompiledModel, x: FloatArray, most: int = 6) -> str:
    """Return a point in words, in the user's units."""
    labels = problem.parameters.labels
    values = problem.values(x)[: len(labels)]
    shown = [f"{label} = {value:.4g}" for label, value in zip(labels, values, strict=True)]
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "")


def find_MAP_point(
    model: TermsModel, start: FloatArray | None, space: ParameterSpace, mode: Mode
) -> FloatArray | None:
    """Return the point where ``pm.find_MAP`` stops on this model, unconstrained.

    ``model``: the model whose log-density is maximised, without Jacobian.
    ``start`` (n,): default: the model's initial point.
    ``space``: the value variables that ``start`` and the result hold.
    ``mode``: PyTensor's mode for the compilation.
    Returns (n,) or None: None if ``pm.find_MAP`` raised an error or ended outside the support.
    """
    accepted = inspect.signature(pm.find_MAP).parameters
    arguments: dict[str, Any] = {k: v for k, v in SINCE_PYMC_6_4.items() if k in accepted}
    if start is not None:
        arguments["initvals" if "initvals" in accepted else "start"] = space.split(start)
    try:
        # The flag reaches every compilation of the call; `compile_kwargs` is not in 6.3.
        # On the short vectors of its L-BFGS, threads only wait for each other.
        one = threadpool_limits(1, user_api="blas")
        with quiet_host(), one, pytensor.config.change_flags(mode=mode):
            found = pm.find_MAP(model=model, progressbar=False, **arguments)
    except Exception:  # noqa: BLE001 - a failure of PyMC only costs a starting point
        return None
    x = space.join(found)
    return x if np.isfinite(x).all() else None


def from_prior(model: pm.Model) -> dict[str, str]:
    """Return PyMC's ``initvals`` that draw from the prior; a flat one can't be drawn from."""
    proper = [rv for rv in model.free_RVs if "Flat" not in type(rv.owner.op).__name__]
    return {rv.name: "prior" for rv in proper}


def prior_draws(model: pm.Model, space: ParameterSpace) -> Callable[[int], FloatArray | None]:
    """Return a function of a seed that draws from the prior, as an unconstrained vector.

    A flat prior has no draws: its variables stay at the initial point.
    """
    overrides: dict[Any, Any] = {**from_prior(model)}
    try:
        with quiet_host(), pytensor.config.change_flags(mode=Mode("py", optimizer="fast_compile")):
            draw = make_initial_point_fn(model=model, overrides=overrides)
    except Exception:  # noqa: BLE001 - as above
        return lambda seed: None

    def drawn(seed: int) -> FloatArray | None:
        try:
            with quiet_host():
                x = space.join(draw(seed))
        except Exception:  # noqa: BLE001 - as above
            return None
        return x if np.isfinite(x).all() else None

    return drawn
