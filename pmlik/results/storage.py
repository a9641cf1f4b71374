"""Write comparisons to netCDF, Zarr and JSON, and read them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pmlik.errors import FileError
from pmlik.results.codec import (
    Groups,
    classes_of,
    decode,
    encode,
    encode_loosely,
    plain_number,
)
from pmlik.results.files import (
    ZARR,
    as_file_error,
    as_path,
    check_replaceable,
    new_beside,
    recover,
    replace_file,
    replace_store,
)

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


_FORMAT = 3
_NETCDF = {".nc", ".netcdf", ".nc4", ".h5", ".hdf5"}

# Parts of a name that one of the file formats can't have, and the length of a file's name.
_FORBIDDEN = re.compile(r"[/\\%\0\ud800-\udfff]|^\.|^$")
_LONGEST = 200


def to_datatree(comparison: Comparison) -> xr.DataTree:
    """Return `Comparison.to_datatree`."""
    sketch, groups = _sketch(comparison)
    tree = xr.DataTree.from_dict({name: _writable(dataset) for name, dataset in groups.items()})
    texts = {
        "pmlik": json.dumps(sketch, allow_nan=False),
        "pmlik_layout": json.dumps({name: _layout(dataset) for name, dataset in groups.items()}),
        "pmlik_left_out": json.dumps(_left_out(comparison)),
    }
    tree.attrs = {"pmlik_format": _FORMAT, **texts, "pmlik_checksum": _checksum(groups, texts)}
    return tree


def _sketch(comparison: Comparison) -> tuple[Any, Groups]:
    """Return a comparison as a sketch and groups, with one more of the profiles."""
    groups: Groups = {}
    sketch = encode(comparison, groups)
    if "profile" not in groups and (profiles := _profiles(comparison)):
        groups["profile"] = profiles
    return sketch, groups


def _profiles(comparison: Comparison) -> xr.Dataset:
    """Return the profile log-likelihoods that are kept, minus the maximum; `load` ignores them."""
    drawn = {
        label: curves
        for label, curves in comparison.background.curves.items()
        if np.isfinite(curves.log_likelihood).any()
    }
    if not drawn:
        return xr.Dataset()
    dims, kept = ("parameter", "point"), drawn.values()
    return xr.Dataset(
        {
            "value": (dims, np.array([curves.grid for curves in kept])),
            "log_likelihood": (dims, np.array([curves.log_likelihood for curves in kept])),
        },
        coords={"parameter": list(drawn)},
    )


def _left_out(comparison: Comparison) -> dict[str, str]:
    """Return the reasons of what was left out, by name."""
    kept = comparison.background.extras
    return {name: reason for name, reason in kept.items() if isinstance(reason, str)}


def _from_datatree[Record](tree: xr.DataTree, record: type[Record]) -> Record:
    if "pmlik" not in tree.attrs:
        raise FileError("It is not a comparison that pmlik has saved.")
    version = int(tree.attrs.get("pmlik_format", 0))
    if version > _FORMAT:
        raise FileError("It was saved by a newer pmlik. Update this one.")
    if version < _FORMAT:
        raise FileError("It was saved by an older pmlik. Compare the model again and save that.")
    layout = json.loads(tree.attrs["pmlik_layout"])
    groups = {name: _read(tree[name], kept) for name, kept in layout.items()}
    texts = {name: tree.attrs[name] for name in ("pmlik", "pmlik_layout", "pmlik_left_out")}
    if _checksum(groups, texts) != tree.attrs["pmlik_checksum"]:
        raise FileError("It is damaged or was changed: its content is not what was saved.")
    comparison = decode(json.loads(tree.attrs["pmlik"]), groups, classes_of(record))
    if not isinstance(comparison, record):
        raise FileError("It does not hold a comparison.")
    return comparison


def save(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write a comparison to a file, whole or not at all, see `Comparison.save`."""
    target = as_path(path)
    if target.suffix not in _NETCDF | {ZARR}:
        raise FileError(f"{target}: need a name that ends in .nc (netCDF) or .zarr (Zarr).")
    check_replaceable(target)
    tree = to_datatree(comparison)
    if target.suffix == ZARR:
        with new_beside(target) as (new, old), warnings.catch_warnings(action="ignore"):
            tree.to_zarr(new, consolidated=False)
            replace_store(new, old)
    else:  # in memory first: HDF5 on a full disk keeps a handle that crashes at exit
        with as_file_error(target), warnings.catch_warnings(action="ignore"):
            data = tree.to_netcdf(engine="h5netcdf")
        with data:
            replace_file(target, data)
    return target


def load[Record](path: str | os.PathLike[str], record: type[Record]) -> Record:
    """Read a comparison that `save` has written, see `Comparison.load`."""
    source = as_path(path)
    with suppress(OSError):
        recover(Path(os.path.realpath(source)))
    if not source.exists():
        raise FileError(f"{source}: there is no such file.")
    engine = "zarr" if source.is_dir() else "h5netcdf"
    options: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            xr.open_datatree(source, engine=engine, **options) as opened,
        ):
            return _from_datatree(opened.load(), record)
    except FileError as error:
        raise FileError(f"{source}: {error}") from None
    except Exception as error:  # whatever a damaged file makes the libraries below raise
        first = str(error).splitlines()[:1] or [type(error).__name__]
        raise FileError(
            f"{source}: can't be read as a comparison that pmlik has saved; it is another kind of "
            f"file, or damaged ({first[0]})."
        ) from error


def to_json(comparison: Comparison, *, draws: bool = True) -> str:
    """Return `Comparison.to_json`."""
    sketch, groups = _sketch(comparison)
    sampled = () if comparison.posterior is None else comparison.posterior.tree.children
    table = comparison.table
    rows = {
        str(label): {
            str(c): v if isinstance(v, str) else plain_number(float(v)) for c, v in row.items()
        }
        for label, row in table.iterrows()
    }
    document = {
        "format": _FORMAT,
        "verdict": comparison.verdict,
        "provisional": list(comparison.provisional_reasons),
        "findings": [str(finding) for finding in comparison.findings(all=True)],
        "table": rows,
        "record": sketch,
        "groups": {
            name: _as_plain(dataset)
            for name, dataset in groups.items()
            if draws or name.split("/")[0] not in (*sampled, "log_likelihood")
        },
        "left_out": _left_out(comparison),
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False)


def _as_plain(dataset: xr.Dataset) -> dict[str, Any]:
    """Return a dataset as ``to_dict`` has it, with dims and coords in order of their names."""
    parts = dataset.to_dict()
    ordered = {part: dict(sorted(parts[part].items())) for part in ("dims", "coords")}
    return {key: _plain(part) for key, part in (parts | ordered).items()}


def _plain(value: Any) -> Any:
    """Return a value in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, np.bool_ | np.integer | np.floating):
        value = value.item()
    if isinstance(value, float):
        return plain_number(value)
    return value if value is None or isinstance(value, bool | int) else str(value)


def _escape(name: Any) -> str:
    """Return a name that every format can have."""
    short = _FORBIDDEN.sub(
        lambda match: "".join(f"%{ord(c):02X}" for c in match[0]) or "%", str(name)
    )
    if len(short.encode()) <= _LONGEST:
        return short
    return f"{short[:40]}%{hashlib.sha256(short.encode()).hexdigest()[:16]}"


def _texts(variable: xr.Variable) -> list[str]:
    """Return labels as every format can have them."""
    return [re.sub(r"[\0\ud800-\udfff]", "%", str(x)) for x in variable.to_numpy().flat]


def _writable(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset that every format can hold."""
    written = {}
    for name, variable in dataset.variables.items():
        data = variable.to_numpy()
        if data.dtype.kind in "OUT":
            data = np.array(_texts(variable), dtype=object).reshape(data.shape)
        written[_escape(name)] = xr.Variable([_escape(dim) for dim in variable.dims], data)
    return xr.Dataset(written).set_coords([_escape(name) for name in dataset.coords])


def _layout(dataset: xr.Dataset) -> dict[str, Any]:
    """Return what a file does not keep: order, names, types, attributes, other labels than text."""
    return {
        "attrs": _attrs(dataset),
        "coords": [str(name) for name in dataset.coords],
        "variables": {
            str(name): {
                "dims": [str(dim) for dim in variable.dims],
                "dtype": "T" if variable.dtype.kind == "T" else variable.dtype.str,
                "attrs": _attrs(variable),
                "labels": _labels(variable),
            }
            for name, variable in dataset.variables.items()
        },
    }


def _attrs(thing: xr.Dataset | xr.Variable) -> dict[str, Any]:
    return {"mapping": {str(name): encode_loosely(x) for name, x in thing.attrs.items()}}


def _labels(variable: xr.Variable) -> list[Any] | None:
    """Return labels that are not the texts that stand for them in a file."""
    if variable.dtype.kind not in "OUT":
        return None
    labels = list(variable.to_numpy().flat)
    same = all(isinstance(a, str) and a == b for a, b in zip(labels, _texts(variable), strict=True))
    return None if same else [encode_loosely(label) for label in labels]


def _read(node: Any, kept: Mapping[str, Any]) -> xr.Dataset:
    """Return the dataset of which a file has a group, and `_layout` the rest."""
    variables = {}
    for name, rest in kept["variables"].items():
        data = node[_escape(name)].to_numpy()
        if rest["labels"] is not None:
            labels = (decode(label, {}, {}) for label in rest["labels"])
            data = np.fromiter(labels, dtype=object, count=data.size).reshape(data.shape)
        attrs = decode(rest["attrs"], {}, {})
        variables[name] = xr.Variable(rest["dims"], data.astype(rest["dtype"]), attrs)
    coords = {name: variables.pop(name) for name in kept["coords"]}
    return xr.Dataset(variables, coords, decode(kept["attrs"], {}, {}))


def _checksum(groups: Mapping[str, xr.Dataset], texts: Mapping[str, str]) -> str:
    """Return the checksum of all numbers, labels and attributes."""
    digest = hashlib.sha256(json.dumps(texts).encode())
    for name, dataset in groups.items():
        for key, variable in sorted(dataset.variables.items(), key=lambda item: str(item[0])):
            data = variable.to_numpy()
            digest.update(f"{name}/{key}{data.shape}".encode("utf-8", "replace"))
            text = data.dtype.kind in "OUT"
            digest.update("\0".join(_texts(variable)).encode() if text else data.tobytes())
    return digest.hexdigest()
