"""Every example runs by itself, writes its report, and its comparison survives a file."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_storage import assert_equal

import pmlik
from pmlik.attribution import STEPS

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ["separation", "mixture", "extremes", "nonlinear"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_a_screen_and_writes_its_report(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("Report")]
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80
    assert (tmp_path / f"{name}.html").stat().st_size > 50_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", *NAMES])
def test_an_example_adds_up_and_comes_back_from_a_file(name: str, tmp_path: Path) -> None:
    names = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    comparison = pmlik.compare(
        names["model"], random_seed=1, progressbar=False, sample_kwargs=names.get("SAMPLING")
    )
    table = comparison.attribution.table
    np.testing.assert_allclose(
        table[list(STEPS)].sum(axis=1), table["total"], rtol=1e-9, atol=1e-12
    )
    known = table["note"] == ""
    shift = comparison.table["shift in sd"][table.index]
    np.testing.assert_allclose(table["total"][known], shift[known], rtol=1e-9, atol=1e-12)
    assert_equal(comparison, pmlik.load(comparison.save(tmp_path / f"{name}.nc")))
