"""NIST StRD nonlinear regressions: `pm.find_MAP` and pmlik side by side, in correct digits.

    python tests/benchmarks/bench_nist.py [FOLDER]

FOLDER, or the environment variable PMLIK_REFERENCE, holds one folder a problem, `02_nist_<name>`,
each with `data.csv` (y, x) and `truth.json` (`start1`, `start2`, `estimates`). It is no part of
the repository.

Each problem is fitted from both published starts, and from none: then PyMC begins at the centre
of the priors, which is the second published start, but is not held to it. `pm.find_MAP` is given
the likelihood alone, `pmlik.likelihood_model(model)`, and its own defaults. Digits are -log10 of
the worst relative error over the regression's parameters, at most 11. Terms that can change
places, or signs that can change together, leave the likelihood as it is: where pmlik finds the
certified residual scale to 8 digits at such another point, `=` stands behind its digits.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm

import pmlik

exp = pm.math.exp


def _rise(x, b1, b2):
    return b1 * (1 - exp(-b2 * x))


def _chwirut2(x, b1, b2, b3):
    return exp(-b1 * x) / (b2 + b3 * x)


def _eckerle4(x, b1, b2, b3):
    return b1 / b2 * exp(-0.5 * ((x - b3) / b2) ** 2)


def _rational(x, b1, b2, b3, b4, b5, b6, b7):
    return (b1 + b2 * x + b3 * x**2 + b4 * x**3) / (1 + b5 * x + b6 * x**2 + b7 * x**3)


def _lanczos3(x, b1, b2, b3, b4, b5, b6):
    return b1 * exp(-b2 * x) + b3 * exp(-b4 * x) + b5 * exp(-b6 * x)


def _mgh17(x, b1, b2, b3, b4, b5):
    return b1 + b2 * exp(-x * b4) + b3 * exp(-x * b5)


PROBLEMS: dict[str, Callable] = {
    "BoxBOD": _rise,
    "Chwirut2": _chwirut2,
    "Eckerle4": _eckerle4,
    "Hahn1": _rational,
    "Lanczos3": _lanczos3,
    "MGH17": _mgh17,
    "Misra1a": _rise,
    "Thurber": _rational,
}

STARTS = ("start1", "start2", "none")


def build(name: str, start: str, data: pd.DataFrame, truth: dict) -> pm.Model:
    """The regression with wide normal priors around the second published start."""
    given, around = truth.get(start), truth["start2"]
    x, y = data["x"].to_numpy(float), data["y"].to_numpy(float)
    with pm.Model() as model:
        b = {
            key: pm.Normal(key, value, 3 * abs(value), initval=given and float(given[key]))
            for key, value in around.items()
        }
        sigma = pm.HalfNormal("sigma", y.std())
        pm.Normal("y", PROBLEMS[name](x, **b), sigma, observed=y)
    return model


def digits(found: dict[str, float], certified: dict[str, float]) -> float:
    errors = [abs(found[key] / certified[key] - 1) for key in found]
    return float(-np.log10(max(1e-11, *errors))) if np.isfinite(errors).all() else 0.0


def fit_by_host(model: pm.Model, names: list[str]) -> dict[str, float]:
    options = {"jitter": False, "return_inferencedata": False}
    accepted = pm.find_MAP.__kwdefaults__ or {}
    options = {key: value for key, value in options.items() if key in accepted}
    try:
        found = pm.find_MAP(model=pmlik.likelihood_model(model), progressbar=False, **options)
    except Exception as error:  # noqa: BLE001 - an error is a result here
        print(f"  pm.find_MAP: {type(error).__name__}", file=sys.stderr)
        return dict.fromkeys(names, np.nan)
    return {name: float(found[name]) for name in names}


def row(name: str, start: str, folder: Path) -> tuple[float, float]:
    """Fit one problem from one start, print the line, return both sides' digits."""
    truth = json.loads((folder / "truth.json").read_text())
    data = pd.read_csv(folder / "data.csv")
    certified, names = truth["estimates"], list(truth["start1"])
    begin = time.perf_counter()
    host = digits(fit_by_host(build(name, start, data, truth), names), certified)
    middle = time.perf_counter()
    mle = pmlik.find_MLE(build(name, start, data, truth), random_seed=1, progressbar=False)
    end = time.perf_counter()
    ours = digits({key: float(mle.values[key]) for key in names}, certified)
    scale = digits({"sigma": float(mle.values["sigma"])}, certified)
    same = "=" if ours < 8 <= scale else ""
    print(
        f"| {name} | {start} | {host:.1f} | {middle - begin:.1f} | {ours:.1f}{same} | "
        f"{end - middle:.1f} | {'yes' if mle.certificate.converged else 'no'} |",
        flush=True,
    )
    return host, max(ours, scale if same else ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("PMLIK_REFERENCE"))
    folder = parser.parse_args().folder
    found = {name: Path(folder or "", f"02_nist_{name}") for name in PROBLEMS} if folder else {}
    found = {name: path for name, path in found.items() if (path / "truth.json").exists()}
    if not found:
        sys.exit(
            f"No folder 02_nist_<name> with a truth.json in {folder or 'nowhere'}: give the folder "
            "of the reference answers as the argument or in PMLIK_REFERENCE."
        )
    if missing := sorted(set(PROBLEMS) - set(found)):
        print(f"Not found, left out: {', '.join(missing)}.\n")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print("| problem | start | `pm.find_MAP` digits | s | pmlik digits | s | certified |")
    print("|---|---|---|---|---|---|---|")
    rows = {(name, s): row(name, s, path) for s in STARTS for name, path in found.items()}
    for label, chosen in (("published starts", STARTS[:2]), ("no start", STARTS[2:])):
        pairs = [pair for (_, start), pair in rows.items() if start in chosen]
        host, ours = (sum(side >= 8 for side in sides) for sides in zip(*pairs, strict=True))
        print(f"\n8 digits, {label}: pm.find_MAP {host} of {len(pairs)}, pmlik {ours}")


if __name__ == "__main__":
    main()
