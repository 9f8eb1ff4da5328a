"""Films in every format keep what they hold, as checked by ffprobe and written in the docs."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.formats.matrix import (
    DOC,
    Cell,
    Source,
    cells,
    documented,
    make_source,
    outcome,
    page,
)
from tests.helpers.ffmpeg import needs_ffmpeg
from tests.helpers.models import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(
        tmp_path_factory.mktemp("matrix") / "model.safetensors", memory=0, flow_channels=0
    )


@pytest.fixture(scope="module")
def source_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Source | None]:
    """The film of a feature and a container, encoded once for all outputs."""
    return cache(
        lambda feature, container: make_source(feature, container, tmp_path_factory.mktemp("film"))
    )


@pytest.mark.slow
@needs_ffmpeg
@pytest.mark.parametrize("cell", cells(), ids=lambda cell: "-".join(cell))
def test_all_is_kept_or_reported_as_the_docs_say(
    cell: Cell, source_of: Callable[[str, str], Source | None], model: Path, tmp_path: Path
) -> None:
    film = source_of(cell.feature, cell.source)
    assert outcome(cell, film, tmp_path, model) == documented()[cell]


def test_the_docs_are_generated_and_list_every_cell() -> None:
    outcomes = documented()
    assert set(outcomes) == set(cells())
    assert DOC.read_text(encoding="utf-8") == page(outcomes)
