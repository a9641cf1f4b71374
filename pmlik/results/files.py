"""Replace a file or a Zarr store whole or not at all."""

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pmlik.errors import FileError
from pmlik.labels import printable

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

ZARR = ".zarr"


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a path. Raises `FileError` for what is no path, or no name that a file can have."""
    if not isinstance(path, str | os.PathLike):
        raise FileError(f"path: got {type(path).__name__}, need a str or a path.")
    if str(path) == "" or "\0" in str(path):
        raise FileError(f"path: got {str(path)!r}, need a name that a file can have.")
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text, whole or not at all.

    Raises `FileError` for a folder, and where the file can't be written; an old file is then
        unchanged.
    """
    target = as_path(path)
    check_replaceable(target)
    replace_file(target, text.encode())
    return target


def replace_file(target: Path, data: bytes | memoryview) -> None:
    """Replace a file by new bytes in one step."""
    with new_beside(target) as (new, old):
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, old)


def check_replaceable(target: Path) -> None:
    """Check that a file, or a Zarr store by its suffix, may be written in a place.

    A file replaces a file, and a Zarr store one that pmlik wrote.

    Raises `FileError` for anything else in that place, or a folder that does not exist.
    """
    with as_file_error(target):
        real = Path(os.path.realpath(target))
        if not real.parent.is_dir():
            raise FileError(f"{target}: there is no folder {real.parent}.")
        if not os.path.lexists(real):
            with suppress(FileNotFoundError):  # too long a name raises another error
                real.lstat()
            return
        if target.suffix == ZARR and not _is_own_store(real):
            raise FileError(f"{target}: there is something else than a Zarr store of pmlik there.")
        if target.suffix != ZARR and not real.is_file():
            kind = "a folder" if real.is_dir() else "no regular file"
            raise FileError(f"{target}: {kind} is there, which a file does not replace.")


def _is_own_store(path: Path) -> bool:
    """True if a folder is a Zarr store (format 3 or 2) with the attributes of `to_datatree`."""
    for name, within in (("zarr.json", "attributes"), (".zattrs", "")):
        try:
            found = json.loads((path / name).read_text(encoding="utf-8"))
            attrs = found[within] if within else found
            if {"pmlik", "pmlik_format"} <= set(attrs):
                return True
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return False


@contextmanager
def as_file_error(target: Path) -> Iterator[None]:
    """Turn an operating system's error into one `FileError`."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        reason = printable(error.strerror or str(error) or type(error).__name__)
        raise FileError(f"{target}: can't be written ({reason}).") from error


@contextmanager
def new_beside(target: Path) -> Iterator[tuple[Path, Path]]:
    """Make a temporary folder; yield the name to write to and the place to move that to.

    The place is the target of a symbolic link. An ``OSError`` becomes a `FileError`.
    """
    with as_file_error(target):
        real = Path(os.path.realpath(target))
        recover(real)
        folder, lock = _locked_folder(real)
        try:
            yield folder / "new", real
        finally:
            _close(folder, lock)


def _prefix(real: Path) -> str:
    """Begin the names of a target's temporary folders; short, however long its own name is."""
    return f".pmlik-{hashlib.sha256(os.fsencode(real.name)).hexdigest()[:16]}-"


def _locked_folder(real: Path) -> tuple[Path, int | None]:
    """Make a folder beside a target, locked as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(real), dir=real.parent))
        lock = _lock(folder)
        if folder.is_dir():  # else another process cleaned it up before it was locked
            return folder, lock
        _close(folder, lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder; None if another process holds it, or where there are no locks."""
    if fcntl is None:
        return None
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _close(folder: Path, lock: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def recover(real: Path) -> None:
    """Remove the temporary folders of killed saves; put back a store that one left aside."""
    for folder in real.parent.glob(f"{_prefix(real)}*"):
        lock = _lock(folder)
        if lock is not None:  # else its save is still at work
            aside = folder / "old"
            if aside.exists() and not os.path.lexists(real):
                aside.rename(real)
            _close(folder, lock)


def replace_store(new: Path, real: Path) -> None:
    """Put a new Zarr store in the place of the old one.

    Linux exchanges two folders in one step. Elsewhere the old one is moved aside first, under a
    name by which the next save or load finds it if the process is killed in between. That is
    simpler than a store of versions, and the store stays one that every reader of Zarr opens.
    """
    if not real.exists():
        new.rename(real)
    elif not _exchange(new, real):
        aside = new.with_name("old")
        real.rename(aside)
        try:
            new.rename(real)
        except OSError:
            aside.rename(real)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system can't."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
    except (AttributeError, OSError, TypeError):
        return False


def check_target(path: str | os.PathLike[str] | None) -> None:
    """Refuse a path that can't be replaced before the text for it is made."""
    if path is not None:
        check_replaceable(as_path(path))


def write_target(text: str, path: str | os.PathLike[str] | None) -> str:
    """Write a text if a path is given, and return it."""
    if path is not None:
        write_text(path, text)
    return text
