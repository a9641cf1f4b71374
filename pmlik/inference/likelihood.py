"""The likelihood as an object: a function of the parameters, for fixed data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pymc as pm
import xarray as xr

from pmlik._runtime import steps
from pmlik._typing import FloatArray
from pmlik.errors import EstimationError, UnderflowWarning, ValuesError
from pmlik.inference.natural import ConstrainedLikelihood
from pmlik.inference.options import FitOptions
from pmlik.inference.point import estimate_point
from pmlik.inference.prepare import Prepared, prepare, prepared_of
from pmlik.inference.profile_grid import profile_grid
from pmlik.labels import ParameterSpace
from pmlik.logp.points import Points, check_names, read_numbers, read_points
from pmlik.model.dims import label_space
from pmlik.model.roles import Latent, Potentials
from pmlik.results.comparison import Comparison
from pmlik.results.flags import Severity
from pmlik.results.point import PointEstimate

Reduction = Literal["sum", "mean", "none"]


class Likelihood:
    """The likelihood ``L(theta) = p(y | theta)`` of a model: a function of theta for fixed data.

    It is not a density of theta: it does not integrate to one, and has no Jacobian.

    Parameters are given by name in the user's units, as keywords or as one mapping or
    xarray.Dataset (which may hold other variables of the model too, as posterior draws do).
    A keyword goes before the mapping. Values broadcast: plain arrays over the axes before the
    parameter's own shape, labelled ones by the names of their dims. Results have the dims of the
    batch first.

    Outside the support of theta the likelihood is zero, its logarithm ``-inf``.

    Parameters
    ----------
    model : pm.Model, optional
        Default: the model on the context stack. It is not changed; changes to its data
        afterwards are not seen.
    potentials : {"likelihood", "prior"}
        What ``pm.Potential`` terms count as.
    backend : {"numba", "jax", "c"}, optional
        Default: interpret the graph; compile with Numba where an evaluation is slow.
    random_seed : int, optional
        For the search for the MLE.
    progressbar : bool
        Show what is being done.
    latent, parameters, quadrature
        As in `find_MLE`: latents are integrated out.

    Raises
    ------
    ModelError
        For models without a likelihood, see `find_MLE`.

    Examples
    --------
    >>> import pymc as pm, pmlik
    >>> with pm.Model() as model:
    ...     p = pm.Beta("p", 2, 2)
    ...     y = pm.Binomial("y", n=10, p=p, observed=2)
    >>> lik = pmlik.Likelihood(model, progressbar=False)
    >>> float(lik(p=0.2).round(6))
    0.30199
    >>> lik.log(p=[0.1, 0.2, 2.0]).values.round(4)
    array([-1.6414, -1.1974,    -inf])
    """

    def __init__(
        self,
        model: pm.Model | None = None,
        *,
        potentials: Potentials = "likelihood",
        backend: str | None = None,
        random_seed: int | None = None,
        progressbar: bool = True,
        latent: Latent = "auto",
        parameters: Sequence[str] = (),
        quadrature: int | None = None,
    ) -> None:
        options = FitOptions(
            model=model,
            random_seed=random_seed,
            progressbar=progressbar,
            backend=backend,
            potentials=potentials,
            latent=latent,
            parameters=parameters,
            quadrature=quadrature,
        )
        with steps(progressbar) as say:
            say("Building the likelihood")
            self._begin(prepare(options), progressbar)

    @classmethod
    def of(cls, estimate: PointEstimate | Comparison, *, progressbar: bool = True) -> Likelihood:
        """Return the likelihood that an estimate was made from, without compiling it again.

        Parameters
        ----------
        estimate : PointEstimate or Comparison
        progressbar : bool

        Raises
        ------
        ValuesError
            For an estimate read from a file, and anything else without its compiled model.
        """
        point = estimate.mle if isinstance(estimate, Comparison) else estimate
        prepared = prepared_of(point, "estimate")
        likelihood = cls.__new__(cls)
        likelihood._begin(prepared, progressbar)
        if point.kind == "mle":
            likelihood.mle = point
        return likelihood

    def _begin(self, prepared: Prepared, progressbar: bool) -> None:
        self._prepared, self._progressbar = prepared, progressbar

    @property
    def natural(self) -> ConstrainedLikelihood:
        """The compiled functions of flat vectors."""
        return self._prepared.natural

    @property
    def _space(self) -> ParameterSpace:
        return self._prepared.problem.parameters

    @property
    def var_names(self) -> tuple[str, ...]:
        """The parameters, in the model's order."""
        return self._space.names

    @property
    def n_observations(self) -> int:
        """Rows of multivariate data, elements of other data and of time series."""
        return self._prepared.problem.n_observations

    @cached_property
    def mle(self) -> PointEstimate:
        """The maximum of the likelihood, found when first asked for."""
        with steps(self._progressbar) as say:
            say("Maximising the likelihood")
            return estimate_point(self._prepared, "mle")

    @property
    def template(self) -> xr.Dataset:
        """An empty Dataset with the parameters' dims and coords."""
        return self._space.to_dataset(np.full(self._space.size, np.nan))

    def __repr__(self) -> str:
        n = self.n_observations
        return f"<Likelihood of {', '.join(self.var_names)}, {n} observations>"

    def __call__(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> xr.DataArray:
        """Return the likelihood itself, the product of the densities.

        With many observations it underflows to 0 (or overflows), with a warning: use `log`.
        """
        log = self.log(values, **named)
        with np.errstate(over="ignore", under="ignore"):
            linear = log.copy(data=np.exp(log.to_numpy()))
        tiny = (linear < np.finfo(float).tiny) & np.isfinite(log)
        if bool(tiny.any()) or bool((np.isinf(linear) & np.isfinite(log)).any()):
            what = "underflows" if bool(tiny.any()) else "overflows"
            lowest = float(log.where(tiny).min() if what == "underflows" else log.max())
            warnings.warn(
                f"The likelihood of {self.n_observations} observations {what} in double precision "
                f"(its logarithm is {lowest:.6g}). Use `log`.",
                UnderflowWarning,
                stacklevel=2,
            )
        return linear.rename("likelihood")

    def log(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> xr.DataArray:
        """Return the log-likelihood ``log p(y | theta)``, all constants included.

        Returns
        -------
        xarray.DataArray
            With the dims of the batch; ``-inf`` outside the support.

        Raises
        ------
        ValuesError
            For wrong names, shapes or labels.
        """
        points = self._read(values, named)
        return points.label_scalars(self._log(points.flat), "log_likelihood")

    def pointwise(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> xr.Dataset:
        """Return ``log p(y_i | theta)`` per observation; the sum is `log`.

        Returns
        -------
        xarray.Dataset
            One variable per observed variable (and per ``pm.Potential`` that counts as
            likelihood), with the dims of the batch, then the variable's own (without those of one
            multivariate observation).
        """
        points = self._read(values, named)
        with steps(self._progressbar and len(points.flat) > 1) as say:
            arrays = self.natural.many("pointwise", points.flat, say)
        names = list(self.natural.density.terms)
        space = label_space(
            self._prepared.problem.model, names, [np.zeros(array.shape[1:]) for array in arrays]
        )
        return xr.Dataset(
            {
                name: points.label(array, space, name)
                for name, array in zip(names, arrays, strict=True)
            }
        )

    def nll(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        reduction: Reduction = "sum",
        **named: Any,
    ) -> xr.DataArray | xr.Dataset:
        """Return the negative log-likelihood as a loss.

        Parameters
        ----------
        values, **named
            The parameters.
        reduction : {"sum", "mean", "none"}
            As in PyTorch's losses: the sum, the mean over all entries of `pointwise`, or those
            entries themselves (a Dataset).
        """
        if reduction == "none":
            return -self.pointwise(values, **named)
        if reduction not in ("sum", "mean"):
            raise ValuesError(f"reduction: got {reduction!r}, need 'sum', 'mean' or 'none'.")
        points = self._read(values, named)
        total = -self._log(points.flat)
        if reduction == "mean":
            total = total / self._n_terms
        return points.label_scalars(total, "nll")

    def gradient(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> xr.Dataset:
        """Return the gradient of the log-likelihood in the user's units; NaN outside the support.

        Returns
        -------
        xarray.Dataset
            One variable per parameter, with the dims of the batch, then the parameter's own.
        """
        points = self._read(values, named)
        with steps(self._progressbar and len(points.flat) > 1) as say:
            (gradients,) = self.natural.many("gradient", points.flat, say)
        return xr.Dataset(
            {
                name: points.label(gradients[:, where], self._space, name)
                for name, where in self._space.slices.items()
            }
        )

    def hessian(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> xr.DataArray:
        """Return the Hessian of the log-likelihood in the user's units; NaN outside the support.

        Returns
        -------
        xarray.DataArray
            The dims of the batch, then ``parameter`` and ``parameter_bis``, whose labels are
            those of ``PointEstimate.covariance``.
        """
        points = self._read(values, named)
        inside = self.natural.inside(points.flat)
        nothing = np.full((self._space.size, self._space.size), np.nan)
        blocks = [
            self.natural.density.hessian(point) if ok else nothing
            for point, ok in zip(points.flat, inside, strict=True)
        ]
        labels = list(self._space.labels)
        batch = points.template
        points.refuse(("parameter", "parameter_bis"), "hessian")
        return xr.DataArray(
            np.reshape(blocks, (*batch.shape, *nothing.shape)),
            dims=(*batch.dims, "parameter", "parameter_bis"),
            coords={**batch.coords, "parameter": labels, "parameter_bis": labels},
            name="hessian",
        )

    def relative(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> xr.DataArray:
        """Return ``L(theta) / L(MLE)``, computed from logarithms so that it does not underflow.

        Raises
        ------
        EstimationError
            If the likelihood has no certified maximum.
        """
        points = self._read(values, named)
        highest = self._maximum("relative").log_likelihood
        relative = np.exp(self._log(points.flat) - highest)
        return points.label_scalars(relative, "relative_likelihood")

    def surface(
        self,
        grids: Mapping[str, Any] | None = None,
        /,
        *,
        others: Literal["mle", "profile"] = "mle",
        **named: Any,
    ) -> xr.DataArray:
        """Return the log-likelihood on a grid.

        Parameters
        ----------
        grids, **named
            By the name of a scalar parameter, or the label of an element (``"beta[age]"``): a
            1-d array makes an axis, a scalar is held.
        others : {"mle", "profile"}
            Hold the parameters that are not given at the MLE, or maximize over them at each
            point of the grid (which also works if the likelihood has no maximum).

        Returns
        -------
        xarray.DataArray
            One dim per grid, with the grid as its coordinates. ``-inf`` outside the support, NaN
            if ``others="profile"`` could not certify a maximum.

        Raises
        ------
        ValuesError
            For names or shapes that are wrong.
        EstimationError
            If parameters are to be held at an MLE that could not be certified.
        """
        if others not in ("mle", "profile"):
            raise ValuesError(f"others: got {others!r}, need 'mle' or 'profile'.")
        if grids is not None and not isinstance(grids, Mapping):
            raise ValuesError(f"grids: got {type(grids).__name__}, need a mapping or keywords.")
        given = self._read_grids({**(grids or {}), **named})
        axes = {label: grid for label, grid in given.items() if grid.ndim}
        places = [self._space.labels.index(label) for label in given]
        with steps(self._progressbar) as say:
            if len(given) == self._space.size or others == "mle":
                base = np.zeros(self._space.size)
                if len(given) < self._space.size:
                    base = self._flat(self._maximum("surface"))
                flat = _spread(base, places, list(given.values()))
                values = self.natural.many("value", flat, say)[0]
            else:
                columns = [np.atleast_1d(grid) for grid in given.values()]
                values = profile_grid(self.natural, places, columns, self._anchor, say)
        return xr.DataArray(
            np.reshape(values, [len(grid) for grid in axes.values()]),
            dims=list(axes),
            coords=axes,
            name="log_likelihood",
            attrs={"others": others},
        )

    @cached_property
    def _n_terms(self) -> int:
        at = self._space.join(self._read_start())
        return sum(part[0].size for part in self.natural.density.many("pointwise", at[None]))

    def _read_start(self) -> dict[str, FloatArray]:
        problem = self._prepared.problem
        values = problem.values(self._prepared.start)[: self._space.size]
        return self._space.split(values)

    @cached_property
    def _anchor(self) -> FloatArray:
        """The point where profiles begin: the MLE, or else the MAP or the start."""
        if self.mle.trusted:
            return self.mle.unconstrained
        with steps(self._progressbar) as say:
            say("Maximising likelihood x prior")
            joint = estimate_point(self._prepared, "map")
        return joint.unconstrained if joint.trusted else self._prepared.start

    def _flat(self, estimate: PointEstimate) -> FloatArray:
        """Return all constrained values, also of unidentified parameters, reported as NaN."""
        return self._prepared.problem.values(estimate.unconstrained)[: self._space.size]

    def _maximum(self, purpose: str) -> PointEstimate:
        if not self.mle.trusted:
            reasons = [str(f) for f in self.mle.flags if f.severity is Severity.ERROR]
            raise EstimationError(
                f"{purpose}: the likelihood has no maximum that could be certified. "
                f"{' '.join(reasons)} Give all parameters, or use `log`."
            )
        return self.mle

    def _log(self, flat: FloatArray) -> FloatArray:
        with steps(self._progressbar and len(flat) > 1) as say:
            return self.natural.many("value", flat, say)[0]

    def _read(self, values: Mapping[str, Any] | None, named: Mapping[str, Any]) -> Points:
        if values is not None and not isinstance(values, Mapping):
            raise ValuesError(
                f"values: got {type(values).__name__}, need a mapping, a Dataset or keywords."
            )
        model = self._prepared.model
        others = {str(name) for name in model.named_vars} | {v.name for v in model.value_vars}
        others -= set(self._space.names)
        check_names(values or (), self._space, others, complete=False)
        check_names(named, self._space, complete=False)
        together = {**(values or {}), **named}
        check_names(together, self._space, others)
        return read_points(together, self._space)

    def _read_grids(self, grids: Mapping[str, Any]) -> dict[str, FloatArray]:
        labels = self._space.labels
        read = {}
        for label, grid in grids.items():
            if label not in labels:
                shown = ", ".join(labels[:6]) + (", ..." if len(labels) > 6 else "")
                raise ValuesError(
                    f"{label}: not a scalar of the likelihood's parameters, which has {shown}."
                )
            array = read_numbers(label, grid)
            if array.ndim > 1 or array.size == 0:
                raise ValuesError(f"{label}: got shape {array.shape}, need a 1-d grid or a scalar.")
            read[label] = array
        if not any(array.ndim for array in read.values()):
            raise ValuesError("surface: got no grid. Give at least one 1-d array by name.")
        return read


def _spread(base: FloatArray, places: list[int], columns: list[FloatArray]) -> FloatArray:
    """Return all combinations of the columns' values, at their places in ``base``."""
    mesh = np.meshgrid(*columns, indexing="ij")
    flat = np.tile(base, (mesh[0].size, 1))
    for place, values in zip(places, mesh, strict=True):
        flat[:, place] = values.ravel()
    return flat
