"""Fixtures of several test modules of the engine."""

from pathlib import Path

import pytest

from tests.helpers.models import write_model
from tests.helpers.shots import write_shots


@pytest.fixture(scope="module")
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of the shots whose lengths are the module's `LENGTHS`."""
    return write_shots(tmp_path_factory.mktemp("film") / "a.mp4", request.module.LENGTHS)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of few channels with random weights."""
    return write_model(tmp_path_factory.mktemp("model") / "a.safetensors")
