"""Numbers, tables and lines as text and HTML."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlik.results.format import decimals_for, format_number, format_to
from pmlik.results.table import Table, to_html, to_text

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


# --- text -------------------------------------------------------------------------------------


def sheet_of(*rows: tuple[str, ...], notes: tuple[tuple[str, str], ...] = ()) -> Table:
    columns = ("parameter", "MLE", "SE", "MAP", "mean", "sd", "89% ETI", "shift/sd")
    return Table("A title", columns, rows, notes)


ORDINARY = sheet_of(
    ("Intercept", "15.0", "7.38", "4.2", "5.9", "2.91", f"{MINUS}0.3 .. 12.1", f"{MINUS}3.1"),
    ("slope[temperature]", "0.2", "0.11", "0.1", "0.1", "0.04", "0.0 .. 0.2", "1.1"),
    notes=(("likelihood", "log L = 1.5"), ("flag 1", "error: " + "a long story " * 20)),
)

cells = st.text(st.characters(codec="utf-8", exclude_categories=("C", "M", "Z")), max_size=30)


@given(
    st.lists(st.tuples(cells, cells), max_size=4),
    st.lists(st.tuples(st.sampled_from(["flag", "time"]), cells), max_size=4),
)
def test_no_line_is_longer_than_the_width(rows, notes):
    from rich.cells import cell_len

    sheet = Table("T" * 100, ("parameter", "MLE"), tuple(rows), tuple(notes))
    for width in (60, 80):
        assert all(cell_len(line) <= width for line in to_text(sheet, width).splitlines())


@pytest.mark.parametrize("width", [60, 70, 80, 100, 200])
def test_ordinary_tables_fit_and_keep_every_number(width):
    text = to_text(ORDINARY, width)
    assert max(map(len, text.splitlines())) <= width
    if width >= 80:
        for row in ORDINARY.rows:
            assert any(all(cell in line for cell in row[1:]) for line in text.splitlines())


def test_a_table_that_is_too_wide_is_divided_and_drops_no_column():
    cell = "123456.78"
    row = ("a", *(cell,) * 5, f"{cell} .. {cell}", cell)
    text = to_text(sheet_of(row), 80)
    for heading in ("MLE", "SE", "MAP", "shift"):
        assert heading in text
    assert max(map(len, text.splitlines())) <= 80


def test_no_digit_is_cut_without_a_sign_that_it_was():
    cells = [f"{i}23456.7{i}" for i in range(1, 6)]
    row = ("a", *cells, "823456.78 .. 923456.79", "723456.77")
    lines = to_text(sheet_of(row), 80).splitlines()
    for cell in (*row[1:6], row[7]):
        shown = [line for line in lines if cell in line]
        cut = [line for line in lines if "\N{HORIZONTAL ELLIPSIS}" in line]
        assert shown or cut


def test_a_long_name_is_folded_and_not_cut():
    name = "n" * 100
    text = to_text(Table("t", ("parameter", "MLE"), ((name, "1.0"),), ()), 80)
    assert text.count("n") == 100


def test_a_long_note_is_wrapped_and_not_cut():
    words = [f"word{i}" for i in range(60)]
    text = to_text(sheet_of(notes=(("flag", " ".join(words)),)), 80)
    assert all(word in text.split() for word in words)


def test_a_long_word_in_a_note_is_not_cut():
    text = to_text(sheet_of(notes=(("flag", "w" * 200),)), 80)
    assert text.count("w") == 200


def test_what_looks_like_markup_is_text():
    sheet = sheet_of(("[bold]a[/bold]", *"1234567"), notes=(("flag", "x[red] \\[b]"),))
    text = to_text(sheet, 80)
    assert "[bold]a[/bold]" in text
    assert "x[red] \\[b]" in text
    assert "\x1b" not in text


def test_a_table_without_rows_is_its_title_and_notes():
    text = to_text(sheet_of(notes=(("time", "1 s"),)), 80)
    assert text.splitlines()[0] == "A title"
    assert "parameter" not in text
    assert "time  1 s" in text


def test_lines_have_no_trailing_blanks():
    assert all(line == line.rstrip() for line in to_text(ORDINARY, 80).splitlines())


@pytest.mark.parametrize("columns", ["40", "80", "132"])
def test_the_width_is_the_terminals_but_at_least_sixty(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    longest = max(map(len, to_text(ORDINARY).splitlines()))
    assert longest <= max(60, int(columns))
    assert longest > max(60, int(columns)) - 20


# --- HTML -------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects the tags and the text of a fragment."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.content: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.content.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


NASTY = ["<script>alert(1)</script>", '" onclick="x', "a & b", "</td></table>", "{{ 7 * 7 }}", "'"]


@pytest.mark.parametrize("text", NASTY)
def test_every_string_is_text_in_html(text):
    sheet = Table(text, (text, text), ((text, text),), ((text, text),))
    reader = read(to_html(sheet))
    assert reader.content.count(text) == 7
    assert "script" not in reader.tags
    assert {name for name, _ in reader.attributes} <= {"class", "scope"}


def test_html_has_a_row_for_each_row_and_aligns_numbers():
    reader = read(to_html(ORDINARY))
    assert reader.tags.count("tr") == 1 + len(ORDINARY.rows)
    assert reader.attributes.count(("class", "number")) == 7 * (1 + len(ORDINARY.rows))


def test_html_of_an_empty_sheet_is_well_formed():
    assert "table" in read(to_html(Table("t", ("parameter",), (), ()))).tags


@given(cells)
def test_html_is_well_formed_whatever_the_names(text):
    read(to_html(Table(text, (text,), ((text,),), ((text, text),))))
