"""The README is short; the reference beside the examples has every flag and public name."""

from __future__ import annotations

import re
from pathlib import Path

import pmlik

ROOT = Path(__file__).parents[2]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_the_readme_takes_two_minutes():
    assert len(read("README.md")) <= 9000


def test_every_flag_is_listed_with_its_sentence():
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", read("examples/README.md"), re.M))
    assert rows == {code.name: code.value for code in pmlik.FlagCode}


def test_every_public_function_is_named():
    text = read("examples/README.md")
    verbs = {name for name in pmlik.__all__ if name[0].islower()} | {"Likelihood"}
    assert verbs - set(re.findall(r"`(?:pmlik\.)?(\w+)`", text)) == set()
    assert verbs - set(re.findall(r"`(\w+)`", pmlik.__doc__)) == set()


def test_files_that_are_pointed_at_exist():
    for page in ("README.md", "examples/README.md"):
        base = (ROOT / page).parent
        for target in re.findall(r"\]\(([^)#]+)\)", read(page)):
            assert (base / target).exists(), target


def test_examples_and_benchmarks_that_are_named_exist():
    text = read("README.md") + read("examples/README.md")
    for script in re.findall(r"(?:examples|tests/benchmarks)/[a-z]\w+\.py", text):
        assert (ROOT / script).exists(), script
    listed = set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", read("examples/README.md"), re.M))
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} <= listed
