"""How a reduced model is nested in a full one: its data, and the null that it is."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

from pmlik._typing import FloatArray
from pmlik.errors import NestingError
from pmlik.inference.prepare import prepared_of
from pmlik.labels import labelled
from pmlik.model.observations import observed_values
from pmlik.results.point import PointEstimate
from pmlik.stats.null_search import SETTLED, NullMaximum, NullSearch
from pmlik.stats.profile import places_of

# With more parameters than this missing from a reduced model, no null is looked for.
_MOST_EXTRA = 5


def check_data(full: PointEstimate, reduced: PointEstimate) -> None:
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


def null_of(
    full: PointEstimate, reduced: PointEstimate, extra: Sequence[str]
) -> tuple[NullSearch | None, NullMaximum, FloatArray]:
    """Return the null on the full model that a reduced one without some parameters is.

    Its values are borders of the support or zeros; what it does not hold drops out.
    """
    nothing = None, NullMaximum(np.nan), np.zeros(0)
    places, values = places_of(full), labelled(reduced.values)
    names = prepared_of(reduced, "likelihood_ratio_test").problem.parameters.labels
    if len(extra) > _MOST_EXTRA or not all(label in places for label in names):
        return nothing
    shared = {places[label]: values[label] for label in names}
    missing, inside = [places[label] for label in extra], full.unconstrained
    alone = [NullSearch.of(full, [place], inside).profiler for place in missing]
    if not all(one.has_own_coordinates for one in alone):
        return nothing
    ends = {place: [*one.borders(), 0.0] for place, one in zip(missing, alone, strict=True)}
    with np.errstate(all="ignore"):
        for size in range(1, len(missing) + 1):
            for held in combinations(missing, size):
                search = NullSearch.of(full, held, inside)
                for tried in product(*(ends[place] for place in held)):
                    at = np.array(tried)
                    found = search.matching(at, shared, missing, reduced.log_likelihood)
                    if found is not None:
                        return search, found, at
    return nothing


def is_limit(full: PointEstimate, reduced: PointEstimate, label: str) -> bool:
    """True if the reduced model is the full one with a parameter at a border of its support."""
    inside = prepared_of(full, "likelihood_ratio_test").start
    search = NullSearch.of(full, [places_of(full)[label]], inside)
    if not search.profiler.has_own_coordinates:
        return False
    slack = SETTLED * (1 + abs(reduced.log_likelihood))
    with np.errstate(all="ignore"):
        return any(
            abs(search.limit(np.array([border])).log_likelihood - reduced.log_likelihood) < slack
            for border in search.profiler.borders()
        )
