import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from tests.helpers.films import write_film
from tests.helpers.planes import planes_of
from vsr.data.prepare import PrepareProgress, prepare
from vsr.data.store import INDEX_FILE, Header, Store, StoreWriter
from vsr.data.summary import summarise, table, write_contact_sheet, write_summary
from vsr.errors import DataError

HEADER = Header(shortest=7, val_share=0.1)


def film(path: Path, frames: Sequence[NDArray[np.uint8]]) -> Path:
    return write_film(path, frames, codec="libx264", options={"crf": "8"})


def moving(number: int, frames: int = 12, side: int = 160) -> list[NDArray[np.uint8]]:
    """A window that wanders over a sharp picture, two pixels a frame."""
    picture = (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())[number]
    places = [2 * abs((n % 60) - 30) for n in range(frames)]
    return [picture[40 + p : 40 + p + side, 20 + p : 20 + p + side].copy() for p in places]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    film(folder / "a.mp4", moving(0) + moving(1))
    film(folder / "b.mp4", moving(2))
    Image.fromarray(data.coffee()).save(folder / "photo.png")
    return folder


def test_shots_become_clips_and_sources_are_split(footage: Path, tmp_path: Path) -> None:
    store = prepare([footage], tmp_path / "set", HEADER)
    names = {source.name: source.split for source in store.sources.values()}
    assert names == {"a.mp4": "train", "b.mp4": "val", "photo.png": "train"}
    lengths = {(store.sources[c.source].name, c.shot): c.frames for c in store.clips()}
    assert lengths == {("a.mp4", 0): 12, ("a.mp4", 1): 12, ("b.mp4", 0): 12, ("photo.png", 0): 1}
    assert all(store.sources[clip.source].split == clip.split for clip in store.clips())


def test_clips_read_back_as_they_were_in_the_film(footage: Path, tmp_path: Path) -> None:
    store = prepare([footage / "a.mp4"], tmp_path / "set", HEADER)
    second = store.clips()[1]
    y, cb, cr = store.read(second)
    assert y.shape == (12, 160, 160)
    assert cb.shape == cr.shape == (12, 80, 80)
    original = planes_of(moving(1))[0].astype(float)
    assert np.abs(y - original).mean() < 3


def test_what_teaches_nothing_is_left_out_with_its_reason(tmp_path: Path) -> None:
    still = [moving(3, 1)[0]] * 10
    soft = [np.asarray(cv2.GaussianBlur(f, (0, 0), 9), np.uint8) for f in moving(2, 10)]
    frames = moving(0, 12) + moving(1, 5) + still + soft + [np.full_like(still[0], 90)] * 8
    film(tmp_path / "a.mp4", frames + moving(0, 12))
    store = prepare([tmp_path / "a.mp4"], tmp_path / "set", HEADER)
    assert [clip.frames for clip in store.clips()] == [12]
    reasons = [line.reason for line in store.rejected()]
    assert reasons == ["short", "static", "blurred", "flat", "duplicate"]
    row = summarise(store)[0]
    assert row.left_out == {"short": 5, "static": 10, "blurred": 10, "flat": 8, "duplicate": 12}


@pytest.mark.slow
def test_bars_are_cropped_and_an_enlarged_film_is_shrunk(tmp_path: Path) -> None:
    sharp = [cv2.resize(f, None, fx=0.8, fy=0.8, interpolation=3) for f in moving(0, 9, 400)]
    barred, enlarged = [], []
    for frame in sharp:
        wide = np.zeros((400, 320, 3), np.uint8)
        wide[40:360] = frame
        barred.append(wide)
        enlarged.append(np.asarray(cv2.resize(frame, None, fx=2, fy=2, interpolation=2), np.uint8))
    film(tmp_path / "barred.mp4", barred)
    film(tmp_path / "enlarged.mp4", enlarged)
    rows = {}
    for name in ("barred", "enlarged"):
        store = prepare([tmp_path / f"{name}.mp4"], tmp_path / f"{name}-set", HEADER)
        rows[name] = summarise(store)[0]
        assert store.read(store.clips()[0])[0].shape[1:] == (
            rows[name].stored_height,
            rows[name].stored_width,
        )
    assert (rows["barred"].stored_width, rows["barred"].stored_height) == (320, 320)
    assert 280 <= rows["enlarged"].stored_width <= 400


def test_ten_bit_444_is_kept_as_8_bit_420(tmp_path: Path) -> None:
    frames = moving(0, 8)
    write_film(tmp_path / "a.mkv", frames, codec="ffv1", pixel_format="yuv444p10le")
    store = prepare([tmp_path / "a.mkv"], tmp_path / "set", HEADER)
    y, cb, _ = store.read(store.clips()[0])
    assert y.dtype == np.uint8
    assert cb.shape == (8, 80, 80)
    # swscale made the file by BT.601 while the stream says BT.709: hence the slack.
    assert np.abs(y - planes_of(frames)[0].astype(float)).mean() < 8


def test_a_broken_file_is_reported_and_passed_over(footage: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes((footage / "a.mp4").read_bytes()[:3000])
    store = prepare([broken, footage / "a.mp4"], tmp_path / "set", HEADER)
    rows = {row.name: row for row in summarise(store)}
    assert "broken.mp4" in (rows["broken.mp4"].error or "")
    assert rows["a.mp4"].clips == 2
    assert any("broken" in line for line in table(list(rows.values())))


def test_running_again_adds_only_what_is_new(footage: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "set"
    before = prepare([footage / "a.mp4"], dataset, HEADER).lines
    assert prepare([footage / "a.mp4"], dataset, HEADER).lines == before
    after = prepare([footage], dataset, HEADER)
    assert after.lines[: len(before)] == before
    assert [source.name for source in after.sources.values()] == ["a.mp4", "b.mp4", "photo.png"]


class Interrupted(Exception):
    pass


def test_what_was_interrupted_goes_on_to_the_same_data_set(footage: Path, tmp_path: Path) -> None:
    def stop(progress: PrepareProgress) -> None:
        raise Interrupted

    whole = prepare([footage], tmp_path / "whole", HEADER)
    with pytest.raises(Interrupted):
        prepare([footage], tmp_path / "parts", HEADER, watch=stop)
    # As if the machine had stopped while the next clip and its line were being written.
    with (tmp_path / "parts" / "train-000.clips").open("ab") as shard:
        shard.write(b"half a clip")
    with (tmp_path / "parts" / INDEX_FILE).open("a") as index:
        index.write('{"kind": "clip", "sou')
    parts = prepare([footage], tmp_path / "parts", HEADER)
    assert parts.lines == whole.lines
    for name in ("train-000.clips", "val-000.clips"):
        assert (tmp_path / "parts" / name).stat().st_size == (
            tmp_path / "whole" / name
        ).stat().st_size
    for clip in parts.clips():
        assert all(
            np.array_equal(one, other)
            for one, other in zip(parts.read(clip), whole.read(clip), strict=True)
        )


def test_named_validation_footage_is_held_back_and_nothing_else(
    footage: Path, tmp_path: Path
) -> None:
    store = prepare([footage], tmp_path / "set", HEADER, [footage / "a.mp4"])
    splits = {source.name: source.split for source in store.sources.values()}
    assert splits == {"a.mp4": "val", "b.mp4": "train", "photo.png": "train"}


def test_a_long_shot_is_taken_in_pieces(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", moving(0, 70, 96))
    store = prepare([tmp_path / "a.mp4"], tmp_path / "set", HEADER)
    assert [(clip.shot, clip.piece, clip.frames) for clip in store.clips()] == [
        (0, 0, 60),
        (0, 1, 10),
    ]


def test_summary_and_contact_sheet_tell_and_show(footage: Path, tmp_path: Path) -> None:
    store = prepare([footage], tmp_path / "set", HEADER)
    rows = summarise(store)
    write_summary(store, rows)
    write_contact_sheet(store)
    reported = json.loads((tmp_path / "set" / "summary.json").read_text())
    assert [source["frames_taken"] for source in reported["sources"]] == [24, 12, 1]
    with Image.open(tmp_path / "set" / "contact-sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[0] > 90
    assert pixels.std() > 20
    assert table(rows)[-2:] == [
        "train: 3 clips, 25 frames, of 2 sources",
        "val: 1 clips, 12 frames, of 1 sources",
    ]


def test_other_settings_or_other_files_are_not_mixed_in(footage: Path, tmp_path: Path) -> None:
    prepare([footage / "b.mp4"], tmp_path / "set", HEADER)
    with pytest.raises(DataError, match="was made with version 1, shortest 7"):
        StoreWriter(tmp_path / "set", Header(shortest=9, val_share=0.1))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="holds other files"):
        prepare([footage / "b.mp4"], tmp_path / "mine", HEADER)


def test_footage_of_which_nothing_can_be_taken_is_an_error(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", moving(0, 4))
    with pytest.raises(DataError, match="no part of the footage is suitable: 1 short"):
        prepare([tmp_path / "a.mp4"], tmp_path / "set", HEADER)


def test_a_set_with_a_truncated_shard_is_not_added_to(footage: Path, tmp_path: Path) -> None:
    """Appending would fill the gap with zeros, and hide it."""
    prepare([footage / "b.mp4"], tmp_path / "set", HEADER)
    shard = tmp_path / "set" / "train-000.clips"
    shard.write_bytes(shard.read_bytes()[:-1])
    before = shard.read_bytes()
    with pytest.raises(DataError, match="prepare the data set again, in a new folder"):
        prepare([footage], tmp_path / "set", HEADER)
    assert shard.read_bytes() == before


def test_a_folder_that_is_no_data_set_and_a_damaged_one_are_refused(
    footage: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="not a data set; make one with vsr data prepare"):
        Store(tmp_path)
    store = prepare([footage / "b.mp4"], tmp_path / "set", HEADER)
    (tmp_path / "set" / "train-000.clips").write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match=r"train-000.clips: damaged at byte 0"):
        store.read(store.clips()[0])
    (tmp_path / "set" / INDEX_FILE).write_text("{}\n")
    with pytest.raises(DataError, match=r"line 1 can't be read"):
        Store(tmp_path / "set")


@pytest.mark.slow
def test_the_command_survives_being_killed(tmp_path: Path) -> None:
    """SIGKILL in the midst of a film; the same command again finishes, with nothing twice."""
    film(tmp_path / "a.mp4", [f for n in range(4) for f in moving(n, 40, 200)])
    command = [sys.executable, "-m", "vsr", "data", "prepare", "a.mp4", "set"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    index = tmp_path / "set" / INDEX_FILE
    deadline = time.monotonic() + 60
    while not (index.exists() and '"clip"' in index.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "train: 4 clips, 160 frames, of 1 sources" in again.stdout
    store = Store(tmp_path / "set")
    assert [clip.shot for clip in store.clips()] == [0, 1, 2, 3]
    assert all(store.read(clip)[0].shape[0] == 40 for clip in store.clips())
