"""Simulate data sets, estimate again from each, and say which interval would reach the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pmlik._summaries import Circle
from pmlik._typing import FloatArray
from pmlik.inference.compiled import Addition
from pmlik.inference.options import FitOptions
from pmlik.inference.prepare import Prepared
from pmlik.inference.profile_grid import GridProfiler
from pmlik.inference.repeat_sampling import Draws, RepeatedSampler
from pmlik.inference.simulate import Simulate, simulator
from pmlik.optimize.boundary import BEYOND
from pmlik.results.point import PointEstimate
from pmlik.stats.executors import Worker
from pmlik.stats.null_search import NullSearch
from pmlik.stats.refit import Refitter
from pmlik.stats.refit_status import RefitStatus

# Replicates per task where each takes long, so that workers share them evenly.
_FEW = 25

# A profile that rises by more than this above the refit shows that the refit was not the maximum.
_HIGHER = 1e-4

#: The numbers of a replicate for each scalar. Those named ``level`` are the least confidence at
#: which the interval reaches the truth; ``width``: of the interval at the asked level.
PER_SCALAR = (
    *("truth", "mle", "map", "mean", "median", "std_error", "sd", "rank", "ess"),
    *("wald_level", "profile_level", "posterior_level", "wald_width", "posterior_width"),
)
PER_REPLICATE = ("log_likelihood", "divergences")

#: How the outcome of a replicate begins that a worker has lost.
LOST = "lost: "


class Rows(NamedTuple):
    """Replicates from number ``first``: ``scalars`` (b, m) and ``numbers`` (b,), by name."""

    first: int
    scalars: dict[str, FloatArray]
    numbers: dict[str, FloatArray]
    outcome: list[str]

    @classmethod
    def empty(cls, first: int, b: int, m: int, outcome: str) -> Rows:
        """Return replicates of which nothing is known."""
        return cls(
            first,
            {name: np.full((b, m), np.nan) for name in PER_SCALAR},
            {name: np.full(b, np.nan) for name in PER_REPLICATE},
            [outcome] * b,
        )


@dataclass(frozen=True, eq=False)
class CalibrationPlan:
    """Options of a calibration for its workers; cloudpickle can pickle it.

    ``arguments``: with the model. ``methods``: the intervals that are tried.
    ``mle``: without its model. ``start`` (n,): the start of its search, unconstrained.
    ``x_map`` (n,): the MAP, if the posterior is asked for.
    ``truth`` (m,): the scalars that data are simulated at, parameters first; None: the prior's.
    ``ci_prob``: level of the intervals whose widths are kept.
    ``circles``: the turn of each circular scalar, by its index.
    ``together``, ``added``: as in a bootstrap's plan.
    """

    arguments: FitOptions
    methods: tuple[str, ...]
    mle: PointEstimate
    start: FloatArray
    x_map: FloatArray | None
    truth: FloatArray | None
    seed: int
    ci_prob: float
    draws: int
    tune: int
    circles: Mapping[int, Circle]
    together: bool | None = None
    added: tuple[Addition, ...] = ()

    def worker(self, prepared: Prepared) -> CalibrationWorker:
        """Return the plan with a compiled problem."""
        return CalibrationWorker(self, prepared)

    def elsewhere(self, worker: Worker[Rows], arguments: FitOptions) -> Self:
        """Return the plan for other processes, with what a worker has found out."""
        assert isinstance(worker, CalibrationWorker)
        return replace(self, arguments=arguments, together=worker.together)

    def seeds(self, i: int) -> list[np.random.SeedSequence]:
        """Return the seeds of replicate ``i``: of its data, its draws, its ties."""
        return np.random.SeedSequence(self.seed, spawn_key=(i,)).spawn(3)


class CalibrationWorker:
    """A calibration plan with its compiled problem, for one thread at a time."""

    def __init__(self, plan: CalibrationPlan, prepared: Prepared) -> None:
        self._plan, self._prepared = plan, prepared
        make = partial(
            Refitter,
            start=plan.start,
            regular=not plan.mle.at_boundary,
            together=plan.together,
        )
        self._refit = make(prepared, "mle", plan.mle.unconstrained)
        self._refit_map = None
        if plan.x_map is not None:
            self._refit_map = make(prepared, "map", plan.x_map)
        self._reach = float(stats.norm.ppf((1 + plan.ci_prob) / 2))

    @property
    def together(self) -> bool:
        """True if many replicates are refitted at once."""
        return self._refit.together

    @cached_property
    def _simulate(self) -> Simulate:
        prepared, truth = self._prepared, self._plan.truth
        space = prepared.problem.parameters
        values = None if truth is None else space.split(truth[: space.size])
        return simulator(prepared.model, prepared.roles, values, prepared.problem.backend)

    @cached_property
    def _sampler(self) -> RepeatedSampler:
        return RepeatedSampler(self._prepared, self._plan.draws, self._plan.tune)

    def warm_up(self) -> int:
        """Build all functions that a regular replicate needs; return the size of a block."""
        costly = "posterior" in self._plan.methods or not self._refit.together
        return min(self._refit.block, _FEW) if costly else self._refit.block

    def block(self, number: int, n: int) -> Rows:
        """Do the replicates of a block, up to replicate ``n``."""
        size = self.warm_up()
        which = range(number * size, (number + 1) * size)
        simulated = [self._draw(i) for i in which]
        data = {k: np.stack([one[1][k] for one in simulated]) for k in simulated[0][1]}
        most = min(size, n - number * size)
        truth = np.array([one[0] for one in simulated[:most]])
        refits = self._refit(data, most)
        rows = Rows.empty(which.start, most, truth.shape[1], "")
        rows.scalars["truth"][:] = truth
        rows.numbers["log_likelihood"][:] = refits.log_likelihood
        rows.outcome[:] = [str(status) for status in refits.outcome]
        rows.scalars["mle"][:] = self._near(refits.values, truth)
        if self._refit_map is not None:
            rows.scalars["map"][:] = self._near(self._refit_map(data, most).values, truth)
        usable = np.array([status.is_usable for status in refits.outcome])
        done = self._score_together(rows, {k: v[:most] for k, v in data.items()}, usable)
        for j, i in enumerate(which[:most]):
            one = {name: array[j] for name, array in data.items()}
            if usable[j]:
                self._score_alone(rows, j, one, done[j])
            if "posterior" in self._plan.methods:
                _, draws, ties = self._plan.seeds(i)
                self._score_posterior(rows, j, self._sampler(one, draws), ties)
        return rows

    def _draw(self, i: int) -> tuple[FloatArray, dict[str, NDArray[Any]]]:
        """Return the true scalars and the data of replicate ``i``."""
        drawn, truth = self._simulate(self._plan.seeds(i)[0]), self._plan.truth
        if truth is not None:
            return truth, drawn
        problem = self._prepared.problem
        theta = problem.parameters.join({n: drawn.pop(n) for n in problem.parameters.names})
        return problem.values(self._prepared.natural.to_unconstrained(theta)), drawn

    def _near(self, values: FloatArray, truth: FloatArray) -> FloatArray:
        """Return values (b, m) with each angle on the turn that is nearest to the truth."""
        near = np.array(values)
        for place, circle in self._plan.circles.items():
            near[:, place] = circle.near(near[:, place], truth[..., place])
        return near

    def _unconstrained(self, mle: FloatArray) -> FloatArray:
        """Return the points (b, n) of estimates (b, m); infinite at a border."""
        prepared = self._refit.target.prepared
        return prepared.natural.many_to_unconstrained(mle[:, : prepared.problem.parameters.size])

    @np.errstate(all="ignore")
    def _score_together(
        self, rows: Rows, data: Mapping[str, NDArray[Any]], usable: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Fill in the intervals of regular replicates; return which scalars (b, m) are done.

        Wald intervals are then done wherever they exist.
        """
        methods, truth = self._plan.methods, rows.scalars["truth"]
        done = np.zeros(truth.shape, bool)
        if not {"wald", "profile"} & set(methods) or not usable.any():
            return done
        x = self._unconstrained(rows.scalars["mle"])
        which = np.flatnonzero(usable & np.isfinite(x).all(axis=1))
        batch = self._refit.profiles({k: v[which] for k, v in data.items()}, x[which])
        if batch is None or not len(which):
            return done
        if "wald" in methods:
            self._put_wald(rows, which, batch.standard_errors())
        points = self._unconstrained(truth[which])
        for place in range(truth.shape[1]) if "profile" in methods else ():
            levels = _level(batch.drops(place, truth[which, place], points))
            rows.scalars["profile_level"][which, place] = levels
            done[which, place] = np.isfinite(levels)
        if "profile" not in methods:
            done[which] = True
        return done

    def _put_wald(self, rows: Rows, which: Any, errors: FloatArray) -> None:
        off = np.abs(rows.scalars["mle"][which] - rows.scalars["truth"][which])
        rows.scalars["std_error"][which] = errors
        rows.scalars["wald_level"][which] = 2 * stats.norm.cdf(off / errors) - 1
        rows.scalars["wald_width"][which] = 2 * self._reach * errors

    @np.errstate(all="ignore")
    def _score_alone(
        self, rows: Rows, j: int, data: Mapping[str, NDArray[Any]], done: NDArray[np.bool_]
    ) -> None:
        """Fill in what intervals of one replicate would reach, where that is not done."""
        methods, target = self._plan.methods, self._refit.target
        if done.all() or not {"wald", "profile"} & set(methods):
            return
        target.set_inputs(
            [np.asarray(data[n]).astype(v.type.dtype) for n, v in target.inputs.items()]
        )
        mle, truth = rows.scalars["mle"][j], rows.scalars["truth"][j]
        [x] = self._unconstrained(mle[None])
        if np.isnan(x).any():
            return
        if "wald" in methods and np.isnan(rows.scalars["std_error"][j]).all():
            free = np.isfinite(x) & target.objective.active
            at = np.clip(x, self._plan.start - BEYOND, self._plan.start + BEYOND)
            self._put_wald(rows, j, self._standard_errors(at, free))
        for place in np.flatnonzero(~done) if "profile" in methods else ():
            if np.isfinite(mle[place]) and np.isfinite(truth[place]):
                highest = self._profile(int(place), float(truth[place]), x)
                drop = rows.numbers["log_likelihood"][j] - highest
                rows.scalars["profile_level"][j, place] = _level(np.array(drop))

    def _standard_errors(self, x: FloatArray, free: NDArray[np.bool_]) -> FloatArray:
        """Return delta-method errors (m,) with the coordinates that are not free held."""
        target = self._refit.target
        active, jvp = target.objective.active, target.problem.values.jvp(x)
        inner = free[active]
        hessian = target.objective.hessian(x[active])[np.ix_(inner, inner)]
        jacobian = np.array([jvp(unit) for unit in np.eye(len(x))[active][inner]])
        try:
            half = np.linalg.solve(np.linalg.cholesky(hessian), jacobian)
        except (np.linalg.LinAlgError, ValueError):
            return np.full(target.n_values, np.nan)
        error = np.sqrt((half**2).sum(axis=0)) if half.size else np.zeros(target.n_values)
        return np.where(error > 0, error, np.nan)

    def _profile(self, place: int, value: float, x: FloatArray) -> float:
        """Return the profile log-likelihood of a scalar at a value.

        ``x`` (n,): the estimate, infinite at a border.
        """
        target, start = self._refit.target, self._plan.start
        inside = np.where(np.isfinite(x), x, start)
        profiler = GridProfiler(target.prepared.natural, [place], inside)
        held = np.array([value])
        if not profiler.at_border(held, inside).any():
            near = (np.clip(x, start - BEYOND, start + BEYOND), inside)
            found = [profiler(held, one)[0] for one in near[: 1 + bool(np.isinf(x).any())]]
            if np.isfinite(found).any():
                return float(np.nanmax(found))
        search = NullSearch(profiler, self._plan.mle, target.prepared)
        return search.maximum(held).log_likelihood

    def _score_posterior(
        self, rows: Rows, j: int, drawn: Draws, ties: np.random.SeedSequence
    ) -> None:
        """Fill in the summary of a replicate's draws, and where the truth lies among them."""
        truth, scalars = rows.scalars["truth"][j], rows.scalars
        draws = self._near(drawn.values, truth)
        ends = np.quantile(
            draws, [(1 - self._plan.ci_prob) / 2, (1 + self._plan.ci_prob) / 2], axis=0
        )
        scalars["mean"][j], scalars["median"][j] = draws.mean(axis=0), np.median(draws, axis=0)
        scalars["sd"][j], scalars["ess"][j] = draws.std(axis=0, ddof=1), drawn.ess
        scalars["posterior_width"][j] = ends[1] - ends[0]
        rows.numbers["divergences"][j] = drawn.divergences
        rng = np.random.default_rng(ties)
        for place, true in enumerate(truth):
            column = draws[:, place]
            share = _place(column, true, rng)
            scalars["posterior_level"][j, place] = abs(2 * share - 1)
            step = int(np.ceil(len(column) / max(1.0, np.nan_to_num(drawn.ess[place], nan=1.0))))
            scalars["rank"][j, place] = _place(column[::step], true, rng)


def _level(drops: FloatArray) -> FloatArray:
    """Return the confidence at which a profile interval reaches so far down."""
    known = np.where(drops < -_HIGHER, np.nan, np.maximum(drops, 0.0))
    return np.asarray(stats.chi2.cdf(2 * known, 1))


def _place(draws: FloatArray, true: float, rng: np.random.Generator) -> float:
    """Return the share of draws below a value, uniform if it is one of them; ties by chance."""
    below, ties = int((draws < true).sum()), int((draws == true).sum())
    return float(below + rng.uniform(0, 1 + ties)) / (len(draws) + 1)


def count_statuses(outcomes: Sequence[str]) -> dict[str, int]:
    """Return how many replicates have no finite estimate, by reason."""
    usable = {str(status) for status in RefitStatus if status.is_usable}
    found: dict[str, int] = {}
    for outcome in outcomes:
        if outcome not in usable:
            found[outcome] = found.get(outcome, 0) + 1
    return found
