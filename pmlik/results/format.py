"""Numbers and counts as text."""

import math

MINUS = "\N{MINUS SIGN}"


def count(n: int, one: str, many: str) -> str:
    """Return a number with the word in singular or plural."""
    return f"{n} {one if n == 1 else many}"


def decimals_for(error: float, digits: int = 2) -> int:
    """Return the decimals that show an error to ``digits`` significant digits, at least 0."""
    if not math.isfinite(error) or error <= 0:
        return 3
    return max(0, digits - 1 - math.floor(math.log10(error)))


def format_number(value: float, digits: int = 4) -> str:
    """Return a number to ``digits`` significant digits; a dash for NaN."""
    if math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}\N{INFINITY}"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return _real_minus(f"{value:.{digits}g}")
    return _real_minus(f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}")


def format_to(value: float, error: float) -> str:
    """Return a number to as many decimals as its error has with two significant digits.

    Where that would take more than nine characters, it is shown to five significant digits.
    """
    if not math.isfinite(value):
        return format_number(value)
    text = f"{value:.{decimals_for(error)}f}"
    return _real_minus(text) if len(text) <= 9 else format_number(value, 5)


def unit_of(*errors: float) -> float:
    """Return the error to show a row's numbers to: the smallest positive one, NaN without any."""
    return min((e for e in errors if math.isfinite(e) and e > 0), default=math.nan)


def caution(trusted: bool, text: str) -> str:
    """Return a text about an estimate, after a warning if it can't be trusted."""
    return text if trusted else f"NOT TO BE TRUSTED: {text}"


def _real_minus(text: str) -> str:
    if text.startswith("-") and float(text) == 0:
        text = text[1:]
    return text.replace("-", MINUS)


def format_fixed(value: float, decimals: int = 3) -> str:
    """Return a number with that many decimals whatever its size."""
    return _real_minus(f"{value:.{decimals}f}") if math.isfinite(value) else format_number(value)
