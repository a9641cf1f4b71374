"""Comparisons made by hand: hard to show, and quick to make, as nothing is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from pmlik._typing import EigenvalueSigns
from pmlik.results.attribution import lay_out
from pmlik.results.background import Background
from pmlik.results.comparison import Comparison
from pmlik.results.curves import Curves
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.merge import merge_estimates
from pmlik.results.point import Certificate, FitStatistics, PointEstimate, SearchEnd, Status
from pmlik.results.posterior import PosteriorEstimate
from pmlik.stats.curves import keep_curves

HOSTILE = (
    "<script>alert('x')<!--",
    "quo\"te's & <b>",
    r"\textbf{100%} $x_1^2$ ~ #",
    "a|b`c`*d*_e_",
    "=1+1",
    "\x1b[31mred\x1b[0m",
    "n" * 200,
    "naïve β\u202e",
)

WIDE = {"first": 1.25, "second": -0.0375}


def make_point(
    kind: str,
    values: Mapping[str, object],
    errors: Mapping[str, object],
    *,
    flags: Sequence[Flag] = (),
    searches: Sequence[SearchEnd] = (),
    log_likelihood: float = -10.125,
    status: Mapping[str, Status] | None = None,
) -> PointEstimate:
    """A point estimate of scalars, or of vectors along a dim named after them."""
    trusted = not any(flag.severity is Severity.ERROR for flag in flags)
    certificate = Certificate(
        converged=trusted,
        newton_decrement=1e-12 if trusted else np.inf,
        gradient_norm=1e-10,
        eigenvalue_signs=EigenvalueSigns(2, 0, 0),
        n_gradients=12,
        n_products=4,
        moved=True,
        start="pm.find_MAP",
        searches=tuple(searches),
    )
    return PointEstimate(
        kind=kind,  # type: ignore[arg-type]
        values=dataset_of(values),
        std_error=dataset_of(errors),
        covariance=None,
        statistics=FitStatistics(log_likelihood, -3.5, 23, len(values)),
        certificate=certificate,
        flags=tuple(flags),
        status=statuses_like(dataset_of(values), status or {}),
        unconstrained=np.array([0.1, 0.2]),
    )


def statuses_like(values: xr.Dataset, status: Mapping[str, Status]) -> xr.Dataset:
    """All scalars are interior, but for the variables named."""
    width = f"U{max(map(len, Status))}"
    return values.map(
        lambda array: xr.full_like(array, status.get(str(array.name), Status.INTERIOR), dtype=width)
    )


def dataset_of(values: Mapping[str, object]) -> xr.Dataset:
    """Scalars and vectors; a vector's labels are numbers."""
    arrays = {}
    for name, value in values.items():
        array = np.asarray(value, dtype=float)
        dims = [f"{name}_dim"] if array.ndim else []
        arrays[name] = xr.DataArray(
            array, dims=dims, coords={d: np.arange(len(array)) for d in dims}
        )
    return xr.Dataset(arrays)


def make_posterior(
    means: Mapping[str, object], sds: Mapping[str, object], *, flags: Sequence[Flag] = ()
) -> PosteriorEstimate:
    """A posterior with 40 normal draws a scalar, moved to have about these means and sds."""
    random = np.random.default_rng(0)
    mean, sd = dataset_of(means), dataset_of(sds)
    draws = {}
    for name, array in mean.data_vars.items():
        noise = random.normal(size=(2, 20, *array.shape))
        with np.errstate(all="ignore"):
            values = array.to_numpy() + sd[name].to_numpy() * noise
        draws[name] = (("chain", "draw", *array.dims), values, {"unit": "m"})
    posterior = xr.Dataset(
        draws, coords={"chain": [0, 1], "draw": np.arange(20), **mean.coords}
    ).assign_attrs(inference_library="by hand", sample_dims=["chain", "draw"], tuning_steps=10)
    with np.errstate(all="ignore"):
        lower, upper = mean - 1.6 * sd, mean + 1.6 * sd
    interval = xr.concat([lower, upper], dim="ci_bound").assign_coords(ci_bound=["lower", "upper"])
    return PosteriorEstimate(
        tree=xr.DataTree.from_dict({"posterior": posterior}),
        values=mean,
        std_error=sd,
        interval=interval.transpose(..., "ci_bound").assign_attrs(ci_kind="eti", ci_prob=0.89),
        diagnostics={"r_hat": 1.002, "ess_bulk": 900.0, "ess_tail": 850.0, "divergences": 0.0},
        flags=tuple(flags),
    )


def make_comparison(
    mle: PointEstimate,
    map_estimate: PointEstimate,
    posterior: PosteriorEstimate | None = None,
    *,
    curves: dict[str, Curves] | None = None,
) -> Comparison:
    """The three beside each other, with an attribution whose mode lies on the MAP."""
    dataset, flags = merge_estimates(mle, map_estimate, posterior)
    attribution = None
    if posterior is not None:
        with np.errstate(all="ignore"):
            median = posterior.values - 0.1 * posterior.std_error
        points = {
            "mle": mle.values,
            "map": map_estimate.values,
            "sampled mode": map_estimate.values,
            "median": median,
            "mean": posterior.values,
        }
        attribution = lay_out(points, posterior.std_error)
    comparison = Comparison(
        mle=mle,
        map=map_estimate,
        posterior=posterior,
        dataset=dataset,
        flags=flags,
        timings={"building": 0.25, "MLE": 1.5},
        random_seed=7,
        versions={"pmlik": "0.1.0", "pymc": "6.4.0"},
        background=Background(
            attribution=attribution,
            curves=curves or {},
            model="first ~ Normal(0, 1)",
            edges=(("first", "y"), ("second", "y")),
            call="pmlik.compare(model, random_seed=7)",
        ),
    )
    return keep_curves(comparison)


def plain() -> Comparison:
    """Two scalars: one agrees, one differs."""
    mle = make_point("mle", WIDE, {"first": 0.5, "second": 0.01})
    best = make_point("map", {"first": 1.2, "second": -0.03}, {"first": 0.45, "second": 0.01})
    posterior = make_posterior({"first": 1.22, "second": -0.025}, {"first": 0.51, "second": 0.012})
    return make_comparison(mle, best, posterior)


def hostile() -> Comparison:
    """Names that mean something to every format, and flags of each severity that repeat them."""
    values = {name: 0.5 + i for i, name in enumerate(HOSTILE)}
    errors = dict.fromkeys(HOSTILE, 0.2)
    flags = [
        Flag(FlagCode.AT_BOUNDARY, Severity.WARNING, HOSTILE[:1], "Look <i>there</i>.", "p = 0."),
        Flag(FlagCode.NOT_CONVERGED, Severity.ERROR, (), r"Use \input{x} | more.", "& so on"),
        Flag(FlagCode.POTENTIAL_IN_LIKELIHOOD, Severity.INFO, HOSTILE[3:4]),
    ]
    ends = [SearchEnd(f"<start {i}>", -10.0 - i, i == 0, i and -1) for i in range(4)]
    at = {HOSTILE[0]: Status.LOWER_BOUNDARY}
    mle = make_point("mle", values, errors, flags=flags, searches=ends, status=at)
    best = make_point("map", values, errors)
    return make_comparison(mle, best, make_posterior(values, errors))


def broken() -> Comparison:
    """Not-a-numbers, infinities and sizes far from one."""
    nan, inf = np.nan, np.inf
    values = {"none": nan, "huge": 1.5e300, "tiny": -2.5e-300, "far": inf, "zero": 0.0}
    errors = {"none": nan, "huge": 1e298, "tiny": 1e-301, "far": inf, "zero": 0.0}
    flags = [Flag(FlagCode.AT_INFINITY, Severity.ERROR, ("none", "far"), "Think.")]
    at = {"none": Status.MINUS_INFINITY, "far": Status.PLUS_INFINITY}
    mle = make_point("mle", values, errors, flags=flags, log_likelihood=nan, status=at)
    best = make_point("map", values, errors, log_likelihood=-inf)
    posterior = make_posterior({**values, "far": -inf}, errors)
    return make_comparison(mle, best, posterior)


def many(n: int = 200) -> Comparison:
    """Vectors of ``n`` in all, with a few scalars that differ."""
    grid = np.linspace(-1, 1, n)
    values = {"effect": grid, "scale": 2.0}
    errors = {"effect": np.full(n, 0.3), "scale": 0.2}
    means = {"effect": grid + np.where(np.arange(n) % 20 == 0, 0.4, 0.01), "scale": 2.02}
    mle, best = make_point("mle", values, errors), make_point("map", values, errors)
    return make_comparison(mle, best, make_posterior(means, errors))


def without_posterior() -> Comparison:
    """MLE and MAP only."""
    mle = make_point("mle", WIDE, {"first": 0.5, "second": 0.01})
    return make_comparison(mle, make_point("map", WIDE, {"first": 0.4, "second": 0.01}))


def slashes() -> Comparison:
    """Names that a file's groups can't have; xarray's own trees refuse them for draws."""
    values = {"a/b": 0.25, "50%2F": 0.5, "</script>": 0.75}
    errors = dict.fromkeys(values, 0.1)
    return make_comparison(make_point("mle", values, errors), make_point("map", values, errors))


def without_mle() -> Comparison:
    """No MLE at all, as where the likelihood touches nothing."""
    nothing = dict.fromkeys(WIDE, np.nan)
    flags = [Flag(FlagCode.NOT_IN_LIKELIHOOD, Severity.WARNING, tuple(WIDE))]
    at = dict.fromkeys(WIDE, Status.NOT_IN_OBJECTIVE)
    mle = make_point("mle", nothing, nothing, flags=flags, status=at)
    errors = {"first": 0.5, "second": 0.01}
    return make_comparison(mle, make_point("map", WIDE, errors), make_posterior(WIDE, errors))


RECORDS = {
    "plain": plain,
    "hostile": hostile,
    "broken": broken,
    "many": many,
    "without_posterior": without_posterior,
    "slashes": slashes,
    "without_mle": without_mle,
}
