"""No hidden routes between files, and no long ones: what import-linter can't see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pmlik"
FILES = sorted(PACKAGE.rglob("*.py"))

# Optional or slow third-party packages, which may be imported where they are used.
LATE = {"bambi", "matplotlib", "nutpie", "pymc_extras", "zarr"}

# Public by convention: those of a NamedTuple and of notebooks.
CONVENTIONS = {"_replace", "_asdict", "_fields", "_repr_html_"}

# What PyMC offers no public way to: a copy without initial values, a graph's coords and dims.
PYMC_ONLY = {"__dict__", "_coords", "_dim_lengths"}
KNOWS_PYMC = {"transform.py"}

# Names of arguments that only ever stand for a record of pmlik's own.
RECORDS = {
    "comparison",
    "estimate",
    "mle",
    "map_estimate",
    "posterior",
    "prepared",
    "problem",
    "compiled",
    "likelihood",
    "integrand",
    "roles",
    "options",
    "objective",
    "fitted",
}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def allowed(path: Path) -> set[str]:
    return PYMC_ONLY if path.name in KNOWS_PYMC else set()


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 0)}"


def late_imports(path: Path) -> Iterator[str]:
    for function in ast.walk(tree_of(path)):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            yield from (
                f"{where(path, node)} imports {name} inside {function.name}"
                for name in names
                if name.split(".")[0] not in LATE
            )


def written_dicts(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr == "__dict__" not in allowed(path):
            yield f"{where(path, node)} reads or writes __dict__"


def private_members(path: Path) -> Iterator[str]:
    """Private members of anything but the classes, and the modules, of this file."""
    tree = tree_of(path)
    own = {
        name
        for node in ast.walk(tree)
        for name in _defined(node)
        if name.startswith("_") and not name.startswith("__")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pmlik"):
            yield from (
                f"{where(path, node)} imports {alias.name}"
                for alias in node.names
                if alias.name.startswith("_") and node.module != "pmlik"
            )
        if not isinstance(node, ast.Attribute) or node.attr in own | CONVENTIONS | allowed(path):
            continue
        if node.attr.startswith("_") and not node.attr.startswith("__"):
            yield f"{where(path, node)} uses {ast.unparse(node)}"


def _defined(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return [node.attr] if ast.unparse(node.value) in ("self", "cls") else []
    return []


def untyped_records(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        pairs: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.arg):
            pairs = [(node.arg, node.annotation)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            pairs = [(node.target.id, node.annotation)]
        for name, annotation in pairs:
            if annotation is not None and name in RECORDS and ast.unparse(annotation) == "Any":
                yield f"{where(path, node)} has {name}: Any"


def long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            lines = (node.end_lineno or 0) - node.lineno + 1 - text.count("\n")
            if lines > 60:
                yield f"{where(path, node)} {node.name} has {lines} lines"


def long_files(path: Path) -> Iterator[str]:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > 450:
        yield f"{path.relative_to(PACKAGE.parent)} has {lines} lines"


RULES = [late_imports, written_dicts, private_members, untyped_records, long_functions, long_files]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_file_breaks_a_rule_of_the_house(rule) -> None:
    assert not [line for path in FILES for line in rule(path)]


def test_the_rules_see_what_they_forbid(tmp_path, monkeypatch) -> None:
    """Each rule finds the breach in a file that is made to break it."""
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "pmlik")
    (tmp_path / "pmlik").mkdir()
    bad = tmp_path / "pmlik" / "bad.py"
    body = "\n".join(f"    x = {i}" for i in range(500))
    bad.write_text(
        "from pmlik.labels import _word\n"
        "def f(comparison: Any):\n"
        "    import pmlik.results\n"
        "    comparison.__dict__['x'] = comparison._hidden\n" + body
    )
    for rule in RULES:
        assert list(rule(bad)), rule.__name__
