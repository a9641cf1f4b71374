"""Budgets: how much work what is shown beside the estimates may take.

Work is counted, never timed, so that two runs of one call show the same: the evaluations of a
density times the size of one (`pmlik.logp.work`). A unit is about a second of one core; how fast
the machine really is, or what else it does, changes no number.

| what | the most that it takes |
|---|---|
| limits, probes for directions without bound | the work of the search before, each |
| mode of parameters and latents together | the work of MLE and MAP |
| profile intervals that nobody asked for | `PROFILES` |
| curves of a page | `CURVES`, or a quarter of estimates and sampling |
| terms of all draws, their sensitivity | `EXTRAS`, or a quarter of estimates and sampling |
| searches from chains that disagree | `CHAINS` each, or the sampling |
| a second run of the chains | the first, if that took at most `AGAIN` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: Interpreted evaluations that would take more than this are compiled.
COMPILE = 20.0

#: See the table.
PROFILES, CURVES, EXTRAS, CHAINS, AGAIN = 3.0, 10.0, 5.0, 30.0, 300.0

#: Without sampling the profiles of the curves take about this much at most.
CURVES_ALONE = 2.0

#: The share of estimates and sampling that what is shown beside them may take.
SHARE = 0.25

#: A search for limits or directions without bound may always take this much.
LEAST_SEARCH = 1.0


class OutOfWorkError(Exception):
    """A search has used up its work."""


@dataclass(eq=False)
class Meter:
    """The work of one task, and the part of it that the current step may take.

    ``done``: returns the work done so far, whoever did it.
    ``stopped``: the steps that used up their part before they had finished.
    """

    done: Callable[[], float]
    most: float = float("inf")
    stopped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin, self._ran_out = self.done(), False

    @property
    def spent(self) -> float:
        """Work since the meter was made."""
        return self.done() - self._begin

    @property
    def left(self) -> float:
        """Work that the step has left, negative if it has taken more."""
        return self.most - self.spent

    def check(self) -> None:
        """Raise `OutOfWorkError` if nothing is left."""
        if self.left < 0:
            self._ran_out = True
            raise OutOfWorkError

    @contextmanager
    def step(self, name: str, most: float) -> Iterator[None]:
        """Leave the block as soon as it has taken ``most``, and remember its name."""
        before, self.most = self.most, min(self.most, self.spent + most)
        try:
            yield
        except OutOfWorkError:
            pass
        finally:
            if self._ran_out:
                self.stopped.append(name)
            self.most, self._ran_out = before, False
