"""Profile intervals of all parameters: pmlik and iminuit's MINOS on the same compiled function.

    python tests/benchmarks/bench_profile.py [--backend numba]

Both get the MLE and the same compiled log-likelihood with its gradient; MINOS has its own
approximate second derivatives, pmlik exact ones. Seconds are the least of three runs, with every
function built before. Ends are compared with the published ones, in standard errors. The cases
are the generalised linear models of tests/oracles/reference.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from iminuit import Minuit

sys.path.insert(0, str(Path(__file__).parents[1]))
import pmlik
from oracles.reference_models import CASES, truth

GLMS = [
    "01_gamma_aircondit",
    "03_birthwt_logit",
    "03_quine_negbin_additive",
    "03_warpbreaks_poisson",
    "07_weibull_lung",
    "08_ordered_logit_housing",
]


def by_minos(mle: pmlik.PointEstimate) -> np.ndarray:
    """Ends (k, 2) in natural units, of the coordinates of ``x`` one by one."""
    problem, x = mle.prepared.problem, mle.unconstrained
    density = problem.likelihood
    minuit = Minuit(
        lambda x: -density.value_and_gradient(x)[0],
        x,
        grad=lambda x: -density.value_and_gradient(x)[1],
    )
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.migrad()
    minuit.minos(cl=0.95)
    found = np.full((len(x), 2), np.nan)
    for i, name in enumerate(minuit.parameters):
        for side, error in enumerate((minuit.merrors[name].lower, minuit.merrors[name].upper)):
            there = x.copy()
            there[i] += error
            found[i, side] = problem.values(there)[i]
    return found


def by_pmlik(mle: pmlik.PointEstimate) -> np.ndarray:
    names = mle.prepared.problem.parameters.names
    found = pmlik.interval_profile(mle, var_names=names, progressbar=False)
    return np.concatenate([found[name].values.reshape(-1, 2) for name in names])


def timed(run: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    run()  # builds what is still to be built
    least, result = np.inf, np.zeros(0)
    for _ in range(3):
        begin = time.perf_counter()
        result = run()
        least = min(least, time.perf_counter() - begin)
    return least, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default=None)
    backend = parser.parse_args().backend
    print("| case | scalars | MINOS s | off, SE | pmlik s | off, SE | ratio |")
    print("|---|---|---|---|---|---|---|")
    for case in GLMS:
        build, names = CASES[case]
        mle = pmlik.find_MLE(build(), random_seed=1, progressbar=False, backend=backend)
        space, expected = mle.prepared.problem.parameters, truth(case)
        order = [space.labels.index(label) for name in names for label in space.labels_of(name)]
        ends = np.array(list(expected["profile_ci95"].values()), dtype=float)
        errors = np.array(list(expected["se"].values()))[:, None]
        own = case != "08_ordered_logit_housing"  # MINOS can't profile a second cutpoint
        cells = []
        for run in (by_minos, by_pmlik):
            seconds, found = timed(lambda run=run, mle=mle: run(mle))
            off = np.abs((found[order] - ends) / errors)
            off = off if own or run is by_pmlik else off[:-1]
            cells += [seconds, off.max()]
        print(
            f"| {case} | {len(ends)} | {cells[0]:.3f} | {cells[1]:.1e} | {cells[2]:.3f} | "
            f"{cells[3]:.1e} | {cells[2] / cells[0]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
