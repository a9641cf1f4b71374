"""The likelihood as a function of constrained values, and the support of the prior."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.replace import graph_replace
from pytensor.xtensor import as_xtensor

from pmlik._differences import central_difference
from pmlik._runtime import ProgressCallback
from pmlik._typing import BoolArray, FloatArray
from pmlik.errors import ValuesError
from pmlik.inference.compiled import CompiledModel
from pmlik.logp.batched import Batched
from pmlik.logp.compile import compile_mode
from pmlik.logp.density import LogDensity
from pmlik.model.graph import as_tensor, in_double_precision
from pmlik.model.transform import TermsModel, factor_graphs, untransformed_model

# A value on the boundary of the support belongs to it: before it is transformed it is moved
# inside by this share.
_INWARD = 1e-12
_ROUND_TRIP = 1e-6
_FAR = 1e100


class ConstrainedLikelihood:
    """The log-likelihood of a flat vector ``theta`` of the parameters' constrained values."""

    def __init__(self, problem: CompiledModel) -> None:
        self.problem = problem
        self._mode = compile_mode(problem.backend)
        self._names = problem.parameters.names

    @cached_property
    def _model(self) -> TermsModel:
        return untransformed_model(self.problem.model)

    @cached_property
    def _centre(self) -> FloatArray:
        """Constrained values of the initial point, inside the support."""
        initial = self.problem.initial
        at = np.where(np.isfinite(initial), initial, 0.0)
        return np.asarray(self.problem.values(at)[: self.problem.parameters.size])

    def _join(self, graphs: list[Any]) -> tuple[list[Any], Any]:
        """Return graphs of the constrained value variables as functions of one flat vector."""
        inputs = [self._model.rvs_to_values[self._model[name]] for name in self._names]
        point = self.problem.parameters.split(self._centre)
        joined, theta = join_nonshared_inputs(
            point={
                value.name: point[name] for name, value in zip(self._names, inputs, strict=True)
            },
            outputs=in_double_precision(graphs),
            inputs=inputs,
        )
        return list(joined), theta

    @cached_property
    def density(self) -> LogDensity | ConstrainedMarginal:
        """Log-density of the observations given ``theta``, all constants included."""
        if self.problem.likelihood.is_integral:
            return ConstrainedMarginal(self)
        terms = factor_graphs(self._model, [term.name for term in self._model.terms])
        joined, theta = self._join(list(terms.values()))
        everything = np.ones(self.problem.parameters.size, bool)
        factors = dict(zip(terms, joined, strict=True))
        return LogDensity(factors, theta, self._model, self._mode, everything)

    @cached_property
    def _forward(self) -> Batched:
        joined, theta = self._join([self._to_unconstrained(name) for name in self._names])
        return Batched(joined, theta, self._model, self._mode)

    def _to_unconstrained(self, name: str) -> Any:
        value = self._model.rvs_to_values[self._model[name]]
        rv = self.problem.model[name]
        transform = self.problem.model.rvs_to_transforms[rv]
        return as_tensor(value if transform is None else transform.forward(value, *rv.owner.inputs))

    def to_unconstrained(self, theta: FloatArray) -> FloatArray:
        """Return the unconstrained ``x`` (n,) of ``theta`` (k,); not finite at a boundary."""
        return np.asarray(self.many_to_unconstrained(theta[None])[0])

    def many_to_unconstrained(self, points: FloatArray) -> FloatArray:
        """Return the unconstrained vectors (b, n) of points ``theta`` (b, k)."""
        parts = self._forward(points)
        columns = [part.reshape(len(points), -1) for part in parts]
        return np.asarray(np.concatenate(columns, axis=1))

    @cached_property
    def _inside(self) -> Batched:
        joined, theta = self._join([self._is_inside(name) for name in self._names])
        return Batched(joined, theta, self._model, self._mode)

    def _is_inside(self, name: str) -> Any:
        """Return a graph that is 1 if a variable's value is in its support, else 0.

        The round trip through the transform returns every value inside the support and no
        other. Without a transform the prior's density decides.
        """
        value = self._model.rvs_to_values[self._model[name]]
        rv = self.problem.model[name]
        transform = self.problem.model.rvs_to_transforms[rv]
        centre = _like(self.problem.parameters.split(self._centre)[name], value)
        # A start under a wide prior may be far out, so the step towards it is bounded.
        step = (centre - value) / (1 + abs(centre - value) / (1 + abs(value)))
        inward = value + _INWARD * step
        if transform is None:
            density = graph_replace(factor_graphs(self._model, [name])[name], {value: inward})
            return pt.gt(density, -np.inf).all().astype("float64")
        inputs = rv.owner.inputs
        back = as_tensor(transform.backward(transform.forward(inward, *inputs), *inputs))
        inward = as_tensor(inward)
        near = pt.abs(back - inward) <= _ROUND_TRIP * (1 + pt.abs(inward))
        return near.all().astype("float64")

    def inside(self, points: FloatArray) -> BoolArray:
        """Return the mask (b,) of points (b, k) in the support of the prior, boundary included."""
        parts = self._inside(points)
        return np.all([part > 0 for part in parts], axis=0)

    def stretch(self, place: int, low: float, high: float) -> tuple[float, float]:
        """Return the part of a scalar's interval in the support, with the others at the start."""

        def is_inside(value: float) -> bool:
            point = self._centre.copy()
            point[place] = value
            return bool(self.inside(point[None])[0])

        ends = []
        for end in (low, high):
            good, bad = float(self._centre[place]), float(end)
            if is_inside(bad):
                good = bad
            for _ in range(60 if good != bad else 0):
                middle = (good + bad) / 2
                good, bad = (middle, bad) if is_inside(middle) else (good, middle)
            ends.append(good)
        return ends[0], ends[1]

    def prior_density(self, place: int, grid: FloatArray) -> FloatArray | None:
        """Return the prior density of one scalar on a grid, or None for a multivariate prior.

        ``grid`` (g,). ``place``: index of the scalar in ``theta``. Returns (g,) or None.
        """
        space = self.problem.parameters
        (name,) = space.owners([place])
        term = factor_graphs(self._model, [name])[name]
        if term.type.ndim != len(space.shapes[space.names.index(name)]):
            return None
        joined, theta = self._join([term])
        points = np.tile(self._centre, (len(grid), 1))
        points[:, place] = grid
        (terms,) = Batched(joined, theta, self._model, self._mode)(points)
        log_density = terms.reshape(len(grid), -1)[:, place - space.slices[name].start]
        return np.asarray(np.exp(np.where(self.inside(points), log_density, -np.inf)))

    def many(
        self, what: Any, points: FloatArray, say: ProgressCallback | None = None
    ) -> list[FloatArray]:
        """Evaluate as `LogDensity.many`; outside the support ``-inf``, for the gradient NaN."""
        outside = ~self.inside(points)
        results = self.density.many(what, points, say)
        for result in results:
            result[outside] = np.nan if what == "gradient" else -np.inf
            result[np.isnan(points).any(axis=1)] = np.nan
        return results


class ConstrainedMarginal:
    """The marginal log-likelihood of constrained values, through the unconstrained ones."""

    def __init__(self, natural: ConstrainedLikelihood) -> None:
        self._natural, self._likelihood = natural, natural.problem.likelihood

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the observed variables."""
        return self._likelihood.terms

    def _gradient(self, theta: FloatArray) -> FloatArray:
        """Return the gradient in the user's units.

        If there are more values than coordinates (a simplex), the component normal to their
        surface is zero.
        """
        x = self._natural.to_unconstrained(theta)
        jvp = self._natural.problem.values.jvp(x)
        jacobian = np.array([jvp(unit)[: len(theta)] for unit in np.eye(len(x))])
        gradient = self._likelihood.value_and_gradient(x)[1]
        return np.asarray(np.linalg.lstsq(jacobian, gradient)[0])

    def many(
        self, what: Any, points: FloatArray, say: ProgressCallback | None = None
    ) -> list[FloatArray]:
        """Evaluate as `LogDensity.many`, but without terms per observation.

        Raises `ValuesError` for ``"pointwise"``.
        """
        if what == "pointwise":
            raise ValuesError(
                "pointwise: the model has latents, and observations that share them are not "
                "independent: the marginal likelihood has no term for each. Use `log`."
            )
        x = self._natural.many_to_unconstrained(points)
        good = np.isfinite(x).all(axis=1)
        if what == "value":
            values = np.full(len(points), -np.inf)
            values[good] = self._likelihood.many("value", x[good], say)[0]
            return [values]
        gradients = np.full(points.shape, np.nan)
        for i in np.flatnonzero(good):
            gradients[i] = self._gradient(points[i])
        return [gradients]

    def hessian(self, theta: FloatArray) -> FloatArray:
        """Return the Hessian by central differences of the exact gradient."""
        rows = []
        for i, unit in enumerate(np.eye(len(theta))):
            step = np.cbrt(np.finfo(float).eps) * max(1.0, abs(theta[i]))
            rows.append(central_difference(self._gradient, theta, step * unit) / (2 * step))
        hessian = np.array(rows)
        return np.asarray((hessian + hessian.T) / 2)


def _like(array: FloatArray, value: Any) -> Any:
    """Return an array as a constant of the variable's kind, plain or labelled."""
    dims = getattr(value.type, "dims", None)
    array = np.clip(array, -_FAR, _FAR)
    return pt.as_tensor(array) if dims is None else as_xtensor(array, dims=dims)
