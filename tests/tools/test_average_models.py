from pathlib import Path

import average_models
import pytest
import torch

from vsr.errors import ModelError, OutputError
from vsr.models import Recurrent, RecurrentConfig
from vsr.zoo.model_file import load_generator, save_generator

SMALL = RecurrentConfig(channels=4, blocks=1, memory=4, flow_channels=4, flow_levels=2)


def write(path: Path, config: RecurrentConfig = SMALL) -> Recurrent:
    generator = Recurrent(config)
    save_generator(path, generator.state_dict(), config)
    return generator


def average(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    monkeypatch.setattr("sys.argv", ["average_models", *map(str, paths)])
    average_models.main()


def test_weights_are_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / f"{name}.safetensors" for name in "abc"]
    weights = [write(file).entry.weight.detach() for file in files]
    average(monkeypatch, *files, tmp_path / "mean.safetensors")
    mean = load_generator(tmp_path / "mean.safetensors")
    assert isinstance(mean, Recurrent)
    assert torch.allclose(mean.entry.weight, torch.stack(weights).mean(dim=0), atol=1e-7)


def test_another_configuration_and_an_existing_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    write(one)
    write(other, SMALL.model_copy(update={"scale": 2}))
    with pytest.raises(ModelError, match=r"b\.safetensors: has another configuration than"):
        average(monkeypatch, one, other, tmp_path / "mean.safetensors")
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        average(monkeypatch, one, one, other)
    (tmp_path / "text").write_text("no model")
    with pytest.raises(ModelError, match="its configuration can't be read"):
        average(monkeypatch, tmp_path / "text", tmp_path / "mean.safetensors")
