"""Random intercepts at three sizes: build and fit, cold and warm, peak memory, and R beside it.

    python tests/benchmarks/bench_latents.py                      # all sizes, Gaussian and Poisson
    python tests/benchmarks/bench_latents.py --rows 100000 --family poisson

Each run is a process of its own. A cold one has an empty PyTensor cache. With R and glmmTMB or
lme4 on the path the same data are fitted there, too.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = {919: 85, 100_000: 10_000, 1_000_000: 100_000}

R_SCRIPT = """
args <- commandArgs(TRUE); d <- read.csv(args[1]); family <- args[2]
form <- y ~ x1 + x2 + x3 + (1 | g)
run <- function(name, f) {
  s <- system.time(m <- f())[["elapsed"]]
  cat(sprintf("%-10s %8.2f s  logLik %.4f\\n", name, s, as.numeric(logLik(m))))
}
if (requireNamespace("glmmTMB", quietly = TRUE))
  run("glmmTMB", function() glmmTMB::glmmTMB(form, d, family = family))
if (requireNamespace("lme4", quietly = TRUE)) {
  if (family == "gaussian") run("lmer", function() lme4::lmer(form, d, REML = FALSE))
  else run("glmer", function() lme4::glmer(form, d, family = family))
}
"""


def simulate(rows: int, family: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariates (rows, 3), groups and outcome."""
    rng = np.random.default_rng(20)
    groups = SIZES.get(rows, max(2, rows // 10))
    X, group = rng.normal(size=(rows, 3)), rng.integers(groups, size=rows)
    eta = 0.5 + X @ [0.3, -0.2, 0.1] + rng.normal(0, 0.6, groups)[group]
    y = rng.poisson(np.exp(eta)) if family == "poisson" else rng.normal(eta, 0.8)
    return X, group, y


def fit(rows: int, family: str) -> None:
    """One process: build, fit, print."""
    import pymc as pm
    import xarray as xr

    from pmlik.inference.options import FitOptions
    from pmlik.inference.point import estimate_point
    from pmlik.inference.prepare import prepare

    X, group, y = simulate(rows, family)
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 5, shape=3)
        a, sd = pm.Normal("a", 0, 5), pm.HalfNormal("sd", 2)
        u = pm.Normal("u", 0, sd, shape=int(group.max()) + 1)
        eta = a + X @ beta + u[group]
        if family == "poisson":
            pm.Poisson("y", pm.math.exp(eta), observed=y)
        else:
            pm.Normal("y", eta, pm.HalfNormal("sigma", 2), observed=y)
    xr.DataArray(0.0)  # imports what xarray imports late: that is no part of a fit
    begin = time.perf_counter(), time.process_time()
    prepared = prepare(FitOptions(model=model, random_seed=1, n_starts=1))
    prepared.problem.likelihood.value_and_gradient(prepared.start)  # compiles what is used
    built = time.perf_counter(), time.process_time()
    mle = estimate_point(prepared, "mle")
    done = time.perf_counter(), time.process_time()
    (build, build_cpu), (fitted, fit_cpu) = (
        tuple(after - before for before, after in zip(one, two, strict=True))
        for one, two in ((begin, built), (built, done))
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    backend = prepared.problem.backend or "interpreted"
    print(
        f"pmlik      build {build:6.1f} s  fit {fitted:7.2f} s "
        f"(CPU {build_cpu:.1f}, {fit_cpu:.2f})  {backend}  peak {peak:.1f} GB  "
        f"log L {mle.log_likelihood:.4f}  sd {float(mle.values['sd']):.5f}  "
        f"{mle.certificate.n_gradients} gradients, {mle.certificate}",
        flush=True,
    )


def run(rows: int, family: str, *, warm: bool, cache: str) -> None:
    """A process of its own, with an empty cache or the one that the last has filled."""
    flags = os.environ.get("PYTENSOR_FLAGS", "")
    environment = os.environ | {
        "PYTENSOR_FLAGS": ",".join(filter(None, [flags, f"base_compiledir={cache}"])),
        "NUMBA_CACHE_DIR": f"{cache}/numba",
    }
    print("warm: " if warm else "cold: ", end="", flush=True)
    command = [sys.executable, __file__, "--rows", str(rows), "--family", family, "--alone"]
    subprocess.run(command, env=environment, check=True)


def run_R(rows: int, family: str) -> None:
    """glmmTMB and lme4 on the same data."""
    if shutil.which("Rscript") is None:
        print("R is not installed: nothing beside it")
        return
    X, group, y = simulate(rows, family)
    with tempfile.TemporaryDirectory() as folder:
        table = np.column_stack([y, X, group])
        head = "y,x1,x2,x3,g"
        np.savetxt(f"{folder}/data.csv", table, delimiter=",", header=head, comments="")
        Path(f"{folder}/fit.R").write_text(R_SCRIPT)
        subprocess.run(["Rscript", f"{folder}/fit.R", f"{folder}/data.csv", family], check=False)


def main() -> None:
    """All sizes and families, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--family", choices=["gaussian", "poisson"])
    parser.add_argument("--alone", action="store_true", help="fit in this process, once")
    arguments = parser.parse_args()
    sizes = [arguments.rows] if arguments.rows else list(SIZES)
    families = [arguments.family] if arguments.family else ["gaussian", "poisson"]
    if arguments.alone:
        fit(sizes[0], families[0])
        return
    for family in families:
        for rows in sizes:
            print(f"\n{family}, {rows} rows, {SIZES.get(rows, max(2, rows // 10))} groups")
            with tempfile.TemporaryDirectory() as cache:
                for warm in (False, True):
                    run(rows, family, warm=warm, cache=cache)
            run_R(rows, family)


if __name__ == "__main__":
    main()
