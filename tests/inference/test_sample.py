"""What is made of draws, with the sampler replaced by draws of known content."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pmlik
from oracles.fits import codes
from pmlik import FlagCode


@pytest.fixture
def model() -> pm.Model:
    with pm.Model() as built:
        a = pm.Normal("a", 0, 1)
        pm.Deterministic("root", pm.math.sqrt(a))
        pm.Normal("y", a, 1, observed=[1.0, 2.0])
    return built


def give(monkeypatch, **draws: np.ndarray) -> xr.DataTree:
    """Let ``pm.sample`` return these draws."""
    dataset = xr.Dataset({name: (("chain", "draw"), values) for name, values in draws.items()})
    tree = xr.DataTree.from_dict({"posterior": dataset})
    monkeypatch.setattr("pmlik.inference.sample.pm.sample", lambda **kwargs: tree)
    return tree


def sample(model: pm.Model, n: int = 1000) -> pmlik.PosteriorEstimate:
    return pmlik.sample_posterior(model, progressbar=False, sample_kwargs={"draws": n})


def test_good_draws_are_summarised_without_a_flag(model, monkeypatch) -> None:
    a = np.random.default_rng(0).normal(5, 1, size=(4, 1000))
    tree = give(monkeypatch, a=a, root=np.sqrt(a))
    posterior = sample(model)
    assert posterior.tree is tree
    assert posterior.flags == ()
    assert float(posterior.values["a"]) == pytest.approx(a.mean())
    assert float(posterior.std_error["root"]) == pytest.approx(np.sqrt(a).std(ddof=1))


def test_a_quantity_that_is_undefined_in_some_draws_has_no_mean(model, monkeypatch) -> None:
    a = np.random.default_rng(0).normal(0, 1, size=(4, 1000))
    with np.errstate(invalid="ignore"):
        give(monkeypatch, a=a, root=np.sqrt(a))
    posterior = sample(model)
    assert np.isnan(posterior.values["root"])
    assert float(posterior.values["a"]) == pytest.approx(a.mean())
    [flag] = [f for f in posterior.flags if f.code is FlagCode.DRAWS_NOT_FINITE]
    assert flag.variables == ("root",)


def test_fewer_draws_than_asked_for_are_flagged(model, monkeypatch) -> None:
    # nutpie answers an interrupt with what it has, and raises nothing.
    a = np.random.default_rng(0).normal(5, 1, size=(4, 700))
    give(monkeypatch, a=a, root=np.sqrt(a))
    posterior = sample(model)
    assert FlagCode.CUT_SHORT in codes(posterior)
    assert not posterior.trusted


def test_chains_in_two_places_are_flagged(model, monkeypatch) -> None:
    a = np.random.default_rng(0).normal(5, 1, size=(4, 1000))
    a[2:] += 3
    give(monkeypatch, a=a, root=np.sqrt(a))
    assert FlagCode.HIGH_R_HAT in codes(sample(model))


def test_sticky_chains_are_flagged(model, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    a = np.zeros((4, 1000))
    for t in range(1, 1000):  # an AR(1) with 200 times fewer effective draws than draws
        a[:, t] = 0.99 * a[:, t - 1] + rng.normal(size=4)
    give(monkeypatch, a=a, root=np.sqrt(np.abs(a)))
    assert FlagCode.LOW_ESS in codes(sample(model))


def test_a_summary_that_fails_loses_no_draws(model, monkeypatch) -> None:
    a = np.random.default_rng(0).normal(5, 1, size=(4, 1000))
    tree = give(monkeypatch, a=a, root=np.sqrt(a))

    def fail(*args):
        raise MemoryError("no room")

    monkeypatch.setattr("pmlik.inference.sample.diagnose", fail)
    posterior = sample(model)
    assert posterior.tree is tree
    assert np.isnan(posterior.values["a"])
    assert FlagCode.NO_SUMMARY in codes(posterior)
    assert "a " in str(posterior)


def test_divergences_are_counted(model, monkeypatch) -> None:
    a = np.random.default_rng(0).normal(5, 1, size=(4, 1000))
    tree = give(monkeypatch, a=a, root=np.sqrt(a))
    diverging = np.zeros((4, 1000), bool)
    diverging[0, :50] = True
    tree["sample_stats"] = xr.DataTree(xr.Dataset({"diverging": (("chain", "draw"), diverging)}))
    posterior = sample(model)
    assert posterior.diagnostics["divergences"] == 50
    assert FlagCode.DIVERGENCES in codes(posterior)
    assert not posterior.trusted


def test_a_model_that_nutpie_cannot_take_is_sampled_by_pymc() -> None:
    # No gradient: pm.sample falls back to a step method that knows no NUTS options.
    import pytensor.tensor as pt
    from pytensor.graph import Apply, Op

    class Square(Op):
        def make_node(self, x):
            return Apply(self, [pt.as_tensor(x)], [pt.dscalar()])

        def perform(self, node, inputs, outputs):
            outputs[0][0] = np.asarray(inputs[0] ** 2)

    with pm.Model() as opaque:
        a = pm.Normal("a", 0, 1)
        pm.Normal("y", Square()(a), 1, observed=1.0)
    posterior = pmlik.sample_posterior(
        opaque,
        random_seed=1,
        progressbar=False,
        sample_kwargs={"draws": 50, "tune": 50, "chains": 2, "cores": 1},
    )
    assert posterior.tree["posterior"].sizes["draw"] == 50
