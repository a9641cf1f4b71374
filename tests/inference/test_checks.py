"""The sentences of flags: short where there are many names, and not contradicting themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from oracles.records import WIDE, make_point
from pmlik.inference.checks import check_laplace, check_limit
from pmlik.marginal.importance import LaplaceError

MANY = [f"theta[{i}]" for i in range(50)]


def test_many_scalars_on_a_border_are_counted() -> None:
    (flag,) = check_limit(dict.fromkeys(MANY, 0.0), {}, [], 0.0)
    assert flag.variables == tuple(MANY)
    assert str(flag).count("theta[") == 12  # six names, six values
    assert flag.detail.endswith("theta[5] = 0 and 44 more.")


def test_many_scalars_at_infinity_are_counted() -> None:
    (flag,) = check_limit({}, dict.fromkeys(MANY, -1.0), [], -4.6e-25)
    assert "theta[5] -> -inf and 44 more" in flag.detail
    assert flag.detail.endswith("supremum of the log-density 0.")
    (flag,) = check_limit({}, {"a": 1.0}, [], -4.25)
    assert flag.detail == "a -> +inf, along a; supremum of the log-density -4.25."


def test_a_laplace_approximation_that_was_not_checked_is_not_said_to_be_off() -> None:
    (flag,) = check_laplace(LaplaceError(error=-0.09, mcse=0.3, pareto_k=1.2))
    assert flag.code.name == "LAPLACE_NOT_CHECKED"
    assert "is off" not in str(flag)
    (flag,) = check_laplace(LaplaceError(error=-0.09, mcse=0.001, pareto_k=0.1))
    assert "is off by -0.09 (Monte Carlo error 0.001, Pareto k-hat 0.1)" in str(flag)


def test_a_point_without_gradient_is_not_called_zero_from_an_optimum() -> None:
    certificate = make_point("mle", WIDE, WIDE).certificate
    said = {
        d: str(replace(certificate, converged=False, newton_decrement=d)) for d in (0, 2, np.inf)
    }
    assert said[0] == "not certified: the gradient vanishes, but nothing shows that it is a maximum"
    assert said[2] == "not certified, stopped 2 SE from an optimum"
    assert said[np.inf] == "not certified, stopped an unknown distance from an optimum"
