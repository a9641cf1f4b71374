"""Properties that hold for any model, over models made up at random: `make_model(seed)`.

The data, the densities and the draws come from NumPy and SciPy, never from pmlik.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import pmlik
from oracles.fits import codes
from oracles.generated import N_DRAWS, Array, Generated, Values, make_model
from pmlik import FlagCode, Severity

SLACK = 1e-6


# --- The properties -------------------------------------------------------------------------------


def complain(made: Generated) -> list[str]:
    """Everything that is wrong with pmlik's estimates of a model; empty if all is well."""
    try:
        found = pmlik.compare(
            made.model, sample=False, progressbar=False, extras=False, random_seed=1
        )
    except pmlik.PmlikError as error:
        return [] if len(str(error)) > 20 else [f"refused without a reason: {error!r}"]
    mle, mode = found.mle, found.map
    likelihood = pmlik.Likelihood.of(mle, progressbar=False)
    rng = np.random.default_rng(12345)
    prior = made.draws(rng)
    wrong = []
    for estimate in (mle, mode):
        wrong += [f"{estimate.kind}: {text}" for text in _wrong_numbers(made, estimate)]
        wrong += [f"{estimate.kind}: {text}" for text in _wrong_flags(made, estimate)]
        if not estimate.trusted or FlagCode.UNBOUNDED in codes(estimate):
            continue
        priors = [dict.fromkeys(made.priors)] if estimate.kind == "mle" else made.priors
        wrong += [
            f"{estimate.kind}: {text}"
            for text in _wrong_slopes(made, estimate, likelihood, bool(priors is made.priors))
        ]
        around = _draws_around(made, estimate, rng)
        for source, draws in (("the prior", prior), ("its covariance", around)):
            if draws is None:
                continue
            heights = _heights(made, likelihood, draws, estimate.kind)
            gain = float(np.max(heights)) - _height(estimate)
            if gain > SLACK:
                at = {name: v[int(np.argmax(heights))] for name, v in draws.items()}
                wrong.append(
                    f"{estimate.kind}: a draw from {source} is higher by {gain:.3g}: {at}; "
                    f"estimate {estimate.log_likelihood:.8g}"
                )
    if mle.trusted and FlagCode.UNBOUNDED not in codes(mle):
        gain = mode.log_likelihood - mle.log_likelihood
        if gain > SLACK:
            wrong.append(f"log-likelihood of the MAP is higher than that of the MLE by {gain:.3g}")
    return wrong


def values_of(made: Generated, estimate: Any) -> dict[str, Array]:
    return {name: estimate.values[name].to_numpy() for name in made.priors}


def _wrong_numbers(made: Generated, estimate: Any) -> list[str]:
    wrong = []
    values = values_of(made, estimate)
    for name in made.priors:
        errors = estimate.std_error[name].to_numpy()
        if (errors <= 0).any() or np.isinf(errors).any():
            wrong.append(f"standard error of {name} is {errors}")
        if (np.isfinite(errors) & ~np.isfinite(values[name])).any():
            wrong.append(f"{name} has a standard error and no value")
    at_border = codes(estimate) & {FlagCode.AT_BOUNDARY, FlagCode.AT_INFINITY}
    if at_border or not all(np.isfinite(v).all() for v in values.values()):
        return wrong
    with np.errstate(all="ignore"):
        numbers = {
            "log-likelihood": (estimate.log_likelihood, made.log_likelihood(values)),
            "log-prior": (estimate.log_prior, made.log_prior(values)),
        }
    for what, (ours, scipys) in numbers.items():
        if not abs(ours - scipys) <= 1e-7 * (1 + abs(scipys)):
            wrong.append(f"{what} {ours!r}, SciPy has {scipys!r} at {values}")
    return wrong


def _wrong_flags(made: Generated, estimate: Any) -> list[str]:
    if not estimate.trusted and not all(len(str(flag)) > 20 for flag in estimate.flags):
        return ["an error flag without a sentence"]
    serious = [str(f) for f in estimate.flags if f.severity is not Severity.INFO]
    wrong = [f"a regular model is flagged: {text}" for text in serious if made.regular]
    wrong += [str(f) for f in estimate.flags if f.code is FlagCode.GRADIENT_WRONG and made.smooth]
    # Nothing runs off that has a bounded support, nor a mode against a proper prior.
    for flag in estimate.flags:
        for label in flag.variables if flag.code is FlagCode.AT_INFINITY else ():
            prior = made.priors[label.split("[")[0]]
            if prior.is_bounded or (estimate.kind == "map" and prior.proper):
                wrong.append(f"{label} can't run off: {flag}")
    return wrong


def _wrong_slopes(made: Generated, estimate: Any, likelihood: Any, with_prior: bool) -> list[str]:
    """Slopes by finite differences, per standard error, where there are standard errors.

    Along each parameter, and along each with the others following (a column of the covariance),
    which does not leave a simplex.
    """
    if estimate.covariance is None:
        return []
    values, covariance = values_of(made, estimate), estimate.covariance.to_numpy()
    flat = np.concatenate([np.ravel(values[name]) for name in made.priors])
    excused = [f for f in estimate.flags if f.severity is not Severity.INFO]
    excused = [f for f in excused if f.code is not FlagCode.SEVERAL_OPTIMA]
    known = np.flatnonzero(np.isfinite(np.diag(covariance)))
    if excused or not np.isfinite(flat).all() or not len(known):
        return []
    block = covariance[np.ix_(known, known)]
    error = np.sqrt(np.diag(block))
    alone = 1 / np.sqrt(np.diag(np.linalg.pinv(block / np.outer(error, error))))
    on_simplex = "p" in made.priors
    wrong = []
    for i, place in enumerate(known):
        following = np.zeros(len(flat))
        following[known] = block[:, i] / error[i]
        by_itself = np.zeros(len(flat))
        by_itself[place] = error[i] * alone[i]
        ways = [("with others", following, 1.0)]
        if not on_simplex:
            ways.append(("alone", by_itself, alone[i]))
        for word, way, scale in ways:
            h = 1e-2
            points = flat + h * np.array([-2, -1, 1, 2])[:, None] * way
            draws = _unflatten(made, points)
            f = _heights(made, likelihood, draws, "map" if with_prior else "mle")
            slope = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h) / scale
            if not abs(slope) < 1e-3:
                label = estimate.covariance.parameter.to_numpy()[place]
                wrong.append(f"slope along {label} ({word}) is {slope:.3g} per SE")
    return wrong


def _unflatten(made: Generated, points: Array) -> dict[str, Array]:
    found, at = {}, 0
    for name in made.priors:
        shape = made.shapes[name]
        size = int(np.prod(shape))
        found[name] = points[:, at : at + size].reshape(len(points), *shape)
        at += size
    return found


def _draws_around(
    made: Generated, estimate: Any, rng: np.random.Generator
) -> dict[str, Array] | None:
    """From a normal around an estimate; what has no standard error is held."""
    flat = np.concatenate([np.ravel(v) for v in values_of(made, estimate).values()])
    if estimate.covariance is None or not np.isfinite(flat).all():
        return None
    covariance = estimate.covariance.to_numpy()
    known = np.isfinite(np.diag(covariance))
    if not known.any():
        return None
    eigenvalues, vectors = np.linalg.eigh(covariance[np.ix_(known, known)])
    root = vectors * np.sqrt(np.maximum(eigenvalues, 0))
    points = np.tile(flat, (N_DRAWS, 1))
    points[:, known] += rng.normal(size=(N_DRAWS, known.sum())) @ root.T
    return _unflatten(made, points)


def _height(estimate: Any) -> float:
    return estimate.log_likelihood + (estimate.log_prior if estimate.kind == "map" else 0.0)


def _heights(made: Generated, likelihood: Any, draws: Values, kind: str) -> Array:
    heights = likelihood.log(draws).to_numpy()
    if kind == "map":
        inside = np.isfinite(heights)
        for i in np.flatnonzero(inside):
            heights[i] += made.log_prior({name: v[i] for name, v in draws.items()})
    return np.where(np.isnan(heights), -np.inf, heights)


# --- The tests ------------------------------------------------------------------------------------


#: Some that take a second each.
QUICK = (8, 103, 106, 108, 122, 127, 133)
#: Those of the slow suite: a quarter of the first 200, or as many as are asked for.
MANY = range(int(os.environ["PMLIK_MODELS"])) if "PMLIK_MODELS" in os.environ else range(2, 200, 4)


def test_the_generator_is_reproducible():
    first, second = make_model(3), make_model(3)
    assert first.about == second.about
    draws = [made.draws(np.random.default_rng(0)) for made in (first, second)]
    at = [{name: values[0] for name, values in drawn.items()} for drawn in draws]
    assert first.log_likelihood(at[0]) == second.log_likelihood(at[1])


@pytest.mark.parametrize("seed", QUICK)
def test_an_estimate_is_an_optimum_or_says_why_not(seed):
    made = make_model(seed)
    assert complain(made) == [], made.about


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_an_estimate_is_an_optimum_or_says_why_not_in_many_models(seed):
    made = make_model(seed)
    assert complain(made) == [], made.about


@pytest.mark.parametrize("seed", [8])
def test_find_mle_and_find_map_give_what_compare_gives(seed):
    made = make_model(seed)
    found = pmlik.compare(made.model, sample=False, progressbar=False, extras=False, random_seed=1)
    for find, expected in ((pmlik.find_MLE, found.mle), (pmlik.find_MAP, found.map)):
        estimate = find(made.model, progressbar=False, random_seed=1)
        np.testing.assert_allclose(estimate.log_likelihood, expected.log_likelihood, atol=1e-9)
        assert codes(estimate) == codes(expected)
