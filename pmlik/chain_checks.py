"""From draws to flags: each ``check_*`` looks at one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pmlik._typing import FloatArray
from pmlik.errors import Flag, FlagCode, Severity

__all__ = ["check_chains", "check_draws", "check_near", "check_no_higher"]

_R_HAT = 1.01
_ESS_PER_CHAIN = 100
_DIVERGENT_SHARE = 0.005
_BFMI = 0.2
_ELSEWHERE = 3


def check_draws(broken: Sequence[str], n_draws: int, n_asked: int) -> list[Flag]:
    """Whether all draws are there and are numbers.

    Parameters
    ----------
    broken : sequence of str
        Variables with draws that are not finite.
    n_draws, n_asked : int
        Draws a chain that there are, and that were asked for.
    """
    flags = []
    if n_draws < n_asked:
        detail = f"{n_draws} of {n_asked} draws a chain."
        flags.append(Flag(FlagCode.CUT_SHORT, Severity.ERROR, (), "Sample again.", detail))
    if broken:
        action = "They have no mean; look at how they are computed."
        flags.append(Flag(FlagCode.DRAWS_NOT_FINITE, Severity.WARNING, tuple(broken), action))
    return flags


def check_chains(diagnostics: Mapping[str, float], n_chains: int, n_draws: int) -> list[Flag]:
    """Whether the chains agree, mixed and did not diverge.

    Thresholds: Vehtari et al. (2021), doi:10.1214/20-BA1221.
    """
    r_hat, ess = diagnostics["r_hat"], min(diagnostics["ess_bulk"], diagnostics["ess_tail"])
    if n_chains < 2 or not np.isfinite([r_hat, ess]).all():
        action = "Sample at least two chains (four is usual), with more draws."
        return [Flag(FlagCode.CHAINS_NOT_CHECKED, Severity.ERROR, (), action)]
    flags = []
    if r_hat > _R_HAT:
        action = "Sample longer, or reparametrise."
        flags.append(Flag(FlagCode.HIGH_R_HAT, Severity.ERROR, (), action, f"Worst {r_hat:.3f}."))
    if ess < _ESS_PER_CHAIN * n_chains:
        action, detail = "Draw more.", f"Worst {ess:.0f} of {n_chains * n_draws} draws."
        flags.append(Flag(FlagCode.LOW_ESS, Severity.ERROR, (), action, detail))
    if diagnostics.get("bfmi", np.inf) < _BFMI:
        action, detail = "Reparametrise, or tune longer.", f"Worst {diagnostics['bfmi']:.2f}."
        flags.append(Flag(FlagCode.LOW_BFMI, Severity.ERROR, (), action, detail))
    if n := int(diagnostics["divergences"]):
        many = n > _DIVERGENT_SHARE * n_chains * n_draws
        severity = Severity.ERROR if many else Severity.WARNING
        action = "Raise target_accept, or reparametrise."
        detail = f"{n} of {n_chains * n_draws} draws."
        flags.append(Flag(FlagCode.DIVERGENCES, severity, (), action, detail))
    return flags


def check_no_higher(gain: float, kind: str) -> list[Flag]:
    """Whether a draw has a higher log-density than the optimum, and no search from it helped."""
    if not np.isfinite(gain):  # there is no optimum, which has its own flag
        return []
    action = f"The {kind.upper()} is not the highest point: give another start."
    detail = f"By {gain:.3g} in log-density."
    return [Flag(FlagCode.DRAW_IS_HIGHER, Severity.ERROR, (), action, detail)]


def check_near(height: float, heights: FloatArray, size: int) -> list[Flag]:
    """Whether the chains come near the mode, judged by their own spread.

    For a normal posterior of ``k`` parameters the log-density falls by ``k / 2`` from the mode
    to the average draw, with a spread of ``sqrt(k / 2)``.

    Parameters
    ----------
    height : float
        Log-density at the mode, natural scale.
    heights : array
        Of the draws.
    size : int
        Number of parameters.
    """
    known = heights[np.isfinite(heights)]
    usual = size / 2 + 3 * float(known.std()) + 3
    gap = height - float(np.median(known))
    if not gap > _ELSEWHERE * usual:
        return []
    detail = f"It is {gap:.3g} higher than the median draw; about {size / 2:.3g} is usual."
    action = "The chains may be stuck, or the mode a narrow spike that has no mass."
    return [Flag(FlagCode.DRAWS_ARE_ELSEWHERE, Severity.WARNING, (), action, detail)]
