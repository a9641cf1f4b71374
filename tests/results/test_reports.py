"""Reports: whole, accessible, and harmless whatever the names."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pmlik
from oracles.records import (
    HOSTILE,
    RECORDS,
    make_comparison,
    make_point,
    make_posterior,
    many,
    plain,
)
from pmlik.cli import write_report
from pmlik.errors import FileError
from pmlik.results.flags import Flag, FlagCode, Severity

matplotlib.use("Agg")

VOID = {"meta", "link", "input", "br"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """What a page is made of; fails where it is not well nested."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module", params=list(RECORDS))
def page(request: pytest.FixtureRequest) -> Page:
    return Page(RECORDS[request.param]().to_html())


def test_a_page_asks_for_nothing_from_outside(page: Page) -> None:
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert (attrs.get(name) or "#").startswith(("#", "data:,"))
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert "default-src 'none'" in policy


def test_ids_are_used_once_and_links_lead_somewhere(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in page.all("a") if (a["href"] or "").startswith("#")}
    assert targets <= set(ids)


def test_headings_are_in_order_and_tables_have_heads(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert page.all("html")[0]["lang"] == "en"


def test_figures_have_words(page: Page) -> None:
    figures = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert figures
    assert all(len(svg["aria-label"] or "") > 10 for svg in figures)


def test_names_are_text_and_nothing_else() -> None:
    page = Page(RECORDS["hostile"]().to_html())
    assert len(page.all("script")) == 1
    assert page.all("b") == page.all("i") == page.all("img") == []
    text = "".join(page.text)
    for name in HOSTILE[:5]:
        assert name in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_name_cannot_end_the_script() -> None:
    page = Page(RECORDS["slashes"]().to_html())
    assert "</script>" in "".join(page.text)


@pytest.mark.parametrize("name", ["to_markdown", "to_latex", "__str__"])
def test_control_characters_reach_no_terminal(name: str) -> None:
    text = getattr(RECORDS["hostile"](), name)()
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)


def test_latex_has_a_cell_for_every_column() -> None:
    text = RECORDS["hostile"]().to_latex(columns=["MLE", "interval", "shift/sd"])
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)&", row)) == 3 for row in rows)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_markdown_has_a_cell_for_every_column() -> None:
    text = RECORDS["hostile"]().to_markdown(columns=["MLE", "SE"])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(HOSTILE)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


def test_columns_and_variables_are_chosen() -> None:
    text = plain().to_markdown(columns=["shift/sd", "MLE"], var_names=["second"])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == "| parameter | shift/sd | MLE |"
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| second"]
    with pytest.raises(pmlik.ValuesError, match="columns: 'R2' is not in the table"):
        plain().to_latex(columns=["R2"])
    with pytest.raises(pmlik.ValuesError, match="'third' not in the comparison"):
        plain().to_latex(var_names=["third"])
    with pytest.raises(pmlik.ValuesError, match="need a list"):
        plain().to_latex(columns="MLE")


def test_a_thousand_parameters_stay_small() -> None:
    page = many(1000).to_html()
    assert len(page.encode()) < 5_000_000
    assert page.count("effect[") >= 1000


def test_references_stand_beside() -> None:
    frame = pd.DataFrame({"R": [1.2501, -0.0375], "SE": [0.5, 0.01]}, ["first", "second"])
    comparison = plain().with_reference(frame).with_reference({"first": 1.3})
    assert comparison.table["R"].to_list() == [1.2501, -0.0375]
    assert comparison.table["reference"].to_list() == pytest.approx(
        [1.3, float("nan")], nan_ok=True
    )
    assert (
        float(comparison.dataset["second"].sel({"method": "R", "statistic": "std_error"})) == 0.01
    )
    for text in (str(comparison), comparison.to_html(), comparison.to_markdown(columns=["R"])):
        assert "R" in text
    assert comparison.to_latex(columns=["R"]).count("$1.25$") == 1


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"third": 1.0}, "'third' is not in the comparison, which has first, second"),
        ({"first": "much"}, "'first' is 'much', need a number"),
        ({"first": [1.0, 2.0]}, "'first' has 2 values, need 1"),
        ([1.0, 2.0], "got list, need a mapping"),
        (pd.DataFrame({"mle": {"first": 1.0}}), "'mle' is there already"),
        (pd.DataFrame({"R": {"first": "x"}}), "no column of numbers"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(reference, message) -> None:
    with pytest.raises(pmlik.ValuesError, match=message):
        plain().with_reference(reference)


@pytest.mark.parametrize("suffix", [".html", ".md", ".tex", ".json", ".txt", ".nc", ".zarr"])
def test_a_report_is_written_by_its_suffix(suffix: str, tmp_path: Path) -> None:
    target = write_report(plain(), tmp_path / f"report{suffix}")
    assert target.exists()
    if suffix in (".html", ".md", ".tex", ".txt"):
        assert "second" in target.read_text(encoding="utf-8")
    with pytest.raises(FileError, match="need a name that ends in"):
        write_report(plain(), tmp_path / "report.docx")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("name", list(RECORDS))
def test_a_browser_shows_it_from_disk_without_a_word(name: str, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    RECORDS[name]().to_html(path)
    document, messages = browse(path, tmp_path)
    assert messages == []
    assert "rows</output>" in document  # the script has run
    assert "alert" not in re.sub(r"&lt;.*?alert", "", document) or name == "hostile"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_browser_test_would_hear_a_request(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page = plain().to_html().replace("</main>", '<img src="http://example.org/x.png"></main>')
    path.write_text(page, encoding="utf-8")
    _, messages = browse(path, tmp_path)
    assert messages


def browse(path: Path, folder: Path) -> tuple[str, list[str]]:
    """The document as Chromium has it after its scripts, and what the console was told.

    The page's policy forbids every request, and the browser tells the console of each.
    """
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--enable-logging=stderr", "--log-level=0", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def test_the_numbers_on_an_axis_are_whole() -> None:
    values, errors = {"tiny": 0.0005501564}, {"tiny": 6.7e-06}
    comparison = make_comparison(
        make_point("mle", values, errors),
        make_point("map", values, errors),
        make_posterior(values, errors),
    )
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", comparison.to_html())
    assert any(re.fullmatch(r"0\.0005\d+", text) for text in texts)


PDFLATEX = shutil.which("pdflatex")


@pytest.mark.skipif(PDFLATEX is None, reason="no pdfLaTeX here")
@pytest.mark.parametrize("name", list(RECORDS))
def test_latex_compiles_and_fits_the_page(name: str, tmp_path: Path) -> None:
    done = typeset(RECORDS[name]().to_latex(label="tab:it"), tmp_path)
    assert "Undefined" not in done
    if name != "broken":  # which has numbers of any width
        assert "Overfull" not in done


@pytest.mark.skipif(PDFLATEX is None, reason="no pdfLaTeX here")
def test_greek_names_compile(tmp_path: Path) -> None:
    values = {"β_0": 1.0, "σ²": 2.0, "Δ": 3.0}
    comparison = make_comparison(
        make_point("mle", values, values), make_point("map", values, values)
    )
    text = comparison.to_latex()
    assert r"$\beta$\_0" in text
    assert r"$\sigma$$^2$" in text
    typeset(text, tmp_path)


def test_letters_that_pdflatex_lacks_are_told() -> None:
    values = {"率": 1.0}
    comparison = make_comparison(
        make_point("mle", values, values), make_point("map", values, values)
    )
    assert "% has 率: compile with lualatex" in comparison.to_latex()
    assert "% has" not in plain().to_latex()


def typeset(text: str, folder: Path) -> str:
    """What pdfLaTeX says of a table in an article with booktabs alone."""
    assert PDFLATEX is not None
    page = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (folder / "page.tex").write_text(f"{page}{text}\\end{{document}}\n", encoding="utf-8")
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said[-2000:]
    assert (folder / "page.pdf").stat().st_size > 1000
    return said


def test_the_worst_elements_of_vectors_are_traced() -> None:
    flag = Flag(FlagCode.HIGH_R_HAT, Severity.ERROR, (), "Sample longer.", "Worst 2.")
    values = {"effect": np.linspace(0, 1, 30), "scale": 1.0}
    errors = {"effect": np.full(30, 0.1), "scale": 0.1}
    posterior = make_posterior(values, errors, flags=[flag])
    draws = posterior.tree["posterior"].to_dataset()
    draws["effect"][1, :, 17] += 5.0  # two chains that disagree about one of thirty
    posterior = replace(posterior, tree=xr.DataTree.from_dict({"posterior": draws}))
    best = make_point("map", values, errors)
    page = make_comparison(make_point("mle", values, errors), best, posterior).to_html()
    trace = re.search(r'aria-label="Trace of (.*?): every chain', page)
    assert trace is not None
    names = trace[1].split(", ")
    assert names[0] == "effect[17]"
    assert len(names) == 4
    assert "Those with the largest R-hat." in page


def test_chains_without_a_word_against_them_are_not_traced() -> None:
    assert "Trace of" not in plain().to_html()


def test_an_infinite_end_is_an_arrow_at_the_edge_of_the_forest() -> None:
    comparison = plain()
    ends = comparison.posterior.interval.copy(deep=True).assign_attrs(ci_kind="profile")
    ends["first"][1] = np.inf
    axes = pmlik.plot_forest(replace(comparison, intervals={"profile": ends})).axes[0]
    low, high = axes.get_xlim()
    arrows = [line for line in axes.lines if line.get_marker() == ">"]
    assert [float(line.get_xdata()[0]) for line in arrows] == [high]
    assert np.isfinite([low, high]).all()
    assert low < 0.4 < 2.0 < high
