"""Functions of the labelled values that a user names, beside the model's own deterministics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from numbers import Number
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pmlik._typing import BoolArray, FloatArray, Product
from pmlik.errors import PmlikError, ValuesError
from pmlik.labels import ParameterSpace, space_of, stack_like
from pmlik.logp.transforms import ConstrainedValues

type Function = Callable[[xr.Dataset], Any]

SAMPLE = ("chain", "draw")

# A function that treats draws one by one gives what it gives for all together, at this many draws.
_PROBES = 4
_SAME = 1e-9

# Steps of differences in units of a coordinate, and the most points laid out at once.
_STEP = 3e-3
_MOST_POINTS = 2000

# At a kink the second difference is not small against the first, and grows like the step.
_BENT, _GROWS, _ROUNDING = 0.1, 3.0, 1e-12

# Steps over which only a step function, or a constant, never changes between its jumps.
_WIDE = np.repeat([0.1, 1.0, 10.0, 100.0, 1000.0], 4)


@dataclass(frozen=True, eq=False)
class Quantities:
    """Named functions of labelled values, with the shapes and labels of what they return.

    ``functions``: from a Dataset of the model's variables, natural units, to a number or an array.
    ``template``: labelled arrays like the results, one per function.
    ``used``: the variables that each function uses.
    """

    functions: Mapping[str, Function]
    template: xr.Dataset
    used: Mapping[str, list[str]]

    @classmethod
    def of(
        cls, functions: Mapping[str, Function], values: xr.Dataset, others: xr.Dataset
    ) -> Quantities:
        """Return the functions with the shapes that they have at ``values``.

        ``others``: variables beside which the results are laid; a dim of a result whose labels
            differ from theirs gets a name of its own.
        Raises `ValuesError` for a function that fails, or does not return numbers.
        """
        arrays: dict[str, xr.DataArray] = {}
        for name, function in functions.items():
            found = _evaluate(name, function, values)
            known = others.merge(xr.Dataset(arrays))
            arrays[name] = found.rename(_own_dims(name, found, known))
        used = {name: _used(name, function, values) for name, function in functions.items()}
        return cls(dict(functions), xr.Dataset(arrays), used)

    def select(self, names: Sequence[str]) -> Quantities:
        """Return some of them."""
        functions = {name: self.functions[name] for name in names}
        return Quantities(functions, self.template[list(names)], self.used)

    @cached_property
    def space(self) -> ParameterSpace:
        """Names, shapes and labels of the results."""
        return space_of(self.template)

    def __call__(self, values: xr.Dataset) -> xr.Dataset:
        """Return the results at one point, labelled."""
        flat = [self._one(name, values).ravel() for name in self.functions]
        return self.space.to_dataset(np.concatenate(flat))

    def _one(self, name: str, values: xr.Dataset) -> FloatArray:
        found = _evaluate(name, self.functions[name], values).to_numpy()
        shape = self.template[name].shape
        if found.shape != shape:
            raise ValuesError(f"{name}: its shape changes, from {shape} to {found.shape}.")
        return found

    def many(self, values: xr.Dataset) -> xr.Dataset:
        """Return the results for each draw: dims ``chain`` and ``draw`` first."""
        labels = {dim: values[dim].to_numpy() for dim in SAMPLE}
        arrays = {
            name: self.array(name, values, at_once=self.can_be_at_once(name, values))
            for name in self.functions
        }
        return xr.Dataset(
            {n: stack_like(self.template[n], array, **labels) for n, array in arrays.items()}
        )

    def can_be_at_once(self, name: str, values: xr.Dataset) -> bool:
        """Return True if one call with all draws gives what calls with single draws give."""
        together = self._together(name, values)
        if together is None:
            return False
        flat = together.reshape(-1, *self.template[name].shape)
        probes = np.linspace(0, len(flat) - 1, _PROBES).astype(int)
        return all(_same(flat[i], self._single(name, values, int(i))) for i in probes)

    def array(self, name: str, values: xr.Dataset, *, at_once: bool) -> FloatArray:
        """Return the results of one function (chain, draw, ...), by one call or one per draw."""
        together = self._together(name, values) if at_once else None
        if together is not None:
            return together
        sizes = values.sizes["chain"], values.sizes["draw"]
        rows = [self._single(name, values, i) for i in range(sizes[0] * sizes[1])]
        return np.array(rows).reshape(*sizes, *self.template[name].shape)

    def _single(self, name: str, values: xr.Dataset, i: int) -> FloatArray:
        """Return the result for draw ``i``, counted chain by chain."""
        chain, draw = divmod(i, values.sizes["draw"])
        kept = values[[n for n in self.used[name] if n in values]]
        at = {"chain": chain, "draw": draw}
        return self._one(name, kept.isel(at, drop=True, missing_dims="ignore"))

    def _together(self, name: str, values: xr.Dataset) -> FloatArray | None:
        """Return the results of one call with all draws; None if they are not one per draw."""
        try:
            with np.errstate(all="ignore"):
                found = self.functions[name](values)
        except Exception:  # noqa: BLE001 - written for single values
            return None
        if not isinstance(found, xr.DataArray) or not set(SAMPLE) <= set(found.dims):
            return None
        array = np.asarray(found.transpose(*SAMPLE, ...).to_numpy(), dtype=float)
        shape = (values.sizes["chain"], values.sizes["draw"], *self.template[name].shape)
        return array if array.shape == shape else None


def _used(name: str, function: Function, values: xr.Dataset) -> list[str]:
    """Return the variables without which a function fails."""
    used = []
    for variable in map(str, values.data_vars):
        try:
            _evaluate(name, function, values.drop_vars(variable))
        except PmlikError:
            used.append(variable)
    return used


def _same(one: FloatArray, other: FloatArray) -> bool:
    return bool(np.allclose(one, other, rtol=_SAME, atol=0, equal_nan=True))


def _evaluate(name: str, function: Function, values: xr.Dataset) -> xr.DataArray:
    """Return a function's result as an array of floats with dims and index coords alone."""
    known = [str(n) for n in values.data_vars]
    try:
        with np.errstate(all="ignore"):
            found = function(values)
    except PmlikError:
        raise
    except Exception as error:
        unknown = error.name if isinstance(error, AttributeError) else None
        if isinstance(error, KeyError) and error.args:
            named = re.match(r"No variable named '(.*?)'", str(error.args[0]))
            unknown = error.args[0] if named is None else named[1]
        if isinstance(unknown, str) and unknown not in known and not hasattr(values, unknown):
            raise UnknownNameError(name, unknown, known) from error
        kind = type(error).__name__
        raise ValuesError(f"{name}: the function raised {kind}: {error}") from error
    if isinstance(found, Number | np.ndarray | np.generic) and not isinstance(found, complex):
        array = np.asarray(found)
        found = xr.DataArray(array, dims=[f"{name}_dim_{i}" for i in range(array.ndim)])
    if not isinstance(found, xr.DataArray) or found.dtype.kind not in "fiub":
        what = found.dtype if isinstance(found, xr.DataArray) else type(found).__name__
        raise ValuesError(f"{name}: the function returned {what}, need a number or a DataArray.")
    return found.reset_coords(drop=True).astype(float)


class UnknownNameError(ValuesError):
    """A function asks for a variable that is not there."""

    def __init__(self, name: str, unknown: str, known: list[str]) -> None:
        near = get_close_matches(unknown, known, 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"{name}: {unknown!r} is not among {', '.join(known)}.{hint}")
        self.unknown = unknown


def _own_dims(name: str, found: xr.DataArray, known: xr.Dataset) -> dict[Any, str]:
    """Return new names of the dims whose labels are not those known under their names."""
    renamed: dict[Any, str] = {}
    for dim, size in found.sizes.items():
        if dim not in known.sizes:
            continue
        here, there = (a[dim].to_numpy() for a in (found, known))
        if size != known.sizes[dim] or not np.array_equal(here, there):
            renamed[dim] = f"{name}_{dim}"
    return renamed


class ExtendedValues:
    """The constrained values of ``x``, then user-named quantities; as `ConstrainedValues`.

    Derivatives of the quantities are differences of fourth order in the unconstrained coordinates,
    so that a scale stays positive and a simplex a simplex.

    ``spaces``: of the values. ``widths`` (n,): the length of a standard error in each coordinate.
    """

    def __init__(
        self,
        values: ConstrainedValues | ExtendedValues,
        spaces: tuple[ParameterSpace, ParameterSpace],
        quantities: Quantities,
        widths: FloatArray,
    ) -> None:
        self._values, self._spaces = values, spaces
        self._quantities, self._widths = quantities, widths
        self._last: tuple[bytes, dict[str, FloatArray]] = b"", {}
        self._at_once: dict[str, bool] = {}
        self.period: FloatArray | None = values.period

    @property
    def graphs(self) -> tuple[Any, list[Any]]:
        """``x`` and one graph per variable, without the quantities, which have none."""
        return self._values.graphs

    def rows(self, points: FloatArray) -> FloatArray:
        """Return all values (b, m) of points (b, n)."""
        rows = self._values.rows(points)
        return np.concatenate([rows, self._of_rows(rows)], axis=1)

    def complete(self, rows: FloatArray) -> FloatArray:
        """Return the values of graphs (b, m) with the quantities."""
        rows = self._values.complete(rows)
        return np.concatenate([rows, self._of_rows(rows)], axis=1)

    def _of_rows(self, rows: FloatArray, names: Iterable[str] | None = None) -> FloatArray:
        """Return the quantities (b, q) of all other values (b, m)."""
        parts = [np.zeros((len(rows), 0))]
        for name in self._quantities.functions if names is None else names:
            values = self._label(rows, self._quantities.used[name])
            if name not in self._at_once and len(rows) > 1:
                self._at_once[name] = self._quantities.can_be_at_once(name, values)
            at_once = self._at_once.get(name, False)
            found = self._quantities.array(name, values, at_once=at_once)
            parts.append(found.reshape(len(rows), -1))
        return np.concatenate(parts, axis=1)

    def _label(self, rows: FloatArray, names: Sequence[str]) -> xr.Dataset:
        """Return variables among flat vectors (b, m) of all values as one chain of draws."""
        data: dict[str, Any] = {}
        for offset, space in zip((0, self._spaces[0].size), self._spaces, strict=True):
            for name in (n for n in space.names if n in names):
                where, like = space.slices[name], self._templates[name]
                flat = rows[:, offset + where.start : offset + where.stop]
                data[name] = ((*SAMPLE, *like.dims), flat.reshape(1, len(rows), *like.shape))
        coords = {d: c for n in data for d, c in self._templates[n].coords.items()}
        labels = {str(dim): index.to_numpy() for dim, index in coords.items()}
        return xr.Dataset(data, coords={**labels, "chain": [0], "draw": np.arange(len(rows))})

    @cached_property
    def _templates(self) -> dict[str, xr.DataArray]:
        return {name: space.empty(name) for space in self._spaces for name in space.names}

    def arrays(self, x: FloatArray) -> list[FloatArray]:
        """Return one array per variable, in its shape."""
        k = self._quantities.space.size
        added = self._quantities.space.split(self(x)[-k:])
        return [*self._values.arrays(x), *added.values()]

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return all values (m,)."""
        return np.asarray(self.rows(x[None])[0])

    def are_parameters(self, x: FloatArray) -> BoolArray:
        """Return a mask (m,) of the values that are parameters: the first ones."""
        nothing = np.zeros(self._quantities.space.size, bool)
        return np.concatenate([self._values.are_parameters(x), nothing])

    def smooth(self, x: FloatArray) -> BoolArray:
        """Return a mask (m,) of the values that have a derivative."""
        parts = [self._smooth(name, x) for name in self._quantities.functions]
        return np.concatenate([self._values.smooth(x), *parts])

    def _smooth(self, name: str, x: FloatArray) -> BoolArray:
        """Return the mask of a quantity's scalars that neither bend at ``x`` nor go in steps."""
        random = np.random.default_rng(0).normal(size=(len(_WIDE), len(x)))
        points = np.concatenate([x[None], x + _WIDE[:, None] * self._widths * random])
        here, *far = self._of_rows(self._values.rows(points), [name])
        _, (ahead, behind, further, back) = self._beside(name, x)
        first, second = np.abs(ahead - behind), np.abs(ahead - 2 * here + behind)
        wider = np.abs(further - 2 * here + back)
        noise = _ROUNDING * (1 + np.abs(here))
        bends = (second > _BENT * first) & (wider < _GROWS * second) & (second > noise)
        level = (first == 0).all(axis=0) & (second == 0).all(axis=0)
        jumps = level & (np.abs(np.array(far) - here) > noise).any(axis=0)
        return np.asarray(~bends.any(axis=0) & ~jumps & np.isfinite(here))

    def _moving(self, name: str, x: FloatArray) -> NDArray[np.intp]:
        """Return the coordinates that move the variables that a quantity uses."""
        random = np.random.default_rng(0)
        places = [random.uniform(1, 2, size=space.size) for space in self._spaces]
        for space, weights in zip(self._spaces, places, strict=True):
            for other, where in space.slices.items():
                weights[where] *= other in self._quantities.used[name]
        beside = x + 0.1 * self._widths * random.normal(size=len(x))
        seen = [self._values.vjp(at, np.concatenate(places)) != 0 for at in (x, beside)]
        return np.flatnonzero(seen[0] | seen[1])

    def _beside(self, name: str, x: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """Return a quantity (4, j, q) one step ahead, behind, two ahead, behind; coordinates j."""
        moving = self._moving(name, x)
        steps = np.diag(_STEP * self._widths)[moving]
        points = np.concatenate([x + k * steps for k in (1, -1, 2, -2)])
        size = self._quantities.template[name].size
        parts = [
            self._of_rows(self._values.rows(points[start : start + _MOST_POINTS]), [name])
            for start in range(0, len(points), _MOST_POINTS)
        ]
        found = np.concatenate([np.zeros((0, size)), *parts])
        return moving, found.reshape(4, len(moving), size)

    def _jacobian(self, name: str, x: FloatArray) -> FloatArray:
        """Return the derivatives (q, n) of one quantity."""
        key = x.tobytes()
        if self._last[0] != key:
            self._last = key, {}
        known = self._last[1]
        if name not in known:
            moving, (ahead, behind, further, back) = self._beside(name, x)
            widths = 12 * _STEP * self._widths[moving, None]
            known[name] = np.zeros((ahead.shape[1], len(x)))
            known[name][:, moving] = ((8 * (ahead - behind) - (further - back)) / widths).T
        return known[name]

    def vjp(self, x: FloatArray, u: FloatArray) -> FloatArray:
        """Return ``J' u`` (n,) for the Jacobian ``J`` (m, n) at ``x``."""
        k = len(u) - self._quantities.space.size
        image = self._values.vjp(x, u[:k])
        for name, where in self._quantities.space.slices.items():
            if u[k:][where].any():
                image = image + u[k:][where] @ self._jacobian(name, x)
        return image

    def jvp(self, x: FloatArray) -> Product:
        """Return the map ``v -> J v`` (m,) at ``x``."""
        tangent = self._values.jvp(x)
        rows = np.concatenate([self._jacobian(name, x) for name in self._quantities.functions])
        return lambda v: np.concatenate([tangent(v), rows @ v])
