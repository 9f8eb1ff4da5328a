"""A small data set, and the smoke recipe for it."""

from pathlib import Path

import pytest

from tests.helpers.films import scenes, write_film
from tests.helpers.training import SMOKE
from vsr.config import load_toml
from vsr.data.prepare import prepare
from vsr.data.store import Header
from vsr.training.config import TrainConfig


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for name, first in (("a", 0), ("b", 1)):
        frames = scenes(240, 192, [8, 8, 8, 8])[16 * first : 16 * first + 16]
        write_film(folder / f"{name}.mp4", frames, codec="libx264", options={"crf": "10"})
    prepare([folder], folder / "set", Header(shortest=7, val_share=0.1))
    return folder / "set"


@pytest.fixture
def recipe(dataset: Path) -> TrainConfig:
    return load_toml(SMOKE, TrainConfig, [f"data.dataset={dataset}"])
