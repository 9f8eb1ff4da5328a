"""Each tool runs, and writes what it says, on a copy of a model that ships and a small film."""

import importlib
import shutil
import sys
from pathlib import Path

import bench
import calibrate
import demo
import pytest
import scores
import ship
from safetensors import safe_open

import vsr.zoo
from tests.helpers.films import scenes, write_film
from vsr.zoo import read_card

ROOT = Path(__file__).parents[2]
NAME = "tiny-x4"
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py"))


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one model and its card, and of the README, for the tools to write to."""
    folder = tmp_path / "zoo"
    for file in (f"weights/{NAME}.safetensors", f"cards/{NAME}.toml"):
        (folder / file).parent.mkdir(parents=True)
        shutil.copy(Path(vsr.zoo.__file__).parent / file, folder / file)
    for tool in (calibrate, scores, ship):
        monkeypatch.setattr(tool, "ZOO", folder)
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(scores, "README", tmp_path / "README.md")
    return folder


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    folder.mkdir()
    write_film(folder / "a.mp4", scenes(64, 48, [3]))
    return folder


def run(tool: str, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{tool}.py", *map(str, arguments)])
    importlib.import_module(tool).main()


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool != "demo"])
def test_a_tool_describes_its_arguments(
    tool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(tool, monkeypatch, "--help")
    assert end.value.code == 0
    assert f"usage: {tool}.py" in capsys.readouterr().out


def test_scores_are_written_to_the_card(
    zoo: Path, footage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("scores", monkeypatch, footage, "--only", NAME, "--frames", 2)
    measured = read_card(zoo / "cards" / f"{NAME}.toml").scores
    assert measured.keys() == {"bi", "bd"}
    assert measured["bi"].frames == 2
    assert f"{NAME} bi: {measured['bi'].psnr_y:.2f} dB" in capsys.readouterr().out


def test_the_readme_shows_the_scores_of_the_cards() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert scores.with_table(readme, vsr.zoo.list_models()) == readme


def test_calibration_puts_ranges_into_the_model_file(
    zoo: Path, footage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = zoo / "weights" / f"{NAME}.safetensors"
    before = model.read_bytes()
    run("calibrate", monkeypatch, footage, footage, "--only", NAME)
    assert model.read_bytes() != before
    assert capsys.readouterr().out.startswith(f"{NAME} ")


def test_a_run_is_shipped_in_half_precision_with_its_scores(
    zoo: Path, footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.move(zoo / "weights" / f"{NAME}.safetensors", folder / "model.safetensors")
    shutil.move(zoo / "cards" / f"{NAME}.toml", folder / "card.toml")
    run("ship", monkeypatch, folder, ROOT / "configs" / f"{NAME}.toml", footage)
    with safe_open(zoo / "weights" / f"{NAME}.safetensors", framework="pt") as weights:
        assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"F16"}  # noqa: SIM118
    assert read_card(zoo / "cards" / f"{NAME}.toml").scores.keys() == {"bi", "bd"}


@pytest.mark.slow
def test_the_demo_leaves_films_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "FRAMES_OF_A_SCENE", 2)
    demo.main(tmp_path)
    assert {"low.mp4", "upscaled.mp4", "comparison.png"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_benchmark_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(bench.__name__, monkeypatch, "--size", "64x48", "--frames", 4, "--device", "cpu")
    assert NAME in capsys.readouterr().out
