"""Numbered pictures as films: created and judged by other libraries than those of vsr."""

from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.cli import complaint, vsr
from tests.helpers.ffmpeg import ffmpeg, packets, streams
from tests.helpers.shots import shots
from vsr.engine.resume import segments
from vsr.engine.resume.journal import Journal, work_folder
from vsr.engine.resume.picture_segment import PictureSegmentWriter
from vsr.engine.upscale import UpscaleResult, upscale_video
from vsr.errors import MediaError, OutputError
from vsr.imaging.tensors import to_float, to_uint8
from vsr.media.frame import Frame
from vsr.zoo.model_file import load_generator

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 64, 200), (255, 255, 255), (17, 200, 90))
SIZE = (16 * len(COLOURS), 32)


def patches() -> NDArray[np.uint8]:
    return np.repeat(np.repeat(np.array([COLOURS], np.uint8), 16, axis=1), 32, axis=0)


def centres(picture: NDArray[np.uint8], scale: int) -> NDArray[np.int64]:
    """The colour in the middle of each patch."""
    return picture[16 * scale, 8 * scale :: 16 * scale].astype(np.int64)


def write_shots(folder: Path, lengths: list[int]) -> Path:
    folder.mkdir()
    for number, frame in enumerate(shots(lengths), start=1):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    return folder


def upscale(source: Path, output: Path, model: Path, **more: object) -> UpscaleResult:
    options: dict[str, object] = {"model": str(model), "device": "cpu", "rate": 24, **more}
    return upscale_video(source, output, **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_film_of_pictures_has_their_colours_and_rate(tmp_path: Path) -> None:
    for number in range(7, 12):
        Image.fromarray(patches()).save(tmp_path / f"f{number:02d}.png")
    film = tmp_path / "out.mp4"
    done = vsr("upscale", tmp_path, film, "--rate", "23.976", "--scale", "2", "--crf", "1")
    assert done.returncode == 0, done.stderr
    assert "not kept: chroma finer than yuv420p (prores and ffv1 hold it)" in done.stderr
    (video,) = streams(film)
    assert (video["avg_frame_rate"], video["pix_fmt"]) == ("24000/1001", "yuv420p")
    tags = [video[f"color_{name}"] for name in ("space", "primaries", "transfer", "range")]
    assert tags == ["bt709", "bt709", "iec61966-2-1", "tv"]
    assert len(packets(film, 0)) == 5
    ffmpeg("-i", film, "-vf", "scale=in_color_matrix=bt709", "-frames:v", 1, tmp_path / "x.bmp")
    shown = np.asarray(Image.open(tmp_path / "x.bmp"))
    assert np.abs(centres(shown, 2) - COLOURS).max() <= 3


@pytest.mark.parametrize(("matrix", "code"), [("bt601", "smpte170m"), ("bt709", "bt709")])
def test_the_pictures_of_a_film_are_rgb_by_its_matrix(
    tmp_path: Path, matrix: str, code: str
) -> None:
    Image.fromarray(patches()).save(tmp_path / "a.bmp")
    film, convert = tmp_path / "a.mkv", f"scale=out_color_matrix={matrix},format=yuv444p10"
    ffmpeg(*("-loop", 1, "-r", 25, "-t", "0.12", "-i", tmp_path / "a.bmp", "-vf", convert),
           *("-colorspace", code, "-c:v", "ffv1", film))  # fmt: skip
    done = vsr("upscale", film, tmp_path / "new" / "%d.png", "--scale", "2")
    assert done.returncode == 0, done.stderr
    assert "--rate 25 makes a film of the pictures" in done.stderr
    assert sorted(contents(tmp_path / "new")) == ["1.png", "2.png", "3.png"]
    deep = cv2.imread(str(tmp_path / "new" / "2.png"), cv2.IMREAD_UNCHANGED)
    assert deep is not None
    assert deep.dtype == np.uint16
    assert np.abs(centres(deep[..., ::-1] / 257.0, 2) - COLOURS).max() <= 3  # type: ignore[arg-type]


def test_pictures_keep_numbers_depth_transparency_and_profile(
    tmp_path: Path, tiny_model: Path
) -> None:
    for number in (98, 99, 100):
        deep = np.full((12, 16, 4), 40_000 + number, np.uint16)
        deep[..., :3] += np.arange(16, dtype=np.uint16)[:, None] * 60  # less than four of 8 bits
        (tmp_path / f"{number}.png").write_bytes(imagecodecs.png_encode(deep))
    result = upscale(tmp_path / "%d.png", tmp_path / "new" / "x_####.tif", tiny_model)
    assert result.left_out == ("16 bits a channel: computed in 15",)
    assert sorted(contents(tmp_path / "new")) == [f"x_{n:04d}.tif" for n in (98, 99, 100)]
    pixels = tifffile.imread(tmp_path / "new" / "x_0099.tif")
    assert pixels.shape == (48, 64, 4)
    assert pixels.dtype == np.uint16
    assert np.abs(pixels[..., 3].astype(int) - 40_099).max() <= 3
    assert len(np.unique(pixels[..., :3])) > 40


def test_the_network_has_memory_of_the_pictures_before(tmp_path: Path, tiny_model: Path) -> None:
    source = write_shots(tmp_path / "old", [6])
    upscale(source, tmp_path / "%d.png", tiny_model)
    clip = to_float(torch.from_numpy(np.stack(shots([6])))).permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        expected = to_uint8(load_generator(tiny_model)(clip)[0]).permute(0, 2, 3, 1).numpy()
    for number, picture in enumerate(expected, start=1):
        found = np.asarray(Image.open(tmp_path / f"{number}.png"))
        assert np.abs(found.astype(int) - picture).max() <= 1


def test_a_part_keeps_the_numbers_and_pixels_of_the_whole(tmp_path: Path, tiny_model: Path) -> None:
    source = write_shots(tmp_path / "old", [6])
    options = ("--rate", 24, "--model", tiny_model, "--width", 90)
    for name, part in (("whole", ()), ("part", ("--from", "0.083", "--to", "0.2"))):
        done = vsr("upscale", source, f"{tmp_path / name}/%03d.png", *options, *part)
        assert done.returncode == 0, done.stderr
    whole, part_of = contents(tmp_path / "whole"), contents(tmp_path / "part")
    assert part_of == {name: whole[name] for name in ("003.png", "004.png", "005.png")}
    with Image.open(tmp_path / "part" / "003.png") as picture:
        assert picture.size == (90, 60)


def failing_after(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    write, seen = PictureSegmentWriter.write, 0

    def failing(self: PictureSegmentWriter, frame: Frame) -> None:
        nonlocal seen
        seen += 1
        if seen > frames:
            raise OutputError("broke")
        write(self, frame)

    monkeypatch.setattr(PictureSegmentWriter, "write", failing)


@pytest.mark.parametrize("harm", ["error", "kill", "changed"])
def test_interrupted_pictures_resume_to_the_bytes_of_a_whole_run(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 4)
    source = write_shots(tmp_path / "old", [11])
    upscale(source, tmp_path / "whole" / "%03d.png", tiny_model)
    new = tmp_path / "new"
    with monkeypatch.context() as patched:
        failing_after(patched, 10)
        if harm == "kill":  # no picture is removed
            patched.setattr(PictureSegmentWriter, "abandon", lambda self: self._file.abandon())
        with pytest.raises(OutputError, match="broke; 8 frames are finished, and the same command"):
            upscale(source, new / "%03d.png", tiny_model)
    kept = 10 if harm == "kill" else 8
    assert len(list(new.glob("*.png"))) == kept
    (new / ".009.png.4711.partial.png").touch()
    if harm == "changed":
        Image.new("RGB", (192, 128)).save(new / "007.png")
    before = (new / "002.png").stat().st_mtime_ns
    result = upscale(source, new / "%03d.png", tiny_model)
    assert result.frames == 11
    assert result.resumed_frames == (0 if harm == "changed" else 8)
    if harm != "changed":  # its state was removed once it was no longer needed
        assert (new / "002.png").stat().st_mtime_ns == before
    assert contents(new) == contents(tmp_path / "whole")


def test_pictures_that_end_between_segment_and_result_are_only_counted(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_shots(tmp_path / "old", [3])
    output = tmp_path / "new" / "%03d.png"
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "remove", lambda self: self._lock.release())
        upscale(source, output, tiny_model)
    assert upscale(source, output, tiny_model).resumed_frames == 3
    assert not work_folder(output).exists()


def test_existing_pictures_are_replaced_only_when_asked(tmp_path: Path, tiny_model: Path) -> None:
    source = write_shots(tmp_path / "old", [2])
    new = tmp_path / "new"
    new.mkdir()
    for name in ("002.png", "009.png"):
        (new / name).write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"002\.png: exists, and 1 more; use --overwrite"):
        upscale(source, new / "%03d.png", tiny_model)
    assert contents(new) == {"002.png": b"mine", "009.png": b"mine"}
    result = upscale(source, new / "%03d.png", tiny_model, overwrite=True)
    assert any("1 older pictures of other numbers, such as 009.png" in n for n in result.notes)
    assert (new / "002.png").read_bytes() != b"mine"


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_picture_lost_in_mid_run_is_one_line(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    source = write_shots(tmp_path / "old", [40])
    victim = source / "030.png"
    write = PictureSegmentWriter.write

    def spoiling(self: PictureSegmentWriter, frame: Frame) -> None:
        if harm == "gone":
            victim.unlink(missing_ok=True)
        else:
            victim.write_bytes(victim.read_bytes()[:200])
        write(self, frame)

    monkeypatch.setattr(PictureSegmentWriter, "write", spoiling)
    message = r"030\.png: (no such file|not a picture|is empty|can't be read)"
    with pytest.raises(MediaError, match=message):
        upscale(source, tmp_path / "new" / "%d.png", tiny_model)
    assert not list((tmp_path / "new").iterdir())


def test_what_is_no_film_of_pictures_is_one_line_before_any_work(tmp_path: Path) -> None:
    folder = write_shots(tmp_path / "old", [2])
    film = tmp_path / "a.mkv"
    ffmpeg("-i", folder / "%03d.png", film)
    for arguments, message in (
        ((folder, tmp_path / "b.mkv"), "pictures have no frame rate; give --rate, such as 24"),
        ((folder, tmp_path / "%d.png", "--from", "1"), "pictures have no frame rate"),
        ((film, tmp_path / "b.mkv", "--rate", "24"), "--rate 24: is for numbered pictures"),
        ((film, tmp_path / "b.png"), "is one picture, and a film has many; name them by a pattern"),
        ((film, tmp_path / "%d.bmp"), "unknown picture format; use .avif"),
        ((film, tmp_path / "%d.png", "--codec", "hevc"), "omit --codec, --crf"),
        ((folder, folder / "%03d.png", "--overwrite"), "001.png: is an input itself"),
        ((folder, folder / "x%03d.png"), "is inside the input; name another folder"),
        ((folder, tmp_path / "%d.png", "--video", "1"), "--video: is for films"),
        ((folder / "%04d.png", tmp_path / "b.mkv", "--rate", "9"), "there is no such picture"),
    ):
        assert message in complaint("upscale", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "old"]


def test_metadata_is_kept_in_pictures_and_reported_for_films(
    tmp_path: Path, tiny_model: Path
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a frame"
    profile = b"\0" * 16 + b"RGB " + b"\0" * 108
    Image.fromarray(patches()).save(tmp_path / "1.png", exif=exif, icc_profile=profile)
    reported: list[str] = []
    upscale(tmp_path / "%d.png", tmp_path / "new" / "%d.png", tiny_model, tell=reported.append)
    assert reported == []
    with Image.open(tmp_path / "new" / "1.png") as picture:
        assert picture.getexif()[0x010E] == "a frame"
        assert picture.info["icc_profile"] == profile
    upscale(tmp_path / "%d.png", tmp_path / "a.mkv", tiny_model, tell=reported.append)
    assert "not kept: colour profile, Exif data of the pictures: films hold none" in reported


def test_pictures_are_planned_and_piped_as_films(tmp_path: Path) -> None:
    folder = write_shots(tmp_path / "old", [3])
    done = vsr("plan", folder, "--scale", "1")
    assert done.returncode == 0, done.stderr
    assert "3 frames to 48x32" in done.stdout
    command = ["vsr", "upscale", folder, "-", "--rate", "24", "--scale", "1", "--format", "y4m"]
    with pytest.MonkeyPatch.context() as patched, (tmp_path / "a.y4m").open("w") as file:
        patched.setattr("sys.stdout", file)
        from vsr.cli import main

        with pytest.raises(SystemExit) as end:
            main([str(word) for word in command[1:]])
    assert end.value.code in (0, None)
    assert streams(tmp_path / "a.y4m")[0]["avg_frame_rate"] == "24/1"


def test_openexr_pictures_stay_linear_light(tmp_path: Path) -> None:
    linear = ((patches() / 255.0) ** 2.2).astype(np.float32)
    linear[:, :16] = 3.0
    for number in (5, 6):
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        with OpenEXR.File(header, {"RGB": linear.astype(np.float16)}) as file:
            file.write(str(tmp_path / f"a.{number:04d}.exr"))
    done = vsr("upscale", tmp_path / "a.####.exr", tmp_path / "b.####.exr", "--scale", 2)
    assert done.returncode == 0, done.stderr
    assert "not kept: floating-point samples: computed in 15 bits, from 0 to 1" in done.stderr
    with OpenEXR.File(str(tmp_path / "b.0006.exr")) as file:
        pixels = file.channels()["RGB"].pixels
    assert pixels.dtype == np.float16
    assert np.abs(pixels[32, 16::32] - linear[16, 8::16].clip(0, 1)).max() < 0.02
    done = vsr("upscale", tmp_path / "a.%04d.exr", tmp_path / "c.gif", "--rate", 10, "--scale", 2)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "c.gif") as shown:
        colours = np.asarray(shown.convert("RGB"))[32, 16::32].astype(int)
    assert np.abs(colours[3:] - COLOURS[3:]).max() < 12


def test_verify_counts_the_frames_on_both_sides(tmp_path: Path) -> None:
    source = write_shots(tmp_path / "old", [9])
    film, part, new = (
        tmp_path / "a.mkv",
        tmp_path / "part" / "%03d.png",
        tmp_path / "new" / "%d.png",
    )
    for pair in (
        (source, film, "--rate", "29.97", "--scale", 1),
        (source / "%03d.png", part, "--from", "2f", "--duration", "3f", "--scale", 1),
        (film, new, "--scale", 1),
    ):
        done = vsr("upscale", *pair)
        assert done.returncode == 0, done.stderr
    for compared in (
        (source, film),
        (source / "%03d.png", part, "--from", "2f", "--duration", "3f"),
        (film, new),
    ):
        done = vsr("verify", *compared)
        assert done.returncode == 0, done.stdout
    (tmp_path / "new" / "9.png").write_bytes((tmp_path / "new" / "9.png").read_bytes()[:500])
    done = vsr("verify", film, new)
    assert done.returncode == 1
    assert "lost or changed: readable pictures" in done.stderr
    (tmp_path / "new" / "9.png").unlink()
    assert "lost or changed: frames" in vsr("verify", film, new).stderr
