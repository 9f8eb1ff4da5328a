"""Animations created by Pillow or ffmpeg; outputs judged by Pillow, ffmpeg or FFmpeg in PyAV."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence

from tests.helpers.ffmpeg import ffmpeg, needs_ffmpeg
from vsr.errors import MediaError, OutputError
from vsr.media.animation.frame import AnimationFrame, TickCounter
from vsr.media.animation.reader import Animation, is_animated, read_animation
from vsr.media.animation.writer import (
    animation_losses,
    animation_writer,
    check_animation_output,
)

DELAYS = [40, 100, 60, 500, 20]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = Image.Exif()
EXIF[0x010F] = "Maker"


def pictures(alpha: bool = False, count: int = 5) -> list[Image.Image]:
    """A square that moves over a gradient or, with alpha, over nothing."""
    made = []
    for index in range(count):
        pixels = np.zeros((20, 30, 4), np.uint8)
        pixels[..., 3] = 0 if alpha else 255
        pixels[..., 1] = np.arange(30) * 4
        pixels[5:13, 2 * index : 2 * index + 8] = (200, 30 * index, 90, 255)
        made.append(Image.fromarray(pixels if alpha else pixels[..., :3].copy()))
    return made


def create(path: Path, alpha: bool = False, **options: Any) -> Path:
    """An animation of five frames by Pillow, played three times."""
    first, *others = pictures(alpha)
    loop = 2 if path.suffix == ".gif" else 3  # GIF counts the repetitions
    exact: dict[str, Any] = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    if path.suffix == ".gif" and alpha:
        exact["disposal"] = 2
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=DELAYS,
        loop=loop,
        **exact,
        **options,
    )
    return path


def write(path: Path, animation: Animation) -> Path:
    """The same animation in another file."""
    height, width = animation.first.rgb.shape[:2]
    with animation_writer(
        path,
        (width, height),
        plays=animation.plays,
        has_alpha=animation.has_alpha,
        like=animation.first,
    ) as writer:
        for frame in animation.frames():
            writer.add(frame)
    return path


def shown(path: Path) -> list[np.ndarray]:
    with Image.open(path) as opened:
        return [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(opened)]


def delays(path: Path) -> list[float]:
    with Image.open(path) as opened:
        found = []
        for frame in ImageSequence.Iterator(opened):
            frame.load()
            found.append(frame.info["duration"])
        return found


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("source", [".gif", ".png", ".webp"])
def test_an_animation_keeps_frames_times_and_plays(
    tmp_path: Path, source: str, alpha: bool
) -> None:
    animation = read_animation(create(tmp_path / f"a{source}", alpha))
    assert [1000 * duration for duration in animation.seconds] == DELAYS
    assert (animation.plays, animation.has_alpha) == (3, alpha)
    for suffix in (".gif", ".apng", ".webp"):
        output = write(tmp_path / f"b{suffix}", animation)
        assert delays(output) == DELAYS
        with Image.open(output) as opened:
            assert opened.info["loop"] == (2 if suffix == ".gif" else 3)
        tolerance = 0 if suffix == ".apng" else 6
        for ours, theirs in zip(shown(output), shown(animation.path), strict=True):
            visible = theirs[..., 3] > 0
            assert np.array_equal(ours[..., 3], theirs[..., 3])
            assert np.abs(ours.astype(int) - theirs)[visible].mean() <= tolerance


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_ffmpeg_decodes_the_same_pictures(tmp_path: Path, suffix: str) -> None:
    output = write(tmp_path / f"b{suffix}", read_animation(create(tmp_path / "a.png", True)))
    with av.open(output) as film:
        frames = list(film.decode(video=0))
    assert [float(frame.time or 0) for frame in frames] == pytest.approx([0, 0.04, 0.14, 0.2, 0.7])
    for frame, ours in zip(frames, shown(output), strict=True):
        theirs = frame.to_ndarray(format="rgba")
        assert np.array_equal(theirs[..., 3], ours[..., 3])
        assert np.array_equal(theirs[ours[..., 3] > 0], ours[ours[..., 3] > 0])


def test_metadata_and_profile_of_an_animation_are_kept_or_reported(tmp_path: Path) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    source = create(tmp_path / "a.webp", icc_profile=PROFILE, exif=EXIF, xmp=xmp)
    animation = read_animation(source)
    for suffix in (".apng", ".webp"):
        with Image.open(write(tmp_path / f"b{suffix}", animation)) as opened:
            assert opened.info["icc_profile"] == PROFILE
            assert opened.getexif()[0x010F] == "Maker"
            found = opened.info.get("xmp") or opened.info["XML:com.adobe.xmp"].encode()
            assert found == xmp
        assert animation_losses(tmp_path / f"b{suffix}", animation) == []
    lines = animation_losses(tmp_path / "b.gif", animation)
    assert [line.partition(":")[0] for line in lines] == [
        "true colours",
        "colour profile",
        "Exif data",
        "XMP",
    ]


def test_a_comment_is_kept_in_gif_and_apng(tmp_path: Path) -> None:
    animation = read_animation(create(tmp_path / "a.gif", comment=b"hello " * 60))
    with Image.open(write(tmp_path / "b.gif", animation)) as opened:
        assert opened.info["comment"] == b"hello " * 60
    with Image.open(write(tmp_path / "b.apng", animation)) as opened:
        assert opened.info["Comment"] == "hello " * 60


def test_times_are_exact_in_apng_and_do_not_drift_in_gif(tmp_path: Path) -> None:
    first, *others = pictures()
    rate = Fraction(24000, 1001)
    first.save(
        tmp_path / "a.png", save_all=True, append_images=others, duration=1000 * float(1 / rate)
    )
    animation = read_animation(tmp_path / "a.png")
    assert animation.seconds == (1 / rate,) * 5
    assert read_animation(write(tmp_path / "b.png", animation)).seconds == animation.seconds
    assert delays(write(tmp_path / "b.gif", animation)) == [40, 40, 50, 40, 40]
    assert any("hundredths" in line for line in animation_losses(Path("b.gif"), animation))
    counter = TickCounter(100)
    assert sum(counter.ticks(1 / rate) for _ in range(240)) == 1001


@needs_ffmpeg
def test_frames_of_avif_and_of_sixteen_bits_are_read_in_eight(tmp_path: Path) -> None:
    first, *others = pictures()
    first.save(tmp_path / "a.avif", save_all=True, append_images=others, duration=DELAYS)
    animation = read_animation(tmp_path / "a.avif")
    assert [1000 * duration for duration in animation.seconds] == DELAYS
    frames = [frame.rgb.astype(int) for frame in animation.frames()]
    errors = [
        np.abs(ours - np.asarray(theirs)) for ours, theirs in zip(frames, pictures(), strict=True)
    ]
    assert max(error.mean() for error in errors) < 12
    deep = ("-f", "lavfi", "-i", "testsrc2=size=32x24:rate=5:duration=0.6", "-pix_fmt", "rgb48be")
    ffmpeg(*deep, "-f", "apng", tmp_path / "b.png")
    animation = read_animation(tmp_path / "b.png")
    assert animation.seconds == (Fraction(1, 5),) * 3
    assert animation.first.lost == ("16 bits a channel: 8 are read from animations",)


def test_partial_transparency_is_reported_for_gif(tmp_path: Path) -> None:
    half = [Image.fromarray(np.full((8, 8, 4), (9, 9, n, 77), np.uint8)) for n in (1, 200)]
    half[0].save(tmp_path / "a.png", save_all=True, append_images=half[1:])
    animation = read_animation(tmp_path / "a.png")
    lines = animation_losses(tmp_path / "b.gif", animation)
    assert "partial transparency: .gif holds none, .apng and .webp do" in lines
    assert np.array_equal(shown(write(tmp_path / "b.apng", animation))[1], np.asarray(half[1]))


def test_formats_that_can_not_hold_the_size_are_refused(tmp_path: Path) -> None:
    for name, size, line in (
        ("b.webp", 20_000, r"b\.webp: 20000x8: \.webp holds 16383 pixels a side"),
        ("b.gif", 70_000, r"b\.gif: 70000x8: \.gif holds 65535 pixels a side"),
    ):
        with pytest.raises(OutputError, match=line):
            check_animation_output(tmp_path / name, overwrite=False, size=(size, 8))


def test_a_hidden_still_is_not_a_frame(tmp_path: Path) -> None:
    first, *others = pictures()
    first.save(tmp_path / "a.png", save_all=True, append_images=others, default_image=True)
    animation = read_animation(tmp_path / "a.png")
    assert len(animation.seconds) == 4
    assert np.array_equal(next(animation.frames()).rgb, np.asarray(others[0]))
    assert any("programs without animation" in line for line in animation.first.lost)


def test_stills_and_other_files_are_no_animations(tmp_path: Path) -> None:
    pictures()[0].save(tmp_path / "a.gif")
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    content = create(tmp_path / "d.gif").read_bytes()
    (tmp_path / "d.gif").write_bytes(content[: content.rindex(b",") + 3])
    assert not any(is_animated(tmp_path / f"{name}.gif") for name in "abcd")
    with pytest.raises(MediaError, match=r"d\.gif: "):
        read_animation(tmp_path / "d.gif")


def test_a_frame_that_repeats_the_one_before_takes_few_bytes(tmp_path: Path) -> None:
    animation = read_animation(create(tmp_path / "a.png"))
    height, width = animation.first.rgb.shape[:2]
    random = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    same = [AnimationFrame(random, None, duration) for duration in animation.seconds]
    for suffix in (".gif", ".apng", ".webp"):
        path = tmp_path / f"b{suffix}"
        with animation_writer(path, (width, height)) as writer:
            for frame in same:
                writer.add(frame)
        assert len(shown(path)) == 5
        assert path.stat().st_size < (3800 if suffix == ".gif" else 2600)
