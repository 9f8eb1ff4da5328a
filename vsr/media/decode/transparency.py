"""Find out whether an animation has transparent pixels: FFmpeg decodes all GIF with alpha."""

from functools import lru_cache
from pathlib import Path

import av

from vsr.system.address import input_of, is_pipe

_CODECS = ("gif", "apng")
_CHECKED_FILES = 16


def is_opaque(path: Path, codec: str) -> bool:
    """Whether all pixels of an animated GIF or PNG are opaque; False for pipes and other codecs."""
    if codec not in _CODECS or is_pipe(path) or not path.is_file():
        return False
    status = path.stat()
    return _is_opaque(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=_CHECKED_FILES)
def _is_opaque(path: Path, modified: int, size: int) -> bool:
    """Decode a file up to the first transparent pixel; time and size identify its content."""
    try:
        with av.open(input_of(path), "r") as film:
            return all(
                (frame.to_ndarray(format="rgba")[..., 3] == 255).all()
                for frame in film.decode(video=0)
            )
    except (av.error.FFmpegError, OSError):
        return False
