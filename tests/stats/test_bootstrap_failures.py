"""Replicates without an estimate: counted, named, and never averaged over in silence."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest

import pmlik
from oracles import zoo
from oracles.fits import fit, near, resample
from pmlik.results.flags import FlagCode, Severity
from pmlik.stats.refit import Refitter
from pmlik.stats.refit_status import RefitStatus


@pytest.fixture(scope="module")
def challenger() -> pmlik.PointEstimate:
    from quickstart import model

    return fit(model)


def is_separated(temperature: np.ndarray, damage: np.ndarray) -> bool:
    """Whether one threshold tells the outcomes apart, or ties at it do: no finite MLE exists."""
    if damage.min() == damage.max():
        return True
    hot, cold = temperature[damage == 0], temperature[damage == 1]
    return bool(cold.max() <= hot.min() or hot.max() <= cold.min())


@pytest.mark.parametrize("kind", ["parametric", "nonparametric"])
def test_failures_are_the_separated_data_sets(challenger, kind) -> None:
    import quickstart

    temperature = np.array(quickstart.temperature)
    damage = np.array(quickstart.damage)
    n = 1000
    found = resample(challenger, n, kind=kind)
    if kind == "parametric":
        from pmlik.inference.simulate import simulator

        prepared = challenger.prepared
        values = {name: challenger.values[name].values for name in prepared.roles.parameters}
        simulate = simulator(prepared.model, prepared.roles, values, None)
        seeds = [np.random.SeedSequence(1, spawn_key=(i,)) for i in range(n)]
        expected = [is_separated(temperature, simulate(seed)["damage"]) for seed in seeds]
    else:
        expected = []
        for i in range(n):
            rng = np.random.default_rng(np.random.SeedSequence(1, spawn_key=(i,)))
            rows = rng.multinomial(23, np.full(23, 1 / 23)) > 0
            expected.append(is_separated(temperature[rows], damage[rows]))
    failed = found.draws["slope"].isnull().values
    np.testing.assert_array_equal(failed, expected)
    assert found.n_failed == sum(expected) > 0
    assert set(found.failures) == {str(RefitStatus.INFINITY)}
    (flag,) = found.flags
    assert flag.code is FlagCode.REFITS_FAILED
    assert flag.severity is Severity.WARNING
    assert f"{sum(expected)} of {n}" in flag.detail
    interval = pmlik.interval_bootstrap(found)
    assert interval.attrs["n_failed"] == sum(expected)
    assert np.isfinite(interval["slope"]).all()


def test_too_many_failures_give_nan_and_an_error() -> None:
    with pm.Model() as model:
        b = pm.Normal("b", 0, 10, shape=2)
        x = np.array([-2, -1, 0, 1, 2, 3.0])
        pm.Bernoulli("y", logit_p=b[0] + b[1] * x, observed=[0, 0, 1, 0, 1, 1])
    found = resample(fit(model), 200, kind="nonparametric")
    assert found.n_failed > 20
    assert not found.trusted
    assert found.std_error["b"].isnull().all()
    assert pmlik.interval_bootstrap(found)["b"].isnull().all()
    assert found.draws.sizes["replicate"] == 200


def test_estimates_at_the_border_are_estimates() -> None:
    found = resample(fit(zoo.binomial().model), 1000)
    zero = found.fits["outcome"] == str(RefitStatus.BOUNDARY)
    np.testing.assert_array_equal(found.draws["p"].values == 0, zero.values)
    p, n = 0.8**10, 1000
    assert float(zero.mean()) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / n))
    assert found.n_failed == 0
    assert [flag.code for flag in found.flags] == [FlagCode.REFITS_AT_BOUNDARY]
    near(found.std_error["p"], np.sqrt(0.2 * 0.8 / 10), n)
    # All that a binomial of ten can estimate is tenths.
    np.testing.assert_allclose(found.draws["p"] * 10, np.round(found.draws["p"] * 10), atol=1e-9)


def test_what_is_not_identified_stays_nan() -> None:
    found = resample(fit(zoo.collinear().model), 50, kind="bayesian")
    assert found.draws["b"].isnull().all()
    assert np.isfinite(found.draws["total"]).all()
    assert found.n_failed == 0


SMALL = np.repeat([0, 1, 2], [2, 9, 9])


def small_groups(n_more: int) -> pm.Model:
    """A mean a group, of which one has two rows; ``n_more`` more groups make it a sparse one."""
    group = np.concatenate([SMALL, np.repeat(3 + np.arange(n_more), 12)])
    y = np.random.default_rng(4).normal(size=len(group)) + group
    with pm.Model(coords={"group": np.arange(group.max() + 1)}) as model:
        mean = pm.Normal("mean", 0, 100, dims="group")
        pm.Deterministic("last", mean[-1] + 1)
        pm.Normal("y", mean[group], 2.0, observed=y)
    return model


@pytest.mark.parametrize("n_more", [0, 40])
def test_a_group_that_is_not_drawn_has_no_estimate_and_the_others_have(n_more) -> None:
    estimate = fit(small_groups(n_more))
    model = estimate.prepared.model
    y = model.rvs_to_values[model["y"]].eval()
    group = np.concatenate([SMALL, np.repeat(3 + np.arange(n_more), 12)])
    size = 3 + n_more
    weights = np.random.default_rng(5).multinomial(len(y), np.full(len(y), 1 / len(y)), size=60)
    refitter = Refitter(estimate.prepared, "mle", estimate.unconstrained, {"y": (len(y),)})
    alone = Refitter(
        estimate.prepared, "mle", estimate.unconstrained, {"y": (len(y),)}, together=False
    )
    absent = 0
    for refits, some in ((refitter({"y": weights.astype(float)}), 60), (None, 12)):
        refits = refits or alone({"y": weights[:some].astype(float)})
        for row, weight, end in zip(refits.values, weights, refits.outcome, strict=False):
            count = np.bincount(group, weight, minlength=size)
            with np.errstate(all="ignore"):
                mean = np.bincount(group, weight * y, minlength=size) / count
            np.testing.assert_allclose(row, [*mean, mean[-1] + 1], rtol=1e-8, atol=1e-10)
            assert end is (RefitStatus.CERTIFIED if count.all() else RefitStatus.PARTIAL)
            absent += not count.all()
    assert absent >= 3  # or the draws were no test


def test_what_some_resamples_say_nothing_about_is_flagged() -> None:
    estimate = fit(small_groups(40))
    n = 400
    spread = resample(estimate, n, kind="nonparametric")
    lacking = spread.draws["mean"].isnull().mean("replicate")
    rows = len(SMALL) + 40 * 12
    expected = (1 - 2 / rows) ** rows  # that neither of the two is drawn: about exp(-2)
    assert abs(lacking[0] - expected) < 4 * np.sqrt(expected * (1 - expected) / n)
    assert not lacking[1:].any()
    assert spread.n_failed == 0
    [flag] = spread.flags
    assert flag.code is FlagCode.REFITS_SAY_NOTHING
    assert flag.severity is Severity.WARNING
    assert flag.variables == ("mean[0]",)
    assert f"mean[0] in {round(float(lacking[0]) * n)}" in flag.detail
    ends = pmlik.interval_bootstrap(spread)
    for values in (spread.std_error["mean"], spread.bias["mean"], ends["mean"].max("ci_bound")):
        assert np.isnan(values[0])
        assert not np.isnan(values[1:]).any()
    kept = spread.draws["mean"][:, 1].values
    assert spread.std_error["mean"][1].item() == pytest.approx(kept.std(ddof=1), rel=1e-12)


def test_an_estimate_without_a_finite_optimum_is_refused() -> None:
    estimate = fit(zoo.separation().model)
    with pytest.raises(pmlik.ModelError, match="no finite optimum to start from"):
        resample(estimate, 10)
