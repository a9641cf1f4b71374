"""How refits of many data sets ended: the records."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from pmlik._typing import FloatArray

__all__ = ["RefitStatus", "Refits"]


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
        """Whether there is an estimate."""
        return self in (RefitStatus.CERTIFIED, RefitStatus.PARTIAL, RefitStatus.BOUNDARY)


class Refits(NamedTuple):
    """A batch of ``b`` refits: natural ``values`` (b, m) and the rest (b,).

    NaN where there is no estimate; the ``distance`` to the optimum is in standard errors.
    """

    values: FloatArray
    log_likelihood: FloatArray
    distance: FloatArray
    outcome: list[RefitStatus]

    @classmethod
    def join(cls, parts: Sequence[Refits], n: int) -> Refits:
        """The first ``n`` of several batches, end to end."""
        return cls(
            np.concatenate([part.values for part in parts])[:n],
            np.concatenate([part.log_likelihood for part in parts])[:n],
            np.concatenate([part.distance for part in parts])[:n],
            [end for part in parts for end in part.outcome][:n],
        )
