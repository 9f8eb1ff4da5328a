"""Locate the user's folders of caches and of data."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder `name` in vsr's part of the user's cache; it may not exist yet.

    `$XDG_CACHE_HOME/vsr/name`, or `~/.cache/vsr/name` where that variable is unset.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "vsr" / name


def data_folder(name: str) -> Path:
    """Return the folder `name` in vsr's part of the user's data; it may not exist yet.

    `$XDG_DATA_HOME/vsr/name`, or `~/.local/share/vsr/name` where that variable is unset.
    """
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "vsr" / name
