import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vsr.errors import ModelError
from vsr.models import Recurrent, RecurrentConfig
from vsr.zoo.model_file import Origin, load_generator, read_origin, save_generator

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


def test_other_users_can_read_it_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_generator(tmp_path / "a.safetensors", Recurrent(SMALL).state_dict(), SMALL)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o640


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


@pytest.mark.parametrize(
    "ranges",
    [
        '{"a": 1}',
        '{"a": null}',
        '{"a": [0, 1, 2]}',
        '{"a": ["x", 1]}',
        '{"a": [2, 1]}',
        '{"a": [0, NaN]}',
        '{"a": [0, Infinity]}',
        '{"a": [-1e300, 1e300]}',
        "[]",
        "7",
        "null",
        "not JSON",
        "[" * 100_000,
    ],
    ids=lambda text: text[:24],
)
@pytest.mark.parametrize("key", ["vsr.ranges", "vsr.generator"])
def test_odd_metadata_is_one_line(tmp_path: Path, ranges: str, key: str) -> None:
    path = tmp_path / "a.safetensors"
    metadata = {"vsr.generator": SMALL.model_dump_json(), key: ranges}
    save_file(Recurrent(SMALL).state_dict(), path, metadata=metadata)
    with pytest.raises(ModelError, match=r"made for another version of vsr: .+") as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_a_network_too_large_for_any_machine_is_refused(tmp_path: Path) -> None:
    config = json.loads(SMALL.model_dump_json()) | {"channels": 10**9}
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.zeros(1)}, path, metadata={"vsr.generator": json.dumps(config)})
    with pytest.raises(ModelError, match="made for another version"):
        load_generator(path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = Recurrent(SMALL).state_dict()
    weights["head.weight"][0, 0, 0, 0] = float("nan")
    save_generator(tmp_path / "a.safetensors", weights, SMALL)
    with pytest.raises(ModelError, match="aren't finite numbers"):
        load_generator(tmp_path / "a.safetensors")
