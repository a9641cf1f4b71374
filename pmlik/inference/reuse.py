"""Prepared models that are used again while their pm.Model is unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pymc as pm
import pytensor
from pytensor.compile import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import graph_inputs
from scipy.sparse import issparse

if TYPE_CHECKING:
    from pmlik.inference.prepare import Prepared

# Of each model, the last so many combinations of options.
_KEPT = 2


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The state of a model, and the options that it is compiled with.

    ``objects``: variables, transforms and the like, which are the same if they are identical; held
        here, so that no other takes the identity of one.
    ``content``: everything that is compared by value, the data as a digest.
    """

    objects: tuple[Any, ...]
    content: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        """Return True for the same objects and the same content."""
        if not isinstance(other, Fingerprint) or len(self.objects) != len(other.objects):
            return False
        same = all(a is b for a, b in zip(self.objects, other.objects, strict=True))
        return same and self.content == other.content


def fingerprint(model: pm.Model, options: str) -> Fingerprint | None:
    """Return the state of a model; None if it holds data that can't be compared.

    ``options``: those of the compilation.
    """
    maps = (model.rvs_to_values, model.rvs_to_transforms, model.rvs_to_initial_values)
    lists = (model.free_RVs, model.observed_RVs, model.deterministics, model.potentials)
    objects = [*model.named_vars.values(), *(part for m in maps for part in (*m, *m.values()))]
    objects += [var for each in lists for var in each] + list(model.dim_lengths.values())
    digest = _digest(objects)
    if digest is None:
        return None
    content = (
        digest,
        options,
        model.name,
        model.check_bounds,
        pytensor.config.floatX,
        tuple(map(len, (*maps, *lists))),
        tuple(model.named_vars),
        tuple((name, tuple(dims)) for name, dims in model.named_vars_to_dims.items()),
        tuple((dim, repr(labels)) for dim, labels in model.coords.items()),
    )
    return Fingerprint(tuple(objects), content)


def _digest(objects: Iterable[Any]) -> bytes | None:
    """Return a digest of all arrays that variables depend on."""
    digest = blake2b(digest_size=16)
    graphs = [part for part in objects if isinstance(part, Variable)]
    arrays: list[Any] = [part for part in objects if isinstance(part, np.ndarray)]
    for var in graph_inputs(graphs):
        if isinstance(var, Constant):
            arrays.append(var.data)
        elif isinstance(var, SharedVariable):
            arrays.append(var.get_value(borrow=True))
    for array in arrays:
        if isinstance(array, np.random.Generator):
            continue  # its state changes with each draw, and no density depends on it
        if issparse(array):
            parts = [array.tocsr().data, array.tocsr().indices, array.tocsr().indptr]
        elif isinstance(array, np.ndarray | np.generic) and array.dtype.kind in "biufc":
            parts = [np.asarray(array)]
        elif array is None or isinstance(array, str | slice | int | float):
            parts = [np.frombuffer(repr(array).encode(), np.uint8)]
        else:
            return None
        for part in parts:
            digest.update(f"{part.dtype}{part.shape}{np.ma.isMaskedArray(array)}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
            if np.ma.isMaskedArray(array):
                digest.update(np.ma.getmaskarray(array).tobytes())
    return digest.digest()


class Kept:
    """Prepared models by the model they were made of, held as long as that is."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: WeakKeyDictionary[pm.Model, list[tuple[Fingerprint, Prepared]]]
        self._found = WeakKeyDictionary()

    def find(self, model: pm.Model, state: Fingerprint | None) -> Prepared | None:
        """Return what was made of the model in this state, or None."""
        with self._lock:
            known = self._found.get(model, [])
            return next((prepared for before, prepared in known if before == state), None)

    def keep(self, model: pm.Model, state: Fingerprint | None, prepared: Prepared) -> None:
        """Keep what was made of the model; what was made of an earlier state is let go."""
        if state is None:
            return
        with self._lock:
            known = self._found.get(model, [])
            self._found[model] = [(state, prepared), *known][:_KEPT]
