"""Challenger: what 23 launches say about the risk of O-ring damage at 31 F.

Data: the 23 launches before the accident, joint temperature and any thermal distress (Dalal,
Fowlkes and Hoadley 1989, doi:10.1080/01621459.1989.10478858). R's published logistic fit is
intercept 15.0429 (7.3786), slope -0.2322 (0.1082).
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
    pm.Deterministic("intercept", at_70 - 70 * slope)
    pm.Deterministic("risk_at_31F", pm.math.invlogit(at_70 + (31 - 70) * slope))
    pm.Bernoulli("damage", logit_p=at_70 + (degrees - 70) * slope, observed=damage, dims="launch")


def differences(comparison: pmlik.Comparison) -> str:
    """Say what differs and why it matters, in two sentences made from the table."""
    slope, risk = (comparison.table.loc[name] for name in ("slope", "risk_at_31F"))
    return (
        f"The likelihood alone puts the slope at {slope['MLE']:.3f} per degree F and the risk of "
        f"damage at 31 F at {risk['MLE']:.4f} with a standard error of {risk['SE']:.4f}, as if it "
        f"were certain; prior and posterior move the slope to {slope['posterior mean']:.3f} "
        f"({slope['shift in sd']:+.1f} posterior sd) and the risk to {risk['posterior mean']:.3f}, "
        f"anywhere from {risk['interval lower']:.3f} to {risk['interval upper']:.3f}. "
        "It matters because 31 F is 22 F below the coldest launch: there 23 observations do not "
        "make a probability certain, and the symmetric error of the MLE hides that."
    )


def main(folder: str | None = None) -> None:
    """Compare, say what there is to learn, write a report into ``folder`` or a new one."""
    comparison = pmlik.compare(model, random_seed=1)
    print(comparison)
    print()
    print(textwrap.fill(differences(comparison), 80))
    report = Path(folder or tempfile.mkdtemp()) / "quickstart.html"
    comparison.to_html(report, title="Challenger: the risk of O-ring damage at 31 F")
    figure = report.with_suffix(".png")
    pmlik.plot_compare(comparison, var_names=["slope", "risk_at_31F"]).savefig(figure, dpi=150)
    print(f"\nReport: {report}\nPicture: {figure}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
