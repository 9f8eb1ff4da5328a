"""Broken films never bring down the command; `python -m tests.formats.fuzz` tries more of them."""

import subprocess
import sys

import pytest

from tests.helpers.ffmpeg import needs_ffmpeg


@pytest.mark.long
@pytest.mark.slow
@needs_ffmpeg
def test_broken_films_end_in_a_film_or_in_one_line() -> None:
    """In a process of its own, which forks for each: threads of torch don't go with that."""
    code = (
        "from tests.formats.fuzz import fuzz; made, faults = fuzz(64, seed=7); print(made, faults)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280
    )
    made, faults = done.stdout.strip().split(" ", 1)
    assert faults == "[]"
    assert 0 < int(made) < 64
