"""Several films and pictures, watched folders and events, by the real command."""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vsr.cli.upscale
import vsr.engine.watch
from tests.helpers.cli import complaint
from tests.helpers.cli import vsr as run
from tests.helpers.films import scenes, write_film
from vsr.cli import reports
from vsr.cli.progress import stop_on_interrupt
from vsr.cli.reports import JsonReport
from vsr.engine.resume import segments
from vsr.errors import Interrupted


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of 32x24."""
    return write_film(tmp_path_factory.mktemp("films") / "a.mp4", scenes(32, 24, [3]))


def copied(film: Path, *targets: Path) -> None:
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(film.read_bytes())


def size_of(film: Path) -> str:
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-of", "csv=p=0",
               "-show_entries", "stream=width,height,nb_read_frames", str(film)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_films_and_folders_are_upscaled_into_a_new_folder(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    copied(film, tmp_path / "b.avi", tmp_path / "one" / "c.mp4", tmp_path / "two" / "x" / "c.mp4")
    inputs = film, tmp_path / "b.avi", tmp_path / "one", tmp_path / "two"
    output = tmp_path / "new" / "out"
    done = run("upscale", *inputs, output, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert files_in(output) == ["a.mp4", "b.mkv", "one/c.mp4", "two/x/c.mp4"]
    assert size_of(output / "b.mkv") == "128,96,3"
    assert done.stdout.endswith(f"{output}: 4 films upscaled, 0 already present, 0 failed\n")
    again = run("upscale", *inputs, output, "--model", tiny_model)
    assert again.stdout == f"{output}: 0 films upscaled, 4 already present, 0 failed\n"


def test_a_failing_film_does_not_stop_the_others(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a film")
    output = tmp_path / "out"
    done = run("upscale", tmp_path / "broken.mp4", film, output, "--model", tiny_model)
    assert done.returncode == 1
    assert files_in(output) == ["a.mp4"]
    assert done.stdout.endswith(f"{output}: 1 film upscaled, 0 already present, 1 failed\n")
    assert done.stderr.endswith(f"vsr: failed: {tmp_path}/broken.mp4\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{film}", "{x}/a.mp4", "{new}"], "{x}/a.mp4 and {film} would both become {new}/a.mp4"),
        (["{film}", "{film}", "{new}"], "{film} and {film} would both become {new}/a.mp4"),
        (["{x}/a.mp4", "{x}/b.avi", "{x}"], "{x}/a.mp4: is an input itself; name another folder"),
        (["{film}", "{x}/none.mp4", "{new}"], "{x}/none.mp4: no such file or folder"),
        (["{film}", "{x}/a.mp4"], "{x}/a.mp4: exists; use --overwrite to replace it"),
        (["{film}", "{x}/b.avi", "{x}/a.mp4"], "{x}/a.mp4: several inputs need a folder"),
        (["{film}", "{x}/b.avi", "{new}.mkv"], "{new}.mkv: several inputs need a folder"),
        (["{film}", "{x}/b.avi", "-"], "-: several inputs need a folder"),
        (["{film}", "-", "{new}"], "-: standard input can't be one of several inputs"),
        (["{film}", "{x}", "{x}"], "{x}: is the input itself; name another output"),
        (["{x}", "{new}.mp4"], "{new}.mp4: isn't a folder, but the input is one; name a folder"),
        (["{x}", "-"], "-: isn't a folder, but the input is one; name a folder"),
        (["--watch", "{x}", "{new}.mp4"], "{new}.mp4: isn't a folder; --watch needs one"),
        (["--watch", "{x}", "-"], "-: isn't a folder; --watch needs one for its outputs"),
        (["--watch", "{film}", "{new}"], "{film}: not a folder; --watch needs one to watch"),
        (["--json", "--json-progress", "{film}", "{new}.mp4"], "--json-progress prints the result"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_any_work(
    film: Path, tmp_path: Path, arguments: list[str], line: str
) -> None:
    names = {"film": str(film), "x": str(tmp_path / "x"), "new": str(tmp_path / "new")}
    copied(film, tmp_path / "x" / "a.mp4", tmp_path / "x" / "b.avi")
    said = complaint("upscale", *(argument.format(**names) for argument in arguments))
    assert said.startswith(f"vsr: {line.format(**names)}")
    assert files_in(tmp_path) == ["x/a.mp4", "x/b.avi"]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["upscale", "image"])
def test_a_single_argument_lacks_the_output(film: Path, command: str) -> None:
    done = run(command, film)
    assert done.returncode == 2
    assert done.stderr.endswith("Error: Name at least one input, IN, and the output, OUT.\n")


def test_several_pictures_are_upscaled_into_a_folder(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("a.png", "b.bmp", "more/a.png"):
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / name)
    inputs = tmp_path / "a.png", tmp_path / "b.bmp", tmp_path / "more"
    done = run("image", *inputs, tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path / "out") == ["a.png", "b.png", "more/a.png"]
    with Image.open(tmp_path / "out" / "more" / "a.png") as picture:
        assert picture.size == (32, 32)
    line = complaint("image", tmp_path / "a.png", tmp_path / "a.png", tmp_path / "new")
    assert "would both become" in line


def test_each_event_is_a_line_of_json(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"not a film")
    output = tmp_path / "out"
    inputs = tmp_path / "broken.mp4", film
    done = run("upscale", *inputs, output, "--model", tiny_model, "--json-progress")
    assert done.returncode == 1
    events = events_of(done.stdout)
    names = [event["event"] for event in events]
    assert names[0] == "error"
    assert events[0]["source"] == str(tmp_path / "broken.mp4")
    assert names[-4:] == ["progress", "result", "summary", "error"]
    assert events[-2] == {
        "event": "summary", "output": str(output), "upscaled": 1, "present": 0, "failed": 1
    }  # fmt: skip
    start = next(event for event in events if event["event"] == "start")
    assert (start["source"], start["output"]) == (str(film), str(output / "a.mp4"))
    assert (start["width"], start["height"], start["frames"]) == (128, 96, 3)
    assert start["left_out"] == start["notes"] == []
    last = events[-4]
    assert (last["frames"], last["of"], last["seconds_left"]) == (3, 3, 0.0)
    assert all(last["stages"][name] > 0 for name in ("decode", "upscale", "encode"))
    assert events[-3]["frames"] == 3
    assert done.stderr == f"vsr: failed: {tmp_path}/broken.mp4\n"


@pytest.mark.slow
def test_events_never_mix_with_a_piped_film(film: Path, tmp_path: Path, tiny_model: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('codec = "hevc"\ncrf = 20\n')  # a pipe gets raw video
    command = [sys.executable, "-m", "vsr", "upscale", str(film), "-", "--json-progress",
               "--format", "y4m", "--model", str(tiny_model), "--profile", str(mine)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split(b"\n", 1)[1]) == 3 * (len(b"FRAME\n") + 128 * 96 * 3 // 2)
    names = [event["event"] for event in events_of(done.stderr.decode())]
    assert names[0] == "start"
    assert names[-1] == "result"


def test_an_interrupted_film_reports_its_last_frame(capsys: pytest.CaptureFixture[str]) -> None:
    stages = SimpleNamespace(**{name: SimpleNamespace(busy=0) for name in reports._STAGES})
    seen = {"frame_count": 9, "seconds": 1, "before": 0, "stages": stages, "workers": ()}
    seen |= {"frames_per_second": None, "seconds_left": None}
    with (
        suppress(Interrupted),
        JsonReport().film(Path("in"), Path("out")) as callbacks,
    ):
        for frames in (1, 2, 3):
            callbacks["watch"](SimpleNamespace(frames=frames, **seen))
        raise Interrupted("stopped")
    events = events_of(capsys.readouterr().out)
    assert [event["frames"] for event in events] == [1, 3]


def test_ctrl_c_is_announced_while_the_main_thread_prints() -> None:
    lock, said = threading.Lock(), []

    def message(line: str) -> None:
        assert lock.acquire(timeout=5)
        said.append(line)

    with stop_on_interrupt(message) as stop:
        with lock:
            signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
    assert len(said) == 1


def test_sigterm_is_the_last_event(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), JsonReport().errors():
        raise SystemExit(143)
    assert events_of(capsys.readouterr().out) == [
        {"event": "interrupted", "text": "ended by SIGTERM"}
    ]


def test_ctrl_c_in_a_film_leaves_a_watched_folder_to_be_resumed(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vsr.engine.watch, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(segments, "LONGEST_FRAMES", 6)
    monkeypatch.setattr(segments, "SHORTEST_FRAMES", 4)
    emit = JsonReport._emit

    def interrupting(self: JsonReport, event: str, **values: Any) -> None:
        emit(self, event, **values)
        if event == "start" and not values["resumed_frames"]:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(JsonReport, "_emit", interrupting)
    (tmp_path / "in").mkdir()
    film = write_film(tmp_path / "in" / "a.mkv", scenes(32, 24, [16]))
    output = tmp_path / "out"
    options = (output, "--model", tiny_model, "--json-progress")
    done = run("upscale", "--watch", film.parent, *options)
    assert done.returncode == 130
    assert files_in(output) != ["a.mkv"]
    events = events_of(done.stdout)
    assert [event["event"] for event in events[-2:]] == ["summary", "interrupted"]
    assert "6 frames are finished, and the same command resumes" in events[-1]["text"]
    again = events_of(run("upscale", film.parent, *options).stdout)
    assert next(one for one in again if one["event"] == "result")["resumed_frames"] == 6
    assert files_in(output) == ["a.mkv"]


def test_a_watched_folder_is_upscaled_until_ctrl_c(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vsr.cli.upscale, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(vsr.engine.watch, "SETTLE_SECONDS", 0.1)
    source, output = tmp_path / "in", tmp_path / "out"
    copied(film, source / "old.mp4", output / "old.mp4")
    (source / "broken.mp4").write_bytes(b"not a film")

    def drop_a_film_then_interrupt() -> None:
        time.sleep(0.3)
        copied(film, source / "new.avi")
        end = time.monotonic() + 60
        while not (output / "new.mkv").exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=drop_a_film_then_interrupt)
    thread.start()
    done = run("upscale", "--watch", source, output, "--model", tiny_model, "--json-progress")
    thread.join()
    assert done.returncode == 1  # for broken.mp4
    events = events_of(done.stdout)
    assert [event for event in events if event["event"] == "summary"] == [
        {"event": "summary", "output": str(output), "upscaled": 1, "present": 1, "failed": 1}
    ]
    failed = [event["source"] for event in events if event["event"] == "error"]
    assert failed == [str(source / "broken.mp4"), None]
    assert size_of(output / "new.mkv") == "128,96,3"


def test_pictures_are_not_read_from_or_written_to_pipes(tmp_path: Path) -> None:
    for arguments in (("-", tmp_path / "a.png"), (tmp_path / "a.png", "-")):
        assert "pictures are files, not pipes" in complaint("image", *arguments)
