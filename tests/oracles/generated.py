"""Models made up at random, with their likelihood and priors from SciPy: `make_model(seed)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray
from scipy import special, stats

N_DRAWS = 200

Array = NDArray[np.float64]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Prior:
    """How to make a prior in PyMC, and the same in SciPy; an improper one is drawn from ``law``."""

    make: Callable[..., Any]
    law: Any
    proper: bool = True

    @property
    def is_dirichlet(self) -> bool:
        return hasattr(self.law, "alpha")

    @property
    def is_bounded(self) -> bool:
        return self.is_dirichlet or bool(np.isfinite(self.law.support()).all())

    def log(self, values: Array) -> float:
        if self.is_dirichlet:  # SciPy refuses what is an ulp off the simplex
            alpha = self.law.alpha
            constant = special.gammaln(alpha.sum()) - special.gammaln(alpha).sum()
            return float(constant + special.xlogy(alpha - 1, values).sum())
        if self.proper:
            return float(np.sum(self.law.logpdf(values)))
        return 0.0


@dataclass
class Generated:
    """A model with its likelihood and its priors as SciPy has them.

    ``regular``: plenty of well-behaved data and priors without edges, so that there is an
    optimum inside and no reason for a warning. ``smooth``: without kinks.
    """

    model: pm.Model
    about: str
    log_likelihood: Callable[[Values], float]
    priors: dict[str, Prior]
    shapes: dict[str, tuple[int, ...]]
    regular: bool
    smooth: bool

    def draws(self, rng: np.random.Generator) -> dict[str, Array]:
        """From the prior, independent of PyMC."""
        found = {}
        for name, prior in self.priors.items():
            shape = () if prior.is_dirichlet else self.shapes[name]
            found[name] = prior.law.rvs(size=(N_DRAWS, *shape), random_state=rng)
        return found

    def log_prior(self, values: Values) -> float:
        return sum(prior.log(values[name]) for name, prior in self.priors.items())


@dataclass
class Draft:
    """What the parts of a generator share."""

    rng: np.random.Generator
    priors: dict[str, Prior] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    edges: bool = False

    def choose(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def add(self, name: str, prior: Prior, dims: Any = None, shape: tuple[int, ...] = ()) -> Any:
        self.priors[name], self.shapes[name] = prior, shape
        return prior.make(name, dims=dims) if dims else prior.make(name)

    def real(self, name: str, dims: Any = None, shape: tuple[int, ...] = ()) -> Any:
        width = float(self.choose([0.3, 1.0, 3.0, 10.0, 100.0]))
        kind = self.choose(["Normal", "Normal", "Normal", "StudentT", "Cauchy", "Uniform", "Flat"])
        prior = {
            "Normal": Prior(lambda n, **k: pm.Normal(n, 0, width, **k), stats.norm(0, width)),
            "StudentT": Prior(
                lambda n, **k: pm.StudentT(n, nu=3, mu=0, sigma=width, **k),
                stats.t(3, 0, width),
            ),
            "Cauchy": Prior(lambda n, **k: pm.Cauchy(n, 0, width, **k), stats.cauchy(0, width)),
            "Uniform": Prior(
                lambda n, **k: pm.Uniform(n, -width, width, **k), stats.uniform(-width, 2 * width)
            ),
            "Flat": Prior(lambda n, **k: pm.Flat(n, **k), stats.norm(0, 5), proper=False),
        }[kind]
        self.edges |= kind == "Uniform" and width < 10
        self.notes.append(f"{name}~{kind}({width:g})")
        return self.add(name, prior, dims, shape)

    def positive(self, name: str, dims: Any = None, shape: tuple[int, ...] = ()) -> Any:
        width = float(self.choose([0.5, 1.0, 5.0, 50.0]))
        kind = self.choose(
            ["HalfNormal", "HalfNormal", "Exponential", "Gamma", "LogNormal", "Uniform", "HalfFlat"]
        )
        prior = {
            "HalfNormal": Prior(
                lambda n, **k: pm.HalfNormal(n, width, **k), stats.halfnorm(scale=width)
            ),
            "Exponential": Prior(
                lambda n, **k: pm.Exponential(n, scale=width, **k), stats.expon(scale=width)
            ),
            "Gamma": Prior(
                lambda n, **k: pm.Gamma(n, alpha=2, beta=1 / width, **k),
                stats.gamma(2, scale=width),
            ),
            "LogNormal": Prior(
                lambda n, **k: pm.LogNormal(n, 0, width, **k), stats.lognorm(s=width)
            ),
            "Uniform": Prior(lambda n, **k: pm.Uniform(n, 0, width, **k), stats.uniform(0, width)),
            "HalfFlat": Prior(lambda n, **k: pm.HalfFlat(n, **k), stats.expon(scale=3), False),
        }[kind]
        self.edges |= kind == "Uniform"
        self.notes.append(f"{name}~{kind}({width:g})")
        return self.add(name, prior, dims, shape)

    def unit(self, name: str, dims: Any = None, shape: tuple[int, ...] = ()) -> Any:
        a, b = map(float, self.choose([(1, 1), (2, 2), (0.5, 0.5), (1, 9), (20, 20)]))
        self.notes.append(f"{name}~Beta({a:g},{b:g})")
        return self.add(
            name, Prior(lambda n, **k: pm.Beta(n, a, b, **k), stats.beta(a, b)), dims, shape
        )


@dataclass(frozen=True)
class Family:
    """Observations around one location: ``law`` in SciPy, ``observe`` in PyMC."""

    links: tuple[str, ...]
    extras: tuple[str, ...]
    law: Callable[..., Any]
    observe: Callable[..., Any]
    discrete: bool = False
    regular: bool = False
    offset: float = 0.0


TRIALS = 12
FAMILIES: dict[str, Family] = {
    "Normal": Family(
        ("identity",),
        ("sigma",),
        lambda m, sigma: stats.norm(m, sigma),
        lambda y, m, sigma: pm.Normal("y", m, sigma, observed=y),
        regular=True,
    ),
    "StudentT": Family(
        ("identity",),
        ("sigma",),
        lambda m, sigma: stats.t(4, m, sigma),
        lambda y, m, sigma: pm.StudentT("y", nu=4, mu=m, sigma=sigma, observed=y),
    ),
    "StudentT, nu free": Family(
        ("identity",),
        ("sigma", "nu"),
        lambda m, sigma, nu: stats.t(nu, m, sigma),
        lambda y, m, sigma, nu: pm.StudentT("y", nu=nu, mu=m, sigma=sigma, observed=y),
    ),
    "Laplace": Family(
        ("identity",),
        ("scale",),
        lambda m, scale: stats.laplace(m, scale),
        lambda y, m, scale: pm.Laplace("y", m, scale, observed=y),
    ),
    "Gamma": Family(
        ("log",),
        ("alpha",),
        lambda m, alpha: stats.gamma(alpha, scale=m / alpha),
        lambda y, m, alpha: pm.Gamma("y", alpha=alpha, beta=alpha / m, observed=y),
        regular=True,
    ),
    "Exponential": Family(
        ("log",),
        (),
        lambda m: stats.expon(scale=m),
        lambda y, m: pm.Exponential("y", scale=m, observed=y),
        regular=True,
    ),
    "LogNormal": Family(
        ("identity",),
        ("sigma",),
        lambda m, sigma: stats.lognorm(s=sigma, scale=np.exp(m)),
        lambda y, m, sigma: pm.LogNormal("y", m, sigma, observed=y),
        regular=True,
    ),
    "Weibull": Family(
        ("log",),
        ("alpha",),
        lambda m, alpha: stats.weibull_min(alpha, scale=m),
        lambda y, m, alpha: pm.Weibull("y", alpha=alpha, beta=m, observed=y),
        regular=True,
    ),
    "Poisson": Family(
        ("log",),
        (),
        lambda m: stats.poisson(m),
        lambda y, m: pm.Poisson("y", m, observed=y),
        discrete=True,
    ),
    "NegativeBinomial": Family(
        ("log",),
        ("alpha",),
        lambda m, alpha: stats.nbinom(alpha, alpha / (alpha + m)),
        lambda y, m, alpha: pm.NegativeBinomial("y", mu=m, alpha=alpha, observed=y),
        discrete=True,
    ),
    "Binomial": Family(
        ("logit", "probit", "cloglog"),
        (),
        lambda m: stats.binom(TRIALS, m),
        lambda y, m: pm.Binomial("y", n=TRIALS, p=m, observed=y),
        discrete=True,
    ),
    "Bernoulli": Family(
        ("logit", "probit", "cloglog"),
        (),
        lambda m: stats.binom(1, m),
        lambda y, m: pm.Bernoulli("y", p=m, observed=y),
        discrete=True,
    ),
    "Beta": Family(
        ("logit", "probit"),
        ("phi",),
        lambda m, phi: stats.beta(m * phi, (1 - m) * phi),
        lambda y, m, phi: pm.Beta("y", alpha=m * phi, beta=(1 - m) * phi, observed=y),
    ),
}
INVERSE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "identity": (lambda e: e, lambda e: e),
    "log": (pt.exp, np.exp),
    "logit": (pm.math.invlogit, special.expit),
    "probit": (pm.math.invprobit, special.ndtr),
    "cloglog": (lambda e: 1 - pt.exp(-pt.exp(e)), lambda e: -np.expm1(-np.exp(e))),
}
#: What may be odd about the data; mostly nothing.
ODDITIES = [None] * 7 + ["constant", "rounded", "separation", "collinear", "tiny"]


def _log_density(law: Any, y: Array) -> Array:
    return np.asarray(law.logpmf(y) if hasattr(law.dist, "pmf") else law.logpdf(y))


def _design(draft: Draft, n: int, k: int) -> Array:
    X = draft.rng.normal(size=(n, k)) * draft.rng.choice([1, 1, 1, 100, 0.01], size=k)
    return X + draft.choose([0, 0, 0, 5])


def _predictor(
    draft: Draft, link: str, n: int, odd: str | None
) -> tuple[Any, Callable[[Values], Array], Array, Array | None]:
    """Linear predictor in PyMC and in NumPy, its true value, and the covariates."""
    rng, shape = draft.rng, draft.choose(["scalar", "groups", "regression", "regression"])
    if odd in ("separation", "collinear"):
        shape = "regression"
    draft.notes.append(shape)
    if shape == "scalar":
        a = draft.real("a")
        return a, lambda v: v["a"] * np.ones(n), np.full(n, rng.normal()), None
    if shape == "groups":
        groups = int(rng.integers(2, 6))
        pm.modelcontext(None).add_coord("group", [f"g{i}" for i in range(groups)])
        at = np.arange(n) % groups
        a = draft.real("a", "group", (groups,))
        return a[at], lambda v: v["a"][at], rng.normal(size=groups)[at], None
    k = int(rng.integers(1, 6))
    X = _design(draft, n, k)
    if odd == "collinear":
        X[:, -1] = 1.0 if k == 1 or rng.random() < 0.5 else 2 * X[:, 0]
    pm.modelcontext(None).add_coord("covariate", [f"x{i}" for i in range(k)])
    a = draft.real("a")
    b = draft.real("b", "covariate", (k,))
    scaled = X / np.maximum(1e-3, np.abs(X).max(axis=0))
    truth = 0.5 * rng.normal() + scaled @ rng.normal(size=k)
    return a + pt.dot(X, b), lambda v: v["a"] + X @ v["b"], truth, X


def _spoil(draft: Draft, odd: str | None, y: Array, discrete: bool, X: Array | None) -> Array:
    if odd == "constant":
        return np.zeros_like(y) if discrete else np.full_like(y, y[0])
    if odd == "rounded" and not discrete:
        return np.maximum(np.round(y, 1), 0.1) if (y > 0).all() else np.round(y, 0)
    if odd == "separation" and discrete and X is not None:
        return np.where(X[:, 0] > np.median(X[:, 0]), y.max(), 0)
    return y


def _one_location(draft: Draft, name: str, n: int, odd: str | None) -> tuple[Any, bool]:
    family = FAMILIES[name]
    link = draft.choose(family.links)
    draft.notes.append(link)
    eta, numbers, truth, X = _predictor(draft, link, n, odd)
    symbolic, numeric = INVERSE[link]
    extras = {extra: draft.positive(extra) for extra in family.extras}
    scales = {extra: float(np.exp(draft.rng.normal(0.5, 0.5))) for extra in family.extras}
    y = family.law(numeric(truth), **scales).rvs(size=n, random_state=draft.rng).astype(float)
    if name == "Beta":
        y = np.clip(y, 1e-3, 1 - 1e-3)
    if name == "Weibull":
        y = np.maximum(y, 1e-3)
    y = _spoil(draft, odd, y, family.discrete, X)
    if name == "Beta":
        y = np.clip(y, 1e-3, 1 - 1e-3)
    family.observe(y, symbolic(eta), **extras)

    def log_likelihood(values: Values) -> float:
        law = family.law(numeric(numbers(values)), **{e: values[e] for e in family.extras})
        return float(np.sum(_log_density(law, y)))

    n_parameters = sum(int(np.prod(shape)) for shape in draft.shapes.values())
    return log_likelihood, family.regular and n >= 20 * n_parameters


def _direct(draft: Draft, name: str, n: int, odd: str | None) -> tuple[Any, bool]:
    """No link: a rate or a probability with a prior of its own, per group or for all."""
    rng = draft.rng
    groups = int(rng.integers(2, 6)) if rng.random() < 0.6 else 0
    dims: Any = None
    if groups:
        pm.modelcontext(None).add_coord("group", [f"g{i}" for i in range(groups)])
        dims = "group"
    shape = (groups,) if groups else ()
    at = np.arange(n) % max(groups, 1)
    if name == "rate":
        theta = draft.positive("theta", dims, shape)
        y = rng.poisson(rng.gamma(2, 2, size=max(groups, 1))[at]).astype(float)
        y = _spoil(draft, odd, y, True, None)
        pm.Poisson("y", theta[at] if groups else theta, observed=y)
        law = stats.poisson
    else:
        theta = draft.unit("theta", dims, shape)
        y = rng.binomial(TRIALS, rng.beta(1, 2, size=max(groups, 1))[at]).astype(float)
        y = _spoil(draft, odd, y, True, None)
        pm.Binomial("y", TRIALS, theta[at] if groups else theta, observed=y)

        def law(p: Array) -> Any:
            return stats.binom(TRIALS, p)

    return lambda v: float(np.sum(law(np.atleast_1d(v["theta"])[at]).logpmf(y))), False


def _softmax(draft: Draft, n: int, odd: str | None) -> tuple[Any, bool]:
    rng, classes = draft.rng, int(draft.rng.integers(3, 5))
    pm.modelcontext(None).add_coord("class", [f"c{i}" for i in range(1, classes)])
    a = draft.real("a", "class", (classes - 1,))
    k = int(rng.integers(0, 3))
    X = _design(draft, n, k)
    eta = a[None, :] + pt.zeros((n, 1))
    if k:
        pm.modelcontext(None).add_coord("covariate", [f"x{i}" for i in range(k)])
        b = draft.real("b", ("covariate", "class"), (k, classes - 1))
        eta = eta + pt.dot(X, b)
    y = rng.integers(classes, size=n) if odd != "constant" else np.zeros(n, int)
    logits = pt.concatenate([pt.zeros((n, 1)), eta], axis=1)
    pm.Categorical("y", logit_p=logits, observed=y)

    def log_likelihood(v: Values) -> float:
        shifted = v["a"][None, :] + (X @ v["b"] if k else np.zeros((n, 1)))
        return float(special.log_softmax(np.c_[np.zeros(n), shifted], axis=1)[range(n), y].sum())

    return log_likelihood, False


def _simplex(draft: Draft, n: int, odd: str | None) -> tuple[Any, bool]:
    rng, classes = draft.rng, int(draft.rng.integers(3, 6))
    concentration = np.full(classes, float(draft.choose([0.5, 1, 2, 10])))
    pm.modelcontext(None).add_coord("class", range(classes))
    p = draft.add(
        "p",
        Prior(lambda n, **k: pm.Dirichlet(n, concentration, **k), stats.dirichlet(concentration)),
        "class",
        (classes,),
    )
    draft.notes.append(f"p~Dirichlet({concentration[0]:g})")
    y = rng.multinomial(TRIALS, rng.dirichlet(np.ones(classes)), size=n)
    if odd == "constant":
        y = np.zeros_like(y) + TRIALS * np.eye(classes, dtype=int)[0]
    pm.Multinomial("y", n=TRIALS, p=p, observed=y)
    regular = bool((y.sum(axis=0) > 0).all())
    return lambda v: float(stats.multinomial(TRIALS, v["p"]).logpmf(y).sum()), regular


def _mv_normal(draft: Draft, n: int, odd: str | None) -> tuple[Any, bool]:
    rng = draft.rng
    pm.modelcontext(None).add_coord("axis", ["u", "v"])
    mu = draft.real("mu", "axis", (2,))
    sigma = draft.positive("sigma", "axis", (2,))
    rho = draft.add(
        "rho", Prior(lambda n, **k: pm.Uniform(n, -1, 1, **k), stats.uniform(-1, 2)), None, ()
    )
    corr = pt.stack([pt.stack([1.0, rho]), pt.stack([rho, 1.0])])
    true = float(rng.uniform(-0.9, 0.9))
    y = rng.multivariate_normal(rng.normal(size=2), [[1, true], [true, 1]], size=n)
    if odd == "constant":
        y[:, 1] = 2 * y[:, 0]
    pm.MvNormal("y", mu, cov=corr * sigma[:, None] * sigma[None, :], observed=y)

    def log_likelihood(v: Values) -> float:
        s, r = v["sigma"], float(v["rho"])
        cov = np.array([[1, r], [r, 1]]) * np.outer(s, s)
        return float(np.sum(stats.multivariate_normal(v["mu"], cov).logpdf(y)))

    return log_likelihood, n >= 100


def _censored(draft: Draft, n: int, odd: str | None) -> tuple[Any, bool]:
    rng, weibull = draft.rng, draft.rng.random() < 0.5
    eta, numbers, truth, _ = _predictor(draft, "identity", n, odd)
    if weibull:
        alpha = draft.positive("alpha")
        y, scale = rng.weibull(1.5, size=n) * np.exp(truth), np.exp
        dist = pm.Weibull.dist(alpha=alpha, beta=pt.exp(eta))
    else:
        sigma = draft.positive("sigma")
        y, scale = rng.normal(truth, 1.0), np.asarray
        dist = pm.Normal.dist(eta + pt.zeros(n), sigma)
    draft.notes.append("Weibull" if weibull else "Normal")
    top = float(np.quantile(y, draft.choose([0.3, 0.7, 0.9]))) if odd != "constant" else y.min()
    y = np.minimum(y, top)
    pm.Censored("y", dist, lower=None, upper=top, observed=y)

    def log_likelihood(v: Values) -> float:
        at = scale(numbers(v))
        law = stats.weibull_min(v["alpha"], scale=at) if weibull else stats.norm(at, v["sigma"])
        return float(np.sum(np.where(y < top, law.logpdf(y), law.logsf(y))))

    return log_likelihood, False


SPECIAL: dict[str, Callable[[Draft, int, str | None], tuple[Any, bool]]] = {
    "rate": lambda d, n, odd: _direct(d, "rate", n, odd),
    "probability": lambda d, n, odd: _direct(d, "probability", n, odd),
    "softmax": _softmax,
    "simplex": _simplex,
    "MvNormal": _mv_normal,
    "Censored": _censored,
}
KINDS = [*FAMILIES, *SPECIAL]


def make_model(seed: int) -> Generated:
    """A model and its data, the same for the same seed; the kinds take turns."""
    draft = Draft(np.random.default_rng(seed))
    kind = KINDS[seed % len(KINDS)]
    odd = draft.choose(ODDITIES)
    n = 3 if odd == "tiny" else int(draft.choose([8, 20, 60, 60, 200, 200]))
    with pm.Model() as model:
        if kind in FAMILIES:
            log_likelihood, plenty = _one_location(draft, kind, n, odd)
        else:
            log_likelihood, plenty = SPECIAL[kind](draft, n, odd)
    about = ", ".join([f"seed {seed}: {kind}", f"n={n}", f"odd={odd}", *draft.notes])
    regular = plenty and odd is None and not draft.edges
    return Generated(
        model, about, log_likelihood, draft.priors, draft.shapes, regular, kind != "Laplace"
    )
