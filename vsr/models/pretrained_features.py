"""Feature extractors pretrained by torchvision, whose weights are not part of this package."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import ModelError

Backbone = Literal["alexnet", "vgg16", "vgg19"]

_FILES: dict[Backbone, str] = {
    "alexnet": "alexnet-owt-7be5be79.pth",
    "vgg16": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
}
_HOME = "https://download.pytorch.org/models"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VGG19_LAYERS = {"2_2": 7, "3_4": 16, "4_4": 25, "5_4": 34}
"""Index, in torchvision's `features`, of the convolution of that name in VGG-19."""


def backbone_path(backbone: Backbone) -> Path:
    """Return the path at which torch caches a backbone's weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _FILES[backbone]


def load_features(backbone: Backbone, what_for: str) -> dict[str, Tensor]:
    """Load the weights of a backbone's convolutions, as `0.weight`, `0.bias` and so on.

    Nothing is downloaded. Raises `ModelError`, naming `what_for`, if the file is missing or isn't
    torchvision's.
    """
    path = backbone_path(backbone)
    if not path.is_file():
        raise ModelError(
            f"{what_for} needs {path.name}: get {_HOME}/{path.name} and put it into {path.parent}"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        weights = {
            key.removeprefix("features."): tensor
            for key, tensor in state.items()
            if key.startswith("features.")
        }
    except Exception as error:  # torch raises errors of many types for a broken file
        raise _not_torchvisions(path) from error
    if not weights:
        raise _not_torchvisions(path)
    return weights


class Vgg19Features(nn.Module):
    """Features of VGG-19 (Simonyan and Zisserman, 2015) at some of its layers."""

    def __init__(self, layers: tuple[str, ...], after_activation: bool = True) -> None:
        """`layers` are keys of `VGG19_LAYERS`. Raises `ModelError` without the weights' file."""
        super().__init__()
        from torchvision.models import vgg19

        weights = load_features("vgg19", "the perceptual loss")
        last = max(VGG19_LAYERS[layer] for layer in layers) + after_activation
        self._layers = nn.Sequential(*list(vgg19(weights=None).features.children())[: last + 1])
        try:
            own = self._layers.state_dict()
            self._layers.load_state_dict({key: weights[key] for key in own})
        except (KeyError, RuntimeError) as error:
            raise _not_torchvisions(backbone_path("vgg19")) from error
        for layer in self._layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self._kept = {VGG19_LAYERS[layer] + after_activation for layer in layers}
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Map RGB (N, 3, H, W) in [0, 1] to features, one tensor per layer, shallow first."""
        mean, deviation = (
            torch.tensor(values, device=pictures.device).view(1, 3, 1, 1)
            for values in (_MEAN, _DEVIATION)
        )
        return features_at(self._layers, self._kept, (pictures - mean) / deviation)


def features_at(layers: nn.Sequential, kept: Collection[int], x: Tensor) -> list[Tensor]:
    """Return the outputs of those `layers` whose index is in `kept`, in order."""
    outputs = []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in kept:
            outputs.append(x)
    return outputs


def _not_torchvisions(path: Path) -> ModelError:
    return ModelError(f"{path}: not torchvision's weights; get {_HOME}/{path.name} again")
