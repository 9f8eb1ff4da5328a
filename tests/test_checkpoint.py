from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vsr.checkpoint import Origin, load_generator, read_origin, save_generator
from vsr.errors import ModelError
from vsr.models import Recurrent, RecurrentConfig

SMALL = RecurrentConfig(channels=4, blocks=1, memory=4, flow_channels=4, flow_levels=2, scale=2)


def test_a_saved_generator_comes_back_with_its_weights_and_its_shape(tmp_path: Path) -> None:
    generator = Recurrent(SMALL)
    save_generator(tmp_path / "a.safetensors", generator.state_dict(), SMALL)
    loaded = load_generator(tmp_path / "a.safetensors")
    clip = torch.rand(1, 3, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded(clip), generator(clip))
    assert not loaded.training
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        load_generator(tmp_path / "none.safetensors")


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    path.write_text("these are not weights")
    with pytest.raises(ModelError, match="not a model file"):
        load_generator(path)


def test_somebody_elses_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="not one of vsr's models"):
        load_generator(path)


def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_generator(path, {"entry.weight": torch.zeros(1)}, SMALL)
    with pytest.raises(ModelError, match="made for another version"):
        load_generator(path)


def test_a_model_file_keeps_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    origin = Origin(name="Name", licence="MIT", source="Somebody")
    save_generator(path, Recurrent(SMALL).state_dict(), SMALL, origin)
    assert read_origin(path) == origin


def test_a_model_file_without_an_origin_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_generator(path, Recurrent(SMALL).state_dict(), SMALL)
    assert read_origin(path) is None
