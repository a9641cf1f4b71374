"""Find the thresholds of ordered outcomes: they are parameters whatever their prior."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pymc as pm
import pytensor
from pytensor.compile.mode import Mode
from pytensor.graph.traversal import ancestors

from pmlik._typing import FloatArray
from pmlik.model.graph import as_tensor, operation_names
from pmlik.model.support import is_ordered

_PROBABILITIES = {"CategoricalRV": 0, "MultinomialRV": 1}
_STEP = 0.1


def find_thresholds(model: pm.Model, names: Iterable[str]) -> set[str]:
    """Return those of the named free variables that part the categories of an outcome.

    An effect moves the probabilities of all categories of the observations that it belongs to; a
    threshold moves those of the categories beside it and leaves others. In a likelihood of the
    user's own, ordered variables are taken for thresholds.
    """
    names = tuple(names)
    outcomes = [_probabilities(rv) for rv in model.observed_RVs]
    categories = [as_tensor(p) for p in outcomes if p is not None]
    own = [v for rv in model.observed_RVs if _is_custom(rv) for v in rv.owner.inputs]
    above, written = set(ancestors(categories)), set(ancestors([*own, *model.potentials]))
    ordered = {n for n in names if is_ordered(model, model[n])}
    found = {n for n in ordered if model[n] in above | written}
    candidates = {n for n in names if model[n] in above and model[n].type.ndim} - found
    return found | (_that_part(model, candidates, categories) if candidates else set())


def _that_part(model: pm.Model, names: Iterable[str], categories: list[Any]) -> set[str]:
    """Return the variables of which an element moves the probabilities of some categories alone."""
    point = model.initial_point(0)
    values = [v for v in model.rvs_to_values.values() if v.name in point]
    graphs = model.replace_rvs_by_values(categories)
    mode = Mode("py", optimizer="fast_compile")
    function = pytensor.function(values, graphs, mode=mode, on_unused_input="ignore")

    def at(changed: dict[str, Any]) -> list[FloatArray]:
        with np.errstate(all="ignore"):
            return [
                np.asarray(p) for p in function(*({**point, **changed}[v.name] for v in values))
            ]

    before, owned = at({}), {name: model.rvs_to_values[model[name]].name for name in names}
    return {
        name
        for name, value in owned.items()
        if any(_parts(before, at({value: moved})) for moved in _moved(point[value]))
    }


def _moved(value: Any) -> list[FloatArray]:
    """Return copies of an array, one with its first element moved and one with its last."""
    copies = []
    for place in {0, value.size - 1}:
        copy = np.array(value, dtype=float)
        copy.flat[place] += _STEP
        copies.append(copy)
    return copies


def _parts(before: list[FloatArray], after: list[FloatArray]) -> bool:
    """Return True if each row of probabilities that has moved has some that have not."""
    rows = [(b != a).reshape(-1, b.shape[-1]) for b, a in zip(before, after, strict=True)]
    moved = [row for block in rows for row in block if row.any()]
    return bool(moved) and not any(row.all() for row in moved)


def _probabilities(rv: Any) -> Any | None:
    core = operation_names(rv.owner.op)[1]
    if core not in _PROBABILITIES:
        return None
    return rv.owner.op.dist_params(rv.owner)[_PROBABILITIES[core]]


def _is_custom(rv: Any) -> bool:
    return "Custom" in type(rv.owner.op).__name__
