"""The command line as people meet it: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from skimage import data

from tests.helpers.cli import complaint, vsr
from tests.helpers.films import broken_inputs, scenes, write_film
from vsr.engine.backends.onnx_providers import import_onnxruntime

SMOKE = Path(__file__).parents[1] / "configs" / "smoke.toml"


VERBS = (
    "upscale",
    "plan",
    "verify",
    "image",
    "train",
    "evaluate",
    "compare",
    "serve",
    "export",
    "models",
    "profiles",
    "doctor",
)


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from vsr.cli import main\n"
        "try: main(['--help'])\n"
        "finally: assert not {'torch', 'av', 'cv2', 'fastapi'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in VERBS:
        assert verb in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example(verb: str) -> None:
    done = vsr(verb, "--help")
    assert done.returncode == 0
    assert f"vsr {verb}" in done.stdout.split("\n\n", 1)[1]


def test_a_film_is_upscaled(tmp_path: Path, small_film: Path, tiny_model: Path) -> None:
    output = tmp_path / "b.mp4"
    done = vsr("upscale", small_film, output, "--model", tiny_model, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["output"] == str(output)
    assert (summary["frames"], summary["width"], summary["height"]) == (12, 384, 256)
    assert output.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(
    tmp_path: Path, tiny_model: Path, number: int, code: int
) -> None:
    source = write_film(tmp_path / "a.mp4", scenes(320, 180, [400]))
    command: list[str | Path] = [sys.executable, "-m", "vsr", "upscale", source]
    command += [tmp_path / "b.mp4", "--model", tiny_model, "--device", "cpu"]
    # Started in a shell's background, tests inherit a SIGINT that is ignored.
    process = subprocess.Popen(
        command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".b.*/*.partial")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    if number == signal.SIGINT:
        time.sleep(0.3)
        process.send_signal(number)  # the first asks for the end of the segment, the second ends
    assert process.wait(timeout=60) == code
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_what_can_not_be_kept_is_reported(tmp_path: Path, tiny_model: Path) -> None:
    source = tmp_path / "a.mkv"
    with av.open(str(source), "w") as container:
        video: Any = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        container.add_attachment("font.ttf", "font/ttf", b"not really a font")
        container.set_chapters(
            [{"id": 1, "start": 0, "end": 40, "time_base": Fraction(1, 1000), "metadata": {}}]
        )
        for picture in scenes(64, 48, [3]):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    done = vsr("upscale", source, tmp_path / "b.mp4", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "vsr: not kept: stream 1, font.ttf attachment: .mp4 can't hold it, .mkv can\n"
    )
    strictly = ("upscale", source, tmp_path / "c.mp4", "--model", tiny_model, "--strict")
    assert "would lack stream 1, font.ttf attachment" in complaint(*strictly)
    assert not (tmp_path / "c.mp4").exists()


def test_bad_inputs_get_one_line_and_leave_nothing(tmp_path: Path) -> None:
    for path, _ in broken_inputs(tmp_path):
        if path.is_dir():
            continue  # is upscaled film by film
        assert str(path) in complaint("upscale", path, tmp_path / "out.mp4")
    assert not list(tmp_path.glob("*out*"))


def test_bad_outputs_and_models_get_one_line(tmp_path: Path, small_film: Path) -> None:
    output = tmp_path / "b.mp4"
    assert "unknown model 'nice'; there are: " in complaint(
        "upscale", small_film, output, "--model", "nice"
    )
    assert "is the input itself" in complaint("upscale", small_film, small_film, "--overwrite")
    assert "unknown film format" in complaint("upscale", small_film, tmp_path / "b.xyz")
    output.write_text("precious")
    assert "exists; use --overwrite" in complaint("upscale", small_film, output)
    assert output.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["b.mp4"]


def test_wrong_usage_is_exit_code_2(small_film: Path) -> None:
    assert vsr("upscale", small_film).returncode == 2
    assert vsr("upscale", small_film, "b.mp4", "--scale", "x3").returncode == 2


def test_pictures_are_upscaled_one_or_a_folder(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "c.webp"):
        Image.fromarray(data.coffee()[:16, :24]).save(folder / name)
    done = vsr("image", folder / "a.png", tmp_path / "a.webp", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    (folder / "broken.png").write_text("no picture")
    done = vsr("image", folder, tmp_path / "out", "--model", tiny_model)
    assert done.returncode == 1
    assert "broken.png: not a picture" in done.stderr
    assert "3 pictures" in done.stdout
    for name in ("a.webp", "out/a.png", "out/b.jpg", "out/c.webp"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (96, 64)


def test_footage_becomes_a_data_set_with_a_table(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number, name in enumerate(("a", "b")):
        write_film(films / f"{name}.mp4", scenes(240, 192, [8, 8, 8])[8 * number :])
    (films / "broken.mp4").write_bytes(b"not a film")
    done = vsr("data", "prepare", films, tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert "a.mp4" in done.stdout
    assert "train: " in done.stdout
    assert "skipped: " in done.stderr
    assert (tmp_path / "set" / "contact-sheet.png").exists()
    reported = json.loads(vsr("data", "prepare", films, tmp_path / "set", "--json").stdout)
    assert [source["name"] for source in reported["sources"]] == ["a.mp4", "b.mp4", "broken.mp4"]
    assert "no such file or folder of footage" in complaint(
        "data", "prepare", tmp_path / "none", tmp_path / "set"
    )
    assert "was made with" in complaint(
        "data", "prepare", films, tmp_path / "set", "--shortest", "9"
    )


@pytest.mark.slow
def test_training_runs_stops_on_ctrl_c_and_resumes(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number, name in enumerate(("a", "b")):
        write_film(films / f"{name}.mp4", scenes(240, 192, [8, 8, 8])[8 * number :])
    dataset = tmp_path / "set"
    assert vsr("data", "prepare", films, dataset).returncode == 0
    run = tmp_path / "run"
    arguments = ["train", "--config", SMOKE, "--output", run, "--device", "cpu"]
    arguments += ["--set", f"data.dataset={dataset}"]
    endless = ["--set", "training.iterations=100000", "--set", "schedule.validate_every=5"]
    command = [sys.executable, "-m", "vsr", *map(str, arguments + endless)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "resume with --resume" in out
    assert "holds a run; add --resume" in complaint(*arguments)
    (run / "state-9999999.pt").write_bytes(b"cut off")
    done = vsr(*arguments, *endless, "--resume", "--minutes", "0")
    assert done.returncode == 0, done.stderr
    assert "state-9999999.pt: can't be read (" in done.stderr
    assert "of 100000" in done.stdout


def test_bad_recipes_get_one_line(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(SMOKE.read_text().replace("batch", "batsh"))
    assert "unknown key training.batsh; did you mean batch?" in complaint(
        "train", "--config", recipe
    )
    assert "training.batch = 'big'" in complaint(
        "train", "--config", SMOKE, "--set", "training.batch=big"
    )
    assert "not a data set; make one with vsr data prepare" in complaint(
        "train", "--config", SMOKE, "--set", f"data.dataset={tmp_path / 'none'}"
    )
    assert "training.compile: only for a GPU" in complaint(
        *("train", "--config", SMOKE, "--device", "cpu", "--set", "training.compile=true"),
        *("--output", tmp_path / "run"),
    )


def test_a_model_is_scored_beside_bicubic(tmp_path: Path, tiny_model: Path) -> None:
    write_film(tmp_path / "a.mp4", scenes(120, 96, [3]))
    measured = ("--metrics", "psnr_y,ssim_y,tof", "--json", "-", "--device", "cpu")
    done = vsr("evaluate", "--model", tiny_model, "--data", tmp_path, *measured)
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    (film,) = whole["films"]
    assert (film["name"], film["frames"]) == ("a.mp4", 3)
    assert whole["mean"] == film["mean"]
    assert 15 < whole["bicubic_mean"]["psnr_y"] < 45
    assert 0 < whole["mean"]["ssim_y"] < 1
    assert whole["bicubic_mean"]["tof"] > 0
    assert whole["command"].startswith("vsr evaluate --model")


def test_detail_is_dialled_between_a_model_and_its_twin(tmp_path: Path, small_film: Path) -> None:
    pictures = {}
    Image.fromarray(data.astronaut()[:40, 100:160]).save(tmp_path / "in.png")
    for detail in ("0", "0.5", "1"):
        output = tmp_path / f"{detail}.png"
        done = vsr("image", tmp_path / "in.png", output, "--detail", detail, "--device", "cpu")
        assert done.returncode == 0, done.stderr
        pictures[detail] = output.read_bytes()
    assert len(set(pictures.values())) == 3
    film = tmp_path / "detailed.mp4"
    assert vsr("upscale", small_film, film, "--detail", "1", "--device", "cpu").returncode == 0
    assert "has no twin for detail" in complaint(
        *("upscale", small_film, tmp_path / "b.mp4", "--model", "tiny-x4-bd", "--detail", "0.5")
    )
    assert vsr("upscale", small_film, tmp_path / "b.mp4", "--detail", "2").returncode == 2


def test_two_films_are_compared_in_numbers_and_on_pages(tmp_path: Path, small_film: Path) -> None:
    other = write_film(tmp_path / "b.mp4", scenes(96, 64, [12]), codec="mpeg4")
    files = [tmp_path / name for name in ("report.json", "report.csv", "report.html")]
    options = [f"--{file.suffix[1:]}" for file in files]
    outputs = [part for pair in zip(options, files, strict=True) for part in pair]
    done = vsr("evaluate", other, small_film, "--device", "cpu", *outputs)
    assert done.returncode == 0, done.stderr
    assert "protocol plain" in done.stdout
    assert done.stdout.splitlines()[-1].split()[:2] == ["b", "12"]
    assert json.loads(files[0].read_text())["films"][0]["frames"] == 12
    assert len(files[1].read_text().splitlines()) == 13
    assert files[2].read_text().startswith("<!doctype html>")
    assert "report.json: exists" in complaint("evaluate", other, small_film, *outputs)
    page = tmp_path / "compare.html"
    assert vsr("compare", other, small_film, "--html", page).returncode == 0
    assert page.read_text().startswith("<!doctype html>")
    assert "compare.html: exists" in complaint("compare", other, small_film, "--html", page)


def test_what_cannot_be_evaluated_is_reported_in_one_line(tmp_path: Path, small_film: Path) -> None:
    short = write_film(tmp_path / "short.mp4", scenes(96, 64, [5]))
    wide = write_film(tmp_path / "wide.mp4", scenes(104, 64, [12]))
    single = write_film(tmp_path / "single.mp4", scenes(96, 64, [1]))
    sound = tmp_path / "notes.txt"
    sound.write_text("no film")
    for arguments, said in (
        ((short, small_film), "has 5 frames"),
        ((wide, small_film), "--align crop"),
        ((sound, small_film), "notes.txt"),
        ((single, single), "one frame has no motion"),
        ((tmp_path / "none.mp4", small_film), "no such file"),
        ((small_film, small_film, "--metrics", "pnsr"), "unknown metric 'pnsr'"),
        ((small_film, small_film, "--metrics", ""), "unknown metric ''"),
        ((small_film,), "nothing to evaluate against"),
    ):
        assert said in complaint("evaluate", *arguments, "--device", "cpu")
    for wrong in (
        (),
        (small_film, "--model", "tiny-x4"),
        ("--model", "tiny-x4"),
        (small_film, small_film, "--frames", 3),
    ):
        assert vsr("evaluate", *wrong).returncode == 2


def test_what_ships_is_listed_with_its_gain() -> None:
    done = vsr("models")
    assert done.returncode == 0
    assert "tiny-x4" in done.stdout
    assert "tiny-x2" in done.stdout
    assert {card["name"] for card in json.loads(vsr("models", "--json").stdout)} >= {
        "tiny-x2",
        "tiny-x4",
    }


def test_default_detail_is_listed_unless_it_is_0() -> None:
    lines = vsr("models").stdout.splitlines()
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    starts = [index for index, line in enumerate(lines) if not line.startswith(" ")]
    entries = {
        name: "\n".join(lines[start:end])
        for name, start, end in zip(names, starts, [*starts[1:], len(lines)], strict=True)
    }
    assert entries["base-x4"].endswith("Default of --detail: 0.5")
    assert "--detail:" not in entries["base-x4-gan"]
    assert entries["tiny-x4"].endswith("Default of --detail: 0.5")
    assert "--detail:" not in entries["tiny-x2"]


def test_the_doctor_reports_onnx_runtime_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the extra `community` installs it."""
    pytest.importorskip("onnxruntime")
    import_onnxruntime.cache_clear()
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = vsr("doctor")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("onnx "))
    assert "; backend onnx needs onnx: pip install 'vsr[onnx]'" in line


def test_the_doctor_names_versions_devices_and_encoders() -> None:
    done = vsr("doctor")
    assert done.returncode == 0, done.stderr
    for word in ("vsr ", "torch ", "PyAV ", "devices  cpu", "h264", "av1", "models", "providers"):
        assert word in done.stdout
