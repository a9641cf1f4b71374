"""What is asked of a comparison after the fit; rooms above compute it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import xarray as xr

from pmlik.errors import ValuesError

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison
    from pmlik.results.hypotheses import Hypotheses
    from pmlik.results.predictions import Predictions


#: Functions of labelled values, or expressions of labels, by the names of their results.
Functions = Mapping[str, Callable[[xr.Dataset], Any] | str]


class Verbs(Protocol):
    """The verbs of a comparison that holds its model, or is joined to it again."""

    def attach(  # noqa: D102
        self,
        comparison: Comparison,
        model: Any,
        *,
        potentials: Literal["likelihood", "prior"],
        latent: str | Sequence[str],
        parameters: Sequence[str],
        quadrature: int | None,
    ) -> Comparison: ...

    def derive(  # noqa: D102
        self,
        comparison: Comparison,
        functions: Functions,
        *,
        profile: bool,
        progressbar: bool,
    ) -> Comparison: ...

    def hypothesis(  # noqa: D102
        self,
        comparison: Comparison,
        hypotheses: str | Sequence[str],
        *,
        method: Literal["wald", "lr"],
        rope: float | tuple[float, float] | None,
    ) -> Hypotheses: ...

    def predict(  # noqa: D102
        self,
        comparison: Comparison,
        *,
        data: Mapping[str, Any] | None,
        coords: Mapping[str, Any] | None,
        var_names: Sequence[str] | None,
        kind: Literal["mean", "response"],
        random_seed: int | None,
    ) -> Predictions: ...


class Afterwards:
    """The part of a `Comparison` that asks for more than it holds."""

    def attach(
        self,
        model: Any,
        *,
        potentials: Literal["likelihood", "prior"] = "likelihood",
        latent: str | Sequence[str] = "auto",
        parameters: Sequence[str] = (),
        quadrature: int | None = None,
    ) -> Comparison:
        """Return the comparison joined to its model again, after `pmlik.load`.

        It can then be profiled, bootstrapped, asked for derived quantities and predictions.

        Parameters
        ----------
        model : pm.Model
            The model that was compared, with the same data.
        potentials, latent, parameters, quadrature
            As in the call of `compare` (``comparison.background.call`` has it).

        Returns
        -------
        Comparison

        Raises
        ------
        ValuesError
            If the estimates are not of this model and its data.
        """
        comparison, verbs = self._verbs("attach")
        return verbs.attach(
            comparison,
            model,
            potentials=potentials,
            latent=latent,
            parameters=parameters,
            quadrature=quadrature,
        )

    def derive(
        self,
        functions: Functions,
        *,
        profile: bool = False,
        progressbar: bool = True,
    ) -> Comparison:
        """Return the same comparison with further quantities as rows.

        Nothing is estimated or sampled again: the MLE and the MAP of a function of the parameters
        are the function of theirs (the MLE exactly; a mode does not move with a
        transformation, so the MAP is the function at the MAP), and the posterior is that of the
        function of each draw.

        Parameters
        ----------
        functions : mapping of str to callable or str
            By the name of the row: a function from a Dataset of the model's variables (parameters,
            deterministics and quantities derived before; natural units, the model's dims and
            coords) to a number or a DataArray; or an expression of labels such as
            ``"exp(beta[age])"``. A function of latents has a posterior and no MLE.
        profile : bool
            Also profile likelihood intervals, by an optimum under the constraint that the
            quantity has a value.
        progressbar : bool

        Returns
        -------
        Comparison
            Table, findings, page, files and figures have the new rows. Standard errors are by
            the delta method, with the parameters' covariance and differences of fourth order in
            the unconstrained coordinates, so that a scale stays positive and a simplex a
            simplex; NaN, with a flag, where a function has no derivative or depends on what has
            no standard error. R-hat, effective sample sizes and intervals are of the draws.

        Raises
        ------
        ValuesError
            For names that are taken or unknown, functions that fail or return no numbers, and a
            comparison that was loaded.

        Examples
        --------
        >>> import numpy as np, pymc as pm, pmlik
        >>> with pm.Model() as model:
        ...     p = pm.Beta("p", 2, 2)
        ...     y = pm.Binomial("y", n=10, p=p, observed=2)
        >>> comparison = pmlik.compare(model, sample=False, extras=False, progressbar=False)
        >>> odds = comparison.derive({"odds": lambda v: v["p"] / (1 - v["p"])}, progressbar=False)
        >>> odds.table[["MLE", "SE"]].round(4)
                    MLE      SE
        parameter
        p          0.20  0.1265
        odds       0.25  0.1976
        """
        comparison, verbs = self._verbs("derive")
        return verbs.derive(comparison, functions, profile=profile, progressbar=progressbar)

    def hypothesis(
        self,
        hypotheses: str | Sequence[str],
        *,
        method: Literal["wald", "lr"] = "wald",
        rope: float | tuple[float, float] | None = None,
    ) -> Hypotheses:
        """Return what likelihood and posterior say of hypotheses, a row for each.

        Parameters
        ----------
        hypotheses : str or sequence of str
            Such as ``"beta[age] = 0"``, ``"a - b = 0"``, ``"sigma > 1"``: labels of scalars,
            numbers, ``+ - * / **``, brackets and functions such as ``exp``.
        method : {"wald", "lr"}
            ``"lr"`` adds the likelihood-ratio test, see `likelihood_ratio_test`; of an
            inequality by the signed root of the statistic.
        rope : float or (float, float), optional
            The region of practical equivalence of the left minus the right side: its half
            width around zero, or both ends.

        Returns
        -------
        Hypotheses
            The p-value of an equation is two-sided. That of an inequality is one-sided, of the
            null that it does not hold: small where the data speak for it.

        Raises
        ------
        ValuesError
            For names that are not there, what is no hypothesis, and what is not scalar.

        Examples
        --------
        >>> import pymc as pm, pmlik
        >>> with pm.Model() as model:
        ...     p = pm.Beta("p", 2, 2)
        ...     y = pm.Binomial("y", n=10, p=p, observed=2)
        >>> comparison = pmlik.compare(model, sample=False, extras=False, progressbar=False)
        >>> found = comparison.hypothesis("p = 0.5", method="lr")
        >>> found.table[["z", "p-value", "LR", "p-value LR"]].round(4)
                         z  p-value      LR  p-value LR
        hypothesis
        p = 0.5    -2.3717   0.0177  3.8549      0.0496
        """
        comparison, verbs = self._verbs("hypothesis")
        return verbs.hypothesis(comparison, hypotheses, method=method, rope=rope)

    def predict(
        self,
        *,
        data: Mapping[str, Any] | None = None,
        coords: Mapping[str, Any] | None = None,
        var_names: Sequence[str] | None = None,
        kind: Literal["mean", "response"] = "mean",
        random_seed: int | None = None,
    ) -> Predictions:
        """Return predictions at new values of the model's ``pm.Data``.

        Parameters
        ----------
        data : mapping, optional
            New values by the name of a ``pm.Data``, set on a copy of the model. Default: the
            data of the fit.
        coords : mapping, optional
            New labels of dims; dims of data of another length are numbered by default.
        var_names : sequence of str, optional
            Observed variables, and for a mean deterministics too. Default: all observed ones.
        kind : {"mean", "response"}
            The expected value, or new observations.
        random_seed : int, optional
            Of new observations.

        Returns
        -------
        Predictions
            Of a mean: the MLE with its standard error and interval by the delta method, next to
            the posterior's; in a model with latents at the population level, with the latents at
            the mean of their distribution. Of new observations: the plug-in predictive at the MLE,
            which is too narrow as it takes the MLE for the truth, next to the posterior
            predictive, which is ``pm.sample_posterior_predictive`` of the same draws and seed. New
            groups are drawn from their distribution.

        Raises
        ------
        ValuesError
            For unknown names, and data that do not fit the model.
        ModelError
            If PyMC knows no mean of a distribution, or can't draw it at the new data.

        Examples
        --------
        >>> import pymc as pm, pmlik
        >>> with pm.Model() as model:
        ...     n = pm.Data("n", 10)
        ...     p = pm.Beta("p", 2, 2)
        ...     y = pm.Binomial("y", n=n, p=p, observed=2)
        >>> comparison = pmlik.compare(model, sample=False, extras=False, progressbar=False)
        >>> comparison.predict(data={"n": 50}).table[["MLE", "SE"]].round(4)
                   MLE      SE
        quantity
        E(y)      10.0  6.3246
        """
        comparison, verbs = self._verbs("predict")
        return verbs.predict(
            comparison,
            data=data,
            coords=coords,
            var_names=var_names,
            kind=kind,
            random_seed=random_seed,
        )

    def _verbs(self, purpose: str) -> tuple[Comparison, Verbs]:
        """Return the comparison and its verbs; raise `ValuesError` without its model."""
        comparison = cast("Comparison", self)
        verbs = comparison.background.verbs
        if verbs is None:
            raise ValuesError(
                f"{purpose}: the comparison is without its compiled model, which a file does not "
                "keep. Read it with pmlik.load, and join it to its model with attach(model)."
            )
        return comparison, verbs
