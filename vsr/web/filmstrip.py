"""Filmstrips: small pictures of a film at equal distances, on one picture."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vsr.media.decode.reader import VideoReader

STRIP = "strip.jpg"
"""Name of the file."""
MAX_TILES = 60
_TILE_HEIGHT = 90
_TILE_WIDTHS = 20, 320
_PIXELS_IN_ORDER = 300_000_000
"""Luma samples of a film that is decoded from start to end; in longer ones, frames are sought."""
_PIXELS_AFTER_KEYFRAME = 12_000_000
"""Luma samples to decode between a keyframe and the time of a tile."""
_QUALITY = 80


def make_filmstrip(folder: Path, path: Path, count: int) -> dict[str, Any]:
    """Write `count` frames of a film at equal distances as one JPEG, from left to right.

    In long films, a frame may be earlier than its place, near a keyframe. Returns the times of the
    frames in seconds and the size of one tile. Raises `MediaError`.
    """
    import numpy as np
    from PIL import Image

    from vsr.media.decode.reader import VideoReader
    from vsr.media.decode.rotation import rotation_of

    with VideoReader(path) as reader:
        info = reader.info
        rotation = rotation_of(info.display_matrix)
        aspect = info.width * info.sample_aspect_ratio / info.height
        aspect = 1 / aspect if rotation and rotation.transposed else aspect
        width = min(max(round(_TILE_HEIGHT * aspect), _TILE_WIDTHS[0]), _TILE_WIDTHS[1])
        size = (_TILE_HEIGHT, width) if rotation and rotation.transposed else (width, _TILE_HEIGHT)
        tiles, times = [], []
        for time, picture in _frames(reader, count, size):
            if rotation is not None:
                channels = [rotation.apply(picture[..., channel]) for channel in range(3)]
                picture = np.stack(channels, axis=-1)
            tiles.append(picture)
            times.append(round(max(0.0, time), 3))
    if not tiles:
        raise MediaError(f"{path}: no frame can be decoded")
    strip = Image.fromarray(np.concatenate(tiles, axis=1))
    strip.save(folder / STRIP, "JPEG", quality=_QUALITY)
    return {"times": times, "tile_width": width, "tile_height": _TILE_HEIGHT}


def _frames(
    reader: "VideoReader", count: int, size: tuple[int, int]
) -> "Iterator[tuple[float, NDArray[np.uint8]]]":
    """Yield times and pictures (H, W, 3) of up to `count` frames; `size` is (width, height)."""
    info = reader.info
    pixels = info.width * info.height
    length = info.frame_count
    if length is None or length * pixels <= _PIXELS_IN_ORDER:
        yield from _in_order(reader, count, size, _PIXELS_IN_ORDER // pixels)
        return
    most = max(1, _PIXELS_AFTER_KEYFRAME // pixels)
    start = reader.stream.start_time or 0
    seen: set[float] = set()
    for index in range(count):
        seconds = (index + 0.5) / count * length / info.frame_rate
        found = _sought(reader, start, float(seconds), most)
        if found is not None and (time := _time_of(reader, found)) not in seen:
            seen.add(time)
            yield time, _picture(found, size)


def _in_order(
    reader: "VideoReader", count: int, size: tuple[int, int], most: int
) -> "Iterator[tuple[float, NDArray[np.uint8]]]":
    """Yield frames from the middles of equal parts of a short film, decoded from its start.

    Only the frames that remain possible are kept: every frame, then every second, and so on.
    """
    kept: list[tuple[float, NDArray[np.uint8]]] = []
    step, total = 1, 0
    reader.reopen()
    for total, frame in enumerate(islice(reader.decoded_frames(), max(1, most)), 1):
        if (total - 1) % step == 0:
            kept.append((_time_of(reader, frame), _picture(frame, size)))
        if len(kept) > 8 * MAX_TILES:
            kept, step = kept[::2], 2 * step
    shown = min(count, len(kept))
    for index in range(shown):
        yield kept[min(int((index + 0.5) / shown * total / step), len(kept) - 1)]


def _sought(reader: "VideoReader", start: int, seconds: float, most: int) -> Any:
    """Seek to a time, and decode up to `most` frames towards it; None where that fails."""
    import av

    stream = reader.stream
    assert stream.time_base is not None
    pts = start + int(seconds / stream.time_base)
    found = None
    try:
        reader.container.seek(pts, stream=stream)
        for frame in islice(reader.container.decode(stream), most):
            if found is not None and frame.pts is not None and frame.pts > pts:
                break
            found = frame
    except (av.error.FFmpegError, MediaError):
        return found
    return found


def _time_of(reader: "VideoReader", frame: Any) -> float:
    """Return the time of a decoded frame since the film's first one, in seconds."""
    return float(((frame.pts or 0) - reader.first_pts) * reader.info.time_base + reader.lead)


def _picture(frame: Any, size: tuple[int, int]) -> "NDArray[np.uint8]":
    picture: NDArray[np.uint8] = frame.to_ndarray(
        width=size[0], height=size[1], format="rgb24", interpolation="AREA"
    )
    return picture
