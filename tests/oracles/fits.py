"""Estimates as tests make them: quiet, with one seed; those of reference cases made once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pmlik
from oracles import zoo
from oracles.latent_models import LATENT_CASES
from oracles.reference_models import CASES
from pmlik import Flag, FlagCode


def fit(model: pm.Model, **options) -> pmlik.PointEstimate:
    """Return the MLE."""
    return pmlik.find_MLE(model, **({"random_seed": 1, "progressbar": False} | options))


@cache
def fit_case(case: str) -> pmlik.PointEstimate:
    """Return the MLE of a reference case."""
    return fit(CASES[case][0]())


@cache
def fit_latent_case(case: str, centred: bool) -> pmlik.PointEstimate:
    """Return the marginal MLE of a reference case with latents, in one of its two forms."""
    return fit(LATENT_CASES[case][0](centred=centred), n_starts=1)


def resample(estimate: pmlik.PointEstimate, n: int, **options) -> pmlik.Bootstrap:
    """Return a bootstrap of ``n`` replicates."""
    return pmlik.bootstrap(estimate, n, **({"random_seed": 1, "progressbar": False} | options))


def codes(estimate: pmlik.PointEstimate | pmlik.PosteriorEstimate) -> set[FlagCode]:
    """Return the codes of all flags."""
    return {flag.code for flag in estimate.flags}


def flag_of(estimate: pmlik.PointEstimate, code: FlagCode) -> Flag:
    """Return the first flag with a code; fail with the codes that there are."""
    found = [flag for flag in estimate.flags if flag.code is code]
    assert found, [flag.code.name for flag in estimate.flags]
    return found[0]


def flat(dataset: xr.Dataset, names: Iterable[str]) -> np.ndarray:
    """Return the values of several variables end to end."""
    return np.concatenate([np.ravel(dataset[name]) for name in names])


def numbers(values) -> np.ndarray:
    """Return published numbers; NaN stands for what was not published."""
    return np.array([np.nan if v is None else v for v in values.values()], dtype=float)


def near(found, expected, n) -> None:
    """Within five Monte Carlo standard errors of a standard deviation from ``n`` replicates."""
    np.testing.assert_allclose(found, expected, rtol=5 / np.sqrt(2 * n))


def check_against_scipy(model, names, log_likelihood, start, *, rtol=1e-6, mle=None):
    """Compare scalars with what SciPy's optimiser and finite differences find for a NumPy density.

    ``names`` are scalar parameters, in the order of the density's argument.
    """
    mle = fit(model) if mle is None else mle
    assert mle.certificate.converged, mle.flags
    at, covariance = zoo.maximise(log_likelihood, start)
    found = [float(mle.values[name]) for name in names]
    errors = [float(mle.std_error[name]) for name in names]
    np.testing.assert_allclose(found, at, rtol=rtol, atol=1e-7)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(covariance)), rtol=10 * rtol)
    assert mle.log_likelihood == pytest.approx(log_likelihood(at), rel=1e-9)
    return mle
