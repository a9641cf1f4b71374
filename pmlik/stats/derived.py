"""Quantities that are derived after the fit: more rows of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from pmlik.errors import ValuesError
from pmlik.inference.compiled import Addition
from pmlik.inference.extend import extend_estimate, scale_of
from pmlik.inference.options import check_switch
from pmlik.inference.prepare import prepared_of
from pmlik.inference.sample import summarize_draws
from pmlik.logp.quantities import SAMPLE, Function, Quantities, UnknownNameError
from pmlik.results.attribution import Attribution, lay_out
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag
from pmlik.results.merge import merge_estimates
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate
from pmlik.stats.curves import keep_curves
from pmlik.stats.expressions import read_expression
from pmlik.stats.intervals import interval_profile, interval_wald


@dataclass(frozen=True, eq=False)
class _Added:
    """New quantities: those of the parameters, those of latents, and all in the order given."""

    of_parameters: Quantities | None
    everything: Quantities

    @property
    def names(self) -> list[str]:
        return list(self.everything.functions)


def derive(
    comparison: Comparison,
    functions: Mapping[str, Callable[[xr.Dataset], Any] | str],
    *,
    profile: bool = False,
    progressbar: bool = True,
) -> Comparison:
    """Return a comparison with further rows, see `Comparison.derive`."""
    check_switch("profile", profile, ValuesError)
    return _add(comparison, _read(comparison, functions), profile, progressbar)


def add_functions(comparison: Comparison, functions: Mapping[str, Function]) -> Comparison:
    """Return a comparison with further rows, of any name."""
    return _add(comparison, _split(comparison, functions), False, False)


def extend_mle(mle: PointEstimate, functions: Mapping[str, Function]) -> PointEstimate:
    """Return an MLE with quantities beside the others."""
    return _extend(mle, Quantities.of(functions, mle.values, mle.values))


def _add(comparison: Comparison, added: _Added, profile: bool, progressbar: bool) -> Comparison:
    mle, map_estimate = (_extend(e, added.of_parameters) for e in (comparison.mle, comparison.map))
    joint = None if comparison.joint is None else _extend(comparison.joint, added.everything)
    posterior = None
    if comparison.posterior is not None:
        posterior = _extend_posterior(comparison.posterior, added)
    words = ", ".join(f"{name!r}: ..." for name in added.names)
    extended = replace(
        comparison,
        mle=mle,
        map=map_estimate,
        joint=joint,
        posterior=posterior,
        dataset=_dataset(comparison, mle, map_estimate, posterior, joint, added.names),
        flags=_flags(comparison, (mle, map_estimate, posterior)),
        background=replace(
            comparison.background,
            attribution=_attribution(comparison, mle, map_estimate, posterior, joint, added),
            call=f"{comparison.background.call}.derive({{{words}}})",
        ),
    )
    extended = _with_intervals(extended, added, profile, progressbar)
    if comparison.background.curves:
        return keep_curves(extended)
    return extended


def _read(
    comparison: Comparison, functions: Mapping[str, Callable[[xr.Dataset], Any] | str]
) -> _Added:
    """Return the functions with the shapes of their results; refuse what can't be a row."""
    if not isinstance(functions, Mapping) or not functions:
        raise ValuesError(f"functions: got {functions!r}, need a mapping of names to functions.")
    everything = known_values(comparison)
    read: dict[str, Function] = {}
    for name, function in functions.items():
        if not isinstance(name, str) or not name.strip() or "[" in name:
            raise ValuesError(f"functions: got the name {name!r}, need text without brackets.")
        if name in everything or name in comparison.dataset:
            raise ValuesError(f"functions: {name!r} is in the comparison already.")
        if isinstance(function, str):
            function = read_expression(function, everything)
        if not callable(function):
            raise ValuesError(f"{name}: got {function!r}, need a function or an expression.")
        read[name] = function
    return _split(comparison, read)


def known_values(comparison: Comparison) -> xr.Dataset:
    """Return one value of each variable of the estimates and the draws."""
    values, draws = comparison.mle.values, _draws(comparison.posterior)
    one = xr.Dataset() if draws is None else draws.isel(chain=0, draw=0, drop=True)
    return one.assign({n: a for n, a in values.data_vars.items() if n not in one})


def _split(comparison: Comparison, read: Mapping[str, Function]) -> _Added:
    """Return the functions, those of the parameters apart."""
    values, everything = comparison.mle.values, known_values(comparison)
    whole = Quantities.of(read, everything, everything)
    latent = [n for n in read if _needs_more({n: read[n]}, values, everything)]
    kept = {n: f for n, f in read.items() if n not in latent}
    mine = whole.select(list(kept)) if kept else None
    return _Added(mine, whole)


def _needs_more(
    functions: Mapping[str, Function], values: xr.Dataset, everything: xr.Dataset
) -> bool:
    """Return True if a function uses variables that the likelihood integrates over."""
    try:
        Quantities.of(functions, values, values)
    except UnknownNameError as error:
        if error.unknown not in everything:
            raise
        return True
    return False


def _draws(posterior: PosteriorEstimate | None) -> xr.Dataset | None:
    if posterior is None or "posterior" not in posterior.tree.children:
        return None
    return posterior.tree["posterior"].to_dataset()


def _extend(estimate: PointEstimate, quantities: Quantities | None) -> PointEstimate:
    if quantities is None:
        return estimate
    prepared = prepared_of(estimate, "derive")
    addition = Addition(quantities, scale_of(estimate, prepared))
    return extend_estimate(estimate, prepared, addition)


def _extend_posterior(posterior: PosteriorEstimate, added: _Added) -> PosteriorEstimate:
    """Return the posterior with the quantities of each draw, summarised like the others."""
    draws = _draws(posterior)
    if draws is None:
        return posterior
    new = added.everything.many(draws)
    attrs = posterior.interval.attrs
    summary = summarize_draws(
        xr.DataTree.from_dict({"posterior": new}),
        new,
        {},
        attrs["ci_kind"],
        attrs["ci_prob"],
        draws.sizes["draw"],
    )
    tree = posterior.tree.copy()
    tree["posterior"] = xr.DataTree(_beside(draws, new))
    worst = {"r_hat": np.fmax, "ess_bulk": np.fmin, "ess_tail": np.fmin}
    mine, theirs = posterior.diagnostics, summary.diagnostics
    diagnostics = {n: float(worst[n](v, theirs[n])) if n in worst else v for n, v in mine.items()}
    return replace(
        posterior,
        tree=tree,
        values=_beside(posterior.values, summary.values),
        std_error=_beside(posterior.std_error, summary.std_error),
        interval=_beside(posterior.interval, summary.interval),
        diagnostics=diagnostics,
        flags=(*posterior.flags, *(flag for flag in summary.flags if flag.variables)),
        convergence={
            n: _beside(dataset, summary.convergence[n])
            for n, dataset in posterior.convergence.items()
        },
    )


def _beside(dataset: xr.Dataset, added: xr.Dataset) -> xr.Dataset:
    return dataset.assign({str(name): array for name, array in added.data_vars.items()})


def _dataset(
    comparison: Comparison,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    joint: PointEstimate | None,
    names: Sequence[str],
) -> xr.Dataset:
    new, _ = merge_estimates(mle, map_estimate, posterior, names, joint=joint)
    methods = comparison.dataset["method"].to_numpy()
    return _beside(comparison.dataset, new.reindex({"method": methods}))


def _flags(
    comparison: Comparison, estimates: Sequence[PointEstimate | PosteriorEstimate | None]
) -> tuple[Flag, ...]:
    """Return the comparison's flags, then those of the new rows."""
    before = [*comparison.mle.flags, *comparison.map.flags]
    if comparison.posterior is not None:
        before += comparison.posterior.flags
    after = [flag for e in estimates if e is not None for flag in e.flags]
    new = [f for f in after if f not in before]
    return tuple(dict.fromkeys([*comparison.flags, *new]))


def _attribution(
    comparison: Comparison,
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None,
    joint: PointEstimate | None,
    added: _Added,
) -> Attribution | None:
    """Return the attribution with the steps of the new rows, between the same points."""
    before = comparison.attribution
    if before is None or posterior is None:
        return before
    draws = posterior.tree["posterior"].to_dataset()[added.names]
    mode = before.waypoints.sel(waypoint="sampled mode", drop=True)
    points = {
        "mle": mle.values,
        "map": map_estimate.values,
        "sampled mode": _at(added.of_parameters, mode),
        "median": draws.median(SAMPLE, skipna=False),
        "mean": posterior.values,
    }
    if joint is not None and "joint mode" in before.waypoints["waypoint"].to_numpy():
        points["joint mode"] = joint.values
    new = lay_out(points, posterior.std_error[added.names])
    return Attribution(_beside(before.waypoints, new.waypoints), _beside(before.sd, new.sd))


def _at(quantities: Quantities | None, point: xr.Dataset) -> xr.Dataset:
    """Return the quantities at a point; nothing where it lacks the variables that they need."""
    if quantities is None:
        return xr.Dataset()
    try:
        return quantities(point)
    except ValuesError:
        return xr.Dataset()


def _with_intervals(
    comparison: Comparison, added: _Added, profile: bool, progressbar: bool
) -> Comparison:
    intervals, mle = dict(comparison.intervals), comparison.mle
    if comparison.posterior is not None:
        intervals[str(comparison.posterior.interval.attrs["ci_kind"])] = (
            comparison.posterior.interval
        )
    names = [name for name in added.names if name in mle.values]
    if not names:
        return replace(comparison, intervals=intervals)
    prob = float(intervals["wald"].attrs["ci_prob"])
    wald = interval_wald(mle, var_names=names, ci_prob=prob)
    intervals["wald"] = _beside(intervals["wald"], wald)
    smooth = [name for name in names if _is_smooth(mle, name)]
    if profile and smooth:
        found = interval_profile(mle, var_names=smooth, ci_prob=prob, progressbar=progressbar)
        before = intervals.get("profile", found)
        intervals["profile"] = _beside(before, found)
    return replace(comparison, intervals=intervals)


def _is_smooth(mle: PointEstimate, name: str) -> bool:
    """Return True if a quantity has derivatives at the MLE, which a profile follows."""
    problem = prepared_of(mle, "derive").problem
    where, k = problem.derived.slices[name], problem.parameters.size
    smooth = problem.values.smooth(mle.unconstrained)
    return bool(smooth[k + where.start : k + where.stop].all())
