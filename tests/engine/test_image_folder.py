"""Many pictures at once: order, failures and interruption."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from vsr.engine.image import StillUpscaler
from vsr.engine.image_folder import upscale_each
from vsr.errors import VsrError

PAIRS = [(Path(f"{n}.png"), Path(f"out/{n}.png")) for n in range(8)]


def test_lines_and_failures_come_in_the_order_of_the_pictures() -> None:
    def upscale(source: Path, output: Path, tell: Callable[[str], None]) -> None:
        number = int(source.stem)
        time.sleep(0.02 * (number % 3 == 0))
        tell(f"{number}a")
        tell(f"{number}b")
        if number in (1, 6):
            raise VsrError(f"{number} is broken")

    lines: list[str] = []
    seen: list[tuple[int, int]] = []
    failures = upscale_each(PAIRS, upscale, lines.append, lambda *count: seen.append(count))
    assert lines == [f"{number}{letter}" for number in range(8) for letter in "ab"]
    assert failures == ["1 is broken", "6 is broken"]
    assert seen == sorted(seen)
    assert seen[-1] == (8, 8)


def test_three_pictures_are_in_progress_at_a_time() -> None:
    meeting = threading.Barrier(3, timeout=10)
    running, most = [0], [0]

    def upscale(source: Path, output: Path, tell: Callable[[str], None]) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        meeting.wait()
        running[0] -= 1

    assert upscale_each(PAIRS[:6], upscale) == []
    assert most == [3]


def test_a_bug_keeps_its_traceback() -> None:
    def upscale(source: Path, output: Path, tell: Callable[[str], None]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        upscale_each(PAIRS, upscale)


def test_an_interrupted_folder_has_whole_pictures_only(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    pairs = []
    for n in range(8):
        Image.fromarray(data.coffee()[: 40 + n, :60]).save(tmp_path / f"{n}.png")
        pairs.append((tmp_path / f"{n}.png", folder / f"{n}.png"))
    upscaler = StillUpscaler(str(tiny_model), device="cpu")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_each(
            pairs,
            lambda source, output, tell: upscaler.upscale_file(source, output, tell=tell),
            watch=interrupt,
            stop=upscaler.stop,
        )
    found = sorted(folder.iterdir())
    assert 1 <= len(found) < 8
    for path in found:
        number = int(path.stem)  # a partial file has a hidden name
        assert np.asarray(Image.open(path)).shape == (4 * (40 + number), 240, 3)


def test_pictures_of_a_folder_are_those_upscaled_alone(tmp_path: Path, tiny_model: Path) -> None:
    Image.fromarray(data.coffee()[:30, :40]).save(tmp_path / "a.png")
    Image.fromarray(data.coffee()[50:90, :40]).save(tmp_path / "b.png")
    upscaler = StillUpscaler(str(tiny_model), device="cpu")
    pairs = [(tmp_path / f"{name}.png", tmp_path / f"{name}-large.png") for name in "ab"]
    upscale_each(pairs, lambda source, output, tell: upscaler.upscale_file(source, output))
    for source, output in pairs:
        alone = upscaler.upscale_array(np.asarray(Image.open(source)))
        assert np.array_equal(np.asarray(Image.open(output)), alone)
