"""A model made ready to be estimated: its roles, one compiled problem, a start, a seed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pymc as pm

from pmlik.admission import resolve_model
from pmlik.compilation import compile_mode
from pmlik.errors import ModelError
from pmlik.estimates import PointEstimate
from pmlik.estimator import estimate_point
from pmlik.objective import Kind
from pmlik.problem import Problem, build_problem
from pmlik.progress import Say
from pmlik.roles import Potentials, Roles, read_roles, refuse_latents
from pmlik.space import FloatArray
from pmlik.starting import usable_start

__all__ = ["Arguments", "Clock", "Prepared", "prepare", "seed_of"]


@dataclass(frozen=True)
class Arguments:
    """What `find_MLE`, `find_MAP` and `compare` have in common."""

    model: pm.Model | None
    var_names: Sequence[str] | None
    random_seed: int | None
    progressbar: bool
    backend: str | None
    potentials: Potentials


@dataclass(eq=False)
class Clock:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time the block as the named step."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = time.perf_counter() - begin


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model made ready: one problem serves every estimate and evaluation.

    Parameters
    ----------
    model : pm.Model
    roles : Roles
    problem : Problem
    seed : int
    potentials : {"likelihood", "prior"}
    var_names : sequence of str, optional
        Whose standard errors to compute where there is no dense matrix.
    """

    model: pm.Model
    roles: Roles
    problem: Problem
    seed: int
    potentials: Potentials
    var_names: Sequence[str] | None

    @property
    def names(self) -> list[str]:
        """Free variables, then derived ones, in the model's order."""
        return [var.name for var in self.model.unobserved_RVs]

    @cached_property
    def start(self) -> FloatArray:
        """A point (n,) with a likelihood that is not zero; raises StartError if there is none."""
        return usable_start(self.problem, self.seed)

    def estimate(self, kind: Kind, say: Say, clock: Clock) -> PointEstimate:
        """Find the MLE or the MAP."""
        say({"mle": "Maximising the likelihood", "map": "Maximising likelihood x prior"}[kind])
        with clock(kind.upper()):
            estimate = estimate_point(
                self.model,
                self.roles,
                self.problem,
                kind,
                start=self.start,
                potentials=self.potentials,
                var_names=self.var_names,
                seed=self.seed,
            )
        return replace(estimate, prepared=self)


def prepare(arguments: Arguments, say: Say, clock: Clock) -> Prepared:
    """Read the model and build its problem.

    Raises
    ------
    ModelError
        For models, names and seeds that can't be worked on.
    """
    model = resolve_model(arguments.model)
    roles = read_roles(model, arguments.potentials)
    refuse_latents(roles)
    _check_names(model, arguments.var_names)
    compile_mode(arguments.backend)
    seed = seed_of(arguments.random_seed)
    say("Building the likelihood")
    with clock("building"):
        problem = build_problem(
            model, roles, potentials=arguments.potentials, backend=arguments.backend
        )
    return Prepared(model, roles, problem, seed, arguments.potentials, arguments.var_names)


def _check_names(model: pm.Model, var_names: Sequence[str] | None) -> None:
    if isinstance(var_names, str):
        raise ModelError(f"var_names: got the string {var_names!r}, need a list of names.")
    if not isinstance(var_names, Iterable | None):
        raise ModelError(f"var_names: got {var_names!r}, need a list of names.")
    known = [var.name for var in model.unobserved_RVs]
    unknown = [name for name in var_names or () if name not in known]
    if unknown:
        raise ModelError(
            f"var_names: {', '.join(map(repr, unknown))} not in the model, which has "
            f"{', '.join(known)}."
        )


def seed_of(random_seed: int | None) -> int:
    """The seed given, or a fresh one.

    Raises
    ------
    ModelError
        For anything but an integer from 0 up.
    """
    if random_seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    integer = isinstance(random_seed, int | np.integer) and not isinstance(random_seed, bool)
    if not integer or random_seed < 0:
        raise ModelError(f"random_seed: got {random_seed!r}, need an integer from 0 up, or None.")
    return int(random_seed)
