"""Separation: iris petals tell two species apart so well that no slope is steep enough.

Data: Anderson (1935) and Fisher (1936), doi:10.1111/j.1469-1809.1936.tb02137.x, petal lengths in
cm of 50 setosa and 50 versicolor. The longest setosa petal is shorter than the shortest of
versicolor. R's glm stops at a slope of 39.07 with a standard error of 30383 and a warning.
"""

import sys
import tempfile
import textwrap
from pathlib import Path

import pymc as pm

import pmlik

# fmt: off
setosa = [
    1.4, 1.4, 1.3, 1.5, 1.4, 1.7, 1.4, 1.5, 1.4, 1.5, 1.5, 1.6, 1.4, 1.1, 1.2, 1.5, 1.3,
    1.4, 1.7, 1.5, 1.7, 1.5, 1, 1.7, 1.9, 1.6, 1.6, 1.5, 1.4, 1.6, 1.6, 1.5, 1.5, 1.4, 1.5,
    1.2, 1.3, 1.4, 1.3, 1.5, 1.3, 1.3, 1.3, 1.6, 1.9, 1.4, 1.6, 1.4, 1.5, 1.4,
]
# fmt: on
# fmt: off
versicolor = [
    4.7, 4.5, 4.9, 4, 4.6, 4.5, 4.7, 3.3, 4.6, 3.9, 3.5, 4.2, 4, 4.7, 3.6, 4.4, 4.5, 4.1,
    4.5, 3.9, 4.8, 4, 4.9, 4.7, 4.3, 4.4, 4.8, 5, 4.5, 3.5, 3.8, 3.7, 3.9, 5.1, 4.5, 4.5,
    4.7, 4.4, 4.1, 4, 4.4, 4.6, 4, 3.3, 4.2, 4.2, 4.2, 4.3, 3, 4.1,
]
# fmt: on

length = [*setosa, *versicolor]
is_versicolor = [0] * len(setosa) + [1] * len(versicolor)

with pm.Model() as model:
    at_3cm = pm.Normal("logit_at_3cm", 0, 5)
    slope = pm.Normal("slope", 0, 5)
    pm.Deterministic("cut", 3 - at_3cm / slope)
    centred = [x - 3 for x in length]
    eta = at_3cm + slope * pm.math.stack(centred)
    pm.Bernoulli("versicolor", logit_p=eta, observed=is_versicolor)


def lesson(comparison: pmlik.Comparison) -> str:
    """What is to be learnt, from the numbers."""
    slope, cut = (comparison.table.loc[name] for name in ("slope", "cut"))
    flag = next(flag for flag in comparison.mle.flags if flag.severity == "error")
    return (
        f"There is no MLE ({flag.code.name}): {flag.detail} A standard error would mean nothing. "
        f"With a Normal(0, 5) prior the slope has a MAP, {slope['MAP']:.1f}, and a posterior, "
        f"{slope['posterior mean']:.1f} with sd {slope['sd']:.1f}; how large they are is the "
        "prior's doing, as the data only say that it is not small. Where the species part is "
        f"better known: at {cut['posterior mean']:.2f} cm, {cut['interval lower']:.2f} to "
        f"{cut['interval upper']:.2f}."
    )


def main(folder: str | None = None) -> None:
    """Compare, say what there is to learn, write a report into ``folder`` or a new one."""
    comparison = pmlik.compare(model, random_seed=1, progressbar=False)
    print(comparison)
    print()
    print(textwrap.fill(lesson(comparison), 80))
    report = Path(folder or tempfile.mkdtemp()) / "separation.html"
    comparison.to_html(report, title="Separation: two species of iris")
    print(f"\nReport: {report}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
