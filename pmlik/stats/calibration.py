"""Calibration: which intervals cover the truth in data sets like the observed ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import arviz as az
import numpy as np
import pymc as pm
import xarray as xr

from pmlik._runtime import counting
from pmlik._typing import FloatArray
from pmlik.errors import FileError, ModelError, ValuesError
from pmlik.inference.find import find_MLE
from pmlik.inference.options import check_ci_prob, is_integer, seed_of
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import Prepared, prepared_of
from pmlik.labels import circles_by_label
from pmlik.logp.points import check_names, read_points
from pmlik.results.comparison import Comparison
from pmlik.results.point import PointEstimate
from pmlik.stats.calibration_record import METHODS, Calibration, Method
from pmlik.stats.calibration_worker import LOST, CalibrationPlan, Rows
from pmlik.stats.executors import run_blocks


def calibrate(
    estimate: pm.Model | PointEstimate | Comparison,
    n: int = 400,
    *,
    truth: Literal["mle", "prior"] | Mapping[str, Any] = "mle",
    methods: Sequence[Method] = METHODS,
    ci_prob: float | None = None,
    draws: int = 250,
    tune: int = 300,
    random_seed: int | None = None,
    executor: Executor | None = None,
    resume: str | os.PathLike[str] | None = None,
    progressbar: bool = True,
) -> Calibration:
    """Simulate data sets, estimate again from each, and count which intervals cover the truth.

    Parameters
    ----------
    estimate : pm.Model, PointEstimate or Comparison
        A model, or its MLE.
    n : int
        Number of data sets.
    truth : {"mle", "prior"} or mapping
        The parameters that data are simulated at: the MLE, or values in natural units (what is
        left out is at the MLE): how often does an interval cover this truth? Or drawn from the
        prior, anew for each data set: does the interval cover on average over the prior, and does
        the sampler draw from the posterior? Latents are drawn anew in each case.
    methods : sequence of {"wald", "profile", "posterior"}
        Wald intervals (delta method), profile likelihood intervals, and equal-tailed posterior
        intervals. Without ``"posterior"`` nothing is sampled.
    ci_prob : float, optional
        Level of the table and the sentences; `Calibration.coverage` has all levels.
        Default: ArviZ's ``rcParams["stats.ci_prob"]``.
    draws, tune : int
        Of each of nutpie's two chains.
    random_seed : int, optional
        Default: a new one, which the result keeps. Replicate ``i`` depends on the seed and
        on ``i`` alone.
    executor : concurrent.futures.Executor, optional
        Threads, processes, Dask's ``client.get_executor()``. Results are those of a serial run;
        what a worker loses is counted in `Calibration.failures`.
    resume : path, optional
        A file that `Calibration.save` wrote, of the same model, methods and truth: its replicates
        are kept, with their seed, and only those up to ``n`` that it lacks are made.
    progressbar : bool

    Returns
    -------
    Calibration

    Raises
    ------
    ModelError
        If there is no finite MLE to simulate at, PyMC can't simulate the model, or nutpie can't
        sample it.
    ValuesError
        For a ``truth`` that does not fit the model.

    Notes
    -----
    An interval holds the truth if its confidence is at least a level that needs no interval: for
    Wald's ``2 Phi(|estimate - truth| / SE) - 1``, for the profile's the chi-square probability of
    the drop of the profile log-likelihood at the truth, for the posterior's ``|2 u - 1|`` with
    ``u`` the share of draws below the truth. An error of 2 % in 89 % takes 250 data sets.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=1)
    >>> found = pmlik.calibrate(
    ...     model, 400, methods=["wald", "profile"], ci_prob=0.95, random_seed=1, progressbar=False
    ... )
    >>> bool(found.table.loc[("p", "wald"), "coverage"] < 0.7)  # 0.650 by enumeration
    True
    """
    prob = float(ci_prob if ci_prob is not None else az.rcParams["stats.ci_prob"])
    check_ci_prob(prob)
    _check(n, methods, draws, tune)
    mle = _mle_of(estimate, random_seed, progressbar)
    prepared = prepared_of(mle, "calibrate")
    before = None if resume is None or not Path(resume).exists() else Calibration.load(resume)
    seed = before.random_seed if before else seed_of(random_seed)
    at, kind = _truth_of(truth, mle, prepared)
    plan = CalibrationPlan(
        arguments=prepared.arguments,
        methods=tuple(methods),
        mle=replace(mle, prepared=None),
        start=prepared.start,
        x_map=_map_of(prepared) if "posterior" in methods else None,
        truth=at,
        seed=seed,
        ci_prob=prob,
        draws=draws,
        tune=tune,
        circles=_circles(mle, prepared),
        added=prepared.added,
    )
    if before is not None:
        _check_same(before, plan, kind)
    done = before.n if before else 0
    rows: list[Rows] = []
    labels = [*prepared.problem.parameters.labels, *prepared.problem.derived.labels]

    def lost(number: int, size: int, error: BaseException) -> Rows:
        count = min(size, n - number * size)
        return Rows.empty(number * size, count, len(labels), f"{LOST}{type(error).__name__}")

    if n > done:
        with counting(progressbar, "Calibration", n) as advance:
            rows = run_blocks(plan, prepared, n, executor, advance, lost=lost, done=done)
    return Calibration(_join(rows, labels, before), tuple(methods), kind, prob, seed)


def _check(n: int, methods: Sequence[str], draws: int, tune: int) -> None:
    for name, number, least in (("n", n, 2), ("draws", draws, 50), ("tune", tune, 50)):
        if not is_integer(number) or number < least:
            raise ModelError(f"{name}: got {number!r}, need an integer from {least}.")
    if isinstance(methods, str) or not methods or set(methods) - set(METHODS):
        raise ModelError(f"methods: got {methods!r}, need some of {', '.join(METHODS)} in a list.")


def _mle_of(
    estimate: pm.Model | PointEstimate | Comparison, seed: int | None, progressbar: bool
) -> PointEstimate:
    if isinstance(estimate, pm.Model):
        estimate = find_MLE(estimate, random_seed=seed, progressbar=progressbar)
    mle = estimate.mle if isinstance(estimate, Comparison) else estimate
    if not isinstance(mle, PointEstimate) or mle.kind != "mle":
        raise ModelError(
            f"estimate: got {type(mle).__name__}, need a model, its MLE or comparison."
        )
    roles, potentials = (
        prepared_of(mle, "calibrate").roles,
        prepared_of(mle, "calibrate").potentials,
    )
    if roles.potentials:
        raise ModelError(
            f"{', '.join(roles.potentials)}: a pm.Potential ({potentials}) can't be simulated. "
            "Write it as a distribution."
        )
    return mle


def _map_of(prepared: Prepared) -> FloatArray | None:
    """Return the MAP (n,), unconstrained; None if there is none to start refits from."""
    found = estimate_point(prepared, "map")
    finite = not found.at_infinity and np.isfinite(found.log_likelihood)
    return found.unconstrained if finite else None


def _truth_of(
    truth: str | Mapping[str, Any], mle: PointEstimate, prepared: Prepared
) -> tuple[FloatArray | None, str]:
    """Return the scalars (m,) that data are simulated at, and what they are."""
    problem = prepared.problem
    if isinstance(truth, str) and truth == "prior":
        return None, "prior"
    if not isinstance(truth, Mapping) and truth != "mle":
        raise ValuesError(f"truth: got {truth!r}, need 'mle', 'prior' or a mapping of values.")
    own = problem.parameters.split(problem.values(mle.unconstrained)[: problem.parameters.size])
    shown = {name: np.asarray(mle.values[name].values) for name in own}
    values = {name: np.where(np.isnan(v), own[name], v) for name, v in shown.items()}
    given: Mapping[str, Any] = truth if isinstance(truth, Mapping) else {}
    if given:
        check_names(given, problem.parameters, complete=False)
    elif mle.at_infinity or not np.isfinite(mle.log_likelihood):
        raise ModelError("truth: there is no finite MLE to simulate at. Give values, or 'prior'.")
    points = read_points({**values, **given}, problem.parameters)
    if len(points.flat) != 1:
        raise ValuesError(f"truth: got {len(points.flat)} points, need one.")
    theta = points.flat[0]
    x = prepared.natural.to_unconstrained(theta)
    if np.isnan(x).any():
        raise ValuesError(
            f"truth: {', '.join(given)} must lie inside the support, or on its border."
        )
    whole = problem.values(x)
    whole[: len(theta)] = theta
    return whole, "values" if given else "mle"


def _circles(mle: PointEstimate, prepared: Prepared) -> dict[int, Any]:
    labels = [*prepared.problem.parameters.labels, *prepared.problem.derived.labels]
    return {labels.index(label): circle for label, circle in circles_by_label(mle.values).items()}


def _check_same(before: Calibration, plan: CalibrationPlan, kind: str) -> None:
    """Refuse a file of another calibration."""
    mine = (tuple(before.methods), before.truth)
    if mine != (plan.methods, kind):
        raise FileError(f"resume: got a calibration of {mine}, need one of {(plan.methods, kind)}.")
    known = before.replicates["truth"].isel(replicate=0).to_numpy()
    if plan.truth is not None and not np.array_equal(known, plan.truth, equal_nan=True):
        raise FileError("resume: got a calibration of another model or at another truth.")


def _join(rows: Sequence[Rows], labels: Sequence[str], before: Calibration | None) -> xr.Dataset:
    """Return all replicates as one Dataset, those that are known first."""
    parts = [] if before is None else [before.replicates]
    if rows and parts:
        parts = [parts[0].isel(replicate=slice(rows[0].first))]
    for part in rows:
        columns: dict[str, Any] = {
            **{name: (("replicate", "parameter"), array) for name, array in part.scalars.items()},
            **{name: ("replicate", array) for name, array in part.numbers.items()},
            "outcome": ("replicate", np.array(part.outcome, dtype=object)),
        }
        index = part.first + np.arange(len(part.outcome))
        parts.append(xr.Dataset(columns, {"replicate": index, "parameter": list(labels)}))
    return xr.concat(parts, "replicate")
