"""Interlaced film that no flag declares is noted before any work; progressive film never is."""

from pathlib import Path

import pytest

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg
from tests.helpers.films import scenes, write_film
from vsr.cli import main
from vsr.engine.session import UpscaleSession
from vsr.engine.upscale_options import UpscaleOptions
from vsr.media.decode.survey import survey_film

pytestmark = needs_ffmpeg

_LOSSLESS = ("-c:v", "ffv1", "-pix_fmt", "yuv420p")
_BAR = (
    "color=gray:size=160x120:rate=50:duration=0.8[a];color=white:size=20x120:rate=50:duration=0.8"
    "[b];[a][b]overlay=x='3*n'"
)


def camera(path: Path, *filters: str, flags: tuple[str, ...] = _LOSSLESS) -> Path:
    """Fifty pictures a second under a moving camera, filtered."""
    base = write_film(path.with_suffix(".base.mkv"), scenes(320, 240, [60]), codec="ffv1")
    ffmpeg("-i", str(base), "-vf", ",".join(filters), *flags, str(path))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filters", "flags"),
    [
        (("tinterlace=interleave_top", "setfield=prog"), _LOSSLESS),
        (("tinterlace=interleave_bottom", "setfield=prog"), _LOSSLESS),
        (
            ("tinterlace=interleave_top:flags=vlpf", "setfield=prog"),
            ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "26"),
        ),
        (
            ("tinterlace=interleave_top", "setfield=prog", "format=yuv422p10le"),
            ("-c:v", "ffv1", "-strict", "-2"),
        ),
    ],
)
def test_woven_fields_are_found_without_a_flag(
    tmp_path: Path, filters: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    assert survey_film(camera(tmp_path / "in.mkv", *filters, flags=flags)).interlaced


@pytest.mark.slow
@pytest.mark.parametrize(
    "filters",
    [
        ("null",),
        ("noise=alls=40:allf=t",),
        ("fps=100",),  # each picture twice
        ("select='not(mod(n,3))'", "fps=50"),
        ("geq=lum='if(mod(Y,2),lum(X,Y),lum(X,Y)/2)':cb=128:cr=128",),  # lines, as of a tube
        ("scroll=v=0.05", "drawgrid=h=2:t=1:c=white@0.4"),
    ],
)
def test_progressive_film_is_not_taken_for_interlaced(
    tmp_path: Path, filters: tuple[str, ...]
) -> None:
    assert not survey_film(camera(tmp_path / "in.mkv", *filters)).interlaced


@pytest.mark.parametrize(
    "source",
    [
        "testsrc2=size=320x240:rate=25",
        "mandelbrot=size=160x120:rate=25",
        "life=size=160x120:mold=10:rate=25:ratio=0.3",
        "nullsrc=size=160x120:rate=25,geq=lum='if(mod(Y+N,2),220,30)':cb=128:cr=128",
        "nullsrc=size=160x120:rate=25,geq=lum='random(1)*255':cb=128:cr=128",
        "nullsrc=s=160x120:r=25,geq=lum='if(mod(Y,2),if(lt(mod(X+5*N,80),40),220,30),90)':cb=128",
        "nullsrc=s=160x120:r=25,geq=lum='if(mod(Y,2),100,if(lt(X,6*N),220,30))':cb=128",
    ],
)
def test_fine_patterns_are_not_taken_for_interlaced(tmp_path: Path, source: str) -> None:
    film = tmp_path / "in.mkv"
    ffmpeg("-f", "lavfi", "-i", source, "-t", "1", *_LOSSLESS, str(film))
    assert not survey_film(film).interlaced


def undeclared(folder: Path) -> Path:
    film = folder / "in.mkv"
    woven = f"{_BAR},tinterlace=interleave_top,setfield=prog"
    ffmpeg("-f", "lavfi", "-i", woven, *_LOSSLESS, str(film))
    return film


def test_the_option_is_named_before_any_work(tmp_path: Path, tiny_model: Path) -> None:
    film = undeclared(tmp_path)
    with (job := UpscaleSession(film, UpscaleOptions(model=str(tiny_model)), ".mkv")).reader:
        assert any("--deinterlace on" in note for note in job.reader.notes)
    settled = UpscaleOptions(model=str(tiny_model), deinterlace="on")
    with (job := UpscaleSession(film, settled, ".mkv")).reader:
        assert job.reader.notes == []


def test_plan_and_upscale_say_that_frames_look_interlaced(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = undeclared(tmp_path)
    for verb in (["plan", str(film)], ["upscale", str(film), str(tmp_path / "out.mkv")]):
        with pytest.raises(SystemExit) as end:
            main([*verb, "--model", str(tiny_model)])
        assert end.value.code == 0
        reported = capsys.readouterr()
        assert "use --deinterlace on to deinterlace" in reported.out + reported.err


def test_film_with_flags_is_deinterlaced_without_a_word(tmp_path: Path) -> None:
    film = tmp_path / "in.mkv"
    flags = ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ildct+ilme", "-top", "1")
    ffmpeg("-f", "lavfi", "-i", f"{_BAR},tinterlace=interleave_top", *flags, str(film))
    assert not survey_film(film).interlaced
