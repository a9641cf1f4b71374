"""Run blocks of replicates in this process, in threads or on a cluster."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, Protocol, Self
from weakref import WeakKeyDictionary

import cloudpickle
import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.distributions import distribution, shape_utils
from pymc.logprob import abstract
from pytensor.graph.traversal import ancestors
from threadpoolctl import threadpool_limits

from pmlik._typing import FloatArray
from pmlik.errors import ModelError
from pmlik.inference.compiled import Addition
from pmlik.inference.options import FitOptions
from pmlik.inference.prepare import Prepared, prepare
from pmlik.inference.simulate import Simulate, simulator
from pmlik.inference.units import ResamplingUnits
from pmlik.model.validate import resolve_model
from pmlik.optimize.objective import Kind
from pmlik.stats.refit import Refitter
from pmlik.stats.refit_objective import BUILDING
from pmlik.stats.refit_status import Refits

#: Where the data of a replicate come from.
BootstrapKind = Literal["parametric", "nonparametric", "bayesian"]

# An executor gets about this many tasks at most.
_TASKS = 64

# The plan that a worker's thread is at work on, and the refitters of this process's models by
# thread and estimate. Neither outlives its thread or model.
_WORKER = threading.local()
_REFITTERS: WeakKeyDictionary[Prepared, dict[tuple[Any, ...], Refitter]] = WeakKeyDictionary()
_PICKLED: WeakKeyDictionary[Prepared, bytes] = WeakKeyDictionary()


class Worker[Part](Protocol):
    """A plan with its compiled problem, for one thread at a time."""

    def warm_up(self) -> int: ...  # noqa: D102 - builds all functions; returns the size of a block
    def block(self, number: int, n: int) -> Part: ...  # noqa: D102 - its replicates below ``n``


class Plan[Part](Protocol):
    """What is done in each replicate; cloudpickle can pickle it.

    ``arguments``: with the model. ``added``: quantities beside the model's own.
    """

    @property
    def arguments(self) -> FitOptions: ...  # noqa: D102
    @property
    def added(self) -> tuple[Addition, ...]: ...  # noqa: D102
    def worker(self, prepared: Prepared) -> Worker[Part]: ...  # noqa: D102
    def elsewhere(self, worker: Worker[Part], arguments: FitOptions) -> Self: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class BootstrapPlan:
    """Options of a bootstrap for its workers; cloudpickle can pickle it.

    ``arguments``: with the model. ``estimate``: the estimate that is refitted.
    ``x``, ``start`` (n,): the estimate on the unconstrained scale, and the start of its search.
    ``values`` (mapping of str to array): the parameters at the estimate, natural units.
    ``units``: the units that are resampled; None for a parametric bootstrap.
    ``regular``: True if the estimate is an optimum inside the support, and not a limit.
    ``together``: True if many replicates can be refitted at once; None if that is not known yet.
    ``added``: quantities beside the model's own.
    """

    arguments: FitOptions
    estimate: Kind
    x: FloatArray
    start: FloatArray
    values: Mapping[str, NDArray[Any]]
    kind: BootstrapKind
    units: ResamplingUnits | None
    seed: int
    regular: bool = True
    together: bool | None = None
    added: tuple[Addition, ...] = ()

    def draw_weights(self, i: int) -> FloatArray:
        """Return the weights (u,) of the units in replicate ``i``.

        Those of a pool sum to its size: multinomial counts, or exponential variates over their
        mean, which are Dirichlet weights.
        """
        assert self.units is not None
        rng = np.random.default_rng(self.sequence(i))
        weights = np.zeros(self.units.size)
        for pool in self.units.pools:
            n = len(pool)
            if self.kind == "nonparametric":
                weights[pool] = rng.multinomial(n, np.full(n, 1 / n))
            else:
                gaps = rng.exponential(size=n)
                weights[pool] = gaps / gaps.mean()
        return weights

    def sequence(self, i: int) -> np.random.SeedSequence:
        """Return the seed of replicate ``i``."""
        return np.random.SeedSequence(self.seed, spawn_key=(i,))

    def worker(self, prepared: Prepared) -> BootstrapWorker:
        """Return the plan with a compiled problem."""
        return BootstrapWorker(self, prepared)

    def elsewhere(self, worker: Worker[Refits], arguments: FitOptions) -> Self:
        """Return the plan for other processes, with what a worker has found out."""
        assert isinstance(worker, BootstrapWorker)
        return replace(self, arguments=arguments, together=worker.refitter.together)


class BootstrapWorker:
    """A bootstrap plan with its compiled problem, for one thread at a time."""

    def __init__(self, plan: BootstrapPlan, prepared: Prepared) -> None:
        self._plan, self._prepared = plan, prepared
        self.refitter = _refitter(plan, prepared)

    @cached_property
    def _simulate(self) -> Simulate:
        prepared = self._prepared
        return simulator(
            prepared.model, prepared.roles, self._plan.values, prepared.problem.backend
        )

    def draw(self, i: int) -> dict[str, NDArray[Any]]:
        """Return the data, or the weights, of replicate ``i``."""
        plan = self._plan
        if plan.units is None:
            return self._simulate(plan.sequence(i))
        return plan.units.spread(plan.draw_weights(i))

    def warm_up(self) -> int:
        """Build all functions that a regular refit needs; return the size of a block."""
        first = self.draw(0)
        self.refitter({name: array[None] for name, array in first.items()})
        return self.refitter.block

    def block(self, number: int, n: int) -> Refits:
        """Refit the replicates of a block, up to replicate ``n``."""
        size = self.refitter.block
        draws = [self.draw(i) for i in range(number * size, (number + 1) * size)]
        data = {name: np.stack([one[name] for one in draws]) for name in draws[0]}
        return self.refitter(data, n - number * size)


def _refitter(plan: BootstrapPlan, prepared: Prepared) -> Refitter:
    """Return the refitter of an estimate in this thread, built once for its model."""
    units = plan.units
    shapes = None if units is None else {n: codes.shape for n, codes in units.codes.items()}
    key = (threading.get_ident(), plan.estimate, plan.x.tobytes(), repr(shapes))
    known = _REFITTERS.setdefault(prepared, {})
    if key not in known:
        known[key] = Refitter(
            prepared,
            plan.estimate,
            plan.x,
            shapes,
            start=plan.start,
            regular=plan.regular,
            together=plan.together,
        )
    return known[key]


def _on_worker[Part](
    token: str, payload: bytes, process: int, numbers: range, n: int
) -> list[Part]:
    """Do blocks with a problem that is built once per thread."""
    if getattr(_WORKER, "token", None) != token:
        with BUILDING:
            if os.getpid() != process:
                threadpool_limits(1)
            plan, pickled = cloudpickle.loads(payload)
            arguments, registrations = cloudpickle.loads(pickled)
            register(registrations)
            _WORKER.worker = plan.worker(prepare(arguments).with_quantities(*plan.added))
            _WORKER.worker.warm_up()
            _WORKER.token = token
    return [_WORKER.worker.block(number, n) for number in numbers]


def refit_all(
    plan: BootstrapPlan,
    prepared: Prepared,
    n: int,
    executor: Executor | None,
    advance: Callable[[int], None],
) -> Refits:
    """Draw and refit ``n`` replicates; the other parameters are those of `run_blocks`."""
    return Refits.join(run_blocks(plan, prepared, n, executor, advance), n)


def run_blocks[Part](
    plan: Plan[Part],
    prepared: Prepared,
    n: int,
    executor: Executor | None,
    advance: Callable[[int], None],
    *,
    lost: Callable[[int, int, BaseException], Part] | None = None,
    done: int = 0,
) -> list[Part]:
    """Do ``n`` replicates in blocks.

    ``prepared``: the model of the plan, in this process. ``executor``: default: this thread.
    ``advance``: called with the number of replicates that were done since the last call.
    ``lost``: makes the part of a block's number and size that a worker has lost; default: the
        error is raised. ``done``: the number of replicates whose whole blocks are left out.
    """
    with BUILDING:
        worker = plan.worker(prepared)
        size = worker.warm_up()
    numbers = range(done // size, -(-n // size))
    advance(numbers.start * size)
    with threadpool_limits(1):  # the digits of a product depend on how it is shared out
        if executor is not None:
            plan = plan.elsewhere(worker, replace(plan.arguments, model=None))
            payload = cloudpickle.dumps((plan, _pickled(prepared)))
            return _distribute(payload, n, executor, size, numbers, advance, lost)
        parts = []
        for number in numbers:
            try:
                parts.append(worker.block(number, n))
            except (Exception, KeyboardInterrupt) as error:
                if lost is None:
                    raise
                parts.append(lost(number, size, error))
                if isinstance(error, KeyboardInterrupt):
                    return parts
            advance(min(size, n - number * size))
    return parts


def _pickled(prepared: Prepared) -> bytes:
    """Return a model and its options, pickled once: PyTensor notes in a graph who has read it."""
    if prepared not in _PICKLED:
        arguments = replace(prepared.arguments, progressbar=False)
        known = read_registrations(resolve_model(arguments.model))
        _PICKLED[prepared] = cloudpickle.dumps((arguments, known))
    return _PICKLED[prepared]


def _distribute[Part](
    payload: bytes,
    n: int,
    executor: Executor,
    size: int,
    blocks: range,
    advance: Callable[[int], None],
    lost: Callable[[int, int, BaseException], Part] | None,
) -> list[Part]:
    """Do blocks of a size, of ``n`` replicates in all, by the workers of an executor."""
    token = blake2b(payload).hexdigest()
    step = -(-len(blocks) // _TASKS)
    if not hasattr(executor, "submit"):
        raise ModelError(f"executor: got {executor!r}, need a concurrent.futures.Executor.")
    futures: dict[Future[list[Part]], range]
    try:
        futures = {
            executor.submit(_on_worker, token, payload, os.getpid(), numbers, n): numbers
            for numbers in (blocks[i : i + step] for i in range(0, len(blocks), step))
        }
    except RuntimeError as error:
        raise ModelError(
            f"executor: got one that takes no work ({error}). Call again while it is open, or "
            "without executor=."
        ) from error
    parts: dict[int, Part] = {}
    for future in as_completed(futures):
        try:
            found = future.result()
        except Exception as error:
            if lost is not None:
                found = [lost(number, size, error) for number in futures[future]]
            elif isinstance(error, BrokenExecutor):
                text = f"executor: its workers ended ({error}). Give a new one."
                raise ModelError(text) from error
            else:
                raise
        parts |= dict(zip(futures[future], found, strict=True))
        advance(sum(min(size, n - number * size) for number in futures[future]))
    return [parts[number] for number in blocks]


# Dispatchers to which `pm.CustomDist` registers functions for the class of each variable.
_DISPATCHERS = {
    name: getattr(module, name)
    for module, names in (
        (abstract, ("_logprob", "_logcdf", "_logccdf", "_icdf")),
        (distribution, ("_support_point",)),
        (shape_utils, ("_change_dist_size",)),
    )
    for name in names
    if hasattr(module, name)
}


class Registration(NamedTuple):
    """One function that one of PyMC's dispatchers has for a class."""

    dispatcher: str
    kind: type
    function: Callable[..., Any]


def read_registrations(model: pm.Model) -> list[Registration]:
    """Return PyMC's registrations of the classes that exist in this process alone.

    A pickled model takes its classes along, but not the functions registered for them.
    """
    graphs = [*model.basic_RVs, *model.potentials, *model.deterministics]
    kinds = {type(var.owner.op): None for var in ancestors(graphs) if var.owner}
    return [
        Registration(name, kind, dispatcher.registry[kind])
        for kind in kinds
        if not _is_importable(kind)
        for name, dispatcher in _DISPATCHERS.items()
        if kind in dispatcher.registry
    ]


def _is_importable(kind: type) -> bool:
    try:
        found: Any = importlib.import_module(kind.__module__)
        for part in kind.__qualname__.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return found is kind and kind.__module__ != "__main__"


def register(registrations: Sequence[Registration]) -> None:
    """Register the same functions with this process's PyMC."""
    for name, kind, function in registrations:
        _DISPATCHERS[name].register(kind)(function)
