"""Models at random of the kinds that are wrong most easily: `make_kind(seed)`.

Borders beside interiors at scales from 1e-4 to 1e4, restricted latents, angles, densities without
their constant, components that merge, data in Potentials. Likelihoods and priors are SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy import linalg, optimize, special, stats

from oracles.generated import Array, Draft, Generated, Prior, Values

N_STARTS = 20
LogLikelihood = Callable[[Values], float]


# Plain formulas, since SciPy's distributions take a hundred times as long.


def _normal(y: Array, mean: Any, sd: Any) -> float:
    return float(np.sum(-0.5 * ((y - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)))


def _normals(y: Array, mean: Array) -> Array:
    return -0.5 * (y - mean) ** 2 - 0.5 * np.log(2 * np.pi)


def _poisson(y: Array, rate: Any) -> Array:
    return special.xlogy(y, rate) - rate - special.gammaln(y + 1)


def _binomial(y: Array, n: Array, p: Array) -> float:
    ways = special.gammaln(n + 1) - special.gammaln(y + 1) - special.gammaln(n - y + 1)
    return float(np.sum(ways + special.xlogy(y, p) + special.xlog1py(n - y, -p)))


def _weibull(y: Array, alpha: Any, beta: Any) -> float:
    u = y / beta
    return float(np.sum(np.log(alpha / beta) + (alpha - 1) * np.log(u) - u**alpha))


# --- Priors ---------------------------------------------------------------------------------------


def _real(draft: Draft, name: str, width: float, shape: tuple[int, ...] = ()) -> Any:
    law = stats.norm(0, width)
    return draft.add(name, Prior(lambda n: pm.Normal(n, 0, width, shape=shape), law), None, shape)


def _positive(draft: Draft, name: str, width: float, shape: tuple[int, ...] = ()) -> Any:
    makers = {
        "HalfNormal": (
            lambda n: pm.HalfNormal(n, width, shape=shape),
            stats.halfnorm(scale=width),
        ),
        "Exponential": (
            lambda n: pm.Exponential(n, scale=width, shape=shape),
            stats.expon(scale=width),
        ),
        "Uniform": (
            lambda n: pm.Uniform(n, 0, 9 * width, shape=shape),
            stats.uniform(0, 9 * width),
        ),
    }
    kind = draft.choose(["HalfNormal", "HalfNormal", "Exponential", "Uniform"])
    draft.notes.append(f"{name}~{kind}({width:.3g})")
    make, law = makers[kind]
    return draft.add(name, Prior(make, law), None, shape)


def _angle(draft: Draft, name: str) -> Any:
    kappa = float(draft.choose([0.01, 0.1, 1.0]))
    return draft.add(name, Prior(lambda n: pm.VonMises(n, 0, kappa), stats.vonmises(kappa)))


def _scale(draft: Draft) -> float:
    return float(10 ** draft.rng.uniform(-4, 4))


# --- Borders beside interiors ---------------------------------------------------------------------


def _means_above_zero(draft: Draft) -> tuple[LogLikelihood, bool]:
    data = []
    for k in range(int(draft.rng.integers(2, 5))):
        s, n = _scale(draft), int(draft.rng.integers(3, 12))
        y = s * draft.rng.normal(draft.choose([-0.5, -0.1, 0.3, 1.0, 5.0]), 1.0, n)
        a = _positive(draft, f"a{k}", draft.choose([10.0, 100.0]) * s)
        pm.Normal(f"y{k}", a, s, observed=y)
        data.append((s, y))

    def log_likelihood(v: Values) -> float:
        return sum(_normal(y, v[f"a{k}"], s) for k, (s, y) in enumerate(data))

    return log_likelihood, True


def _rare_counts(draft: Draft) -> tuple[LogLikelihood, bool]:
    k = int(draft.rng.integers(2, 5))
    exposure = 10 ** draft.rng.uniform(-2, 5, k)
    y = np.array([draft.choose([0, 0, 1, 2, 30]) for _ in range(k)])
    if draft.rng.random() < 0.5:
        rate = _positive(draft, "rate", 10.0, (k,))
        pm.Poisson("y", exposure * rate, observed=y)
        return lambda v: float(_poisson(y, exposure * v["rate"]).sum()), True
    n = np.ceil(exposure).astype(int) + 40
    law = stats.beta(1, 1)
    p = draft.add("p", Prior(lambda name: pm.Beta(name, 1, 1, shape=k), law), None, (k,))
    pm.Binomial("y", n, p, observed=y)
    return lambda v: _binomial(y, n, v["p"]), True


def _nonnegative_slopes(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, k, s = 25, int(draft.rng.integers(2, 4)), _scale(draft)
    units = 10 ** draft.rng.uniform(-3, 3, k)
    X = draft.rng.gamma(2, 1, (n, k)) / units
    true = np.array([draft.choose([-0.3, 0.0, 0.5, 1.0]) for _ in range(k)]) * units
    y = s * (X @ true + draft.rng.normal(size=n))
    b = [_positive(draft, f"b{j}", 30 * s * units[j]) for j in range(k)]
    sigma = _positive(draft, "sigma", 5 * s)
    pm.Normal("y", sum(X[:, j] * b[j] for j in range(k)), sigma, observed=y)

    def log_likelihood(v: Values) -> float:
        eta = X @ np.array([v[f"b{j}"] for j in range(k)])
        return _normal(y, eta, v["sigma"])

    return log_likelihood, True


def _variance_components(draft: Draft) -> tuple[LogLikelihood, bool]:
    s, groups, each = _scale(draft), int(draft.rng.integers(5, 12)), int(draft.rng.integers(3, 6))
    effect = draft.choose([0.0, 0.1, 1.0, 5.0])
    y = s * (effect * draft.rng.normal(size=(groups, 1)) + draft.rng.normal(size=(groups, each)))
    mu = _real(draft, "mu", 10 * s)
    tau, sigma = _positive(draft, "tau", 5 * s), _positive(draft, "sigma", 5 * s)
    u = pm.Normal("u", 0, tau, shape=groups)
    pm.Normal("y", mu + u[:, None], sigma, observed=y)

    def log_likelihood(v: Values) -> float:
        cov = v["sigma"] ** 2 * np.eye(each) + v["tau"] ** 2
        try:
            factor = linalg.cho_factor(cov)
        except (linalg.LinAlgError, ValueError):
            return -np.inf
        away = (y - v["mu"]).T
        log_det = 2 * np.log(np.diag(factor[0])).sum()
        square = float((away * linalg.cho_solve(factor, away)).sum())
        return -0.5 * (square + groups * (log_det + each * np.log(2 * np.pi)))

    return log_likelihood, True


# --- Restricted and ordered latents ---------------------------------------------------------------


def _censored_latents(draft: Draft) -> tuple[LogLikelihood, bool]:
    """Values that are known to lie above, below or between cuts, as missing values."""
    s, n = _scale(draft), int(draft.choose([30, 80]))
    low, high = draft.choose([(None, 0.8), (-0.7, None), (-0.7, 0.8)])
    z = draft.rng.normal(size=n)
    about = draft.choose(["Normal", "Weibull"])
    if about == "Weibull":
        z, low, high = np.abs(z) + 0.01, None, 1.0
    seen = z[(z > (-np.inf if low is None else low)) & (z < (np.inf if high is None else high))]
    interval = pm.distributions.transforms.Interval
    outside = []
    if about == "Normal":
        mu, sigma = _real(draft, "mu", 5 * s), _positive(draft, "sigma", 5 * s)
        make = lambda name, **k: pm.Normal(name, mu, sigma, **k)  # noqa: E731
    else:
        alpha, beta = _positive(draft, "alpha", 3.0), _positive(draft, "beta", 5 * s)
        make = lambda name, **k: pm.Weibull(name, alpha, beta, **k)  # noqa: E731
    for name, cut, side in (("above", high, 1), ("below", low, -1)):
        m = 0 if cut is None else int((side * z >= side * cut).sum())
        if m:
            ends = (s * cut, None) if side > 0 else (None, s * cut)
            at = np.full(m, s * (cut + side))
            make(name, shape=m, initval=at, transform=interval(*ends), default_transform=None)
            outside.append((s * cut, side, m))
    make("y", observed=s * seen)

    def log_likelihood(v: Values) -> float:
        if about == "Weibull":
            found = _weibull(s * seen, v["alpha"], v["beta"])
            return found - sum(m * (cut / v["beta"]) ** v["alpha"] for cut, _, m in outside)
        beyond = (
            m * special.log_ndtr(side * (v["mu"] - cut) / v["sigma"]) for cut, side, m in outside
        )
        return _normal(s * seen, v["mu"], v["sigma"]) + float(sum(beyond))

    return log_likelihood, True


def _thresholds(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, cuts = 150, int(draft.rng.integers(2, 4))
    x = draft.rng.normal(size=n)
    edges = np.sort(draft.rng.normal(0, 1.5, cuts))
    y = np.digitize(0.7 * x + draft.rng.logistic(size=n), edges)
    y[: cuts + 1] = np.arange(cuts + 1)  # every class is there
    b = _real(draft, "b", 3.0)
    at = np.linspace(-1, 1, cuts)
    law = stats.norm(at, 5.0)
    ordered = pm.distributions.transforms.ordered
    cut = draft.add(
        "cut",
        Prior(lambda name: pm.Normal(name, at, 5.0, transform=ordered, initval=at), law),
        None,
        (cuts,),
    )
    pm.OrderedLogistic("y", eta=b * x, cutpoints=cut, observed=y, compute_p=False)

    def log_likelihood(v: Values) -> float:
        if (np.diff(v["cut"]) < 0).any():
            return -np.inf
        below = special.expit(np.r_[-np.inf, v["cut"], np.inf][None] - (v["b"] * x)[:, None])
        return float(np.log(np.maximum(np.diff(below, axis=1), 0)[np.arange(n), y]).sum())

    return log_likelihood, True


# --- Angles ---------------------------------------------------------------------------------------


def _directions(draft: Draft) -> tuple[LogLikelihood, bool]:
    n = int(draft.choose([20, 60]))
    centre, x = draft.rng.uniform(-np.pi, np.pi), draft.rng.normal(size=n)
    concentrated, slope = draft.choose([3.0, 20.0]), draft.choose([0.0, 0.2])
    y = centre + slope * x + draft.rng.vonmises(0, concentrated, n)
    y = (y + np.pi) % (2 * np.pi) - np.pi
    mu, kappa = _angle(draft, "mu"), _positive(draft, "kappa", 30.0)
    b = _real(draft, "b", 0.3) if slope else 0.0
    pm.VonMises("y", mu + b * x, kappa, observed=y)

    def log_likelihood(v: Values) -> float:
        eta = v["mu"] + v.get("b", 0.0) * x
        k = v["kappa"]
        return float(np.sum(k * (np.cos(y - eta) - 1) - np.log(2 * np.pi * special.i0e(k))))

    return log_likelihood, True


def _phase(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, s = 40, _scale(draft)
    t = draft.rng.uniform(0, 20, n)
    true = draft.rng.uniform(-np.pi, np.pi)
    y = s * (2 * np.cos(t + true) + 0.5 * draft.rng.normal(size=n))
    phase, amplitude = _angle(draft, "phase"), _positive(draft, "amplitude", 5 * s)
    sigma = _positive(draft, "sigma", 5 * s)
    pm.Normal("y", amplitude * pt.cos(t + phase), sigma, observed=y)

    def log_likelihood(v: Values) -> float:
        mean = v["amplitude"] * np.cos(t + v["phase"])
        return _normal(y, mean, v["sigma"])

    return log_likelihood, True


# --- Densities that PyMC leaves without their constant --------------------------------------------


def _spatial(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, times = 10, 6
    W = np.roll(np.eye(n), 1, 0) + np.roll(np.eye(n), -1, 0)
    alpha = draft.choose([0.0, 0.5, 0.9])
    tau_true = draft.choose([0.5, 5.0])
    precision = np.diag(W.sum(axis=0)) - alpha * W
    root = np.linalg.cholesky(np.linalg.inv(tau_true * precision))
    y = 3 + root @ draft.rng.normal(size=n) + draft.rng.normal(size=(times, n))
    mu, tau = _real(draft, "mu", 10.0), _positive(draft, "tau", 20.0)
    u = pm.CAR("u", mu=np.zeros(n), W=W, alpha=alpha, tau=tau)
    pm.Normal("y", mu + u, 1.0, observed=y)
    values, vectors = np.linalg.eigh(np.linalg.inv(precision))
    centre = y.mean(axis=0)
    within = _normal(y, centre, 1.0) + n / 2 * np.log(2 * np.pi / times)

    def log_likelihood(v: Values) -> float:
        variance = values / v["tau"] + 1 / times
        return within + _normal(vectors.T @ (centre - v["mu"]), 0.0, np.sqrt(variance))

    return log_likelihood, False


# --- Components that merge or vanish --------------------------------------------------------------


def _decays(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, k = 24, int(draft.choose([2, 2, 3]))
    t = np.linspace(0, 5, n)
    rates = np.sort(draft.rng.uniform(0.1, 5, k))
    noise = float(draft.choose([0.3, 0.03, 0.003]))
    y = np.exp(-np.outer(t, rates)) @ draft.rng.uniform(0.3, 3, k) + noise * draft.rng.normal(
        size=n
    )
    a, b = _positive(draft, "a", 3.0, (k,)), _positive(draft, "b", 3.0, (k,))
    pm.Normal("y", pt.dot(pt.exp(-t[:, None] * b[None, :]), a), noise, observed=y)

    def log_likelihood(v: Values) -> float:
        mean = np.exp(-np.outer(t, v["b"])) @ v["a"]
        return _normal(y, mean, noise)

    return log_likelihood, False


def _normal_mixture(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, away = int(draft.choose([40, 120])), draft.choose([0.0, 1.0, 3.0])
    y = draft.rng.normal(away * (draft.rng.random(n) < 0.4), 1.0)
    mu = _real(draft, "mu", 3.0, (2,))
    w = draft.add("w", Prior(lambda name: pm.Beta(name, 1, 1), stats.beta(1, 1)))
    parts = [pm.Normal.dist(mu[0], 1.0), pm.Normal.dist(mu[1], 1.0)]
    pm.Mixture("y", w=pt.stack([w, 1 - w]), comp_dists=parts, observed=y)

    def log_likelihood(v: Values) -> float:
        with np.errstate(divide="ignore"):
            weights = np.log([v["w"], 1 - v["w"]])
        terms = weights[:, None] + _normals(y[None], v["mu"][:, None])
        return float(special.logsumexp(terms, axis=0).sum())

    return log_likelihood, False


def _poisson_mixture(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, high = 60, draft.choose([2.0, 4.0, 12.0])
    y = draft.rng.poisson(np.where(draft.rng.random(n) < 0.5, 2.0, high))
    rate = _positive(draft, "rate", 10.0, (2,))
    w = draft.add("w", Prior(lambda name: pm.Beta(name, 1, 1), stats.beta(1, 1)))
    parts = [pm.Poisson.dist(rate[0]), pm.Poisson.dist(rate[1])]
    pm.Mixture("y", w=pt.stack([w, 1 - w]), comp_dists=parts, observed=y)

    def log_likelihood(v: Values) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.log([v["w"], 1 - v["w"]])
            terms = weights[:, None] + _poisson(y[None], v["rate"][:, None])
        return float(special.logsumexp(terms, axis=0).sum())

    return log_likelihood, False


def _sines(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, s = 50, float(draft.choose([0.2, 0.5]))
    t = np.linspace(0, 10, n)
    wave, second = draft.rng.uniform(1, 4), draft.choose([0.0, 0.0, 0.7])
    y = np.sin(wave * t) + second * np.sin((wave + 0.4) * t) + s * draft.rng.normal(size=n)
    a, w = _real(draft, "a", 3.0, (2,)), _uniform(draft, "w", 0.5, 6.0, (2,))
    pm.Normal("y", pt.dot(pt.sin(t[:, None] * w[None, :]), a), s, observed=y)

    def log_likelihood(v: Values) -> float:
        mean = np.sin(np.outer(t, v["w"])) @ v["a"]
        return _normal(y, mean, s)

    return log_likelihood, False


def _uniform(draft: Draft, name: str, low: float, high: float, shape: tuple[int, ...] = ()) -> Any:
    law = stats.uniform(low, high - low)
    return draft.add(name, Prior(lambda n: pm.Uniform(n, low, high, shape=shape), law), None, shape)


def _sigmoids(draft: Draft) -> tuple[LogLikelihood, bool]:
    """A network of two hidden units, or a smooth change point: tanh of a line in x."""
    n, s, k = 40, 0.2, int(draft.choose([1, 2]))
    x = draft.rng.uniform(-3, 3, n)
    true = np.tanh(2 * x - 1) + (k - 1) * draft.choose([0.0, 1.0]) * np.tanh(x + 2)
    y = true + s * draft.rng.normal(size=n)
    v0, w0, c0 = (_real(draft, name, 3.0, (k,)) for name in "vwc")
    pm.Normal("y", pt.dot(pt.tanh(x[:, None] * w0[None] + c0[None]), v0), s, observed=y)

    def log_likelihood(v: Values) -> float:
        mean = np.tanh(np.outer(x, v["w"]) + v["c"]) @ v["v"]
        return _normal(y, mean, s)

    return log_likelihood, False


def _change_point(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, rise = 40, draft.choose([0.0, 0.5, 2.0])
    t = np.linspace(0, 10, n)
    y = 1 + rise * special.expit(5 * (t - 6)) + 0.4 * draft.rng.normal(size=n)
    level, jump, at = (
        _real(draft, "level", 5.0),
        _real(draft, "jump", 5.0),
        _uniform(draft, "at", 0, 10),
    )
    sigma = _positive(draft, "sigma", 2.0)
    pm.Normal("y", level + jump * pm.math.sigmoid(5 * (t - at)), sigma, observed=y)

    def log_likelihood(v: Values) -> float:
        mean = v["level"] + v["jump"] * special.expit(5 * (t - v["at"]))
        return _normal(y, mean, v["sigma"])

    return log_likelihood, False


# --- Data in Potentials ---------------------------------------------------------------------------


def _potentials(draft: Draft) -> tuple[LogLikelihood, bool]:
    n, s = 60, _scale(draft)
    if draft.rng.random() < 0.5:
        t = s * draft.rng.weibull(1.5, n)
        top = s * draft.choose([0.7, 1.5])
        late, y = t > top, np.minimum(t, top)
        alpha, beta = _positive(draft, "alpha", 5.0), _positive(draft, "beta", 5 * s)
        pm.Weibull("y", alpha, beta, observed=y[~late])
        pm.Potential("late", -((y[late] / beta) ** alpha))

        def weibull(v: Values) -> float:
            beyond = ((y[late] / v["beta"]) ** v["alpha"]).sum()
            return _weibull(y[~late], v["alpha"], v["beta"]) - float(beyond)

        return weibull, True
    x = draft.rng.normal(size=n)
    y = s * (1 + 0.5 * x + draft.rng.standard_t(3, n))
    a, b, sigma = (
        _real(draft, "a", 5 * s),
        _real(draft, "b", 5 * s),
        _positive(draft, "sigma", 5 * s),
    )
    pm.Potential("y", pm.logp(pm.StudentT.dist(nu=4, mu=a + b * x, sigma=sigma), y))

    def student(v: Values) -> float:
        return float(stats.t.logpdf(y, 4, v["a"] + v["b"] * x, v["sigma"]).sum())

    return student, True


KINDS: dict[str, Callable[[Draft], tuple[LogLikelihood, bool]]] = {
    "means above zero": _means_above_zero,
    "decays": _decays,
    "censored latents": _censored_latents,
    "directions": _directions,
    "normal mixture": _normal_mixture,
    "spatial": _spatial,
    "rare counts": _rare_counts,
    "sines": _sines,
    "potentials": _potentials,
    "nonnegative slopes": _nonnegative_slopes,
    "sigmoids": _sigmoids,
    "thresholds": _thresholds,
    "phase": _phase,
    "variance components": _variance_components,
    "poisson mixture": _poisson_mixture,
    "change point": _change_point,
}


def make_kind(seed: int) -> Generated:
    """Return a model and its data, the same for the same seed; the kinds take turns.

    ``regular``: without reason for a flag of severity ``error``.
    """
    draft = Draft(np.random.default_rng([seed, 14]))
    kind = list(KINDS)[seed % len(KINDS)]
    with pm.Model() as model:
        log_likelihood, regular = KINDS[kind](draft)
    about = ", ".join([f"seed {seed}: {kind}", *draft.notes])
    return Generated(model, about, log_likelihood, draft.priors, draft.shapes, regular, True)


# --- The independent search -----------------------------------------------------------------------


def search(made: Generated, kind: str, seed: int = 0) -> tuple[float, dict[str, Array]]:
    """Return the highest value that SciPy finds from twenty draws of the prior, and its point."""
    rng = np.random.default_rng([seed, 20])
    drawn = made.draws(rng)
    sizes = [int(np.prod(made.shapes[name])) for name in made.priors]
    cuts = np.cumsum(sizes)[:-1]
    to_natural = [_to_natural(prior.law) for prior in made.priors.values()]

    def values(z: Array) -> dict[str, Array]:
        parts = np.split(z, cuts)
        return {
            name: np.reshape(natural[0](part), made.shapes[name])
            for name, part, natural in zip(made.priors, parts, to_natural, strict=True)
        }

    def loss(z: Array) -> float:
        with np.errstate(all="ignore"):
            v = values(z)
            found = made.log_likelihood(v) + (made.log_prior(v) if kind == "map" else 0.0)
        return -found if np.isfinite(found) else 1e10

    best, at = np.inf, np.zeros(sum(sizes))
    for i in range(N_STARTS):
        parts = [
            np.ravel(natural[1](drawn[name][i]))
            for name, natural in zip(made.priors, to_natural, strict=True)
        ]
        found = optimize.minimize(
            loss, np.concatenate(parts), method="BFGS", options={"maxiter": 150}
        )
        if found.fun < best:
            best, at = float(found.fun), found.x
    for method in ("Nelder-Mead", "BFGS"):
        found = optimize.minimize(loss, at, method=method)
        if found.fun < best:
            best, at = float(found.fun), found.x
    return -best, values(at)


def _to_natural(law: Any) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return the map from the real line to the support of a law, and its inverse."""
    low, high = (float(np.ravel(end)[0]) for end in law.support())
    if not np.isfinite([low, high]).any() or law.dist.name == "vonmises":
        return np.asarray, np.asarray
    if np.isfinite([low, high]).all():
        width = high - low
        return (
            lambda z: low + width * special.expit(z),
            lambda v: special.logit((v - low) / width),
        )
    return lambda z: low + np.exp(np.minimum(z, 300)), lambda v: np.log(v - low)
