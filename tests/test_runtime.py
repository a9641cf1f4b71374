"""Threads and timing."""

from __future__ import annotations

from threadpoolctl import ThreadpoolController

from pmlik._runtime import least_seconds, one_thread, quiet_single_thread


def test_one_thread_is_for_a_while() -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in ThreadpoolController().info()]

    before = threads()
    with one_thread(), quiet_single_thread(10):
        assert set(threads()) == {1}
    assert threads() == before


def test_the_least_of_several_calls_is_timed_after_one_that_may_compile() -> None:
    ticks = iter([0.0, 5.0, 10.0, 12.0, 20.0, 23.0])
    calls = []
    seconds = least_seconds(lambda: calls.append(1), 3, clock=lambda: next(ticks))
    assert seconds == 2.0
    assert len(calls) == 4
