"""The command line: run a file, take its model, write a report."""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import pymc as pm

from pmlik.compare import compare
from pmlik.errors import FileError, PmlikError
from pmlik.labels import printable
from pmlik.model.validate import is_bambi, resolve_model
from pmlik.results.comparison import Comparison
from pmlik.results.files import check_replaceable, write_text
from pmlik.results.flags import Severity
from pmlik.results.table import to_text

_FLAGGED, _USAGE, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    ``arguments``: default: those of the process.
    Returns: 0; 1 if something is flagged as an error; 2 if the command can't be carried out; 130 if
        it was interrupted, with what was found until then.
    """
    try:
        options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    except SystemExit as stop:  # argparse has said what is wrong
        return int(stop.code or 0)
    with _interruptions() as interrupted:
        try:
            status = _carry_out(options)
        except (PmlikError, _UsageError) as error:
            print(f"pmlik: {error}", file=sys.stderr)
            status = _USAGE
        except KeyboardInterrupt:
            interrupted.append(True)
            print("pmlik: interrupted, nothing is written.", file=sys.stderr)
    return _INTERRUPTED if interrupted else status


@contextmanager
def _interruptions() -> Iterator[list[bool]]:
    """Note each Ctrl-C in a list, also those that a step beside the estimates survives."""
    noted = list[bool]()

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(True)
        signal.default_int_handler(number, frame)

    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what follows ``--`` is for the script."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = _parser()
    options = parser.parse_args(arguments[:at])
    options.script = arguments[at + 1 :]
    names = options.var_names or []
    if options.model is None and len(names) > 1:  # --var-names has taken the file, too
        options.model = names.pop()
    if options.model is None:
        parser.error("the following arguments are required: FILE.py[:model]")
    return options


def _carry_out(options: argparse.Namespace) -> int:
    _check(options)
    comparison = _compare(options, _find_model(options.model, options.script))
    _write(comparison, options)
    errors = [flag for flag in comparison.flags if flag.severity is Severity.ERROR]
    for flag in errors:
        print(f"pmlik{comparison.whose(flag)}: {flag}", file=sys.stderr)
    return _FLAGGED if errors else 0


class _UsageError(Exception):
    """The command can't be carried out as it was given."""


class _EndedError(_UsageError):
    """The user's script has ended the process."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmlik",
        description="Run a Python file, take the PyMC model that it makes, and compare its MLE, "
        "MAP and posterior. Arguments after -- are the script's. Exit status: 0, 1 if something is "
        "flagged as an error, 2 if the command can't be carried out, 130 if it was interrupted, "
        "with what was found until then.",
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="FILE.py[:model]",
        help="the file, and the name of a model (also a Bambi one) or of a function that makes it",
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
    parser.add_argument("--ci-prob", type=float, help="probability of the intervals")
    parser.add_argument("--ci-kind", choices=("eti", "hdi"), help="kind of the posterior's")
    parser.add_argument("--target-accept", type=float, help="acceptance of the sampler, as 0.95")
    parser.add_argument(
        "--posterior", metavar="FILE.nc", help="draws that exist already, in place of sampling"
    )
    parser.add_argument("--title", help="title of the page")
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
        try:
            with tempfile.TemporaryFile(dir=target.parent) as trial:
                trial.write(b"x")
        except OSError as error:
            raise _UsageError(f"--output: {target} can't be written: {error.strerror}.") from None


def _find_model(given: str, script: Sequence[str]) -> pm.Model:
    """Run the file, with the script's arguments, and take its model.

    Models that it makes only when it is the main program are taken where there are no others.
    """
    path, name = given, ""
    if not Path(path).is_file() and ":" in path:
        path, _, name = given.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise _UsageError(f"{path}: there is no such file.")
    names = _execute(path, partial(runpy.run_path, str(file), run_name="__pmlik__"), script)
    if not (name in names if name else any(map(_is_model, names.values()))):
        as_main = partial(runpy.run_path, str(file), run_name="__main__")
        with suppress(_EndedError):
            names = _execute(path, as_main, script)
    chosen = _choose(path, names, name)
    if callable(chosen) and not _is_model(chosen):
        chosen = _execute(path, chosen, script)
    if not _is_model(chosen):
        raise _UsageError(f"{path}: {name!r} is {type(chosen).__name__}, need a pm.Model.")
    return resolve_model(chosen)


def _execute(path: str, call: Callable[[], Any], script: Sequence[str]) -> Any:
    """Return what the user's code returns, run as a script with arguments."""
    before = sys.argv
    sys.argv = [path, *script]
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        return call()
    except SystemExit as stop:
        raise _EndedError(f"{path}: it ended by itself (exit {stop.code}).") from None
    except Exception as error:  # whatever the user's file raises
        raised = f"running it raised {type(error).__name__}: {error}"
        raise _UsageError(f"{path}: {raised}{_own_line(path, error)}") from error
    finally:
        sys.path.pop(0)
        sys.argv = before


def _own_line(path: str, error: Exception) -> str:
    """Return the line of the user's file that raised, on lines of its own."""
    own = Path(path).resolve()
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == own
    ]
    return f"\n  {path}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""


def _is_model(value: Any) -> bool:
    return isinstance(value, pm.Model) or is_bambi(value)


def _choose(path: str, names: dict[str, Any], name: str) -> Any:
    """Return the named object, or the only model that there is."""
    if name:
        return names.get(name)
    models = {key: value for key, value in names.items() if _is_model(value)}
    distinct = {id(model): model for model in models.values()}
    if "model" in models:
        return models["model"]
    if len(distinct) != 1:
        found = f"{len(distinct)} models ({', '.join(models)})" if models else "no pm.Model"
        raise _UsageError(f"{path}: it makes {found}. Name one: {path}:NAME.")
    return next(iter(distinct.values()))


def _compare(options: argparse.Namespace, model: pm.Model) -> Comparison:
    names = ("draws", "chains", "target_accept")
    sampler = {name: getattr(options, name) for name in names}
    return compare(
        model,
        random_seed=options.seed,
        init=options.init,
        ci_prob=options.ci_prob,
        ci_kind=options.ci_kind,
        posterior=options.posterior,
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


def write_report(
    comparison: Comparison, path: str | os.PathLike[str], title: str | None = None
) -> Path:
    """Write a report in the format that the suffix names.

    The file appears whole or not at all.

    ``path``: ends in one of ``SUFFIXES``. ``title``: that of a page.
    Raises `FileError` for another suffix, or a path that can't be written.
    """
    target = Path(path)
    if target.suffix.lower() in (".nc", ".zarr"):
        return comparison.save(target)
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise FileError(f"{target}: need a name that ends in {', '.join(_WRITERS)}, .nc or .zarr.")
    check_replaceable(target)
    if title is not None and target.suffix.lower() in (".html", ".htm"):
        return write_text(target, comparison.to_html(title=title))
    return write_text(target, writer(comparison))


def _write(comparison: Comparison, options: argparse.Namespace) -> None:
    if options.output is not None:
        print(write_report(comparison, options.output, options.title))
        return
    print(to_text(comparison.sheet()))
    width = shutil.get_terminal_size((80, 24)).columns
    for finding in comparison.findings():
        print()
        print(textwrap.fill(printable(str(finding)), width))
