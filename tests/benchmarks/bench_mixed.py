"""Mixed models on published data: find_MLE cold and warm beside glmmTMB, lme4 and TMB.

    python tests/benchmarks/bench_mixed.py                  # all rows
    python tests/benchmarks/bench_mixed.py Owls grouseticks
    python tests/benchmarks/bench_mixed.py --warm Owls      # without the cold run

Needs R with lme4 and glmmTMB (Debian: r-cran-lme4, r-cran-glmmtmb), whose data are exported to a
temporary folder; Item2PL is simulated. Each fit is a process of its own, a cold one with an empty
PyTensor cache. Wall and CPU seconds are those of the whole `find_MLE` and of the whole R call;
imports, building the model and reading the data are outside on both sides.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

EXPORT = """
folder <- commandArgs(TRUE)[1]
data(list = c("Penicillin", "grouseticks", "VerbAgg", "InstEval", "sleepstudy", "cbpp", "Pastes"),
     package = "lme4")
data(list = c("Owls", "Salamanders"), package = "glmmTMB")
put <- function(name, d, formula) {
  d <- as.data.frame(lapply(d, function(v) if (is.ordered(v)) factor(v, ordered = FALSE) else v))
  X <- model.matrix(formula, d)
  colnames(X) <- paste0("X", seq_len(ncol(X)))
  codes <- as.data.frame(lapply(d, function(v) if (is.factor(v)) as.integer(v) - 1L else v))
  write.csv(cbind(codes, X), file.path(folder, paste0(name, ".csv")), row.names = FALSE)
}
put("Penicillin", Penicillin, ~ 1)
put("Owls", Owls, ~ FoodTreatment * SexParent)
put("grouseticks", transform(grouseticks, cHEIGHT = as.numeric(scale(HEIGHT))), ~ YEAR + cHEIGHT)
VerbAgg$y <- as.integer(VerbAgg$r2 == "Y")
put("VerbAgg", VerbAgg, ~ (Anger + Gender + btype + situ)^2 + mode * Gender)
put("Salamanders", Salamanders, ~ spp * mined)
put("InstEval", InstEval, ~ service)
put("sleepstudy", sleepstudy, ~ Days)
put("cbpp", cbpp, ~ period)
put("Pastes", Pastes, ~ 1)
"""

FIT = """
arguments <- commandArgs(TRUE); name <- arguments[1]; folder <- arguments[2]
suppressMessages({library(lme4); library(glmmTMB); library(TMB)})
d <- read.csv(file.path(folder, paste0(name, ".csv")))
for (f in intersect(names(d), c("plate", "sample", "Nest", "BROOD", "INDEX", "LOCATION", "id",
                                "item", "site", "s", "d", "dept", "Subject", "herd", "batch")))
  d[[f]] <- factor(d[[f]])
X <- as.matrix(d[grep("^X[0-9]+$", names(d))])
say <- function(engine, fit) {
  gc(reset = TRUE); t <- system.time(l <- fit())
  cat(sprintf("%-10s wall %8.2f  CPU %8.2f s  peak %5.2f GB  log L %.6f\\n", engine,
              t[["elapsed"]], t[["user.self"]] + t[["sys.self"]], sum(gc()[, 6]) / 1000, l))
}
tmb <- function(formula, ...) say("glmmTMB", function()
  as.numeric(logLik(suppressWarnings(glmmTMB(formula, data = d, ...)))))
lmm <- function(formula) {
  say("lme4", function() as.numeric(logLik(suppressMessages(lmer(formula, d, REML = FALSE)))))
  tmb(formula)
}
glmm <- function(formula, family) {
  say("lme4", function() as.numeric(logLik(suppressWarnings(glmer(formula, d, family = family)))))
  tmb(formula, family = family)
}
switch(name,
  Penicillin = lmm(diameter ~ 1 + (1 | plate) + (1 | sample)),
  Owls = tmb(SiblingNegotiation ~ 0 + X + offset(log(BroodSize)) + (1 | Nest), family = nbinom2),
  grouseticks = glmm(TICKS ~ 0 + X + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION), poisson),
  VerbAgg = glmm(y ~ 0 + X + (1 | id) + (1 | item), binomial),
  Salamanders = tmb(count ~ 0 + X + (1 | site), ziformula = ~ factor(spp) + mined,
                    family = nbinom2),
  InstEval = lmm(y ~ 0 + X + (1 | s) + (1 | d) + (1 | dept)),
  sleepstudy = lmm(Reaction ~ Days + (Days | Subject)),
  cbpp = glmm(cbind(incidence, size - incidence) ~ 0 + X + (1 | herd), binomial),
  Pastes = lmm(strength ~ 1 + (1 | batch) + (1 | sample)),
  Item2PL = {
    file <- file.path(folder, "item2pl")
    writeLines(c("#include <TMB.hpp>", "template<class Type>",
      "Type objective_function<Type>::operator() () {",
      "DATA_MATRIX(y); PARAMETER_VECTOR(a); PARAMETER_VECTOR(b); PARAMETER_VECTOR(u); Type f = 0;",
      "for (int i = 0; i < y.rows(); i++) { f -= dnorm(u(i), Type(0), Type(1), true);",
      "for (int j = 0; j < y.cols(); j++)",
      "f -= dbinom_robust(y(i, j), Type(1), exp(a(j)) * (u(i) - b(j)), true); } return f; }"),
      paste0(file, ".cpp"))
    capture.output(compile(paste0(file, ".cpp"), flags = "-O1", libtmb = FALSE))
    dyn.load(dynlib(file))
    y <- matrix(d$y, ncol = length(unique(d$item)), byrow = TRUE)
    say("TMB", function() {
      start <- list(a = rep(0, ncol(y)), b = rep(0, ncol(y)), u = rep(0, nrow(y)))
      f <- MakeADFun(list(y = y), start, random = "u", DLL = "item2pl", silent = TRUE)
      -nlminb(f$par, f$fn, f$gr, control = list(iter.max = 500, eval.max = 500))$objective
    })
  })
"""


def simulate_2pl() -> pd.DataFrame:
    """Return answers of 500 persons to 20 items."""
    rng = np.random.default_rng(2)
    persons, items = 500, 20
    slope, difficulty = rng.lognormal(0, 0.3, items), rng.normal(0, 1, items)
    chance = 1 / (1 + np.exp(-slope * (rng.normal(size=(persons, 1)) - difficulty)))
    person, item = np.divmod(np.arange(persons * items), items)
    y = (rng.uniform(size=chance.shape) < chance).ravel().astype(int)
    return pd.DataFrame({"y": y, "person": person, "item": item})


def _design(d: pd.DataFrame) -> np.ndarray:
    return d[[name for name in d if name[0] == "X" and name[1:].isdigit()]].to_numpy(float)


def penicillin(pm, d):
    mu = pm.Normal("mu", 20, 10)
    sd = pm.HalfNormal("sd", 5, shape=2)
    plate, sample = (
        pm.Normal(f, 0, sd[i], shape=d[f].nunique()) for i, f in enumerate(["plate", "sample"])
    )
    sigma = pm.HalfNormal("sigma", 5)
    pm.Normal("y", mu + plate[d.plate] + sample[d["sample"]], sigma, observed=d.diameter)


def owls(pm, d):
    beta = pm.Normal("beta", 0, 5, shape=4)
    sd, alpha = pm.HalfNormal("sd", 2), pm.Exponential("alpha", 1)
    nest = pm.Normal("nest", 0, 1, shape=d.Nest.nunique())
    eta = _design(d) @ beta + sd * nest[d.Nest] + np.log(d.BroodSize.to_numpy())
    pm.NegativeBinomial("y", mu=pm.math.exp(eta), alpha=alpha, observed=d.SiblingNegotiation)


def grouseticks(pm, d):
    beta = pm.Normal("beta", 0, 5, shape=4)
    eta = _design(d) @ beta
    for f in ("BROOD", "INDEX", "LOCATION"):
        sd = pm.HalfNormal(f"sd_{f}", 2)
        eta = eta + pm.Normal(f, 0, sd, shape=d[f].nunique())[d[f]]
    pm.Poisson("y", pm.math.exp(eta), observed=d.TICKS)


def verbagg(pm, d):
    X = _design(d)
    beta, sd = pm.Normal("beta", 0, 5, shape=X.shape[1]), pm.HalfNormal("sd", 2, shape=2)
    person = pm.Normal("person", 0, sd[0], shape=d.id.nunique())
    item = pm.Normal("item", 0, sd[1], shape=d["item"].nunique())
    pm.Bernoulli("y", logit_p=X @ beta + person[d.id] + item[d["item"]], observed=d.y)


def salamanders(pm, d):
    X = _design(d)
    Z = np.column_stack([np.ones(len(d)), np.eye(7)[d.spp][:, 1:], d.mined])
    beta, gamma = pm.Normal("beta", 0, 3, shape=14), pm.Normal("gamma", 0, 3, shape=8)
    sd, alpha = pm.HalfNormal("sd", 2), pm.Exponential("alpha", 1)
    site = pm.Normal("site", 0, sd, shape=d.site.nunique())
    mu = pm.math.exp(X @ beta + site[d.site])
    psi = pm.math.invlogit(-(Z @ gamma))
    pm.ZeroInflatedNegativeBinomial("y", psi=psi, mu=mu, alpha=alpha, observed=d["count"])


def insteval(pm, d):
    beta, eta = pm.Normal("beta", 0, 5, shape=2), 0.0
    for f in ("s", "d", "dept"):
        sd = pm.HalfNormal(f"sd_{f}", 2)
        eta = eta + pm.Normal(f"u_{f}", 0, sd, shape=d[f].nunique())[d[f]]
    pm.Normal("y", _design(d) @ beta + eta, pm.HalfNormal("sigma", 2), observed=d.y)


def sleepstudy(pm, d):
    beta = pm.Normal("beta", 0, 300, shape=2)
    chol, _, _ = pm.LKJCholeskyCov(
        "chol", n=2, eta=1, sd_dist=pm.HalfNormal.dist(50, shape=2), compute_corr=True
    )
    z = pm.Normal("z", 0, 1, shape=(2, d.Subject.nunique()))
    u = pm.Deterministic("u", chol @ z)
    line = beta[0] + u[0][d.Subject] + (beta[1] + u[1][d.Subject]) * d.Days.to_numpy()
    pm.Normal("y", line, pm.HalfNormal("sigma", 50), observed=d.Reaction)


def cbpp(pm, d):
    beta, sd = pm.Normal("beta", 0, 5, shape=4), pm.HalfNormal("sd", 2)
    herd = pm.Normal("herd", 0, sd, shape=d.herd.nunique())
    eta = _design(d) @ beta + herd[d.herd]
    pm.Binomial("y", n=d["size"], logit_p=eta, observed=d.incidence)


def pastes(pm, d):
    mu, sd = pm.Normal("mu", 60, 20), pm.HalfNormal("sd", 5, shape=2)
    batch = pm.Normal("batch", 0, sd[0], shape=d.batch.nunique())
    cask = pm.Normal("cask", 0, sd[1], shape=d["sample"].nunique())
    sigma = pm.HalfNormal("sigma", 5)
    pm.Normal("y", mu + batch[d.batch] + cask[d["sample"]], sigma, observed=d.strength)


def item2pl(pm, d):
    n = d["item"].nunique()
    slope, difficulty = pm.LogNormal("slope", 0, 1, shape=n), pm.Normal("b", 0, 3, shape=n)
    person = pm.Normal("person", 0, 1, shape=d.person.nunique())
    eta = slope[d["item"]] * (person[d.person] - difficulty[d["item"]])
    pm.Bernoulli("y", logit_p=eta, observed=d.y)


MODELS: dict[str, Callable[..., None]] = {
    "Penicillin": penicillin,
    "Owls": owls,
    "grouseticks": grouseticks,
    "VerbAgg": verbagg,
    "Salamanders": salamanders,
    "Item2PL": item2pl,
    "sleepstudy": sleepstudy,
    "cbpp": cbpp,
    "Pastes": pastes,
    "InstEval": insteval,
}


def build(name: str, folder: str):
    """Return the PyMC model of a row of the table."""
    import pymc as pm

    d = pd.read_csv(f"{folder}/{name}.csv")
    d = d.astype({column: "int32" for column in d if d[column].dtype == "int64"})
    with pm.Model() as model:
        MODELS[name](pm, d)
    return model


def fit(name: str, folder: str) -> None:
    """One process: build, fit, print."""
    import pmlik

    model = build(name, folder)
    options = {"latent": ["person"]} if name == "Item2PL" else {}
    wall, cpu = time.perf_counter(), time.process_time()
    mle = pmlik.find_MLE(model, random_seed=1, progressbar=False, **options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    flags = ", ".join(flag.code.name for flag in mle.flags)
    print(
        f"wall {wall:8.2f}  CPU {cpu:8.2f} s  peak {peak:5.2f} GB  log L {mle.log_likelihood:.6f}  "
        f"{mle.certificate.n_gradients} gradients, {mle.certificate.n_products} products, "
        f"converged {mle.certificate.converged}  [{flags}]",
        flush=True,
    )


def run(name: str, folder: str, *, warm: bool, cache: str) -> None:
    """A process of its own, with an empty cache or the one that the last has filled."""
    flags = os.environ.get("PYTENSOR_FLAGS", "")
    environment = os.environ | {
        "PYTENSOR_FLAGS": ",".join(filter(None, [flags, f"base_compiledir={cache}"])),
        "NUMBA_CACHE_DIR": f"{cache}/numba",
    }
    print(f"pmlik {'warm' if warm else 'cold'} ", end="", flush=True)
    command = [sys.executable, __file__, name, "--alone", folder]
    subprocess.run(command, env=environment, check=False)


def main() -> None:
    """All rows, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*MODELS, []], help="default: all")
    parser.add_argument("--warm", action="store_true", help="no cold run")
    parser.add_argument("--alone", metavar="FOLDER", help="fit in this process, once")
    arguments = parser.parse_args()
    rows = arguments.rows or list(MODELS)
    if arguments.alone:
        fit(rows[0], arguments.alone)
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/export.R").write_text(EXPORT)
        Path(f"{folder}/fit.R").write_text(FIT)
        subprocess.run(["Rscript", f"{folder}/export.R", folder], check=True)
        simulate_2pl().to_csv(f"{folder}/Item2PL.csv", index=False)
        for name in rows:
            print(f"\n{name}", flush=True)
            subprocess.run(["Rscript", f"{folder}/fit.R", name, folder], check=False)
            with tempfile.TemporaryDirectory() as cache:
                for warm in (False, True):
                    if warm or not arguments.warm:
                        run(name, folder, warm=warm, cache=cache)


if __name__ == "__main__":
    main()
