"""The reference cases with latents, in the centred and the non-centred form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pymc as pm

from oracles.reference_models import data, design


def eight_schools(*, centred: bool) -> pm.Model:
    schools = data("06_eight_schools_marginal")
    with pm.Model(coords={"school": schools["school"].tolist()}) as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        if centred:
            theta = pm.Normal("theta", mu, tau, dims="school")
        else:
            z = pm.Normal("z", 0, 1, dims="school")
            theta = pm.Deterministic("theta", mu + tau * z, dims="school")
        sigma = schools["sigma"].to_numpy(float)
        pm.Normal("y", theta, sigma, observed=schools["y"].to_numpy(float), dims="school")
    return model


def one_way(case: str, *, centred: bool) -> pm.Model:
    frame = data(case)
    batch = pd.Categorical(frame["Batch"].astype(str))
    y = frame["Yield"].to_numpy(float)
    with pm.Model(coords={"batch": list(batch.categories)}) as model:
        b0 = pm.Normal("b0", y.mean(), 10 * y.std())
        sigma = pm.HalfNormal("sigma", 3 * y.std())
        sd = pm.HalfNormal("sd", 3 * y.std())
        if centred:
            u = pm.Normal("u", 0, sd, dims="batch")
        else:
            z = pm.Normal("z", 0, 1, dims="batch")
            u = pm.Deterministic("u", sd * z, dims="batch")
        pm.Normal("y", b0 + u[batch.codes], sigma, observed=y)
    return model


def sleepstudy(*, centred: bool) -> pm.Model:
    frame = data("05_sleepstudy_slope")
    subject = pd.Categorical(frame["Subject"].astype(str))
    coords = {"subject": list(subject.categories), "term": ["Intercept", "Days"]}
    with pm.Model(coords=coords) as model:
        b = pm.Normal("b", [250, 10], [100, 50], dims="term")
        sigma = pm.HalfNormal("sigma", 50)
        half = pm.HalfNormal.dist(50, shape=2)
        chol, correlation, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=half)
        if centred:
            u = pm.MvNormal("u", mu=np.zeros(2), chol=chol, dims=("subject", "term"))
        else:
            z = pm.Normal("z", 0, 1, dims=("subject", "term"))
            u = pm.Deterministic("u", z @ chol.T, dims=("subject", "term"))
        pm.Deterministic("cor", correlation[0, 1])
        days = frame["Days"].to_numpy(float)
        mu = b[0] + u[subject.codes, 0] + (b[1] + u[subject.codes, 1]) * days
        pm.Normal("y", mu, sigma, observed=frame["Reaction"].to_numpy(float))
    return model


def cbpp(*, centred: bool) -> pm.Model:
    frame, X = data("05_cbpp_glmm"), design("05_cbpp_glmm")
    herd = pd.Categorical(frame["herd"].astype(int))
    coords = {"herd": [str(h) for h in herd.categories], "term": list(X.columns)}
    with pm.Model(coords=coords) as model:
        b = pm.Normal("b", 0, 5, dims="term")
        sd = pm.HalfNormal("sd", 2)
        if centred:
            u = pm.Normal("u", 0, sd, dims="herd")
        else:
            z = pm.Normal("z", 0, 1, dims="herd")
            u = pm.Deterministic("u", sd * z, dims="herd")
        eta = X.to_numpy(float) @ b + u[herd.codes]
        size, incidence = frame["size"].to_numpy(), frame["incidence"].to_numpy()
        pm.Binomial("y", n=size, logit_p=eta, observed=incidence)
    return model


#: Case, model, and the order of the published names among the model's scalars.
LATENT_CASES = {
    "05_dyestuff": (lambda **form: one_way("05_dyestuff", **form), ["b0", "sigma", "sd"]),
    "05_dyestuff2_boundary": (
        lambda **form: one_way("05_dyestuff2_boundary", **form),
        ["b0", "sigma", "sd"],
    ),
    "05_sleepstudy_slope": (sleepstudy, ["b", "sigma", "chol_stds", "cor"]),
    "05_cbpp_glmm": (cbpp, ["b", "sd"]),
    "06_eight_schools_marginal": (eight_schools, ["mu", "tau"]),
}
