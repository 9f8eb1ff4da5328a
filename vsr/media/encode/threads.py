"""Fix the threads of encoders whose output depends on their count."""

from collections.abc import Mapping
from dataclasses import replace

from vsr.media.encode.settings import EncoderSettings

_THREADS = "threads"
_X264_ROWS = 32
"""Rows of samples for each thread of x264: two rows of macroblocks."""
_X265_FRAME_THREADS: Mapping[int, int] = {32: 5, 16: 4, 8: 3, 4: 2}
"""Frame threads of x265 by the least count of cores; fewer cores have one."""


def encoder_threads(settings: EncoderSettings, height: int, cores: int) -> int | None:
    """Return the threads that x264 or x265 chooses for frames of `height` on so many cores.

    None for encoders whose output doesn't depend on threads, and where an option sets them. With
    x264, each count of threads gives other bytes. x265 depends on it only if a rate is set.
    """
    if settings.encoder != "cpu" or _THREADS in settings.options:
        return None
    match settings.capabilities.encoder:
        case "libx264":
            # x264_encoder_open, for X264_THREADS_AUTO
            return min(3 * cores // 2, max(1, (height + 15) // _X264_ROWS))
        case "libx265":
            counts = (n for least, n in _X265_FRAME_THREADS.items() if cores >= least)
            return next(counts, 1)
    return None


def with_encoder_threads(settings: EncoderSettings, threads: int | None) -> EncoderSettings:
    """Set the threads of the encoder, unless `threads` is None."""
    if threads is None:
        return settings
    return replace(settings, options={**settings.options, _THREADS: str(threads)})
