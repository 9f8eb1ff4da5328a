"""Locate the user's folders of caches and of data."""

import os
import sys
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder `name` in vsr's part of the user's cache; it may not exist yet.

    `$XDG_CACHE_HOME/vsr/name`, or `~/.cache/vsr/name` where that variable is unset.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "vsr" / name


def data_folder(name: str) -> Path:
    """Return the folder `name` in vsr's part of the user's data; it may not exist yet.

    `$XDG_DATA_HOME/vsr/name`; where that variable is unset, `~/.local/share/vsr/name`, on Windows
    `%LOCALAPPDATA%\\vsr\\name`, and on macOS `~/Library/Application Support/vsr/name`.
    """
    home = Path(os.environ.get("XDG_DATA_HOME") or _default_data_home())
    return home / "vsr" / name


def _default_data_home() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path.home() / ".local" / "share"
