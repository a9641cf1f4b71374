"""Nonlinear regression: NIST's Misra1a, with eleven certified digits to hold the MLE against.

Data and certified values: NIST Statistical Reference Datasets (Misra 1978, dental research;
y = b1 (1 - exp(-b2 x))). NIST divides the residual sum of squares by n - 2 for its standard
deviations, maximum likelihood by n.
"""

import sys
import tempfile
import textwrap
from pathlib import Path

import pymc as pm

import pmlik

# fmt: off
x = [
    77.6, 114.9, 141.1, 190.8, 239.9, 289, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1,
    760,
]
# fmt: on
# fmt: off
y = [
    10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.4,
    75.47, 81.78,
]
# fmt: on

CERTIFIED = {"b1": 2.3894212918e02, "b2": 5.5015643181e-04}
OPTIONS = {"reference": CERTIFIED}

with pm.Model() as model:
    b1 = pm.Normal("b1", 250, 100)
    b2 = pm.LogNormal("b2", -7.5, 1)
    sigma = pm.HalfNormal("sigma", 1)
    pm.Normal("y", b1 * (1 - pm.math.exp(-b2 * pm.math.stack(x))), sigma, observed=y)


def lesson(comparison: pmlik.Comparison) -> str:
    """What is to be learnt, from the numbers."""
    table = comparison.table
    worst = max(abs(table.at[name, "MLE"] / value - 1) for name, value in CERTIFIED.items())
    correlation = comparison.mle.covariance
    r = float(correlation[0, 1] / (correlation[0, 0] * correlation[1, 1]) ** 0.5)
    return (
        f"The MLE has NIST's certified digits: the largest relative difference is {worst:.0e}. "
        f"The two coefficients are correlated by {r:.4f}, which is what stops a search early. "
        f"The prior says little of sigma, and yet its posterior mean is "
        f"{table.at['sigma', 'shift in sd']:+.2f} posterior sd from the MLE: with {len(y)} "
        "observations a scale has a long upper tail, and maximum likelihood takes no degrees of "
        "freedom off."
    )


def main(folder: str | None = None) -> None:
    """Compare, say what there is to learn, write a report into ``folder`` or a new one."""
    comparison = pmlik.compare(model, random_seed=1, progressbar=False, **OPTIONS)
    print(comparison)
    print()
    print(textwrap.fill(lesson(comparison), 80))
    report = Path(folder or tempfile.mkdtemp()) / "nonlinear.html"
    comparison.to_html(report, title="Nonlinear regression: NIST Misra1a")
    print(f"\nReport: {report}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
