"""Time a bootstrap refit against a fresh ``pm.find_MAP`` of the same model, in one process.

    python tests/benchmarks/bench_bootstrap.py [--replicates 1000] [--skip-large]

Both sides are warm: their first call, which for a bootstrap builds its problem, is not counted,
and the figure is the median of three, each with a seed and so with data of its own. A bootstrap's
seconds include drawing the data and every failure, and are divided by the replicates.
``pm.find_MAP`` is given the likelihood alone, as `pmlik.find_MLE` starts it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymc as pm

import pmlik

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]


def challenger() -> pm.Model:
    from quickstart import model

    return model


def birthwt() -> pm.Model:
    from oracles import reference_models

    return reference_models.birthwt_logit()


def negative_binomial() -> pm.Model:
    from oracles import reference_models

    return reference_models.quine_negbin_additive()


def groups() -> pm.Model:
    from bench_core import build

    return build(919, 85)


MODELS: dict[str, Callable[[], pm.Model]] = {
    "logistic, 23 rows, 2 parameters (quickstart)": challenger,
    "logistic, 189 rows, 10 parameters": birthwt,
    "negative binomial, 146 rows, 8 parameters": negative_binomial,
    "Gaussian, 919 rows, 89 parameters": groups,
}


def warm(call: Callable[[int], object]) -> float:
    call(0)
    seconds = []
    for seed in (1, 2, 3):
        begin = time.perf_counter()
        call(seed)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--skip-large", action="store_true")
    chosen = parser.parse_args()
    n = chosen.replicates
    warnings.simplefilter("ignore")
    print(f"{n} replicates\n")
    print("| model | `pm.find_MAP`, s | bootstrap | total, s | a refit, ms | find_MAP / refit |")
    print("|---|---|---|---|---|---|")
    for name, build in MODELS.items():
        if chosen.skip_large and build is groups:
            continue
        model = build()
        likelihood = pmlik.likelihood_model(model)
        theirs = warm(lambda _, m=likelihood: pm.find_MAP(model=m, progressbar=False))
        mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
        for kind in ("parametric", "nonparametric"):
            options = {"kind": kind, "progressbar": False}
            ours = warm(lambda s, e=mle, o=options: pmlik.bootstrap(e, n, random_seed=s, **o))
            failed = pmlik.bootstrap(mle, n, random_seed=3, **options).n_failed
            note = f" ({failed} failed)" if failed else ""
            print(
                f"| {name} | {theirs:.2f} | {kind}{note} | {ours:.2f} | {1000 * ours / n:.2f} "
                f"| {n * theirs / ours:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
