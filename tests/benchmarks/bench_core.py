"""Time pmlik against the bare PyMC calls it replaces, side by side in one run.

    python tests/benchmarks/bench_core.py [--rows 919] [--groups 85] [--skip-sampling]

Every measurement is a process of its own. Cold runs get empty caches, PyTensor's and Numba's;
warm runs get those that the cold run of the same side left behind, and are the median of three.
Imports are not counted. The model: group intercepts under independent standard normal priors,
three covariates, a scale.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable


def build(rows: int, groups: int):
    import numpy as np
    import pymc as pm

    rng = np.random.default_rng(0)
    group, X = rng.integers(0, groups, rows), rng.normal(size=(rows, 3))
    effects = rng.normal(size=groups)
    y = effects[group] + X @ [0.5, -0.3, 0.2] + 0.7 * rng.normal(size=rows)
    with pm.Model(coords={"group": np.arange(groups), "covariate": ["a", "b", "c"]}) as model:
        alpha = pm.Normal("alpha", 0, 1, dims="group")
        beta = pm.Normal("beta", 0, 1, dims="covariate")
        sigma = pm.HalfNormal("sigma", 1)
        pm.Normal("y", alpha[group] + X @ beta, sigma, observed=y)
    return model


def two_find_map(model) -> None:
    """What the user has today for two point estimates, without any standard error."""
    import pymc as pm

    for _ in range(2):
        pm.find_MAP(model=model, progressbar=False)


def mle_and_map(model) -> None:
    import pmlik

    pmlik.find_MLE(model, random_seed=1, progressbar=False)
    pmlik.find_MAP(model, random_seed=1, progressbar=False)


def bare(model) -> None:
    """``pm.find_MAP`` twice with the Hessian, ``pm.sample``, ``az.summary``."""
    import arviz as az
    import pymc as pm

    hessian = {"compute_hessian": True, "return_inferencedata": True, "jitter": False}
    if "compute_hessian" not in pm.find_MAP.__kwdefaults__:
        hessian = {}
    for _ in range(2):
        pm.find_MAP(model=model, progressbar=False, **hessian)
    az.summary(pm.sample(model=model, chains=4, random_seed=1, progressbar=False))


def compare(model) -> None:
    import pmlik

    pmlik.compare(model, random_seed=1, progressbar=False).table  # noqa: B018 - built on access


SIDES: dict[str, Callable] = {f.__name__: f for f in (two_find_map, mle_and_map, bare, compare)}


def measure_here(name: str, rows: int, groups: int) -> None:
    """Run one side in this process and print its seconds."""
    import warnings

    import xarray as xr

    import pmlik  # noqa: F401 - importing is not what is measured

    xr.DataArray(0)  # imports Dask where the test extra has installed it
    warnings.simplefilter("ignore")
    model = build(rows, groups)
    begin = time.perf_counter()
    SIDES[name](model)
    print(json.dumps(time.perf_counter() - begin))


def measure(name: str, cache: str, rows: int, groups: int) -> float:
    environment = os.environ | {"PYTENSOR_FLAGS": f"base_compiledir={cache}"}
    environment["NUMBA_CACHE_DIR"] = os.path.join(cache, "numba")
    command = [
        sys.executable,
        __file__,
        "--side",
        name,
        "--rows",
        str(rows),
        "--groups",
        str(groups),
    ]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(run.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=919)
    parser.add_argument("--groups", type=int, default=85)
    parser.add_argument("--skip-sampling", action="store_true")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        return measure_here(chosen.side, chosen.rows, chosen.groups)
    pairs = [
        ("two_find_map", "mle_and_map", "`pm.find_MAP` twice", "`find_MLE` + `find_MAP`, with SE")
    ]
    if not chosen.skip_sampling:
        pairs.append(
            (
                "bare",
                "compare",
                "`pm.find_MAP` twice with Hessian, `pm.sample`, `az.summary`",
                "`compare`",
            )
        )
    size = (chosen.rows, chosen.groups)
    print(f"{chosen.rows} rows, {chosen.groups} groups\n")
    print("| bare PyMC | s | pmlik | s | ratio | cache |")
    print("|---|---|---|---|---|---|")
    for theirs, ours, their_name, our_name in pairs:
        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            for state, repeats in (("cold", 1), ("warm", 3)):
                assert bool(os.listdir(a) or os.listdir(b)) is (state == "warm")
                sides = ((theirs, a), (ours, b))
                runs = [[measure(*side, *size) for side in sides] for _ in range(repeats)]
                t, o = (statistics.median(seconds) for seconds in zip(*runs, strict=True))
                print(
                    f"| {their_name} | {t:.1f} | {our_name} | {o:.1f} | {o / t:.2f} | {state} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
