"""The record of how much the data and the prior each inform."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from pmlik._typing import FloatArray
from pmlik.labels import labelled
from pmlik.results.directions import describe_direction, simplify
from pmlik.results.flags import Flag
from pmlik.results.format import format_fixed
from pmlik.results.table import Shown, Table


@dataclass(frozen=True, eq=False)
class InformationShares(Shown):
    """The share of the posterior's precision at the mode that the likelihood brings.

    Parameters
    ----------
    shares : xarray.Dataset
        Per scalar of the parameters: the diagonal of ``(I + P)^-1 I``, where ``I`` and ``P``
        are the negative Hessians, in natural units, of log-likelihood and log-prior at the MAP.
        For independent priors it is one minus the ratio of posterior to prior variance. Above
        one where the prior's curvature is negative at the mode (heavy tails).
    directions : xarray.DataArray
        Dims ``direction`` and ``parameter``: the eigenvectors of ``I v = s (I + P) v``, natural
        units, largest coefficient one; coordinate ``share`` holds ``s``, ascending.
    prior_only : tuple of str
        The directions that the data do not inform, in words.
    effective_parameters : float
        The sum of the shares, and of ``s``: the number of parameters that the data determine.
    flags : tuple of Flag
    """

    shares: xr.Dataset
    directions: xr.DataArray
    prior_only: tuple[str, ...]
    effective_parameters: float
    flags: tuple[Flag, ...]

    def sheet(self) -> Table:
        """Return the shares as a table of strings."""
        rows = tuple((label, format_fixed(s, 3)) for label, s in labelled(self.shares).items())
        notes = [("effective", f"{format_fixed(self.effective_parameters, 2)} parameters")]
        notes += [("prior only", text) for text in self.prior_only]
        notes += [("flag", str(flag)) for flag in self.flags]
        title = "Share of the posterior precision that the data bring, at the MAP"
        return Table(title, ("parameter", "data"), rows, tuple(notes))


def describe_shares(labels: tuple[str, ...], moved: FloatArray) -> tuple[str, ...]:
    """Return one phrase per direction, by its leading terms."""
    return tuple(describe_direction(labels, row) for row in simplify(moved))
