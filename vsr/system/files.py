"""Check output paths before any work, and write files whole or not at all."""

import hashlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vsr.errors import MediaError, OutputError
from vsr.system.address import PIPE
from vsr.system.folders import FILM_SUFFIXES, STILL_SUFFIXES

_LONGEST_NAME = 255
"""Bytes, where the file system doesn't report its limit."""
_HASH_DIGITS = 12


def check_output_path(path: Path, what: str, suffixes: Collection[str], overwrite: bool) -> None:
    """Raise `OutputError` where `path` has an unknown suffix or can't be written.

    `what` names the type of file in the message, such as "video".
    """
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: unknown {what} format; use {', '.join(sorted(suffixes))}")
    check_writable(path, overwrite)


def check_text_output(path: Path | None, overwrite: bool) -> None:
    """Raise `OutputError` where a text can't be written to `path`; `-` is standard output."""
    if path == PIPE:
        check_standard_output()
    elif path is not None:
        check_writable(path, overwrite)


def check_standard_output() -> None:
    """Raise `OutputError` where standard output is closed."""
    if sys.stdout is None:
        raise OutputError("standard output: is closed; name a file, or open it")


def check_distinct(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Raise `OutputError` where an output is one of the inputs, or another output.

    Files are compared, not names, so that links are followed. If an input is a folder, all films
    and pictures in it are inputs. None stands for an output that isn't requested; `-` is distinct
    from every file.
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
                raise OutputError(f"{path}: is inside the input {other}; name another output")


def check_writable(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` where a file can't be written to `path`, or exists already."""
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
        raise write_failure(path, error) from error
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path.parent}: no permission to write there")


def file_stamp(path: Path) -> tuple[str, int, int]:
    """Return the absolute path, the size and the time of change in ns, which identify a content.

    Raises `MediaError` where there is no such file.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file") from error
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {reason(error)}") from error
    return str(path.absolute()), found.st_size, found.st_mtime_ns


def make_folder(folder: Path) -> None:
    """Create a folder and its parents. Raises `OutputError` where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder}: is a file; name a folder") from error
    except OSError as error:
        raise OutputError(f"{folder}: can't be created: {reason(error)}") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: no permission to write there")


def hidden_sibling(path: Path, ending: str) -> Path:
    """Return the hidden path `.NAME` + `ending` in the folder of `path`.

    Where that is longer than the file system allows, NAME is cut and a hash of it appended. The
    result depends on `path` and `ending` alone.
    """
    longest = _longest_name(path.parent)
    name = f".{path.name}{ending}"
    if len(os.fsencode(name)) <= longest:
        return path.with_name(name)
    digest = hashlib.blake2b(os.fsencode(path.name)).hexdigest()[:_HASH_DIGITS]
    rest = f"~{digest}{ending}"
    kept = os.fsencode(path.name)[: longest - len(os.fsencode(rest)) - 1]
    return path.with_name("." + kept.decode("utf-8", errors="ignore") + rest)


def partial_path(path: Path) -> Path:
    """Return the path of a file until it is complete; it has the suffix of `path`."""
    return hidden_sibling(path, f".{os.getpid()}.partial{path.suffix}")


@contextmanager
def atomic_path(
    path: Path, *, partial: Path | None = None, durable: bool = False, name: Path | None = None
) -> Iterator[Path]:
    """Write a file whole or not at all: give a temporary path, and rename it to `path` at the end.

    After an error, the temporary file is deleted, and `path` is as before. The temporary file is
    `partial`, in the folder of `path`, or else `partial_path`. With `durable`, file and folder are
    on the disk at the end, so that a power cut leaves the old file or the whole new one. Raises
    `OutputError` for errors of the operating system, about `name` or else about `path`.
    """
    partial = partial_path(path) if partial is None else partial
    try:
        yield partial
        if durable:
            flush_to_disk(partial)
        partial.replace(path)
        if durable:
            flush_folder(path.parent)
    except OSError as error:
        raise write_failure(name or path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Write a file's content from the system's cache to the disk. Raises OSError."""
    with path.open("r+b") as file:  # Windows flushes no file that is opened for reading
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Write a folder's entries, such as a rename, to the disk, where the system supports it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system while `path` is written into `OutputError`s."""
    try:
        yield
    except OSError as error:
        raise write_failure(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; `-` is standard output. Raises `OutputError`."""
    if path == PIPE:
        write_standard_output(text if text.endswith("\n") else text + "\n")
        return
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_standard_output(text: str) -> None:
    """Write a text to standard output. Raises `OutputError` where that fails."""
    check_standard_output()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(f"standard output: {reason(error)}") from error


def write_failure(path: Path, error: Exception) -> OutputError:
    """Describe an error of the operating system or of FFmpeg while `path` is written."""
    return OutputError(f"{path}: can't be written: {reason(error)}")


def reason(error: Exception) -> str:
    """Describe an error of the operating system or of FFmpeg in a few words."""
    return str(getattr(error, "strerror", None) or error).lower()


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
