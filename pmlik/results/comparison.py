"""Three estimates side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
import xarray as xr

from pmlik._summaries import Circle
from pmlik.errors import ValuesError
from pmlik.labels import circles_by_label, labelled, select_variables
from pmlik.results import storage
from pmlik.results.afterwards import Afterwards
from pmlik.results.attribution import Attribution
from pmlik.results.background import Background
from pmlik.results.comparison_table import (
    build_frame,
    cells_of,
    headings_of,
    interval_heading,
    select_table,
    tabulate,
)
from pmlik.results.curves import Curves
from pmlik.results.draws import curves_of_draws
from pmlik.results.files import check_target, write_target
from pmlik.results.findings import Finding, find_findings, select_findings
from pmlik.results.flags import Flag, Severity, number_by_name
from pmlik.results.html import render_page
from pmlik.results.markup import to_latex, to_markdown
from pmlik.results.point import PointEstimate
from pmlik.results.posterior import PosteriorEstimate
from pmlik.results.references import add_reference, reference_names
from pmlik.results.table import Shown, Table
from pmlik.results.verdict import Judgement, constant_rows, judge

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Comparison(Shown, Afterwards):
    """MLE, MAP and posterior of one model.

    Parameters
    ----------
    mle, map : PointEstimate
    posterior : PosteriorEstimate or None
        None when sampling failed, was interrupted or left out.
    dataset : xarray.Dataset
        Every variable with leading dims ``method`` (mle, map, posterior; with latents joint) and
        ``statistic`` (estimate, std_error), natural units.
    flags : tuple of Flag
        Those of the three estimates, each once.
    timings : Mapping of str to float
        Seconds by step.
    random_seed : int
        The seed that gives the same numbers again.
    versions : Mapping of str to str
        Versions of pmlik and of the packages that computed the numbers.
    background : Background
        Attribution, curves, prediction, the model and the call.
    joint : PointEstimate, optional
        In a model with latents: the mode of parameters and latents together, which plain
        ``pm.find_MAP`` looks for; None, with a flag, where the search would take too long.
        The MLE and the MAP have the latents integrated out.
    intervals : Mapping of str to xarray.Dataset
        By ``ci_kind``: ``wald`` and ``profile`` of the likelihood, ``eti`` or ``hdi`` of the
        posterior, all of one ``ci_prob``, each with a last dim ``ci_bound``. Those that were
        computed.
    """

    mle: PointEstimate
    map: PointEstimate
    posterior: PosteriorEstimate | None
    dataset: xr.Dataset
    flags: tuple[Flag, ...]
    timings: Mapping[str, float]
    random_seed: int
    versions: Mapping[str, str]
    background: Background = field(default_factory=Background)
    joint: PointEstimate | None = None
    intervals: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def attribution(self) -> Attribution | None:
        """Posterior mean minus MLE, step by step; None without a posterior."""
        return self.background.attribution

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per scalar, indexed by label, natural units.

        ``MLE`` and ``SE`` are of the likelihood alone, ``MAP`` maximises likelihood times
        prior without Jacobian; ``posterior mean``, ``sd``, ``interval lower`` and ``interval
        upper`` are of the draws; ``profile lower`` and ``profile upper``, where there are
        profiles, of the likelihood. ``shift in sd`` is posterior mean minus MLE in posterior
        standard deviations. References have a column each. ``flags`` names the codes of the
        flags about the row.
        """
        return build_frame(self)

    @cached_property
    def circles(self) -> dict[str, Circle]:
        """The turn of each circular scalar of the table, by label."""
        rows = labelled(self.dataset.isel(method=0, statistic=0, drop=True))
        sampled = {} if self.posterior is None else circles_by_label(self.posterior.values)
        found = {**sampled, **circles_by_label(self.mle.values)}
        return {label: circle for label, circle in found.items() if label in rows}

    @property
    def trusted(self) -> bool:
        """True if the MLE, the MAP and the chains can all be trusted."""
        return (
            self.mle.trusted
            and self.map.trusted
            and self.posterior is not None
            and self.posterior.trusted
        )

    @property
    def verdict(self) -> Literal["agree", "differ"] | None:
        """``agree`` or ``differ``; None if no row has an MLE and chains that can be used.

        They agree if no posterior mean is further than a quarter of a posterior standard
        deviation from the MLE, and no posterior standard deviation more than a quarter off the
        standard error. Rows with an R-hat above 1.05 or fewer than 100 effective draws have no
        say; `provisional` tells if anything stands against the verdict.
        """
        return self.judgement.verdict

    @property
    def provisional(self) -> bool:
        """True if there is a verdict that further draws, or a better MLE, might change."""
        return bool(self.provisional_reasons)

    @property
    def provisional_reasons(self) -> tuple[str, ...]:
        """Sentences that say why the verdict is provisional: none if it is not."""
        return self.judgement.reasons

    @cached_property
    def judgement(self) -> Judgement:
        """What is said of each row, and what stands against it."""
        return judge(self)

    def findings(self, *, all: bool = False) -> tuple[Finding, ...]:
        """Return sentences made from the numbers: differences, their sizes and reasons, advice.

        Parameters
        ----------
        all : bool
            Also those that do not fit on a screen.

        Returns
        -------
        tuple of Finding
            The most important first; ``str(finding)`` is the sentence. Those that further draws
            might change are ``provisional``.
        """
        return select_findings(self._all_findings, all=all)

    @cached_property
    def _all_findings(self) -> tuple[Finding, ...]:
        return find_findings(self)

    def with_reference(self, reference: Mapping[str, Any] | pd.Series | pd.DataFrame) -> Comparison:
        """Return the same comparison with answers from elsewhere beside it.

        Parameters
        ----------
        reference : mapping, pandas.Series or pandas.DataFrame
            Values by label or variable, natural units, as ``{"beta": 0.23}``. Each column of a
            frame is a column of the table; one called ``std_error`` or ``SE`` belongs to the
            one before it.

        Raises
        ------
        ValuesError
            For labels that the comparison does not have.
        """
        return replace(self, dataset=add_reference(self.dataset, reference))

    def sheet(self) -> Table:
        """Return the comparison as a table of strings."""
        return tabulate(self)

    @cached_property
    def headings(self) -> list[str]:
        """Headings of the cells of a row."""
        return headings_of(self)

    @property
    def interval_heading(self) -> str:
        """Probability and kind of the posterior's interval."""
        return interval_heading(self)

    def cells(self, label: str) -> tuple[str, ...]:
        """Return the numbers of one scalar as strings, one per heading."""
        return cells_of(self, label)

    @property
    def references(self) -> list[str]:
        """Names of the answers from elsewhere, in order."""
        return reference_names(self.dataset)

    def flags_about(self, scalars: Sequence[str]) -> list[Flag]:
        """Return the flags that belong in the row of these scalars.

        A flag about everything belongs in each row only if it is an error.
        """
        names = {*scalars, *(label.split("[")[0] for label in scalars)}
        places = {i for name in names for i in self._flags_by_name.get(name, ())}
        return [
            flag
            for i, flag in enumerate(self.flags)
            if i in places or (not flag.variables and flag.severity is Severity.ERROR)
        ]

    @cached_property
    def _flags_by_name(self) -> dict[str, list[int]]:
        return number_by_name(self.flags)

    def leading_labels(self, most: int = 12) -> list[str]:
        """Return the scalars that matter most: those of the findings, then the others in order.

        Parameters
        ----------
        most : int
            The largest number of labels.
        """
        found = [label for f in self.findings(all=True) for label in f.labels]
        constant = constant_rows(self.table)
        known = dict.fromkeys(sorted(self.table.index, key=lambda label: label in constant))
        return [label for label in dict.fromkeys([*found, *known]) if label in known][:most]

    def curves(self, label: str) -> Curves:
        """Return prior, profile likelihood and posterior of one scalar, for a figure.

        Those of the leading scalars are kept with the comparison. Others are computed, which may
        take seconds, and are not kept. In a comparison that was loaded they have the density of
        the draws only.

        Parameters
        ----------
        label : str
            A row of `table`.

        Raises
        ------
        ValuesError
            For a label that the comparison does not have.
        """
        if label not in self.table.index:
            raise ValuesError(f"label: {label!r} is not in the comparison.")
        if label in self.background.curves:
            return self.background.curves[label]
        compute = self.background.compute_curves or curves_of_draws
        return compute(self, label)

    def select(self, var_names: Sequence[str]) -> Comparison:
        """Return the comparison with the rows of these variables only.

        Raises
        ------
        ValuesError
            For a name that it does not have.
        """
        where = "in the comparison"
        return replace(self, dataset=select_variables(self.dataset, var_names, where=where))

    def whose(self, flag: Flag) -> str:
        """Return the name of the only estimate that has a flag, in brackets, or an empty string."""
        named = {"MLE": self.mle, "MAP": self.map, "posterior": self.posterior}
        named |= {"joint mode": self.joint}
        whose = [n for n, e in named.items() if e and any(map(flag.says_same, e.flags))]
        return f" ({', '.join(whose)})" if len(whose) == 1 else ""

    def save(self, path: PathLike) -> Path:
        """Write everything to netCDF (``.nc``) or Zarr (``.zarr``); `pmlik.load` reads it.

        An old file stays until the new one is complete.

        Parameters
        ----------
        path : path
            The suffix chooses the format.

        Raises
        ------
        FileError
            For another suffix, for anything in that place but a file (or for Zarr, a store that
            pmlik wrote), and where it can't be written.
        """
        return storage.save(self, path)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a comparison that `save` has written.

        It prints, reports and plots as the one that was saved. It has no compiled model, so a
        `Likelihood` of it has to be built from the model again.

        Parameters
        ----------
        path : path

        Returns
        -------
        Comparison

        Raises
        ------
        FileError
            If there is no such file, or it is not one of these, or it is damaged or was changed.
        """
        return storage.load(path, cls)

    def to_datatree(self) -> xr.DataTree:
        """Return everything as one tree.

        Returns
        -------
        xarray.DataTree
            Groups ``mle``, ``map`` (estimates), ``mle_std_error``, ``mle_covariance``,
            ``comparison``, ``attribution`` (its points), ``summary_mean``, ``summary_sd``,
            ``summary_interval``, ``arrays`` (those without labels), and those of ``pm.sample``:
            ``posterior`` (the draws), ``sample_stats``, ``observed_data``, ... ``profile`` has the
            relative profile log-likelihoods that are kept, ``log_likelihood`` the terms of each
            draw and observation, ``information_shares`` and ``sensitivity`` the shares of data and
            prior; the attribute ``pmlik_left_out`` has the reasons why others were left out.
            Everything but arrays is JSON in the attribute ``pmlik``.
        """
        return storage.to_datatree(self)

    def to_json(self, path: PathLike | None = None, *, draws: bool = True) -> str:
        """Return everything as JSON, full precision.

        NaN is ``null``, infinities are the strings ``"Infinity"`` and ``"-Infinity"``.

        Parameters
        ----------
        path : path, optional
            Written there too.
        draws : bool
            Include the posterior's draws.

        Raises
        ------
        FileError
            If the file can't be written.
        """
        check_target(path)
        return write_target(storage.to_json(self, draws=draws), path)

    def to_html(self, path: PathLike | None = None, *, title: str | None = None) -> str:
        """Return one page that needs no other file and no network.

        Verdict and findings first, then the table, the figures, why the estimates differ, the
        flags, what is known of the optima and the chains, the model, how to get the numbers
        again, and a glossary. It has a panel for each scalar whose curves are kept.

        Parameters
        ----------
        path : path, optional
            Written there too.
        title : str, optional
            Title of the page.

        Raises
        ------
        FileError
            If the file can't be written.
        """
        check_target(path)
        return write_target(render_page(self, title), path)

    def to_markdown(
        self,
        path: PathLike | None = None,
        *,
        columns: Sequence[str] | None = None,
        var_names: Sequence[str] | str | None = None,
    ) -> str:
        """Return the table in Markdown, then findings and notes.

        Parameters
        ----------
        path : path, optional
            Written there too.
        columns : sequence of str, optional
            The columns, in order: ``MLE``, ``SE``, ``MAP``, ``mean``, ``sd``, ``interval``,
            ``shift/sd``, ``flags`` and the names of references. Default: all.
        var_names : sequence of str, optional
            Variables; default all.

        Raises
        ------
        ValuesError
            For columns and variables that it does not have.
        FileError
            If the file can't be written.
        """
        check_target(path)
        table = select_table(self, columns, var_names)
        found = tuple(("finding", str(finding)) for finding in self.findings())
        return write_target(to_markdown(replace(table, notes=(*found, *table.notes))), path)

    def to_latex(
        self,
        path: PathLike | None = None,
        *,
        columns: Sequence[str] | None = None,
        var_names: Sequence[str] | str | None = None,
        label: str = "",
    ) -> str:
        """Return the table for a paper, by ``booktabs``, with the likelihood and flags below.

        Parameters
        ----------
        path, columns, var_names
            As in `to_markdown`.
        label : str
            For a reference to the table.

        Raises
        ------
        ValuesError, FileError
            As in `to_markdown`.
        """
        check_target(path)
        table = select_table(self, columns, var_names)
        notes = tuple(n for n in table.notes if n[0] == "likelihood" or n[0].startswith("flag"))
        return write_target(to_latex(replace(table, notes=notes), label), path)
