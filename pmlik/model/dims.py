"""Label arrays with the dims and coords of a model."""

from collections.abc import Sequence

import numpy as np

from pmlik._typing import FloatArray
from pmlik.labels import ParameterSpace
from pmlik.model.transform import TermsModel


def default_dims(name: str, ndim: int) -> tuple[str, ...]:
    """Return the dims of a variable that has none in the model, as ArviZ names them."""
    return tuple(f"{name}_dim_{i}" for i in range(ndim))


def label_space(
    model: TermsModel, names: Sequence[str], arrays: Sequence[FloatArray]
) -> ParameterSpace:
    """Return the space of the named variables, with the model's dims and coords.

    An array with fewer axes than its variable (a density with one entry per row) has the first
    dims.

    ``arrays``: one per name; only the shapes are read.
    """
    all_dims, coords = [], {}
    for name, array in zip(names, arrays, strict=True):
        default = default_dims(name, array.ndim)
        named = model.named_vars_to_dims.get(name) or ()
        if len(named) < array.ndim:
            named = (None,) * array.ndim
        dims = tuple(dim or fallback for dim, fallback in zip(named, default, strict=False))
        all_dims.append(dims)
        for dim, n in zip(dims, array.shape, strict=True):
            index = model.coords.get(dim)
            if index is not None and len(index) == n:
                coords[dim] = np.asarray(index)
    return ParameterSpace(
        tuple(names), tuple(array.shape for array in arrays), tuple(all_dims), coords
    )
