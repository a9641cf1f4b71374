"""The steps beside the estimates, each of which may fail alone."""

from __future__ import annotations

from collections.abc import Callable

from pmlik._runtime import ProgressCallback, Timer
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.guard import describe_failure


class Stages:
    """Run the steps beside the estimates: one that fails or is interrupted loses only itself.

    ``work``: that of the estimates and the sampling, which sets how much the others may take.
    """

    def __init__(self, say: ProgressCallback, clock: Timer) -> None:
        self.say, self.clock, self.flags = say, clock, list[Flag]()
        self.work = {"MLE": 0.0, "MAP": 0.0, "sampling": 0.0}

    def run[T](
        self, name: str, text: str, compute: Callable[[], T], otherwise: Callable[[], T]
    ) -> T:
        """Return what a step computes; in its place another value, and a flag, if it fails."""
        self.say(text)
        try:
            with self.clock(name):
                return compute()
        except KeyboardInterrupt:
            reason = "It was interrupted."
        except Exception as error:  # noqa: BLE001 - the estimates and the draws are not lost with it
            reason = f"{describe_failure(error)}."
        detail = f"{name}: {reason}"
        self.flags.append(Flag(FlagCode.STEP_LEFT_OUT, Severity.WARNING, (), "", detail))
        return otherwise()
