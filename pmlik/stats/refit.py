"""Estimates of many data sets of one shape, through one compiled problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pmlik._typing import FloatArray
from pmlik.inference.prepare import Prepared
from pmlik.optimize.objective import Kind
from pmlik.stats.profile_batch import MOST_COORDINATES, ProfileBatch
from pmlik.stats.refit_newton import BatchedNewton
from pmlik.stats.refit_objective import RefitObjective
from pmlik.stats.refit_search import SingleRefitter
from pmlik.stats.refit_status import Refit, Refits

# The size of a block where replicates are refitted one by one.
_BLOCK_ONE_BY_ONE = 25


class Refitter:
    """Maximises the same objective for other data or other weights, building nothing again.

    ``prepared``: the model; its own problem is not changed.
    ``x`` (n,): the estimate, unconstrained, where every refit starts.
    ``weights``: the shapes of the terms of the log-likelihood, if what changes are weights of its
        entries. Default: the data change.
    ``start`` (n,): the start of the search for the estimate. Default: that of ``prepared``.
    ``regular``: True if the estimate is an optimum inside the support, and not a limit.
    ``together``: True if many replicates can be refitted at once. Default: it is tried.
    """

    def __init__(
        self,
        prepared: Prepared,
        kind: Kind,
        x: FloatArray,
        weights: Mapping[str, tuple[int, ...]] | None = None,
        *,
        start: FloatArray | None = None,
        regular: bool = True,
        together: bool | None = None,
    ) -> None:
        start = prepared.start if start is None else start
        target = RefitObjective(prepared, kind, x, weights, start=start, regular=regular)
        self.target, self._single = target, SingleRefitter(target)
        self._batched = None if together is False else BatchedNewton.of(target)
        if together is None and self._batched and not self._batched.agrees():
            self._batched = None

    def profiles(self, data: Mapping[str, NDArray[Any]], x: FloatArray) -> ProfileBatch | None:
        """Return the profiles of a batch of data sets around their optima ``x`` (b, n).

        None where replicates are not refitted at once, or have many coordinates.
        """
        target = self.target
        if self._batched is None or target.objective.size > MOST_COORDINATES:
            return None
        inputs = [np.asarray(data[n]).astype(v.type.dtype) for n, v in target.inputs.items()]
        return ProfileBatch(self._batched.replicated, target.objective.active, inputs, x)

    @property
    def together(self) -> bool:
        """True if many replicates are refitted at once."""
        return self._batched is not None

    @property
    def block(self) -> int:
        """Number of replicates that are best refitted together."""
        return _BLOCK_ONE_BY_ONE if self._batched is None else self._batched.block

    def __call__(self, data: Mapping[str, NDArray[Any]], most: int | None = None) -> Refits:
        """Refit a batch.

        ``data`` (mapping of str to array (b, ...)): by observed variable its new values, or by term
            its weights.
        ``most``: number of refits to return, from the first. The others only fill the batch, on
            whose size the last digits may depend.
        """
        inputs = [
            np.asarray(data[name]).astype(shared.type.dtype)
            for name, shared in self.target.inputs.items()
        ]
        found: list[Refit | None] = [None] * len(inputs[0])
        if self._batched is not None:
            found = self._batched(inputs)
        refits = [
            self._single([array[i] for array in inputs]) if one is None else one
            for i, one in enumerate(found[:most])
        ]
        return Refits.stack(refits, self.target.n_values)
