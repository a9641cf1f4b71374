"""Every text format on records that are hard to show, against files that were read and approved.

``PYTHONPATH=tests python tests/public/test_golden.py`` writes the files anew; read what
changed before it is committed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

from oracles.records import RECORDS
from pmlik.results.comparison import Comparison
from pmlik.results.table import to_text

matplotlib.use("Agg")

GOLDEN = Path(__file__).parent / "golden"


def page_without_figures(comparison: Comparison) -> str:
    """Curves depend on Matplotlib's version; their text alternatives do not."""
    page = comparison.to_html()
    page = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.S)
    return re.sub(
        r'<svg role="img" aria-label="(Panel|Estim|From|Where|Trace)(.*?)".*?</svg>',
        r"[\1\2]",
        page,
        flags=re.S,
    )


def readable_json(comparison: Comparison) -> str:
    document = json.loads(comparison.to_json(draws=False))
    arrays = document["groups"]["arrays"]  # densities are ArviZ's
    for part in ("data_vars", "dims"):
        arrays[part] = {k: v for k, v in arrays[part].items() if "_curves_" not in k}
    return json.dumps(document, indent=1, ensure_ascii=False)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "txt": lambda c: to_text(c.sheet(), 80) + "\n\n" + "\n".join(map(str, c.findings())) + "\n",
    "md": lambda c: c.to_markdown(),
    "tex": lambda c: c.to_latex(label="tab:it"),
    "html": page_without_figures,
    "json": readable_json,
}

CASES = [
    (name, suffix)
    for name in RECORDS
    for suffix in FORMATS
    if name != "many" or suffix not in ("html", "json")
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "suffix"), CASES, ids=[f"{n}-{s}" for n, s in CASES])
def test_a_format_is_as_approved(name: str, suffix: str) -> None:
    text = FORMATS[suffix](RECORDS[name]())
    assert text == (GOLDEN / f"{name}.{suffix}").read_text(encoding="utf-8")


if __name__ == "__main__":
    for name, suffix in CASES:
        target = GOLDEN / f"{name}.{suffix}"
        target.write_text(FORMATS[suffix](RECORDS[name]()), encoding="utf-8")
