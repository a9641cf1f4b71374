"""Eight schools: three different answers called "the mode", and why only one is the MLE.

Data: estimated effects of coaching on a test in eight schools, and their standard errors (Rubin
1981, doi:10.3102/10769986006004377). Maximum likelihood has the closed form of a weighted mean:
mu 7.69 (4.07), tau 0 (Gelman et al., Bayesian Data Analysis, section 5.5).
"""

import sys
import tempfile
import textwrap
from pathlib import Path

import pymc as pm

import pmlik

effect = [28, 8, -3, 7, -1, 1, 18, 12]
error = [15, 10, 16, 11, 9, 11, 10, 18]

with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
    mu = pm.Normal("mu", 0, 5)
    tau = pm.HalfCauchy("tau", 5)
    z = pm.Normal("z", 0, 1, dims="school")  # centred, chains have trouble; the MLE has none
    theta = pm.Deterministic("theta", mu + tau * z, dims="school")
    pm.Normal("effect", theta, error, observed=effect, dims="school")

OPTIONS = {
    "var_names": ["mu", "tau"],
    "sample_kwargs": {"target_accept": 0.95},
    "reference": {"mu": 7.68561672495604, "tau": 0},
}


def lesson(comparison: pmlik.Comparison) -> str:
    """What is to be learnt, from the numbers."""
    mu, tau = (comparison.table.loc[name] for name in ("mu", "tau"))
    steps = comparison.attribution.table.loc["tau"]
    school = comparison.posterior.values["theta"]
    return (
        "The eight schools' own effects are latents: the likelihood of mu and tau integrates over "
        f"them. It is highest at tau = {tau['MLE']:.2g}, the edge of its support, where "
        f"mu = {mu['MLE']:.2f}. Plain pm.find_MAP maximises over the schools too, and ends at "
        f"mu = {mu['joint mode']:.2f}: the mode of ten numbers together says nothing of the two. "
        f"The MLE of tau does not mean that the schools are alike. The posterior mean of tau is "
        f"{tau['posterior mean']:.1f}, {steps['total']:+.1f} sd away: prior {steps['prior']:+.2f}, "
        f"scale {steps['scale']:+.2f}, skewness {steps['skewness']:+.2f}, tail "
        f"{steps['tail']:+.2f}. The data leave tau open; a mode just cannot say so. School A, "
        f"{effect[0]} by itself, is {float(school.sel(school='A')):.0f} given the others."
    )


def main(folder: str | None = None) -> None:
    """Compare, say what there is to learn, write a report into ``folder`` or a new one."""
    comparison = pmlik.compare(model, random_seed=1, progressbar=False, **OPTIONS)
    print(comparison)
    print()
    print(textwrap.fill(lesson(comparison), 80))
    report = Path(folder or tempfile.mkdtemp()) / "eight_schools.html"
    comparison.to_html(report, title="Eight schools: a variance on the edge")
    print(f"\nReport: {report}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
