"""Simulate data from the model at given parameters, by PyMC's forward sampling."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray
from pymc.pytensorf import compile as pm_compile
from pymc.pytensorf import find_rng_nodes, replace_rng_nodes

from pmlik.errors import ModelError
from pmlik.logp.compile import compile_mode
from pmlik.model.graph import as_tensor
from pmlik.model.roles import Roles
from pmlik.model.transform import without_initial_values

Simulate = Callable[[np.random.SeedSequence], dict[str, NDArray[Any]]]


def simulator(
    model: pm.Model, roles: Roles, values: Mapping[str, NDArray[Any]] | None, backend: str | None
) -> Simulate:
    """Return a function of a seed that draws all observed variables jointly.

    ``values`` (mapping of str to array): the parameters, in the user's units. None: they are
        drawn from the prior, and returned with the data.
    Raises `ModelError` if PyMC can't draw from a distribution.
    """
    given = {
        name: np.asarray(value).astype(model[name].type.dtype)
        for name, value in (values or {}).items()
        if name in roles.parameters
    }
    wanted = roles.observed if values is not None else (*roles.parameters, *roles.observed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fixed = without_initial_values(model)
        if given:
            fixed = pm.do(fixed, given, make_interventions_shared=False)
        drawn = replace_rng_nodes([as_tensor(fixed[name]) for name in wanted])
        rngs = find_rng_nodes(drawn)
        mode = compile_mode(backend, in_place=True)
        function = pm_compile([], drawn, random_seed=0, mode=mode, trust_input=True)

    def simulate(seed: np.random.SeedSequence) -> dict[str, NDArray[Any]]:
        for i, rng in enumerate(rngs):
            own = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i))
            rng.set_value(np.random.Generator(np.random.PCG64(own)), borrow=True)
        try:
            with np.errstate(all="ignore"):
                arrays = function()
        except NotImplementedError as error:
            raise ModelError(
                f"{', '.join(wanted)}: PyMC can't draw from this distribution ({error}). "
                "Pass `random=` to pm.CustomDist, or use kind='nonparametric'."
            ) from error
        return dict(zip(wanted, map(np.asarray, arrays), strict=True))

    return simulate
