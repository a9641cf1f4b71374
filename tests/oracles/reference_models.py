"""The models of the reference cases, with ordinary weakly informative priors and default starts.

Each function takes nothing and returns the model; `FLAT` maps a case to the order in which its
published estimates appear in the model's parameters and derived quantities.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt

HERE = Path(__file__).parent / "reference"


def truth(case: str) -> dict:
    return json.loads((HERE / case / "truth.json").read_text())


def data(case: str) -> pd.DataFrame:
    return pd.read_csv(HERE / case / "data.csv")


def design(case: str) -> pd.DataFrame:
    return pd.read_csv(HERE / case / "X.csv")


def gamma_aircondit() -> pm.Model:
    hours = data("01_gamma_aircondit")["hours"].to_numpy(float)
    with pm.Model() as model:
        mu = pm.HalfNormal("mu", 200)
        kappa = pm.HalfNormal("kappa", 5)
        pm.Gamma("hours", alpha=kappa, beta=kappa / mu, observed=hours)
    return model


def birthwt_logit() -> pm.Model:
    X = design("03_birthwt_logit")
    with pm.Model(coords={"term": list(X.columns)}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term")
        low = data("03_birthwt_logit")["low"].to_numpy()
        pm.Bernoulli("low", logit_p=pt.dot(X.to_numpy(float), beta), observed=low)
    return model


def quine_negbin_additive() -> pm.Model:
    case = "03_quine_negbin_additive"
    X = design(case)
    with pm.Model(coords={"term": list(X.columns)}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term")
        theta = pm.HalfNormal("theta", 10)
        mu = pm.math.exp(X.to_numpy(float) @ beta)
        pm.NegativeBinomial("days", mu=mu, alpha=theta, observed=data(case)["Days"].to_numpy())
    return model


def warpbreaks_poisson() -> pm.Model:
    case = "03_warpbreaks_poisson"
    X = design(case)
    with pm.Model(coords={"term": list(X.columns)}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term")
        mu = pm.math.exp(X.to_numpy(float) @ beta)
        pm.Poisson("breaks", mu, observed=data(case)["breaks"].to_numpy())
    return model


def _gev_logp(value, loc, scale, shape):
    z = 1 + shape * (value - loc) / scale
    inside = pt.switch(z > 0, z, 1.0)
    logp = -pt.log(scale) - (1 + 1 / shape) * pt.log(inside) - inside ** (-1 / shape)
    return pt.switch(z > 0, logp, -np.inf)


def gev_portpirie() -> pm.Model:
    sealevel = data("07_gev_portpirie")["sealevel"].to_numpy(float)
    with pm.Model() as model:
        loc = pm.Normal("loc", 4, 1)
        scale = pm.HalfNormal("scale", 1)
        shape = pm.Normal("shape", 0.1, 0.5)
        pm.CustomDist("sealevel", loc, scale, shape, logp=_gev_logp, observed=sealevel)
        y = -np.log1p(-1 / 100)
        pm.Deterministic("return_level_100", loc + scale * (y ** (-shape) - 1) / shape)
    return model


def weibull_lung() -> pm.Model:
    case = "07_weibull_lung"
    X, frame = design(case), data(case)
    with pm.Model(coords={"term": list(X.columns)}) as model:
        beta = pm.Normal("beta", 0, 10, dims="term")
        scale = pm.HalfNormal("scale", 2)
        time = pm.Weibull.dist(alpha=1 / scale, beta=pm.math.exp(X.to_numpy(float) @ beta))
        t = frame["time"].to_numpy(float)
        upper = np.where(frame["event"] == 1, np.inf, t)
        pm.Censored("time", time, lower=None, upper=upper, observed=t)
    return model


def ar1_lh() -> pm.Model:
    y = data("08_ar1_lh")["y"].to_numpy(float)
    lag = np.abs(np.subtract.outer(np.arange(len(y)), np.arange(len(y))))
    with pm.Model() as model:
        mean = pm.Normal("mean", 0, 5)
        ar1 = pm.Uniform("ar1", -1, 1)
        sigma = pm.HalfNormal("sigma", 2)
        cov = sigma**2 / (1 - ar1**2) * pt.power(ar1, lag)
        pm.MvNormal("y", mu=mean * np.ones(len(y)), cov=cov, observed=y)
    return model


def mixture_faithful() -> pm.Model:
    eruptions = data("08_mixture_faithful")["eruptions"].to_numpy(float)
    with pm.Model(coords={"component": ["short", "long"]}) as model:
        mu = pm.Normal("mu", 3, 3, dims="component", transform=pm.distributions.transforms.ordered)
        sd = pm.HalfNormal("sd", 1, dims="component")
        w1 = pm.Beta("w1", 1, 1)
        pm.NormalMixture("eruptions", pt.stack([w1, 1 - w1]), mu, sd, observed=eruptions)
    return model


def ordered_logit_housing() -> pm.Model:
    case = "08_ordered_logit_housing"
    X, frame = design(case), data(case)
    level = frame["Sat"].map({"Low": 0, "Medium": 1, "High": 2}).to_numpy()
    repeat = np.repeat(np.arange(len(frame)), frame["Freq"])
    with pm.Model(coords={"term": list(X.columns)}) as model:
        beta = pm.Normal("beta", 0, 5, dims="term")
        cuts = pm.Normal("cuts", 0, 5, shape=2, transform=pm.distributions.transforms.ordered)
        eta = (X.to_numpy(float) @ beta)[repeat]
        pm.OrderedLogistic("sat", eta=eta, cutpoints=cuts, observed=level[repeat])
    return model


def t_regression_stackloss() -> pm.Model:
    case = "08_t_regression_stackloss"
    X = design(case)
    with pm.Model(coords={"term": list(X.columns)}) as model:
        beta = pm.Normal("beta", 0, 50, dims="term")
        s = pm.HalfNormal("s", 10)
        df = pm.Gamma("df", 2, 0.1)
        y = data(case)["stack.loss"].to_numpy(float)
        pm.StudentT("y", nu=df, mu=X.to_numpy(float) @ beta, sigma=s, observed=y)
    return model


#: Case, model, and the order of the published names in the model's scalars.
CASES = {
    "01_gamma_aircondit": (gamma_aircondit, ["mu", "kappa"]),
    "03_birthwt_logit": (birthwt_logit, ["beta"]),
    "03_quine_negbin_additive": (quine_negbin_additive, ["beta", "theta"]),
    "03_warpbreaks_poisson": (warpbreaks_poisson, ["beta"]),
    "07_gev_portpirie": (gev_portpirie, ["loc", "scale", "shape"]),
    "07_weibull_lung": (weibull_lung, ["beta", "scale"]),
    "08_ar1_lh": (ar1_lh, ["ar1", "mean", "sigma"]),
    "08_mixture_faithful": (mixture_faithful, ["mu", "sd", "w1"]),
    "08_ordered_logit_housing": (ordered_logit_housing, ["beta", "cuts"]),
    "08_t_regression_stackloss": (t_regression_stackloss, ["beta", "s", "df"]),
}
