"""Variables whose values repeat after a turn: angles, and what is computed from them."""

from typing import Any

import numpy as np
import pymc as pm
from pytensor.tensor.basic import get_underlying_scalar_constant_value
from pytensor.tensor.exceptions import NotScalarConstantError

from pmlik._summaries import Circle

_TURN = Circle(-np.pi, np.pi)

# Operations that pass an angle on, by the name of their class.
_PASSES = (
    "ViewOp",
    "DimShuffle",
    "ExpandDims",
    "Subtensor",
    "Reshape",
    "SpecifyShape",
    "Transpose",
)


def find_circles(model: pm.Model) -> dict[str, Circle]:
    """Return the turn of each circular variable, by name.

    A free variable is circular if its value variable is turned into an angle (PyMC's ``circular``
    transform, which ``pm.VonMises`` has). A deterministic is if it is an angle by ``arctan2`` or a
    remainder, or an angle times a constant, or plus anything.
    """
    free = {rv: _TURN for rv in model.free_RVs if is_circular(model, rv)}
    found = {rv.name: circle for rv, circle in free.items()}
    for var in model.deterministics:
        circle = _circle(var, free)
        if circle is not None:
            found[var.name] = circle
    return found


def is_circular(model: pm.Model, rv: Any) -> bool:
    """Return True if the coordinates of a free variable repeat after a turn."""
    return getattr(model.rvs_to_transforms.get(rv), "name", "") == "circular"


def _circle(var: Any, free: dict[Any, Circle]) -> Circle | None:
    """Return the turn of a variable; None if it is not circular."""
    if var in free or var.owner is None:
        return free.get(var)
    op, inputs = var.owner.op, var.owner.inputs
    elementwise = "Elemwise" in type(op).__name__
    kind = type(op.scalar_op if elementwise else op).__name__
    if kind == "ArcTan2":
        return _TURN
    if kind == "Mod":
        period = _constant(inputs[1])
        return Circle(0.0, period) if period is not None and period > 0 else None
    if kind == "Identity" or any(word in kind for word in _PASSES):
        return _circle(inputs[0], free)
    if kind in ("Add", "Sub"):
        return _sum(inputs, -1.0 if kind == "Sub" else 1.0, free)
    if kind == "Neg":
        return _scaled(_circle(inputs[0], free), -1.0)
    if kind == "Mul":
        return _product(inputs, free)
    if kind == "TrueDiv" and (divisor := _constant(inputs[1])):
        return _scaled(_circle(inputs[0], free), 1 / divisor)
    return None


def _sum(inputs: list[Any], sign: float, free: dict[Any, Circle]) -> Circle | None:
    """Return the turn of an angle plus or minus something: what is no angle only moves it."""
    signs = [1.0, *[sign] * (len(inputs) - 1)]
    parts = [_scaled(_circle(part, free), s) for part, s in zip(inputs, signs, strict=True)]
    circles = [circle for circle in parts if circle is not None]
    if not circles or any(not np.isclose(c.period, circles[0].period) for c in circles):
        return None
    shift = sum(s * (_constant(part) or 0.0) for part, s in zip(inputs, signs, strict=True))
    return Circle(circles[0].lower + shift, circles[0].upper + shift)


def _product(inputs: list[Any], free: dict[Any, Circle]) -> Circle | None:
    circles = [circle for part in inputs if (circle := _circle(part, free)) is not None]
    factors = [_constant(part) for part in inputs if _circle(part, free) is None]
    if len(circles) != 1 or None in factors:
        return None
    return _scaled(circles[0], float(np.prod(np.array(factors, float))))


def _scaled(circle: Circle | None, factor: float) -> Circle | None:
    if circle is None or factor == 0:
        return None
    return Circle(*sorted((factor * circle.lower, factor * circle.upper)))


def _constant(var: Any) -> float | None:
    """Return the value of a constant with equal elements."""
    try:
        return float(get_underlying_scalar_constant_value(var))
    except (NotScalarConstantError, TypeError, ValueError):
        return None
