"""Threads."""

from __future__ import annotations

from threadpoolctl import ThreadpoolController

from pmlik._runtime import one_thread, quiet_single_thread


def test_one_thread_is_for_a_while() -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in ThreadpoolController().info()]

    before = threads()
    with one_thread(), quiet_single_thread(10):
        assert set(threads()) == {1}
    assert threads() == before
