"""Bambi: a mixed model from a formula, and what the likelihood of its PyMC model says.

Data: new cases of pleuropneumonia among the cattle of 15 herds in four periods (Lesnoff et al.
2004, doi:10.1051/vetres:2003053; R's lme4::cbpp). By Laplace's approximation glmmTMB 1.1.5, and
lme4 with tight tolerances, have the figures in GLMMTMB; their log-likelihood is -92.02628.

Needs Bambi: pip install bambi
"""

import sys
import tempfile
import textwrap
from pathlib import Path

import pandas as pd

import pmlik

try:
    import bambi as bmb
except ModuleNotFoundError:
    sys.exit("This example needs Bambi, which is not installed: pip install bambi")

# fmt: off
incidence = [
    2, 3, 4, 0, 3, 1, 1, 8, 2, 0, 2, 2, 0, 2, 0, 5, 0, 0, 1, 3, 0, 0, 1, 8, 1, 3, 0, 12, 2,
    0, 0, 0, 1, 1, 0, 2, 0, 5, 3, 1, 2, 1, 0, 0, 1, 2, 0, 0, 11, 0, 0, 0, 1, 1, 1, 0,
]
size = [
    14, 12, 9, 5, 22, 18, 21, 22, 16, 16, 20, 10, 10, 9, 6, 18, 25, 24, 4, 17, 17, 18, 20,
    16, 10, 9, 5, 34, 9, 6, 8, 6, 22, 22, 18, 22, 25, 27, 22, 22, 10, 8, 6, 5, 21, 24, 19,
    23, 19, 2, 3, 2, 19, 15, 15, 15,
]
# fmt: on
periods = {2: [1, 2, 3], 8: [1]}  # herds that were not seen in all four
seen = [(herd, period) for herd in range(1, 16) for period in periods.get(herd, [1, 2, 3, 4])]

data = pd.DataFrame(seen, columns=["herd", "period"]).astype("string").astype("category")
data = data.assign(incidence=incidence, size=size)

#: Estimates and standard errors.
GLMMTMB = {
    "Intercept": (-1.39853214237348, 0.232471992261686),
    "period[2]": (-0.992332734873563, 0.306642497889563),
    "period[3]": (-1.12867208416879, 0.326637850522595),
    "period[4]": (-1.58031388518014, 0.42743658659493),
    "1|herd_sigma": (0.642261448442895, 0.178562163273302),
}

# Centred predictors would make Bambi's intercept that of the average herd and period.
formula = "p(incidence, size) ~ period + (1 | herd)"
bambi_model = bmb.Model(formula, data, family="binomial", center_predictors=False)
bambi_model.build()
model = bambi_model.backend.model

OPTIONS = {
    "var_names": ["Intercept", "period", "1|herd_sigma"],
    "reference": pd.DataFrame(GLMMTMB, index=["glmmTMB", "SE"]).T,
    "ci_prob": 0.95,
    "profile": True,
}


def lesson(comparison: pmlik.Comparison) -> str:
    """What is to be learnt, from the numbers."""
    table = comparison.table
    row = table.loc["period[4]"]
    worst = max(abs(table.at[label, "MLE"] - value) for label, (value, _) in GLMMTMB.items())
    steps = comparison.attribution.table.loc["period[4]"]
    herd = table.loc["1|herd_sigma"]
    text = (
        f"With the herds integrated out, the MLE is glmmTMB's to {worst:.0e}. Bambi's default "
        f"priors move the effect of period 4 from {row['MLE']:.2f} to a mean of "
        f"{row['posterior mean']:.2f}, most of it the prior ({steps['prior']:+.2f} sd)."
    )
    if "joint mode" in herd:  # left out where the search for it would take too long
        text += " Optimised with all effects, as pm.find_MAP does, the herds' sd is "
        text += f"{herd['joint mode']:.2f}, not {herd['MLE']:.2f}."
    return text


def main(folder: str | None = None) -> None:
    """Compare, say what there is to learn, write a report into ``folder`` or a new one."""
    comparison = pmlik.compare(model, random_seed=1, progressbar=False, **OPTIONS)
    print(comparison)
    print()
    print(textwrap.fill(lesson(comparison), 80))
    report = Path(folder or tempfile.mkdtemp()) / "bambi_model.html"
    comparison.to_html(report, title="Bambi: cattle, periods and herds")
    print(f"\nReport: {report}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
