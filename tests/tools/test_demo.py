from pathlib import Path

import demo
import pytest
import torch
from PIL import Image


def test_written_frames_are_read_back(tmp_path: Path) -> None:
    frames = demo.make_originals()[:3, :, :64, :96]
    demo.write_film(tmp_path / "a.mp4", frames)
    read = demo.read_film(tmp_path / "a.mp4")
    assert read.shape == frames.shape
    assert (read - frames).abs().mean() < 0.03


def test_a_comparison_is_a_row_of_crops_enlarged_twice(tmp_path: Path) -> None:
    demo.save_comparison(tmp_path / "a.png", *torch.rand(3, 3, 320, 480))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3 * 400, 400)


@pytest.mark.slow
def test_the_demo_writes_a_film_and_prints_psnr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "FRAMES_OF_A_SCENE", 3)
    demo.main(tmp_path / "demo")
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"low.mp4", "upscaled.mp4", "comparison.png"} <= written
    assert "9 frames of 120x80 to 480x320" in capsys.readouterr().out
