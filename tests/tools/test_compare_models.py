"""`tools/compare_models.py`: what it records, and the table that it prints."""

import math
import shutil
from pathlib import Path

import compare_models
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

import vsr.zoo
from vsr.errors import DataError
from vsr.metrics.meter import Row
from vsr.zoo.card import read_card


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of a card and no file of references, to which the tool writes."""
    (tmp_path / "cards").mkdir()
    shutil.copy(Path(vsr.zoo.__file__).parent / "cards" / "tiny-x4.toml", tmp_path / "cards")
    monkeypatch.setattr(compare_models, "ZOO", tmp_path)
    monkeypatch.setattr(compare_models, "REFERENCES", tmp_path / "references.toml")
    return tmp_path


def rows(psnr: float) -> list[Row]:
    """Means of two films, 1 dB below and 1 dB above `psnr`."""
    others = dict.fromkeys(compare_models.METRICS[1:], 0.5)
    return [{compare_models.METRICS[0]: value, **others} for value in (psnr - 1, psnr + 1)]


def test_scores_go_onto_cards_and_those_of_others_into_a_file_beside(places: Path) -> None:
    means = {
        "bicubic": rows(24.0),
        "tiny-x4": rows(25.5),
        "tiny-x4, no memory": rows(25.0),
        "x4plus": rows(23.0),
    }
    compare_models.record(means, "web", 8)
    compare_models.record({"bicubic": rows(26.0), "x4plus": rows(25.0)}, "bi", 8)
    found = read_card(places / "cards" / "tiny-x4.toml").pictures["web"]
    assert (found.frames, found.psnr_y, found.gain) == (8, 25.5, 1.5)
    assert found.memory_gain == pytest.approx(0.5)
    lines = list(compare_models.table())
    at_bi, at_web = (line for line in lines if line.startswith("| x4plus |"))
    assert "23.00 (-1.00)" in at_web
    assert "25.00 (-1.00)" in at_bi


def test_a_card_keeps_what_it_does_not_measure_again(places: Path) -> None:
    before = read_card(places / "cards" / "tiny-x4.toml")
    compare_models.record({"bicubic": rows(24.0), "tiny-x4": rows(25.5)}, "bi", 4)
    after = read_card(places / "cards" / "tiny-x4.toml")
    assert after.scores == before.scores
    assert math.isnan(after.pictures["bi"].memory_gain)


def test_the_unsharp_mask_adds_what_a_gaussian_takes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(compare_models, "model_upscale", lambda generator: lambda low, cut: low)
    sharpened: Tensor = compare_models.unsharp_upscale(vsr.zoo.load("tiny-x4"))(picture, True)
    blurred = gaussian_filter(picture.numpy(), (0, 1.5, 1.5), mode="mirror", truncate=4)
    expected = np.clip(picture.numpy() + 0.5 * (picture.numpy() - blurred), 0, 1)
    assert np.allclose(sharpened.numpy(), expected, atol=2e-3)


def test_nothing_is_recorded_of_a_folder_without_films(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (places / "cards" / "tiny-x4.toml").read_bytes()
    Image.new("RGB", (64, 64)).save(places / "a.png")
    monkeypatch.setattr("sys.argv", ["compare_models", str(places), "tiny-x4"])
    with pytest.raises(DataError, match="holds no film"):
        compare_models.main()
    assert (places / "cards" / "tiny-x4.toml").read_bytes() == before
    for reference in ("x4plus", "=a.safetensors", "x4plus="):
        monkeypatch.setattr("sys.argv", ["compare_models", ".", "--reference", reference])
        with pytest.raises(SystemExit):
            compare_models.main()


def test_models_with_a_twin_are_compared_at_a_detail_too(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def measure(methods: dict[str, object], *rest: object) -> dict[str, list[Row]]:
        seen.append(list(methods))
        return {name: rows(25.0) for name in methods}

    monkeypatch.setattr(compare_models, "measure", measure)
    arguments = [".", "tiny-x4", "tiny-x4-bd", "--detail", "0.5"]
    monkeypatch.setattr("sys.argv", ["compare_models", *arguments])
    compare_models.main()
    for methods in seen:
        assert [name for name in methods if "detail" in name] == ["tiny-x4, detail 0.5"]
    assert any(line.startswith("| tiny-x4, detail 0.5 |") for line in compare_models.table())
