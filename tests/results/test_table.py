"""Tables as text and HTML: whatever the names and notes, nothing is cut or lost."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmlik.results.table import Table, to_html, to_text

# --- text -----------------------------------------------------------------------------------------

MINUS = "\N{MINUS SIGN}"


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


# --- HTML -----------------------------------------------------------------------------------------


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
