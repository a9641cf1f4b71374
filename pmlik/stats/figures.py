"""Figures whose curves are computed first: likelihoods and profiles."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pmlik.errors import ValuesError
from pmlik.inference.likelihood import Likelihood
from pmlik.labels import circles_by_label, labelled, select_variables
from pmlik.plots.likelihood import draw_likelihood
from pmlik.plots.profile import draw_profiles
from pmlik.plots.style import turn_ticks
from pmlik.results.comparison import Comparison
from pmlik.results.point import PointEstimate
from pmlik.stats.curves import compute_curves, compute_joint
from pmlik.stats.profile import Profile
from pmlik.stats.profile_curves import compute_profiles


def plot_likelihood(
    likelihood: Likelihood | Comparison,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    col_wrap: int = 3,
    figure_kwargs: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw prior, relative profile likelihood and posterior of each parameter on one axis.

    Each curve is drawn relative to its own scale: the likelihood to its maximum, the two
    densities to the posterior's peak (without a posterior: the prior's). Where two scalars are
    selected, a further panel has the regions of their profile likelihood against posterior draws.

    Parameters
    ----------
    likelihood : Likelihood or Comparison
        A comparison adds MAP and posterior.
    var_names : str or sequence of str, optional
        The parameters; default all.
    coords : mapping, optional
        Labels to choose along the parameters' dims.
    col_wrap : int
        Panels in a row.
    figure_kwargs : mapping, optional
        For ``matplotlib.pyplot.subplots``, such as ``figsize``.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per scalar.

    Raises
    ------
    ValuesError
        For names that are not parameters.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> lik = pmlik.Likelihood(model, progressbar=False)
    >>> pmlik.plot_likelihood(lik).savefig("p.png")  # doctest: +SKIP
    """
    comparison = likelihood if isinstance(likelihood, Comparison) else None
    if comparison is not None:
        likelihood = Likelihood.of(comparison)
    if not isinstance(likelihood, Likelihood):
        raise ValuesError(
            f"likelihood: got {type(likelihood).__name__}, need a Likelihood or a Comparison."
        )
    selected = select_variables(
        likelihood.template, var_names, coords, where="a parameter of the likelihood"
    )
    labels = list(labelled(selected))
    curves = [compute_curves(likelihood, comparison, label) for label in labels]
    joint = None
    if len(labels) == 2:
        joint = compute_joint(likelihood, comparison, (labels[0], labels[1]))
    figure = draw_likelihood(curves, joint, figure_kwargs, col_wrap)
    circles = circles_by_label(likelihood.mle.values)
    for axes, label in zip(figure.axes, labels, strict=False):
        turn_ticks(axes, circles.get(label))
    return figure


def plot_profile(
    profile: Profile | Comparison | PointEstimate,
    *,
    var_names: Sequence[str] | str | None = None,
    coords: Mapping[str, Any] | None = None,
    ci_prob: float | None = None,
    col_wrap: int = 3,
    figure_kwargs: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw profile log-likelihoods, their quadratic approximations and the intervals of both.

    A standard error supposes the dashed parabola; where the solid curve leaves it, the
    Wald interval is wrong. The grey line is the level that ends an interval.

    Parameters
    ----------
    profile : Profile, Comparison or PointEstimate
        A profile as `profile` returned it; anything else is profiled first. A comparison adds
        the posterior's interval.
    var_names : str or sequence of str, optional
        The variables; default all that `profile` takes.
    coords : mapping, optional
        Labels to choose along the variables' dims.
    ci_prob : float, optional
        Of profiles that have to be made. Default: 0.95; for a comparison, that of its intervals.
    col_wrap : int
        Panels in a row.
    figure_kwargs : mapping, optional
        For ``matplotlib.pyplot.subplots``, such as ``figsize``.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per scalar.

    Raises
    ------
    ValuesError, EstimationError
        As in `profile`.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> pmlik.plot_profile(mle).savefig("p.png")  # doctest: +SKIP
    """
    curves = compute_profiles(profile, var_names, coords, ci_prob)
    return draw_profiles(curves, figure_kwargs, col_wrap)
