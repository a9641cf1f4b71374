"""Work is counted: a step that takes more than its part is left, and remembered."""

from __future__ import annotations

import pytest

from pmlik._budget import Meter, OutOfWorkError


class Worker:
    """Does one unit of work a call, as far as a meter lets it."""

    def __init__(self) -> None:
        self.work = 0.0
        self.meter = Meter(lambda: self.work)

    def __call__(self) -> None:
        self.meter.check()
        self.work += 1.0


def test_a_step_ends_with_its_part_and_the_next_one_has_its_own() -> None:
    worker, done = Worker(), []
    with worker.meter.step("first", 3.0):
        while True:
            worker()
    assert worker.work == 4.0  # the evaluation that used it up is finished
    with worker.meter.step("second", 10.0):
        done.extend(worker() for _ in range(5))
    assert len(done) == 5
    assert worker.meter.stopped == ["first"]
    worker()  # without a step there is no end


def test_a_step_inside_another_takes_no_more_than_that_has_left() -> None:
    worker = Worker()
    with worker.meter.step("outer", 2.0), worker.meter.step("inner", 100.0):
        while True:
            worker()
    assert worker.work == 3.0
    assert worker.meter.stopped == ["inner"]


def test_what_catches_the_error_itself_is_remembered_all_the_same() -> None:
    worker = Worker()
    with worker.meter.step("search", 0.5):
        worker()
        with pytest.raises(OutOfWorkError):
            worker()
    assert worker.meter.stopped == ["search"]
