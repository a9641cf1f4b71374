"""A call written as one line of Python."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Name(str):
    """A name that stands in a call for what can't be written on one line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def format_call(function: str, argument: str, options: DataclassInstance) -> str:
    """Return a call with the keywords whose values are not their defaults.

    ``function``, ``argument``: the name of the function, and its positional argument as Python.
    ``options``: one field per keyword; a field that is a dataclass holds further keywords. Arrays
        are written as lists, pandas objects as calls of ``pd``.
    """
    words = [f"{name}={value}" for name, value in _keywords(options)]
    return f"{function}({', '.join([argument, *words])})"


def _keywords(options: DataclassInstance) -> Iterator[tuple[str, str]]:
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _keywords(value)
        elif (literal := format_literal(value)) != format_literal(field.default):
            yield field.name, literal


def format_literal(value: Any) -> str:
    """Return Python that evaluates to a value, with ``pd`` for pandas and arrays as lists."""
    if isinstance(value, pd.DataFrame):
        columns = {name: column.to_numpy() for name, column in value.items()}
        return f"pd.DataFrame({format_literal(columns)}, index={format_literal(list(value.index))})"
    if isinstance(value, pd.Series):
        name = "" if value.name is None else f", name={format_literal(value.name)}"
        index = format_literal(list(value.index))
        return f"pd.Series({format_literal(value.to_numpy())}, index={index}{name})"
    if isinstance(value, Mapping):
        pairs = (f"{format_literal(key)}: {format_literal(v)}" for key, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, np.ndarray | np.generic | xr.DataArray | pd.Index):
        return format_literal(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return f"float({str(float(value))!r})"
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return "[" + ", ".join(map(format_literal, value)) + "]"
    return repr(value)
