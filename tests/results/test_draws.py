"""Draws of one scalar are those of the tree, whatever its dims are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import xarray as xr

from pmlik.results.comparison import Comparison
from pmlik.results.draws import draws_of


def test_draws_of_an_element_where_a_dim_is_called_sample() -> None:
    values = np.arange(2 * 3 * 2, dtype=float).reshape(2, 3, 2)
    posterior = xr.Dataset(
        {"t": (("chain", "draw", "sample"), values)}, coords={"sample": ["a", "b"]}
    )
    tree = xr.DataTree.from_dict({"posterior": posterior})
    comparison = SimpleNamespace(posterior=SimpleNamespace(tree=tree), circles={})
    draws = draws_of(cast(Comparison, comparison), "t[b]")
    assert draws is not None
    assert draws.tolist() == [1, 3, 5, 7, 9, 11]
