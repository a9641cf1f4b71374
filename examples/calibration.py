"""Calibration: which of the intervals can be believed for 23 launches?

Data sets like Challenger's are simulated at its maximum likelihood estimate and estimated again.
Data: the 23 launches before the accident, joint temperature and any thermal distress (Dalal,
Fowlkes and Hoadley 1989, doi:10.1080/01621459.1989.10478858).
"""

import sys
import tempfile
import textwrap
from pathlib import Path

import pymc as pm

import pmlik

temperature = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78]
temperature += [67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]
damage = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0]
damage += [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]

with pm.Model(coords={"launch": range(23)}) as model:
    degrees = pm.Data("degrees", temperature, dims="launch")
    at_70 = pm.Normal("logit_at_70F", 0, 2)
    slope = pm.Normal("slope", 0, 0.2)
    pm.Deterministic("risk_at_31F", pm.math.invlogit(at_70 + (31 - 70) * slope))
    pm.Bernoulli("damage", logit_p=at_70 + (degrees - 70) * slope, observed=damage, dims="launch")


def lesson(found: pmlik.Calibration) -> str:
    """Say what the simulated data sets show, from the numbers."""
    share = 100 * found.table["coverage"]
    bias = found.estimators["bias"] / found.estimators["spread"]
    lost = sum(found.failures.values())
    text = (
        f"Of {found.n} data sets simulated at the maximum likelihood estimate, "
        f"{100 * found.ci_prob:g}% Wald intervals cover the slope in "
        f"{share['slope', 'wald']:.0f}%, profile intervals in {share['slope', 'profile']:.0f}%, "
        f"posterior intervals in {share['slope', 'posterior']:.0f}%; by the first two the {lost} "
        "data sets without a finite MLE count as not covered. For the risk at 31 F, far outside "
        f"the data, it is {share['risk_at_31F', 'wald']:.0f}% by Wald: an interval that is "
        "symmetric around a probability of nearly one is too short. The profile, which does not "
        f"mind how the risk is written, has {share['risk_at_31F', 'profile']:.0f}%. The MLE of the "
        f"slope is too steep by {-bias['slope', 'MLE']:.2f} of its standard deviation, as in all "
        "small logistic regressions; the prior shrinks it towards zero, and of the posterior mean "
        f"{-bias['slope', 'posterior mean']:+.2f} is left."
    )
    return textwrap.fill(text, 80)


def main(folder: str | None = None) -> None:
    """Compare, calibrate, say what there is to learn, write a report and a picture."""
    comparison = pmlik.compare(model, random_seed=1)
    found = pmlik.calibrate(comparison, 300, random_seed=1)
    print(found)
    print()
    print(lesson(found))
    report = Path(folder or tempfile.mkdtemp()) / "calibration.html"
    comparison.to_html(report, title="Challenger: the answers whose intervals are tried")
    figure = report.with_suffix(".png")
    pmlik.plot_calibration(found).savefig(figure, dpi=150)
    print(f"\nReport: {report}\nPicture: {figure}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
