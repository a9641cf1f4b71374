"""What a calibration found: coverage, bias, uniformity of ranks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats

from pmlik._typing import FloatArray
from pmlik.errors import FileError
from pmlik.results.files import replace_file
from pmlik.results.format import format_number
from pmlik.results.table import Shown, Table
from pmlik.stats.calibration_worker import LOST, count_statuses

#: The intervals whose coverage can be asked for.
Method = Literal["wald", "profile", "posterior"]
METHODS: tuple[Method, ...] = ("wald", "profile", "posterior")
ESTIMATORS = {"mle": "MLE", "map": "MAP", "mean": "posterior mean", "median": "posterior median"}
_LEVELS = tuple(np.round(np.arange(0.05, 1.0, 0.05), 2))

# Coverage that is farther from its level than this many binomial errors is off; more tests than one
# are made, so ranks that a test finds less likely than this are not uniform.
_ERRORS, _UNLIKELY = 3.0, 0.005
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Calibration(Shown):
    """How often intervals covered the truth, and how far estimates were from it.

    Parameters
    ----------
    replicates : xarray.Dataset
        Dims ``replicate`` and ``parameter`` (labels of scalars, derived ones included), natural
        units. ``truth``; the estimates ``mle``, ``map``, ``mean``, ``median``; their stated errors
        ``std_error`` (of the MLE) and ``sd`` (of the posterior); ``wald_level``,
        ``profile_level`` and ``posterior_level``, the least confidence at which that interval holds
        the truth; ``wald_width`` and ``posterior_width`` at ``ci_prob``; ``rank``, the place of the
        truth among draws thinned to independence, in [0, 1]; ``ess``. By ``replicate`` alone:
        ``log_likelihood`` at the MLE, ``divergences``, ``outcome`` of the refit. NaN where there is
        no such number: no finite MLE, no interval.
    methods : tuple of {"wald", "profile", "posterior"}
    truth : {"mle", "prior", "values"}
        Where data were simulated.
    ci_prob : float
        The level of the table and the sentences.
    random_seed : int
        Replicate ``i`` depends on the seed and on ``i`` alone.
    """

    replicates: xr.Dataset
    methods: tuple[Method, ...]
    truth: str
    ci_prob: float
    random_seed: int

    @property
    def n(self) -> int:
        """Number of replicates, failed ones included."""
        return int(self.replicates.sizes["replicate"])

    @cached_property
    def failures(self) -> dict[str, int]:
        """Number of data sets without a finite, certified MLE, by reason; lost ones, too."""
        return count_statuses([str(one) for one in self.replicates["outcome"].to_numpy()])

    @cached_property
    def _kept(self) -> xr.Dataset:
        lost = [str(one).startswith(LOST) for one in self.replicates["outcome"].to_numpy()]
        return self.replicates.isel(replicate=~np.array(lost))

    def coverage(self, levels: Sequence[float] = _LEVELS) -> xr.Dataset:
        """Return the share of data sets whose interval holds the truth.

        A data set for which a method has no interval counts as one that is not covered: that is
        what its user gets.

        Parameters
        ----------
        levels : sequence of float
            Confidence levels in (0, 1).

        Returns
        -------
        xarray.Dataset
            ``coverage`` and its binomial standard error ``error``, with dims ``method``,
            ``parameter``, ``level``. NaN for scalars that have no truth.
        """
        grid = xr.DataArray(list(levels), dims="level", coords={"level": list(levels)})
        parts = []
        for method in self.methods:
            held = (self._kept[f"{method}_level"] <= grid).mean("replicate")
            parts.append(held.where(self._kept["truth"].notnull().any("replicate")))
        share = xr.concat(parts, pd.Index(self.methods, name="method"))
        n = max(1, self._kept.sizes["replicate"])
        # Agresti and Coull's: also where all or none are covered the error is not zero.
        middle = (share * n + 2) / (n + 4)
        return xr.Dataset({"coverage": share, "error": np.sqrt(middle * (1 - middle) / (n + 4))})

    @cached_property
    def table(self) -> pd.DataFrame:
        """Coverage and width of the intervals at ``ci_prob``, a row per scalar and method.

        Columns ``coverage``, ``error`` (binomial), ``width`` (mean; of the profile NaN) and
        ``missing``, the share of data sets without an interval.
        """
        found = self.coverage([self.ci_prob]).isel(level=0)
        nothing = xr.full_like(self._kept["truth"], np.nan)
        rows = {}
        for method in self.methods:
            width = self._kept.get(f"{method}_width", nothing).mean("replicate")
            missing = self._kept[f"{method}_level"].isnull().mean("replicate")
            for label in self.labels:
                at = {"parameter": label}
                rows[label, method] = {
                    "coverage": float(found["coverage"].sel({"method": method, **at})),
                    "error": float(found["error"].sel({"method": method, **at})),
                    "width": float(width.sel(at)),
                    "missing": float(missing.sel(at)),
                }
        frame = pd.DataFrame.from_dict(rows, orient="index")
        frame.index = pd.MultiIndex.from_tuples(frame.index, names=["parameter", "method"])
        return frame

    @cached_property
    def estimators(self) -> pd.DataFrame:
        """How far the estimators are from the truth, a row per scalar and estimator.

        Columns ``bias`` (mean difference from the truth) and its Monte Carlo ``error``, ``rmse``,
        ``spread`` (the standard deviation of the differences), and ``stated``, the root mean square
        of the errors that are stated with them. Over the data sets that have the estimate.
        """
        stated = {"mle": "std_error", "mean": "sd", "median": "sd"}
        rows = {}
        for label in self.labels:
            one = self._kept.sel(parameter=label)
            for name, title in ESTIMATORS.items():
                off = (one[name] - one["truth"]).to_numpy()
                off = off[np.isfinite(off)]
                if len(off) < 2:
                    continue
                errors = one[stated[name]].to_numpy() if name in stated else np.array([np.nan])
                spread = float(off.std(ddof=1))
                rows[label, title] = {
                    "bias": float(off.mean()),
                    "error": spread / np.sqrt(len(off)),
                    "rmse": float(np.sqrt((off**2).mean())),
                    "spread": spread,
                    "stated": _root_mean_square(errors),
                }
        columns = ["bias", "error", "rmse", "spread", "stated"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        frame.index = pd.MultiIndex.from_tuples(list(rows), names=["parameter", "estimator"])
        return frame

    @cached_property
    def uniformity(self) -> pd.Series:
        """P-values that the ranks of the truth among the draws are uniform, by scalar.

        Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788): if parameters are drawn
        from the prior and the sampler is right, they are. ArviZ's test of dependent values.
        NaN without a posterior, or with another truth than the prior.
        """
        found = {}
        for label in self.labels:
            ranks = self._kept["rank"].sel(parameter=label).to_numpy()
            ranks = ranks[np.isfinite(ranks)]
            known = self.truth == "prior" and len(ranks) > 1
            found[label] = float(array_stats.uniformity_test(ranks)[0]) if known else np.nan
        return pd.Series(found, name="p_value").rename_axis("parameter")

    @property
    def labels(self) -> list[str]:
        """Labels of the scalars that have a truth."""
        known = self._kept["truth"].notnull().any("replicate")
        return [str(label) for label in known["parameter"].to_numpy()[known.to_numpy()]]

    def findings(self) -> list[str]:
        """Return sentences made from the numbers: coverage, bias, and what went wrong."""
        return [*map(self._sentence, self.labels), *self._remarks()]

    def _sentence(self, label: str) -> str:
        names = {"wald": "Wald", "profile": "profile", "posterior": "posterior"}
        covered, off = [], []
        for method in self.methods:
            row = self.table.loc[(label, method)]
            share, error = 100 * row["coverage"], 100 * row["error"]
            covered.append(f"the {names[method]} interval of {share:.0f} % (± {error:.0f})")
            if abs(row["coverage"] - self.ci_prob) > _ERRORS * row["error"]:
                more = "more" if row["coverage"] > self.ci_prob else "less"
                off.append(f"the {names[method]} interval covers {more} than its level")
        text = f"{label}: at a level of {100 * self.ci_prob:g} % the truth is in {_and(covered)} "
        text += f"of {self._kept.sizes['replicate']} data sets."
        if off:
            text += f" Beyond chance {_and(off)}."
        return text + self._bias(label)

    def _bias(self, label: str) -> str:
        if label not in self.estimators.index.get_level_values(0):
            return ""
        rows = self.estimators.loc[label]
        said = []
        for name in ("MLE", "posterior mean"):
            if name in rows.index and rows.loc[name, "spread"] > 0:
                row = rows.loc[name]
                if abs(row["bias"]) > _ERRORS * row["error"]:
                    said.append(f"the {name} is off by {row['bias'] / row['spread']:+.2f} sd")
        return f" On average {_and(said)}." if said else ""

    def _remarks(self) -> list[str]:
        said = []
        for reason, count in self.failures.items():
            said.append(f"{count} of {self.n} data sets have no MLE that can be used: {reason}.")
        wrong = self.uniformity[self.uniformity < _UNLIKELY]
        for label, p in wrong.items():
            said.append(
                f"{label}: its ranks among the draws are not uniform (p = {p:.2g}), so the sampler "
                "does not draw from the posterior of this model."
            )
        diverged = int((self._kept["divergences"] > 0).sum())
        if diverged:
            said.append(f"The sampler diverged in {diverged} of {self.n} data sets.")
        return said

    def sheet(self) -> Table:
        """Return the calibration as a table of strings."""
        heads = ["parameter", "truth"]
        heads += [
            {"wald": "Wald", "profile": "profile", "posterior": "ETI"}[m] for m in self.methods
        ]
        present = [t for t in ESTIMATORS.values() if t in self.estimators.index.get_level_values(1)]
        heads += [f"{title.replace('posterior ', '')} bias/sd" for title in present]
        rows = []
        for label in self.labels:
            true = self._kept["truth"].sel(parameter=label)
            row = [label, "prior" if self.truth == "prior" else format_number(float(true[0]), 3)]
            for method in self.methods:
                one = self.table.loc[(label, method)]
                row.append(f"{100 * one['coverage']:.1f} ± {100 * one['error']:.1f}")
            for title in present:
                known = (label, title) in self.estimators.index
                one = self.estimators.loc[(label, title)] if known else None
                row.append(
                    "—"
                    if one is None or not one["spread"]
                    else f"{one['bias'] / one['spread']:+.2f}"
                )
            rows.append(tuple(row))
        where = {"mle": "at the MLE", "prior": "from the prior", "values": "at given values"}
        notes = [
            (
                "replicates",
                f"{self.n} data sets simulated {where[self.truth]}, seed {self.random_seed}",
            )
        ]
        notes += [
            ("coverage", f"in percent, of {100 * self.ci_prob:g} % intervals, ± binomial error")
        ]
        notes += [("note", text) for text in self._remarks()]
        return Table("Calibration", tuple(heads), tuple(rows), tuple(notes))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all replicates to a netCDF file; ``calibrate(..., resume=path)`` goes on from it.

        Raises
        ------
        FileError
            If it can't be written.
        """
        target = Path(path)
        attrs = {
            "pmlik_calibration": _VERSION,
            "methods": ",".join(self.methods),
            "truth": self.truth,
            "ci_prob": self.ci_prob,
            "random_seed": str(self.random_seed),
        }
        data = self.replicates.assign_attrs(attrs).to_netcdf(engine="h5netcdf")
        replace_file(target, data)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a calibration that `save` has written.

        Raises
        ------
        FileError
            If there is no such file, or it is not one of these.
        """
        try:
            found = xr.load_dataset(path, engine="h5netcdf")
            attrs = found.attrs
            if int(attrs["pmlik_calibration"]) != _VERSION:
                raise KeyError("pmlik_calibration")
            methods: Any = tuple(str(attrs["methods"]).split(","))
            return cls(
                found.drop_attrs(),
                methods,
                str(attrs["truth"]),
                float(attrs["ci_prob"]),
                int(attrs["random_seed"]),
            )
        except (OSError, KeyError, ValueError) as error:
            raise FileError(f"{path}: got no calibration that pmlik saved ({error}).") from error


def _root_mean_square(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if len(known) else np.nan


def _and(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
