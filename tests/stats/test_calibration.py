"""Calibration: coverage by enumeration and by integrals, ranks of a right and a wrong sampler."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import optimize, stats

import pmlik
from pmlik.inference import repeat_sampling
from pmlik.stats import calibration_worker

LIKELIHOOD = ["wald", "profile"]


def binomial(n: int, seen: int) -> pm.Model:
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1)
        pm.Binomial("y", n=n, p=p, observed=seen)
    return model


def assert_share(row, exact: float) -> None:
    """Four binomial errors: one check in 16 000 fails by chance."""
    assert row["coverage"] == pytest.approx(exact, abs=4 * row["error"])


@pytest.fixture(scope="module")
def rare():
    return pmlik.calibrate(
        binomial(40, 2), 1500, methods=LIKELIHOOD, ci_prob=0.95, random_seed=1, progressbar=False
    )


def test_a_rare_event_is_covered_as_by_enumeration(rare):
    n, p = 40, 0.05
    k = np.arange(n + 1)
    weight, seen = stats.binom.pmf(k, n, p), k / n
    error = np.sqrt(seen * (1 - seen) / n)  # zero at 0: no interval, not covered
    wald = (np.abs(seen - p) <= stats.norm.ppf(0.975) * error) & (k > 0)
    drop = stats.binom.logpmf(k, n, seen) - stats.binom.logpmf(k, n, p)
    profile = 2 * drop <= stats.chi2.ppf(0.95, 1)
    assert_share(rare.table.loc[("p", "wald")], weight[wald].sum())
    assert_share(rare.table.loc[("p", "profile")], weight[profile].sum())
    assert rare.table.loc[("p", "wald"), "missing"] == pytest.approx(weight[0], abs=0.03)


def test_each_level_is_that_of_its_data_set(rare):
    seen = rare.replicates["mle"].sel(parameter="p").to_numpy()
    with np.errstate(all="ignore"):
        error = np.sqrt(seen * (1 - seen) / 40)
        wald = 2 * stats.norm.cdf(np.abs(seen - 0.05) / error) - 1
    k = np.rint(40 * seen)
    drop = stats.binom.logpmf(k, 40, seen) - stats.binom.logpmf(k, 40, 0.05)
    known = seen > 0
    found = rare.replicates.sel(parameter="p")
    np.testing.assert_allclose(found["wald_level"][known], wald[known], atol=1e-7)
    np.testing.assert_allclose(found["profile_level"], stats.chi2.cdf(2 * drop, 1), atol=1e-6)


def test_bias_and_spread_of_a_share_are_those_of_the_binomial(rare):
    row = rare.estimators.loc[("p", "MLE")]
    assert row["spread"] == pytest.approx(np.sqrt(0.05 * 0.95 / 40), rel=0.08)
    assert abs(row["bias"]) < 4 * row["error"]


def test_a_spread_from_five_observations_is_covered_as_by_integration():
    n, true = 5, 2.0
    with pm.Model() as model:
        mu, sigma = pm.Normal("mu", 0, 100), pm.HalfNormal("sigma", 100)
        pm.Deterministic("variance", sigma**2)
        pm.Normal("y", mu, sigma, observed=[1.0, -2.0, 0.5, 3.0, 0.2])
    found = pmlik.calibrate(
        model,
        1500,
        truth={"mu": 1.0, "sigma": true},
        methods=LIKELIHOOD,
        ci_prob=0.95,
        random_seed=2,
        progressbar=False,
    )
    # n times the squared ratio r of estimate and truth is chi-square with n - 1 df.
    law, level = stats.chi2(n - 1), stats.chi2.ppf(0.95, 1)

    def drop(r):
        return n * (r**2 - 1 - 2 * np.log(r)) - level

    low, high = optimize.brentq(drop, 1e-3, 1), optimize.brentq(drop, 1, 10)
    profile = law.cdf(n * high**2) - law.cdf(n * low**2)
    z = stats.norm.ppf(0.975) / np.sqrt(2 * n)  # |r - 1| <= z r
    wald = law.cdf(n / (1 - z) ** 2) - law.cdf(n / (1 + z) ** 2)
    assert wald < profile < 0.95
    for label in ("sigma", "variance"):
        assert_share(found.table.loc[(label, "profile")], profile)
    assert_share(found.table.loc[("sigma", "wald")], wald)
    z = stats.norm.ppf(0.975) * np.sqrt(2 / n)  # the variance's, |r^2 - 1| <= z r^2
    assert_share(found.table.loc[("variance", "wald")], 1 - law.cdf(n / (1 + z)))
    one, other = (found.replicates["profile_level"].sel(parameter=p) for p in ("sigma", "variance"))
    np.testing.assert_allclose(one, other, atol=1e-7)  # a profile does not mind the scale


def test_workers_resumption_and_losses_keep_the_digits(tmp_path, monkeypatch):
    mle = pmlik.find_MLE(binomial(30, 6), progressbar=False)
    options = {"methods": LIKELIHOOD, "random_seed": 3, "progressbar": False}
    monkeypatch.setattr(calibration_worker.Refitter, "block", 20)
    serial = pmlik.calibrate(mle, 50, **options)
    with ThreadPoolExecutor(2) as pool:
        xr.testing.assert_identical(
            pmlik.calibrate(mle, 50, executor=pool, **options).replicates, serial.replicates
        )
    path = pmlik.calibrate(mle, 30, **options).save(tmp_path / "few.nc")
    resumed = pmlik.calibrate(mle, 50, resume=path, **options)
    xr.testing.assert_identical(resumed.replicates, serial.replicates)
    with pytest.raises(pmlik.FileError, match="resume"):
        pmlik.calibrate(mle, 60, resume=path, **{**options, "methods": ["wald"]})
    do = calibration_worker.CalibrationWorker.block

    def fail(self, number, n):
        if number == 1:
            raise MemoryError
        return do(self, number, n)

    monkeypatch.setattr(calibration_worker.CalibrationWorker, "block", fail)
    partial = pmlik.calibrate(mle, 50, **options)
    assert partial.failures == {"lost: MemoryError": 20}
    kept = [*range(20), *range(40, 50)]
    np.testing.assert_array_equal(partial.replicates["mle"][kept], serial.replicates["mle"][kept])


@pytest.fixture(scope="module")
def normal():
    with pm.Model() as model:
        mu = pm.Normal("mu", 1, 2)
        pm.Normal("y", mu, 3, observed=[1.0, 4.0, -2.0, 3.0])
    return pmlik.find_MLE(model, progressbar=False)


def test_draws_from_the_prior_are_covered_and_their_ranks_uniform(normal):
    found = pmlik.calibrate(
        normal, 100, truth="prior", ci_prob=0.9, random_seed=4, progressbar=False
    )
    one = found.replicates.sel(parameter="mu")
    weight = (4 / 9) / (4 / 9 + 1 / 4)  # of the data's mean, against the prior's
    exact = weight * one["mle"] + (1 - weight) * 1
    sd = (4 / 9 + 1 / 4) ** -0.5
    np.testing.assert_allclose(one["map"], exact, rtol=1e-6)
    error = sd / np.sqrt(one["ess"])
    assert (np.abs(one["mean"] - exact) < 5 * error).all()
    np.testing.assert_allclose(one["std_error"], 1.5, rtol=1e-6)
    for method in ("wald", "profile", "posterior"):
        assert_share(found.table.loc[("mu", method)], 0.9)
    assert found.uniformity["mu"] > 0.005
    assert found.estimators.loc[("mu", "posterior mean"), "rmse"] == pytest.approx(sd, rel=0.3)


def test_a_sampler_that_is_too_sure_is_found_out(normal, monkeypatch):
    draw = repeat_sampling.RepeatedSampler.__call__

    def narrow(self, data, seed):
        found = draw(self, data, seed)
        centre = found.values.mean(axis=0)
        return found._replace(values=centre + 0.5 * (found.values - centre))

    monkeypatch.setattr(calibration_worker.RepeatedSampler, "__call__", narrow)
    found = pmlik.calibrate(
        normal, 100, truth="prior", methods=["posterior"], random_seed=5, progressbar=False
    )
    assert found.uniformity["mu"] < 0.005
    assert any("not uniform" in text for text in found.findings())


def test_what_can_not_be_calibrated_is_refused(normal):
    for wrong, text in (
        ({"n": 1}, "n: got 1"),
        ({"methods": "wald"}, "methods"),
        ({"methods": ["bootstrap"]}, "methods"),
        ({"truth": "posterior"}, "truth"),
        ({"truth": {"nu": 1.0}}, "nu"),
        ({"draws": 3}, "draws"),
    ):
        with pytest.raises(pmlik.PmlikError, match=text):
            pmlik.calibrate(normal, progressbar=False, **{"n": 10, **wrong})
    with pytest.raises(pmlik.ModelError, match="estimate"):
        pmlik.calibrate(3)
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Potential("data", -((x - 1) ** 2))
        pm.Normal("y", x, 1, observed=[1.0])
    with pytest.raises(pmlik.ModelError, match="Potential"):
        pmlik.calibrate(model, progressbar=False)


def test_the_figure_has_the_coverage(rare):
    figure = pmlik.plot_calibration(rare)
    [axes] = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    level, off = lines["Wald"][-1] / 100
    share = rare.coverage([level])["coverage"].sel({"method": "wald", "parameter": "p"})
    assert off == pytest.approx(float(share[0]) - level, abs=1e-12)
    with pytest.raises(pmlik.ValuesError, match="var_names"):
        pmlik.plot_calibration(rare, var_names=["q"])
