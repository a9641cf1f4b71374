"""The options of a fit, in one record, and their validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pymc as pm

from pmlik.errors import ModelError, PmlikError
from pmlik.inference.units import Cluster
from pmlik.model.roles import Latent, Potentials

# The mode of parameters and latents together is shown for what it is; two starts will do.
JOINT_STARTS = 2

#: With more nodes the weights of a Gauss-Hermite rule have no digits left.
MOST_NODES = 300

#: A seed; a Generator gives one.
Seed = int | np.random.Generator | None

#: What standard errors of the MLE are taken from.
CovarianceKind = Literal["observed", "robust"]


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The keywords that `find_MLE`, `find_MAP` and `compare` share, with their defaults.

    It is built by keyword only. The fields are described in `find_MLE`.
    """

    model: pm.Model | None = None
    var_names: Sequence[str] | str | None = None
    random_seed: Seed = None
    progressbar: bool = True
    backend: str | None = None
    potentials: Potentials = "likelihood"
    start: Mapping[str, Any] | None = None
    n_starts: int | None = None
    latent: Latent = "auto"
    parameters: Sequence[str] = ()
    quadrature: int | None = None
    covariance_kind: CovarianceKind = "observed"
    cluster: Cluster = None


def is_integer(value: Any) -> bool:
    """Return True for Python's and NumPy's integers, which truth values are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_count(what: str, count: int | None, error: type[PmlikError] = ModelError) -> None:
    """Refuse anything but an integer from 1 up, or None."""
    if count is not None and (not is_integer(count) or count < 1):
        raise error(f"{what}: got {count!r}, need an integer from 1 up.")


def check_quadrature(nodes: int | None) -> None:
    """Refuse anything but a number of nodes whose weights are numbers, or None."""
    check_count("quadrature", nodes)
    if nodes is not None and nodes > MOST_NODES:
        raise ModelError(
            f"quadrature: got {nodes} nodes, need at most {MOST_NODES}; 15 are enough for most "
            "models."
        )


def check_switch(what: str, switch: bool | None, error: type[PmlikError] = ModelError) -> None:
    """Refuse anything but True, False and None."""
    if not isinstance(switch, bool | None):
        raise error(f"{what}: got {switch!r}, need True, False or None.")


def check_ci_prob(ci_prob: float, error: type[PmlikError] = ModelError) -> None:
    """Refuse anything but a probability between 0 and 1, with an error of the given class."""
    if not isinstance(ci_prob, float | np.floating) or not 0 < ci_prob < 1:
        raise error(f"ci_prob: got {ci_prob!r}, need a probability between 0 and 1.")


def check_covariance(kind: str, cluster: Cluster) -> None:
    """Refuse an unknown kind, and clusters without robust errors."""
    if kind not in ("observed", "robust"):
        raise ModelError(f"covariance_kind: got {kind!r}, need 'observed' or 'robust'.")
    if kind == "observed" and cluster is not None:
        raise ModelError("cluster: needs covariance_kind='robust'.")


def read_var_names(
    model: pm.Model, var_names: Sequence[str] | str | None
) -> tuple[str, ...] | None:
    """Return the variables that are named, all but those with a ``~``; None for None.

    Raises `ModelError` for names that the model does not have.
    """
    if var_names is None:
        return None
    if not isinstance(var_names, Iterable):
        raise ModelError(f"var_names: got {var_names!r}, need a name or a list of names.")
    names = [var_names] if isinstance(var_names, str) else list(var_names)
    known = [var.name for var in model.unobserved_RVs]
    excluded = [str(n)[1:] for n in names if n not in known and str(n).startswith("~")]
    unknown = [name for name in excluded or names if name not in known]
    if unknown:
        raise ModelError(
            f"var_names: {', '.join(map(repr, unknown))} not in the model, which has "
            f"{', '.join(known)}."
        )
    return tuple(name for name in known if name not in excluded) if excluded else tuple(names)


def seed_of(random_seed: Seed) -> int:
    """Return the seed given, one drawn from a Generator, or a fresh one.

    Raises `ModelError` for anything else than an integer from 0 up, a Generator and None.
    """
    if random_seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_seed, np.random.Generator):
        return int(random_seed.integers(2**32))
    if not is_integer(random_seed) or random_seed < 0:
        raise ModelError(f"random_seed: got {random_seed!r}, need an integer from 0 up, or None.")
    return int(random_seed)
