"""Flags: facts that a reader of an estimate has to know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pmlik.errors import EstimationError


class Severity(StrEnum):
    """The weight of a flag: ``error`` means that its number can't be trusted."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class FlagCode(StrEnum):
    """The kind of a flag; the value of a code is a readable sentence."""

    POTENTIAL_IN_LIKELIHOOD = "A pm.Potential is counted as part of the likelihood."
    POTENTIAL_IN_PRIOR = "A pm.Potential is counted as part of the prior."
    NOT_COUNTED = "It has data whose observations can't be counted, so there is no AICc and no BIC."
    NOT_NORMALISED = (
        "PyMC's density of it lacks its constant: the log-likelihood can't be compared with that "
        "of other models, so there is no AIC and no BIC."
    )
    MISSING_INTEGRATED_OUT = "Missing observations are integrated out of the likelihood exactly."
    RESTRICTED = (
        "Missing values or latents of which a transform leaves a part: its probability is a factor "
        "of the likelihood."
    )
    INTEGRATED_OUT = "Latents: integrated out of the likelihood."
    NO_JOINT_MODE = "The mode of parameters and latents together was left out: it takes too long."
    SUMMED_OUT = "Discrete latents are summed out of the likelihood exactly, by pymc-extras."
    FEW_LATENTS = "Hardly more latents than parameters of their distribution."
    SHRINKAGE = "Coefficients under a prior with free scales read as latents, not as parameters."
    LAPLACE_CHECKED = "The Laplace approximation was checked by importance sampling at the MLE."
    LAPLACE_NOT_CHECKED = "The Laplace approximation could not be checked by importance sampling."
    NOT_IN_LIKELIHOOD = "The likelihood does not depend on it, so its MLE does not exist."
    NOT_IN_OBJECTIVE = "Neither the likelihood nor the prior depends on it: it has no MAP."
    NOT_IDENTIFIED = "The objective is flat along a direction that moves it."
    NEARLY_UNIFORM = (
        "Hardly determined: almost any direction on the circle is as likely as another."
    )
    NOT_CONVERGED = "No optimum could be certified: this is where the search stopped."
    SEARCH_STOPPED = "A part of the search took so long that it was stopped."
    LIMITED_PRECISION = "Rounding error keeps the optimum from being found more exactly."
    DID_NOT_MOVE = "The search ended where it began."
    GRADIENT_WRONG = "The automatic gradient disagrees with finite differences."
    SADDLE = "A saddle: the gradient is zero, but the objective rises in some direction."
    AT_BOUNDARY = (
        "At the boundary of its support: no standard error, the rest is conditional on it."
    )
    AT_INFINITY = "The objective keeps growing as it goes to infinity: there is no finite maximum."
    LIMIT_UNKNOWN = (
        "The search goes to the border of its support; its limit there could not be determined."
    )
    UNBOUNDED = "The objective grows without bound as it goes to the border of its support."
    SEVERAL_OPTIMA = "There are other local maxima."
    LABEL_SWITCHING = "The same optimum was found with its labels switched."
    HIGHER_ELSEWHERE = "A higher objective was found elsewhere."
    START_REPLACED = "The model's own initial point has zero likelihood; another start was found."
    OTHER_START = "No optimum could be certified from pm.find_MAP's point, but from another start."
    HESSIAN_BY_DIFFERENCES = "Second derivatives are finite differences of the exact gradient."
    NO_STANDARD_ERROR = "No standard error was computed for it."
    NO_SHARES = "The shares of data and prior need a certified MAP inside the support."
    NO_POSTERIOR = "Sampling did not finish, so there is no posterior."
    CUT_SHORT = "Sampling was cut short."
    DRAWS_NOT_FINITE = "Some of its draws are infinite or not a number."
    NO_SUMMARY = "The draws are kept, but could not be summarized."
    HIGH_R_HAT = "The chains disagree."
    CHAINS_AT_MODES = "The chains sit at different local maxima."
    SAMPLED_AGAIN = (
        "Chains sat at a local maximum without weight: sampled once more from around the MAP."
    )
    NO_INIT = "There is no MAP inside the support to start the chains from: they start as usual."
    LOW_ESS = "Few effective draws (bulk or tail ESS)."
    HIGH_PARETO_K = "PSIS-LOO can't be trusted (a Pareto k above 0.7)."
    LOW_BFMI = "The sampler explored the energy too slowly (BFMI below 0.3)."
    RESTARTED = "A posterior draw was higher than the optimum found first: searched again from it."
    DRAW_IS_HIGHER = "A posterior draw is higher than the optimum."
    DRAWS_ARE_ELSEWHERE = "The chains never come near the optimum."
    NO_FINITE_END = "Its profile levels off before it has fallen far enough: no finite end there."
    ENDS_AT_BORDER = "Its profile has not fallen far enough at its border, where the interval ends."
    WHOLE_TURN = "Its profile falls far enough nowhere: the interval is the whole turn."
    ENDS_AT_EDGE = "The likelihood jumps to zero there, which ends the interval."
    PROFILE_RISES = "Its profile rises again farther out; the end is the one nearest the estimate."
    PROFILE_BREAKS = "Its profile could not be traced until it had fallen far enough: no end there."
    BETTER_OPTIMUM = (
        "A profile found a higher likelihood than the estimate's: maximized from there."
    )
    DROPS_OUT = (
        "It drops out of the model under the null, so the statistic has no chi-square distribution "
        "(Davies 1987)."
    )
    NO_PROFILE = "It has no profile."
    DIVERGENCES = "The sampler diverged."
    REFITS_FAILED = "Some bootstrap refits have no finite estimate and are left out."
    REFITS_SAY_NOTHING = "Some resampled data do not identify it, and are left out for it alone."
    REFITS_AT_BOUNDARY = "Some bootstrap estimates lie on the boundary of their support."
    NO_ROBUST_ERROR = "At the border of the support there are no robust standard errors."
    FEW_CLUSTERS = "Too few independent observations or clusters for robust standard errors."
    STEP_LEFT_OUT = "A step beside the estimates did not finish, and what it shows is left out."
    CHAINS_NOT_CHECKED = (
        "With fewer than two chains, or too few draws, the chains can't be checked."
    )


# A flag names this many variables in words.
_MOST_NAMES = 6


@dataclass(frozen=True)
class Flag:
    """One fact that a reader of an estimate has to know.

    Parameters
    ----------
    code : FlagCode
        The kind of the flag; ``str(flag)`` is the sentence.
    severity : Severity
        ``info``, ``warning`` or ``error``.
    variables : tuple of str
        The variables, or labels of single elements, that it concerns. Empty: all of them.
    action : str
        The recommended action.
    detail : str
        The numbers behind it.
    """

    code: FlagCode
    severity: Severity
    variables: tuple[str, ...] = ()
    action: str = ""
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What is the matter, without the action."""
        about = f"{name_few(self.variables)}: " if self.variables else ""
        return f"{about}{self.code.value} {self.detail}".strip()

    def says_same(self, other: Flag) -> bool:
        """True if it is the same flag, whatever its weight."""
        return replace(self, severity=other.severity) == other

    def __str__(self) -> str:
        return f"{self.sentence} {self.action}".strip()


def name_few(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    """Return the first names, and the number of the others."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def number_by_name(flags: Iterable[Flag]) -> dict[str, list[int]]:
    """Return the places of the flags about each variable or label."""
    found = dict[str, list[int]]()
    for i, flag in enumerate(flags):
        for name in flag.variables:
            found.setdefault(name, []).append(i)
    return found


def raise_if_strict(flags: Iterable[Flag], strict: bool) -> None:
    """Raise `EstimationError` for the flags of severity ``error`` if ``strict``.

    Raises `EstimationError`: with one line per flag.
    """
    errors = [str(flag) for flag in flags if flag.severity is Severity.ERROR]
    if strict and errors:
        raise EstimationError("\n".join(errors))
