"""The command line: run a file, take its model, write a report."""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pymc as pm

from pmlik.compare import compare
from pmlik.errors import FileError, PmlikError
from pmlik.labels import printable
from pmlik.results.comparison import Comparison
from pmlik.results.files import check_replaceable, write_text
from pmlik.results.flags import Severity
from pmlik.results.table import to_text

_FLAGGED, _USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    ``arguments``: default: those of the process.
    Returns: 0; 1 if something is flagged as an error; 2 if the command can't be carried out.
    """
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has said what is wrong
        return int(stop.code or 0)
    try:
        _check(options)
        comparison = _compare(options, _find_model(options.model))
        _write(comparison, options.output)
    except (PmlikError, _UsageError) as error:
        print(f"pmlik: {error}", file=sys.stderr)
        return _USAGE
    errors = [flag for flag in comparison.flags if flag.severity is Severity.ERROR]
    for flag in errors:
        print(f"pmlik{comparison.whose(flag)}: {flag}", file=sys.stderr)
    return _FLAGGED if errors else 0


class _UsageError(Exception):
    """The command can't be carried out as it was given."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmlik",
        description="Run a Python file, take the PyMC model that it makes, and compare its MLE, "
        "MAP and posterior. Exit status: 0, 1 if something is flagged as an error, 2 if the "
        "command can't be carried out.",
    )
    parser.add_argument(
        "model", metavar="FILE.py[:model]", help="the file, and the model's name if it has several"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="REPORT",
        help=f"where to write, by suffix: {', '.join(SUFFIXES)} (default: text to the terminal)",
    )
    parser.add_argument("--draws", type=int, help="draws per chain")
    parser.add_argument("--chains", type=int, help="number of chains")
    parser.add_argument(
        "--init", choices=("auto", "map", "prior"), default="auto", help="where the chains start"
    )
    parser.add_argument("--seed", type=int, help="random seed")
    parser.add_argument(
        "--var-names", nargs="+", metavar="NAME", help="the variables to compare (default: all)"
    )
    parser.add_argument("--no-sample", action="store_true", help="MLE and MAP only")
    parser.add_argument("--version", action="version", version=f"pmlik {version('pmlik')}")
    return parser


def _check(options: argparse.Namespace) -> None:
    for name in ("draws", "chains"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise _UsageError(f"--{name}: got {value}, need a number from 1 up.")
    if options.output is not None:
        target = Path(options.output)
        if target.suffix.lower() not in SUFFIXES:
            raise _UsageError(f"--output: {target} ends in none of {', '.join(SUFFIXES)}.")
        if not target.parent.is_dir():
            raise _UsageError(f"--output: there is no folder {target.parent}.")
        check_replaceable(target)
        if not os.access(target if target.is_file() else target.parent, os.W_OK):
            raise _UsageError(f"--output: {target} can't be written: no permission.")


def _find_model(given: str) -> pm.Model:
    """Run the file and take its model."""
    path, name = given, ""
    if not Path(path).is_file() and ":" in path:
        path, _, name = given.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise _UsageError(f"{path}: there is no such file.")
    sys.path.insert(0, str(file.resolve().parent))
    try:
        names = runpy.run_path(str(file), run_name="__pmlik__")
    except SystemExit as stop:
        raise _UsageError(f"{path}: it ended by itself (exit {stop.code}).") from None
    except Exception as error:  # whatever the user's file raises
        raise _UsageError(f"{path}: running it raised {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return _choose(path, names, name)


def _choose(path: str, names: dict[str, Any], name: str) -> pm.Model:
    if name:
        chosen = names.get(name)
        if not isinstance(chosen, pm.Model):
            raise _UsageError(f"{path}: {name!r} is {type(chosen).__name__}, need a pm.Model.")
        return chosen
    models = {key: value for key, value in names.items() if isinstance(value, pm.Model)}
    distinct = {id(model): model for model in models.values()}
    if "model" in models:
        return models["model"]
    if len(distinct) != 1:
        found = f"{len(distinct)} models ({', '.join(models)})" if models else "no pm.Model"
        raise _UsageError(f"{path}: it makes {found}. Name one: {path}:NAME.")
    return next(iter(distinct.values()))


def _compare(options: argparse.Namespace, model: pm.Model) -> Comparison:
    sampler = {"draws": options.draws, "chains": options.chains}
    return compare(
        model,
        random_seed=options.seed,
        init=options.init,
        var_names=options.var_names,
        sample=not options.no_sample,
        extras=options.output is not None,
        progressbar=sys.stdout.isatty(),  # pm.sample shows its own there
        sample_kwargs={key: value for key, value in sampler.items() if value is not None},
    )


_WRITERS: dict[str, Callable[[Comparison], str]] = {
    ".html": Comparison.to_html,
    ".htm": Comparison.to_html,
    ".md": Comparison.to_markdown,
    ".tex": Comparison.to_latex,
    ".json": Comparison.to_json,
    ".txt": lambda comparison: to_text(comparison.sheet(), 100) + "\n",
}

#: The suffixes that a report's name can have.
SUFFIXES = (*_WRITERS, ".nc", ".zarr")


def write_report(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write a report in the format that the suffix names.

    The file appears whole or not at all.

    ``path``: ends in one of ``SUFFIXES``.
    Raises `FileError` for another suffix, or a path that can't be written.
    """
    target = Path(path)
    if target.suffix.lower() in (".nc", ".zarr"):
        return comparison.save(target)
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise FileError(f"{target}: need a name that ends in {', '.join(_WRITERS)}, .nc or .zarr.")
    check_replaceable(target)
    return write_text(target, writer(comparison))


def _write(comparison: Comparison, output: str | None) -> None:
    if output is not None:
        print(write_report(comparison, output))
        return
    print(to_text(comparison.sheet()))
    width = shutil.get_terminal_size((80, 24)).columns
    for finding in comparison.findings():
        print()
        print(textwrap.fill(printable(str(finding)), width))
