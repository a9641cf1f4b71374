"""Likelihood-ratio tests: two nested models, or a null hypothesis on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from scipy import stats

from pmlik._typing import FloatArray
from pmlik.errors import EstimationError, NestingError, StartError, ValuesError
from pmlik.inference.find import find_MLE
from pmlik.inference.prepare import Prepared, prepared_of
from pmlik.inference.profile_grid import GridProfiler
from pmlik.inference.starts import list_starts
from pmlik.logp.points import read_numbers
from pmlik.model.observations import observed_values
from pmlik.optimize.multistart import Start, search_from_starts
from pmlik.optimize.result import select_result
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Severity
from pmlik.results.format import format_fixed, format_number
from pmlik.results.point import PointEstimate
from pmlik.results.table import Shown, Table
from pmlik.stats.profile import mle_of, places_of

type Tested = PointEstimate | Comparison | pm.Model

# A reduced model with a log-likelihood higher by more than this share is not nested.
_SLACK = 1e-6

# A statistic below this is rounding error.
_ZERO = 1e-8

# Searches under a null begin at this many starts at least.
_STARTS = 2

# A limit at a border is evaluated at these distances, between which nothing should change.
_FAR, _SETTLED = (15.0, 20.0), 1e-5

# Half the width of a gap that is interpolated across, in the value's units.
_GAP = 1e-4


@dataclass(frozen=True)
class LikelihoodRatioTest(Shown):
    """Twice the difference of two maximised log-likelihoods, with its p-value.

    Parameters
    ----------
    null : str
        The hypothesis in words.
    statistic : float
        ``2 (l_full - l_null)``.
    df : int
        The number of parameters that the null fixes.
    p_value : float
        By the distribution named in ``reference``.
    p_value_naive : float
        By the chi-square distribution with ``df`` degrees of freedom.
    reference : str
        The asymptotic distribution under the null.
    log_likelihood_full, log_likelihood_null : float
        At the two maxima, all constants included.
    notes : tuple of str
        Limitations.
    """

    null: str
    statistic: float
    df: int
    p_value: float
    p_value_naive: float
    reference: str
    log_likelihood_full: float
    log_likelihood_null: float
    notes: tuple[str, ...] = ()

    def sheet(self) -> Table:
        """Return the test as a table of strings."""
        rows = (
            ("statistic", format_number(self.statistic, 6)),
            ("degrees of freedom", str(self.df)),
            ("p-value", format_number(self.p_value, 4)),
            ("log-likelihood, full", format_fixed(self.log_likelihood_full, 4)),
            ("log-likelihood, null", format_fixed(self.log_likelihood_null, 4)),
        )
        notes = [("null", self.null), ("reference", self.reference)]
        if self.p_value != self.p_value_naive:
            naive = format_number(self.p_value_naive, 4)
            notes.append(("naive", f"p = {naive} by chi-square with {self.df} df"))
        notes += [("note", note) for note in self.notes]
        return Table("Likelihood-ratio test", ("", "value"), rows, tuple(notes))


def likelihood_ratio_test(
    full: Tested,
    reduced: Tested | None = None,
    *,
    null: Mapping[str, Any] | None = None,
    boundary: bool | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> LikelihoodRatioTest:
    """Test nested models, or values of parameters in one model, by the likelihood ratio.

    Parameters
    ----------
    full : PointEstimate, Comparison or pm.Model
        The larger model; a pm.Model is estimated first.
    reduced : PointEstimate, Comparison or pm.Model, optional
        The smaller one.
    null : mapping, optional
        Instead of ``reduced``: values, in natural units, by the name of a variable
        (``{"beta": 0}``: all its elements) or the label of an element (``{"beta[age]": 0}``),
        of parameters or derived quantities.
    boundary : bool, optional
        True if the null is on the boundary of the parameter space. Default: it is determined,
        which works for ``null`` and for models that differ by one scalar parameter.
    random_seed : int, optional
        For models that have to be estimated.
    progressbar : bool

    Returns
    -------
    LikelihoodRatioTest

    Raises
    ------
    NestingError
        If the models have different data or numbers of observations, the smaller one does not
        have fewer parameters, or it has the higher likelihood.
    EstimationError
        If a maximum could not be certified.
    ValuesError
        For a null that does not fit the model.

    Notes
    -----
    With one of the tested parameters on its boundary (a variance of zero) half of the null's
    distribution has a degree of freedom less: the 50:50 mixture of Self and Liang (1987),
    doi:10.1080/01621459.1987.10478472, cases 5 and 6. With several on their boundaries the
    weights depend on the model; the p-value is then the naive one, which is too large.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> test = pmlik.likelihood_ratio_test(mle, null={"p": 0.5})
    >>> print(f"{test.statistic:.4f} {test.df} {test.p_value:.4f}")
    3.8549 1 0.0496
    """
    if (reduced is None) == (null is None):
        raise ValuesError("likelihood_ratio_test: give either a reduced model or null={...}.")
    larger = _estimate(full, random_seed, progressbar)
    if null is not None:
        return _test_null(larger, null, boundary)
    assert reduced is not None
    return _test_nested(larger, _estimate(reduced, random_seed, progressbar), boundary)


def _estimate(tested: Tested, random_seed: int | None, progressbar: bool) -> PointEstimate:
    """Return the MLE, of a model too, if its maximum is certified."""
    if isinstance(tested, pm.Model):
        tested = find_MLE(tested, random_seed=random_seed, progressbar=progressbar)
    mle = mle_of(tested, "likelihood_ratio_test")
    if not np.isfinite(mle.log_likelihood):
        reasons = [str(flag) for flag in mle.flags if flag.severity is Severity.ERROR]
        raise EstimationError(f"The likelihood has no certified maximum. {' '.join(reasons)}")
    return mle


def _test_null(
    mle: PointEstimate, null: Mapping[str, Any], boundary: bool | None
) -> LikelihoodRatioTest:
    held = _read_null(mle, null)
    places = places_of(mle)
    search = _NullSearch.of(mle, [places[label] for label in held], mle.unconstrained)
    with np.errstate(all="ignore"):
        highest, n_border = search.maximum(np.array(list(held.values())))
    text = ", ".join(f"{label} = {value:g}" for label, value in held.items())
    if not np.isfinite(highest):
        raise EstimationError(
            f"null: no maximum of the likelihood could be certified with {text}. Values outside "
            "the support, or of quantities that depend on each other, have none."
        )
    if boundary is not None:
        n_border = int(boundary)
    return _record(text, mle.log_likelihood, highest, len(held), n_border, _notes(mle))


@dataclass(frozen=True, eq=False)
class _NullSearch:
    """Maxima of a model's log-likelihood with some values held.

    ``profiler``: of those values. ``prepared``: the model of the MLE.
    """

    profiler: GridProfiler
    mle: PointEstimate
    prepared: Prepared

    @classmethod
    def of(cls, mle: PointEstimate, places: Sequence[int], near: FloatArray) -> _NullSearch:
        """Return the search with the values at some places held, from a point (n,) near."""
        prepared = prepared_of(mle, "likelihood_ratio_test")
        return cls(GridProfiler(prepared.natural, places, near), mle, prepared)

    def maximum(self, values: FloatArray) -> tuple[float, int]:
        """Return the maximum under the null, and the number of its values at a border."""
        border = self.profiler.at_border(values, self.prepared.start)
        if border.any():
            return self.limit(values), int(border.sum())
        highest = self._inside(values)
        if not np.isfinite(highest) and len(values) == 1:
            highest = self._across(values)
        return highest, 0

    def limit(self, values: FloatArray) -> float:
        """Return the limit at a border of the values' support; NaN if there is none."""
        near, far = (self._inside(values, distance) for distance in _FAR)
        return far if abs(near - far) < _SETTLED * (1 + abs(far)) else np.nan

    def _inside(self, values: FloatArray, far: float = 0) -> float:
        """Return the maximum with values held, by the search that finds the MLE."""
        x, inside = self.mle.unconstrained, self.prepared.start
        if not self.profiler.has_own_coordinates:
            maxima = [self.profiler(values, near)[0] for near in (x, inside)]
            return max((value for value in maxima if np.isfinite(value)), default=np.nan)
        objective = self.profiler.held_at(values, inside, far)
        if not np.isfinite(objective.base).all():
            return np.nan
        if not objective.size:
            return -objective.value_and_gradient(np.zeros(0))[0]
        starts = [
            Start("the full model's maximum", lambda: x),
            Start("inside", lambda: inside),
            *list_starts(self.prepared, "mle"),
        ]
        try:
            ends = search_from_starts(objective, starts, _STARTS)
        except StartError:
            return np.nan
        start = inside[objective.active]
        found = select_result(objective, ends, start, self.mle.n_observations).optimum
        return -found.value if found.usable else np.nan

    def _across(self, values: FloatArray) -> float:
        """Interpolate where the model divides zero by zero, as at a Box-Cox exponent of zero.

        Means of both sides at two distances are extrapolated to distance zero.
        """
        width = _GAP * max(1.0, float(np.abs(values[0])))
        means = [
            np.mean([self._inside(values + side * size) for side in (-1, 1)])
            for size in (width, 2 * width)
        ]
        value = float(4 * means[0] - means[1]) / 3
        return value if abs(value - means[0]) < _SETTLED else np.nan


def _read_null(mle: PointEstimate, null: Mapping[str, Any]) -> dict[str, float]:
    """Return the values under the null by label."""
    if not isinstance(null, Mapping) or not null:
        raise ValuesError(f"null: got {null!r}, need a mapping of names to values.")
    problem = prepared_of(mle, "likelihood_ratio_test").problem
    held: dict[str, float] = {}
    for name, value in null.items():
        array = read_numbers(str(name), value)
        space = next((s for s in (problem.parameters, problem.derived) if name in s.names), None)
        labels: Sequence[str] = space.labels_of(name) if space else [str(name)]
        if space is None and name not in places_of(mle):
            known = ", ".join(map(str, mle.values.data_vars))
            raise ValuesError(f"null: {name!r} is not a scalar of the model, which has {known}.")
        shape = space.empty(name).shape if space else ()
        try:
            flat = np.broadcast_to(array, shape).ravel()
        except ValueError:
            raise ValuesError(f"{name}: got shape {array.shape}, need {shape}.") from None
        if np.isnan(flat).any() or held.keys() & set(labels):
            raise ValuesError(f"null: {name} needs one value, and a number.")
        held |= dict(zip(labels, map(float, flat), strict=True))
    return held


def _test_nested(
    full: PointEstimate, reduced: PointEstimate, boundary: bool | None
) -> LikelihoodRatioTest:
    _check_data(full, reduced)
    df = full.n_parameters - reduced.n_parameters
    if df <= 0:
        raise NestingError(
            f"The full model has {full.n_parameters} parameters and the reduced one "
            f"{reduced.n_parameters}: need more in the full one. Is the order right?"
        )
    gap = reduced.log_likelihood - full.log_likelihood
    if gap > _SLACK * (1 + abs(full.log_likelihood)):
        raise NestingError(
            f"The reduced model has the higher log-likelihood, {reduced.log_likelihood:.6f} "
            f"against {full.log_likelihood:.6f}: either it is not nested in the full one, or the "
            "full model's maximum was not found."
        )
    larger, smaller = (
        prepared_of(e, "likelihood_ratio_test").problem.parameters for e in (full, reduced)
    )
    extra = [
        label
        for name in larger.names
        if name not in smaller.names
        for label in larger.labels_of(name)
    ]
    if boundary is None:
        boundary = len(extra) == 1 == df and _is_limit(full, reduced, extra[0])
    what = f"without {', '.join(extra)}" if extra else f"{df} parameters fewer"
    return _record(
        f"the reduced model ({what})",
        full.log_likelihood,
        reduced.log_likelihood,
        df,
        int(boundary),
        (*_notes(full), "That the models are nested is assumed; their data are the same."),
    )


def _check_data(full: PointEstimate, reduced: PointEstimate) -> None:
    """Refuse models of different data, and densities whose constants differ."""
    loose = [prepared_of(e, "likelihood_ratio_test").unnormalised for e in (full, reduced)]
    if set(loose[0]) != set(loose[1]):
        names = ", ".join(sorted({*loose[0], *loose[1]}))
        raise NestingError(
            f"{names}: PyMC's density lacks its constant, so the log-likelihoods of the two models "
            "can't be compared. Test a value on one model: null=."
        )
    if full.n_observations != reduced.n_observations:
        raise NestingError(
            f"The models are of different data: {full.n_observations} and "
            f"{reduced.n_observations} observations."
        )
    mine, other = (
        observed_values(prepared_of(e, "likelihood_ratio_test").problem.model)
        for e in (full, reduced)
    )
    arrays = [[np.sort(np.ravel(a)) for _, a in sorted(d.items())] for d in (mine, other)]
    if mine.keys() == other.keys():
        differ = [name for name in mine if not _same(mine[name], other[name])]
    else:
        same = len(mine) == len(other) and all(map(_same, *arrays))
        differ = [] if same else [*mine, *other]
    if differ:
        raise NestingError(
            f"{', '.join(differ)}: the observed data of the two models differ. Likelihoods of "
            "different data can't be compared."
        )


def _same(one: FloatArray, other: FloatArray) -> bool:
    return one.size == other.size and bool(
        np.array_equal(np.ravel(one), np.ravel(other), equal_nan=True)
    )


def _is_limit(full: PointEstimate, reduced: PointEstimate, label: str) -> bool:
    """True if the reduced model is the full one with a parameter at a border of its support."""
    inside = prepared_of(full, "likelihood_ratio_test").start
    search = _NullSearch.of(full, [places_of(full)[label]], inside)
    if not search.profiler.has_own_coordinates:
        return False
    slack = _SETTLED * (1 + abs(reduced.log_likelihood))
    with np.errstate(all="ignore"):
        return any(
            abs(search.limit(np.array([border])) - reduced.log_likelihood) < slack
            for border in search.profiler.borders()
        )


def _notes(full: PointEstimate) -> tuple[str, ...]:
    """Return a note if the full model has no maximum that is attained."""
    if full.trusted:
        return ()
    return ("The full model's likelihood has a supremum that is not attained.",)


def _record(
    null: str, highest: float, under: float, df: int, n_border: int, notes: tuple[str, ...]
) -> LikelihoodRatioTest:
    statistic = max(0.0, 2 * (highest - under))
    if statistic < _ZERO:
        statistic = 0.0
    naive = float(stats.chi2.sf(statistic, df))
    p_value, reference = naive, f"chi-square with {df} df"
    if n_border == 1:
        lower = float(stats.chi2.sf(statistic, df - 1)) if df > 1 else float(statistic == 0)
        p_value = (lower + naive) / 2
        reference = (
            f"50:50 mixture of chi-square with {df - 1} and {df} df, as the null is on the "
            "boundary of the parameter space"
        )
    elif n_border > 1:
        notes = (
            *notes,
            f"{n_border} of the values are on the boundary of the parameter space: the p-value "
            "is too large.",
        )
    return LikelihoodRatioTest(
        null=null,
        statistic=statistic,
        df=df,
        p_value=p_value,
        p_value_naive=naive,
        reference=reference,
        log_likelihood_full=highest,
        log_likelihood_null=under,
        notes=notes,
    )
