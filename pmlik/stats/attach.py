"""Join a comparison that was loaded to its model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pymc as pm

from pmlik.inference.given import adopt_estimate
from pmlik.inference.options import FitOptions
from pmlik.inference.prepare import prepare
from pmlik.model.roles import Potentials
from pmlik.results.comparison import Comparison
from pmlik.stats.curves import curves_of


def attach(
    comparison: Comparison,
    model: pm.Model,
    *,
    potentials: Potentials,
    latent: str | Sequence[str],
    parameters: Sequence[str],
    quadrature: int | None,
) -> Comparison:
    """Return the comparison with its compiled model, see `Comparison.attach`."""
    options = FitOptions(
        model=model,
        progressbar=False,
        potentials=potentials,
        latent=latent,
        parameters=parameters,
        quadrature=quadrature,
    )
    prepared = prepare(options)
    return replace(
        comparison,
        mle=adopt_estimate(prepared, comparison.mle, "mle"),
        map=adopt_estimate(prepared, comparison.map, "map"),
        background=replace(comparison.background, compute_curves=curves_of),
    )
