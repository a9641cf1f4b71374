"""Central differences: numerators, so that each caller divides by its own step."""

from __future__ import annotations

from collections.abc import Callable

from pmlik._typing import FloatArray


def central_difference[Value: (float, FloatArray)](
    function: Callable[[FloatArray], Value], x: FloatArray, step: FloatArray
) -> Value:
    """Return ``f(x + step) - f(x - step)``.

    Divided by 2 step lengths it is the derivative along the step, with an error of second order.

    ``x``, ``step`` (n,).
    """
    ahead = function(x + step)
    return ahead - function(x - step)


def fourth_order_difference[Value: (float, FloatArray)](
    function: Callable[[FloatArray], Value], x: FloatArray, step: FloatArray
) -> Value:
    """Return ``8 (f(x + step) - f(x - step)) - (f(x + 2 step) - f(x - 2 step))``.

    Divided by 12 step lengths it is the derivative along the step, with an error of fourth order.

    ``x``, ``step`` (n,).
    """
    near = central_difference(function, x, step)
    return 8 * near - central_difference(function, x, 2 * step)
