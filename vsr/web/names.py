"""File names that a client sends."""

import re
import unicodedata
from pathlib import PurePosixPath

_LONGEST_NAME = 180
"""Bytes of a name; the rest of the file system's 255 is for suffixes and work folders."""
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
"""Characters that some file system or shell gives a meaning."""
_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE
)
"""Names of devices on Windows."""


def clean_name(text: str) -> str:
    """Convert the name of a file to one that is safe in any folder; it may be empty.

    Folders before it, control characters, bidirectional marks, leading dots and trailing dots and
    spaces are removed. The suffix stays where a long name is cut.
    """
    name = re.split(r"[/\\]", text)[-1].encode("utf-8", errors="ignore").decode()
    name = "".join(
        character for character in name if unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).lstrip(". -").rstrip(". ")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    suffix = PurePosixPath(name).suffix
    longest = _LONGEST_NAME - len(suffix.encode())
    if longest < 1:
        return cut(name, _LONGEST_NAME)
    return cut(name.removesuffix(suffix), longest).rstrip(". ") + suffix


def cut(text: str, longest: int) -> str:
    """Shorten a text to `longest` bytes of UTF-8, at a whole character."""
    return text.encode()[:longest].decode(errors="ignore")
