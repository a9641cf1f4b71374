"""Writing loses nothing: what may be replaced is, all else is refused, and an old file stays."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

import pmlik
from oracles.equality import assert_equal
from oracles.records import RECORDS, plain
from pmlik.errors import FileError
from pmlik.results import files, storage
from pmlik.results.curves import Curves

WRITERS = {
    "page": lambda path: plain().to_html(path),
    "markdown": lambda path: plain().to_markdown(path),
    "latex": lambda path: plain().to_latex(path),
    "json": lambda path: plain().to_json(path),
    "it.nc": lambda path: plain().save(path),
    "it.zarr": lambda path: plain().save(path),
}
SUFFIXES = [".nc", ".zarr"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_is_refused_and_keeps_its_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.mkdir()
    (path / "thesis.txt").write_text("all of it")
    with pytest.raises(FileError, match=name):
        WRITERS[name](path)
    assert (path / "thesis.txt").read_text() == "all of it"
    assert os.listdir(tmp_path) == [name]


def test_a_zarr_store_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.zarr"
    xr.Dataset({"x": ("n", [1.0, 2.0])}).to_zarr(path, consolidated=False)
    with pytest.raises(FileError, match="something else than a Zarr store of pmlik"):
        plain().save(path)
    assert xr.open_zarr(path, consolidated=False)["x"].values.tolist() == [1.0, 2.0]


def test_a_zarr_store_does_not_replace_a_file(tmp_path: Path) -> None:
    path = tmp_path / "it.zarr"
    path.write_text("notes")
    with pytest.raises(FileError):
        plain().save(path)
    assert path.read_text() == "notes"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_symbolic_link_stays_and_its_target_is_written(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    real, link = tmp_path / "kept" / f"real{suffix}", tmp_path / f"link{suffix}"
    RECORDS["many"]().save(real)
    link.symlink_to(real)
    plain().save(link)
    assert link.is_symlink()
    assert_equal(plain(), pmlik.load(real))
    assert os.listdir(real.parent) == [real.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(
    suffix, tmp_path, monkeypatch
) -> None:
    path = plain().save(tmp_path / f"it{suffix}")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    name = "replace_store" if suffix == ".zarr" else None
    monkeypatch.setattr(*((storage, name, fail) if name else (os, "fsync", fail)))
    with pytest.raises(FileError, match=rf"it\{suffix}: can't be written \(No space left"):
        RECORDS["many"]().save(path)
    assert_equal(plain(), pmlik.load(path))
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_that_is_not_writable_is_one_clear_error(tmp_path, monkeypatch) -> None:
    def fail(**_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.tempfile, "mkdtemp", fail)
    with pytest.raises(FileError, match="Permission denied"):
        plain().to_markdown(tmp_path / "it.md")


@pytest.mark.parametrize("suffix", [".md", ".nc", ".zarr"])
def test_too_long_a_name_is_one_clear_error(suffix: str, tmp_path: Path) -> None:
    write = plain().to_markdown if suffix == ".md" else plain().save
    with pytest.raises(FileError, match="too long"):
        write(tmp_path / f"{'n' * 300}{suffix}")
    write(tmp_path / f"{'n' * 240}{suffix}")
    assert len(os.listdir(tmp_path)) == 1


KILLED = """
import os, signal, sys
from pmlik.results import files, storage
from oracles.records import RECORDS
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "between":
    files._exchange = lambda *_: False
    rename = files.Path.rename
    files.Path.rename = lambda self, to: die() if self.name == "new" else rename(self, to)
elif sys.argv[2] == "store":
    storage.replace_store = die
else:
    os.fsync = die
RECORDS["many"]().save(sys.argv[1])
"""


@pytest.mark.parametrize("when", ["file", "store", "between"])
def test_a_killed_save_leaves_the_old_file_and_is_cleaned_up(when: str, tmp_path: Path) -> None:
    path = plain().save(tmp_path / ("it.nc" if when == "file" else "it.zarr"))
    tests = str(Path(__file__).parents[1])
    roads = os.pathsep.join([tests, str(Path(pmlik.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path), when],
        env={**os.environ, "PYTHONPATH": roads},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1 + (when != "between")
    assert_equal(plain(), pmlik.load(path))
    plain().save(path)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["page", "json", "markdown", "latex"])
def test_a_path_is_refused_before_the_text_is_made(name: str, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    for made in ("render_page", "to_markdown", "to_latex", "storage.to_json"):
        monkeypatch.setattr(f"pmlik.results.comparison.{made}", refuse)
    path = tmp_path / name
    path.mkdir()
    with pytest.raises(FileError, match="a folder is there"):
        WRITERS[name](path)


def test_a_writer_computes_no_curves() -> None:
    def refuse(*_: object) -> Curves:
        raise AssertionError

    comparison = plain()
    background = replace(comparison.background, curves={}, compute_curves=refuse)
    bare = replace(comparison, background=background)
    bare.to_html()
    bare.to_json()
    bare.to_datatree()
    with pytest.raises(AssertionError):
        bare.curves("first")
    assert comparison.curves("first") is comparison.background.curves["first"]
    with pytest.raises(pmlik.ValuesError, match="'third' is not in the comparison"):
        comparison.curves("third")
