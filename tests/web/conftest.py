"""Fixtures of the server's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.client import Client
from tests.web.views import Server
from vsr.web.app import create_app
from vsr.web.settings import ServerSettings, make_settings


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """An empty folder that clients see as the root `films`."""
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path: Path, films: Path) -> ServerSettings:
    return make_settings(tmp_path / "data", "127.0.0.1", 8765, roots=[films])


@pytest.fixture(scope="session")
def plain_client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A client of an application without films, for requests that change nothing."""
    settings = make_settings(tmp_path_factory.mktemp("plain"), "127.0.0.1", 8765)
    return Client(create_app(settings))


@pytest.fixture
def client(settings: ServerSettings) -> Client:
    """A client of an application whose queue doesn't run."""
    return Client(create_app(settings))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one film, whose processes import torch once for all tests."""
    made = Server(tmp_path_factory.mktemp("views"))
    yield made
    made.services.views.close()
