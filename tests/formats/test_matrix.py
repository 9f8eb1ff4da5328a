"""Films in every format keep what they hold, as checked by ffprobe and written in the docs."""

from collections.abc import Callable
from functools import cache

import pytest

from tests.formats.matrix import DOC, Cell, cells, outcome, page
from tests.helpers.ffmpeg import needs_ffmpeg
from tests.helpers.models import write_model

pytestmark = [pytest.mark.slow, needs_ffmpeg]


@pytest.fixture(scope="session")
def outcome_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], str]:
    """The outcome of a cell, computed once, whichever test asks for it first."""
    model = write_model(tmp_path_factory.mktemp("matrix") / "model.safetensors")
    return cache(lambda cell: outcome(cell, tmp_path_factory.mktemp("cell"), model))


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: "-".join(cell))
def test_all_is_kept_or_reported(cell: Cell, outcome_of: Callable[[Cell], str]) -> None:
    outcome_of(cell)


@pytest.mark.timeout(1200)  # computes all cells if it runs alone
def test_the_docs_hold_what_was_found(outcome_of: Callable[[Cell], str]) -> None:
    found = {cell: outcome_of(cell) for cell in cells()}
    assert DOC.read_text(encoding="utf-8") == page(found)
