"""A model is compiled once, and again as soon as anything of it changes."""

import gc
import weakref

import numpy as np
import pymc as pm
import pytest

import pmlik
from pmlik.inference import prepare as room

Y = np.array([0.3, 1.2, -0.4, 2.0])
QUIET = {"progressbar": False, "random_seed": 1}


def build():
    with pm.Model(coords={"row": range(4)}) as model:
        y = pm.Data("data", Y, dims="row")
        mu = pm.Normal("mu", 0, 2)
        pm.Normal("y", mu, 1, observed=y, dims="row")
    return model


@pytest.fixture
def compiled(monkeypatch):
    """Return the list of models compiled so far."""
    models, compile_model = [], room.compile_model

    def counted(model, *args, **kwargs):
        models.append(model)
        return compile_model(model, *args, **kwargs)

    monkeypatch.setattr(room, "compile_model", counted)
    return models


def test_an_unchanged_model_is_compiled_once(compiled):
    model = build()
    mle = pmlik.find_MLE(model, **QUIET)
    again = pmlik.find_MLE(model, **QUIET)
    mode = pmlik.find_MAP(model, **QUIET)
    comparison = pmlik.compare(model, sample=False, extras=False, **QUIET)
    pmlik.likelihood_ratio_test(model, null={"mu": 0.0}, **QUIET)
    assert len(compiled) == 1
    assert again.values["mu"] == mle.values["mu"] == comparison.mle.values["mu"]
    np.testing.assert_allclose(mle.values["mu"], Y.mean(), rtol=1e-9)
    np.testing.assert_allclose(mode.values["mu"], Y.sum() / (4 + 1 / 4), rtol=1e-9)
    other = pmlik.find_MLE(model, potentials="prior", **QUIET)
    assert len(compiled) == 2
    assert other.values["mu"] == mle.values["mu"]


def test_each_change_of_the_model_is_seen(compiled):
    model = build()
    first = pmlik.find_MLE(model, **QUIET)
    with model:
        pm.set_data({"data": Y + 1})
    second = pmlik.find_MLE(model, **QUIET)
    np.testing.assert_allclose(second.values["mu"], Y.mean() + 1, rtol=1e-9)
    np.testing.assert_allclose(first.values["mu"], Y.mean(), rtol=1e-9)
    with model:
        pm.set_data({"data": np.append(Y, 9.0)}, coords={"row": range(5)})
    np.testing.assert_allclose(pmlik.find_MLE(model, **QUIET).values["mu"], 12.1 / 5, rtol=1e-9)
    with model:
        pm.Potential("term", -0.5 * (model["mu"] - 4) ** 2)
    np.testing.assert_allclose(pmlik.find_MLE(model, **QUIET).values["mu"], 16.1 / 6, rtol=1e-9)
    assert len(compiled) == 4
    model.rvs_to_initial_values[model["mu"]] = np.array(0.5)
    pmlik.find_MLE(model, **QUIET)
    model.rvs_to_initial_values[model["mu"]][...] = 0.7
    started = pmlik.find_MLE(model, **QUIET)
    assert len(compiled) == 6
    np.testing.assert_array_equal(started.prepared.problem.initial, [0.7])


def test_values_written_into_constant_data_are_seen(compiled):
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        y = pm.Normal("y", mu, 1, observed=Y)
    pmlik.find_MLE(model, **QUIET)
    model.rvs_to_values[y].data[0] += 4
    np.testing.assert_allclose(pmlik.find_MLE(model, **QUIET).values["mu"], Y.mean() + 1, rtol=1e-9)
    assert len(compiled) == 2


def test_nothing_outlives_the_model():
    model = build()
    mle = pmlik.find_MLE(model, **QUIET)
    known = weakref.ref(model), weakref.ref(mle.prepared.problem)
    del model, mle
    gc.collect()
    assert [ref() for ref in known] == [None, None]
