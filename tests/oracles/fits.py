"""Estimates as tests make them: quiet, with one seed; those of reference cases made once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pymc as pm
import xarray as xr

import pmlik
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
