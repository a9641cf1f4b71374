"""Models on their way to another process."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pymc as pm
from pymc.distributions import distribution, shape_utils
from pymc.logprob import abstract
from pytensor.graph.traversal import ancestors

__all__ = ["Registration", "read_registrations", "register"]


# What `pm.CustomDist` teaches PyMC about the class that it makes for each of its variables.
_DISPATCHERS = {
    name: getattr(module, name)
    for module, names in (
        (abstract, ("_logprob", "_logcdf", "_logccdf", "_icdf")),
        (distribution, ("_support_point",)),
        (shape_utils, ("_change_dist_size",)),
    )
    for name in names
    if hasattr(module, name)
}


class Registration(NamedTuple):
    """One function that one of PyMC's dispatchers has for a class."""

    dispatcher: str
    kind: type
    function: Callable[..., Any]


def read_registrations(model: pm.Model) -> list[Registration]:
    """What PyMC knows of the classes that exist in this process alone.

    A pickled model takes its classes along, but not what was registered for them.
    """
    graphs = [*model.basic_RVs, *model.potentials, *model.deterministics]
    kinds = {type(var.owner.op): None for var in ancestors(graphs) if var.owner}
    return [
        Registration(name, kind, dispatcher.registry[kind])
        for kind in kinds
        if not _is_importable(kind)
        for name, dispatcher in _DISPATCHERS.items()
        if kind in dispatcher.registry
    ]


def _is_importable(kind: type) -> bool:
    try:
        found: Any = importlib.import_module(kind.__module__)
        for part in kind.__qualname__.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return found is kind and kind.__module__ != "__main__"


def register(registrations: Sequence[Registration]) -> None:
    """Teach this process's PyMC the same."""
    for name, kind, function in registrations:
        _DISPATCHERS[name].register(kind)(function)
