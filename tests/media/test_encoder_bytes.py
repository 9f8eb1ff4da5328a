"""Bytes of the encoders: the same in every run, whatever memory held before."""

import os
import subprocess
import sys

import pytest

_ENCODE = """
import hashlib
import sys
from fractions import Fraction

import numpy as np

from vsr.media.encode.encoder import VideoEncoder
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import ColourTags, Frame, PixelLayout, StreamInfo

random = np.random.default_rng(0)
scene = np.kron(random.integers(30, 220, (20, 40)), np.ones((8, 8)))
grey = np.full((32, 48), 128, np.uint8)
info = StreamInfo(
    width=96,
    height=64,
    layout=PixelLayout(),
    colour=ColourTags(),
    time_base=Fraction(1, 25),
    frame_rate=Fraction(25),
    frame_count=24,
    sample_aspect_ratio=Fraction(1),
)
encoder = VideoEncoder(info, EncoderSettings(sys.argv[1], options={"threads": "1"}))
packets = []
for index in range(24):
    moved = np.roll(scene, (index, 2 * index), (0, 1))[:64, :96]
    luma = np.clip(moved + random.normal(0, 6, moved.shape), 0, 255).astype(np.uint8)
    packets += encoder.encode(Frame(planes=(luma, grey, grey), pts=index, duration=1))
packets += encoder.finish()
print(hashlib.sha256(b"".join(packet.data for packet in packets)).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="MALLOC_PERTURB_ is of glibc")
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_encoders_do_not_read_memory_that_they_did_not_write(codec: str) -> None:
    # glibc fills memory with these values: without `cpu-independent`, x264 differs on AVX-512.
    digests = {
        subprocess.run(
            [sys.executable, "-c", _ENCODE, codec],
            env={**os.environ, "MALLOC_PERTURB_": value},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for value in ("1", "170")
    }
    assert len(digests) == 1
