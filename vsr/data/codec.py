"""What a lossy codec does to a clip: encode and decode it in memory."""

from fractions import Fraction
from io import BytesIO

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray


def recompress(clip: NDArray[np.uint8], crf: int) -> NDArray[np.uint8]:
    """A clip (T, H, W, 3) of RGB after H.264 at constant rate factor `crf`, 4:2:0.

    One thread, so that the same clip gives the same pixels everywhere. Sides must be even.
    """
    memory = BytesIO()
    with av.open(memory, "w", format="matroska") as output:
        options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        stream = output.add_stream("libx264", rate=Fraction(25), options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in clip:
            output.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as source:
        decoded = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    return np.stack(decoded).astype(np.uint8, copy=False)
