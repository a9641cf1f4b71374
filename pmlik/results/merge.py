"""The estimates of one model laid side by side in one dataset."""

from collections.abc import Sequence
from dataclasses import replace

import xarray as xr

from pmlik.labels import stack_datasets
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
    methods: dict[str, PointEstimate | PosteriorEstimate | None]
    methods = {"mle": mle, "map": map_estimate, "posterior": posterior}
    if joint is not None:
        methods["joint"] = joint
    estimates = [estimate for estimate in methods.values() if estimate is not None]
    if names is None:
        names = list(dict.fromkeys(str(name) for e in estimates for name in e.values.data_vars))
    known = (name for name in names if any(name in e.values for e in estimates))
    first = {name: next(e.values[name] for e in estimates if name in e.values) for name in known}
    nothing = dict.fromkeys(("estimate", "std_error"), xr.Dataset())
    laid = {
        method: stack_datasets(
            xr.Dataset(first),
            nothing if e is None else {"estimate": e.values, "std_error": e.std_error},
            "statistic",
        )
        for method, e in methods.items()
    }
    flags = {flag: None for e in (mle, map_estimate, posterior) if e for flag in e.flags}
    for flag in () if joint is None else joint.flags:  # nothing rests on it
        error = flag.severity is Severity.ERROR and flag not in flags
        flags[replace(flag, severity=Severity.WARNING) if error else flag] = None
    order = list(Severity)[::-1]
    dataset = stack_datasets(laid["mle"], laid, "method").assign_coords(statistic=list(nothing))
    return dataset, tuple(sorted(flags, key=lambda flag: order.index(flag.severity)))
