"""What is shown does not depend on how fast the machine is."""

from __future__ import annotations

import re
import time
from itertools import count
from pathlib import Path

import pandas as pd
import pymc as pm
import pytest

import pmlik

PACKAGE = Path(__file__).parents[2] / "pmlik"


def test_only_progress_and_timings_read_the_clock() -> None:
    """`Timer` and `least_seconds` read it; the first fills ``timings``, the second benchmarks."""
    readers = re.compile(r"perf_counter|monotonic|process_time|time\(\)|least_seconds")
    found = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if readers.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"_runtime.py"}


@pytest.fixture(scope="module")
def model() -> pm.Model:
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        pm.Deterministic("odds", p / (1 - p))
        pm.Binomial("y", n=10, p=p, observed=[2, 4, 3])
    return model


def shown(model: pm.Model) -> tuple[pd.DataFrame, str, list[str], list[str]]:
    sampler = {"draws": 100, "tune": 100, "chains": 2, "cores": 1}
    found = pmlik.compare(model, random_seed=1, progressbar=False, sample_kwargs=sampler)
    for step, seconds in found.timings.items():
        assert seconds >= 0, step
    page = re.sub(r"[\d.]+ s\b", "", found.to_html())
    return found.table, page, list(map(str, found.findings())), list(map(str, found.flags))


def test_two_runs_show_the_same_on_a_machine_that_seems_to_stand_still(model, monkeypatch) -> None:
    table, page, findings, flags = shown(model)
    ticks = count(step=1000.0)
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    slow = shown(model)
    pd.testing.assert_frame_equal(slow[0], table, check_exact=True)
    assert slow[1] == page
    assert slow[2:] == (findings, flags)
