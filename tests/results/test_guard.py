"""A part of a report that can't be made is left out alone, and said."""

from __future__ import annotations

import pytest

from oracles.records import plain
from pmlik.results import comparison_table, figures, findings, html

SECTIONS = [
    *((html, name) for name in ("_row", "_verdict")),
    *((figures, name) for name in ("_panel", "_forest", "_attribution", "plot_compare")),
]


def _fail(*args: object, **kwargs: object) -> None:
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize(("module", "name"), SECTIONS)
def test_functions_of_the_page(module: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, name, _fail)
    page = plain().to_html()
    assert page.endswith("</html>") or page.rstrip().endswith("</html>")
    assert "ZeroDivisionError: on purpose" in page or name in ("_panel", "plot_compare")


@pytest.mark.parametrize(
    ("parts", "name"),
    [(parts, name) for parts in ("_PARTS", "_ORDERED") for name in getattr(html, parts)],
)
def test_sections(parts: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    what, _, otherwise = getattr(html, parts)[name]
    monkeypatch.setitem(getattr(html, parts), name, (what, _fail, otherwise))
    page = plain().to_html()
    assert f"Left out: {what} (ZeroDivisionError: on purpose)." in page
    assert page.count("Left out:") == 1


def test_a_page_without_failures_says_nothing() -> None:
    assert "Left out:" not in plain().to_html()


@pytest.mark.parametrize("name", ["_difference", "_outlier", "_about_latents"])
def test_findings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, name, _fail)
    texts = list(map(str, plain().findings(all=True)))
    assert any("agree" in text for text in texts)
    if name == "_difference":
        assert "No finding about second (ZeroDivisionError: on purpose)." in texts


def test_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_table, "_likelihood_note", _fail)
    text = str(plain())
    assert "first" in text
    assert "estimates (ZeroDivisionError: on purpose)" in text
