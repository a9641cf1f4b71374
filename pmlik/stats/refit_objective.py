"""The objective of an estimate with its data, or the weights of its terms, as inputs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytensor
from numpy.typing import NDArray

from pmlik._typing import FloatArray
from pmlik.inference.compiled import compile_open_model
from pmlik.inference.natural import ConstrainedLikelihood
from pmlik.inference.prepare import Prepared
from pmlik.optimize.objective import Kind, Objective
from pmlik.stats.refit_status import Refit, RefitStatus

#: Held while anything may be compiled: PyTensor's rewrites and PyMC's contexts are not
#: thread-safe.
BUILDING = threading.RLock()


class RefitObjective:
    """The objective of an estimate, compiled once for all data sets of the same shape.

    ``prepared``: the model; its own problem is not changed.
    ``x`` (n,): the estimate, unconstrained.
    ``weights``: the shapes of the terms of the log-likelihood, if the inputs are weights of its
        entries. Default: the inputs are the data.
    ``start`` (n,): the start of the search for the estimate.
    ``regular``: True if the estimate is an optimum inside the support, and not a limit.
    """

    def __init__(
        self,
        prepared: Prepared,
        kind: Kind,
        x: FloatArray,
        weights: Mapping[str, tuple[int, ...]] | None,
        *,
        start: FloatArray,
        regular: bool,
    ) -> None:
        opened = compile_open_model(
            prepared.model,
            prepared.roles,
            potentials=prepared.potentials,
            backend=prepared.problem.backend,
            quadrature=prepared.arguments.quadrature,
        )
        natural = ConstrainedLikelihood(opened.problem)  # of the data that are set
        plain = replace(prepared, problem=opened.problem, natural=natural, added=())
        self.prepared = plain.with_quantities(*prepared.added)
        problem, likelihood = self.prepared.problem, opened.problem.likelihood
        self.inputs: dict[str, Any] = dict(opened.data)
        if weights is not None:
            self.inputs = {
                name: pytensor.shared(np.ones(shape), shape=shape, name=f"weights of {name}")
                for name, shape in weights.items()
            }
            likelihood = likelihood.weighted(self.inputs)
        prior = (problem.prior,) if kind == "map" else ()
        self.objective = Objective((likelihood, *prior), problem.values, start)
        self.problem, self.likelihood = problem, likelihood
        self.estimated = prepared.problem
        self.kind, self.x, self.is_regular = kind, x, regular
        self._hessian_of_integral: FloatArray | None = None
        if likelihood.is_integral:
            # Computed here, as last digits depend on what an integral has seen before.
            likelihood.set_reference(x)
            self._hessian_of_integral = self.objective.hessian(self.z)
            likelihood.reset_cache()

    @property
    def z(self) -> FloatArray:
        """The estimate, in the coordinates of the objective."""
        return self.x[self.objective.active]

    @property
    def n_values(self) -> int:
        """Number of natural values, parameters and derived quantities."""
        return self.problem.parameters.size + self.problem.derived.size

    @property
    def original(self) -> Objective:
        """The objective of the estimate itself, by its own compiled functions."""
        return self.estimated.objective(self.kind, self.objective.base)

    @cached_property
    def hessian(self) -> FloatArray:
        """The Hessian at the estimate, of its own data."""
        if self._hessian_of_integral is not None:
            return self._hessian_of_integral
        return self.original.hessian(self.z)

    def set_inputs(self, inputs: Sequence[NDArray[Any]]) -> None:
        """Replace the data, or the weights."""
        for shared, value in zip(self.inputs.values(), inputs, strict=True):
            shared.set_value(value)
        self.likelihood.reset_cache()  # modes of latents belong to their data

    def log_likelihood(self, x: FloatArray) -> float:
        """Return the log-likelihood of the inputs that are set."""
        return self.likelihood.value_and_gradient(x)[0]

    def certified(self, x: FloatArray, distance: float) -> Refit:
        """Return the record of a certified optimum."""
        return Refit(
            self.problem.values(x), self.log_likelihood(x), distance, RefitStatus.CERTIFIED
        )

    def failed(self, status: RefitStatus) -> Refit:
        """Return the record of a refit without an estimate."""
        return Refit(np.full(self.n_values, np.nan), np.nan, np.nan, status)
