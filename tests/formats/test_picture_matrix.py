"""Pictures of every format keep what they hold, or it is reported, as written in the docs."""

from pathlib import Path

import pytest

from tests.formats.picture_matrix import DOC, cells, outcome, page


@pytest.mark.slow
def test_the_docs_list_what_is_kept_of_pictures(tmp_path: Path) -> None:
    found = {}
    for number, cell in enumerate(cells()):
        (tmp_path / str(number)).mkdir()
        found[cell] = outcome(cell, tmp_path / str(number))
    assert DOC.read_text(encoding="utf-8") == page(found)
