"""A preview of one frame: the same as in a run over the whole film."""

from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg
from tests.helpers.films import scenes, write_film
from tests.helpers.shots import shots
from vsr.engine import preview_frame, session
from vsr.engine.preview_frame import FramePreviewer, Pixels
from vsr.engine.upscale import upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import MediaError, OutputError
from vsr.frames.yuv import colour_spec, planes_to_rgb
from vsr.imaging.tensors import to_uint8
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings

CODED = {"codec": "libx264", "options": {"bf": "2", "g": "12", "crf": "16"}}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots of 40 and 20 frames, at 25 frames a second."""
    path = tmp_path_factory.mktemp("preview") / "a.mp4"
    return write_film(path, shots((40, 20)), **CODED)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(film: Path, tiny_model: Path) -> list[Pixels]:
    """The frames of a run over the whole film, by a lossless codec."""
    output = film.with_name("whole.mkv")
    upscale_video(film, output, str(tiny_model), settings=EncoderSettings("ffv1"))
    return decoded(output)


def decoded(path: Path) -> list[Pixels]:
    with VideoReader(path) as reader:
        spec = colour_spec(reader.info)
        return [
            to_uint8(planes_to_rgb(frame.planes, spec, preview_frame._CPU)).permute(1, 2, 0).numpy()
            for frame in reader.frames()
        ]


@pytest.fixture
def previewer() -> FramePreviewer:
    return FramePreviewer()


def options(model: Path, **more: object) -> UpscaleOptions:
    return UpscaleOptions(model=str(model), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("frame", [0, 3, 33, 39, 40, 44, 59])
def test_a_frame_is_that_of_a_whole_run(
    film: Path, whole: list[Pixels], tiny_model: Path, frame: int
) -> None:
    found = FramePreviewer().preview(film, frame / 25, options(tiny_model))
    assert found.seconds == pytest.approx(frame / 25)
    difference = np.abs(found.after.astype(int) - whole[frame])
    assert difference.max() <= 1
    assert np.abs(whole[frame - 1].astype(int) - whole[frame]).max() > 10


def test_the_frame_is_the_one_that_players_show(
    film: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    times = [previewer.preview(film, t, options(tiny_model)).seconds for t in (0.119, 0.12, 0.159)]
    assert times == pytest.approx([0.08, 0.12, 0.12])


def test_before_is_the_source_upscaled_bicubically(
    film: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    found = previewer.preview(film, 1.0, options(tiny_model))
    small = Image.fromarray(decoded(film)[25])
    large = np.asarray(small.resize((192, 128), Image.Resampling.BICUBIC))
    assert found.before.shape == found.after.shape == (128, 192, 3)
    assert np.abs(found.before.astype(int) - large).max() <= 2


def test_another_size_decodes_and_surveys_nothing_again(
    film: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    previewer.preview(film, 1.0, options(tiny_model))
    with (
        patch.object(preview_frame, "_read_moment", side_effect=AssertionError),
        patch.object(session, "survey_film", side_effect=AssertionError),
    ):
        found = previewer.preview(film, 1.0, options(tiny_model, width=96))
        assert found.after.shape == (64, 96, 3)
    with patch.object(preview_frame, "UpscaleSession", side_effect=AssertionError):
        previewer.preview(film, 0.2, options(tiny_model, width=96))


def test_a_changed_file_is_read_again(
    tmp_path: Path, film: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    path = tmp_path / "b.mp4"
    path.write_bytes(film.read_bytes())
    before = previewer.preview(path, 0.4, options(tiny_model))
    write_film(path, scenes(48, 32, [12]), **CODED)  # type: ignore[arg-type]
    after = previewer.preview(path, 0.4, options(tiny_model))
    assert np.abs(before.after.astype(int) - after.after).max() > 10


def test_old_frames_are_dropped_where_they_exceed_the_limit(
    film: Path, tiny_model: Path, previewer: FramePreviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_frame, "_MOMENT_BYTES", 100_000)  # 17 frames have 39,168
    for frame in range(20, 25):
        previewer.preview(film, frame / 25, options(tiny_model))
    assert len(previewer._moments) == 2


@needs_ffmpeg
def test_rotation_is_shown_as_by_players(
    tmp_path: Path, film: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg("-i", film, "-c", "copy", "-metadata:s:v", "rotate=90", turned)
    shown = tmp_path / "shown.png"
    ffmpeg("-i", turned, "-vf", "select=eq(n\\,10)", "-frames:v", "1", shown)
    with Image.open(shown) as picture:
        large = np.asarray(picture.convert("RGB").resize((128, 192), Image.Resampling.BICUBIC))
    found = previewer.preview(turned, 0.4, options(tiny_model))
    assert found.after.shape == found.before.shape == (192, 128, 3)
    assert np.abs(found.before.astype(int) - large).mean() < 2
    assert np.abs(found.before.astype(int) - found.after).mean() < 20


def test_times_after_the_end_are_refused(
    film: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    assert previewer.preview(film, 2.399, options(tiny_model)).seconds == pytest.approx(2.36)
    for seconds in (2.4, 1e6):
        with pytest.raises(MediaError, match=r"a\.mp4: its last frame is at 2\.360 s"):
            previewer.preview(film, seconds, options(tiny_model))


def test_sides_that_webp_cannot_hold_are_refused(
    film: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    with pytest.raises(OutputError, match="at most 16383 pixels a side"):
        previewer.preview(
            film, 0, options(tiny_model, width=17_000, settings=EncoderSettings("ffv1"))
        )


def test_a_film_with_frames_of_unequal_length_is_sought_in(
    tmp_path: Path, tiny_model: Path, previewer: FramePreviewer
) -> None:
    pts = [512 * index + (25_600 if index > 20 else 0) for index in range(40)]
    path = write_film(
        tmp_path / "gap.mp4",
        shots((40,)),
        pts=pts,
        time_base=Fraction(1, 12_800),
        **CODED,  # type: ignore[arg-type]
    )
    assert previewer.preview(path, 2.0, options(tiny_model)).seconds == pytest.approx(0.8)
