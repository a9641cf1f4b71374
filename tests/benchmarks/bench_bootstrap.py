"""Time a bootstrap refit against a fresh ``pm.find_MAP`` of the same model, in one process.

    python tests/benchmarks/bench_bootstrap.py [--replicates 1000]

Both sides are warm: their first call is not counted, the figure is the median of three. A
bootstrap's seconds include building its problem and drawing the data, and are divided by the
replicates. ``pm.find_MAP`` is given the likelihood alone, as `pmlik.find_MLE` starts it.
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
    import reference_models

    return reference_models.birthwt_logit()


def negative_binomial() -> pm.Model:
    import reference_models

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


def warm(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    n = parser.parse_args().replicates
    warnings.simplefilter("ignore")
    print(f"{n} replicates\n")
    print("| model | `pm.find_MAP`, s | bootstrap | total, s | a refit, ms | find_MAP / refit |")
    print("|---|---|---|---|---|---|")
    for name, build in MODELS.items():
        model = build()
        likelihood = pmlik.likelihood_model(model)
        theirs = warm(lambda m=likelihood: pm.find_MAP(model=m, progressbar=False))
        mle = pmlik.find_MLE(model, random_seed=1, progressbar=False)
        for kind in ("parametric", "nonparametric"):
            options = {"kind": kind, "random_seed": 1, "progressbar": False}
            ours = warm(lambda e=mle, o=options: pmlik.bootstrap(e, n, **o))
            failed = pmlik.bootstrap(mle, n, **options).n_failed
            note = f" ({failed} failed)" if failed else ""
            print(
                f"| {name} | {theirs:.2f} | {kind}{note} | {ours:.2f} | {1000 * ours / n:.2f} "
                f"| {n * theirs / ours:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
