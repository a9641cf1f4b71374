"""Comparisons held against each other: a saved one and the loaded one, page by page."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

import pmlik


def assert_equal(one: pmlik.Comparison, other: pmlik.Comparison) -> None:
    """Everything but what is compiled."""
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    assert one.flags == other.flags
    assert dict(one.timings) == dict(other.timings)
    assert dict(one.versions) == dict(other.versions)
    assert one.random_seed == other.random_seed
    assert one.dataset.identical(other.dataset)
    for name in ("mle", "map"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.values.identical(b.values)
        assert a.std_error.identical(b.std_error)
        assert a.status.identical(b.status)
        assert (a.covariance is None) == (b.covariance is None)
        assert a.covariance is None or a.covariance.identical(b.covariance)
        assert a.certificate == b.certificate
        np.testing.assert_array_equal(a.unconstrained, b.unconstrained)
        assert (a.flags, a.kind) == (b.flags, b.kind)
        np.testing.assert_array_equal(a.statistics, b.statistics)
    assert_posterior_equal(one, other)
    assert one.background.model == other.background.model
    assert one.background.edges == other.background.edges
    assert one.background.call == other.background.call
    if one.attribution is not None:
        table = other.attribution.table
        pd.testing.assert_frame_equal(one.attribution.table, table, check_exact=True)
    assert str(one) == str(other)
    assert one._repr_html_() == other._repr_html_()
    assert one.findings(all=True) == other.findings(all=True)


def assert_posterior_equal(one: pmlik.Comparison, other: pmlik.Comparison) -> None:
    assert (one.posterior is None) == (other.posterior is None)
    if one.posterior is None or other.posterior is None:
        return
    for name in ("values", "std_error", "interval"):
        assert getattr(one.posterior, name).identical(getattr(other.posterior, name))
    assert one.posterior.tree.identical(other.posterior.tree)
    assert dict(one.posterior.diagnostics) == dict(other.posterior.diagnostics)
    assert one.posterior.flags == other.posterior.flags


def strip_ids(page: str) -> str:
    """Matplotlib makes the names of clip paths of sizes to the last digit."""
    return re.sub(r"\bf[0-9a-f]{8}-(p[0-9a-f]{10})?", "f-", page)
