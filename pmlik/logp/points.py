"""Parameter values given by a user: names, shapes and labels to flat points and back."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pmlik._typing import FloatArray
from pmlik.errors import ValuesError
from pmlik.labels import ParameterSpace


@dataclass(frozen=True, eq=False)
class Points:
    """Points in a space, and the labels of the batch that they form.

    ``flat`` (b, n): one point per row.
    ``template``: dims, coords and shape of the batch, ``b`` elements in all.
    """

    flat: FloatArray
    template: xr.DataArray

    def label(self, array: FloatArray, space: ParameterSpace, name: str) -> xr.DataArray:
        """Label results (b, ...) of a variable: dims of the batch first, then its own."""
        own = space.empty(name)
        self.refuse(own.dims, name)
        return xr.DataArray(
            np.reshape(array, (*self.template.shape, *own.shape)),
            dims=(*self.template.dims, *own.dims),
            coords={**self.template.coords, **own.coords},
            name=name,
        )

    def refuse(self, dims: Iterable[Hashable], name: str) -> None:
        """Raise if a dim of the batch is also one of the given dims."""
        clash = [dim for dim in dims if dim in self.template.dims]
        if clash:
            raise ValuesError(
                f"{name}: the result has the dim {clash[0]!r} of its own, and so have the values "
                "given. Rename it in the values."
            )

    def label_scalars(self, array: FloatArray, name: str) -> xr.DataArray:
        """Label results (b,)."""
        return self.template.copy(data=np.reshape(array, self.template.shape)).rename(name)


def check_names(
    given: Iterable[str],
    space: ParameterSpace,
    ignored: Iterable[str] = (),
    *,
    complete: bool = True,
) -> None:
    """Raise unless exactly the space's variables are given.

    ``ignored``: other names that may be given. ``complete``: raise also if one is missing.
    Raises `ValuesError`.
    """
    given = list(map(str, given))
    known = ", ".join(space.names)
    unknown = [name for name in given if name not in space.names and name not in set(ignored)]
    if unknown:
        raise ValuesError(
            f"{', '.join(unknown)}: not a parameter of the likelihood, which has {known}."
        )
    missing = [name for name in space.names if name not in given]
    if complete and missing:
        raise ValuesError(f"{', '.join(missing)}: no value given. The likelihood needs {known}.")


def read_points(values: Mapping[Any, Any], space: ParameterSpace) -> Points:
    """Return flat points of values given by name, broadcast against each other.

    Plain arrays end with the parameter's own shape and broadcast over the axes before it, by
    NumPy's rules. Labelled arrays broadcast by name over the dims that the parameter lacks.

    ``values`` (mapping of str to array-like): exactly the space's variables.
    Raises `ValuesError`: naming the variable, what was given, and what is needed.
    """
    arrays = {name: _read(name, values[name], space) for name in space.names}
    batch_shape = _batch_shape(arrays, space)
    labelled = [_label_axes(name, arrays[name], batch_shape, space) for name in space.names]
    own = {dim for dims in space.dims for dim in dims}
    for name, array, dims in zip(space.names, labelled, space.dims, strict=True):
        _refuse_dims(name, array, own.difference(dims))
    try:
        together = xr.broadcast(*xr.align(*labelled, join="exact", exclude=own), exclude=own)
    except ValueError as error:
        raise ValuesError(f"{', '.join(space.names)}: can't be broadcast: {error}") from error
    batch = [dim for dim in together[0].dims if dim not in own]
    columns = [
        array.transpose(*batch, *dims).to_numpy().reshape(-1, int(np.prod(shape, dtype=int)))
        for array, dims, shape in zip(together, space.dims, space.shapes, strict=True)
    ]
    template = together[0].isel(dict.fromkeys(space.dims[0], 0), drop=True).transpose(*batch)
    template = template.drop_vars([c for c, at in template.coords.items() if not at.dims])
    return Points(np.concatenate(columns, axis=1), template.rename(None))


def _refuse_dims(name: str, array: xr.DataArray, foreign: Collection[str]) -> None:
    clash = [dim for dim in array.dims if dim in foreign]
    if clash:
        raise ValuesError(
            f"{name}: got the dim {clash[0]!r}, which is a dim of another parameter. Rename it."
        )


def _read(name: str, value: Any, space: ParameterSpace) -> xr.DataArray | FloatArray:
    own = space.empty(name)
    if (
        isinstance(value, pd.Series)
        and own.ndim == 1
        and not isinstance(value.index, pd.RangeIndex)
    ):
        value = xr.DataArray(value.to_numpy(), dims=own.dims, coords={own.dims[0]: value.index})
    if isinstance(value, xr.DataArray):
        return _align(name, value, own)
    array = read_numbers(name, value)
    if array.shape[max(0, array.ndim - own.ndim) :] != own.shape:
        raise ValuesError(
            f"{name}: got shape {array.shape}, need {own.shape}, or that with axes before it for "
            "several values."
        )
    return array


def read_numbers(name: str, value: Any) -> FloatArray:
    """Return an array of numbers. Raises `ValuesError` for all else, such as text and None."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # a ragged list
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" and array.size:
        shown = repr(value)
        shown = shown if len(shown) < 60 else f"{shown[:57]}..."
        raise ValuesError(f"{name}: got {shown}, need numbers.")
    return array.astype(float)


def _batch_shape(
    arrays: Mapping[str, xr.DataArray | FloatArray], space: ParameterSpace
) -> tuple[int, ...]:
    """Return the common shape of plain arrays' axes before the parameters' own."""
    shapes = {
        name: array.shape[: array.ndim - space.empty(name).ndim]
        for name, array in arrays.items()
        if not isinstance(array, xr.DataArray)
    }
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
        raise ValuesError(f"Several values can't be broadcast: got the shapes {got}.") from None


def _align(name: str, value: xr.DataArray, own: xr.DataArray) -> xr.DataArray:
    """Return a labelled value with the parameter's dims in the model's order of labels."""
    lacking = [dim for dim in own.dims if dim not in value.dims]
    if lacking:
        raise ValuesError(f"{name}: got dims {value.dims}, need {own.dims} among them.")
    for dim in own.dims:
        n = own.sizes[dim]
        if value.sizes[dim] != n:
            raise ValuesError(f"{name}: got {value.sizes[dim]} elements along {dim!r}, need {n}.")
        if dim in value.coords and not np.array_equal(value[dim], own[dim]):
            wanted = own[dim].to_numpy()
            got = value[dim].to_numpy()
            if set(got.tolist()) != set(wanted.tolist()):
                raise ValuesError(
                    f"{name}: got the labels {got.tolist()[:6]} along {dim!r}, need "
                    f"{wanted.tolist()[:6]}."
                )
            value = value.sel({dim: wanted})
    value = value.copy(data=read_numbers(name, value.to_numpy()))
    other = [
        c for c, at in value.coords.items() if c not in own.dims and set(at.dims) & {*own.dims}
    ]
    return value.drop_vars(other).assign_coords({dim: own[dim] for dim in own.dims})


def _label_axes(
    name: str, value: xr.DataArray | FloatArray, batch_shape: tuple[int, ...], space: ParameterSpace
) -> xr.DataArray:
    """Return a labelled value; axes of the batch have the same names in all of them."""
    if isinstance(value, xr.DataArray):
        return value
    own = space.empty(name)
    n = len(batch_shape)
    stem = "point"
    while any(str(dim).startswith(stem) for dims in space.dims for dim in dims):
        stem = f"_{stem}"
    names = [stem] if n == 1 else [f"{stem}_{i}" for i in range(n)]
    if value.ndim == own.ndim:  # one value for the whole batch
        return own.copy(data=value)
    full = np.broadcast_to(value, (*batch_shape, *own.shape))
    return xr.DataArray(full, dims=(*names, *own.dims), coords=own.coords)
