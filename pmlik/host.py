"""PyMC's own ``find_MAP``, whichever PyMC it is: the only place that knows its versions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.mode import Mode
from threadpoolctl import threadpool_limits

from pmlik._runtime import SINCE_PYMC_6_4, quiet_host
from pmlik._typing import FloatArray
from pmlik.labels import ParameterSpace
from pmlik.model.transform import TermsModel

__all__ = ["find_MAP_point", "prior_draws"]


def find_MAP_point(
    model: TermsModel, start: FloatArray | None, space: ParameterSpace, mode: Mode
) -> FloatArray | None:
    """Where ``pm.find_MAP`` stops on this model, as a flat unconstrained vector.

    Parameters
    ----------
    model : TermsModel
        Its log-density is what is maximised, without Jacobian.
    start : array (n,), optional
        Where it starts; default the model's initial point.
    space : ParameterSpace
        The value variables that ``start`` and the result hold.
    mode : Mode
        How PyMC is to compile.

    Returns
    -------
    array (n,) or None
        None where ``pm.find_MAP`` raised an error or ended outside the support.
    """
    accepted = inspect.signature(pm.find_MAP).parameters
    arguments: dict[str, Any] = {k: v for k, v in SINCE_PYMC_6_4.items() if k in accepted}
    if start is not None:
        arguments["initvals" if "initvals" in accepted else "start"] = space.split(start)
    try:
        # The flag reaches every compilation of the call; `compile_kwargs` is not in 6.3.
        # Threads only wait for each other in the short vectors of its L-BFGS.
        one = threadpool_limits(1, user_api="blas")
        with quiet_host(), one, pytensor.config.change_flags(mode=mode):
            found = pm.find_MAP(model=model, progressbar=False, **arguments)
    except Exception:  # noqa: BLE001 - any failure of the host only costs a starting point
        return None
    x = space.join(found)
    return x if np.isfinite(x).all() else None


def prior_draws(model: pm.Model, space: ParameterSpace) -> Callable[[int], FloatArray | None]:
    """Draws from the prior, as flat unconstrained vectors by seed.

    A flat prior has no draws: its variables stay at the initial point.
    """
    improper = {rv.name for rv in model.free_RVs if "Flat" in type(rv.owner.op).__name__}
    overrides: dict[Any, Any] = {
        rv.name: "prior" for rv in model.free_RVs if rv.name not in improper
    }
    try:
        with quiet_host(), pytensor.config.change_flags(mode=Mode("py", optimizer="fast_compile")):
            draw = make_initial_point_fn(model=model, overrides=overrides)
    except Exception:  # noqa: BLE001 - as above
        return lambda seed: None

    def drawn(seed: int) -> FloatArray | None:
        try:
            with quiet_host():
                x = space.join(draw(seed))
        except Exception:  # noqa: BLE001 - as above
            return None
        return x if np.isfinite(x).all() else None

    return drawn
