"""Sleep study: random intercepts and slopes, and maximum likelihood as lme4 has it.

Data: reaction time in ms of 18 subjects on ten days, from the third on without enough sleep
(Belenky et al. 2003, doi:10.1046/j.1365-2869.2003.00337.x; R's lme4::sleepstudy). lme4 1.1-31,
``lmer(Reaction ~ Days + (Days | Subject), REML = FALSE)``, has the figures in LME4.
"""

import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm

import pmlik

MEASURED = """
308 249.56 258.7047 250.8006 321.4398 356.8519 414.6901 382.2038 290.1486 430.5853 466.3535
309 222.7339 205.2658 202.9778 204.707 207.7161 215.9618 213.6303 217.7272 224.2957 237.3142
310 199.0539 194.3322 234.32 232.8416 229.3074 220.4579 235.4208 255.7511 261.0125 247.5153
330 321.5426 300.4002 283.8565 285.133 285.7973 297.5855 280.2396 318.2613 305.3495 354.0487
331 287.6079 285.0 301.8206 320.1153 316.2773 293.3187 290.075 334.8177 293.7469 371.5811
332 234.8606 242.8118 272.9613 309.7688 317.4629 309.9976 454.1619 346.8311 330.3003 253.8644
333 283.8424 289.555 276.7693 299.8097 297.171 338.1665 332.0265 348.8399 333.36 362.0428
334 265.4731 276.2012 243.3647 254.6723 279.0244 284.1912 305.5248 331.5229 335.7469 377.299
335 241.6083 273.9472 254.4907 270.8021 251.4519 254.6362 245.4523 235.311 235.7541 237.2466
337 312.3666 313.8058 291.6112 346.1222 365.7324 391.8385 404.2601 416.6923 455.8643 458.9167
349 236.1032 230.3167 238.9256 254.922 250.7103 269.7744 281.5648 308.102 336.2806 351.6451
350 256.2968 243.4543 256.2046 255.5271 268.9165 329.7247 379.4445 362.9184 394.4872 389.0527
351 250.5265 300.0576 269.8939 280.5891 271.8274 304.6336 287.7466 266.5955 321.5418 347.5655
352 221.6771 298.1939 326.8785 346.8555 348.7402 352.8287 354.4266 360.4326 375.6406 388.5417
369 271.9235 268.4369 257.2424 277.6566 314.8222 317.2135 298.1353 348.1229 340.28 366.5131
370 225.264 234.5235 238.9008 240.473 267.5373 344.1937 281.1481 347.5855 365.163 372.2288
371 269.8804 272.4428 277.8989 281.7895 279.1705 284.512 259.2658 304.6306 350.7807 369.4692
372 269.4117 273.474 297.5968 310.6316 287.1726 329.6076 334.4818 343.2199 369.1417 364.1236
"""
reaction = {
    row.split()[0]: [float(x) for x in row.split()[1:]] for row in MEASURED.split("\n")[1:-1]
}

#: Estimates, standard errors of the fixed effects, log-likelihood; "ranef" of one subject.
LME4 = {
    "b[Intercept]": (251.405104848484, 6.63227642115722),
    "b[Days]": (10.4672859595955, 1.50223679257189),
    "sd[Intercept]": (23.7805649857756, np.nan),
    "sd[Days]": (5.71683457988983, np.nan),
    "cor": (0.0813199745870965, np.nan),
    "sigma": (25.5918158320228, np.nan),
}
LME4_LOG_LIKELIHOOD = -875.969672231599
LME4_RANEF_309 = (-40.04853884997, -8.64405238689115)

days = np.arange(10)
coords = {"subject": list(reaction), "day": days, "term": ["Intercept", "Days"]}

with pm.Model(coords=coords) as model:
    b = pm.Normal("b", [250, 10], [100, 50], dims="term")
    chol, corr, sd = pm.LKJCholeskyCov(
        "chol", n=2, eta=2, sd_dist=pm.HalfNormal.dist(50, shape=2), compute_corr=True
    )
    pm.Deterministic("sd", sd, dims="term")
    pm.Deterministic("cor", corr[0, 1])
    z = pm.Normal("z", 0, 1, dims=("subject", "term"))
    u = pm.Deterministic("u", z @ chol.T, dims=("subject", "term"))
    sigma = pm.HalfNormal("sigma", 50)
    mean = (b[0] + u[:, 0])[:, None] + (b[1] + u[:, 1])[:, None] * days
    pm.Normal("reaction", mean, sigma, observed=list(reaction.values()), dims=("subject", "day"))

OPTIONS = {
    "var_names": ["b", "sd", "cor", "sigma"],
    "reference": pd.DataFrame(LME4, index=["lme4", "SE"]).T,
    "ci_prob": 0.95,
    "profile": True,
}


def lesson(comparison: pmlik.Comparison) -> str:
    """What is to be learnt, from the numbers."""
    table = comparison.table
    worst = max(abs(table.at[label, "MLE"] - value) for label, (value, _) in LME4.items())
    mode = comparison.mle.latents.values["u"].sel(subject="309").values
    days, sd = table.loc["b[Days]"], table.loc["sd[Days]"]
    text = (
        f"With the subjects' lines integrated out the estimates are lme4's to {worst:.0e}, as are "
        f"the modes of the subjects ({mode[0]:.2f}, {mode[1]:.2f} for no. 309). A day costs "
        f"{days['MLE']:.1f} ms, and subjects differ by {sd['MLE']:.1f} ms in that. The posterior "
        f"mean of the latter is {sd['posterior mean']:.1f}, {sd['shift in sd']:+.2f} sd higher: 18 "
        "subjects leave a long upper tail, which profile and posterior show and a standard error "
        "does not."
    )
    if "joint mode" in sd:  # left out where the search for it would take too long
        text += f" Optimised with all effects, as pm.find_MAP does, it is {sd['joint mode']:.1f}."
    return text


def main(folder: str | None = None) -> None:
    """Compare, say what there is to learn, write a report into ``folder`` or a new one."""
    comparison = pmlik.compare(model, random_seed=1, progressbar=False, **OPTIONS)
    print(comparison)
    print()
    print(textwrap.fill(lesson(comparison), 80))
    report = Path(folder or tempfile.mkdtemp()) / "sleepstudy.html"
    comparison.to_html(report, title="Sleep study: random intercepts and slopes")
    print(f"\nReport: {report}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
