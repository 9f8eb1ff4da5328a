"""Encode and decode clips in memory: near-lossless for storage, lossy for training."""

from fractions import Fraction
from io import BytesIO
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from vsr.media.frame import PixelLayout
from vsr.media.pyav import read_plane, video_frame

Planes420 = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""Y (T, H, W), Cb and Cr (T, H/2, W/2) of a clip, 8 bit; H and W are even."""

LossyCodec = Literal["h264", "mpeg4"]

_STORAGE_CRF = "6"


def encode_clip(planes: Planes420) -> bytes:
    """Encode a clip as a near-lossless H.264 file (luma PSNR of some 50 dB)."""
    options = {"crf": _STORAGE_CRF, "preset": "ultrafast", "g": "250", "sc_threshold": "0"}
    return _encode(planes, "libx264", options)


def encode_lossless(planes: Planes420) -> bytes:
    """Encode a clip as a lossless H.264 file; one thread makes the bytes reproducible."""
    options = {"qp": "0", "preset": "ultrafast", "g": "250", "sc_threshold": "0", "threads": "1"}
    return _encode(planes, "libx264", options)


def decode_clip(coded: bytes) -> Planes420:
    """Decode a file of `encode_clip` or `encode_lossless`."""
    with av.open(BytesIO(coded), "r") as source:
        source.streams.video[0].thread_type = "AUTO"
        frames = [
            [read_plane(plane, np.dtype(np.uint8)) for plane in frame.planes]
            for frame in source.decode(video=0)
        ]
    y, cb, cr = (np.stack(planes) for planes in zip(*frames, strict=True))
    return y, cb, cr


def recompress(planes: Planes420, codec: LossyCodec, level: int) -> Planes420:
    """Encode a clip lossily and decode it, at a constant rate factor (H.264) or quantiser (MPEG-4).

    One thread makes the samples reproducible.
    """
    if codec == "h264":
        # x264's macroblock tree differs between runs with AVX-512, and lossy clips need none.
        options = {"crf": str(level), "preset": "veryfast", "threads": "1"}
        options["x264-params"] = "mbtree=0"
        return decode_clip(_encode(planes, "libx264", options))
    return decode_clip(_encode(planes, "mpeg4", {"threads": "1"}, level))


def _encode(
    planes: Planes420, encoder: str, options: dict[str, str], quantiser: int | None = None
) -> bytes:
    memory = BytesIO()
    same_bytes = {"fflags": "+bitexact"}  # otherwise Matroska's UIDs are random
    with av.open(memory, "w", format="matroska", container_options=same_bytes) as output:
        stream: Any = output.add_stream(encoder, rate=Fraction(25), options=options)
        stream.height, stream.width = planes[0].shape[1:]
        stream.pix_fmt = "yuv420p"
        if quantiser is not None:
            stream.codec_context.qmin = stream.codec_context.qmax = quantiser
        for index in range(len(planes[0])):
            frame = video_frame([plane[index] for plane in planes], PixelLayout())
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return memory.getvalue()
