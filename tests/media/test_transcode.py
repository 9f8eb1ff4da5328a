import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.films import scenes
from tests.helpers.planes import planes_of
from vsr.media.frame import Plane
from vsr.media.transcode import Coding, Transcoder

CODINGS = {
    "h264": Coding("h264", 28, b_frames=3, preset="medium"),
    "baseline": Coding("h264", 28, group=8, baseline=True),
    "hevc": Coding("hevc", 30, b_frames=3, preset="superfast"),
    "mpeg2": Coding("mpeg2", 6, group=12, b_frames=2),
    "mpeg4": Coding("mpeg4", 6, group=30, b_frames=1),
}
Frames = list[tuple[Plane, ...]]


def film(width: int = 64, height: int = 48) -> Frames:
    return list(zip(*planes_of(scenes(width, height, [17, 7])), strict=True))


def coded(frames: Frames, coding: Coding) -> tuple[Frames, int]:
    height, width = frames[0][0].shape
    transcoder = Transcoder(coding, height, width)
    result = [done for frame in frames for done in transcoder.push(frame)]
    return [*result, *transcoder.finish()], transcoder.coded_bytes


def luma_psnr(one: Plane, other: Plane) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


@pytest.mark.parametrize("name", CODINGS)
def test_each_frame_comes_out_in_its_place(name: str) -> None:
    frames = film()
    result, _ = coded(frames, CODINGS[name])
    assert len(result) == len(frames)
    table = np.array([[luma_psnr(a[0], b[0]) for b in frames] for a in result])
    assert list(table.argmax(axis=1)) == list(range(len(frames)))
    assert table.diagonal().min() > 22


@pytest.mark.parametrize("name", CODINGS)
def test_a_coarser_quantiser_loses_more_in_fewer_bytes(name: str) -> None:
    frames = film()
    coding = CODINGS[name]
    (fine, large), (coarse, small) = (
        coded(frames, Coding(**vars(coding) | {"quantiser": coding.quantiser + step}))
        for step in (-3, 5)
    )
    quality = [
        np.mean([luma_psnr(a[0], b[0]) for a, b in zip(r, frames, strict=True)])
        for r in (fine, coarse)
    ]
    assert quality[0] > quality[1] + 2
    assert large > 1.2 * small


ELSEWHERE = """
import sys
import numpy as np
from vsr.media.transcode import Coding, Transcoder
clip = np.load(sys.argv[1])
frames = list(zip(clip["y"], clip["cb"], clip["cr"]))
for options in eval(sys.argv[2]):
    transcoder = Transcoder(Coding(**options), *frames[0][0].shape)
    done = [p for frame in frames for p in transcoder.push(frame)] + list(transcoder.finish())
    sys.stdout.buffer.write(b"".join(plane.tobytes() for planes in done for plane in planes))
"""


@pytest.mark.parametrize("size", [(64, 48), (34, 18)])
def test_samples_are_the_same_in_another_process(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = film(*size)
    y, cb, cr = (np.stack(plane) for plane in zip(*frames, strict=True))
    np.savez(tmp_path / "clip.npz", y=y, cb=cb, cr=cr)
    options = repr([vars(coding) for coding in CODINGS.values()])
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "clip.npz"), options]
    other = subprocess.run(command, capture_output=True, check=True)
    here = [plane for coding in CODINGS.values() for p in coded(frames, coding)[0] for plane in p]
    assert other.stdout == b"".join(plane.tobytes() for plane in here)
    assert other.stderr == b""
