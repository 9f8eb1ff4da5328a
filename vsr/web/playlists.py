"""Recognise playlists, which make FFmpeg open other files."""

from pathlib import Path

_HEAD = 64 << 10
"""Bytes that are searched for marks."""
_LISTS = (b"#extm3u", b"ffconcat")
"""Starts of HLS playlists and of concat scripts."""
_ELEMENTS = (b"<mpd", b"<compositionplaylist")
"""XML elements of DASH and of IMF."""


def is_playlist(path: Path) -> bool:
    """Whether FFmpeg would take a file for a list of other files, which it would open.

    The marks are those that FFmpeg looks for. Raises OSError.
    """
    with path.open("rb") as file:
        text = file.read(_HEAD).partition(b"\0")[0].lower()
    start = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(_LISTS) or any(element in text for element in _ELEMENTS)
