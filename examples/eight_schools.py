"""Eight schools: a standard deviation whose MLE is zero, and what the posterior makes of it.

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
        "The schools' own effects are latents: the likelihood of mu and tau integrates over them. "
        f"It is highest at tau = {tau['MLE']:.2g}, the edge of its support, with "
        f"mu = {mu['MLE']:.2f}. That does not say that the schools are alike: by profile, tau is "
        f"anywhere from {tau['profile lower']:.1f} to {tau['profile upper']:.1f}. The posterior "
        f"mean of tau is {tau['posterior mean']:.1f}, {steps['total']:+.1f} sd away: prior "
        f"{steps['prior']:+.2f}, scale {steps['scale']:+.2f}, skewness {steps['skewness']:+.2f}, "
        f"tail {steps['tail']:+.2f}. The prior of mu takes it from {mu['MLE']:.2f} to "
        f"{mu['MAP']:.2f}. School A, {effect[0]} by itself, is {float(school.sel(school='A')):.0f} "
        "given the others. Written centred, as theta ~ Normal(mu, tau), the three answers are the "
        "same, but schools and tau together have no mode at all for pm.find_MAP to find."
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
