"""Records to labelled arrays and plain values, and back. No pickle: only the named classes exist.

A record becomes a *sketch*, which is JSON, and *groups*: flat names to datasets. The arrays are
in the groups, all else is in the sketch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import xarray as xr

from pmlik._typing import EigenvalueSigns
from pmlik.results.attribution import Attribution
from pmlik.results.background import Background, Predictive
from pmlik.results.curves import Curves
from pmlik.results.flags import Flag, FlagCode, Severity
from pmlik.results.information import InformationShares
from pmlik.results.point import (
    Certificate,
    FitStatistics,
    LatentModes,
    PointEstimate,
    SearchEnd,
    Status,
)
from pmlik.results.posterior import PosteriorEstimate

#: The parts of a comparison that may be read from a file, by name.
CLASSES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        Attribution,
        Background,
        Certificate,
        Curves,
        EigenvalueSigns,
        FitStatistics,
        Flag,
        FlagCode,
        InformationShares,
        LatentModes,
        PointEstimate,
        PosteriorEstimate,
        Predictive,
        SearchEnd,
        Severity,
        Status,
    )
}

# Not kept: compiled functions.
_LEFT_OUT = {"prepared", "compute_curves"}

# Groups that go by another name than the way that leads to them.
_NAMES = {
    "dataset": "comparison",
    "mle_values": "mle",
    "map_values": "map",
    "posterior_values": "summary_mean",
    "posterior_std_error": "summary_sd",
    "posterior_interval": "summary_interval",
    "background_attribution_waypoints": "attribution",
    "background_attribution_sd": "attribution_sd",
    "background_extras_log_likelihood": "log_likelihood",
    "background_extras_sensitivity": "sensitivity",
    "background_extras_shares_shares": "information_shares",
    "background_extras_shares_directions": "information_directions",
}


def encode(thing: Any, groups: dict[str, xr.Dataset], path: str = "") -> Any:
    """Return the sketch of a value; its arrays are added to ``groups``.

    Raises
    ------
    TypeError
        For a class that is not one of `CLASSES`.
    """
    if thing is None or isinstance(thing, bool | np.bool_):
        return None if thing is None else {"bool": bool(thing)}
    if isinstance(thing, Enum):
        return {"enum": type(thing).__name__, "name": thing.name}
    if isinstance(thing, str):
        return str(thing)
    if isinstance(thing, int | np.integer):
        return {"int": int(thing)}
    if isinstance(thing, float | np.floating):
        return {"float": plain_number(float(thing))}
    if isinstance(thing, np.ndarray | xr.DataArray | xr.Dataset | xr.DataTree):
        return _encode_arrays(thing, groups, path)
    if is_dataclass(thing) or hasattr(thing, "_fields"):
        if CLASSES.get(type(thing).__name__) is not type(thing):
            raise TypeError(f"{path}: {type(thing).__name__} can't be saved")
        return encode_record(thing, groups, path)
    if isinstance(thing, Mapping):
        items = list(thing.items())
        ways = [_join(path, key, i) for i, (key, _) in enumerate(items)]
        return {
            "mapping": [
                [str(key), encode(value, groups, way)]
                for (key, value), way in zip(items, ways, strict=True)
            ]
        }
    if isinstance(thing, tuple | list):
        parts = [encode(part, groups, f"{path}_{i}") for i, part in enumerate(thing)]
        return {"tuple" if isinstance(thing, tuple) else "list": parts}
    raise TypeError(f"{path}: {type(thing).__name__} can't be saved")


def _join(path: str, key: Any, i: int) -> str:
    """Return a group's name; a part that a file can't have becomes its number."""
    word = str(key) if re.fullmatch(r"\w+", str(key), re.ASCII) else str(i)
    return f"{path}_{word}" if path else word


def encode_record(record: Any, groups: dict[str, xr.Dataset], path: str = "") -> dict[str, Any]:
    """Return the sketch of a record, whatever its class."""
    names = record._fields if hasattr(record, "_fields") else [f.name for f in fields(record)]
    members = {
        key: encode(getattr(record, key), groups, _join(path, key, 0))
        for key in names
        if key not in _LEFT_OUT
    }
    return {"record": type(record).__name__, "fields": members}


def _encode_arrays(thing: Any, groups: dict[str, xr.Dataset], path: str) -> dict[str, Any]:
    name = _NAMES.get(path, path)
    if isinstance(thing, xr.DataTree):
        nodes = {node.path.strip("/"): node for node in thing.subtree if node.path != "/"}
        for key, node in nodes.items():
            groups[key] = node.to_dataset(inherit=True)
        return {"tree": list(nodes), "attrs": [_encode_attrs(groups[key]) for key in nodes]}
    if isinstance(thing, np.ndarray):
        array = xr.DataArray(thing, dims=[f"{name}_dim_{i}" for i in range(thing.ndim)])
        groups[name] = xr.Dataset({name: array})
        return {"array": name}
    if isinstance(thing, xr.DataArray):
        groups[name] = thing.to_dataset(name=name)
        return {"labelled": name}
    groups[name] = thing
    return {"dataset": name, "attrs": _encode_attrs(thing)}


def _encode_attrs(dataset: xr.Dataset) -> list[Any]:
    """Return the attributes of the dataset and of its variables."""
    own = [("", dataset.attrs)]
    own += [(str(name), variable.attrs) for name, variable in dataset.variables.items()]
    return [
        [name, {str(key): _encode_attr(value) for key, value in attrs.items()}]
        for name, attrs in own
        if attrs
    ]


def _encode_attr(value: Any) -> Any:
    try:
        return encode(value, {})
    except TypeError:  # somebody else's object: its text is kept
        return str(value)


def decode(
    sketch: Any,
    groups: Mapping[str, xr.Dataset],
    classes: Mapping[str, Any] = CLASSES,
) -> Any:
    """Return the value that `encode` made a sketch of.

    Parameters
    ----------
    sketch : object
        As JSON has it.
    groups : mapping of str to xarray.Dataset
    classes : mapping of str to type
        The records that may be made, by name.

    Raises
    ------
    KeyError, TypeError, ValueError
        For what `encode` did not write.
    """
    if sketch is None or isinstance(sketch, str):
        return sketch
    kind = next(iter(sketch))
    value = sketch[kind]
    if kind == "record":
        members = {key: decode(part, groups, classes) for key, part in sketch["fields"].items()}
        return classes[value](**members)
    return _DECODERS[kind](sketch, value, groups)


def _decode_tree(sketch: Any, names: list[str], groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
    parts = zip(names, sketch["attrs"], strict=True)
    return xr.DataTree.from_dict({name: _with_attrs(groups[name], attrs) for name, attrs in parts})


def _decode_dataset(sketch: Any, name: str, groups: Mapping[str, xr.Dataset]) -> xr.Dataset:
    return _with_attrs(groups[name], sketch["attrs"])


def _with_attrs(dataset: xr.Dataset, attrs: list[Any]) -> xr.Dataset:
    dataset = dataset.copy()
    for name, members in attrs:
        owner = dataset[name] if name else dataset
        owner.attrs = {key: decode(value, {}) for key, value in members.items()}
    return dataset


_DECODERS: dict[str, Any] = {
    "bool": lambda _, value, __: bool(value),
    "int": lambda _, value, __: int(value),
    "float": lambda _, value, __: read_number(value),
    "enum": lambda sketch, name, _: CLASSES[name][sketch["name"]],
    "mapping": lambda _, items, groups: {key: decode(part, groups) for key, part in items},
    "tuple": lambda _, parts, groups: tuple(decode(part, groups) for part in parts),
    "list": lambda _, parts, groups: [decode(part, groups) for part in parts],
    "tree": _decode_tree,
    "array": lambda _, name, groups: groups[name][name].to_numpy(),
    "labelled": lambda _, name, groups: groups[name][name].rename(None),
    "dataset": _decode_dataset,
}


def plain_number(value: float) -> float | str | None:
    """Return a number as JSON has it: NaN is null, infinities are strings."""
    if np.isnan(value):
        return None
    return value if np.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def read_number(value: float | str | None) -> float:
    """Return the number that `plain_number` was given."""
    return float("nan" if value is None else value)
