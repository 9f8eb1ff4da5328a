"""Write frames as YUV4MPEG2 (Y4M), which most tools read from a pipe: video without audio."""

import sys

import numpy as np

from vsr.errors import OutputError
from vsr.media.decode.container import AnyPacket
from vsr.media.frame import Frame, StreamInfo
from vsr.system.files import check_standard_output, reason

_CHROMA = {(2, 2): "420", (2, 1): "422", (1, 1): "444"}
_SITINGS = {"left": "mpeg2", "center": "jpeg", "topleft": "paldv"}


class Y4mWriter:
    """Writes frames to standard output. Times are lost: players show frames at a constant rate."""

    def __init__(self, info: StreamInfo) -> None:
        """Write the header for frames as `info` describes them; alpha is dropped."""
        check_standard_output()
        layout, aspect, rate = info.layout, info.sample_aspect_ratio, info.frame_rate
        chroma = _CHROMA[layout.across, layout.down]
        if layout.bit_depth > 8:
            chroma += f"p{layout.bit_depth}"
        elif layout.down == 2:
            chroma += _SITINGS[info.colour.siting]
        full = "FULL" if info.colour.full_range else "LIMITED"
        self._write(
            f"YUV4MPEG2 W{info.width} H{info.height} F{rate.numerator}:{rate.denominator} Ip "
            f"A{aspect.numerator}:{aspect.denominator} C{chroma} XCOLORRANGE={full}\n".encode()
        )

    def __enter__(self) -> "Y4mWriter":
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self._write(b"")

    def write(self, item: Frame | AnyPacket) -> None:
        """Write a frame, or ignore a packet of another stream. Raises `OutputError`."""
        if isinstance(item, Frame):
            planes = (np.ascontiguousarray(plane).data for plane in item.planes[:3])
            self._write(b"FRAME\n", *planes)

    def _write(self, *parts: "bytes | memoryview") -> None:
        try:
            for part in parts:
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise OutputError(f"standard output: {reason(error)}") from error
