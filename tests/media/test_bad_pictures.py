"""Pictures and places that can't be used: one line each, before the work if possible."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.cli import complaint, vsr
from vsr.errors import MediaError, OutputError
from vsr.media.image import read_still
from vsr.media.image_writer import IMAGE_SUFFIXES, write_still
from vsr.media.still import Still
from vsr.system.files import make_folder

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def picture(path: Path) -> Path:
    make_folder(path.parent)
    Image.fromarray(PICTURE).save(path)
    return path


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files of at most 3,000 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_disk")
@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).random((80, 80, 3))
    for samples in ((noise * 255).astype(np.uint8), (noise * 65535).astype(np.uint16)):
        with pytest.raises(OutputError, match=r"can't be written: .*too large") as caught:
            write_still(tmp_path / f"a{suffix}", Still(rgb=samples))
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_named_as_such(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.tif", "a.exr", "a.jxl", "a.heic"):
        (tmp_path / name).touch()
        with pytest.raises(MediaError, match="is empty"):
            read_still(tmp_path / name)


def test_a_file_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "a.png")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(MediaError, match=r"a\.png: can't be read: permission denied$"):
        read_still(path)


@pytest.mark.slow
def test_a_folder_is_done_but_for_its_bad_pictures(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "in"
    long = "x" * 251 + ".png"
    good = ("a.png", "dir.png/b.png", "sub/c.jpg", "ünï 漢字 '\".png", long)
    for name in good:
        picture(folder / name)
    (folder / "a.png").chmod(0o444)
    (folder / "zero.png").touch()
    (folder / "text.jpg").write_text("no picture")
    cut = picture(folder / "cut.png")
    cut.write_bytes(cut.read_bytes()[:-300])
    Image.new("RGB", (5000, 2)).save(folder / "wide.webp")
    (folder / "raw.cr2").touch()
    (folder / "lost.png").symlink_to("nowhere")
    (folder / "linked").symlink_to("sub")
    os.mkfifo(folder / "pipe.png")
    done = vsr("image", folder, tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert f"{tmp_path / 'out'}: 5 pictures, x4" in done.stdout
    written = (path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert sorted(map(str, written)) == sorted([*good, "dir.png"])
    lines = done.stderr.splitlines()
    assert lines[0] == f"vsr: {folder}: skipped 4 files (2 .png, 1 linked, 1 .cr2): no pictures"
    assert [line.split(": ")[1].rsplit("/", 1)[1] for line in lines[1:]] == [
        *("cut.png", "text.jpg", "wide.webp", "zero.png")
    ]


def test_an_output_is_never_the_input(tmp_path: Path, tiny_model: Path) -> None:
    path = picture(tmp_path / "a.png")
    content = path.read_bytes()
    (tmp_path / "link.png").symlink_to(path)
    (tmp_path / "other.png").hardlink_to(path)
    for name in ("a.png", "link.png", "other.png"):
        line = complaint("image", path, tmp_path / name, "--model", tiny_model, "--overwrite")
        assert "is the input itself" in line
    assert path.read_bytes() == content


def test_places_that_can_not_be_written_are_refused_before_the_work(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "a.png")
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    for output, line in (
        (tmp_path / "b.png", "no permission to write there"),
        (tmp_path / "nowhere" / "b.png", "no such folder"),
        (tmp_path / "file" / "b.png", "no such folder"),
        (tmp_path / ("x" * 300 + ".png"), "file name too long"),
        (tmp_path / "b.xcf", "unknown picture format"),
    ):
        assert line in complaint("image", path, output, "--model", tiny_model)
