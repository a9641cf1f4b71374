"""Answers from elsewhere (a book, another package), laid beside pmlik's own."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import xarray as xr

from pmlik.errors import ValuesError
from pmlik.labels import labelled, space_of, stack_datasets
from pmlik.results.flags import name_few

#: The methods that are pmlik's own; any other along the dim ``method`` is a reference.
METHODS = ("mle", "map", "posterior", "joint")
_ERRORS = {"std_error", "SE", "se", "std. error", "sd"}


def reference_names(dataset: xr.Dataset) -> list[str]:
    """Return the names of the references in a comparison's dataset, in order."""
    return [str(m) for m in dataset["method"].to_numpy() if str(m) not in METHODS]


def check_reference(reference: Any, names: Sequence[str]) -> None:
    """Refuse a reference to other variables than those named, before any work.

    Raises `ValuesError` as `add_reference`, which looks at shapes and labels too.
    """
    for column, parts in _columns(reference).items():
        for key in (key for part in parts for key in part):
            if str(key).split("[")[0] not in names:
                _refuse(column, key, names)


def add_reference(
    dataset: xr.Dataset, reference: Mapping[str, Any] | pd.Series | pd.DataFrame
) -> xr.Dataset:
    """Return a comparison's dataset with one more method per column of the reference.

    ``dataset``: dims ``method`` and ``statistic`` first.
    ``reference`` (mapping, pandas.Series or pandas.DataFrame): values by label (``"beta"``,
        ``"mu[a]"``), or by variable, in its shape; natural units. A column of a frame called
        ``std_error`` or ``SE`` belongs to the one before it.
    Raises `ValuesError` for labels that the comparison does not have, and values that are no
        numbers.
    """
    columns = _columns(reference)
    template = dataset.isel(method=0, statistic=0, drop=True)
    clash = [name for name in columns if name in dataset["method"].to_numpy() or name in METHODS]
    if clash:
        raise ValuesError(f"reference: {clash[0]!r} is there already. Give it another name.")
    added = []
    for name, parts in columns.items():
        filled = [_fill(template, part, name) for part in parts]
        both = dict(zip(("estimate", "std_error"), filled, strict=True))
        added.append(stack_datasets(template, both, "statistic").expand_dims(method=[name]))
    return xr.concat([dataset, *added], dim="method")


def _columns(reference: Any) -> dict[str, list[Mapping[str, Any]]]:
    """Return estimates and standard errors by column."""
    if isinstance(reference, pd.Series):
        return {str(reference.name or "reference"): [reference.to_dict(), {}]}
    if isinstance(reference, Mapping):
        return {"reference": [reference, {}]}
    if not isinstance(reference, pd.DataFrame):
        raise ValuesError(
            f"reference: got {type(reference).__name__}, need a mapping of values by name, or a "
            "DataFrame with the names as its index."
        )
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for name in reference.columns:
        if not pd.api.types.is_numeric_dtype(reference[name]):
            continue
        values = {str(label): value for label, value in reference[name].items()}
        if str(name) in _ERRORS and columns:
            columns[list(columns)[-1]][1] = values
        else:
            columns[str(name)] = [values, {}]
    if not columns:
        raise ValuesError("reference: the DataFrame has no column of numbers.")
    return columns


def _fill(template: xr.Dataset, given: Mapping[str, Any], name: str) -> xr.Dataset:
    labels = list(labelled(template))
    flat = dict.fromkeys(labels, np.nan)
    for key, value in given.items():
        if key in flat:
            own = [str(key)]
        elif key in template.data_vars:
            own = list(labelled(template[[key]]))
        else:
            _refuse(name, key, labels)
        try:
            numbers = np.asarray(value, dtype=float).ravel()
        except (TypeError, ValueError):
            raise ValuesError(f"{name}: {key!r} is {value!r}, need a number.") from None
        if len(numbers) != len(own):
            raise ValuesError(f"{name}: {key!r} has {len(numbers)} values, need {len(own)}.")
        flat.update(zip(own, map(float, numbers), strict=True))
    return space_of(template).to_dataset(list(flat.values()))


def _refuse(name: str, key: Any, known: Sequence[str]) -> NoReturn:
    raise ValuesError(f"{name}: {key!r} is not in the comparison, which has {name_few(known, 8)}.")
