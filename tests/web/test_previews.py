"""Previews: computed once, the newest first, in a process that can be killed."""

import errno
import shutil
import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.models import write_model
from tests.web.views import Server
from vsr.engine.preview_frame import FramePreviewer
from vsr.engine.upscale_options import UpscaleOptions
from vsr.media.decode.reader import VideoReader
from vsr.media.encode.settings import EncoderSettings
from vsr.web.computations import Computation, Computations
from vsr.web.disk_cache import DiskCache
from vsr.web.preview_worker import AFTER, BEFORE, CLIP
from vsr.web.previews import Previews
from vsr.web.workers import Lane

pytestmark = pytest.mark.slow
MEGABYTE = 1_000_000


class Bench:
    """Previews with their lane, and all changes of state."""

    def __init__(self, folder: Path, lane: Lane) -> None:
        self.changes: list[tuple[str, str]] = []
        self.folder = folder
        self.lane = lane
        self.open()

    def open(self, most_bytes: int = 50 * MEGABYTE) -> None:
        """Forget all that isn't on disk."""
        cache = DiskCache(self.folder, most_bytes)
        self.computations = Computations(self.lane, cache, self.note)
        self.previews = Previews(self.computations)

    def note(self, changed: Computation) -> None:
        self.changes.append((changed.key, changed.state))

    def preview(
        self, film: Path, model: Path, seconds: float = 0.2, kind: str = "frame", **more: object
    ) -> Computation:
        options = UpscaleOptions(model=str(model), **more)  # type: ignore[arg-type]
        _, future = self.previews.request(film, "films/a.mp4", seconds, kind, options)  # type: ignore[arg-type]
        return future.result(60)


@pytest.fixture
def bench(tmp_path: Path, server: Server) -> Bench:
    return Bench(tmp_path / "cache", server.services.views._heavy)


def test_previews_are_computed_once(bench: Bench, small_film: Path, tiny_model: Path) -> None:
    first = bench.preview(small_film, tiny_model)
    assert [state for _, state in bench.changes] == ["waiting", "running", "done"]
    assert first.folder is not None
    expected = FramePreviewer().preview(small_film, 0.2, UpscaleOptions(model=str(tiny_model)))
    for name, pixels in ((BEFORE, expected.before), (AFTER, expected.after)):
        with Image.open(first.folder / name) as picture:
            np.testing.assert_array_equal(np.asarray(picture), pixels)
    assert (first.result["width"], first.result["height"]) == (384, 256)
    assert first.result["time"] == pytest.approx(0.2)
    # Neither an equal request nor one with another encoder computes anything, nor after a restart.
    for _ in range(2):
        assert bench.preview(small_film, tiny_model).key == first.key
        other = bench.preview(small_film, tiny_model, settings=EncoderSettings("h264", crf=30))
        assert other == bench.previews.find(first.key)
        assert len(bench.changes) == 3
        bench.open()
    assert bench.preview(small_film, tiny_model, width=96).key != first.key


def test_a_model_that_was_replaced_gives_another_preview(
    bench: Bench, small_film: Path, tmp_path: Path
) -> None:
    model = tmp_path / "a.safetensors"
    pictures = []
    for channels in (4, 0):
        write_model(model, memory=channels)
        found = bench.preview(small_film, model)
        assert found.folder is not None
        pictures.append((found.folder / AFTER).read_bytes())
    assert pictures[0] != pictures[1]


def test_a_clip_shows_both_sides(bench: Bench, small_film: Path, tiny_model: Path) -> None:
    clip = bench.preview(small_film, tiny_model, 0.2, "clip")
    assert clip.folder is not None
    with VideoReader(clip.folder / CLIP) as reader:
        assert (reader.info.width, reader.info.height) == (2 * 384 + 4, 256)
        assert len(list(reader.frames())) == 7  # from frame 5 of 12


def test_errors_are_states_and_are_repeated_on_demand(
    bench: Bench, small_film: Path, tiny_model: Path
) -> None:
    late = bench.preview(small_film, tiny_model, 7)
    assert late.state == "failed"
    assert "its last frame is at 0.440 s; 7.000 s is after it" in str(late.error)
    assert bench.previews.find(late.key) == late
    bench.preview(small_film, tiny_model, 7)
    assert [state for _, state in bench.changes].count("failed") == 2
    assert list(bench.folder.iterdir()) == []


def test_the_newest_frame_is_first_and_equal_requests_share_it(
    bench: Bench, small_film: Path, tiny_model: Path
) -> None:
    options = UpscaleOptions(model=str(tiny_model))
    block = bench.lane.submit(time.sleep, 3)
    asked = [
        bench.previews.request(small_film, "films/a.mp4", seconds, kind, options)  # type: ignore[arg-type]
        for kind, seconds in (("clip", 0), ("frame", 0), ("frame", 0.1), ("frame", 0.1))
    ]
    wait([block, *(future for _, future in asked)])
    order = [key for key, state in bench.changes if state == "running"]
    assert order == [asked[2][0].key, asked[1][0].key, asked[0][0].key]
    assert asked[2] == asked[3]


def test_the_cache_on_disk_has_a_limit(bench: Bench, small_film: Path, tiny_model: Path) -> None:
    first = bench.preview(small_film, tiny_model, 0)
    assert first.folder is not None
    size = sum(path.stat().st_size for path in first.folder.iterdir())
    second = bench.preview(small_film, tiny_model, 0.1)
    assert second.folder is not None
    size += sum(path.stat().st_size for path in second.folder.iterdir())
    bench.open(most_bytes=int(1.2 * size))
    bench.previews.find(first.key)  # is used
    bench.preview(small_film, tiny_model, 0.2)
    assert bench.previews.find(second.key) is None
    assert bench.previews.find(first.key) is not None
    assert bench.preview(small_film, tiny_model, 0.1).state == "done"


def test_a_cache_that_is_removed_is_written_again(
    bench: Bench, small_film: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: DiskCache, key: str) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    shutil.rmtree(bench.folder)
    with monkeypatch.context() as patch:
        patch.setattr(DiskCache, "begin", full)
        with pytest.raises(OSError, match="No space left"):
            bench.preview(small_film, tiny_model)
    assert bench.preview(small_film, tiny_model).state == "done"


def test_keys_from_clients_name_no_folders(bench: Bench) -> None:
    for key in ("..", "", "../../etc", "a" * 31, "A" * 32):
        assert bench.previews.find(key) is None


def test_a_lane_that_is_closed_fails_previews(
    tmp_path: Path, small_film: Path, tiny_model: Path
) -> None:
    closed = Bench(tmp_path / "cache", Lane("closed"))
    closed.lane.close()
    assert closed.preview(small_film, tiny_model).state == "failed"
