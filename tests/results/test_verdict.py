"""The verdict on models whose posterior is known, by draws made from it directly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pmlik
from oracles.records import WIDE, make_comparison, make_point, plain
from pmlik import Flag, FlagCode, Severity
from pmlik.results.merge import merge_estimates
from pmlik.results.verdict import Standing

Draws = dict[str, np.ndarray]


@pytest.fixture
def compare_draws(monkeypatch) -> Callable[..., pmlik.Comparison]:
    """Compare a model, or the estimates compared before, with draws in place of sampled ones."""

    def compare(given: pm.Model | pmlik.Comparison, draws: Draws, diverging: int = 0):
        chains, length = next(iter(draws.values())).shape[:2]
        coords = {"chain": np.arange(chains), "draw": np.arange(length)}
        wrong = (np.arange(chains * length) < diverging).reshape(chains, length)
        dims = {name: ("chain", "draw", f"{name}_dim")[: x.ndim] for name, x in draws.items()}
        groups = {
            "posterior": xr.Dataset({n: (dims[n], x) for n, x in draws.items()}, coords=coords),
            "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), wrong)}, coords=coords),
        }
        tree = xr.DataTree.from_dict(groups)
        monkeypatch.setattr("pmlik.inference.sample.run_pymc_sample", lambda *_, **__: tree)
        options = {"random_seed": 1, "progressbar": False, "sample_kwargs": {"draws": length}}
        if isinstance(given, pm.Model):
            return pmlik.compare(given, extras=False, profile=False, n_starts=1, **options)
        posterior = pmlik.sample_posterior(given.mle.prepared.model, **options)
        dataset, flags = merge_estimates(given.mle, given.map, posterior)
        return replace(given, posterior=posterior, dataset=dataset, flags=flags)

    return compare


class Known(NamedTuple):
    """A model, its posterior (``rvs(size)`` by name), and exact MLE and SE by name."""

    model: pm.Model
    posterior: dict[str, object]
    mle: dict[str, tuple[float, float]]


def normal_mean(n: int, prior: float, mean: float = 3.0) -> Known:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, prior)
        y = np.linspace(-1, 1, n) + mean
        pm.Normal("y", mu, 1, observed=y)
    weight = n + 1 / prior**2
    posterior = stats.norm(n * mean / weight, weight**-0.5)
    return Known(model, {"mu": posterior}, {"mu": (mean, n**-0.5)})


def binomial(k: int, n: int, a: float, b: float) -> Known:
    with pm.Model() as model:
        pm.Binomial("y", n=n, p=pm.Beta("p", a, b), observed=k)
    at = k / n
    return Known(
        model, {"p": stats.beta(a + k, b + n - k)}, {"p": (at, (at * (1 - at) / n) ** 0.5)}
    )


def poisson(total: int, n: int, shape: float, rate: float) -> Known:
    with pm.Model() as model:
        y = np.full(n, total // n)
        pm.Poisson("y", pm.Gamma("rate", shape, rate), observed=y)
    total = total // n * n
    law = stats.gamma(shape + total, scale=1 / (rate + n))
    return Known(model, {"rate": law}, {"rate": (total / n, total**0.5 / n)})


def exponential(n: int, shape: float, rate: float) -> Known:
    y = stats.expon.ppf((np.arange(n) + 0.5) / n)
    with pm.Model() as model:
        pm.Exponential("y", pm.Gamma("rate", shape, rate), observed=y)
    law, at = stats.gamma(shape + n, scale=1 / (rate + y.sum())), n / y.sum()
    return Known(model, {"rate": law}, {"rate": (at, at / n**0.5)})


def variance(n: int, shape: float, scale: float) -> Known:
    y = stats.norm.ppf((np.arange(n) + 0.5) / n)
    with pm.Model() as model:
        pm.Normal("y", 0, pm.math.sqrt(pm.InverseGamma("v", shape, scale)), observed=y)
    at = (y**2).mean()
    law = stats.invgamma(shape + n / 2, scale=scale + (y**2).sum() / 2)
    return Known(model, {"v": law}, {"v": (at, at * (2 / n) ** 0.5)})


def geometric(n: int, a: float, b: float) -> Known:
    y = np.tile([1, 2, 3, 6], n // 4)
    with pm.Model() as model:
        pm.Geometric("y", pm.Beta("p", a, b), observed=y)
    at = n / y.sum()
    law = stats.beta(a + n, b + y.sum() - n)
    return Known(model, {"p": law}, {"p": (at, at * ((1 - at) / n) ** 0.5)})


def regression(n: int, prior: float) -> Known:
    x = np.column_stack([np.ones(n), np.linspace(-1, 1, n)])
    y = x @ [1.0, 2.0] + 0.5 * np.sin(np.arange(n))
    with pm.Model() as model:
        b = [pm.Normal(name, 0, prior) for name in ("b0", "b1")]
        pm.Normal("y", b[0] * x[:, 0] + b[1] * x[:, 1], 0.5, observed=y)
    precision = x.T @ x / 0.25 + np.eye(2) / prior**2
    mean, sd = (
        np.linalg.solve(precision, x.T @ y / 0.25),
        np.linalg.inv(precision).diagonal() ** 0.5,
    )
    mle, se = np.linalg.lstsq(x, y)[0], np.linalg.inv(x.T @ x / 0.25).diagonal() ** 0.5
    names = ("b0", "b1")
    laws = {name: stats.norm(m, s) for name, m, s in zip(names, mean, sd, strict=True)}
    return Known(model, laws, dict(zip(names, zip(mle, se, strict=True), strict=True)))


def two_groups() -> Known:
    with pm.Model() as model:
        for name, prior, n in (("much", 10.0, 100), ("little", 0.5, 2)):
            mu = pm.Normal(name, 0, prior)
            pm.Normal(f"y_{name}", mu, 1, observed=np.full(n, 2.0))
    laws = {
        "much": stats.norm(200 / 100.01, 100.01**-0.5),
        "little": stats.norm(4 / 6, 6**-0.5),
    }
    return Known(model, laws, {"much": (2.0, 0.1), "little": (2.0, 2**-0.5)})


def half_line(mean: float) -> Known:
    """A mean that is known to be positive; the MLE is at zero, or well inside."""
    with pm.Model() as model:
        mu = pm.HalfNormal("mu", 100.0)
        pm.Normal("y", mu, 1, observed=np.full(25, mean))
    weight = 25 + 1e-4
    at, sd = 25 * mean / weight, weight**-0.5
    law = stats.truncnorm(-at / sd, np.inf, at, sd)
    return Known(model, {"mu": law}, {"mu": (max(mean, 0.0), 0.2 if mean > 0 else np.nan)})


KNOWN: dict[str, Callable[[], Known]] = {
    "a mean, weak prior": lambda: normal_mean(100, 50),
    "a mean, strong prior": lambda: normal_mean(4, 0.5),
    "a mean, prior as strong as the data": lambda: normal_mean(4, 0.5, mean=0.0),
    "a mean, prior that shifts it by half an sd": lambda: normal_mean(9, 0.8, mean=0.9),
    "a share, many trials": lambda: binomial(400, 1000, 1, 1),
    "a share, few trials": lambda: binomial(1, 10, 1, 1),
    "a share of zero": lambda: binomial(0, 10, 1, 1),
    "a share of one, many trials": lambda: binomial(500, 500, 1, 1),
    "a share, prior against the data": lambda: binomial(30, 100, 40, 10),
    "a rate, many counts": lambda: poisson(400, 50, 1, 0.01),
    "a rate, few counts": lambda: poisson(4, 4, 5, 1),
    "waiting times, many": lambda: exponential(300, 1, 0.01),
    "waiting times, three": lambda: exponential(3, 2, 5),
    "a variance, many": lambda: variance(400, 0.01, 0.01),
    "a variance, five": lambda: variance(5, 1, 1),
    "a share by waiting, many": lambda: geometric(200, 1, 1),
    "a share by waiting, four": lambda: geometric(4, 1, 1),
    "a line, weak prior": lambda: regression(60, 20),
    "a line, strong prior": lambda: regression(10, 0.3),
    "two groups": two_groups,
    "a mean on its border": lambda: half_line(-0.1),
    "a mean well inside": lambda: half_line(2.0),
}


def expected(known: Known) -> dict[str, str]:
    """Return the right answer by row; it is not near the thresholds."""
    said = {}
    for name, law in known.posterior.items():
        (mle, se), mean, sd = known.mle[name], law.mean(), law.std()
        sizes = [abs(mean - mle) / sd / 0.25]
        if se > 0:
            sizes.append(abs(np.log(sd / se)) / np.log(1.25))
        assert abs(max(sizes) - 1) > 0.2, (name, sizes)
        said[name] = "differ" if max(sizes) > 1 else "agree"
    return said


def draws_of(known: Known, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        name: law.rvs(size=(4, length), random_state=rng) for name, law in known.posterior.items()
    }


@pytest.mark.parametrize("name", KNOWN)
def test_the_verdict_is_right(name: str, compare_draws) -> None:
    known = KNOWN[name]()
    right = expected(known)
    comparison = compare_draws(known.model, draws_of(known, 1500))
    assert comparison.judgement.rows == right
    assert comparison.verdict == max(right.values())
    assert not comparison.provisional
    assert not any(finding.provisional for finding in comparison.findings(all=True))
    # With few draws there is a verdict, too; it is provisional where it may be wrong.
    few = compare_draws(comparison, draws_of(known, 40))
    assert few.verdict is not None
    assert few.provisional or few.verdict == comparison.verdict
    assert {label for f in few.findings(all=True) for label in f.labels} >= set(right)


@pytest.fixture(scope="module")
def known_two() -> pmlik.Comparison:
    """Two groups, without a posterior as yet."""
    options = {"extras": False, "profile": False, "n_starts": 1, "sample": False}
    return pmlik.compare(two_groups().model, random_seed=1, progressbar=False, **options)


@pytest.fixture
def two_draws(known_two) -> tuple[pmlik.Comparison, Draws]:
    return known_two, draws_of(two_groups(), 500)


def codes(comparison: pmlik.Comparison, severity: Severity) -> dict[str, tuple[str, ...]]:
    return {f.code.name: f.variables for f in comparison.flags if f.severity is severity}


def test_one_parameter_with_bad_chains_is_named_and_the_others_are_spoken_of(
    compare_draws, two_draws
) -> None:
    known, draws = two_draws
    draws["much"][1] += 0.3
    comparison = compare_draws(known, draws)
    assert codes(comparison, Severity.ERROR)["HIGH_R_HAT"] == ("much",)
    assert comparison.judgement.rows == {"much": Standing.REFUSED, "little": Standing.DIFFER}
    assert (comparison.verdict, comparison.provisional) == ("differ", True)
    assert any("much" in reason for reason in comparison.provisional_reasons)
    first, *others = comparison.findings()
    assert (first.reason, first.labels) == ("not trusted", ("much",))
    assert [(f.labels, f.provisional) for f in others] == [(("little",), True)]
    assert "NOT TO BE TRUSTED for much: R-hat" in str(comparison).replace("\n            ", "")
    assert "(provisional)" in comparison.to_html()


def test_an_r_hat_between_the_thresholds_is_a_warning(compare_draws, two_draws) -> None:
    known, draws = two_draws
    draws["much"][1] += 0.035
    comparison = compare_draws(known, draws)
    assert 1.01 < comparison.posterior.diagnostics["r_hat"] < 1.05
    assert codes(comparison, Severity.WARNING)["HIGH_R_HAT"] == ("much",)
    assert not codes(comparison, Severity.ERROR)
    assert (comparison.verdict, comparison.provisional) == ("differ", False)


def test_where_all_chains_are_bad_there_is_no_verdict(compare_draws, two_draws) -> None:
    known, draws = two_draws
    comparison = compare_draws(known, {name: x[:, :15] for name, x in draws.items()})
    assert codes(comparison, Severity.ERROR)["LOW_ESS"] == ("much", "little")
    assert comparison.verdict is None
    assert not comparison.provisional
    assert {finding.reason for finding in comparison.findings()} == {"not trusted"}


@pytest.mark.parametrize(("diverging", "error"), [(3, False), (200, True)])
def test_divergences_make_a_verdict_provisional(
    compare_draws, two_draws, diverging: int, error: bool
) -> None:
    known, draws = two_draws
    comparison = compare_draws(known, draws, diverging)
    assert ("DIVERGENCES" in codes(comparison, Severity.ERROR)) == error
    assert (comparison.verdict, comparison.provisional) == ("differ", True)
    assert sum("diverged" in reason for reason in comparison.provisional_reasons) == 1
    rows = [f for f in comparison.findings() if f.reason != "not trusted"]
    assert all(finding.provisional for finding in rows)


def test_a_single_chain_gives_a_provisional_verdict(compare_draws, two_draws) -> None:
    known, draws = two_draws
    comparison = compare_draws(known, {name: x[:1] for name, x in draws.items()})
    assert "CHAINS_NOT_CHECKED" in codes(comparison, Severity.ERROR)
    assert (comparison.verdict, comparison.provisional) == ("differ", True)


def test_the_monte_carlo_error_decides_what_is_firm(compare_draws) -> None:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 100), 1, observed=np.zeros(1))
    z = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    shuffled = np.random.default_rng(1).permutation(z).reshape(4, 1000)
    before: pm.Model | pmlik.Comparison = model
    for shift, n, firm in ((0.2, 1000, True), (0.2, 100, False), (0.3, 1000, True)):
        part = shuffled[:, :n]
        draws = (part - part.mean()) / part.std() + shift
        before = comparison = compare_draws(before, {"mu": draws})
        assert comparison.verdict == ("agree" if shift < 0.25 else "differ")
        assert comparison.provisional != firm
        (finding,) = comparison.findings()
        assert finding.provisional != firm


def test_a_map_that_can_not_be_trusted_takes_no_verdict_away() -> None:
    flag = Flag(FlagCode.UNBOUNDED, Severity.ERROR, ("first",), "Give it another prior.")
    record = plain()
    nothing = dict.fromkeys(WIDE, np.nan)
    best = make_point("map", nothing, nothing, flags=[flag])
    comparison = make_comparison(record.mle, best, record.posterior)
    assert not comparison.trusted
    assert (comparison.verdict, comparison.provisional) == ("differ", False)
    first, *others = comparison.findings()
    assert (first.reason, first.labels) == ("not trusted", ("first",))
    assert first.text.startswith("Not to be trusted (MAP): first: The objective grows")
    assert {label for f in others for label in f.labels} == set(WIDE)


def test_an_mle_that_can_not_be_trusted_is_named_where_there_is_no_verdict() -> None:
    flag = Flag(FlagCode.NOT_CONVERGED, Severity.ERROR)
    record = plain()
    nothing = dict.fromkeys(WIDE, np.nan)
    lost = make_point("mle", nothing, nothing, flags=[flag])
    comparison = make_comparison(lost, record.map, record.posterior)
    assert (comparison.verdict, comparison.provisional) == (None, False)
    (finding,) = comparison.findings()
    assert finding.text.startswith("No verdict (MLE): No optimum")


def test_a_shift_that_is_not_finite_is_not_in_the_table() -> None:
    record = plain()
    far = make_point("mle", {**WIDE, "first": np.inf}, {"first": np.inf, "second": 0.01})
    table = make_comparison(far, record.map, record.posterior).table
    assert np.isnan(table.at["first", "shift in sd"])


def test_the_joint_modes_errors_are_warnings(compare_draws) -> None:
    sd = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        pm.Normal("y", pm.Normal("theta", mu, tau, shape=8), sd, observed=y)
    grid = np.linspace(0, 60, 6001)[1:]
    spread = sd[:, None] ** 2 + grid**2
    precision = 1 / 25 + (1 / spread).sum(axis=0)
    mean = (y[:, None] / spread).sum(axis=0) / precision
    height = (
        stats.norm.logpdf(y[:, None], mean, spread**0.5).sum(axis=0)
        + stats.norm.logpdf(mean, 0, 5)
        - 0.5 * np.log(precision)
        + stats.halfcauchy.logpdf(grid, 0, 5)
    )
    rng = np.random.default_rng(2)
    at = rng.choice(len(grid), size=(4, 1000), p=np.exp(height) / np.exp(height).sum())
    taus, mus = grid[at], rng.normal(mean[at], precision[at] ** -0.5)
    part = 1 / (1 + (sd / taus[..., None]) ** 2)
    centre = part * y + (1 - part) * mus[..., None]
    theta = rng.normal(centre, sd * part**0.5)
    comparison = compare_draws(model, {"mu": mus, "tau": taus, "theta": theta})
    assert not comparison.joint.trusted
    unbounded = [f for f in comparison.flags if f.code is FlagCode.UNBOUNDED]
    assert [flag.severity for flag in unbounded] == [Severity.WARNING]
    assert comparison.whose(unbounded[0]) == " (joint mode)"
    assert (comparison.verdict, comparison.provisional) == ("differ", False)
    assert comparison.judgement.rows["tau"] is Standing.DIFFER
    found = next(f for f in comparison.findings(all=True) if f.reason == "integration")
    assert found.text.count("theta[") <= 6
