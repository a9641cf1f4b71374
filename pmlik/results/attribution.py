"""The record of an attribution: posterior mean minus MLE as a sum of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from pmlik._summaries import Circle
from pmlik.labels import labelled, space_of, stack_datasets

#: The steps in order, each with the point that it leads to; the first begins at the MLE.
STEPS = {
    "prior": "map",
    "scale": "sampled mode",
    "skewness": "median",
    "tail": "mean",
}
_NAMES = {
    "mle": "MLE",
    "map": "MAP",
    "sampled mode": "mode on the sampler's scale",
    "median": "posterior median",
    "mean": "posterior mean",
}


@dataclass(frozen=True, eq=False)
class Attribution:
    """Posterior mean minus MLE as a sum of steps with a cause each.

    ========  ============================================================================
    step      from - to
    ========  ============================================================================
    prior     MLE - MAP: the prior's density, in natural units
    scale     MAP - mode of the density that the sampler sees: likelihood x prior x Jacobian
              on the unconstrained scale. A mode moves with the scale it is taken on
    skewness  that mode - posterior median: an asymmetric posterior, and in several dimensions
              where its mass is, away from the mode
    tail      posterior median - posterior mean
    ========  ============================================================================

    A model with latents has one more, which is no part of that sum: ``integration``, from the
    mode of parameters and latents together (what ``pm.find_MAP`` gives) to the MAP of the
    parameters alone.

    Parameters
    ----------
    waypoints : xarray.Dataset
        Natural units; every variable with a leading dim ``waypoint`` (mle, map, sampled mode,
        median, mean, and for latents joint mode).
    sd : xarray.Dataset
        Posterior standard deviations, the unit of the steps.
    """

    waypoints: xr.Dataset
    sd: xr.Dataset

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per scalar: the steps and their total, in posterior standard deviations.

        A step is NaN if the point that it leads to does not exist (``note`` says which); the next
        one then counts from the last point that does. So the steps that exist always add
        up to ``total``, which is posterior mean minus MLE where both exist and else the part
        of that way that does.
        """
        points = {
            str(name): labelled(self.waypoints.sel(waypoint=name, drop=True))
            for name in self.waypoints["waypoint"].to_numpy()
        }
        unit = labelled(self.sd)
        rows = {
            label: _row({name: values[label] for name, values in points.items()}, unit[label])
            for label in points["mean"]
        }
        columns = [*STEPS, *(["integration"] if "joint mode" in points else []), "total", "note"]
        table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        return table.rename_axis("parameter")

    @cached_property
    def steps(self) -> xr.Dataset:
        """The same with the model's dims: every variable with a leading dim ``step``."""
        table, mean = self.table, self.waypoints.sel(waypoint="mean", drop=True)
        names = [name for name in table.columns if name not in ("total", "note")]
        space = space_of(mean)
        steps = {name: space.to_dataset(table[name].to_numpy()) for name in names}
        return stack_datasets(mean, steps, "step")


def _row(points: Mapping[str, float], unit: float) -> dict[str, float | str]:
    """Return the steps between the points that exist."""
    row: dict[str, float | str] = {}
    last, missing = points["mle"], []
    if not np.isfinite(last):
        missing.append("mle")
    total = 0.0
    for step, name in STEPS.items():
        there = points[name]
        row[step] = np.nan
        if not np.isfinite(there):
            missing.append(name)
            continue
        if np.isfinite(last):
            row[step] = (there - last) / unit if unit > 0 else np.nan
            total += there - last
        last = there
    exists = any(row[step] == row[step] for step in STEPS)  # one that is not NaN
    row["total"] = total / unit if exists and unit > 0 else np.nan
    if "joint mode" in points:
        row["integration"] = (points["map"] - points["joint mode"]) / unit if unit > 0 else np.nan
    row["note"] = f"no {', no '.join(_NAMES[m] for m in missing)}" if missing else ""
    return row


def lay_out(
    points: Mapping[str, xr.Dataset], sd: xr.Dataset, circles: Mapping[str, Circle] | None = None
) -> Attribution:
    """Return the attribution of the points; a variable that one of them lacks is NaN.

    ``points``: by waypoint. The variables are those of ``sd``; those of ``circles`` are laid out
    at most half a turn from the first point.
    """
    waypoints = stack_datasets(sd, points, "waypoint")
    for name, circle in (circles or {}).items():
        if name in waypoints:
            first, last = (waypoints[name].isel(waypoint=i, drop=True) for i in (0, -1))
            known = first.where(np.isfinite(first), last)
            waypoints[name] = circle.near(waypoints[name], known)
    return Attribution(waypoints, sd)
