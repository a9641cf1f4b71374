"""Profiles on whose way other parameters reach a border of their support, or leave one."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import optimize, stats

import pmlik
from oracles.fits import fit

LEVEL = stats.chi2.ppf(0.95, 1) / 2


def regression(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return non-negative predictors, two or three, and outcomes with unit errors."""
    rng = np.random.default_rng(seed)
    p, n = 2 + seed % 2, int(rng.integers(15, 40))
    x = rng.gamma(2, 1, (n, p)) if seed % 4 < 2 else np.abs(rng.normal(size=(n, p)))
    return x, x @ rng.choice([0, 0, -0.1, 0.1, 0.5, 1.0], p) + rng.normal(size=n)


def bounded_least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the ends of the profile intervals of non-negative coefficients."""
    best, top = optimize.nnls(x, y)

    def excess(j: int, value: float) -> float:
        left = optimize.nnls(np.delete(x, j, 1), y - x[:, j] * value)[1]
        return (left**2 - top**2) / 2 - LEVEL

    ends = []
    for j, b in enumerate(best):
        inside = excess(j, 0) >= 0
        lower = optimize.brentq(lambda q, j=j: excess(j, q), 0, b, xtol=1e-12) if inside else 0.0
        ends.append((lower, optimize.brentq(lambda q, j=j: excess(j, q), b, b + 50, xtol=1e-12)))
    return np.array(ends)


def non_negative(x: np.ndarray, y: np.ndarray) -> pm.Model:
    with pm.Model() as model:
        b = pm.HalfNormal("b", 2, shape=x.shape[1])
        pm.Normal("y", x @ b, 1.0, observed=y)
    return model


def check_regression(seed: int) -> None:
    x, y = regression(seed)
    found = pmlik.interval_profile(fit(non_negative(x, y)), progressbar=False)["b"]
    errors = 1 / np.sqrt((x**2).sum(axis=0))[:, None]
    np.testing.assert_array_less(abs(found - bounded_least_squares(x, y)) / errors, 1e-5)


@pytest.mark.parametrize("seed", [2, 3, 7, 10_024])
def test_non_negative_regressions_have_the_ends_of_bounded_least_squares(seed) -> None:
    check_regression(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10_000, 10_020))
def test_many_non_negative_regressions(seed) -> None:
    check_regression(seed)


def test_the_curve_is_the_surface() -> None:
    x, y = regression(3)
    mle = fit(non_negative(x, y))
    curve = pmlik.profile(mle, progressbar=False).curves["b[0]"]
    lik = pmlik.Likelihood.of(mle, progressbar=False)
    values = curve["value"].to_numpy()[1:]
    surface = lik.surface({"b[0]": values}, others="profile")
    np.testing.assert_allclose(surface, curve["log_likelihood"][1:], atol=1e-6)


@pytest.mark.parametrize("intercept", [-0.4, 0.25])
def test_an_intercept_meets_zero_or_leaves_it(intercept) -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(1, 2, 20)
    y = 0.5 * rng.normal(size=20)
    y += (
        intercept
        + x
        - np.polynomial.polynomial.polyval(x, np.polynomial.polynomial.polyfit(x, y, 1))
    )
    with pm.Model() as model:
        a = pm.HalfNormal("a", 5)
        b = pm.Normal("b", 0, 5)
        pm.Normal("y", a + b * x, 0.5, observed=y)

    def excess(slope: float) -> float:
        left = y - slope * x
        return stats.norm.logpdf(left, max(0.0, left.mean()), 0.5).sum()

    best = optimize.minimize_scalar(lambda b: -excess(b), bounds=(-3, 4), options={"xatol": 1e-11})
    ends = [
        optimize.brentq(lambda b: excess(b) + best.fun + LEVEL, best.x, best.x + far)
        for far in (-4, 4)
    ]
    found = pmlik.interval_profile(fit(model), var_names="b", progressbar=False)["b"]
    np.testing.assert_allclose(found, ends, atol=1e-5)


@pytest.mark.parametrize("bound", [1.4, 2.0])
def test_a_bounded_scale_of_a_weibull(bound) -> None:
    y = np.random.default_rng(6).weibull(1.5, 25) * 1.9
    with pm.Model() as model:
        a = pm.HalfNormal("a", 5)
        b = pm.Uniform("b", 0, bound)
        pm.Weibull("y", alpha=a, beta=b, observed=y)

    def highest(a: float) -> float:
        b = min(np.mean(y**a) ** (1 / a), bound)
        return stats.weibull_min.logpdf(y, a, scale=b).sum()

    best = optimize.minimize_scalar(
        lambda a: -highest(a), bounds=(0.1, 9), options={"xatol": 1e-11}
    )
    ends = [
        optimize.brentq(lambda a: highest(a) + best.fun + LEVEL, best.x, best.x * times)
        for times in (0.2, 4)
    ]
    found = pmlik.interval_profile(fit(model), progressbar=False)
    np.testing.assert_allclose(found["a"], ends, rtol=1e-6)


def test_a_variance_of_zero_beside_separated_rows() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(10), 6)
    y = (rng.random(60) < 0.4).astype(float)
    treated = np.arange(60) % 6 == 0
    y[treated] = 1
    kept = np.column_stack([np.ones(60), treated])

    def intervals(rows: np.ndarray, x: np.ndarray):
        with pm.Model() as model:
            b = pm.Normal("b", 0, 5, shape=x.shape[1])
            s = pm.HalfNormal("s", 1)
            u = pm.Normal("u", 0, s, shape=10)
            pm.Bernoulli("y", logit_p=x @ b + u[group[rows]], observed=y[rows])
        mle = fit(model, n_starts=1)
        return mle, pmlik.interval_profile(mle, var_names="s", progressbar=False)["s"]

    mle, found = intervals(np.arange(60), kept)
    assert float(mle.values["s"]) == 0
    assert mle.at_infinity == ["b[1]"]
    # Separated rows have a likelihood of one whatever s is.
    _, without = intervals(np.flatnonzero(~treated), kept[~treated][:, :1])
    np.testing.assert_allclose(found, without, atol=1e-4)


def slopes(seed: int) -> np.ndarray:
    """Return outcomes (12, 6) of groups with random intercepts and slopes."""
    rng = np.random.default_rng(seed)
    effects = rng.multivariate_normal([0, 0], [[1, 0.36], [0.36, 0.16]], 12)
    return 5 + 0.5 * np.arange(6.0) + effects @ DESIGN.T + rng.normal(size=(12, 6))


DESIGN = np.column_stack([np.ones(6), np.arange(6.0)])


def lost_by_slopes(y: np.ndarray, sds: tuple[float, float], angle: float, sigma: float) -> float:
    """Return minus the log-likelihood, with the best line; the correlation is a sine."""
    r = np.sin(angle)
    effects = np.outer(sds, sds) * np.array([[1, r], [r, 1]])
    root = np.linalg.cholesky(DESIGN @ effects @ DESIGN.T + sigma**2 * np.eye(6))
    design, rest = np.linalg.solve(root, DESIGN), np.linalg.solve(root, y.T)
    rest = rest - (design @ np.linalg.lstsq(design, rest.mean(axis=1))[0])[:, None]
    return 0.5 * (rest**2).sum() + 12 * np.log(np.diag(root)).sum() + 36 * np.log(2 * np.pi)


def check_slopes(seed: int) -> None:
    y = slopes(seed)
    with pm.Model() as model:
        b, s = pm.Normal("b", 0, 10, shape=2), pm.HalfNormal("s", 5)
        a, low, c = pm.HalfNormal("a", 3), pm.Normal("low", 0, 3), pm.HalfNormal("c", 3)
        pm.Deterministic("slope", pt.sqrt(low**2 + c**2))
        root = pt.dot(DESIGN, pt.stacklists([[a, 0.0], [low, c]]))
        pm.MvNormal("y", pt.dot(DESIGN, b), cov=root @ root.T + s**2 * np.eye(6), observed=y)
    mle = fit(model)

    def lowest(slope: float) -> float:
        rng = np.random.default_rng(0)
        return min(
            optimize.minimize(
                lambda p: lost_by_slopes(y, (np.exp(p[0]), slope), p[1], np.exp(p[2])),
                rng.normal(0, 0.7, 3),
                method="Nelder-Mead",
                options={"xatol": 1e-8, "fatol": 1e-11, "maxiter": 4000},
            ).fun
            for _ in range(6)
        )

    for end in pmlik.interval_profile(mle, var_names=["slope"], progressbar=False)["slope"]:
        assert lowest(float(end)) + mle.log_likelihood == pytest.approx(LEVEL, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 3, 7])
def test_the_sd_of_slopes_near_and_at_a_correlation_of_one(seed: int) -> None:
    """With 7 the likelihood falls from there at first, and rises inside: it is of a square."""
    check_slopes(seed)


def two_parts_and_one_between() -> tuple[np.ndarray, np.ndarray, pm.Model]:
    rng = np.random.default_rng(3)
    y = np.concatenate([rng.normal(0, 1, 20), rng.normal(3, 1, 10)])
    at = np.array([0.0, 1.5, 3.0])
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(3))
        pm.Mixture("y", w, [pm.Normal.dist(mu, 1) for mu in at], observed=y)
    return y, at, model


def test_the_weights_of_a_mixture_meet_zero_and_leave_it() -> None:
    y, at, model = two_parts_and_one_between()
    density = stats.norm.pdf(y[:, None], at, 1)

    def highest(k: int, weight: float) -> float:
        one, other = np.delete(np.arange(3), k)

        def loss(share: float) -> float:
            rest = share * density[:, one] + (1 - share) * density[:, other]
            return -np.log(weight * density[:, k] + (1 - weight) * rest).sum()

        found = optimize.minimize_scalar(loss, bounds=(0, 1), options={"xatol": 1e-11})
        return -min(found.fun, loss(0.0), loss(1.0))

    mle = fit(model)
    assert float(mle.values["w"][1]) == 0
    found = pmlik.interval_profile(mle, var_names="w", progressbar=False)["w"].to_numpy()
    assert found[1, 0] == 0
    ends = [(0, 0), (0, 1), (1, 1), (2, 0), (2, 1)]
    drops = [highest(k, found[k, side]) - mle.log_likelihood + LEVEL for k, side in ends]
    np.testing.assert_allclose(drops, 0, atol=1e-5)


def test_a_share_without_counts_has_its_closed_form() -> None:
    counts = np.array([4, 0, 6])
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(3))
        pm.Multinomial("y", n=10, p=p, observed=counts)
    found = pmlik.interval_profile(fit(model), progressbar=False)["p"].to_numpy()
    np.testing.assert_allclose(found[1], [0, 1 - np.exp(-LEVEL / 10)], rtol=1e-6, atol=0)
    top = stats.binom.logpmf(counts, 10, counts / 10)
    for k in (0, 2):
        there = stats.binom.logpmf(counts[k], 10, found[k])
        np.testing.assert_allclose(there, top[k] - LEVEL, atol=1e-7)
