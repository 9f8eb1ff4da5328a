"""What goes in comes out, whatever it is, by a judge that shares no code with us."""

import shutil
from pathlib import Path

import pytest

from tests.formats.matrix import DOC, Cell, cells, outcome, page
from tests.helpers.models import write_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("ffprobe"), reason="needs Debian's ffmpeg"),
]

_outcomes: dict[Cell, str] = {}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("matrix") / "model.safetensors")


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: "-".join(cell))
def test_all_is_kept_or_told_of(cell: Cell, tmp_path: Path, model: Path) -> None:
    _outcomes[cell] = outcome(cell, tmp_path, model)


def test_the_docs_hold_what_was_found() -> None:
    if len(_outcomes) < len(cells()):
        pytest.skip("only a part of the matrix was run")
    assert DOC.read_text(encoding="utf-8") == page(_outcomes)
