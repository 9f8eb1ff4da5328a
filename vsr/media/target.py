"""Whether a file may be written where somebody wants it."""

import os
import sys
from collections.abc import Collection
from pathlib import Path

from vsr.errors import OutputError


def check_target(path: Path, what: str, suffixes: Collection[str], overwrite: bool) -> None:
    """Raise `OutputError` where `path` can't or mustn't be written, before any work is done."""
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: unknown {what} format; use {', '.join(sorted(suffixes))}")
    _check_place(path, overwrite)


def check_text_target(path: Path | None, overwrite: bool) -> None:
    """Raise `OutputError` where a report couldn't be written to `path`; `-` is standard output."""
    if path is not None and str(path) != "-":
        _check_place(path, overwrite)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; `-` is standard output. Raises `OutputError`."""
    if str(path) == "-":
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_place(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; use --overwrite to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path.parent}: no permission to write there")
