"""Names, pipes and streams that the system allows and tools trip over."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.helpers.cli import complaint, vsr
from tests.helpers.films import AudioTrack, scenes, write_film
from vsr.engine import file_mode
from vsr.media.mux.muxer import Dropped


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
    done = vsr("upscale", source, output, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert frame_count(output) == 6
    assert vsr("verify", source, output).returncode == 0
    assert sorted(Path().iterdir()) == sorted([source, output])


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path, tiny_model: Path) -> None:
    source, output = write_film(tmp_path / "a.mkv", scenes(64, 48, [6])), tmp_path / "b.mkv"
    with fed(tmp_path / "pipe", source.read_bytes()) as pipe:
        done = vsr("upscale", pipe, output, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
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


@pytest.mark.parametrize("arguments", [("", "b.mkv"), ("a.mkv", "")])
def test_an_empty_name_is_a_usage_error(arguments: tuple[str, str]) -> None:
    done = vsr("upscale", *arguments)
    assert done.returncode == 2
    assert done.stderr.endswith("the name is empty\n")


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
        done = vsr("upscale", pipe, output, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    with av.open(str(output)) as made:
        (cover,) = [bytes(p) for p in made.demux(made.streams.video[1]) if p.size]
    assert cover == picture


def test_an_index_that_a_pipe_can_not_reach_is_named(tmp_path: Path, tiny_model: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 240, 320, 3), dtype=np.uint8)
    options = {"qp": "1", "preset": "ultrafast"}
    source = write_film(tmp_path / "a.mp4", list(noise), codec="libx264", options=options)
    with fed(tmp_path / "pipe", source.read_bytes()) as pipe:
        line = complaint("upscale", pipe, tmp_path / "b.mkv", "--model", tiny_model)
    assert "pipe: an MP4 with its index at the end" in line


def test_the_longest_names_are_read_and_written(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    source, output = tmp_path / f"{'x' * 251}.mp4", tmp_path / f"{'y' * 250}.mp4"
    source.write_bytes(film.read_bytes())
    done = vsr("upscale", source, output, "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert frame_count(output) == 6
    picture, large = tmp_path / f"{'p' * 251}.png", tmp_path / f"{'z' * 250}.png"
    Image.new("RGB", (8, 8)).save(picture)
    assert vsr("image", picture, large, "--model", tiny_model).returncode == 0
    page = tmp_path / f"{'h' * 250}.html"
    assert vsr("compare", source, output, "--html", page).returncode == 0
    assert page.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_interrupted_run_goes_on_beside_the_longest_name(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / f"{'y' * 250}.mp4"
    monkeypatch.setattr("vsr.engine.file_mode._join", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        vsr("upscale", film, output, "--model", tiny_model)
    monkeypatch.undo()
    done = vsr("upscale", film, output, "--model", tiny_model, "--json")
    assert '"resumed_frames": 6' in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("upscale", "{film}", "{film}"),
        ("upscale", "{film}", "{new}.mp4", "--trace", "{film}"),
        ("upscale", "{film}", "{new}.mp4", "--trace", "{new}.mp4"),
        ("upscale", "{film}", "{new}.mp4", "--trace", "{model}"),
        ("plan", "{picture}", "--preview", "{picture}"),
        ("image", "{picture}", "{picture}"),
        ("compare", "{film}", "{other}", "--html", "{other}"),
        ("evaluate", "{film}", "{other}", "--html", "{film}"),
        ("evaluate", "{film}", "{other}", "--csv", "{other}"),
        ("evaluate", "{film}", "{other}", "--json", "-", "--csv", "-"),
        ("evaluate", "{film}", "{other}", "--json", "{new}", "--csv", "{new}"),
        ("export", "{onnx}", "{onnx}"),
    ],
    ids=" ".join,
)
def test_no_verb_writes_over_its_inputs(
    film: Path, tmp_path: Path, tiny_model: Path, command: tuple[str, ...]
) -> None:
    places = {
        "film": tmp_path / "a.mp4",
        "other": tmp_path / "b.mp4",
        "picture": tmp_path / "a.png",
        "model": tmp_path / "m.safetensors",
        "onnx": tmp_path / "m.onnx",
    }
    for name, content in (("film", film), ("other", film), ("model", tiny_model)):
        places[name].write_bytes(content.read_bytes())
    places["onnx"].write_bytes(tiny_model.read_bytes())
    Image.fromarray(scenes(32, 24, [1])[0]).save(places["picture"])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    words = [part.format(**places, new=tmp_path / "new") for part in command]
    model = ["--model", str(places["model"])] if command[0] in ("upscale", "plan", "image") else []
    line = complaint(*words, *model, "--overwrite")
    assert "input itself" in line or "two outputs" in line
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_copy_for_browsers_replaces_no_film(tmp_path: Path) -> None:
    films = [tmp_path / "a.mkv", tmp_path / "page-a.mp4"]
    for film in films:
        write_film(film, scenes(64, 48, [3]))
    before = films[1].read_bytes()
    page = ["--html", tmp_path / "page.html", "--overwrite"]
    assert "page-a.mp4: is the input itself" in complaint("compare", *films, *page)
    assert films[1].read_bytes() == before
    (tmp_path / "sub").mkdir()
    films[1] = write_film(tmp_path / "sub" / "a.avi", scenes(64, 48, [4]))
    assert vsr("compare", *films, "--html", tmp_path / "other.html").returncode == 0
    assert [frame_count(tmp_path / f"other-a{n}.mp4") for n in ("", "-2")] == [3, 4]


def test_weights_beside_an_exported_model_are_not_replaced(
    tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "m.bin").write_text("mine")
    line = complaint("export", tiny_model, tmp_path / "m.xml")
    assert "m.bin: exists; use --overwrite" in line
    assert (tmp_path / "m.bin").read_text() == "mine"


def test_folders_that_can_not_be_made_are_one_line(film: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "file: is a file; name a folder" in complaint("data", "prepare", film, tmp_path / "file")
    assert "can't be created" in complaint("data", "prepare", film, tmp_path / "file" / "set")


def test_a_subfolder_that_can_not_be_made_costs_its_films_alone(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    for name in ("a.mp4", "sub/b.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(film.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").touch()
    done = vsr("upscale", tmp_path / "in", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert "out/sub: is a file; name a folder" in done.stderr
    assert frame_count(tmp_path / "out" / "a.mp4") == 6


def piped(redirect: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, standard streams redirected as a shell does."""
    words = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "vsr"]
    return subprocess.run(
        [*words, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_run_that_nobody_can_hear_of_is_done(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    output = tmp_path / "b.mkv"
    done = piped("2>&- <&-", "upscale", film, output, "--model", tiny_model)
    assert (done.returncode, frame_count(output)) == (0, 6)
    assert "6 frames" in done.stdout
    silent = tmp_path / "c.mkv"
    assert piped("2>&- >&- <&-", "upscale", film, silent, "--model", tiny_model).returncode == 0
    # Nothing that a library says on the stream that is closed has gone into the film.
    assert silent.read_bytes() == output.read_bytes()


@pytest.mark.slow
def test_a_full_standard_output_is_one_line_when_all_is_done(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "in" / name).write_bytes(film.read_bytes())
    done = piped(">/dev/full", "upscale", tmp_path / "in", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert done.stderr == "vsr: standard output: no space left on device\n"
    assert [frame_count(tmp_path / "out" / name) for name in ("a.mp4", "b.mp4")] == [6, 6]
    assert piped(">/dev/full", "models").stderr == done.stderr
    assert piped(">/dev/full 2>/dev/full", "models").returncode == 1


@pytest.mark.slow
def test_a_closed_standard_stream_that_is_wanted_is_one_line(film: Path, tmp_path: Path) -> None:
    read = piped("<&-", "upscale", "-", tmp_path / "b.mkv")
    assert read.stderr.startswith("vsr: standard input: is closed")
    written = piped(">&-", "upscale", film, "-")
    assert written.stderr.startswith("vsr: standard output: is closed")
    assert [read.stderr.count("\n"), written.stderr.count("\n")] == [1, 1]


def test_a_film_that_was_finished_is_not_interrupted(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = file_mode._join

    def interrupted(*given: Any, **options: Any) -> Dropped:
        os.kill(os.getpid(), signal.SIGINT)
        return join(*given, **options)

    monkeypatch.setattr(file_mode, "_join", interrupted)
    done = vsr("upscale", film, tmp_path / "b.mp4", "--model", tiny_model)
    assert (done.returncode, frame_count(tmp_path / "b.mp4")) == (0, 6)
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "in" / name).write_bytes(film.read_bytes())
    done = vsr("upscale", tmp_path / "in", tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 130
    assert done.stderr.endswith("vsr: interrupted between two films\n")
    monkeypatch.undo()
    assert vsr("upscale", tmp_path / "in", tmp_path / "out", "--model", tiny_model).returncode == 0


@pytest.mark.slow
def test_ctrl_c_while_python_ends_leaves_the_exit_code() -> None:
    """The libraries take some tenths of a second to end, when handlers are gone already."""
    lines = [
        "import atexit, os, signal, sys",
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)",  # the first runs last
        "from vsr.cli import main",
        "main(['models'])",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "tiny-x4" in done.stdout


@pytest.mark.parametrize("digits", ["²", "٣٢", "0", "-1", "1e3", "9" * 5000, ""])
def test_digits_that_are_no_number_are_wrong_usage(film: Path, tmp_path: Path, digits: str) -> None:
    for words in (
        ("upscale", film, tmp_path / "b.mp4", "--tile", digits),
        ("export", "tiny-x4", tmp_path / "m.onnx", "--size", f"{digits}x32"),
    ):
        done = vsr(*words)
        assert done.returncode == 2
        assert "Error: Invalid value" in done.stderr


@pytest.mark.parametrize("container", ["mkv", ".mkv", ".MKV"])
def test_a_container_is_known_with_and_without_its_dot(
    film: Path, tiny_model: Path, container: str
) -> None:
    done = vsr("plan", film, "--container", container, "--model", tiny_model)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_container_is_named(film: Path) -> None:
    assert complaint("plan", film, "--container", "avi").startswith(
        "vsr: .avi: not a supported container"
    )


def test_a_page_on_standard_output_is_the_page_alone(film: Path, tmp_path: Path) -> None:
    films = [write_film(tmp_path / f"{n}.mp4", scenes(64, 48, [3]), codec="libx264") for n in "ab"]
    done = vsr("compare", *films, "--html", "-")
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n")


def test_a_file_called_like_a_pipe_is_a_file(
    film: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").write_bytes(film.read_bytes())
    assert vsr("upscale", "./-", "b.mkv", "--model", tiny_model).returncode == 0
    assert frame_count(tmp_path / "b.mkv") == 6


def test_a_folder_of_the_users_own_is_no_work_folder(
    film: Path, tmp_path: Path, tiny_model: Path
) -> None:
    mine = tmp_path / ".b.mkv.vsr" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    line = complaint("upscale", film, tmp_path / "b.mkv", "--model", tiny_model)
    assert "holds a foreign file, mine.txt" in line
    assert mine.read_text() == "mine"
    assert list(mine.parent.iterdir()) == [mine]


def test_a_film_that_ffmpeg_does_not_decode_is_named(tmp_path: Path, tiny_model: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
    frames = [Image.fromarray(picture) for picture in noise]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=40)
    line = complaint("upscale", tmp_path / "a.webp", tmp_path / "b.mkv", "--model", tiny_model)
    assert "an animated WebP, which FFmpeg doesn't decode" in line
