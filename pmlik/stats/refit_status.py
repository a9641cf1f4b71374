"""Records of refits: the estimates of resampled data, and how each refit ended."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from pmlik._typing import FloatArray


class RefitStatus(StrEnum):
    """How a refit ended."""

    CERTIFIED = "certified"
    PARTIAL = "certified, but for what the new data say nothing about"
    BOUNDARY = "at the boundary"
    INFINITY = "no finite maximum (estimate at infinity)"
    UNBOUNDED = "unbounded likelihood"
    NOT_CONVERGED = "no optimum could be certified"
    UNDEFINED = "the likelihood of the new data is zero or undefined at every start"

    @property
    def is_usable(self) -> bool:
        """True if there is an estimate."""
        return self in (RefitStatus.CERTIFIED, RefitStatus.PARTIAL, RefitStatus.BOUNDARY)


class Refit(NamedTuple):
    """One refit: ``values`` (m,) in natural units, and the ``distance`` to the optimum in SE."""

    values: FloatArray
    log_likelihood: float
    distance: float
    outcome: RefitStatus


class Refits(NamedTuple):
    """A batch of ``b`` refits: ``values`` (b, m) in natural units, the other fields (b,).

    NaN where there is no estimate; the ``distance`` to the optimum is in standard errors.
    """

    values: FloatArray
    log_likelihood: FloatArray
    distance: FloatArray
    outcome: list[RefitStatus]

    @classmethod
    def stack(cls, refits: Sequence[Refit], n_values: int) -> Refits:
        """Return single refits, of ``n_values`` values each, as one batch."""
        return cls(
            np.array([refit.values for refit in refits]).reshape(len(refits), n_values),
            np.array([refit.log_likelihood for refit in refits]),
            np.array([refit.distance for refit in refits]),
            [refit.outcome for refit in refits],
        )

    @classmethod
    def join(cls, parts: Sequence[Refits], n: int) -> Refits:
        """Return the first ``n`` refits of several batches, end to end."""
        return cls(
            np.concatenate([part.values for part in parts])[:n],
            np.concatenate([part.log_likelihood for part in parts])[:n],
            np.concatenate([part.distance for part in parts])[:n],
            [status for part in parts for status in part.outcome][:n],
        )
