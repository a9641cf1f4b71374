"""The number of observations is counted in one unit per model, or said to be unknown."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from scipy import stats

import pmlik
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


N = 12
RING = np.roll(np.eye(N), 1, 0) + np.roll(np.eye(N), -1, 0)
AREAS = np.random.default_rng(0).normal(size=(5, N)) + np.random.default_rng(1).normal(size=N)


def areas(kind: str) -> pm.Model:
    with pm.Model() as model:
        mu, tau = pm.Normal("mu", 0, 10), pm.Gamma("tau", 2, 2)
        if kind == "CAR":
            u = pm.CAR("u", mu=np.zeros(N), W=RING, alpha=0.0, tau=tau)
        elif kind == "ICAR":
            u = pm.ICAR("u", W=RING) / pt.sqrt(tau)
        else:
            u = pm.Normal("u", 0, tau=2 * tau, shape=N)
        pm.Normal("y", mu + u, 1.0, observed=AREAS)
    return model


def test_densities_without_their_constant_are_not_compared_across_models() -> None:
    car, plain = fit(areas("CAR")), fit(areas("Normal"))
    assert FlagCode.NOT_NORMALISED in codes(car)
    assert FlagCode.NOT_NORMALISED not in codes(plain)
    assert np.isnan([car.aic, car.aicc, car.bic]).all()
    assert np.isfinite([plain.aic, plain.bic]).all()
    # With alpha = 0 on a ring CAR is Normal(0, 1 / sqrt(2 tau)), up to the constant.
    np.testing.assert_allclose(car.values["tau"], plain.values["tau"], rtol=1e-5)
    gap = -N / 2 * np.log(2 * np.pi) + N / 2 * np.log(2)
    assert plain.log_likelihood - car.log_likelihood == pytest.approx(gap, abs=1e-6)
    with pytest.raises(pmlik.PmlikError, match="u: PyMC's density lacks its constant"):
        pmlik.likelihood_ratio_test(car, plain)


def test_pymcs_own_densities_of_continuous_data_integrate_to_one() -> None:
    grid = np.concatenate([-np.logspace(4, -9, 20_000), [0.0], np.logspace(-9, 4, 20_000)])
    for name, arguments in INTEGRATED.items():
        logp = pm.logp(getattr(pm, name).dist(**arguments), grid).eval()
        assert np.trapezoid(np.exp(logp), grid) == pytest.approx(1, abs=2e-3), name


INTEGRATED: dict[str, dict[str, float]] = {
    "Normal": {"mu": 0.3, "sigma": 2},
    "StudentT": {"nu": 3, "mu": 0.1, "sigma": 2},
    "SkewNormal": {"mu": 0.1, "sigma": 2, "alpha": 3},
    "ExGaussian": {"mu": 0.2, "sigma": 1, "nu": 2},
    "AsymmetricLaplace": {"kappa": 0.7, "mu": 0.2, "b": 1.5},
    "Gumbel": {"mu": 0.3, "beta": 2},
    "Moyal": {"mu": 0.3, "sigma": 2},
    "Logistic": {"mu": 0.1, "s": 2},
    "HalfStudentT": {"nu": 4, "sigma": 2},
    "Gamma": {"alpha": 2, "beta": 1.5},
    "InverseGamma": {"alpha": 3, "beta": 2},
    "Weibull": {"alpha": 1.5, "beta": 2},
    "Wald": {"mu": 2, "lam": 3},
    "Rice": {"nu": 1, "sigma": 2},
    "LogNormal": {"mu": 0.2, "sigma": 0.7},
}
