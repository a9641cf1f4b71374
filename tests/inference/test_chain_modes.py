"""Chains that disagree are explained by the maxima that they sit at; where chains start."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy import stats

import pmlik
from oracles.fits import codes
from pmlik import FlagCode, Severity

COMPARE = partial(pmlik.compare, random_seed=1, progressbar=False, extras=False, profile=False)


def two_maxima(n: int, gap: float = 10.0) -> pm.Model:
    """``n`` observations at 0 and one at ``gap`` of a heavy-tailed density with a narrow scale."""
    y = np.append(np.linspace(-0.2, 0.2, n), [gap, gap])
    with pm.Model() as model:
        pm.Cauchy("y", pm.Normal("mu", 0, 20), 0.1, observed=y)
    return model


def height(model: pm.Model, mu: float) -> float:
    y = model["y"].owner.op and model.rvs_to_values[model["y"]].data
    return float(stats.cauchy.logpdf(y, mu, 0.1).sum() + stats.norm.logpdf(mu, 0, 20))


@pytest.fixture
def give_runs(monkeypatch) -> Callable[..., list]:
    """Let the sampler return these draws of mu (chain, draw), run by run; note where it starts."""

    def give(*runs: np.ndarray) -> list:
        asked: list = []

        def sample(*_, initvals=None, **__) -> xr.DataTree:
            asked.append(initvals)
            draws = runs[len(asked) - 1]
            coords = {"chain": range(len(draws)), "draw": range(draws.shape[1])}
            dataset = xr.Dataset({"mu": (("chain", "draw"), draws)}, coords=coords)
            return xr.DataTree.from_dict({"posterior": dataset})

        monkeypatch.setattr("pmlik.inference.sample.run_pymc_sample", sample)
        return asked

    return give


def around(centres: list[float]) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(len(centres), 1000))
    return np.array(centres)[:, None] + 0.05 * noise


def test_a_chain_at_a_maximum_without_weight_is_sampled_again(give_runs) -> None:
    model = two_maxima(20)
    first, second = around([0.0, 0.0, 10.0, 0.0]), around([0.0] * 4)
    asked = give_runs(first, second)
    comparison = COMPARE(model)
    assert asked[0] is None
    assert set(asked[1]) == {"mu"}
    assert asked[1]["mu"] == pytest.approx(float(comparison.map.values["mu"]))
    (flag,) = [f for f in comparison.flags if f.code is FlagCode.SAMPLED_AGAIN]
    assert flag.severity is Severity.WARNING
    grid = np.linspace(9.5, 10.5, 10_001)
    lesser = max(height(model, mu) for mu in grid)
    below = comparison.map.log_likelihood + comparison.map.log_prior - lesser
    assert flag.detail.startswith("Chains 0, 1, 3 at the MAP; chain 2 at a local maximum")
    assert f"{below:.3g} below the MAP in log-density, mu = 9.99." in flag.detail
    tree = comparison.posterior.tree
    np.testing.assert_array_equal(tree["posterior_first"]["mu"], first)
    np.testing.assert_array_equal(tree["posterior"]["mu"], second)
    assert comparison.verdict is not None
    assert FlagCode.HIGH_R_HAT not in codes(comparison.posterior)
    assert {"sampling", "sampling again"} <= set(comparison.timings)


def test_both_runs_are_saved(give_runs, tmp_path) -> None:
    first, second = around([0.0, 10.0]), around([0.0, 0.0])
    give_runs(first, second)
    comparison = COMPARE(two_maxima(20))
    loaded = pmlik.load(comparison.save(tmp_path / "both.nc"))
    np.testing.assert_array_equal(loaded.posterior.tree["posterior_first"]["mu"], first)
    np.testing.assert_array_equal(loaded.posterior.tree["posterior"]["mu"], second)


def test_a_maximum_that_may_hold_mass_is_told_and_not_left(give_runs) -> None:
    asked = give_runs(around([0.0, 10.0, 0.0, 10.0]))
    comparison = COMPARE(two_maxima(3))
    assert len(asked) == 1
    errors = [f for f in comparison.posterior.flags if f.code is FlagCode.CHAINS_AT_MODES]
    assert [(f.severity, f.variables) for f in errors] == [(Severity.ERROR, ("mu",))]
    assert "chains 1, 3 at a local maximum" in errors[0].detail
    assert FlagCode.HIGH_R_HAT not in codes(comparison.posterior)
    assert comparison.verdict is None


def test_a_broad_maximum_is_not_left_for_a_narrow_spike(give_runs) -> None:
    # The spike is the MAP and holds next to nothing; all chains are right to be elsewhere.
    with pm.Model() as model:
        mu = pm.Uniform("mu", -100, 100)
        spike = pm.logp(pm.Normal.dist(50, 1e-6), mu) - 9.0
        broad = pm.logp(pm.Normal.dist(0, 5), mu)
        pm.Potential("mixture", pm.math.logaddexp(spike, broad))
    draws = np.random.default_rng(1).normal(0, 5, size=(4, 1000)) + np.array([[0], [0], [3], [0]])
    asked = give_runs(draws)
    COMPARE(model, start={"mu": 50.0}, n_starts=1)
    assert len(asked) == 1


def test_maxima_of_one_height_are_told_apart(give_runs) -> None:
    y = np.linspace(3.8, 4.2, 20)
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 10) ** 2, 0.1, observed=y)
    asked = give_runs(around([2.0, -2.0, 2.0, 2.0]))
    comparison = COMPARE(model)
    assert len(asked) == 1
    (flag,) = [f for f in comparison.posterior.flags if f.code is FlagCode.CHAINS_AT_MODES]
    assert "at the MAP; " in flag.detail
    assert "at a maximum as high as the MAP, mu = " in flag.detail


def test_chains_that_disagree_about_one_maximum_are_not_explained_by_two(give_runs) -> None:
    asked = give_runs(around([0.0, 0.0, 0.2, 0.0]))
    comparison = COMPARE(two_maxima(20))
    assert len(asked) == 1
    assert FlagCode.HIGH_R_HAT in codes(comparison.posterior)
    assert FlagCode.CHAINS_AT_MODES not in codes(comparison.posterior)


def test_a_second_run_that_fails_leaves_the_first(give_runs) -> None:
    asked = give_runs(around([0.0, 0.0, 10.0, 0.0]))  # the second has no draws to give
    comparison = COMPARE(two_maxima(20))
    assert len(asked) == 2
    assert FlagCode.CHAINS_AT_MODES in codes(comparison.posterior)
    left_out = [f for f in comparison.flags if f.code is FlagCode.STEP_LEFT_OUT]
    assert "sampling again" in left_out[0].detail


def test_long_sampling_is_not_repeated(give_runs, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["pmlik.compare"], "AGAIN", 0.0)
    asked = give_runs(around([0.0, 0.0, 10.0, 0.0]))
    comparison = COMPARE(two_maxima(20))
    assert len(asked) == 1
    assert FlagCode.CHAINS_AT_MODES in codes(comparison.posterior)


@pytest.mark.parametrize("init", ["auto", "map", "prior"])
def test_init_says_where_chains_start(init: str, give_runs) -> None:
    asked = give_runs(around([0.0] * 4))
    comparison = COMPARE(two_maxima(20), init=init)
    at_map = float(comparison.map.values["mu"])
    expected = {"auto": None, "map": {"mu": pytest.approx(at_map)}, "prior": {"mu": "prior"}}
    assert asked == [expected[init]]
    assert (f"init={init!r}" in comparison.background.call) == (init != "auto")


def test_a_map_on_its_border_is_no_start(give_runs) -> None:
    asked = give_runs(around([0.2] * 4))
    with pm.Model() as model:
        mu = pm.HalfNormal("mu", 1)
        pm.Normal("y", mu, 1, observed=[-1.0, -2.0])
    comparison = COMPARE(model, init="map")
    assert asked == [None]
    assert FlagCode.NO_INIT in {flag.code for flag in comparison.flags}


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_chains_start_at_the_map_without_jitter(sampler: str, monkeypatch) -> None:
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 100), 1, observed=[7.0])
    given: list[dict] = []

    def sample(**kwargs) -> xr.DataTree:
        given.append(kwargs)
        return xr.DataTree.from_dict(
            {"posterior": xr.Dataset({"mu": (("chain", "draw"), around([7.0] * 4))})}
        )

    monkeypatch.setattr("pmlik.inference.sample.pm.sample", sample)
    COMPARE(model, init="map", sample_kwargs={"nuts_sampler": sampler, "draws": 1000})
    (kwargs,) = given
    assert kwargs["initvals"]["mu"] == pytest.approx(7.0, rel=1e-3)
    if sampler == "nutpie":
        assert kwargs["compile_kwargs"] == {"jitter_rvs": set()}
    else:
        assert kwargs["init"] == "adapt_diag"


def test_a_wrong_init_is_refused_at_once() -> None:
    model = two_maxima(2)
    with pytest.raises(pmlik.ModelError, match="need 'auto', 'map' or 'prior'"):
        pmlik.compare(model, init="jitter")
    with pytest.raises(pmlik.ModelError, match="pass one of them"):
        pmlik.compare(model, init="map", sample_kwargs={"initvals": {"mu": 1.0}})


def test_real_chains_start_at_the_map() -> None:
    model = two_maxima(20, gap=30.0)
    short = {"draws": 300, "tune": 300, "chains": 2}
    comparison = COMPARE(model, init="map", sample_kwargs=short)
    assert comparison.posterior.diagnostics["r_hat"] < 1.05
    assert abs(float(comparison.posterior.values["mu"])) < 0.5
