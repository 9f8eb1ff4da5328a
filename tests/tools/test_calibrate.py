from pathlib import Path

import calibrate
import pytest

from vsr.models import Recurrent
from vsr.models.int8 import is_calibrated
from vsr.zoo.model_file import load_generator


def test_ranges_are_stored_in_model_files_and_the_loss_is_printed(
    zoo: Path, films: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = zoo / "weights" / "small-x4.safetensors"
    before = load_generator(model)
    assert isinstance(before, Recurrent)
    assert not is_calibrated(before)
    monkeypatch.setattr("sys.argv", ["calibrate", str(films), str(films), "--only", "small-x4"])
    calibrate.main()
    after = load_generator(model)
    assert isinstance(after, Recurrent)
    assert is_calibrated(after)
    assert capsys.readouterr().out.startswith("small-x4     f32 ")
