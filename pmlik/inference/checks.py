"""Flags of a point estimate."""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import xarray as xr

from pmlik._summaries import Circle
from pmlik._typing import FloatArray
from pmlik.inference.compiled import CompiledModel
from pmlik.labels import ParameterSpace, labelled
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.marginal.importance import LaplaceError
from pmlik.model.roles import Potentials, Roles
from pmlik.optimize.objective import SearchPoint
from pmlik.results.directions import describe_direction
from pmlik.results.flags import Flag, FlagCode, Severity, name_few
from pmlik.results.point import Certificate, PointEstimate

# An automatic gradient with a larger relative error is wrong.
_GRADIENT_ERROR = 1e-3

# The standard deviation of a uniform distribution on the circle, in turns, is 0.289.
_UNIFORM = 0.285

# A supremum as small as this is zero but for rounding.
_ROUNDING = 1e-12

# A log-likelihood with a larger error may move an estimate by a large part of its error.
_LAPLACE_ERROR = 0.1


def check_roles(
    roles: Roles, potentials: Potentials, uncounted: tuple[str, ...], unnormalised: tuple[str, ...]
) -> list[Flag]:
    """Return the flags about how the model was read."""
    flags = []
    if uncounted:
        flags.append(Flag(FlagCode.NOT_COUNTED, Severity.INFO, uncounted))
    if unnormalised:
        flags.append(Flag(FlagCode.NOT_NORMALISED, Severity.INFO, unnormalised))
    if roles.potentials:
        code = {
            "likelihood": FlagCode.POTENTIAL_IN_LIKELIHOOD,
            "prior": FlagCode.POTENTIAL_IN_PRIOR,
        }[potentials]
        other = {"likelihood": "prior", "prior": "likelihood"}[potentials]
        action = f"potentials={other!r} counts it the other way."
        flags.append(Flag(code, Severity.INFO, roles.potentials, action))
    if roles.summed:
        flags.append(Flag(FlagCode.SUMMED_OUT, Severity.INFO, roles.summed))
    whole = tuple(name for name in roles.missing if name not in roles.restricted)
    if whole:
        flags.append(Flag(FlagCode.MISSING_INTEGRATED_OUT, Severity.INFO, whole))
    if roles.restricted:
        flags.append(Flag(FlagCode.RESTRICTED, Severity.INFO, roles.restricted))
    return flags


def check_latents(roles: Roles, problem: CompiledModel) -> list[Flag]:
    """Return the flags about the latents: how they are integrated out, and if they are too few."""
    likelihood = problem.likelihood
    if not likelihood.is_integral:
        return []
    how = "by Laplace's approximation"
    if likelihood.is_exact:
        how = "exactly: they are Gaussian and enter linearly"
    elif likelihood.n_nodes is not None:
        how = f"by adaptive quadrature with {likelihood.n_nodes} nodes each"
    action = f"parameters={list(roles.latents)!r} would maximise over them instead."
    flags = [Flag(FlagCode.INTEGRATED_OUT, Severity.INFO, roles.latents, action, f"Taken {how}.")]
    return [*flags, *_check_few(roles, problem, likelihood), *_check_coefficients(roles)]


def _check_few(
    roles: Roles, problem: CompiledModel, likelihood: MarginalLogLikelihood
) -> list[Flag]:
    """Flag latents that are no more than the parameters of their distribution.

    Latents that share parameters are counted together, and each against those that it has alone.
    """
    shapes = zip(roles.parameters, problem.unconstrained.shapes, strict=True)
    size = {name: int(np.prod(shape, dtype=int)) for name, shape in shapes}
    latents = dict(zip(roles.latents, likelihood.sizes, strict=True))
    named, details = list[str](), list[str]()
    for group, scales in _counted_together(roles.scales).items():
        own, above = sum(latents[name] for name in group), sum(size[scale] for scale in scales)
        if scales and own <= above and set(group).isdisjoint(roles.gaps):
            named += group
            details.append(f"{', '.join(group)}: {own}, with {above} in {', '.join(scales)}")
    if not named:
        return []
    action = "A prior has to tell the rest; the MLE may not exist or sit on a border."
    detail, names = f"{'; '.join(details)}.", tuple(dict.fromkeys(named))
    return [Flag(FlagCode.FEW_LATENTS, Severity.WARNING, names, action, detail)]


def _counted_together(
    scales: Mapping[str, Sequence[str]],
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return, by group of latents, the parameters of their distributions that are its alone."""
    counted: dict[tuple[str, ...], tuple[str, ...]] = {}
    for names in _sharing(scales):
        counted[names] = tuple(dict.fromkeys(scale for name in names for scale in scales[name]))
        for name in names:
            elsewhere = {s for other in names if other != name for s in scales[other]}
            counted[(name,)] = tuple(s for s in scales[name] if s not in elsewhere)
    return counted


def _sharing(scales: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the latents in groups that share parameters of their distributions."""
    groups: list[tuple[str, ...]] = []
    for name, own in scales.items():
        near = [g for g in groups if any(set(own) & set(scales[other]) for other in g)]
        groups = [g for g in groups if g not in near]
        groups.append((*(other for group in near for other in group), name))
    return groups


def _check_coefficients(roles: Roles) -> list[Flag]:
    """Flag latents that are coefficients under a shrinkage prior, and say how to get their MLE."""
    if not roles.coefficients:
        return []
    centred = [name for name in roles.coefficients if name not in roles.noncentered]
    what = "the unpenalised MLE of the coefficients"
    detail = "They multiply a matrix of covariates (ridge, horseshoe and the like)."
    action = (
        f"parameters={centred!r} gives {what}."
        if centred
        else f"For {what} write their prior on the coefficients themselves, centred, and name "
        "these in parameters=[...]."
    )
    return [Flag(FlagCode.SHRINKAGE, Severity.INFO, roles.coefficients, action, detail)]


def check_laplace(found: LaplaceError | None) -> list[Flag]:
    """Return the flags about the error of the Laplace approximation at the MLE.

    ``found``: None if nothing was approximated, or the data are too large to check.
    """
    if found is None:
        return []
    size = f"{found.error:+.3g} (Monte Carlo error {found.mcse:.2g}, Pareto k-hat"
    size += f" {found.pareto_k:.2g})"
    detail = f"The log-likelihood is off by {size}."
    if not found.is_reliable:
        detail = f"The error that it gives for the log-likelihood says nothing: {size}."
        action = "Latents with heavy tails or several modes: trust the posterior, not the integral."
        return [Flag(FlagCode.LAPLACE_NOT_CHECKED, Severity.WARNING, (), action, detail)]
    poor = abs(found.error) > _LAPLACE_ERROR
    severity = Severity.WARNING if poor else Severity.INFO
    action = "quadrature=15 integrates more exactly where each latent stands alone." if poor else ""
    return [Flag(FlagCode.LAPLACE_CHECKED, severity, (), action, detail)]


def check_certificate(certificate: Certificate, optimum: SearchPoint, where: str) -> list[Flag]:
    """Flag a point that is no optimum.

    ``where``: the point in words, as an estimate that is no optimum has no values.
    """
    if certificate.converged:
        return []
    if optimum.is_saddle and optimum.is_stationary:
        action = "Break the symmetry of the model, or give another initval."
        return [Flag(FlagCode.SADDLE, Severity.ERROR, (), action, where)]
    if optimum.usable:
        detail = f"Estimated distance {certificate.newton_decrement:.1g} SE."
        return [Flag(FlagCode.LIMITED_PRECISION, Severity.WARNING, (), "", detail)]
    if not certificate.moved:
        action = "Give another start, or look whether the density is smooth there."
        return [Flag(FlagCode.DID_NOT_MOVE, Severity.ERROR, (), action, where)]
    action = (
        "There may be no maximum (a parameter that goes to infinity, a scale that shrinks to "
        "zero); a stronger prior gives a MAP, other data or fewer parameters an MLE."
    )
    return [Flag(FlagCode.NOT_CONVERGED, Severity.ERROR, (), action, where)]


def agrees_with_differences(error: float) -> bool:
    """Return True unless the relative error of the gradient is too large for a gradient."""
    return not error > _GRADIENT_ERROR


def check_gradient(error: float) -> list[Flag]:
    """Flag an automatic gradient that does not agree with finite differences."""
    if agrees_with_differences(error):
        return []
    detail = f"Relative difference {error:.1g}."
    action = "Check the derivatives of your own operations, and look for jumps in the density."
    return [Flag(FlagCode.GRADIENT_WRONG, Severity.ERROR, (), action, detail)]


def check_limit(
    border: Mapping[str, float],
    infinite: Mapping[str, float],
    unknown: Sequence[str],
    supremum: float,
) -> list[Flag]:
    """Flag the parameters at a boundary of their support and at infinity.

    ``border``: values at a boundary, by label.
    ``infinite``: the direction of each that goes to infinity, by label.
    ``unknown``: labels of bounded ones whose limit is unknown.
    ``supremum``: the supremum of the log-density.
    """
    flags = []
    if border:
        detail = f"{name_few([f'{label} = {value:.6g}' for label, value in border.items()])}."
        flags.append(Flag(FlagCode.AT_BOUNDARY, Severity.WARNING, tuple(border), "", detail))
    if infinite:
        signs = name_few([f"{k} -> {'-' if v < 0 else '+'}inf" for k, v in infinite.items()])
        top = supremum if abs(supremum) > _ROUNDING else 0.0
        along = describe_direction(list(infinite), np.array(list(infinite.values())))
        detail = f"{signs}, along {along}; supremum of the log-density {top:.6g}."
        action = (
            "With a binary outcome this is separation: a combination of covariates tells the "
            "outcomes apart. A proper prior gives a MAP and a posterior."
        )
        flags.append(Flag(FlagCode.AT_INFINITY, Severity.ERROR, tuple(infinite), action, detail))
    if unknown:
        action = "A proper prior that is zero at the border gives a MAP and a posterior."
        flags.append(Flag(FlagCode.LIMIT_UNKNOWN, Severity.ERROR, tuple(unknown), action))
    return flags


def check_unbounded(labels: Sequence[str], inside: str) -> list[Flag]:
    """Flag an objective that has no upper bound.

    ``labels``: those that go to a boundary as it grows.
    ``inside``: the local maximum inside, in words; empty if there is none.
    """
    if not labels:
        return []
    labels = tuple(dict.fromkeys(labels))
    if inside:
        detail = "What is reported is a local maximum inside."
        return [Flag(FlagCode.UNBOUNDED, Severity.WARNING, labels, "", detail)]
    action = "Bound it away from there, share it among observations, or give it a prior."
    return [Flag(FlagCode.UNBOUNDED, Severity.ERROR, labels, action)]


def check_optima(
    lower: Sequence[float], switched: Sequence[bool], where: Sequence[str]
) -> list[Flag]:
    """Flag other local maxima.

    ``lower``: their log-density minus that of the estimate; not positive.
    ``switched``: True for the same maximum with its labels switched.
    ``where``: the maxima in words.
    """
    flags = []
    if any(switched):
        flags.append(Flag(FlagCode.LABEL_SWITCHING, Severity.INFO))
    others = [(d, w) for d, s, w in zip(lower, switched, where, strict=True) if not s]
    if others:
        shown = "; ".join(
            f"{'as high' if abs(d) < 1e-6 else f'{d:+.3g} in log-density'} at {w}"
            for d, w in others[:3]
        )
        more = f"; and {len(others) - 3} more" if len(others) > 3 else ""
        action = "The highest found is reported."
        flags.append(Flag(FlagCode.SEVERAL_OPTIMA, Severity.WARNING, (), action, f"{shown}{more}."))
    return flags


def check_higher(gain: float) -> list[Flag]:
    """Flag an objective that the search has seen higher than at the optimum."""
    if not gain > 1e-6:
        return []
    detail = f"By {gain:.3g} in log-density."
    action = "This is a local maximum at most. Give initvals, or a prior that rules the other out."
    return [Flag(FlagCode.HIGHER_ELSEWHERE, Severity.ERROR, (), action, detail)]


def check_identified(
    labels: Sequence[str],
    unidentified: Sequence[bool],
    unused: Sequence[bool],
    kind: str,
    directions: str = "",
    informed: Mapping[str, Sequence[str]] | None = None,
) -> list[Flag]:
    """Flag scalars that the objective does not identify.

    ``kind`` {"mle", "map"}. ``labels``: one per scalar.
    ``unidentified``: True if a flat direction of the objective moves the scalar.
    ``unused``: True if the objective does not depend on it.
    ``directions``: the flat directions in words.
    ``informed``: by label of one that is not used: the parameters that tell of it through the
        prior.
    """
    flags = []
    absent: dict[tuple[str, ...], list[str]] = {}
    for label, u in zip(labels, unused, strict=True):
        if u:
            absent.setdefault(tuple((informed or {}).get(label, ())), []).append(label)
    for others, names in absent.items():
        code, action = FlagCode.NOT_IN_OBJECTIVE, "Give it a prior that is not flat."
        if kind == "mle":
            code, action = FlagCode.NOT_IN_LIKELIHOOD, "Its posterior is its prior."
            if others:
                action = f"It is informed by {', '.join(others)} through the prior."
        flags.append(Flag(code, Severity.WARNING, tuple(names), action))
    flat = tuple(
        label for label, f, u in zip(labels, unidentified, unused, strict=True) if f and not u
    )
    if flat:
        detail = f"Flat along {directions}." if directions else ""
        action = (
            "What does not change along it is determined; along it the posterior is the prior. "
            "Drop or fix one."
        )
        flags.append(Flag(FlagCode.NOT_IDENTIFIED, Severity.WARNING, flat, action, detail))
    return flags


def check_circles(std_error: xr.Dataset, circles: Mapping[str, Circle]) -> list[Flag]:
    """Flag circular scalars whose standard error is that of a uniform distribution, or more.

    ``std_error``: of the estimate or of the draws.
    """
    names = [
        label
        for name, circle in circles.items()
        for label, error in labelled(std_error[[name]]).items()
        if error > _UNIFORM * circle.period
    ]
    if not names:
        return []
    action = "Its mean, interval and standard error say nothing."
    return [Flag(FlagCode.NEARLY_UNIFORM, Severity.WARNING, tuple(names), action)]


def check_standard_errors(
    labels: Sequence[str], lacking: Sequence[bool], asked: Sequence[bool]
) -> list[Flag]:
    """Flag scalars that have an estimate but no standard error.

    ``labels``: one per scalar. ``lacking``: True without standard error.
    ``asked``: True if the standard error was computed.
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
    """Flag an MLE with a lower likelihood than the MAP."""
    gain = map_estimate.log_likelihood - mle.log_likelihood
    if not (mle.trusted and map_estimate.trusted and gain > 1e-6):
        return []
    detail = f"The likelihood at the MAP is higher, by {gain:.3g} in its logarithm."
    action = "The MLE is a lesser optimum: give other initvals."
    return [Flag(FlagCode.HIGHER_ELSEWHERE, Severity.ERROR, (), action, detail)]


def check_joint(roles: Roles, joint: PointEstimate | None) -> list[Flag]:
    """Flag a missing mode of parameters and latents together."""
    if not roles.latents or joint is not None:
        return []
    action = f"pmlik.find_MAP(model, parameters={list(roles.latents)}) looks for it."
    return [Flag(FlagCode.NO_JOINT_MODE, Severity.INFO, roles.latents, action)]


_MOST_COMPONENTS = 6


def is_label_switched(space: ParameterSpace, one: FloatArray, other: FloatArray) -> bool:
    """Return True if one permutation along axes of one length maps one point to the other.

    ``one``, ``other`` (k,): constrained values.
    """
    lengths = {n for shape in space.shapes for n in shape if 1 < n <= _MOST_COMPONENTS}
    before, after = space.split(one), space.split(other)
    for n in lengths:
        for order in permutations(range(n)):
            if all(
                _same(_permute(before[name], n, list(order)), after[name]) for name in space.names
            ):
                return True
    return False


def _permute(array: FloatArray, n: int, order: list[int]) -> FloatArray:
    for axis in [axis for axis, size in enumerate(array.shape) if size == n]:
        array = np.take(array, order, axis=axis)
    return array


def _same(one: FloatArray, other: FloatArray) -> bool:
    return bool(np.allclose(one, other, rtol=1e-4, atol=1e-6 * (1 + np.abs(one).max(initial=0))))
