"""Maxima of a likelihood under a null hypothesis, and the statistic's distribution there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import optimize

from pmlik._runtime import counting
from pmlik._typing import BoolArray, FloatArray
from pmlik.errors import EstimationError, StartError
from pmlik.inference.prepare import Prepared, prepared_of
from pmlik.inference.profile_grid import GridProfiler
from pmlik.inference.simulate import simulator
from pmlik.inference.starts import list_starts
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.objective import Objective, SearchPoint
from pmlik.optimize.result import select_result
from pmlik.results.point import PointEstimate
from pmlik.stats.chi_bar import border_covariance
from pmlik.stats.refit_objective import RefitObjective

# Searches under a null begin at this many starts at least.
_STARTS = 2

# A limit at a border is evaluated at these distances, between which nothing should change.
_FAR, SETTLED = (15.0, 20.0), 1e-5

# Half the width of a gap that is interpolated across, in the value's units.
_GAP = 1e-4

# Descents of simulated data sets end after this many steps.
_MOST_STEPS = 500

# Steps of a coordinate over which a likelihood that does not depend on it changes by less.
_STEPS, _LEVEL = (-2.0, -1.0, 1.0, 2.0), 1e-4


@dataclass(frozen=True, eq=False)
class NullMaximum:
    """The maximum of the likelihood under a null, NaN if there is none.

    ``x`` (n,): where it is. ``n_border``: number of values of the null at a border of the support.
    ``dropped`` (n,): mask of the coordinates on which the likelihood does not depend any more.
    """

    log_likelihood: float
    x: FloatArray | None = None
    n_border: int = 0
    dropped: BoolArray = field(default_factory=lambda: np.zeros(0, bool))


@dataclass(frozen=True, eq=False)
class NullSearch:
    """Maxima of a model's log-likelihood with some values held.

    ``profiler``: of those values. ``prepared``: the model of the MLE, or that of simulated data.
    """

    profiler: GridProfiler
    mle: PointEstimate
    prepared: Prepared

    @property
    def x(self) -> FloatArray:
        """The MLE (n,), unconstrained."""
        return self.mle.unconstrained

    @classmethod
    def of(cls, mle: PointEstimate, places: Sequence[int], near: FloatArray) -> NullSearch:
        """Return the search with the values at some places held, from a point (n,) near."""
        prepared = prepared_of(mle, "likelihood_ratio_test")
        profiler = GridProfiler(prepared.natural, places, near)
        return cls(profiler, mle, prepared)

    def maximum(self, values: FloatArray) -> NullMaximum:
        """Return the maximum under the null."""
        border = self.profiler.at_border(values, self.prepared.start)
        if border.any():
            return replace(self.limit(values), n_border=int(border.sum()))
        highest = self._inside(values)
        if not np.isfinite(highest.log_likelihood) and len(values) == 1:
            highest = NullMaximum(self._across(values))
        return highest

    def limit(self, values: FloatArray) -> NullMaximum:
        """Return the limit at a border of the values' support; NaN if there is none."""
        near, far = (self._inside(values, distance) for distance in _FAR)
        gap = abs(near.log_likelihood - far.log_likelihood)
        return far if gap < SETTLED * (1 + abs(far.log_likelihood)) else NullMaximum(np.nan)

    def _inside(self, values: FloatArray, far: float = 0) -> NullMaximum:
        """Return the maximum with values held, by the search that finds the MLE."""
        x, inside = self.x, self.prepared.start
        if not self.profiler.has_own_coordinates:
            tried = [self.profiler(values, near) for near in (x, inside)]
            maxima = [NullMaximum(value, at) for value, at in tried if np.isfinite(value)]
            return max(maxima, key=lambda one: one.log_likelihood, default=NullMaximum(np.nan))
        objective = self.profiler.held_at(values, inside, far)
        if not np.isfinite(objective.base).all():
            return NullMaximum(np.nan)
        found = self._search(objective)
        if found is None:
            return NullMaximum(np.nan)
        dropped = self._dropped(objective, found)
        if dropped.any():
            assert objective.held is not None
            fewer = replace(objective, held=objective.held | dropped)
            again = self._search(fewer)
            if again is None or not again.usable:
                return NullMaximum(np.nan)
            return NullMaximum(-again.value, fewer.expand(again.z), dropped=dropped)
        return NullMaximum(-found.value if found.usable else np.nan, objective.expand(found.z))

    def _search(self, objective: Objective) -> SearchPoint | None:
        """Return the lowest end of a search; None if no start has a likelihood."""
        if not objective.size:
            value, gradient = objective.value_and_gradient(np.zeros(0))
            nothing = np.zeros(0)
            return SearchPoint(nothing, value, gradient, None, nothing, 0.0, converged=True)
        starts = [
            Start("the full model's maximum", lambda: self.x),
            Start("inside", lambda: self.prepared.start),
            *list_starts(self.prepared, "mle"),
        ]
        try:
            ends = search_from_starts(objective, starts, _STARTS)
        except StartError:
            return None
        result = select_result(
            objective, ends, self.prepared.start[objective.active], self.mle.n_observations
        )
        optimum = result.optimum
        return replace(optimum, z=result.objective.expand(optimum.z)[objective.active])

    def _dropped(self, objective: Objective, found: SearchPoint) -> BoolArray:
        """Return a mask (n,) of coordinates on which only the full model's likelihood depends."""
        whole = self.prepared.problem.objective("mle", self.x)
        dropped = np.zeros(len(self.x), bool)
        for place in map(int, np.flatnonzero(objective.active)):
            there = objective.expand(found.z)
            there[place] = self.prepared.start[place]
            dropped[place] = _is_level(objective, there, place) and not _is_level(
                whole, self.x, place
            )
        return dropped

    def matching(
        self, values: FloatArray, shared: Mapping[int, float], extra: Sequence[int], wanted: float
    ) -> NullMaximum | None:
        """Return the point of a smaller model, if its log-likelihood is that of this null.

        ``shared``: its values, by their index. ``extra``: indices of those that it lacks: each is
        held by the null or drops out. ``wanted``: the log-likelihood.
        """
        natural, n = self.prepared.natural, self.prepared.problem.parameters.size
        theta = self.prepared.problem.values(self.prepared.start)[:n]
        theta[list(shared)] = list(shared.values())
        theta[self.profiler.places] = values
        x = natural.to_unconstrained(theta)
        x = np.where(np.isinf(x), np.sign(x) * _FAR[-1], x)
        whole = self.prepared.problem.objective("mle", x)
        value = whole.value_and_gradient(x[whole.active])[0]
        if not abs(value + wanted) < SETTLED * (1 + abs(wanted)):
            return None
        left = [place for place in extra if place not in self.profiler.places]
        own = NullSearch.of(self.mle, left, x).profiler.own_coordinates if left else []
        if len(own) < len(left) or not all(_is_level(whole, x, place) for place in own):
            return None
        border = self.profiler.at_border(values, self.prepared.start)
        dropped = np.isin(np.arange(len(x)), own)
        return NullMaximum(-value, x, int(border.sum()), dropped)

    def border_covariance(self, under: NullMaximum, values: FloatArray) -> FloatArray | None:
        """Return the covariance of the values at a border of their support; None if unknown."""
        border = self.profiler.at_border(values, self.prepared.start)
        if under.x is None:
            return None
        whole = self.prepared.problem.objective("mle", under.x)
        own = np.array(self.profiler.own_coordinates)[border]
        places = [int(whole.active[:place].sum()) for place in own]
        return border_covariance(whole, under.x[whole.active], places)

    def bootstrap(
        self, values: FloatArray, under: NullMaximum, n: int, seed: int, progressbar: bool
    ) -> FloatArray:
        """Return the statistics of data sets simulated at the maximum under the null."""
        prepared, problem = self.prepared, self.prepared.problem
        if under.x is None:
            raise EstimationError(
                "bootstrap: no data can be simulated where the model divides by 0."
            )
        target = RefitObjective(prepared, "mle", self.x, None, start=prepared.start, regular=False)
        fixed = problem.values(under.x)[: problem.parameters.size]
        simulate = simulator(
            prepared.model, prepared.roles, problem.parameters.split(fixed), problem.backend
        )
        profiler = GridProfiler(target.prepared.natural, self.profiler.places, self.x)
        again = replace(self, profiler=profiler, prepared=target.prepared)
        points = (self.x, under.x, prepared.start)
        statistics = []
        with counting(progressbar, "Bootstrap under the null", n) as advance:
            for child in np.random.SeedSequence(seed).spawn(n):
                data = simulate(child)
                target.set_inputs(
                    [np.asarray(data[k]).astype(v.type.dtype) for k, v in target.inputs.items()]
                )
                null = again._again(values, under, points)
                statistics.append(2 * np.maximum(_highest(target.objective, points) - null, 0.0))
                advance(1)
        return np.where(np.isfinite(statistics), statistics, np.nan)

    def _again(self, values: FloatArray, under: NullMaximum, points: Sequence[FloatArray]) -> float:
        """Return the maximum for other data, with what dropped out held as well."""
        if not self.profiler.has_own_coordinates or under.x is None:
            return self.maximum(values).log_likelihood
        far = _FAR[-1] if under.n_border else 0.0
        objective = self.profiler.held_at(values, self.prepared.start, far)
        if under.dropped.any():
            assert objective.held is not None
            objective = replace(objective, held=objective.held | under.dropped)
        return _highest(objective, points)

    def _across(self, values: FloatArray) -> float:
        """Interpolate where the model divides zero by zero, as at a Box-Cox exponent of zero.

        Means of both sides at two distances are extrapolated to distance zero.
        """
        width = _GAP * max(1.0, float(np.abs(values[0])))
        means = [
            np.mean([self._inside(values + side * size).log_likelihood for side in (-1, 1)])
            for size in (width, 2 * width)
        ]
        value = float(4 * means[0] - means[1]) / 3
        return value if abs(value - means[0]) < SETTLED else np.nan


def _is_level(objective: Objective, x: FloatArray, place: int) -> bool:
    """Return True if the objective does not change with one coordinate of ``x`` (n,)."""
    values = []
    for step in (0.0, *_STEPS):
        there = x.copy()
        there[place] += step
        values.append(objective.value_and_gradient(there[objective.active])[0])
    return bool(np.ptp(values) < _LEVEL)


def _highest(objective: Objective, points: Sequence[FloatArray]) -> float:
    """Return the highest log-likelihood that descents from some points reach; NaN if none."""
    if not objective.size:
        return -objective.value_and_gradient(np.zeros(0))[0]
    ends = [
        optimize.minimize(
            objective.value_and_gradient,
            x[objective.active],
            jac=True,
            method="L-BFGS-B",
            options={"ftol": 1e-13, "gtol": 1e-7, "maxiter": _MOST_STEPS},
        ).fun
        for x in points
        if np.isfinite(objective.value_and_gradient(x[objective.active])[0])
    ]
    return -float(min(ends, default=np.nan))
