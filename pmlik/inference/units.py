"""Units to resample: the independent observations of a likelihood, or clusters of them.

In a model with latents, observations that share a latent are not independent; the blocks of
latents are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pmlik._typing import FloatArray, IntArray
from pmlik.errors import ModelError
from pmlik.inference.compiled import CompiledModel
from pmlik.logp.density import LogDensity
from pmlik.marginal.blocks import NotAloneError
from pmlik.marginal.density import MarginalLogLikelihood
from pmlik.model.observations import count_of
from pmlik.model.transform import TermsModel
from pmlik.model.validate import constant_data

#: Clusters, as a user names them: a dim, a ``pm.Data``, labels, or labels by observed variable.
Cluster = str | ArrayLike | Mapping[str, ArrayLike] | None
_ADVICE = "Use bootstrap(kind='parametric'), or standard errors from the observed information."


@dataclass(frozen=True, eq=False)
class ResamplingUnits:
    """The unit of each entry of each term of the log-likelihood.

    ``codes``: by term, in its shape; units are numbered from 0.
    ``pools``: units that are exchangeable; each pool is resampled by itself.
    """

    codes: Mapping[str, IntArray]
    pools: tuple[IntArray, ...]

    @property
    def size(self) -> int:
        """Number of units."""
        return sum(len(pool) for pool in self.pools)

    def spread(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Return the weights of the units (u,) in the shapes of the terms."""
        return {name: weights[codes] for name, codes in self.codes.items()}


def read_units(
    problem: CompiledModel, x: FloatArray, cluster: Cluster, purpose: str
) -> ResamplingUnits:
    """Return the units of a problem's likelihood.

    ``x`` (n,): a point with a likelihood. ``purpose``: the use of the units, for messages.
    Raises `ModelError` if a term of the log-likelihood is not a sum over independent observations,
        or the clusters do not fit the data.
    """
    likelihood = problem.likelihood
    pointwise = likelihood.pointwise(x)
    shapes = {name: np.shape(pointwise[name]) for name in likelihood.terms}
    for name, shape in shapes.items():
        _refuse_single(problem.model, name, shape, purpose)
    blocks = _read_blocks(likelihood, shapes, purpose)
    if cluster is None:
        observations = _observations(problem.model, shapes)
        return observations if blocks is None else _unite(observations, shapes, blocks)
    labels = [_labels(problem.model, name, shape, cluster) for name, shape in shapes.items()]
    flat = np.concatenate([np.asarray(part, dtype=object).ravel() for part in labels])
    codes, unique = pd.factorize(flat)
    if (codes < 0).any():
        raise ModelError("cluster: got a missing label (NaN or None), need one per observation.")
    if blocks is not None:
        _check_blocks(flat, blocks)
    return ResamplingUnits(_split(codes, shapes), (np.arange(len(unique)),))


def _split(codes: IntArray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, IntArray]:
    """Split codes of all terms, end to end, into the terms' shapes."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = np.split(codes, np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


class _Owners(NamedTuple):
    """The block of latents behind each entry of the likelihood's terms, end to end.

    ``kinds`` (k,) numbers the blocks by kind: of the same latent and observed variables.
    """

    owner: IntArray
    kinds: IntArray


def _read_blocks(
    likelihood: LogDensity | MarginalLogLikelihood,
    shapes: Mapping[str, tuple[int, ...]],
    purpose: str,
) -> _Owners | None:
    """Return the blocks of latents behind the terms; None for a model without latents."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    try:
        blocks = likelihood.blocks
    except NotAloneError:
        raise ModelError(
            f"{', '.join(shapes)}: an observation depends on latents that are otherwise "
            f"independent, and {purpose} needs blocks of them that share no observation. {_ADVICE}"
        ) from None
    if blocks is None:
        return None
    owner = blocks.terms[: sum(sizes)]
    if blocks.size == 1 and (owner == 0).all():
        raise ModelError(
            f"{', '.join(shapes)}: all observations depend on one block of latents (crossed "
            f"effects, a chain, a level above all), and {purpose} needs independent ones. {_ADVICE}"
        )
    used = np.zeros((blocks.size, len(sizes) + len(likelihood.sizes)), bool)
    inside = owner >= 0
    used[owner[inside], np.repeat(np.arange(len(sizes)), sizes)[inside]] = True
    variables = np.repeat(np.arange(len(likelihood.sizes)), likelihood.sizes)
    used[blocks.latents, len(sizes) + variables] = True
    kinds = np.unique(used, axis=0, return_inverse=True)[1].reshape(-1)
    return _Owners(owner, kinds)


def _unite(
    observations: ResamplingUnits, shapes: Mapping[str, tuple[int, ...]], blocks: _Owners
) -> ResamplingUnits:
    """Return units that are blocks of latents, and the observations that depend on no latent.

    Blocks of the same kind are in one pool.
    """
    codes = np.concatenate([part.ravel() for part in observations.codes.values()])
    pool = np.concatenate([np.full(len(one), i) for i, one in enumerate(observations.pools)])
    inside = blocks.owner >= 0
    # The key of a unit is its block, or its own number after those of all blocks.
    keys = np.where(inside, blocks.owner, len(blocks.kinds) + codes)
    pools = np.where(inside, blocks.kinds[blocks.owner], blocks.kinds.max() + 1 + pool[codes])
    _, first, numbers = np.unique(keys, return_index=True, return_inverse=True)
    kinds = pools[first]
    return ResamplingUnits(
        _split(numbers.reshape(-1), shapes),
        tuple(np.flatnonzero(kinds == kind) for kind in np.unique(kinds)),
    )


def _check_blocks(labels: NDArray[Any], blocks: _Owners) -> None:
    """Raise if observations that share a latent have different labels."""
    codes = pd.factorize(labels)[0]
    inside = blocks.owner >= 0
    pairs = np.unique(np.column_stack([blocks.owner, codes])[inside], axis=0)
    owners, counts = np.unique(pairs[:, 0], return_counts=True)
    if (counts > 1).any():
        where = np.flatnonzero(blocks.owner == owners[counts > 1][0])
        shown = ", ".join(map(repr, dict.fromkeys(labels[where].tolist())))
        raise ModelError(
            f"cluster: observations that share a latent have different labels ({shown}), so that "
            "the clusters are not independent. Use labels that keep each group of the latents "
            "together, or leave cluster out: the groups are the default."
        )


def _refuse_single(model: TermsModel, name: str, shape: tuple[int, ...], purpose: str) -> None:
    """Raise if the density of many observations is a single number."""
    if np.prod(shape, dtype=int) != 1:
        return
    if model[name] not in model.observed_RVs:
        raise ModelError(
            f"{name}: this pm.Potential is one term of the log-likelihood, and {purpose} needs a "
            f"term for each observation. Do not sum it in the model. {_ADVICE}"
        )
    count = count_of(model, model[name])
    if count > 1:
        raise ModelError(
            f"{name}: its {count} values are one term of the log-likelihood (a time series, or a "
            f"single multivariate draw), and {purpose} needs independent terms. {_ADVICE}"
        )


def _observations(model: TermsModel, shapes: Mapping[str, tuple[int, ...]]) -> ResamplingUnits:
    """Return each entry as a unit; terms with the same named dims share their units."""
    codes: dict[str, IntArray] = {}
    known: dict[Any, IntArray] = {}
    pools, size = [], 0
    for name, shape in shapes.items():
        dims = _dims(model, name, len(shape))
        key = (dims, shape) if shape and None not in dims else name
        if key not in known:
            pool = np.arange(size, size + int(np.prod(shape)))
            known[key] = pool.reshape(shape)
            pools.append(pool)
            size += len(pool)
        codes[name] = known[key]
    return ResamplingUnits(codes, tuple(pools))


def _dims(model: TermsModel, name: str, ndim: int) -> tuple[str | None, ...]:
    dims = tuple(model.named_vars_to_dims.get(name) or ())[:ndim]
    return dims + (None,) * (ndim - len(dims))


def _labels(model: TermsModel, name: str, shape: tuple[int, ...], cluster: Any) -> NDArray[Any]:
    """Return the labels of one term's entries, in its shape."""
    dims = _dims(model, name, len(shape))
    if isinstance(cluster, str):
        return _named_labels(model, name, shape, dims, cluster)
    if isinstance(cluster, Mapping):
        if name not in cluster:
            raise ModelError(f"cluster: got no labels for {name!r}; give some for each variable.")
        cluster = cluster[name]
    labels = np.asarray(cluster)
    if labels.shape not in (shape, shape[:1]) or not shape:
        raise ModelError(
            f"cluster: got labels of shape {labels.shape}, need {shape} as the terms of {name!r}"
            + (f", or {shape[:1]}." if len(shape) > 1 else ".")
        )
    return _along(labels, tuple(range(labels.ndim)), shape)


def _named_labels(
    model: TermsModel,
    name: str,
    shape: tuple[int, ...],
    dims: tuple[str | None, ...],
    cluster: str,
) -> NDArray[Any]:
    if cluster in dims:
        axis = dims.index(cluster)
        index = model.coords.get(cluster)
        labels = np.arange(shape[axis]) if index is None else np.asarray(index)
        return _along(labels, (axis,), shape)
    data = constant_data(model.named_vars.get(cluster))
    if data is not None:
        axes = _axes_of(model.named_vars_to_dims.get(cluster) or (), dims, data.ndim)
        along = tuple(shape[axis] for axis in axes if axis < len(shape))
        if axes and data.shape == along and list(axes) == sorted(axes):
            return _along(data, axes, shape)
    has = ", ".join(repr(dim) for dim in dims if dim is not None) or "no named dims"
    raise ModelError(
        f"cluster: got {cluster!r}, need a dim of the observed variable {name!r} (it has {has}), "
        "the name of a pm.Data of labels along its dims, or an array of one label per observation."
    )


def _axes_of(own: Sequence[str | None], dims: Sequence[str | None], ndim: int) -> tuple[int, ...]:
    """Return the axes that labels run along: those of their dims, or the first ones."""
    if not own:
        return tuple(range(ndim))
    return tuple(dims.index(dim) for dim in own) if set(own) <= set(dims) else ()


def _along(labels: NDArray[Any], axes: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return labels along some axes, repeated over the others."""
    wide = [shape[axis] if axis in axes else 1 for axis in range(len(shape))]
    return np.broadcast_to(labels.reshape(wide), shape)
