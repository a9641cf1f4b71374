"""Labels of scalars: variables, dims, coords, and their order in a flat vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import count, product
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from pmlik._summaries import Circle
from pmlik._typing import FloatArray
from pmlik.errors import ValuesError


@dataclass(frozen=True, eq=False)
class ParameterSpace:
    """Named arrays in a fixed order, and the flat vector that concatenates them.

    ``names``: the variables, in order. ``shapes``: the shape of each.
    ``dims``: the dims of each, one name per axis.
    ``coords`` (mapping of str to array): coordinate values by dim; a dim without is numbered from
        0.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dims: tuple[tuple[str, ...], ...]
    coords: Mapping[str, NDArray[Any]]

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Slice of each variable in the flat vector."""
        ends = np.cumsum([0, *(prod(shape) for shape in self.shapes)])
        return {
            name: slice(int(a), int(b))
            for name, a, b in zip(self.names, ends[:-1], ends[1:], strict=True)
        }

    @cached_property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(prod(shape) for shape in self.shapes)

    def split(self, flat: ArrayLike) -> dict[str, NDArray[Any]]:
        """Cut a flat vector of length ``size`` into the named arrays."""
        vector = np.asarray(flat)
        if vector.shape != (self.size,):
            raise ValueError(f"flat: got shape {vector.shape}, need ({self.size},)")
        return {
            name: vector[where].reshape(shape)
            for (name, where), shape in zip(self.slices.items(), self.shapes, strict=True)
        }

    def join(self, values: Mapping[str, ArrayLike]) -> FloatArray:
        """Concatenate named arrays to a flat vector; the inverse of `split`."""
        parts = [np.asarray(values[name], dtype=np.float64).ravel() for name in self.names]
        return np.concatenate(parts) if parts else np.zeros(0)

    def to_dataset(self, flat: ArrayLike) -> xr.Dataset:
        """Label a flat vector with the variables' dims and coords."""
        arrays = self.split(flat)
        return xr.Dataset({name: self.empty(name).copy(data=arrays[name]) for name in self.names})

    def empty(self, name: str) -> xr.DataArray:
        """Return a labelled array of a variable's shape, filled with NaN."""
        i = self.names.index(name)
        dims, shape = self.dims[i], self.shapes[i]
        coords = {dim: self._index(dim, n) for dim, n in zip(dims, shape, strict=True)}
        return xr.DataArray(np.full(shape, np.nan), dims=dims, coords=coords)

    def _index(self, dim: str, length: int) -> NDArray[Any]:
        index = self.coords.get(dim)
        return np.arange(length) if index is None else np.asarray(index)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """One label per scalar, ``name`` or ``name[coord, coord]`` as in ArviZ's summary."""
        return tuple(label for name in self.names for label in self.labels_of(name))

    def labels_of(self, name: str) -> tuple[str, ...]:
        """Return the labels of one variable's scalars, in the order of the flat vector."""
        i = self.names.index(name)
        if not self.shapes[i]:
            return (name,)
        axes = [self._index(dim, n) for dim, n in zip(self.dims[i], self.shapes[i], strict=True)]
        return tuple(f"{name}[{', '.join(at)}]" for at in product(*map(_words, axes)))

    def owners(self, indices: Iterable[int]) -> tuple[str, ...]:
        """Return the variables that the given indices of the flat vector belong to, each once."""
        at = {int(i) for i in indices}
        return tuple(
            name for name, where in self.slices.items() if at & set(range(where.start, where.stop))
        )


def _words(index: NDArray[Any]) -> list[str]:
    """Return the labels of a dim as text; repeated ones are told apart by a number."""
    words, all_words = list[str](), [_word(label) for label in index]
    if len(set(all_words)) == len(all_words):
        return all_words
    for word in all_words:
        numbered = (f"{word} ({i})" for i in count(2))
        words.append(word if word not in words else next(w for w in numbered if w not in words))
    return words


def _word(label: Any) -> str:
    """Return a coordinate as text; the same time has the same text in all types."""
    moment = isinstance(label, datetime) and label.tzinfo is None
    if not moment and not isinstance(label, np.datetime64):
        return str(label)
    day, _, time = str(np.datetime64(label, "ns")).partition("T")
    time = time.rstrip("0").rstrip(".") if "." in time else time
    return day if time in ("", "00:00:00") else f"{day} {time}"


def labelled(dataset: xr.Dataset) -> dict[str, float]:
    """Return the scalars of a dataset by label, ``name`` or ``name[coord, coord]``."""
    space = space_of(dataset)
    flat = space.join({str(name): array for name, array in dataset.data_vars.items()})
    return dict(zip(space.labels, map(float, flat), strict=True))


def bounds_of(interval: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Return (lower, upper) by label, of a dataset with the dim ``ci_bound``."""
    lower, upper = (labelled(interval.sel(ci_bound=b, drop=True)) for b in ("lower", "upper"))
    return {label: (lower[label], upper[label]) for label in lower}


def mark_circles(values: xr.Dataset, circles: Mapping[str, Circle]) -> xr.Dataset:
    """Return values with the turn of each circular variable as its attribute ``circle``."""
    known = {name: circle for name, circle in circles.items() if name in values}
    return values.assign({n: values[n].assign_attrs(circle=tuple(c)) for n, c in known.items()})


def circles_of(values: xr.Dataset) -> dict[str, Circle]:
    """Return the turn of each circular variable, by name, of values that `mark_circles` marked."""
    marked = {str(n): array.attrs.get("circle") for n, array in values.data_vars.items()}
    return {name: Circle(*ends) for name, ends in marked.items() if ends is not None}


def circles_by_label(values: xr.Dataset) -> dict[str, Circle]:
    """Return the turn of each circular scalar, by label, of values that `mark_circles` marked."""
    return {
        label: circle
        for name, circle in circles_of(values).items()
        for label in space_of(values[[name]]).labels
    }


def space_of(dataset: xr.Dataset) -> ParameterSpace:
    """Return the space of a dataset's variables."""
    arrays = list(dataset.data_vars.values())
    return ParameterSpace(
        names=tuple(str(name) for name in dataset.data_vars),
        shapes=tuple(array.shape for array in arrays),
        dims=tuple(tuple(str(dim) for dim in array.dims) for array in arrays),
        coords={str(dim): np.asarray(index) for dim, index in dataset.coords.items()},
    )


def stack_like(template: xr.DataArray, data: ArrayLike, **leading: Any) -> xr.DataArray:
    """Return data with leading dims, named with their labels, before the dims of a template."""
    coords: dict[Any, Any] = {**leading, **template.coords}
    return xr.DataArray(np.asarray(data), dims=(*leading, *template.dims), coords=coords)


def stack_datasets(template: xr.Dataset, parts: Mapping[str, xr.Dataset], dim: str) -> xr.Dataset:
    """Return the variables of a template from several datasets, along a new leading dim.

    A variable that a dataset lacks, or has in another shape, is NaN.
    """

    def numbers(part: xr.Dataset, name: Any, shape: tuple[int, ...]) -> FloatArray:
        known = name in part and part[name].shape == shape
        return np.asarray(part[name], dtype=float) if known else np.full(shape, np.nan)

    coords = {dim: list(parts)}
    arrays = {
        name: stack_like(array, [numbers(p, name, array.shape) for p in parts.values()], **coords)
        for name, array in template.data_vars.items()
    }
    return xr.Dataset(arrays, coords)


def flatten_draws(draws: xr.Dataset, dims: Sequence[str] = ("chain", "draw")) -> FloatArray:
    """Return the scalars of draws (..., m) after ``dims``, in the order of `labelled`."""
    arrays = [array.transpose(*dims, ...).to_numpy() for array in draws.data_vars.values()]
    return np.concatenate([a.reshape(*a.shape[: len(dims)], -1) for a in arrays], axis=-1)


def label_bounds(
    template: xr.Dataset, bounds: Mapping[str, tuple[float, float]], **attrs: Any
) -> xr.Dataset:
    """Return bounds by label as a Dataset like ``template`` with a last dim ``ci_bound``.

    Labels without bounds are NaN; ``attrs`` are attributes such as ``ci_kind`` and ``ci_prob``.
    """
    space = space_of(template)
    nothing = (np.nan, np.nan)
    sides = [
        space.to_dataset([bounds.get(label, nothing)[side] for label in space.labels])
        for side in (0, 1)
    ]
    names = xr.DataArray(["lower", "upper"], dims="ci_bound", name="ci_bound")
    both = xr.concat(sides, dim=names)
    return both.transpose(..., "ci_bound").assign_attrs(attrs)


def select_variables(
    dataset: xr.Dataset,
    var_names: Sequence[str] | str | None,
    coords: Mapping[str, Any] | None = None,
    *,
    where: str,
) -> xr.Dataset:
    """Return the part of a dataset that ``var_names`` and ``coords`` select, as in ArviZ.

    ``var_names``: names; ``"~name"`` for all but that one. Default: all.
    ``coords`` (mapping): labels, or slices of labels, to choose along dims.
    ``where``: completes "is not" in the message, as "in the estimate".
    Raises `ValuesError` for unknown names and labels.
    """
    if not isinstance(coords, Mapping | None):
        raise ValuesError(f"coords: got {coords!r}, need a mapping of dims to labels.")
    known = [str(name) for name in dataset.data_vars]
    part = dataset[known if var_names is None else _select_names(known, var_names, where)]
    chosen = {
        dim: value if isinstance(value, slice) else np.atleast_1d(value)
        for dim, value in (coords or {}).items()
    }
    try:
        return part.sel(chosen)
    except (KeyError, ValueError) as error:
        raise ValuesError(f"coords: {error}. The variables have {dict(part.sizes)}.") from None


def _select_names(known: Sequence[str], var_names: Sequence[str] | str, where: str) -> list[str]:
    if not isinstance(var_names, Iterable):
        raise ValuesError(f"var_names: got {var_names!r}, need a list of names.")
    names = [var_names] if isinstance(var_names, str) else list(var_names)
    excluded = [name[1:] for name in names if name not in known and str(name).startswith("~")]
    unknown = [name for name in excluded or names if name not in known]
    if unknown:
        raise ValuesError(
            f"var_names: {', '.join(map(repr, unknown))} not {where}, which has {', '.join(known)}."
        )
    return [name for name in known if name not in excluded] if excluded else names


def printable(text: str) -> str:
    """Return text on one line, with escapes in place of control characters."""
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(character: str) -> str:
    return " " if character in "\n\r\t" else f"\\u{ord(character):04x}"
