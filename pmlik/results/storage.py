"""Write comparisons to netCDF, Zarr and JSON, and read them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import xarray as xr

from pmlik.errors import FileError
from pmlik.results.codec import CLASSES, decode, encode_record, plain_number
from pmlik.results.files import (
    ZARR,
    as_file_error,
    check_replaceable,
    new_beside,
    recover,
    replace_file,
    replace_store,
)

if TYPE_CHECKING:
    from pmlik.results.comparison import Comparison


_FORMAT = 2
_NETCDF = {".nc", ".netcdf", ".nc4", ".h5", ".hdf5"}

# Parts of a name that one of the file formats can't have.
_FORBIDDEN = re.compile(r"[/\\%]|^\.")


def to_datatree(comparison: Comparison) -> xr.DataTree:
    """Return `Comparison.to_datatree`."""
    groups: dict[str, xr.Dataset] = {}
    sketch = encode_record(comparison, groups)
    layout = {name: _layout(dataset) for name, dataset in groups.items()}
    written = {name: _writable(dataset) for name, dataset in groups.items()}
    views = {"profile": _profiles(comparison)} if "profile" not in written else {}
    tree = xr.DataTree.from_dict({**written, **{k: _writable(v) for k, v in views.items() if v}})
    tree.attrs = {
        "pmlik_format": _FORMAT,
        "pmlik_left_out": json.dumps(_left_out(comparison)),
        "pmlik": json.dumps(sketch, allow_nan=False),
        "pmlik_layout": json.dumps(layout),
        "pmlik_checksum": _checksum(written),
    }
    return tree


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


def from_datatree[Record](tree: xr.DataTree, record: type[Record]) -> Record:
    """Return the record of a tree that `to_datatree` made.

    Raises
    ------
    FileError
        For another tree, a newer one, or a damaged one.
    """
    if "pmlik" not in tree.attrs:
        raise FileError("It is not a comparison that pmlik has saved.")
    version = int(tree.attrs.get("pmlik_format", 0))
    if version > _FORMAT:
        raise FileError("It was saved by a newer pmlik. Update this one.")
    if version < _FORMAT:
        raise FileError("It was saved by an older pmlik. Compare the model again and save that.")
    layout = json.loads(tree.attrs["pmlik_layout"])
    stored = {name: _reordered(tree[name], kept) for name, kept in layout.items()}
    if _checksum(stored) != tree.attrs["pmlik_checksum"]:
        raise FileError("It is damaged: its numbers are not those that were saved.")
    groups = {name: _readable(stored[name], kept) for name, kept in layout.items()}
    known = {**CLASSES, record.__name__: record}
    comparison = decode(json.loads(tree.attrs["pmlik"]), groups, known)
    if not isinstance(comparison, record):
        raise FileError("It does not hold a comparison.")
    return comparison


def save(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write a comparison to a file, whole or not at all, see `Comparison.save`."""
    target = Path(path)
    if target.suffix not in _NETCDF | {ZARR}:
        raise FileError(f"{target}: need a name that ends in .nc (netCDF) or .zarr (Zarr).")
    check_replaceable(target)
    tree = to_datatree(comparison)
    if target.suffix == ZARR:
        with new_beside(target) as (new, old), _quiet():
            tree.to_zarr(new, consolidated=False)
            replace_store(new, old)
    else:  # in memory first: HDF5 on a full disk keeps a handle that crashes at exit
        with _quiet(), as_file_error(target):
            data = tree.to_netcdf(engine="h5netcdf")
        with data:
            replace_file(target, data)
    return target


def load[Record](path: str | os.PathLike[str], record: type[Record]) -> Record:
    """Read a comparison that `save` has written, see `Comparison.load`.

    Parameters
    ----------
    path : path
    record : type
        The class of the comparison.
    """
    source = Path(path)
    with suppress(OSError):
        recover(Path(os.path.realpath(source)))
    if not source.exists():
        raise FileError(f"{source}: there is no such file.")
    engine = "zarr" if source.is_dir() else "h5netcdf"
    options: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}
    try:
        with _quiet(), xr.open_datatree(source, engine=engine, **options) as opened:
            return from_datatree(opened.load(), record)
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
    groups: dict[str, xr.Dataset] = {}
    sketch = encode_record(comparison, groups)
    groups |= {"profile": profiles} if (profiles := _profiles(comparison)) else {}
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
        "findings": [str(finding) for finding in comparison.findings(all=True)],
        "table": rows,
        "record": _plain(sketch),
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
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, bool | np.bool_ | int | np.integer) or value is None:
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float | np.floating):
        return plain_number(float(value))
    return str(value)


def _layout(dataset: xr.Dataset) -> dict[str, Any]:
    """Return what a file does not keep: the order, and objects that are no strings."""
    mixed = {
        str(name): _marks(variable.to_numpy().ravel().tolist())
        for name, variable in dataset.variables.items()
        if variable.dtype == object and not all(isinstance(x, str) for x in variable.values.flat)
    }
    return {
        "variables": [str(name) for name in dataset.data_vars],
        "coords": [str(name) for name in dataset.coords],
        "mixed": mixed,
    }


def _marks(labels: list[Any]) -> list[Any] | None:
    """Return labels as JSON; None if all are None."""
    return None if all(label is None for label in labels) else [_mark(label) for label in labels]


def _mark(label: Any) -> Any:
    plain = label is None or isinstance(label, bool | int | float | str)
    return label if plain else {"text": str(label)}


def _escape(name: Any) -> str:
    return _FORBIDDEN.sub(lambda match: f"%{ord(match[0]):02X}", str(name))


def _writable(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset that every format can hold."""
    names = {name: _escape(name) for name in dataset.variables if _escape(name) != str(name)}
    names |= {dim: _escape(dim) for dim in dataset.dims if _escape(dim) != str(dim)}
    dataset = dataset.rename(names).drop_attrs().drop_encoding()
    for name, variable in dataset.variables.items():
        if variable.dtype == object or variable.dtype.kind in "UT":
            texts = np.array([str(x) for x in variable.to_numpy().flat], dtype=object)
            dataset[name] = (variable.dims, texts.reshape(variable.shape))
    return dataset


def _reordered(node: Any, kept: Mapping[str, Any]) -> xr.Dataset:
    dataset = node.to_dataset(inherit=True)
    names = [_escape(name) for name in kept["variables"]]
    coords = {_escape(name): dataset.coords[_escape(name)] for name in kept["coords"]}
    return xr.Dataset({name: dataset[name].variable for name in names}, coords=coords)


def _readable(dataset: xr.Dataset, kept: Mapping[str, Any]) -> xr.Dataset:
    names = {_escape(name): name for name in (*kept["variables"], *kept["coords"])}
    dims = map(str, dataset.dims)
    names |= {dim: unquote(dim) for dim in dims}
    dataset = dataset.rename({old: new for old, new in names.items() if old != new})
    for name, variable in dataset.variables.items():
        if variable.dtype == object:
            texts = variable.to_numpy().astype(str)
            dataset[name] = (variable.dims, texts)
    for name, labels in kept["mixed"].items():
        variable = dataset.variables[name]
        column = np.full(variable.size, None, dtype=object)
        if labels is not None:
            column[:] = [label["text"] if isinstance(label, dict) else label for label in labels]
        dataset[name] = (variable.dims, column.reshape(variable.shape))
    return dataset


def _checksum(groups: Mapping[str, xr.Dataset]) -> str:
    """Return the checksum of all numbers and labels, however a format stores them."""
    digest = hashlib.sha256()
    for name in sorted(groups):
        for key in sorted(map(str, groups[name].variables)):
            array = groups[name].variables[key].to_numpy()
            digest.update(f"{name}/{key}{array.shape}".encode())
            kind = {"f": "<f8", "b": "<i8", "i": "<i8", "u": "<u8"}.get(array.dtype.kind)
            if array.dtype.kind in "mM":
                array, kind = array.astype(f"{array.dtype.str[:3]}[ns]").astype("i8"), "<i8"
            data = array.astype(kind) if kind else "\0".join(map(str, array.flat)).encode()
            digest.update(np.ascontiguousarray(data).tobytes() if kind else data)
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Zarr's warnings about its own format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
