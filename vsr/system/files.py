"""Whether a file may be written where somebody wants it, and by which name meanwhile."""

import hashlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vsr.errors import OutputError
from vsr.system.address import PIPE
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES

_LONGEST_NAME = 255
"""Bytes, where the file system doesn't say."""
_HASH_LETTERS = 12


def check_target(path: Path, what: str, suffixes: Collection[str], overwrite: bool) -> None:
    """Raise `OutputError` where `path` can't or mustn't be written, before any work is done."""
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: unknown {what} format; use {', '.join(sorted(suffixes))}")
    check_place(path, overwrite)


def check_text_target(path: Path | None, overwrite: bool) -> None:
    """Raise `OutputError` where a report couldn't be written to `path`; `-` is standard output."""
    if path == PIPE:
        check_standard_output()
    elif path is not None:
        check_place(path, overwrite)


def check_standard_output() -> None:
    """Raise `OutputError` where standard output is closed."""
    if sys.stdout is None:
        raise OutputError("standard output: is closed; name a file, or open it")


def check_distinct(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Raise `OutputError` where an output is one of the inputs, or another output.

    Names don't count, files do: links lead to the same. In a folder that is read, films and
    pictures are inputs. None stands for what wasn't asked for; `-` is distinct from every file.
    """
    read = [path for path in inputs if path is not None and path != PIPE]
    written: list[Path] = []
    for path in outputs:
        if path is None:
            continue
        if path in written or any(_same(path, other) for other in written):
            name = "standard output" if path == PIPE else path
            raise OutputError(f"{name}: two outputs can't be one file; name another")
        written.append(path)
        if path == PIPE or not path.exists():
            continue
        for other in read:
            if _same(path, other):
                raise OutputError(f"{path}: is the input itself; name another output")
            footage = path.suffix.lower() in FILM_SUFFIXES | STILL_SUFFIXES
            if footage and other.is_dir() and path.resolve().is_relative_to(other.resolve()):
                raise OutputError(f"{path}: lies in the input {other}; name another output")


def check_place(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` where a file can't or mustn't be written to `path`."""
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file in it")
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists; use --overwrite to replace it")
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is a device or a pipe; name a file, or - for a pipe")
        if not path.parent.is_dir():
            raise OutputError(f"{path.parent}: no such folder")
    except OSError as error:
        raise cannot_write(path, error) from error
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path.parent}: no permission to write there")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises `OutputError` where that can't be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder}: is a file; name a folder") from error
    except OSError as error:
        raise OutputError(f"{folder}: can't be made: {reason(error)}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: no permission to write there")


def beside(path: Path, ending: str) -> Path:
    """A hidden name in the folder of `path`: `.NAME` and `ending`.

    Where that is longer than the file system allows, NAME is cut and a hash of it added; the
    same `path` gives the same name.
    """
    longest = _longest_name(path.parent)
    name = f".{path.name}{ending}"
    if len(os.fsencode(name)) <= longest:
        return path.with_name(name)
    digest = hashlib.blake2b(os.fsencode(path.name)).hexdigest()[:_HASH_LETTERS]
    rest = f"~{digest}{ending}"
    kept = os.fsencode(path.name)[: longest - len(os.fsencode(rest)) - 1]
    return path.with_name("." + kept.decode("utf-8", errors="ignore") + rest)


def partial_of(path: Path) -> Path:
    """What a file is called until it is whole; it keeps its suffix."""
    return beside(path, f".{os.getpid()}.partial{path.suffix}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write a file by, which becomes `path` at the end; with an error, nothing is left.

    Errors of the system become `OutputError`s.
    """
    partial = partial_of(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the system while `path` is written into `OutputError`s."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; `-` is standard output. Raises `OutputError`."""
    if path == PIPE:
        write_standard_output(text if text.endswith("\n") else text + "\n")
        return
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_standard_output(text: str) -> None:
    """Write a text to standard output. Raises `OutputError` where that can't be done."""
    check_standard_output()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(f"standard output: {reason(error)}") from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """What to say of an error of the system's."""
    return OutputError(f"{path}: can't be written: {reason(error)}")


def reason(error: OSError) -> str:
    """An error of the system's in a few words."""
    return str(error.strerror or error).lower()


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _longest_name(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (OSError, ValueError, AttributeError):
        return _LONGEST_NAME
