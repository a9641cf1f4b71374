"""Records to JSON and labelled arrays, and back. No pickle: only named classes are made.

A record becomes a *sketch*, which is JSON, and *groups*: datasets by name. The arrays are in the
groups, all else is in the sketch. What JSON lacks is an object with one key that says what it is.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_type_hints

import numpy as np
import xarray as xr

type Groups = dict[str, xr.Dataset]

# Not kept: compiled functions.
_LEFT_OUT = {"prepared", "compute_curves", "verbs"}

#: The group of all arrays without labels.
ARRAYS = "arrays"

# Groups that go by another name than the fields that lead to them.
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


def classes_of(record: Any) -> dict[str, Any]:
    """Return a class of records and all classes that its fields name, by their names.

    The types of its fields must be imported at run time, not for type checking alone.
    """
    found: dict[str, Any] = {}
    hints = [record]
    while hints:
        hint = hints.pop()
        hints += get_args(hint)
        if isinstance(hint, type) and hint.__name__ not in found:
            if is_dataclass(hint) or hasattr(hint, "_fields"):
                known = get_type_hints(hint).items()
                hints += [kind for name, kind in known if name not in _LEFT_OUT]
                found[hint.__name__] = hint
            elif issubclass(hint, Enum):
                found[hint.__name__] = hint
    return found


def encode(thing: Any, groups: Groups, path: str = "") -> Any:
    """Return the sketch of a value; its arrays are added to ``groups``.

    Raises `TypeError` for what is neither a record, nor an array, nor a plain value.
    """
    if isinstance(thing, Enum):
        return {"enum": [type(thing).__name__, thing.name]}
    if isinstance(thing, np.bool_ | np.integer | np.floating):
        thing = thing.item()
    if isinstance(thing, float) and not np.isfinite(thing):
        return {"float": plain_number(thing)}
    if thing is None or isinstance(thing, bool | int | float):
        return thing
    if isinstance(thing, str):
        return str(thing)
    if isinstance(thing, np.ndarray | xr.DataArray | xr.Dataset | xr.DataTree):
        return _encode_arrays(thing, groups, path)
    if is_dataclass(thing) or hasattr(thing, "_fields"):
        names = getattr(thing, "_fields", None) or [field.name for field in fields(thing)]
        kept = {name: getattr(thing, name) for name in names if name not in _LEFT_OUT}
        return {"record": [type(thing).__name__, _encode_members(kept, groups, path)]}
    if isinstance(thing, Mapping):
        return {"mapping": _encode_members(thing, groups, path)}
    if isinstance(thing, tuple | list):
        parts = [encode(part, groups, f"{path}_{i}") for i, part in enumerate(thing)]
        return {"tuple": parts} if isinstance(thing, tuple) else parts
    raise TypeError(f"{path}: {type(thing).__name__} can't be saved")


def _encode_members(members: Mapping[Any, Any], groups: Groups, path: str) -> dict[str, Any]:
    start = f"{path}_" if path else ""
    return {str(key): encode(part, groups, f"{start}{key}") for key, part in members.items()}


def encode_loosely(value: Any) -> Any:
    """Return the sketch of an attribute or label; of somebody else's object, its text."""
    groups: Groups = {}
    try:
        sketch = encode(value.tolist() if isinstance(value, np.ndarray) else value, groups)
    except TypeError:
        return str(value)
    return str(value) if groups else sketch


def _encode_arrays(thing: Any, groups: Groups, path: str) -> dict[str, Any]:
    if isinstance(thing, np.ndarray):
        array = xr.Variable([f"{path}_dim_{i}" for i in range(thing.ndim)], thing)
        groups[ARRAYS] = groups.get(ARRAYS, xr.Dataset()).assign({path: array})
        return {"array": path}
    if isinstance(thing, xr.DataTree):
        nodes = [n for n in thing.subtree if n.path != "/" or n.has_data or n.attrs]
        return {"tree": {n.path: _add(groups, n.path.strip("/") or path, n) for n in nodes}}
    if isinstance(thing, xr.DataArray):
        return {"labelled": _add(groups, _NAMES.get(path, path), thing.to_dataset(name=path))}
    return {"dataset": _add(groups, _NAMES.get(path, path), thing)}


def _add(groups: Groups, name: str, data: xr.Dataset | xr.DataTree) -> str:
    """Add a group under its name, or a longer one where another group has that already."""
    while name in groups:
        name += "_"
    groups[name] = data.to_dataset(inherit=True) if isinstance(data, xr.DataTree) else data
    return name


def decode(sketch: Any, groups: Mapping[str, xr.Dataset], classes: Mapping[str, Any]) -> Any:
    """Return the value that `encode` made a sketch of.

    ``sketch``: as JSON has it.
    ``classes`` (mapping of str to type): the records that may be made, by name.
    Raises `KeyError`, `TypeError`, `ValueError` for what `encode` did not write.
    """
    if isinstance(sketch, list):
        return [decode(part, groups, classes) for part in sketch]
    if not isinstance(sketch, dict):
        return sketch
    [(kind, value)] = sketch.items()
    if kind in ("record", "enum"):
        name, value = value
        if kind == "enum":
            return classes[name][value]
    if kind in ("record", "mapping"):
        members = {key: decode(part, groups, classes) for key, part in value.items()}
        return classes[name](**members) if kind == "record" else members
    if kind == "tuple":
        return tuple(decode(part, groups, classes) for part in value)
    if kind == "tree":
        return xr.DataTree.from_dict({path: groups[name] for path, name in value.items()})
    return _DECODERS[kind](value, groups)


_DECODERS: dict[str, Any] = {
    "float": lambda value, _: float("nan" if value is None else value),
    "array": lambda name, groups: groups[ARRAYS][name].to_numpy(),
    "labelled": lambda name, groups: next(iter(groups[name].data_vars.values())).rename(None),
    "dataset": lambda name, groups: groups[name],
}


def plain_number(value: float) -> float | str | None:
    """Return a number as JSON has it: NaN is null, infinities are strings."""
    if np.isnan(value):
        return None
    return value if np.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
