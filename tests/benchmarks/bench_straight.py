"""Time PyTensor's interpreter and pmlik's straight function, side by side in one run.

    python tests/benchmarks/bench_straight.py [--rows 400]

The function: value, gradient and Hessian-vector product of a Poisson regression with one
intercept per group, from the same rewritten graph. Prints microseconds per call and the ratio, and
the largest difference, which is zero.
"""

from __future__ import annotations

import argparse

import numpy as np
import pymc as pm
import pytensor
from pytensor.compile.mode import Mode
from pytensor.link.basic import PerformLinker

import pmlik
from pmlik._runtime import least_seconds
from pmlik.inference.prepare import prepared_of
from pmlik.logp.compile import compile_mode


def build(rows: int) -> pm.Model:
    rng = np.random.default_rng(0)
    group, slope = rng.integers(0, 20, rows), rng.normal(size=rows)
    with pm.Model() as model:
        a = pm.Normal("a", 0, 1, shape=20)
        b, scale = pm.Normal("b", 0, 1), pm.HalfNormal("scale", 1)
        pm.NegativeBinomial(
            "y", mu=pm.math.exp(a[group] + b * slope), alpha=scale, observed=rng.poisson(2, rows)
        )
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=400)
    options = parser.parse_args()
    mle = pmlik.find_MLE(build(options.rows), progressbar=False, random_seed=1, parameters=["a"])
    likelihood = prepared_of(mle, "a benchmark").problem.likelihood
    x, value, gradient, (v, product) = likelihood.graphs
    mode = compile_mode(None)
    functions = [
        pytensor.function([x, v], [value, gradient, product], mode=one, trust_input=True)
        for one in (Mode(PerformLinker(), optimizer=mode.provided_optimizer), mode)
    ]
    at, along = mle.unconstrained, np.ones(len(mle.unconstrained))
    found = [function(at, along) for function in functions for _ in range(2)]
    gap = max(float(np.max(np.abs(a - b))) for a, b in zip(found[1], found[3], strict=True))
    seconds = [
        min(least_seconds(lambda f=f: [f(at, along) for _ in range(20)]) for _ in range(10)) / 20
        for f in functions
    ]
    nodes = len(functions[1].maker.fgraph.apply_nodes)
    print(f"{nodes} nodes, {options.rows} rows, largest difference {gap:g}")
    for name, one in zip(("PyTensor's interpreter", "straight function"), seconds, strict=True):
        print(f"{name:24} {1e6 * one:8.1f} us  {one / seconds[0]:5.2f}")


if __name__ == "__main__":
    main()
