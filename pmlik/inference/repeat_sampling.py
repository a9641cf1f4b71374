"""Sample the posterior of many data sets of one shape, through one compiled sampler."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import nutpie
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from pymc.model.fgraph import clone_model

from pmlik._typing import FloatArray
from pmlik.errors import ModelError
from pmlik.inference.prepare import Prepared
from pmlik.model.transform import open_data, without_initial_values

_CHAINS = 2


class Draws(NamedTuple):
    """``values`` (d, m): draws of the scalars, parameters first. ``ess`` (m,). ``divergences``."""

    values: FloatArray
    ess: FloatArray
    divergences: int


class RepeatedSampler:
    """nutpie's sampler of a model, compiled once, with other data each time.

    ``draws``, ``tune``: per chain, of two.
    Raises `ModelError` if the model has discrete variables that are sampled.
    """

    def __init__(self, prepared: Prepared, draws: int, tune: int) -> None:
        model = prepared.model
        discrete = [rv.name for rv in model.free_RVs if not rv.dtype.startswith("float")]
        if discrete:
            raise ModelError(
                f"methods: got 'posterior', but {', '.join(discrete)} is discrete and nutpie "
                "samples continuous variables alone. Leave 'posterior' out."
            )
        clone = clone_model(without_initial_values(model))
        self._names = {
            name: v.name for name, v in open_data(clone, prepared.roles.observed).items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._compiled = nutpie.compile_pymc_model(clone)
        problem = prepared.problem
        self._spaces, self._draws, self._tune = (problem.parameters, problem.derived), draws, tune

    def __call__(self, data: Mapping[str, NDArray[Any]], seed: np.random.SeedSequence) -> Draws:
        """Draw from the posterior of some data."""
        opened = {self._names[name]: np.asarray(array) for name, array in data.items()}
        tree = nutpie.sample(
            self._compiled.with_data(**opened),
            draws=self._draws,
            tune=self._tune,
            chains=_CHAINS,
            cores=1,
            seed=int(seed.generate_state(1)[0]),
            progress_bar=False,
            save_warmup=False,
        )
        posterior = tree["posterior"].dataset
        shape = posterior.sizes["chain"], posterior.sizes["draw"]
        flat = []
        for space in self._spaces:
            for name in space.names:
                if name in posterior:
                    column = posterior[name].transpose("chain", "draw", ...).to_numpy()
                else:  # a quantity that was added after the fit
                    column = np.full((*shape, space.empty(name).size), np.nan)
                flat.append(column.astype(float).reshape(*shape, -1))
        values = np.concatenate(flat, axis=2)
        ess = array_stats.ess(values, chain_axis=0, draw_axis=1)
        divergences = int(tree["sample_stats"]["diverging"].sum())
        return Draws(values.reshape(-1, values.shape[2]), np.asarray(ess), divergences)
