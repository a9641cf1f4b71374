"""The record of a posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from pmlik.labels import labelled, space_of
from pmlik.results.flags import Flag, Severity, name_few
from pmlik.results.format import format_number, format_to
from pmlik.results.table import Shown, Table, display_rows

#: Beyond these nothing is said of a scalar. Source: Vehtari et al. (2021), doi:10.1214/20-BA1221.
R_HAT_ERROR = 1.05
ESS_ERROR = 100
_JUDGED = ("r_hat", "ess_bulk", "ess_tail")


@dataclass(frozen=True, eq=False)
class PosteriorEstimate(Shown):
    """The posterior in the same words as a `PointEstimate`.

    Parameters
    ----------
    tree : xarray.DataTree
        The result of ``pm.sample``, unchanged.
    values : xarray.Dataset
        Posterior means. A circular variable has an attribute ``circle``, the ends of its turn; its
        mean and standard deviation are circular, and an interval across the cut has a lower end
        above the upper one.
    std_error : xarray.Dataset
        Posterior standard deviations.
    interval : xarray.Dataset
        With a last dim ``ci_bound`` (lower, upper); attributes ``ci_kind`` and ``ci_prob``.
    diagnostics : Mapping of str to float
        Worst over all scalars: ``r_hat``, ``ess_bulk``, ``ess_tail``; and ``divergences``.
    flags : tuple of Flag
    convergence : Mapping of str to xarray.Dataset
        Like ``values``, by name: ``r_hat``, ``ess_bulk``, ``ess_tail``, and the Monte Carlo
        standard errors ``mcse_mean``, ``mcse_sd``, ``mcse_median``.
    """

    tree: xr.DataTree
    values: xr.Dataset
    std_error: xr.Dataset
    interval: xr.Dataset
    diagnostics: Mapping[str, float]
    flags: tuple[Flag, ...]
    convergence: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def disagree(self) -> bool:
        """True if R-hat is above 1.05 for some scalar."""
        return bool(self.diagnostics["r_hat"] > R_HAT_ERROR)

    @cached_property
    def unreliable(self) -> tuple[str, ...]:
        """Labels of scalars with an R-hat above 1.05 or an effective sample size below 100."""
        if not self.convergence:
            return ()
        r_hat, bulk, tail = (labelled(self.convergence[name]) for name in _JUDGED)
        return tuple(
            label
            for label, value in r_hat.items()
            if value > R_HAT_ERROR or not min(bulk[label], tail[label]) >= ESS_ERROR
        )

    @property
    def trusted(self) -> bool:
        """True if the chains have no flag of severity ``error``."""
        return not any(f.severity is Severity.ERROR for f in self.flags)

    def sheet(self) -> Table:
        """Return the posterior as a table of strings."""
        columns = {
            "mean": labelled(self.values),
            "sd": labelled(self.std_error),
            "lower": labelled(self.interval.sel(ci_bound="lower", drop=True)),
            "upper": labelled(self.interval.sel(ci_bound="upper", drop=True)),
        }
        rows = tuple(
            (
                label,
                format_to(n["mean"], n["sd"]),
                format_number(n["sd"], 3),
                f"{format_to(n['lower'], n['sd'])} .. {format_to(n['upper'], n['sd'])}",
            )
            for label, _, n in display_rows(space_of(self.values), columns)
        )
        notes = [("chains", describe_chains(self))]
        notes += [("flag", str(flag)) for flag in self.flags]
        heads = ("parameter", "mean", "sd", describe_interval(self.interval))
        return Table("Posterior", heads, rows, tuple(notes))


def describe_interval(interval: xr.Dataset) -> str:
    """Return the probability and the kind of an interval, for a heading."""
    return f"{100 * interval.attrs['ci_prob']:g}% {str(interval.attrs['ci_kind']).upper()}"


def describe_chains(posterior: PosteriorEstimate) -> str:
    """Return the worst convergence statistics in one line, and what they can't be trusted for."""
    diagnostics = posterior.diagnostics
    r_hat, ess = diagnostics["r_hat"], min(diagnostics["ess_bulk"], diagnostics["ess_tail"])
    parts = [
        f"R-hat at most {r_hat:.3f}" if np.isfinite(r_hat) else "R-hat unknown",
        f"ESS at least {ess:.0f}" if np.isfinite(ess) else "ESS unknown",
        f"{diagnostics['divergences']:.0f} divergences",
    ]
    errors = [flag for flag in posterior.flags if flag.severity is Severity.ERROR]
    named = list(dict.fromkeys(name for flag in errors for name in flag.variables))
    where = f" for {name_few(named)}" if all(flag.variables for flag in errors) else ""
    return f"NOT TO BE TRUSTED{where}: " * bool(errors) + ", ".join(parts)
