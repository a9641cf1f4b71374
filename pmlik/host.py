"""PyMC's own ``find_MAP``, whichever PyMC it is: the only place that knows its versions."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymc as pm
import pytensor
from pytensor.compile.mode import Mode

from pmlik.space import FloatArray, Space
from pmlik.submodels import TermsModel

__all__ = ["find_MAP_point", "quiet_host"]

# PyMC 6.4 has these; 6.3 has neither, returns the same dict, and compiles in the default mode.
_SINCE_6_4 = {"jitter": False, "return_inferencedata": False}


@contextmanager
def quiet_host(logger: str = "pymc") -> Iterator[None]:
    """Keep PyMC's warnings and log lines about pmlik's own call from the user."""
    log = logging.getLogger(logger)
    level = log.level
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def find_MAP_point(
    model: TermsModel, start: FloatArray | None, space: Space, mode: Mode
) -> FloatArray | None:
    """Where ``pm.find_MAP`` stops on this model, as a flat unconstrained vector.

    Parameters
    ----------
    model : TermsModel
        Its log-density is what is maximised, without Jacobian.
    start : array (n,), optional
        Where it starts; default the model's initial point.
    space : Space
        The value variables that ``start`` and the result hold.
    mode : Mode
        How PyMC is to compile.

    Returns
    -------
    array (n,) or None
        None where ``pm.find_MAP`` raised an error or ended outside the support.
    """
    accepted = inspect.signature(pm.find_MAP).parameters
    arguments: dict[str, Any] = {k: v for k, v in _SINCE_6_4.items() if k in accepted}
    if start is not None:
        arguments["initvals" if "initvals" in accepted else "start"] = space.split(start)
    try:
        # The flag reaches every compilation of the call; `compile_kwargs` is not in 6.3.
        with quiet_host(), pytensor.config.change_flags(mode=mode):
            found = pm.find_MAP(model=model, progressbar=False, **arguments)
    except Exception:  # noqa: BLE001 - any failure of the host only costs a starting point
        return None
    x = space.join(found)
    return x if np.isfinite(x).all() else None
