"""From what was found to flags: each ``check_*`` looks at one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pmlik.errors import Flag, FlagCode, Severity
from pmlik.estimates import Certificate, PointEstimate
from pmlik.objective import Optimum
from pmlik.roles import Potentials, Roles

__all__ = [
    "check_certificate",
    "check_chains",
    "check_draws",
    "check_higher",
    "check_identified",
    "check_order",
    "check_roles",
    "check_standard_errors",
]

_R_HAT = 1.01
_ESS_PER_CHAIN = 100
_DIVERGENT_SHARE = 0.005
_BFMI = 0.2


def check_roles(roles: Roles, potentials: Potentials) -> list[Flag]:
    """What the reader has to know of how the model was read."""
    flags = []
    if roles.potentials:
        code = {
            "likelihood": FlagCode.POTENTIAL_IN_LIKELIHOOD,
            "prior": FlagCode.POTENTIAL_IN_PRIOR,
        }[potentials]
        other = {"likelihood": "prior", "prior": "likelihood"}[potentials]
        action = f"potentials={other!r} counts it the other way."
        flags.append(Flag(code, Severity.INFO, roles.potentials, action))
    if roles.missing:
        flags.append(Flag(FlagCode.MISSING_INTEGRATED_OUT, Severity.INFO, roles.missing))
    return flags


def check_certificate(certificate: Certificate, optimum: Optimum, where: str) -> list[Flag]:
    """Whether the point is an optimum.

    Parameters
    ----------
    certificate : Certificate
    optimum : Optimum
    where : str
        The point in words, since an estimate that is no optimum has no values.
    """
    if certificate.converged:
        return []
    if optimum.is_saddle and optimum.is_stationary:
        action = "Break the symmetry of the model, or give another initval."
        return [Flag(FlagCode.SADDLE, Severity.ERROR, (), action, where)]
    if optimum.usable:
        detail = f"Estimated distance {certificate.estimated_distance:.1g} SE."
        return [Flag(FlagCode.LIMITED_PRECISION, Severity.WARNING, (), "", detail)]
    action = (
        "There may be no maximum (a parameter that runs off, a scale that shrinks to zero); a "
        "stronger prior gives a MAP, other data or fewer parameters an MLE."
    )
    return [Flag(FlagCode.NOT_CONVERGED, Severity.ERROR, (), action, where)]


def check_higher(gain: float) -> list[Flag]:
    """Whether the search has seen a higher objective than at the optimum it reports."""
    if not gain > 1e-6:
        return []
    detail = f"By {gain:.3g} in log-density."
    action = "The objective may be unbounded, or have another optimum: try other initvals."
    return [Flag(FlagCode.HIGHER_ELSEWHERE, Severity.WARNING, (), action, detail)]


def check_identified(
    labels: Sequence[str], unidentified: Sequence[bool], unused: Sequence[bool], kind: str
) -> list[Flag]:
    """Which scalars the objective says nothing about.

    Parameters
    ----------
    labels : sequence of str
        One a scalar.
    unidentified : sequence of bool
        Moved by a flat direction of the objective.
    unused : sequence of bool
        Not in the objective at all.
    kind : {"mle", "map"}
    """
    flags = []
    absent = tuple(label for label, u in zip(labels, unused, strict=True) if u)
    if absent:
        code, action = FlagCode.NOT_IN_OBJECTIVE, "Give it a prior that is not flat."
        if kind == "mle":
            code, action = FlagCode.NOT_IN_LIKELIHOOD, "Its posterior is its prior."
        flags.append(Flag(code, Severity.WARNING, absent, action))
    flat = tuple(
        label for label, f, u in zip(labels, unidentified, unused, strict=True) if f and not u
    )
    if flat:
        action = "Only a combination of them is determined: drop or fix one."
        flags.append(Flag(FlagCode.NOT_IDENTIFIED, Severity.WARNING, flat, action))
    return flags


def check_standard_errors(
    labels: Sequence[str], lacking: Sequence[bool], asked: Sequence[bool]
) -> list[Flag]:
    """Which scalars have an estimate but no standard error, and why.

    Parameters
    ----------
    labels : sequence of str
        One a scalar.
    lacking : sequence of bool
        Without standard error.
    asked : sequence of bool
        Whose standard error was tried.
    """
    flags = []
    if any(lack and not ask for lack, ask in zip(lacking, asked, strict=True)):
        action = "The model is large: name the variables that need one in var_names."
        flags.append(Flag(FlagCode.NO_STANDARD_ERROR, Severity.INFO, (), action))
    failed = tuple(
        label for label, lack, ask in zip(labels, lacking, asked, strict=True) if lack and ask
    )
    if failed:
        action = "It is no smooth function of the parameters, or the curvature along it is lost."
        flags.append(Flag(FlagCode.NO_STANDARD_ERROR, Severity.WARNING, failed, action))
    return flags


def check_order(mle: PointEstimate, map_estimate: PointEstimate) -> list[Flag]:
    """Whether the MAP has a higher likelihood than what was found to be its maximum."""
    gain = map_estimate.log_likelihood - mle.log_likelihood
    if not (mle.trusted and map_estimate.trusted and gain > 1e-6):
        return []
    detail = f"The likelihood at the MAP is higher, by {gain:.3g} in its logarithm."
    action = "The MLE is a lesser optimum: give other initvals."
    return [Flag(FlagCode.HIGHER_ELSEWHERE, Severity.ERROR, (), action, detail)]


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
