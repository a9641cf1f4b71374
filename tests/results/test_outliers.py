"""Which of four answers stands apart: tables made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pmlik.results.outliers import describe_outlier, describe_unbounded, find_outlier


def table(**rows) -> pd.DataFrame:
    columns = ["MLE", "SE", "MAP", "joint mode", "posterior mean", "sd"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


@pytest.mark.parametrize(
    ("row", "method"),
    [
        ((1.0, 0.1, 1.1, 3.0, 1.2, 0.5), "joint mode"),
        ((3.0, 0.1, 1.1, 1.0, 1.2, 0.5), "MLE"),
        ((0.0, np.nan, 0.0, 0.0, 2.0, 0.5), "posterior mean"),
        ((1.0, 0.1, -2.0, 1.1, 1.2, 0.5), "MAP"),
    ],
)
def test_the_one_furthest_from_the_median_of_the_others(row, method) -> None:
    found = find_outlier(table(a=(1.0, 0.1, 1.0, 1.0, 1.0, 0.5), b=row))
    assert (found.method, found.label) == (method, "b")
    columns = ["MLE", "MAP", "joint mode", "posterior mean"]
    values = dict(zip(["MLE", "SE", "MAP", "joint mode", "posterior mean", "sd"], row, strict=True))
    others = np.median([values[c] for c in columns if c != method])
    assert found.distance == pytest.approx(abs(values[method] - others) / 0.5)


def test_the_sentence_has_the_four_numbers() -> None:
    numbers = table(tau=(0.0, np.nan, 0.0, 0.0, 3.6, 3.2))
    text = describe_outlier(find_outlier(numbers), numbers)
    assert text.startswith("Of the four answers the posterior mean stands apart, most in tau: 3.6")
    assert "MLE 0.0, MAP 0.0, joint mode 0.0" in text
    assert "1.1 posterior sd" in text


def test_rows_without_all_four_and_tables_without_a_joint_mode_have_no_outlier() -> None:
    numbers = table(tau=(0.0, np.nan, 0.0, np.nan, 3.6, 3.2))
    assert find_outlier(numbers) is None
    assert find_outlier(numbers.drop(columns="joint mode")) is None


def test_without_a_joint_mode_the_marginal_one_is_named() -> None:
    numbers = table(mu=(7.7, 4.0, 4.62, np.nan, 4.4, 3.3), tau=(0, np.nan, 0, np.nan, 3.6, 3.2))
    text = describe_unbounded(("tau",), numbers)
    assert "without bound as tau goes to the border" in text
    assert "mu 4.6, tau 0.0" in text
