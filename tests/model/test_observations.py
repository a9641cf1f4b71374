"""The number of observations is counted in one unit per model, or said to be unknown."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats

from oracles.fits import codes, fit
from pmlik import FlagCode
from pmlik.model.observations import count_observations, potentials_with_data
from pmlik.model.transform import likelihood_model

ROWS = np.random.default_rng(7).normal(size=(40, 3))


def masked(*holes: tuple[int, int | slice]) -> np.ma.MaskedArray:
    data = np.ma.masked_array(ROWS, np.zeros(ROWS.shape, bool))
    for hole in holes:
        data.mask[hole] = True
    return data


def multivariate(data) -> pm.Model:
    with pm.Model() as model:
        mu, s = pm.Normal("mu", 0, 5, shape=3), pm.HalfNormal("s", 3)
        pm.MvNormal("y", mu, cov=s**2 * (np.eye(3) + 0.3), observed=data)
    return model


@pytest.mark.parametrize(
    ("holes", "rows"), [((), 40), (((0, 0),), 40), (((0, 0), (5, 2), (7, slice(None))), 39)]
)
def test_rows_with_missing_entries_are_still_rows(holes, rows) -> None:
    mle = fit(multivariate(masked(*holes) if holes else ROWS))
    assert mle.n_observations == rows
    assert mle.bic == pytest.approx(4 * np.log(rows) - 2 * mle.log_likelihood)


def test_missing_single_numbers_are_not_counted() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5, shape=3)
        pm.Normal("y", mu, 1, observed=masked((0, 0), (3, 1)))
    assert count_observations(likelihood_model(model)) == 118


def test_one_partly_observed_draw_counts_its_entries() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 5)
        pm.MvNormal("y", pt.ones(3) * mu, np.eye(3) + 0.5, observed=masked((0, 0))[0])
    assert fit(model).n_observations == 2


TIMES = np.random.default_rng(0).weibull(2, 100) * 10
SEEN = TIMES <= 3


def censored(how: str) -> pm.Model:
    """Weibull times, those beyond 3 known only to be."""
    with pm.Model() as model:
        a, b = pm.HalfNormal("a", 5), pm.HalfNormal("b", 50)
        pm.Weibull("y", alpha=a, beta=b, observed=TIMES[SEEN])
        beyond = np.full((~SEEN).sum(), 3.0)
        if how == "a constant":
            pm.Potential("beyond", -((beyond / b) ** a))
        else:
            pm.Potential("beyond", -((pm.Data("limits", beyond) / b) ** a))
    return model


@pytest.mark.parametrize("how", ["a constant", "pm.Data"])
def test_data_in_a_potential_leave_bic_unknown(how: str) -> None:
    mle = fit(censored(how))
    a, b = float(mle.values["a"]), float(mle.values["b"])
    expected = stats.weibull_min.logpdf(TIMES[SEEN], a, scale=b).sum()
    expected += (~SEEN).sum() * stats.weibull_min.logsf(3, a, scale=b)
    assert mle.log_likelihood == pytest.approx(expected, rel=1e-9)
    assert np.isnan(mle.bic)
    assert np.isnan(mle.aicc)
    assert mle.aic == pytest.approx(4 - 2 * expected)
    assert FlagCode.NOT_COUNTED in codes(mle)


def test_a_potential_without_data_leaves_the_count() -> None:
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, np.array([5.0, 5.0, 5.0]), shape=3)
        pm.Normal("y", mu, 1, observed=ROWS)
        pm.Potential("ordered", pt.switch(mu[0] < mu[1] + 9, 0.0, -np.inf) - 0.1 * mu[2] ** 2)
    assert potentials_with_data(likelihood_model(model)) == ()
    assert count_observations(likelihood_model(model)) == 120
