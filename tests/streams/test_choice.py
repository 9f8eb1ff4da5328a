"""Which of a file's streams is the film, and that the others go along."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli import vsr
from tests.helpers.ffmpeg import (
    X264,
    ffmpeg,
    film,
    needs_ffmpeg,
    packets,
    pictures,
    probe,
    streams,
    tone,
)
from vsr.engine.plan import plan_video
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.engine.upscale_options import UpscaleOptions
from vsr.media.encode.settings import EncoderSettings
from vsr.media.verify import verify_film

pytestmark = needs_ffmpeg

FAST = EncoderSettings(preset="ultrafast")


def upscaled(source: Path, output: Path, model: Path, strict: bool = True) -> UpscaleResult:
    options = {"device": "cpu", "settings": FAST, "strict": strict}
    return upscale_video(source, output, str(model), **options)  # type: ignore[arg-type]


def sizes(path: Path) -> list[tuple[int, int]]:
    return [(s["width"], s["height"]) for s in streams(path, "video")]


def thumbnail_first(folder: Path, picture: str, *default: str) -> Path:
    """A film behind a stream of one picture that no flag tells from a film."""
    film(folder / "film.mp4")
    ffmpeg(*pictures(size="32x24"), "-frames:v", "1", "-c:v", picture, folder / "thumb.avi")
    ffmpeg("-i", folder / "thumb.avi", "-i", folder / "film.mp4", "-map", "0:v", "-map", "1",
           "-c", "copy", *default, folder / "in.mkv")  # fmt: skip
    return folder / "in.mkv"


@pytest.mark.parametrize(("picture", "default"), [("mjpeg", "0"), ("ffv1", "default")])
def test_a_single_picture_is_not_the_film_whatever_its_flags(
    tmp_path: Path, tiny_model: Path, picture: str, default: str
) -> None:
    flags = ("-disposition:v:0", default, "-disposition:v:1", "0")
    source = thumbnail_first(tmp_path, picture, *flags)
    summary = upscaled(source, tmp_path / "out.mkv", tiny_model)
    assert (summary.frames, summary.width, summary.height) == (20, 256, 192)
    assert sizes(tmp_path / "out.mkv") == [(32, 24), (256, 192)]
    assert "video 2 of 2: h264 64x48" in summary.notes[0]
    assert all(finding.kept for finding in verify_film(source, tmp_path / "out.mkv"))


def test_of_two_films_the_default_one_is_upscaled_and_the_run_says_so(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = tmp_path / "in.mkv"
    ffmpeg(*pictures(), *pictures(size="96x64"), "-map", "0", "-map", "1", *X264,
           "-disposition:v:0", "0", "-disposition:v:1", "default", source)  # fmt: skip
    reported = "video 2 of 2: h264 96x64, default; --video chooses another"
    done = vsr("upscale", source, tmp_path / "out.mkv", "--model", tiny_model, "--strict")
    assert done.stderr == f"vsr: {reported}\n"
    assert sizes(tmp_path / "out.mkv") == [(64, 48), (384, 256)]
    before, after = (packets(path, 0) for path in (source, tmp_path / "out.mkv"))
    assert [p["data_hash"] for p in before] == [p["data_hash"] for p in after]
    assert plan_video(source, ".mkv", UpscaleOptions(model=str(tiny_model))).notes == (reported,)


def test_of_two_programmes_the_first_is_upscaled_and_both_are_kept(
    tmp_path: Path, tiny_model: Path
) -> None:
    source = tmp_path / "in.ts"
    ffmpeg(*pictures(), *pictures(size="96x64"), *tone(), *tone(hertz=880), *X264, "-c:a", "mp2",
           *("-map", 0, "-map", 1, "-map", 2, "-map", 3, "-program", "title=One:st=0:st=2"),
           *("-program", "title=Two:st=1:st=3", source))  # fmt: skip
    summary = upscaled(source, tmp_path / "out.mkv", tiny_model)
    assert summary.audio_tracks == 2
    assert sorted(sizes(tmp_path / "out.mkv")) == [(96, 64), (256, 192)]
    assert summary.notes[0] == "video 1 of 2: h264 64x48; --video chooses another"
    assert all(finding.kept for finding in verify_film(source, tmp_path / "out.mkv"))


@pytest.mark.slow
def test_a_pipe_is_searched_for_the_film_as_well(tmp_path: Path, tiny_model: Path) -> None:
    source = thumbnail_first(tmp_path, "mjpeg")
    command = [sys.executable, "-m", "vsr", "upscale", "-", str(tmp_path / "out.mkv")]
    command += ["--model", str(tiny_model)]
    done = subprocess.run(command, input=source.read_bytes(), capture_output=True, check=True)
    assert b"video 2 of 2: h264 64x48" in done.stderr
    assert [len(packets(tmp_path / "out.mkv", n)) for n in (0, 1)] == [1, 20]
    assert len(packets(tmp_path / "out.mkv", 2)) == len(packets(source, 2))


@pytest.mark.parametrize("chapters", [False, True])
def test_data_without_duration_is_kept_byte_for_byte(
    tmp_path: Path, tiny_model: Path, chapters: bool
) -> None:
    blob, reported, source = tmp_path / "blob.bin", tmp_path / "reported.txt", tmp_path / "in.mp4"
    blob.write_bytes(bytes(range(200)))
    film(tmp_path / "film.mp4")
    ffmpeg("-i", tmp_path / "film.mp4", "-f", "data", "-i", blob, "-map", "0", "-map", "1",
           "-c", "copy", tmp_path / "a.ts")  # fmt: skip
    reported.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=320\ntitle=One\n")
    named = ("-i", reported, "-map_chapters", "1") if chapters else ()
    ffmpeg("-i", tmp_path / "a.ts", *named, "-map", "0", "-c", "copy", "-tag:d", "gpmd",
           "-copy_unknown", source)  # fmt: skip
    upscaled(source, tmp_path / "out.mp4", tiny_model)
    kept = ("-map", "0:2", "-c", "copy", "-f", "data")
    ffmpeg("-i", tmp_path / "out.mp4", *kept, tmp_path / "kept.bin")
    assert (tmp_path / "kept.bin").read_bytes() == blob.read_bytes()
    assert len(probe(tmp_path / "out.mp4", "chapters")["chapters"]) == chapters
    assert all(finding.kept for finding in verify_film(source, tmp_path / "out.mp4"))
    refused = vsr("upscale", source, tmp_path / "o.mkv", "--model", tiny_model, "--strict")
    assert refused.returncode == 1
    assert "would lack stream 2, bin_data data" in refused.stderr
    lost = upscaled(source, tmp_path / "o.mkv", tiny_model, strict=False)
    assert len(lost.left_out) == 1
    findings = verify_film(source, tmp_path / "o.mkv")
    assert [finding.what for finding in findings if not finding.kept] == ["data 1 (bin_data)"]
