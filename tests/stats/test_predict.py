"""Predictions at new data: against R's predict, and PyMC's own posterior predictive draws."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pmlik
from oracles import regressions_of_r
from pmlik.inference.sample import summarize_draws


def compared(model: pm.Model) -> pmlik.Comparison:
    quick = {"sample": False, "extras": False, "profile": False}
    return pmlik.compare(model, random_seed=1, progressbar=False, **quick)


def with_draws(comparison: pmlik.Comparison, n: int = 300) -> pmlik.Comparison:
    """Return the comparison with normal draws around the MLE in place of sampled ones."""
    rng, names = np.random.default_rng(1), list(comparison.mle.values.data_vars)
    covariance = comparison.mle.covariance.to_numpy()
    centre = [float(comparison.mle.values[name]) for name in names]
    drawn = rng.multivariate_normal(centre, covariance, size=(2, n))
    draws = xr.Dataset(
        {name: (("chain", "draw"), drawn[..., i]) for i, name in enumerate(names)},
        coords={"chain": [0, 1], "draw": np.arange(n)},
    )
    tree = xr.DataTree.from_dict({"posterior": draws})
    posterior = summarize_draws(tree, draws, {}, "eti", 0.89, n)
    return pmlik.Comparison(
        **{
            name: getattr(comparison, name)
            for name in comparison.__dataclass_fields__
            if name != "posterior"
        },
        posterior=posterior,
    )


@pytest.fixture(scope="module")
def cars() -> pmlik.Comparison:
    return with_draws(compared(regressions_of_r.cars()))


def test_expected_values_are_those_of_predict() -> None:
    # predict(w, data.frame(wool=c("A","B"), tension=c("L","H")), type="response", se.fit=TRUE)
    breaks = compared(regressions_of_r.warpbreaks())
    found = breaks.predict(data={"wool": [0.0, 1.0], "tension_is": [[0.0, 0.0], [0.0, 1.0]]})
    np.testing.assert_allclose(
        found.table[["MLE", "SE"]],
        [(40.123538011696, 1.8220417329449), (19.442982456140, 1.1291140206492)],
        rtol=1e-7,
    )
    # predict(m, data.frame(hp=c(100,180), wt=c(2.5,3.2)), type="response", se.fit=TRUE)
    logit = compared(regressions_of_r.mtcars())
    found = logit.predict(data={"hp_of": [100.0, 180.0], "wt_of": [2.5, 3.2]})
    np.testing.assert_allclose(
        found.table[["MLE", "SE"]],
        [(0.90747359191505, 0.11477311654053), (0.38347733391943, 0.21283497225990)],
        rtol=1e-6,
    )


def test_a_mean_has_both_answers(cars) -> None:
    before = cars.mle.prepared.model["speed"].get_value().copy()
    found = cars.predict(data={"speed": [10.0, 21.0, 30.0]}, coords={"car": ["x", "y", "z"]})
    # deltaMethod(est, "a+21*b", vcov.=V)
    row = found.table.loc["E(dist)[y]"]
    np.testing.assert_allclose(row[["MLE", "SE"]], [65.00148905109, 3.12076374931], rtol=1e-8)
    draws = cars.posterior.tree["posterior"]
    at = draws["a"] + 21 * draws["b"]
    assert row["posterior mean"] == pytest.approx(float(at.mean()))
    assert row["sd"] == pytest.approx(float(at.std(ddof=1)))
    assert row["delta lower"] < row["MLE"] < row["delta upper"]
    np.testing.assert_array_equal(cars.mle.prepared.model["speed"].get_value(), before)


def test_new_observations_are_pymcs(cars) -> None:
    new = np.array([10.0, 60.0])
    found = cars.predict(data={"speed": new}, kind="response", random_seed=7)
    model = regressions_of_r.cars()
    with model:
        pm.set_data({"speed": new}, coords={"car": [0, 1]})
        own = pm.sample_posterior_predictive(
            cars.posterior.tree, random_seed=7, predictions=True, progressbar=False
        )
    np.testing.assert_array_equal(
        found.draws["posterior_predictive"]["dist"], own["predictions"]["dist"]
    )
    far = found.table.iloc[1]
    sigma = float(cars.mle.values["sigma"])
    assert far["plug-in sd"] == pytest.approx(sigma, rel=0.05)
    error = cars.predict(data={"speed": new}).table["SE"].iloc[1]
    assert far["sd ratio"] == pytest.approx(sigma / np.hypot(sigma, error), rel=0.08)
    assert "plug-in" in str(found)


def test_latents_are_at_the_population_level() -> None:
    group = np.repeat([0, 1, 2, 3], 3)
    y = np.array([1.0, 2, 3, 2, 3, 4, 4, 5, 6, 0, 1, 2])
    with pm.Model(coords={"group": list("abcd"), "row": np.arange(12)}) as model:
        of = pm.Data("of", group, dims="row")
        mu, tau = pm.Normal("mu", 0, 10), pm.HalfNormal("tau", 5)
        u = pm.Normal("u", mu, tau, dims="group")
        pm.Normal("y", u[of], 1, observed=y, dims="row")
    found = compared(model)
    mean = found.predict(data={"of": [0, 1]}, coords={"group": ["e", "f"]})
    assert mean.table["MLE"].tolist() == pytest.approx([2.75, 2.75])
    np.testing.assert_allclose(mean.table["SE"], found.table.at["mu", "SE"], rtol=1e-6)
    assert "population" in mean.notes[0]
    drawn = found.predict(data={"of": [0, 1]}, coords={"group": ["e", "f"]}, kind="response")
    sd = np.hypot(1, float(found.mle.values["tau"]))
    np.testing.assert_allclose(drawn.table["plug-in sd"], sd, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": {"sped": [1.0]}}, "not a pm.Data"),
        ({"data": {"speed": [[1.0]]}}, "data: "),
        ({"var_names": ["dist ance"]}, "var_names"),
        ({"kind": "median"}, "kind"),
        ({"data": [1.0]}, "mappings"),
    ],
)
def test_what_can_not_be_predicted_is_refused(cars, options, words) -> None:
    with pytest.raises(pmlik.ValuesError, match=words):
        cars.predict(**options)
