"""No estimate that SciPy beats from twenty starts, over models of the kinds that go wrong most."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import pmlik
from oracles.fits import codes
from oracles.generated import Generated
from oracles.generated_kinds import KINDS, make_kind, search
from pmlik import FlagCode, Severity

SLACK = 1e-6


def complain(made: Generated, seed: int) -> list[str]:
    """Everything that is wrong with the MLE and the MAP of a model; empty if all is well."""
    found = pmlik.compare(made.model, sample=False, progressbar=False, extras=False, random_seed=1)
    wrong = []
    for estimate in (found.mle, found.map):
        wrong += [f"{estimate.kind}: {text}" for text in _wrong(made, estimate, seed)]
    return wrong


def _wrong(made: Generated, estimate: Any, seed: int) -> list[str]:
    errors = [str(flag) for flag in estimate.flags if flag.severity is Severity.ERROR]
    wrong = [f"an error on a regular model: {text}" for text in errors if made.regular]
    is_map = estimate.kind == "map"
    values = {name: estimate.values[name].to_numpy() for name in made.priors}
    height = estimate.log_likelihood + (estimate.log_prior if is_map else 0.0)
    if all(np.isfinite(array).all() for array in values.values()):
        with np.errstate(all="ignore"):
            scipys = made.log_likelihood(values) + (made.log_prior(values) if is_map else 0.0)
        if FlagCode.NOT_NORMALISED in codes(estimate):  # the constant is not there
            height = scipys
        if not abs(height - scipys) <= SLACK * (1 + abs(scipys)):
            wrong.append(f"{height!r} is reported, SciPy has {scipys!r} at {values}")
    if estimate.trusted and FlagCode.UNBOUNDED not in codes(estimate):
        best, at = search(made, estimate.kind, seed)
        if not best <= height + SLACK:
            wrong.append(f"SciPy is higher by {best - height:.3g} at {at}; estimate {values}")
    return wrong


#: Those of the slow suite: one per kind, or as many as are asked for.
MANY = range(int(os.environ.get("PMLIK_MODELS", len(KINDS))))


def test_the_kinds_are_reproducible() -> None:
    for seed in (0, 4):
        values = make_kind(seed).draws(np.random.default_rng(0))
        at = {name: draws[0] for name, draws in values.items()}
        first, second = (made.log_likelihood(at) for made in (make_kind(seed), make_kind(seed)))
        assert first == second


@pytest.mark.parametrize("seed", [0])
def test_no_search_beats_an_estimate(seed: int) -> None:
    made = make_kind(seed)
    assert complain(made, seed) == [], made.about


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_no_search_beats_an_estimate_of_any_kind(seed: int) -> None:
    made = make_kind(seed)
    assert complain(made, seed) == [], made.about
