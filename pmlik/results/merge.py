"""The estimates of one model laid side by side in one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from pmlik._typing import FloatArray
from pmlik.labels import stack_like
from pmlik.results.flags import Flag, Severity
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate


def merge_estimates(
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    names: Sequence[str] | None = None,
    *,
    joint: PointEstimate | None = None,
) -> tuple[xr.Dataset, tuple[Flag, ...]]:
    """Lay the estimates of the named variables (default all) side by side.

    A variable that an estimate lacks is NaN.

    Returns ``dataset``: see `Comparison.dataset`. ``flags``: all flags, each once, errors first;
    those of the joint mode alone are warnings.
    """
    methods = {"mle": mle, "map": map_estimate, "posterior": posterior}
    if joint is not None:
        methods["joint"] = joint
    estimates = [estimate for estimate in methods.values() if estimate is not None]
    if names is None:
        names = list(dict.fromkeys(str(name) for e in estimates for name in e.values.data_vars))
    variables = {
        name: _stack(name, methods)
        for name in names
        if any(name in estimate.values for estimate in estimates)
    }
    flags = {flag: None for e in (mle, map_estimate, posterior) if e for flag in e.flags}
    for flag in () if joint is None else joint.flags:  # nothing rests on it
        error = flag.severity is Severity.ERROR and flag not in flags
        flags[replace(flag, severity=Severity.WARNING) if error else flag] = None
    order = list(Severity)[::-1]
    coords = {"method": list(methods), "statistic": list(_STATISTICS)}
    dataset = xr.Dataset(variables, coords=coords)
    return dataset, tuple(sorted(flags, key=lambda flag: order.index(flag.severity)))


_STATISTICS = ("estimate", "std_error")
Estimate = PointEstimate | PosteriorEstimate


def _stack(name: str, methods: Mapping[str, Estimate | None]) -> xr.DataArray:
    template = next(e.values[name] for e in methods.values() if e is not None and name in e.values)
    nothing = np.full(template.shape, np.nan)

    def numbers(dataset: xr.Dataset) -> FloatArray:
        return np.asarray(dataset[name], dtype=float) if name in dataset else nothing

    stacked = [
        [nothing, nothing] if e is None else [numbers(e.values), numbers(e.std_error)]
        for e in methods.values()
    ]
    return stack_like(template, stacked, method=list(methods), statistic=list(_STATISTICS))
