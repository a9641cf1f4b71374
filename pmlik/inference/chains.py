"""Convergence of chains: its measures, and the flags about draws."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

from pmlik._typing import FloatArray
from pmlik.labels import labelled
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.posterior import ESS_ERROR, R_HAT_ERROR

# From here on chains are flagged; nothing is said of what is beyond R_HAT_ERROR and ESS_ERROR.
_R_HAT = 1.01
_ESS_PER_CHAIN = 100
_DIVERGENT_SHARE = 0.005
_BFMI = 0.3
_ELSEWHERE = 3


@np.errstate(all="ignore")  # of constants there is none
def measure_convergence(posterior: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return R-hat, effective sample sizes and Monte Carlo errors, see `PosteriorEstimate`."""
    sizes = {f"ess_{kind}": az.ess(posterior, method=kind) for kind in ("bulk", "tail")}
    errors = {f"mcse_{of}": az.mcse(posterior, method=of) for of in ("mean", "sd", "median")}
    return {"r_hat": az.rhat(posterior), **sizes, **errors}


def diagnose(tree: xr.DataTree, convergence: Mapping[str, xr.Dataset]) -> dict[str, float]:
    """Return the worst R-hat, effective sample sizes and BFMI, and the number of divergences."""
    worst = {
        name: _extreme(convergence[name], np.nanmax if name == "r_hat" else np.nanmin)
        for name in ("r_hat", "ess_bulk", "ess_tail")
    }
    stats = tree["sample_stats"].dataset if "sample_stats" in tree.children else xr.Dataset()
    diverging = stats["diverging"].sum() if "diverging" in stats else 0
    bfmi = _extreme(az.bfmi(tree).dataset, np.nanmin) if "energy" in stats else np.nan
    return worst | {"divergences": float(diverging), "bfmi": bfmi}


def _extreme(dataset: xr.Dataset, of: Any) -> float:
    """Return the extreme over all finite scalars (constants and broken draws have none)."""
    values = np.concatenate([np.zeros(0), *map(np.ravel, dataset.data_vars.values())])
    finite = values[np.isfinite(values)]
    return float(of(finite)) if finite.size else np.nan


def check_draws(broken: Sequence[str], n_draws: int, n_requested: int) -> list[Flag]:
    """Flag draws that are missing or not finite.

    ``broken``: variables with draws that are not finite.
    ``n_draws``, ``n_requested``: draws per chain in the result, and requested.
    """
    flags = []
    if n_draws < n_requested:
        detail = f"{n_draws} of {n_requested} draws per chain."
        flags.append(Flag(FlagCode.CUT_SHORT, Severity.ERROR, (), "Sample again.", detail))
    if broken:
        action = "They have no mean; look at how they are computed."
        flags.append(Flag(FlagCode.DRAWS_NOT_FINITE, Severity.WARNING, tuple(broken), action))
    return flags


def check_chains(
    convergence: Mapping[str, xr.Dataset],
    diagnostics: Mapping[str, float],
    n_chains: int,
    n_draws: int,
) -> list[Flag]:
    """Flag chains that disagree, mix badly or diverge, by scalar where it is one's own.

    R-hat and effective sample sizes: Vehtari et al. (2021), doi:10.1214/20-BA1221; energy as in
    ArviZ and Stan.
    """
    r_hat, ess = diagnostics["r_hat"], min(diagnostics["ess_bulk"], diagnostics["ess_tail"])
    flags = []
    if n_chains < 2 or not np.isfinite([r_hat, ess]).all():
        action = "Sample at least two chains (four is usual), with more draws."
        flags.append(Flag(FlagCode.CHAINS_NOT_CHECKED, Severity.ERROR, (), action))
    action = "Sample longer, or reparametrize."
    r_hats = {x: v for x, v in labelled(convergence["r_hat"]).items() if v > _R_HAT}
    for severity, names in _by_weight(r_hats, lambda value: value > R_HAT_ERROR):
        detail = f"R-hat up to {max(r_hats[name] for name in names):.3f}."
        flags.append(Flag(FlagCode.HIGH_R_HAT, severity, names, action, detail))
    tail = labelled(convergence["ess_tail"])
    sizes = {x: min(v, tail[x]) for x, v in labelled(convergence["ess_bulk"]).items()}
    sizes = {x: v for x, v in sizes.items() if v < _ESS_PER_CHAIN * n_chains}
    for severity, names in _by_weight(sizes, lambda value: value < ESS_ERROR):
        detail = f"Worst {min(sizes[name] for name in names):.0f} of {n_chains * n_draws} draws."
        flags.append(Flag(FlagCode.LOW_ESS, severity, names, "Draw more.", detail))
    if diagnostics.get("bfmi", np.inf) < _BFMI:
        action, detail = "Reparametrize, or tune longer.", f"Worst {diagnostics['bfmi']:.2f}."
        flags.append(Flag(FlagCode.LOW_BFMI, Severity.WARNING, (), action, detail))
    if n := int(diagnostics["divergences"]):
        many = n > _DIVERGENT_SHARE * n_chains * n_draws
        severity = Severity.ERROR if many else Severity.WARNING
        action = "Raise target_accept, or reparametrize."
        detail = f"{n} of {n_chains * n_draws} draws."
        flags.append(Flag(FlagCode.DIVERGENCES, severity, (), action, detail))
    return flags


def _by_weight(
    found: Mapping[str, float], is_error: Callable[[float], bool]
) -> Iterator[tuple[Severity, tuple[str, ...]]]:
    """Yield the names of the errors, and of the warnings, where there are any."""
    for severity in (Severity.ERROR, Severity.WARNING):
        names = tuple(x for x, v in found.items() if is_error(v) == (severity is Severity.ERROR))
        if names:
            yield severity, names


def check_no_higher(gain: float, kind: str) -> list[Flag]:
    """Flag an optimum that a draw exceeds, after a search from that draw has not helped."""
    if not np.isfinite(gain):  # no optimum, which has its own flag
        return []
    action = f"The {kind.upper()} is not the highest point: give another start."
    detail = f"By {gain:.3g} in log-density."
    return [Flag(FlagCode.DRAW_IS_HIGHER, Severity.ERROR, (), action, detail)]


def check_near(log_density: float, draws: FloatArray, size: int) -> list[Flag]:
    """Flag chains that stay far from the mode, given their own spread.

    For a normal posterior of ``k`` parameters the log-density falls by ``k / 2`` from the mode
    to the average draw, with a spread of ``sqrt(k / 2)``.

    ``log_density``: log-density at the mode, without Jacobian.
    ``draws``: log-densities of the draws. ``size``: number of parameters.
    """
    known = draws[np.isfinite(draws)]
    usual = size / 2 + 3 * float(known.std()) + 3
    gap = log_density - float(np.median(known))
    if not gap > _ELSEWHERE * usual:
        return []
    detail = f"It is {gap:.3g} higher than the median draw; about {size / 2:.3g} is usual."
    action = "The chains may be stuck, or the mode a narrow spike that has no mass."
    return [Flag(FlagCode.DRAWS_ARE_ELSEWHERE, Severity.WARNING, (), action, detail)]
