"""What is asked of a comparison after the fit; rooms above compute it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import xarray as xr

from pmlik.errors import ValuesError

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison
    from pmlik.results.hypotheses import Hypotheses


#: Functions of labelled values, or expressions of labels, by the names of their results.
Functions = Mapping[str, Callable[[xr.Dataset], Any] | str]


class Verbs(Protocol):
    """The verbs of a comparison that holds its model."""

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


class Afterwards:
    """The part of a `Comparison` that asks for more than it holds."""

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

    def _verbs(self, purpose: str) -> tuple[Comparison, Verbs]:
        """Return the comparison and its verbs; raise `ValuesError` without its model."""
        comparison = cast("Comparison", self)
        verbs = comparison.background.verbs
        if verbs is None:
            raise ValuesError(
                f"{purpose}: the comparison is without its compiled model, which a file does not "
                "keep."
            )
        return comparison, verbs
