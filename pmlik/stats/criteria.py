"""Compare models: criteria of the likelihood, and PSIS-LOO of the posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from pmlik._runtime import quiet_host
from pmlik._typing import FloatArray
from pmlik.errors import ValuesError
from pmlik.inference.likelihood import Likelihood
from pmlik.inference.prepare import prepared_of
from pmlik.labels import flatten_draws
from pmlik.results.background import Predictive
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.format import format_fixed
from pmlik.results.table import Shown, Table


@dataclass(frozen=True, eq=False)
class ModelComparison(Shown):
    """Models of the same data, ranked by the likelihood and by the posterior.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per model, best AIC first. ``log L``, ``k``, ``n``, ``AIC``, ``AICc``, ``BIC`` and
        ``dAIC`` are of the maximised likelihood; ``elpd``, ``SE``, ``p_loo``, ``d elpd`` and
        ``d SE`` of PSIS-LOO, which estimates the expected log predictive density (larger is
        better) from the posterior; ``rank AIC`` and ``rank elpd`` count from 1. NaN where there
        is none.
    flags : tuple of Flag
    """

    table: pd.DataFrame
    flags: tuple[Flag, ...]

    @cached_property
    def finding(self) -> str:
        """A sentence about the agreement of the two rankings, made from the table."""
        known = self.table[["rank AIC", "rank elpd"]].dropna()
        if len(known) < 2:
            return (
                "There are no two models with both criteria, so their rankings can't be compared."
            )
        by_aic, by_elpd = (list(known.sort_values(f"rank {c}").index) for c in ("AIC", "elpd"))
        if by_aic == by_elpd:
            return f"AIC and PSIS-LOO rank the models alike: {' > '.join(by_aic)}."
        text = f"AIC ranks {' > '.join(by_aic)}, PSIS-LOO {' > '.join(by_elpd)}. "
        first, second = by_aic[0], by_elpd[0]
        if first == second:
            return f"{text}Both put {first} first."
        gap = -2 * (self.table["elpd"][second] - self.table["elpd"][first])
        behind = self.table["dAIC"][second]
        return (
            f"{text}By AIC {second} is {behind:.1f} behind {first}; by -2 elpd it is {-gap:.1f} "
            "ahead. The priors or the effective number of parameters make the difference."
        )

    def sheet(self) -> Table:
        """Return the comparison as a table of strings."""
        columns = ("log L", "k", "AIC", "dAIC", "BIC", "elpd", "SE", "p_loo", "d elpd", "d SE")
        digits = dict.fromkeys(columns, 2) | {"k": 0, "p_loo": 1}
        rows = tuple(
            (str(name), *(format_fixed(float(row[c]), digits[c]) for c in columns))
            for name, row in self.table.iterrows()
        )
        notes = [("finding", self.finding), *(("flag", str(flag)) for flag in self.flags)]
        title = f"{len(rows)} models of the same data"
        return Table(title, ("model", *columns), rows, tuple(notes), breaks=(6,))


def compare_models(comparisons: Mapping[str, Comparison]) -> ModelComparison:
    """Rank models of the same data by AIC and by PSIS-LOO, side by side.

    Parameters
    ----------
    comparisons : mapping of str to Comparison
        At least two, by name.

    Returns
    -------
    ModelComparison

    Raises
    ------
    ValuesError
        If there are fewer than two, or they are not of the same observations.

    Notes
    -----
    AIC, AICc and BIC are those of `PointEstimate`. PSIS-LOO is ``arviz.loo`` (Vehtari et al.,
    2017, doi:10.1007/s11222-016-9696-4), its differences with the standard error of the paired
    differences.
    """
    _check(comparisons)
    rows = {name: _criteria(comparison) for name, comparison in comparisons.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    elpd, flags = _elpd(comparisons)
    table = table.join(elpd)
    table.insert(6, "dAIC", table["AIC"] - table["AIC"].min())
    table["rank AIC"] = table["AIC"].rank(method="min")
    table["rank elpd"] = table["elpd"].rank(ascending=False, method="min")
    table.index.name = "model"
    return ModelComparison(table.sort_values("AIC", kind="stable"), tuple(flags))


def _check_comparison(comparison: Comparison, name: str) -> None:
    if not isinstance(comparison, Comparison):
        raise ValuesError(f"{name}: got {type(comparison).__name__}, need a Comparison.")


def _check(comparisons: Mapping[str, Comparison]) -> None:
    if not isinstance(comparisons, Mapping) or len(comparisons) < 2:
        raise ValuesError("comparisons: need at least two, as a mapping of name to Comparison.")
    for name, comparison in comparisons.items():
        _check_comparison(comparison, name)
    counts = {name: c.mle.n_observations for name, c in comparisons.items()}
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise ValuesError(
            f"comparisons: the models have different numbers of observations ({got}), so their "
            "likelihoods can't be compared. Fit them to the same data."
        )
    observed = {name: _observations(c) for name, c in comparisons.items()}
    first = next(iter(observed))
    for name, values in observed.items():
        if not _same(observed[first], values):
            raise ValuesError(
                f"{name}: its observed values are not those of {first}, so their likelihoods can't "
                "be compared. A transformed response needs the Jacobian as part of the density."
            )


def _observations(comparison: Comparison) -> FloatArray | None:
    """Return all observed values, sorted; None where they are not kept."""
    if comparison.posterior is None or "observed_data" not in comparison.posterior.tree.children:
        return None
    data = comparison.posterior.tree["observed_data"].dataset
    flat = [np.ravel(np.asarray(array, dtype=float)) for array in data.data_vars.values()]
    return np.sort(np.concatenate([np.zeros(0), *flat]))


def _same(one: FloatArray | None, other: FloatArray | None) -> bool:
    return one is None or other is None or np.array_equal(one, other, equal_nan=True)


def _criteria(comparison: Comparison) -> dict[str, float]:
    mle = comparison.mle
    return {
        "log L": mle.log_likelihood,
        "k": mle.n_parameters,
        "n": mle.n_observations,
        "AIC": mle.aic,
        "AICc": mle.aicc,
        "BIC": mle.bic,
    }


# Columns of the table by their names in ArviZ.
_ELPD = {"elpd": "elpd", "se": "SE", "p": "p_loo", "elpd_diff": "d elpd", "dse": "d SE"}


def _elpd(comparisons: Mapping[str, Comparison]) -> tuple[pd.DataFrame, list[Flag]]:
    """Return ArviZ's columns of the models that were sampled, NaN for the others, and flags."""
    results = {n: loo(c) for n, c in comparisons.items() if c.posterior is not None}
    high = [name for name, result in results.items() if result.warning]
    flags = []
    if high:
        action = "Some observations decide too much of the posterior: see arviz.loo's advice."
        flags.append(Flag(FlagCode.HIGH_PARETO_K, Severity.WARNING, tuple(high), action))
    finite = {name: result for name, result in results.items() if np.isfinite(result.elpd)}
    table = pd.DataFrame(columns=list(_ELPD), dtype=float)
    if finite:
        with quiet_host("arviz_stats"):
            # This method's weights take no search; they are not shown.
            table = az.compare(finite, method="pseudo-BMA", round_to="none")
    return table[list(_ELPD)].rename(columns=_ELPD).reindex(list(comparisons)), flags


def loo(comparison: Comparison) -> az.ELPDData:
    """Return ArviZ's PSIS-LOO of a posterior, pointwise over all observed variables.

    Raises `ValuesError` if there is no posterior.
    """
    if comparison.posterior is None:
        raise ValuesError("comparison: it has no posterior, and PSIS-LOO needs its draws.")
    terms = comparison.background.extras.get("log_likelihood")
    if not isinstance(terms, xr.Dataset):
        terms = pointwise_log_likelihood(comparison)
    return loo_of(comparison.posterior.tree["posterior"].to_dataset(), terms)


def pointwise_log_likelihood(comparison: Comparison) -> xr.Dataset:
    """Return ``log p(y_i | theta)`` of each draw.

    Returns: dims ``chain``, ``draw``, then those of the observations.
    Raises `ValuesError` if there is no posterior.
    """
    if comparison.posterior is None:
        raise ValuesError("comparison: it has no posterior, and the terms are of its draws.")
    draws = comparison.posterior.tree["posterior"].to_dataset()
    likelihood = Likelihood.of(comparison, progressbar=False)
    terms = likelihood.pointwise({str(k): v for k, v in draws.items()})
    return terms.transpose("chain", "draw", ...)


def loo_of(draws: xr.Dataset, terms: xr.Dataset) -> az.ELPDData:
    """Return ArviZ's PSIS-LOO of all observations together.

    ``draws``, ``terms``: the posterior, and the log-likelihood by draw and observation.
    """
    together = xr.Dataset({"y": (("chain", "draw", "observation"), flatten_draws(terms))})
    tree = xr.DataTree.from_dict({"posterior": draws, "log_likelihood": together})
    with quiet_host("arviz_stats"):  # its warning becomes a flag
        return az.loo(tree, pointwise=True)


def score_loo(draws: xr.Dataset, terms: xr.Dataset) -> Predictive:
    """Return the result of `loo_of` as plain numbers."""
    result = loo_of(draws, terms)
    k = np.ravel(result.pareto_k)
    return Predictive(
        elpd=float(result.elpd),
        std_error=float(result.se),
        effective_parameters=float(result.p),
        n_observations=int(result.n_data_points),
        worst_k=float(np.max(k)),
        n_high=int(np.sum(~(k <= result.good_k))),
        threshold=float(result.good_k),
    )


def sensitivity(comparison: Comparison, *, threshold: float = 0.05) -> pd.DataFrame:
    """Return ArviZ's power-scaling sensitivity of the posterior to prior and likelihood.

    Parameters
    ----------
    comparison : Comparison
    threshold : float
        A quantity with a larger value is sensitive.

    Returns
    -------
    pandas.DataFrame
        As ``arviz.psense_summary``: columns ``prior``, ``likelihood``, ``diagnosis``, one row
        per scalar. Prior and likelihood are the parts that pmlik divides the model into.

    Raises
    ------
    ValuesError
        If there is no posterior.

    Notes
    -----
    Kallioinen et al. (2024), doi:10.1007/s11222-023-10366-5.
    """
    _check_comparison(comparison, "comparison")
    if comparison.posterior is None:
        raise ValuesError("comparison: it has no posterior, and the sensitivity needs its draws.")
    posterior = comparison.posterior.tree["posterior"].dataset
    prepared = prepared_of(comparison.mle, "sensitivity")
    x, sizes = (
        prepared.unconstrained(posterior),
        (posterior.sizes["chain"], posterior.sizes["draw"]),
    )
    densities = {"log_likelihood": prepared.problem.likelihood, "log_prior": prepared.problem.prior}
    groups = {
        group: xr.Dataset({group: (("chain", "draw"), d.many("value", x)[0].reshape(sizes))})
        for group, d in densities.items()
    }
    names = [str(n) for n in comparison.dataset.data_vars if n in posterior]
    # ArviZ has a dim of its own with this name.
    free = {d: f"{d}_" for d in posterior.dims if d == "component"}
    tree = xr.DataTree.from_dict({"posterior": posterior[names].rename(free), **groups})
    with quiet_host("arviz_stats.psense"):
        table: pd.DataFrame = az.psense_summary(
            tree, var_names=names, threshold=threshold, round_to=12
        )
    return table
