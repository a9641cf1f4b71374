"""How the cost of `compare` grows with the rows of a logistic regression with 10 columns.

    python tests/benchmarks/bench_rows.py [--bare] [rows ...]

Each size in a process of its own, so that its peak memory is its own. Sampling is short (2 chains
of 100 draws after 100): its cost is PyMC's, and ``--bare`` adds the seconds of ``pm.sample`` alone
with the same options. The other seconds are those of `comparison.timings`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
import pymc as pm

import pmlik

SIZES = (10_000, 100_000, 1_000_000)
COLUMNS = 10
SHORT = {"chains": 2, "draws": 100, "tune": 100}


def make_model(rows: int) -> pm.Model:
    """Independent normal covariates, true coefficients from -0.5 to 0.5."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, COLUMNS))
    p = 1 / (1 + np.exp(-(X @ np.linspace(-0.5, 0.5, COLUMNS) - 0.3)))
    y = (rng.random(rows) < p).astype(int)
    with pm.Model() as model:
        intercept = pm.Normal("intercept", 0, 5)
        beta = pm.Normal("beta", 0, 5, shape=COLUMNS)
        pm.Bernoulli("y", logit_p=intercept + X @ beta, observed=y)
    return model


def measure(rows: int) -> dict[str, float]:
    """Seconds by step and peak memory in MB of one comparison."""
    model = make_model(rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.perf_counter()
    comparison = pmlik.compare(model, random_seed=1, progressbar=False, sample_kwargs=SHORT)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert comparison.mle.trusted
    steps = dict(comparison.timings)
    return {"rows": rows, **steps, "whole": seconds, "MB": peak, "MB before": before}


def measure_bare(rows: int) -> dict[str, float]:
    """Seconds of ``pm.sample`` alone."""
    model = make_model(rows)
    begin = time.perf_counter()
    pm.sample(
        model=model, random_seed=1, progressbar=False, compute_convergence_checks=False, **SHORT
    )
    return {"pm.sample": time.perf_counter() - begin}


def run(how: str, rows: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, how, str(rows)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main(sizes: list[int], bare: bool) -> None:
    """Print one row a size."""
    results = []
    for rows in sizes:
        results.append(run("--one", rows) | (run("--one-bare", rows) if bare else {}))
        print(results[-1], file=sys.stderr, flush=True)
    print("| " + " | ".join(results[0]) + " |")
    print("|" + "---|" * len(results[0]))
    for result in results:
        cells = [
            f"{v:.0f}" if k in ("rows",) or "MB" in k else f"{v:.1f}" for k, v in result.items()
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    elif sys.argv[1:2] == ["--one-bare"]:
        print(json.dumps(measure_bare(int(sys.argv[2]))))
    else:
        numbers = [int(word) for word in sys.argv[1:] if word != "--bare"]
        main(numbers or list(SIZES), "--bare" in sys.argv)
