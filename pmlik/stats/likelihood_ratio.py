"""Likelihood-ratio tests: two nested models, or a null hypothesis on one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pymc as pm
from scipy import stats

from pmlik._typing import FloatArray
from pmlik.errors import EstimationError, NestingError, ValuesError
from pmlik.inference.find import find_MLE
from pmlik.inference.options import check_count, check_switch, seed_of
from pmlik.inference.prepare import prepared_of
from pmlik.logp.points import read_numbers
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.format import format_fixed, format_number
from pmlik.results.point import PointEstimate
from pmlik.results.table import Shown, Table
from pmlik.stats.chi_bar import chi_bar_sf, chi_bar_weights
from pmlik.stats.derived import extend_mle
from pmlik.stats.expressions import read_null
from pmlik.stats.nested import check_data, is_limit, null_of
from pmlik.stats.null_search import NullMaximum, NullSearch
from pmlik.stats.profile import mle_of, places_of

type Tested = PointEstimate | Comparison | pm.Model

# A reduced model with a log-likelihood higher by more than this share is not nested.
_SLACK = 1e-6

# A statistic below this is rounding error.
_ZERO = 1e-8

_BOOTSTRAP = "bootstrap=1000 takes the p-value from data simulated under the null."


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
    flags : tuple of Flag
        About the reference distribution.
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
    flags: tuple[Flag, ...] = ()

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
        notes += [("flag", str(flag)) for flag in self.flags]
        return Table("Likelihood-ratio test", ("", "value"), rows, tuple(notes))


def likelihood_ratio_test(
    full: Tested,
    reduced: Tested | None = None,
    *,
    null: Mapping[str, Any] | str | Sequence[str] | None = None,
    boundary: bool | None = None,
    bootstrap: int = 0,
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
    null : mapping, str or sequence of str, optional
        Instead of ``reduced``: values, in natural units, by the name of a variable
        (``{"beta": 0}``: all its elements) or the label of an element (``{"beta[age]": 0}``),
        of parameters or derived quantities; or equations of expressions, as ``"a - b = 0"``.
    boundary : bool, optional
        True if the null is on the boundary of the parameter space. Default: it is determined,
        which works for ``null`` and for models that differ by up to five scalar parameters.
    bootstrap : int, optional
        Number of data sets simulated under the null, by which the p-value is taken instead.
    random_seed : int, optional
        For models that have to be estimated, and for the bootstrap.
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
    doi:10.1080/01621459.1987.10478472, cases 5 and 6. With several on their boundaries it is a
    mixture of more, with weights from the observed information under the null: exact for up to
    three (Shapiro 1985, doi:10.1093/biomet/72.1.133), from 20 000 draws for more. Where that
    information is not positive definite the p-value is the naive one, which is too large, with
    a note.

    Where a parameter drops out of the model under the null (``ed50`` where ``emax`` is zero) the
    statistic has no chi-square distribution (Davies 1987, doi:10.1093/biomet/74.1.33): the
    p-value is NaN, with a flag, unless ``bootstrap`` says on how many simulated data sets to
    base it.

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
    check_switch("boundary", boundary, ValuesError)
    if bootstrap:
        check_count("bootstrap", bootstrap)
        if null is None:
            raise ValuesError("bootstrap: data are simulated under null={...} alone.")
    larger = _estimate(full, random_seed, progressbar)
    if null is not None:
        larger, values = (
            (larger, null) if isinstance(null, Mapping) else _read_equations(larger, null)
        )
        simulated = partial(_simulated, n=bootstrap, seed=random_seed, progressbar=progressbar)
        return _test_null(larger, values, boundary, simulated)
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


def _read_equations(
    mle: PointEstimate, null: str | Sequence[str]
) -> tuple[PointEstimate, dict[str, float]]:
    """Return the MLE with the contrasts of equations, and their values."""
    if not isinstance(null, str | Sequence):
        raise ValuesError(f"null: got {null!r}, need a mapping of names to values, or equations.")
    held, functions = read_null(null, mle.values)
    return (extend_mle(mle, functions) if functions else mle), dict(held)


def _test_null(
    mle: PointEstimate,
    null: Mapping[str, Any],
    boundary: bool | None,
    simulated: Callable[[LikelihoodRatioTest, NullSearch, FloatArray, NullMaximum], Any],
) -> LikelihoodRatioTest:
    held, places = _read_null(mle, null), places_of(mle)
    search = NullSearch.of(mle, [places[label] for label in held], mle.unconstrained)
    values = np.array(list(held.values()))
    with np.errstate(all="ignore"):
        found = search.maximum(values)
    text = ", ".join(f"{label} = {value:g}" for label, value in held.items())
    if not np.isfinite(found.log_likelihood):
        raise EstimationError(
            f"null: no maximum of the likelihood could be certified with {text}. Values outside "
            "the support, or of quantities that depend on each other, have none."
        )
    n_border = found.n_border if boundary is None else int(boundary)
    covariance = None
    if boundary is None and n_border > 1 and not found.dropped.any():
        with np.errstate(all="ignore"):
            covariance = search.border_covariance(found, values)
    highest, under = mle.log_likelihood, found.log_likelihood
    test = _record(text, highest, under, len(held), n_border, _notes(mle), covariance)
    if found.dropped.any():
        test = _without_reference(test, search, found, _BOOTSTRAP)
    return cast(LikelihoodRatioTest, simulated(test, search, values, found))


def _without_reference(
    test: LikelihoodRatioTest, search: NullSearch, found: NullMaximum, action: str
) -> LikelihoodRatioTest:
    """Return the test with the flag that parameters drop out under the null."""
    problem = search.prepared.problem
    direction = problem.values.jvp(search.prepared.start)(found.dropped.astype(float))
    moved = direction[: problem.parameters.size] != 0
    labels = tuple(np.array(problem.parameters.labels)[moved].tolist())
    return replace(
        test,
        p_value=np.nan,
        reference="none: a parameter drops out of the model under the null",
        flags=(Flag(FlagCode.DROPS_OUT, Severity.WARNING, labels, action),),
    )


def _simulated(
    test: LikelihoodRatioTest,
    search: NullSearch,
    values: FloatArray,
    under: NullMaximum,
    *,
    n: int,
    seed: int | None,
    progressbar: bool,
) -> LikelihoodRatioTest:
    """Return the test with the p-value of ``n`` data sets simulated under the null, if any."""
    if not n:
        return test
    with np.errstate(all="ignore"):
        statistics = search.bootstrap(values, under, n, seed_of(seed), progressbar)
    known = statistics[np.isfinite(statistics)]
    larger = int((known >= test.statistic - _ZERO).sum())
    return replace(
        test,
        p_value=(1 + larger) / (1 + len(known)) if len(known) else np.nan,
        reference=f"parametric bootstrap of {len(known)} data sets simulated under the null",
    )


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
    check_data(full, reduced)
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
    search, found, values = None, NullMaximum(np.nan), np.zeros(0)
    if len(extra) == df > 1:
        search, found, values = null_of(full, reduced, extra)
    n_border, covariance = found.n_border if boundary is None else int(boundary), None
    if boundary is None and df == 1:
        n_border = int(len(extra) == 1 and is_limit(full, reduced, extra[0]))
    if boundary is None and n_border > 1 and search is not None:
        with np.errstate(all="ignore"):
            covariance = search.border_covariance(found, values)
    what = f"without {', '.join(extra)}" if extra else f"{df} parameters fewer"
    test = _record(
        f"the reduced model ({what})",
        full.log_likelihood,
        reduced.log_likelihood,
        df,
        n_border,
        (*_notes(full), "That the models are nested is assumed; their data are the same."),
        covariance,
    )
    if search is None or not found.dropped.any():
        return test
    null = {
        larger.labels[place]: float(v)
        for place, v in zip(search.profiler.places, values, strict=True)
    }
    return _without_reference(test, search, found, f"With null={null}, {_BOOTSTRAP}")


def _notes(full: PointEstimate) -> tuple[str, ...]:
    """Return a note if the full model has no maximum that is attained."""
    if full.trusted:
        return ()
    return ("The full model's likelihood has a supremum that is not attained.",)


def _record(
    null: str,
    highest: float,
    under: float,
    df: int,
    n_border: int,
    notes: tuple[str, ...],
    covariance: FloatArray | None = None,
) -> LikelihoodRatioTest:
    """Return the record; ``covariance`` (n_border, n_border): of the values on the boundary."""
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
    elif covariance is not None:
        weights = chi_bar_weights(covariance)
        p_value = chi_bar_sf(statistic, weights, df - n_border)
        shares = ", ".join(format_number(weight, 3) for weight in weights)
        reference = (
            f"mixture of chi-square with {df - n_border} to {df} df, as {n_border} values of the "
            f"null are on the boundary of the parameter space; weights {shares}"
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
