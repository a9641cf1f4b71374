"""Find the MLE and the MAP."""

from collections.abc import Mapping, Sequence
from typing import Any

import pymc as pm

from pmlik._runtime import ProgressCallback, Timer, steps
from pmlik.inference.given import adopt_estimate
from pmlik.inference.options import CovarianceKind, FitOptions, Seed
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import Prepared, prepare
from pmlik.inference.units import Cluster
from pmlik.model.roles import Latent, Potentials
from pmlik.optimize.objective import Kind
from pmlik.results.comparison import Comparison
from pmlik.results.flags import raise_if_strict
from pmlik.results.point import PointEstimate


def find_MLE(
    model: pm.Model | None = None,
    *,
    var_names: Sequence[str] | str | None = None,
    random_seed: Seed = None,
    progressbar: bool = True,
    backend: str | None = None,
    potentials: Potentials = "likelihood",
    start: Mapping[str, Any] | None = None,
    n_starts: int | None = None,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
    quadrature: int | None = None,
    covariance_kind: CovarianceKind = "observed",
    cluster: Cluster = None,
    strict: bool = False,
) -> PointEstimate:
    """Find the maximum likelihood estimate, with standard errors and a certificate.

    The search begins at several points, among them ``pm.find_MAP`` of `likelihood_model` and the
    initial point, and ends with Newton steps with exact derivatives until the estimate is within
    1e-6 standard errors of the optimum.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. It is not changed.
    var_names : str or sequence of str, optional
        In a model of more than 2000 coordinates, the variables whose standard errors are
        computed (none by default). A smaller model has them all.
    random_seed : int or numpy.random.Generator, optional
        For the jitter of starting points, which only unusual models need.
    progressbar : bool
        Show what is being done.
    backend : {"numba", "jax", "c"}, optional
        Default: interpret the graph, and compile with Numba if that is faster in total.
    potentials : {"likelihood", "prior"}
        What ``pm.Potential`` terms count as.
    start : mapping, optional
        Values of some or all parameters to start from, in the user's units.
    n_starts : int, optional
        Number of starts that are always used: ``pm.find_MAP``'s point, the initial point, draws
        from the prior, the MAP, jitter. More are used while no optimum is certified. Default:
        7 up to 10 coordinates, 4 up to 50, else 1; at most 2 above 50 000
        observations; with latents 3 up to 50.
    latent : "auto" or sequence of str
        The latents, which are integrated out of the likelihood. Read from the model's graph by
        default: variables whose distribution depends on other free variables, standard draws
        that are multiplied by one, and missing values that the data depend on.
    parameters : sequence of str
        Variables that are parameters although they look like latents.
    quadrature : int, optional
        Integrate by adaptive Gauss-Hermite quadrature with this number of nodes, if each
        latent stands alone (one grouping factor). Default: the Laplace approximation, which is
        exact for Gaussian latents that enter linearly.
    covariance_kind : {"observed", "robust"}
        Inverse observed information, or the sandwich of `make_robust`.
    cluster : str, array or mapping, optional
        For ``"robust"``: the clusters of observations, as in `make_robust`.
    strict : bool
        Raise instead of returning an estimate that can't be trusted.

    Returns
    -------
    PointEstimate
        In the user's units. Standard errors are of the likelihood alone. It is the highest
        optimum found; ``certificate.searches`` has the end of each search. At the boundary of
        the support the estimate is the limit; ``status`` has it per scalar.

    Raises
    ------
    ModelError
        If the model has no likelihood, or one that is zero wherever the search could start; if
        it can't be told which variables are latents.
    EstimationError
        With ``strict=True``, if a flag of severity ``error`` is raised.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 1, 1)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> mle = pmlik.find_MLE(model, progressbar=False)
    >>> print(f"{mle.values['p']:.4f} {mle.std_error['p']:.4f} {mle.log_likelihood:.4f}")
    0.2000 0.1265 -1.1974
    """
    options = FitOptions(
        model=model,
        var_names=var_names,
        random_seed=random_seed,
        progressbar=progressbar,
        backend=backend,
        potentials=potentials,
        start=start,
        n_starts=n_starts,
        latent=latent,
        parameters=parameters,
        quadrature=quadrature,
        covariance_kind=covariance_kind,
        cluster=cluster,
    )
    return _one_point(options, "mle", strict)


def find_MAP(
    model: pm.Model | None = None,
    *,
    var_names: Sequence[str] | str | None = None,
    random_seed: Seed = None,
    progressbar: bool = True,
    backend: str | None = None,
    potentials: Potentials = "likelihood",
    start: Mapping[str, Any] | None = None,
    n_starts: int | None = None,
    latent: Latent = "auto",
    parameters: Sequence[str] = (),
    quadrature: int | None = None,
    strict: bool = False,
) -> PointEstimate:
    """Maximum of likelihood times prior in natural units, as ``pm.find_MAP`` defines it.

    Parameters
    ----------
    model, var_names, random_seed, progressbar, backend, potentials, start, n_starts, strict
    latent, parameters, quadrature
        As in `find_MLE`.

    Returns
    -------
    PointEstimate
        Natural units. Standard errors are of the log-likelihood plus the log-prior, Jacobian
        off.

    Raises
    ------
    ModelError, EstimationError
        As in `find_MLE`.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> print(f"{pmlik.find_MAP(model, progressbar=False).values['p']:.4f}")  # 3 / 12
    0.2500
    """
    options = FitOptions(
        model=model,
        var_names=var_names,
        random_seed=random_seed,
        progressbar=progressbar,
        backend=backend,
        potentials=potentials,
        start=start,
        n_starts=n_starts,
        latent=latent,
        parameters=parameters,
        quadrature=quadrature,
    )
    return _one_point(options, "map", strict)


KINDS: dict[Kind, str] = {
    "mle": "Maximising the likelihood",
    "map": "Maximising likelihood x prior",
}


def prepare_model(options: FitOptions, say: ProgressCallback, clock: Timer) -> Prepared:
    """Return the compiled model; report progress and time."""
    say("Building the likelihood")
    with clock("building"):
        return prepare(options)


def estimate_kind(
    prepared: Prepared,
    kind: Kind,
    say: ProgressCallback,
    clock: Timer,
    given: PointEstimate | Comparison | None = None,
) -> PointEstimate:
    """Return the MLE or the MAP, the one given or a new one; report progress and time."""
    say(KINDS[kind])
    with clock(kind.upper()):
        if given is not None:
            return adopt_estimate(prepared, given, kind)
        return estimate_point(prepared, kind)


def _one_point(options: FitOptions, kind: Kind, strict: bool) -> PointEstimate:
    clock = Timer()
    with steps(options.progressbar) as say:
        estimate = estimate_kind(prepare_model(options, say, clock), kind, say, clock)
    raise_if_strict(estimate.flags, strict)
    return estimate
