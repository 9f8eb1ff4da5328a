"""Models and films for the tools, small enough for seconds."""

import shutil
from pathlib import Path

import calibrate
import pytest
import scores
import ship

import vsr.zoo
from tests.helpers.films import scenes, write_film
from vsr.zoo.card import read_card, write_card

CARDS = Path(vsr.zoo.__file__).parent / "cards"


@pytest.fixture
def zoo(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models, with a small one of random weights named `small-x4`."""
    folder = tmp_path / "zoo"
    for name in ("cards", "weights"):
        (folder / name).mkdir(parents=True)
    shutil.copy(tiny_model, folder / "weights" / "small-x4.safetensors")
    card = read_card(CARDS / "tiny-x4.toml")
    write_card(folder / "cards" / "small-x4.toml", card.model_copy(update={"name": "small-x4"}))
    monkeypatch.setattr(vsr.zoo, "_FOLDER", folder)
    for tool in (calibrate, scores, ship):
        monkeypatch.setattr(tool, "ZOO", folder)
    return folder


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with a film of 6 frames of 96x64."""
    folder = tmp_path / "films"
    folder.mkdir()
    write_film(folder / "a.mp4", scenes(96, 64, [6]), codec="libx264", options={"crf": "10"})
    return folder
