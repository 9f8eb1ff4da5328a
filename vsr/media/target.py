"""Whether a file may be written where somebody wants it."""

import os
from collections.abc import Collection
from pathlib import Path

from vsr.errors import OutputError


def check_target(path: Path, what: str, suffixes: Collection[str], overwrite: bool) -> None:
    """Raise `OutputError` where `path` can't or mustn't be written, before any work is done."""
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: unknown {what} format; use {', '.join(sorted(suffixes))}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; use --overwrite to replace it")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path.parent}: no permission to write there")
