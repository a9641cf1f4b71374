"""The bootstrap: the spread of the estimates of many data sets like the observed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from pmlik._runtime import counting
from pmlik.errors import ModelError
from pmlik.inference.options import Seed, is_integer, seed_of
from pmlik.inference.prepare import Prepared, prepared_of
from pmlik.inference.units import Cluster, read_units
from pmlik.labels import circles_of, labelled, space_of, stack_like
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.format import format_number, format_to
from pmlik.results.point import PointEstimate
from pmlik.results.table import Shown, Table, display_rows
from pmlik.stats.executors import BootstrapKind, BootstrapPlan, refit_all
from pmlik.stats.refit_status import Refits, RefitStatus

# With a larger share of failures the others are no sample of the estimator.
_MOST_FAILED, _MOST_REPLICATES = 0.1, 10_000_000
_KINDS = ("parametric", "nonparametric", "bayesian")


@dataclass(frozen=True, eq=False)
class Bootstrap(Shown):
    """Estimates of resampled data sets.

    Parameters
    ----------
    kind : {"parametric", "nonparametric", "bayesian"}
    values : xarray.Dataset
        The estimate itself, natural units.
    draws : xarray.Dataset
        Its replicates, derived quantities included, with a first dim ``replicate``. NaN where a
        refit failed; such replicates are counted, not removed. A value that the resampled data
        say nothing about (the effect of a group that was not drawn) is NaN on its own. Angles are
        those nearest to the estimate, and go on beyond the cut at pi.
    fits : xarray.Dataset
        By ``replicate``: ``log_likelihood`` of the replicate's own (weighted) data at its
        estimate, its ``newton_decrement`` in standard errors, and ``outcome``.
    random_seed : int
        Replicate ``i`` depends on the seed and on ``i`` alone.
    flags : tuple of Flag
    """

    kind: BootstrapKind
    values: xr.Dataset
    draws: xr.Dataset
    fits: xr.Dataset
    random_seed: int
    flags: tuple[Flag, ...]

    @property
    def n(self) -> int:
        """Number of replicates, failed ones included."""
        return int(self.fits.sizes["replicate"])

    @cached_property
    def failures(self) -> dict[str, int]:
        """Number of refits that failed, by reason."""
        counts = Counter(map(str, self.fits["outcome"].values))
        usable = {str(status) for status in RefitStatus if status.is_usable}
        return {reason: count for reason, count in counts.items() if reason not in usable}

    @property
    def n_failed(self) -> int:
        """Number of refits that failed."""
        return sum(self.failures.values())

    @property
    def trusted(self) -> bool:
        """True if there is no flag of severity ``error``."""
        return not any(flag.severity is Severity.ERROR for flag in self.flags)

    @cached_property
    def std_error(self) -> xr.Dataset:
        """Standard deviation of the replicates that did not fail; NaN if too many did."""
        return self.usable_draws.std("replicate", ddof=1, skipna=True)

    @cached_property
    def bias(self) -> xr.Dataset:
        """Mean of the replicates that did not fail minus the estimate; NaN if too many did."""
        return self.usable_draws.mean("replicate", skipna=True) - self.values

    @property
    def usable_draws(self) -> xr.Dataset:
        """The replicates that did not fail; scalars that too many of them lack are NaN."""
        usable = [RefitStatus(status).is_usable for status in self.fits["outcome"].values]
        kept = self.draws.isel(replicate=np.flatnonzero(usable))
        enough = kept.isnull().mean("replicate") <= _MOST_FAILED
        return kept.where(enough) if self.trusted else kept * np.nan

    def sheet(self) -> Table:
        """Return the bootstrap as a table of strings."""
        columns = {
            "value": labelled(self.values),
            "error": labelled(self.std_error),
            "bias": labelled(self.bias),
        }
        rows = tuple(
            (
                label,
                format_to(n["value"], n["error"]),
                format_number(n["error"], 3),
                format_number(n["bias"], 2),
            )
            for label, _, n in display_rows(space_of(self.values), columns)
        )
        notes = [("replicates", f"{self.n}, seed {self.random_seed}")]
        notes += [("failed", f"{count}: {reason}") for reason, count in self.failures.items()]
        notes += [("flag", str(flag)) for flag in self.flags]
        heads = ("parameter", "estimate", "bootstrap SE", "bias")
        return Table(f"{self.kind.capitalize()} bootstrap", heads, rows, tuple(notes))


def bootstrap(
    estimate: PointEstimate | Comparison,
    n: int = 1000,
    *,
    kind: BootstrapKind = "parametric",
    cluster: Cluster = None,
    random_seed: Seed = None,
    executor: Executor | None = None,
    progressbar: bool = True,
) -> Bootstrap:
    """Resample the data, and estimate again each time.

    Every refit starts at the estimate, takes Newton steps with exact derivatives of one compiled
    model, and is certified by the criterion of `find_MLE`: an estimated distance below 1e-6
    standard errors. If that fails, other starts are tried.

    Parameters
    ----------
    estimate : PointEstimate or Comparison
        From `find_MLE`, or from `find_MAP`: then the mode is found under the same prior. Of a
        comparison its MLE.
    n : int
        Number of replicates.
    kind : {"parametric", "nonparametric", "bayesian"}
        Parametric: data are simulated from the model at the estimate, by PyMC's own forward
        sampling, with covariates and the pattern of missing values unchanged. Nonparametric: an
        observation is weighted by the number of times it is drawn with replacement. Bayesian:
        by Dirichlet weights that sum to the number of observations [2]_. In a model with latents
        the first simulates latents and data, and the others resample independent blocks of
        latents with all that depends on them.
    cluster : str, array or mapping, optional
        Units to resample instead of observations: a dim of the observed variables (each label
        one cluster), the name of a ``pm.Data`` of labels along their dims, an array with
        one label per observation, or such arrays by observed variable. Equal labels in several
        variables are one cluster. Not for parametric bootstraps.
    random_seed : int or numpy.random.Generator, optional
        Default: a new one, which the result keeps. Replicate ``i`` depends on the seed and
        on ``i`` alone.
    executor : concurrent.futures.Executor, optional
        Threads, processes, Dask's ``client.get_executor()``, an MPI pool. Results are identical
        to those of a serial run.
    progressbar : bool

    Returns
    -------
    Bootstrap

    Raises
    ------
    ModelError
        If the estimate has no finite optimum, PyMC can't simulate the model, or the likelihood
        is not one of independent terms (a time series, crossed effects, a chain of states; use
        ``kind="parametric"``).

    Notes
    -----
    An observation is an entry of the pointwise log-likelihood: an element of scalar data, a row
    of multivariate data. Observed variables with the same named dims are measured on the same
    units and resampled together; others are resampled separately, each with its own size.
    Observations that share a latent are one unit; blocks of the same variables are one pool.

    References
    ----------
    .. [1] Efron (1979), doi:10.1214/aos/1176344552.
    .. [2] Rubin (1981), doi:10.1214/aos/1176345338.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> spread = pmlik.bootstrap(mle, 1000, random_seed=1, progressbar=False)
    >>> print(f"{spread.std_error['p']:.2f}")  # sqrt(0.2 * 0.8 / 10) = 0.126
    0.13
    """
    if isinstance(estimate, Comparison):
        estimate = estimate.mle
    prepared = _check(estimate, n, kind, cluster)
    seed = seed_of(random_seed)
    x = estimate.unconstrained
    units = None
    if kind != "parametric":
        units = read_units(prepared.problem, x, cluster, f"a {kind} bootstrap")
        _check_pools([len(pool) for pool in units.pools], kind)
    k = prepared.problem.parameters.size
    at_x = prepared.problem.parameters.split(prepared.problem.values(x)[:k])
    shown = {name: np.asarray(estimate.values[name].values) for name in at_x}
    plan = BootstrapPlan(
        arguments=prepared.arguments,
        estimate=estimate.kind,
        x=x,
        start=prepared.start,
        values={name: np.where(np.isnan(v), at_x[name], v) for name, v in shown.items()},
        kind=kind,
        units=units,
        seed=seed,
        regular=not estimate.at_boundary,
        added=prepared.added,
    )
    with counting(progressbar, f"{kind.capitalize()} bootstrap", n) as advance:
        refits = refit_all(plan, prepared, n, executor, advance)
    return _record(estimate, prepared, plan, refits)


def _check(estimate: PointEstimate, n: int, kind: str, cluster: Cluster) -> Prepared:
    """Refuse what can't be resampled; return the model of the estimate."""
    if not isinstance(estimate, PointEstimate):
        raise ModelError(
            f"estimate: got {type(estimate).__name__}, need what find_MLE or find_MAP returned."
        )
    if not is_integer(n) or not 2 <= n <= _MOST_REPLICATES:
        raise ModelError(f"n: got {n!r}, need an integer from 2 to {_MOST_REPLICATES}.")
    if kind not in _KINDS:
        raise ModelError(f"kind: got {kind!r}, need one of {', '.join(_KINDS)}.")
    prepared = prepared_of(estimate, "bootstrap")
    if estimate.at_infinity or not np.isfinite(estimate.log_likelihood):
        why = next((flag for flag in estimate.flags if flag.severity is Severity.ERROR), "")
        raise ModelError(f"estimate: there is no finite optimum to start from. {why}")
    if prepared.roles.restricted:
        raise ModelError(
            f"{', '.join(prepared.roles.restricted)}: values known to lie in a part of the support "
            "can't be simulated or resampled. Write them as pm.Censored, or use a profile interval."
        )
    if kind == "parametric":
        if cluster is not None:
            raise ModelError("cluster: a parametric bootstrap simulates and does not resample.")
        if prepared.roles.potentials and prepared.potentials == "likelihood":
            raise ModelError(
                f"{', '.join(prepared.roles.potentials)}: a pm.Potential can't be simulated. "
                "Write it as a distribution with `observed=`, or use kind='nonparametric'."
            )
    return prepared


def _check_pools(sizes: list[int], kind: str) -> None:
    """Refuse a pool of one unit, of which every resample is the same."""
    if min(sizes) < 2:
        raise ModelError(
            f"kind: got {kind!r}, but an observed variable is a single observation, or all are one "
            "cluster, and every resample would be the same. Use kind='parametric', or name "
            "clusters that span several variables."
        )


def _record(
    estimate: PointEstimate, prepared: Prepared, plan: BootstrapPlan, refits: Refits
) -> Bootstrap:
    problem = prepared.problem
    k = problem.parameters.size
    space = [(problem.parameters, refits.values[:, :k]), (problem.derived, refits.values[:, k:])]
    variables = {}
    n, circles = len(refits.outcome), circles_of(estimate.values)
    for part, flat in space:
        for name, where in part.slices.items():
            like = estimate.values[name]
            rows = flat[:, where].reshape(n, *like.shape)
            rows = np.where(np.isnan(like.values), np.nan, rows)
            if name in circles:
                rows = circles[name].near(rows, np.broadcast_to(like.values, rows.shape))
            variables[name] = stack_like(like, rows, replicate=np.arange(n))
    fits = {
        "log_likelihood": refits.log_likelihood,
        "newton_decrement": refits.distance,
        "outcome": np.array([str(status) for status in refits.outcome]),
    }
    return Bootstrap(
        kind=plan.kind,
        values=estimate.values,
        draws=xr.Dataset(variables),
        fits=xr.Dataset(
            {name: ("replicate", column) for name, column in fits.items()},
            coords={"replicate": np.arange(n)},
        ),
        random_seed=plan.seed,
        flags=(*_flags(refits.outcome), *_flag_gaps(variables, refits.outcome)),
    )


def _flags(outcomes: list[RefitStatus]) -> list[Flag]:
    """Return flags about refits that failed, and about those at a boundary."""
    flags, n = [], len(outcomes)
    counts = Counter(outcomes)
    failed = {status: count for status, count in counts.items() if not status.is_usable}
    total = sum(failed.values())
    if total:
        many = total > _MOST_FAILED * n
        reasons = "; ".join(f"{count}: {status}" for status, count in failed.items())
        what = "Standard errors and intervals would be those of a selection." if many else ""
        detail = f"{total} of {n} ({reasons}). {what}".strip()
        action = "Look at bootstrap.fits['outcome']; consider a profile interval."
        severity = Severity.ERROR if many else Severity.WARNING
        flags.append(Flag(FlagCode.REFITS_FAILED, severity, (), action, detail))
    if counts[RefitStatus.BOUNDARY]:
        detail = f"{counts[RefitStatus.BOUNDARY]} of {n}; they are kept."
        flags.append(Flag(FlagCode.REFITS_AT_BOUNDARY, Severity.INFO, (), "", detail))
    return flags


def _flag_gaps(draws: Mapping[str, xr.DataArray], outcomes: Sequence[RefitStatus]) -> list[Flag]:
    """Return a flag about the scalars that some of the resampled data say nothing about."""
    partial = [i for i, status in enumerate(outcomes) if status is RefitStatus.PARTIAL]
    if not partial:
        return []
    whole = xr.Dataset(draws)
    gaps = whole.isel(replicate=partial).isnull().sum("replicate")
    gaps = gaps.where(~whole.isnull().all("replicate"), 0)  # there the estimate itself is NaN
    counts = {label: int(count) for label, count in labelled(gaps).items() if count}
    if not counts:
        return []
    worst = max(counts, key=lambda label: counts[label])
    many = sum(count > _MOST_FAILED * len(outcomes) for count in counts.values())
    detail = f"In {len(partial)} of {len(outcomes)} resamples, {worst} in {counts[worst]}."
    if many:
        detail += f" Where that is more than one in ten ({many}), there is no standard error."
    action = "Resample larger units with cluster=, or use kind='bayesian' or 'parametric'."
    code = FlagCode.REFITS_SAY_NOTHING
    return [Flag(code, Severity.WARNING, tuple(counts), action, detail)]
