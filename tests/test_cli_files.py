"""Names, pipes and streams that the system allows and tools trip over."""

import contextlib
import io
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from PIL import Image

from tests.conftest import AudioTrack, scenes, write_film
from vsr.cli import main


class Done(NamedTuple):
    """What a command left."""

    code: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Done:
    """The command line in this process, which spares loading torch each time."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as end,
    ):
        main([str(argument) for argument in arguments])
    code = end.value.code
    assert isinstance(code, int)
    return Done(code, stdout.getvalue(), stderr.getvalue())


def complaint(*arguments: object) -> str:
    """The one line that a mistake is told in."""
    done = run(*arguments)
    assert done.code == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("vsr: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames with sound."""
    path = tmp_path_factory.mktemp("films") / "a.mp4"
    return write_film(path, scenes(64, 48, [6]), audio=[AudioTrack("aac", 440)])


@contextlib.contextmanager
def fed(pipe: Path, content: bytes) -> Iterator[Path]:
    """A named pipe into which some bytes are written."""

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.write_bytes(content)

    os.mkfifo(pipe)
    feeder = threading.Thread(target=feed)
    feeder.start()
    yield pipe
    feeder.join()


def frame_count(path: Path) -> int:
    """Frames that ffprobe decodes; it is handed a file, not a name."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-count_frames", "-of", "csv=p=0"]
    command += ["-show_entries", "stream=nb_read_frames", "-"]
    with path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
    return int(done.stdout.strip().strip(","))


NAMES = ["12:30 show", "file:x", "data:x", "http:x", "concat:a|b", "pipe:0", "100%03d", "caf\udce9"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_address(
    film: Path, tmp_path: Path, tiny_model: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source, output = Path(f"{name}.mp4"), Path(f"{name} large.mkv")
    source.write_bytes(film.read_bytes())
    done = run("upscale", source, output, "--model", tiny_model)
    assert done.code == 0, done.stderr
    assert frame_count(output) == 6
    assert run("verify", source, output).code == 0
    assert sorted(Path().iterdir()) == sorted([source, output])


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path, tiny_model: Path) -> None:
    source, output = write_film(tmp_path / "a.mkv", scenes(64, 48, [6])), tmp_path / "b.mkv"
    with fed(tmp_path / "pipe", source.read_bytes()) as pipe:
        done = run("upscale", pipe, output, "--model", tiny_model)
    assert done.code == 0, done.stderr
    assert frame_count(output) == 6


@pytest.mark.parametrize("verb", ["plan", "verify", "compare", "evaluate"])
def test_a_pipe_that_would_be_read_twice_is_one_line(film: Path, tmp_path: Path, verb: str) -> None:
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    more = {"plan": [], "verify": [film], "evaluate": [film]}
    page = [film, "--html", tmp_path / "page.html"]
    line = complaint(verb, pipe, *more.get(verb, page))
    assert "pipe" in line
    assert line.endswith("; name a file\n")


def test_a_cover_picture_goes_through_a_pipe(tmp_path: Path, tiny_model: Path) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "b.mkv"
    Image.fromarray(scenes(32, 24, [1])[0]).save(tmp_path / "cover.png")
    picture = (tmp_path / "cover.png").read_bytes()
    with av.open(str(source), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.add_attachment("cover.png", "image/png", picture)
        for frame in scenes(64, 48, [3]):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))
    with fed(tmp_path / "pipe", source.read_bytes()) as pipe:
        done = run("upscale", pipe, output, "--model", tiny_model)
    assert done.code == 0, done.stderr
    with av.open(str(output)) as made:
        (cover,) = [bytes(p) for p in made.demux(made.streams.video[1]) if p.size]
    assert cover == picture


def test_an_index_that_a_pipe_can_not_reach_is_named(tmp_path: Path, tiny_model: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 240, 320, 3), dtype=np.uint8)
    options = {"qp": "1", "preset": "ultrafast"}
    source = write_film(tmp_path / "a.mp4", list(noise), codec="libx264", options=options)
    with fed(tmp_path / "pipe", source.read_bytes()) as pipe:
        line = complaint("upscale", pipe, tmp_path / "b.mkv", "--model", tiny_model)
    assert "pipe: an MP4 whose index lies at its end" in line
