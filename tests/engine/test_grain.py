"""Film grain and encoder options through whole runs: the same bytes however they are computed."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.films import scenes, write_film
from tests.helpers.read_back import frames_of
from vsr.engine.resume import segments
from vsr.engine.resume.journal import work_folder
from vsr.engine.resume.segment_file import SegmentWriter
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import OutputError
from vsr.imaging.grain import Grain
from vsr.media.decode.part import Part
from vsr.media.encode.settings import EncoderSettings
from vsr.media.frame import Frame

LOSSLESS = EncoderSettings("ffv1")


def pictures(count: int) -> list[np.ndarray]:
    """The middle of some frames: 32x24 pixels."""
    return [frame[63:87, 84:116] for frame in scenes(200, 150, [count])]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grain") / "a.mkv"
    return write_film(path, pictures(9), codec="ffv1")


def upscaled(film: Path, output: Path, model: Path, **more: Any) -> UpscaleResult:
    return upscale_video(film, output, str(model), device="cpu", **({"settings": LOSSLESS} | more))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p10le", "yuva444p10le"])
def test_grain_is_added_to_luma_alone_by_the_time_of_each_frame(
    tmp_path: Path, pixel_format: str
) -> None:
    source = tmp_path / "in.mkv"
    write_film(source, pictures(3), codec="ffv1", pixel_format=pixel_format)
    for name, strength in (("plain", 0.0), ("grained", 0.6)):
        upscaled(source, tmp_path / f"{name}.mkv", Path("tiny-x4"), grain=strength)
    bits = 10 if "10" in pixel_format else 8
    grain = Grain(0.6, height=96, width=128, bit_depth=bits, full_range=False)
    pairs = zip(frames_of(tmp_path / "plain.mkv"), frames_of(tmp_path / "grained.mkv"), strict=True)
    for plain, grained in pairs:
        difference = grained.planes[0].astype(int) - plain.planes[0]
        assert difference.std() > 2 << (bits - 8)
        assert np.array_equal(grained.planes[0], grain.apply(plain.planes[0], plain.pts))
        assert all(map(np.array_equal, grained.planes[1:], plain.planes[1:]))


@pytest.mark.parametrize(
    ("settings", "another"),
    [
        (EncoderSettings(preset="ultrafast", options={"g": "3"}), 0.5),
        (EncoderSettings("av1", preset="12"), 0.0),
    ],
)
def test_resuming_gives_the_same_grain_and_the_same_bytes(
    film: Path,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: EncoderSettings,
    another: float,
) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 4)
    more: dict[str, Any] = {"settings": settings, "grain": 0.4}
    upscaled(film, tmp_path / "whole.mp4", tiny_model, **more)
    write, seen = SegmentWriter.write, 0

    def failing(self: SegmentWriter, frame: Frame) -> None:
        nonlocal seen
        seen += 1
        if seen > 6:
            raise OutputError("broke")
        write(self, frame)

    output = tmp_path / "b.mp4"
    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "write", failing)
        with pytest.raises(OutputError, match="broke"):
            upscaled(film, output, tiny_model, **more)
    with pytest.raises(OutputError, match=r"other settings \(.*grain 0.4, now (None|0.5)"):
        upscaled(film, output, tiny_model, settings=settings, grain=another)
    assert upscaled(film, output, tiny_model, **more).resumed_frames == 4
    assert output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not work_folder(output).exists()


def test_options_are_part_of_the_identity_of_a_run_if_they_are_set(
    film: Path, tiny_model: Path
) -> None:
    def identity(**more: Any) -> dict[str, Any]:
        options = UpscaleOptions(str(tiny_model), device="cpu", **more)
        session = UpscaleSession(film, options, ".mkv")
        with session.reader:
            return session.identity()

    plain = identity()
    settings = EncoderSettings(options={"bf": "1"})
    assert identity(settings=settings, grain=0.5) == plain | {
        "encoder_options": {"bf": "1"},
        "grain": 0.5,
    }
    assert json.loads(json.dumps(plain)) == plain


def test_a_film_from_a_pipe_has_the_grain_of_a_file(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(film.read_bytes(),), daemon=True).start()
    upscaled(pipe, tmp_path / "b.mkv", tiny_model, grain=0.5)
    upscaled(film, tmp_path / "c.mkv", tiny_model, grain=0.5)
    pairs = zip(frames_of(tmp_path / "b.mkv"), frames_of(tmp_path / "c.mkv"), strict=True)
    for piped, read in pairs:
        assert all(map(np.array_equal, piped.planes, read.planes))


def test_a_part_has_the_grain_of_the_whole_film_from_files_and_pipes(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(film.read_bytes(),), daemon=True).start()
    part = Part.parse(start="3f", duration="4f")
    upscaled(film, tmp_path / "whole.mkv", tiny_model, grain=0.5)
    upscaled(film, tmp_path / "file.mkv", tiny_model, grain=0.5, part=part)
    upscaled(pipe, tmp_path / "piped.mkv", tiny_model, grain=0.5, part=part)
    whole = list(frames_of(tmp_path / "whole.mkv"))[3:7]
    for name in ("file", "piped"):
        for frame, expected in zip(frames_of(tmp_path / f"{name}.mkv"), whole, strict=True):
            assert all(map(np.array_equal, frame.planes, expected.planes))
