"""Models whose estimates are known without pmlik: closed forms, and SciPy where there is none.

Each animal is a function that takes nothing (or data) and returns a `Case`. Nothing in this
file is computed by pmlik, so everything in it may serve as an oracle.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import ArrayLike, NDArray
from pymc.exceptions import ImputationWarning
from scipy import optimize, special, stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A model and what is known of it; an absent oracle is an empty mapping or None.

    ``mle``, ``mle_se``, ``map``, ``map_se`` go from a variable's name to its values;
    ``posterior`` gives its (mean, sd). ``covariance`` is that of the MLE of all parameters, end
    to end in the model's order. The log-densities are those at the MLE.
    """

    model: pm.Model
    mle: Mapping[str, ArrayLike]
    mle_se: Mapping[str, ArrayLike]
    map: Mapping[str, ArrayLike] = field(default_factory=dict)
    map_se: Mapping[str, ArrayLike] = field(default_factory=dict)
    posterior: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    covariance: ArrayLike | None = None
    log_likelihood: float | None = None
    log_prior: float | None = None


# --- Numerical oracles: SciPy and finite differences, no PyTensor ------------------------------


def hessian_of(function: Callable[[Array], float], at: ArrayLike) -> Array:
    """Second derivatives by central differences of fourth order."""
    x = np.atleast_1d(np.asarray(at, float))
    steps = 2e-3 * np.maximum(1e-2, np.abs(x))
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}

    def gradient(point: Array) -> Array:
        return np.array(
            [
                sum(w * function(point + k * steps[i] * unit) for k, w in weights.items())
                / steps[i]
                for i, unit in enumerate(np.eye(len(x)))
            ]
        )

    rows = [
        sum(w * gradient(x + k * steps[i] * unit) for k, w in weights.items()) / steps[i]
        for i, unit in enumerate(np.eye(len(x)))
    ]
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2


def jacobian_of(function: Callable[[Array], ArrayLike], at: ArrayLike) -> Array:
    """First derivatives (m, n) by central differences of fourth order."""
    x = np.atleast_1d(np.asarray(at, float))
    columns = []
    for i, unit in enumerate(np.eye(len(x))):
        h = 1e-3 * max(1e-2, abs(x[i]))
        parts = [np.ravel(function(x + k * h * unit)) for k in (-2, -1, 1, 2)]
        columns.append((parts[0] - 8 * parts[1] + 8 * parts[2] - parts[3]) / (12 * h))
    return np.array(columns).T


def maximise(function: Callable[[Array], float], start: ArrayLike) -> tuple[Array, Array]:
    """Where a log-density of natural coordinates is highest, and its inverse information.

    Simplex search and then Newton steps on finite differences: neither uses pmlik's methods.
    """

    def negative(x: Array) -> float:
        value = -function(x)
        return float(value) if np.isfinite(value) else np.inf

    start = np.atleast_1d(np.asarray(start, float))
    with np.errstate(all="ignore"):
        found = optimize.minimize(
            negative,
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 20000, "maxfev": 20000},
        ).x
        for _ in range(4):
            gradient = jacobian_of(lambda x: [negative(x)], found)[0]
            found = found - np.linalg.solve(hessian_of(negative, found), gradient)
        return found, np.linalg.inv(hessian_of(negative, found))


def delta(function: Callable[[Array], ArrayLike], at: ArrayLike, covariance: Array) -> Array:
    """Covariance of a function of an estimate, by its numerical Jacobian."""
    jacobian = jacobian_of(function, at)
    return jacobian @ covariance @ jacobian.T


# --- Regular cases ------------------------------------------------------------------------------


def binomial(a: float = 1.0, b: float = 1.0, *, y: int = 2, n: int = 10) -> Case:
    """The prior Beta(1, 1) is the design's case: information of the logit 1.6, not 1.92."""
    with pm.Model() as model:
        p = pm.Beta("p", a, b)
        pm.Binomial("y", n=n, p=p, observed=y)
    mle, mode = y / n, (y + a - 1) / (n + a + b - 2)
    posterior = stats.beta(a + y, b + n - y)
    return Case(
        model,
        mle={"p": mle},
        mle_se={"p": np.sqrt(mle * (1 - mle) / n)},
        map={"p": mode},
        map_se={"p": np.sqrt(mode * (1 - mode) / (n + a + b - 2))},
        posterior={"p": (posterior.mean(), posterior.std())},
        covariance=[[mle * (1 - mle) / n]],
        log_likelihood=stats.binom.logpmf(y, n, mle),
        log_prior=stats.beta.logpdf(mle, a, b),
    )


def poisson() -> Case:
    y, a, b = np.array([3, 0, 2, 5, 1, 4]), 2.0, 3.0
    with pm.Model() as model:
        rate = pm.Gamma("rate", a, b)
        pm.Poisson("y", rate, observed=y)
    mle, n = y.mean(), len(y)
    shape, total = a + y.sum(), b + n
    return Case(
        model,
        mle={"rate": mle},
        mle_se={"rate": np.sqrt(mle / n)},
        map={"rate": (shape - 1) / total},
        map_se={"rate": np.sqrt(shape - 1) / total},
        posterior={"rate": (shape / total, np.sqrt(shape) / total)},
        covariance=[[mle / n]],
        log_likelihood=stats.poisson.logpmf(y, mle).sum(),
        log_prior=stats.gamma.logpdf(mle, a, scale=1 / b),
    )


def exponential() -> Case:
    y, a, b = np.array([0.3, 1.2, 2.5, 0.1, 0.9]), 3.0, 1.5
    with pm.Model() as model:
        rate = pm.Gamma("rate", a, b)
        pm.Exponential("y", rate, observed=y)
    mle, n = 1 / y.mean(), len(y)
    shape, total = a + n, b + y.sum()
    return Case(
        model,
        mle={"rate": mle},
        mle_se={"rate": mle / np.sqrt(n)},
        map={"rate": (shape - 1) / total},
        map_se={"rate": np.sqrt(shape - 1) / total},
        posterior={"rate": (shape / total, np.sqrt(shape) / total)},
        covariance=[[mle**2 / n]],
        log_likelihood=stats.expon.logpdf(y, scale=1 / mle).sum(),
        log_prior=stats.gamma.logpdf(mle, a, scale=1 / b),
    )


def normal_mean() -> Case:
    """Everything Gaussian: MAP = posterior mean, and its SE the posterior sd."""
    y, sigma, m0, s0 = np.array([1.1, 2.7, 0.4, 3.3]), 1.5, -1.0, 2.0
    with pm.Model() as model:
        mu = pm.Normal("mu", m0, s0)
        pm.Normal("y", mu, sigma, observed=y)
    precision = len(y) / sigma**2 + s0**-2
    mode = (y.sum() / sigma**2 + m0 / s0**2) / precision
    return Case(
        model,
        mle={"mu": y.mean()},
        mle_se={"mu": sigma / np.sqrt(len(y))},
        map={"mu": mode},
        map_se={"mu": precision**-0.5},
        posterior={"mu": (mode, precision**-0.5)},
        covariance=[[sigma**2 / len(y)]],
        log_likelihood=stats.norm.logpdf(y, y.mean(), sigma).sum(),
        log_prior=stats.norm.logpdf(y.mean(), m0, s0),
    )


NORMAL_DATA = np.array([4.1, 5.9, 7.2, 3.8, 6.5, 5.1, 8.0, 4.4])


def normal(y: ArrayLike = NORMAL_DATA) -> Case:
    """Mean and variance free, flat times inverse-gamma prior: all three answers are closed."""
    data, a, b = np.asarray(y, float), 3.0, 4.0
    with pm.Model() as model:
        variance = pm.InverseGamma("variance", a, b)
        mu = pm.Flat("mu")
        pm.Normal("y", mu, pm.math.sqrt(variance), observed=data)
    n, centre, v = len(data), data.mean(), data.var()
    shape, scale = a + n / 2, b + n * v / 2
    mode = scale / (shape + 1)
    marginal = stats.invgamma(shape - 0.5, scale=scale)  # the flat mean takes half a degree
    student = np.sqrt(scale / ((shape - 0.5) * n))
    return Case(
        model,
        mle={"variance": v, "mu": centre},
        mle_se={"variance": v * np.sqrt(2 / n), "mu": np.sqrt(v / n)},
        map={"variance": mode, "mu": centre},
        map_se={"variance": mode / np.sqrt(shape + 1), "mu": np.sqrt(mode / n)},
        posterior={
            "variance": (marginal.mean(), marginal.std()),
            "mu": (centre, student * stats.t.std(2 * shape - 1)),
        },
        covariance=np.diag([2 * v**2 / n, v / n]),
        log_likelihood=stats.norm.logpdf(data, centre, np.sqrt(v)).sum(),
        log_prior=stats.invgamma.logpdf(v, a, scale=b),
    )


def line() -> Case:
    """Ordinary least squares; with a known sigma the MAP is a ridge regression."""
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(20), rng.normal(size=20), rng.normal(3, 2, size=20)])
    y, sigma, tau = X @ [1.0, -2.0, 0.5] + rng.normal(size=20), 0.8, 2.0
    with pm.Model(coords={"term": ["one", "x", "z"]}) as model:
        beta = pm.Normal("beta", 0, tau, dims="term")
        pm.Normal("y", X @ beta, sigma, observed=y)
    information, ridge = X.T @ X / sigma**2, X.T @ X / sigma**2 + np.eye(3) / tau**2
    mle = np.linalg.lstsq(X, y)[0]
    covariance = np.linalg.inv(information)
    return Case(
        model,
        mle={"beta": mle},
        mle_se={"beta": np.sqrt(np.diag(covariance))},
        map={"beta": np.linalg.solve(ridge, X.T @ y / sigma**2)},
        map_se={"beta": np.sqrt(np.diag(np.linalg.inv(ridge)))},
        covariance=covariance,
        log_likelihood=stats.norm.logpdf(y, X @ mle, sigma).sum(),
        log_prior=stats.norm.logpdf(mle, 0, tau).sum(),
    )


def shares() -> Case:
    """Multinomial with a Dirichlet prior: a singular covariance, as shares add up to one."""
    y, a = np.array([5, 9, 2, 4]), np.array([2.0, 1.5, 3.0, 2.5])
    with pm.Model(coords={"party": list("ABCD")}) as model:
        p = pm.Dirichlet("p", a, dims="party")
        pm.Multinomial("y", n=y.sum(), p=p, observed=y)
    n, total = y.sum(), (y + a - 1).sum()
    mle, mode = y / n, (y + a - 1) / total
    return Case(
        model,
        mle={"p": mle},
        mle_se={"p": np.sqrt(mle * (1 - mle) / n)},
        map={"p": mode},
        map_se={"p": np.sqrt(mode * (1 - mode) / total)},
        covariance=(np.diag(mle) - np.outer(mle, mle)) / n,
        log_likelihood=stats.multinomial.logpmf(y, n, mle),
        log_prior=stats.dirichlet.logpdf(mle, a),
    )


def mvnormal_mean() -> Case:
    y = np.array([[1.0, 2.0], [0.2, 3.1], [2.2, 1.4]])
    sigma, m0, s0 = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([0.5, -1.0]), 1.5
    with pm.Model() as model:
        mu = pm.Normal("mu", m0, s0, shape=2)
        pm.MvNormal("y", mu, sigma, observed=y)
    information = 3 * np.linalg.inv(sigma)
    joint = information + np.eye(2) / s0**2
    mle = y.mean(0)
    mode = np.linalg.solve(joint, information @ mle + m0 / s0**2)
    return Case(
        model,
        mle={"mu": mle},
        mle_se={"mu": np.sqrt(np.diag(sigma) / 3)},
        map={"mu": mode},
        map_se={"mu": np.sqrt(np.diag(np.linalg.inv(joint)))},
        covariance=sigma / 3,
        log_likelihood=stats.multivariate_normal.logpdf(y, mle, sigma).sum(),
        log_prior=stats.norm.logpdf(mle, m0, s0).sum(),
    )


def flat_prior() -> Case:
    """The MAP under a flat prior is the MLE, and the posterior sd its SE."""
    y, sigma = np.array([0.5, 1.5, 4.0]), 2.0
    with pm.Model() as model:
        mu = pm.Flat("mu")
        pm.Normal("y", mu, sigma, observed=y)
    same, se = {"mu": y.mean()}, {"mu": sigma / np.sqrt(3)}
    return Case(model, same, se, same, se, {"mu": (y.mean(), sigma / np.sqrt(3))}, log_prior=0.0)


def missing_values() -> Case:
    """Missing data integrate to one: everything is as with the observed rows alone."""
    data = np.array([4.1, np.nan, 5.9, 7.2, np.nan, 3.8, 6.5])
    oracle = normal(data[np.isfinite(data)])
    with pm.Model() as model:
        variance = pm.InverseGamma("variance", 3.0, 4.0)
        mu = pm.Flat("mu")
        with warnings.catch_warnings(action="ignore", category=ImputationWarning):
            pm.Normal("y", mu, pm.math.sqrt(variance), observed=data)
    return Case(**{**vars(oracle), "model": model, "posterior": {}})


REGULAR: dict[str, Callable[[], Case]] = {
    f.__name__: f
    for f in (
        binomial,
        poisson,
        exponential,
        normal_mean,
        normal,
        line,
        shares,
        mvnormal_mean,
        flat_prior,
        missing_values,
    )
}


# --- Ugly cases ---------------------------------------------------------------------------------


def collinear() -> Case:
    """Only ``a + b`` is in the likelihood; the prior tells them apart in the MAP."""
    y, tau = np.array([1.0, 2.0, 6.0]), 2.0
    with pm.Model() as model:
        a = pm.Normal("a", 0, tau)
        b = pm.Normal("b", 0, tau)
        pm.Deterministic("total", a + b)
        pm.Normal("y", a + b, 1, observed=y)
    joint = 3 * np.ones((2, 2)) + np.eye(2) / tau**2
    mode = np.linalg.solve(joint, y.sum() * np.ones(2))
    covariance = np.linalg.inv(joint)
    return Case(
        model,
        mle={"a": np.nan, "b": np.nan, "total": y.mean()},
        mle_se={"a": np.nan, "b": np.nan, "total": 3**-0.5},
        map={"a": mode[0], "b": mode[1], "total": mode.sum()},
        map_se={
            "a": np.sqrt(covariance[0, 0]),
            "b": np.sqrt(covariance[1, 1]),
            "total": np.sqrt(covariance.sum()),
        },
        covariance=np.full((2, 2), np.nan),
        log_likelihood=stats.norm.logpdf(y, y.mean(), 1).sum(),
    )


def collinear_design() -> Case:
    """A regression whose last column is the sum of two others, up to rounding error."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 2))
    X = np.column_stack([np.ones(40), 100 * x[:, 0], x[:, 1], 100 * x[:, 0] + x[:, 1]])
    y = 1 + x[:, 0] - x[:, 1] + rng.normal(size=40)
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 10, shape=4)
        pm.Normal("y", X @ beta, 1, observed=y)
    full = X[:, :3]
    covariance = np.linalg.inv(full.T @ full)
    mle = np.linalg.lstsq(full, y)[0]
    return Case(
        model,
        mle={"beta": [mle[0], np.nan, np.nan, np.nan]},
        mle_se={"beta": [np.sqrt(covariance[0, 0]), np.nan, np.nan, np.nan]},
        log_likelihood=stats.norm.logpdf(y, full @ mle, 1).sum(),
    )


def not_in_likelihood() -> Case:
    """A whole variable without data; its posterior is its prior."""
    case = normal_mean()
    with case.model:
        other = pm.HalfNormal("other", 2.0)
        pm.Deterministic("twice", 2 * other)
    unknown = {"other": np.nan, "twice": np.nan}
    return Case(
        case.model,
        mle={**case.mle, **unknown},
        mle_se={**case.mle_se, **unknown},
        # The mode of a half-normal in natural units is zero, at the end of its support.
        log_likelihood=case.log_likelihood,
    )


def empty_group() -> Case:
    """Three groups, the middle one without data."""
    group, y, tau = np.array([0, 0, 2, 2, 2]), np.array([1.0, 2.0, 4.0, 5.0, 7.0]), 3.0
    with pm.Model(coords={"group": ["left", "none", "right"]}) as model:
        mu = pm.Normal("mu", 0.5, tau, dims="group")
        pm.Normal("y", mu[group], 1, observed=y)
    n, total = np.array([2, 0, 3]), np.array([3.0, 0.0, 16.0])
    precision = n + tau**-2
    mean, se = np.array([1.5, np.nan, 16 / 3]), np.array([2**-0.5, np.nan, 3**-0.5])
    return Case(
        model,
        mle={"mu": mean},
        mle_se={"mu": se},
        map={"mu": (total + 0.5 / tau**2) / precision},
        map_se={"mu": precision**-0.5},
        covariance=np.diag(se**2) + np.where(np.isnan(se[:, None] + se), np.nan, 0),
        log_likelihood=stats.norm.logpdf(y, mean[group], 1).sum(),
    )


def saddle() -> Case:
    """PyMC's start, zero, is a stationary point of the likelihood that is no maximum."""
    y = np.array([3.0, 5.0, 4.0, 4.0])
    with pm.Model() as model:
        theta = pm.Normal("theta", 0, 10)
        pm.Deterministic("square", theta**2)
        pm.Normal("y", theta**2, 1, observed=y)
    return Case(
        model,
        mle={"square": 4.0},
        mle_se={"theta": 1 / (2 * 2 * np.sqrt(4)), "square": 0.5},
        log_likelihood=stats.norm.logpdf(y, 4.0, 1).sum(),
    )


def two_modes() -> Case:
    """Two Cauchy observations far apart: equal modes at ``+-sqrt(a^2 - 1)``, dip between them.

    Source: Barnett (1966), doi:10.1093/biomet/53.1-2.151.
    """
    y = np.array([-3.0, 3.0])
    with pm.Model() as model:
        mu = pm.Normal("mu", 0.5, 10)
        pm.Cauchy("y", mu, 1, observed=y)
    mode = np.sqrt(8.0)

    def log_likelihood(mu: Array) -> float:
        return float(stats.cauchy.logpdf(y, mu[0]).sum())

    information = -hessian_of(log_likelihood, [mode])[0, 0]
    return Case(
        model,
        mle={"mu": mode},
        mle_se={"mu": information**-0.5},
        log_likelihood=log_likelihood(np.array([mode])),
    )


def variance_to_zero() -> Case:
    """Data less spread than their known error: the likelihood is highest at ``tau = 0``."""
    with pm.Model() as model:
        tau = pm.HalfNormal("tau", 1.0)
        pm.Normal("y", 0, pm.math.sqrt(1 + tau**2), observed=np.array([0.1, -0.2, 0.3, 0.0]))
    return Case(model, mle={"tau": 0.0}, mle_se={})


def perfect_fit() -> Case:
    """All observations equal: the likelihood grows without bound as ``sigma`` shrinks."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 10)
        sigma = pm.HalfNormal("sigma", 1)
        pm.Normal("y", mu, sigma, observed=np.full(4, 2.5))
    return Case(model, mle={}, mle_se={})


def separation() -> Case:
    """Logistic regression that ``x`` separates: the slope runs off; a prior holds the MAP."""
    x, y = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]), np.array([0, 0, 0, 1, 1, 1])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 2)
        pm.Bernoulli("y", logit_p=slope * x, observed=y)

    def log_posterior(theta: Array) -> float:
        fit = stats.bernoulli.logpmf(y, special.expit(theta[0] * x)).sum()
        return float(fit + stats.norm.logpdf(theta[0], 0, 2))

    mode, covariance = maximise(log_posterior, [1.0])
    return Case(
        model,
        mle={},
        mle_se={},
        map={"slope": mode[0]},
        map_se={"slope": np.sqrt(covariance[0, 0])},
    )


def end_of_support() -> Case:
    """Uniform data: the likelihood is highest where its support ends, and not smooth there."""
    with pm.Model() as model:
        top = pm.HalfNormal("top", 10, initval=9.0)
        pm.Uniform("y", 0, top, observed=np.array([0.5, 2.0, 3.0]))
    return Case(model, mle={"top": 3.0}, mle_se={})


#: Cases whose maximum is on the border of the parameter space.
AT_BORDER: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (variance_to_zero, end_of_support)
}

#: Cases without a maximum.
WITHOUT_MLE: dict[str, Callable[[], Case]] = {f.__name__: f for f in (perfect_fit, separation)}

#: Cases where the likelihood says nothing about something.
UNIDENTIFIED: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (collinear, collinear_design, not_in_likelihood, empty_group)
}


# --- How to compare ------------------------------------------------------------------------------


def assert_values(
    dataset: Any, expected: Mapping[str, ArrayLike], *, rtol: float = 1e-7, atol: float = 1e-9
) -> None:
    """Every expected variable is in the dataset, with these numbers (NaN equals NaN)."""
    for name, value in expected.items():
        np.testing.assert_allclose(
            dataset[name].to_numpy(), value, rtol=rtol, atol=atol, err_msg=name
        )


def assert_covariance_matches(estimate: Any, names: list[str]) -> None:
    """The covariance is symmetric, labelled, and its diagonal the squared standard errors."""
    covariance = estimate.covariance
    np.testing.assert_allclose(covariance, covariance.T, rtol=1e-12, atol=1e-300)
    flat = np.concatenate([estimate.std_error[name].to_numpy().ravel() for name in names])
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), flat, rtol=1e-9, atol=1e-12)
    labels = [
        f"{name}[{', '.join(map(str, at))}]" if at else name
        for name in names
        for at in _places(estimate.values[name])
    ]
    assert list(covariance.parameter.values) == labels
    assert list(covariance.parameter_bis.values) == labels


def _places(array: Any) -> list[tuple[Any, ...]]:
    axes = [array.coords[dim].to_numpy() for dim in array.dims]
    return [tuple(axes[k][i] for k, i in enumerate(at)) for at in np.ndindex(array.shape)]
