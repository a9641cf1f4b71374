"""The record of a point estimate."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
import xarray as xr

from pmlik._typing import EigenvalueSigns, FloatArray
from pmlik.labels import labelled, space_of
from pmlik.results.flags import Flag, Severity
from pmlik.results.format import format_number, format_to
from pmlik.results.table import Shown, Table, display_rows


class Status(StrEnum):
    """The kind of point that a scalar of an estimate is at."""

    INTERIOR = "interior"
    LOWER_BOUNDARY = "at the lower boundary"
    UPPER_BOUNDARY = "at the upper boundary"
    MINUS_INFINITY = "at minus infinity"
    PLUS_INFINITY = "at plus infinity"
    UNBOUNDED = "the log-density grows without bound"
    NOT_IDENTIFIED = "not identified"
    NOT_IN_OBJECTIVE = "not in the objective"
    UNKNOWN = "unknown"


class SearchEnd(NamedTuple):
    """The end of the search from one start.

    ``log_density`` is that of the likelihood (MLE) or of likelihood times prior (MAP);
    ``certified`` is True for a local maximum; ``optimum`` numbers the maxima, 0 for the estimate
    itself, -1 for none.
    """

    start: str
    log_density: float
    certified: bool
    optimum: int


@dataclass(frozen=True)
class Certificate:
    """The evidence that the search ended at an optimum.

    Parameters
    ----------
    converged : bool
        True if the point is certified: the Newton decrement is below 1e-6 standard errors and
        has shrunk as at a regular optimum, no negative curvature was found, and a standard
        error away the objective is lower (checked up to 2000 coordinates).
    newton_decrement : float
        ``sqrt(g' H^-1 g)``, in standard errors, with the gradient and the Hessian of the
        objective on the unconstrained scale; infinite where it can't be computed.
    gradient_norm : float
        Euclidean norm of the gradient on the unconstrained scale.
    eigenvalue_signs : EigenvalueSigns or None
        Of the observed information; None for a model too large for a dense matrix.
    n_gradients : int
        Evaluations of a log-density with its gradient, without those inside ``pm.find_MAP``.
    n_products : int
        Hessian-vector products.
    moved : bool
        True if the estimate differs from the point where the search began: the model's initial
        point, if its likelihood is not zero.
    start : str
        The name of the start that led to the estimate.
    gradient_agrees : bool
        True if the automatic gradient agrees with finite differences beside the point.
    searches : tuple of SearchEnd
        The end of the search from each start.
    """

    converged: bool
    newton_decrement: float
    gradient_norm: float
    eigenvalue_signs: EigenvalueSigns | None
    n_gradients: int
    n_products: int
    moved: bool
    start: str
    gradient_agrees: bool = True
    searches: tuple[SearchEnd, ...] = ()

    def __str__(self) -> str:
        if not self.converged and self.newton_decrement < _AT_ONCE:
            return "not certified: the gradient vanishes, but nothing shows that it is a maximum"
        if not self.converged:
            return f"not certified, stopped {_distance(self.newton_decrement)} from an optimum"
        return f"certified, {_distance(self.newton_decrement)} from the optimum"


# A search that ended as near as this to a point without gradient has stopped on it.
_AT_ONCE = 1e-6


def _distance(distance: float) -> str:
    return f"{distance + 0.0:.1g} SE" if np.isfinite(distance) else "an unknown distance"


@dataclass(frozen=True, eq=False)
class LatentModes:
    """The latents given the data and the estimated parameters: R's ``ranef`` and ``condVar``.

    Parameters
    ----------
    values : xarray.Dataset
        Conditional modes in the user's units, with the model's dims and coords, and the derived
        quantities that depend on the latents, at those modes.
    std_error : xarray.Dataset
        Like ``values``: conditional standard deviations, from the curvature of the log-density
        of the latents at their mode, with the parameters held (delta method).
    exact : bool
        True if the latents are Gaussian given the parameters, so that mode and standard
        deviation are those of their distribution.
    """

    values: xr.Dataset
    std_error: xr.Dataset
    exact: bool


class Fitted(Protocol):
    """The questions that records may ask of the fit that they were made from."""

    def latents_at(self, x: FloatArray) -> LatentModes | None:
        """Return the conditional modes of the latents at ``x`` (n,); None without latents."""


class FitStatistics(NamedTuple):
    """The two log-densities at an estimate, the observations and the identified parameters.

    ``counted`` is False if there are more observations, inside a ``pm.Potential``;
    ``normalised`` if the log-likelihood lacks a constant.
    """

    log_likelihood: float
    log_prior: float
    n_observations: int
    n_parameters: int
    counted: bool = True
    normalised: bool = True


@dataclass(frozen=True, eq=False)
class PointEstimate(Shown):
    """A maximum of the likelihood (MLE) or of likelihood times prior (MAP).

    Parameters
    ----------
    kind : {"mle", "map"}
    values : xarray.Dataset
        In the user's units, with the model's dims and coords, derived quantities included. A
        circular variable has an attribute ``circle``, the ends of its turn.
    std_error : xarray.Dataset
        Like ``values``: delta method from the observed information of the log-likelihood
        (MLE) or of the log-likelihood plus log-prior (MAP), Jacobian off.
    covariance : xarray.DataArray or None
        Of the parameters' scalars, dims ``parameter`` and ``parameter_bis``, labels as in
        ``comparison.table``. None for a model too large for a dense matrix.
    statistics : FitStatistics
        Read through the properties of the same names.
    certificate : Certificate
    flags : tuple of Flag
    status : xarray.Dataset
        Like ``values``: a word of `Status` per scalar. For the MLE the objective is the
        likelihood, for the MAP likelihood times prior.
    unconstrained : array (n,)
        The point where the search ended, on the unconstrained scale; far out for a limit.
    latent_modes : LatentModes, optional
        Those of `latents`, where they were computed already.
    prepared : Fitted, optional
        The fit behind the estimate, for what is computed later; None once read from a file.
    """

    kind: Literal["mle", "map"]
    values: xr.Dataset
    std_error: xr.Dataset
    covariance: xr.DataArray | None
    statistics: FitStatistics
    certificate: Certificate
    flags: tuple[Flag, ...]
    status: xr.Dataset
    unconstrained: FloatArray
    latent_modes: LatentModes | None = field(default=None, repr=False)
    prepared: Fitted | None = field(default=None, repr=False)

    @cached_property
    def latents(self) -> LatentModes | None:
        """Conditional modes of the latents at this estimate; None where there are none."""
        if self.latent_modes is not None or self.prepared is None:
            return self.latent_modes
        return self.prepared.latents_at(self.unconstrained)

    @property
    def log_likelihood(self) -> float:
        """``log p(y | theta)`` at ``values``, all constants included."""
        return self.statistics.log_likelihood

    @property
    def log_prior(self) -> float:
        """``log p(theta)`` at ``values``, constrained scale; NaN where the prior has no value."""
        return self.statistics.log_prior

    @property
    def n_observations(self) -> int:
        """Rows of multivariate data, elements of other data and of time series."""
        return self.statistics.n_observations

    @property
    def n_parameters(self) -> int:
        """Free scalars that the likelihood (MAP: or the prior) identifies."""
        return self.statistics.n_parameters

    @property
    def nll(self) -> float:
        """Negative log-likelihood."""
        return -self.log_likelihood

    @property
    def aic(self) -> float:
        """``2 k - 2 log L`` at the MLE; NaN for a MAP, which does not maximise L.

        NaN also where the log-likelihood lacks a constant (``pm.CAR``, ``pm.ICAR``). Source:
        Akaike (1974), doi:10.1109/TAC.1974.1100705.
        """
        return 2 * self.n_parameters - 2 * self._maximised()

    @property
    def aicc(self) -> float:
        """AIC corrected for small samples, ``AIC + 2 k (k + 1) / (n - k - 1)``.

        Infinite where there are not more than ``k + 1`` observations; NaN for a MAP, and with
        data inside a ``pm.Potential``. Source: Hurvich and Tsai (1989),
        doi:10.1093/biomet/76.2.297.
        """
        if not self.statistics.counted:
            return np.nan
        k, left = self.n_parameters, self.n_observations - self.n_parameters - 1
        if left <= 0:
            return np.nan if np.isnan(self.aic) else np.inf
        return self.aic + 2 * k * (k + 1) / left

    @property
    def bic(self) -> float:
        """``k log n - 2 log L`` at the MLE; NaN for a MAP, which does not maximise L.

        NaN also with data inside a ``pm.Potential``, whose number is not known. Source: Schwarz
        (1978), doi:10.1214/aos/1176344136.
        """
        if not self.statistics.counted or self.n_observations == 0:
            return np.nan
        return float(self.n_parameters * np.log(self.n_observations) - 2 * self._maximised())

    def _maximised(self) -> float:
        known = self.kind == "mle" and self.trusted and self.statistics.normalised
        return self.log_likelihood if known else np.nan

    @property
    def trusted(self) -> bool:
        """True if there is no flag of severity ``error``."""
        return not any(f.severity is Severity.ERROR for f in self.flags)

    @cached_property
    def statuses(self) -> dict[str, Status]:
        """The status of each scalar by label, ``name`` or ``name[coord, coord]``."""
        space = space_of(self.status)
        words = [word for name in space.names for word in self.status[name].to_numpy().flat]
        return dict(zip(space.labels, map(Status, words), strict=True))

    def labels_at(self, *statuses: Status) -> list[str]:
        """Return the labels of the scalars that have one of these statuses."""
        return [label for label, status in self.statuses.items() if status in statuses]

    @property
    def at_boundary(self) -> list[str]:
        """Labels of the scalars at a boundary of their support."""
        return self.labels_at(Status.LOWER_BOUNDARY, Status.UPPER_BOUNDARY)

    @property
    def at_infinity(self) -> list[str]:
        """Labels of the scalars that have no finite estimate: the search ran off with them."""
        return self.labels_at(Status.MINUS_INFINITY, Status.PLUS_INFINITY)

    def sheet(self) -> Table:
        """Return the estimate as a table of strings."""
        columns = {"value": labelled(self.values), "error": labelled(self.std_error)}
        rows = tuple(
            (label, format_to(n["value"], n["error"]), format_number(n["error"], 3))
            for label, _, n in display_rows(space_of(self.values), columns)
        )
        name = self.kind.upper()
        notes = [
            ("optimum", str(self.certificate)),
            ("log-likelihood", format_number(self.log_likelihood, 8)),
            ("log-prior", format_number(self.log_prior, 8)),
            *(("flag", str(flag)) for flag in self.flags),
        ]
        return Table(_TITLES[self.kind], ("parameter", name, "SE"), rows, tuple(notes))


_TITLES = {
    "mle": "Maximum likelihood estimate",
    "map": "Maximum a posteriori estimate (natural units, Jacobian off)",
}
