"""Numbers as text: digits, decimals, signs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlik.results.format import decimals_for, format_number, format_to

MINUS, DASH, INFINITY = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{INFINITY}"
finite = st.floats(-1e300, 1e300)


def back(text: str) -> float:
    """The number that a rendered number stands for."""
    return float(text.replace(MINUS, "-"))


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (math.nan, 4, DASH),
        (math.inf, 4, INFINITY),
        (-math.inf, 4, f"{MINUS}{INFINITY}"),
        (0.0, 4, "0"),
        (1234.56, 5, "1234.6"),
        (-0.532, 3, f"{MINUS}0.532"),
        (1e-9, 3, f"1e{MINUS}09"),
        (1e22, 3, "1e+22"),
        (0.63245, 3, "0.632"),
        (5e-324, 3, f"4.94e{MINUS}324"),
    ],
)
def test_a_number_has_the_significant_digits_asked_for(value, digits, text):
    assert format_number(value, digits) == text


@given(finite, st.integers(1, 8))
def test_a_number_is_within_its_digits_of_what_it_stands_for(value, digits):
    assert back(format_number(value, digits)) == pytest.approx(
        value, rel=10 ** (1 - digits), abs=1e-320
    )


@pytest.mark.parametrize(
    ("error", "decimals"),
    [
        (7.3786, 1),
        (0.1082, 2),
        (0.632, 2),
        (1.0, 1),
        (0.00999, 4),
        (12.0, 0),
        (12345.0, 0),
        (math.nan, 3),
        (math.inf, 3),
        (0.0, 3),
        (-1.0, 3),
    ],
)
def test_decimals_show_two_digits_of_the_error(error, decimals):
    assert decimals_for(error) == decimals


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (15.0429, 7.3786, "15.0"),
        (-0.2322, 0.1082, f"{MINUS}0.23"),
        (math.nan, 0.1, DASH),
        (math.inf, 0.1, INFINITY),
        (-math.inf, 0.1, f"{MINUS}{INFINITY}"),
        (3.0, math.nan, "3.000"),
        (3.0, math.inf, "3.000"),
        (3.0, 0.0, "3.000"),
        (1234.5, 995.0, "1234"),
        (1e-300, 1.0, "0.0"),
        (1e300, 1.0, "1e+300"),
        (3.0, 1e20, "3"),
    ],
)
def test_a_number_has_the_decimals_of_its_error(value, error, text):
    assert format_to(value, error) == text


@pytest.mark.parametrize("value", [-0.0, -0.001, -1e-300])
def test_there_is_no_negative_zero(value):
    assert format_to(value, 0.5) == "0.00"


def test_a_zero_that_is_negative_is_a_zero():
    assert format_number(-0.0) == "0"


@given(finite, st.floats(1e-300, 1e300))
def test_a_number_in_a_table_is_short(value, error):
    assert len(format_to(value, error)) <= 12


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e6))
def test_a_number_in_a_table_is_right_to_a_tenth_of_its_error(value, error):
    shown = back(format_to(value, error))
    assert abs(shown - value) <= max(0.1 * error, 1e-4 * abs(value))


@given(finite)
def test_a_minus_is_a_real_minus(value):
    assert "-" not in format_to(value, 0.1)
    assert "-" not in format_number(value)
