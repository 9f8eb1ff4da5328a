"""LPIPS, and the temporal metric tLP derived from it."""

import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.pretrained_features import Backbone, backbone_path, load_features

_BACKBONES: dict[Literal["alex", "vgg"], Backbone] = {"alex": "alexnet", "vgg": "vgg16"}

LPIPS_SMALLEST_SIDE = 32
"""Minimal side in pixels: one must be left at the backbone's last layer."""


class Lpips(nn.Module):
    """LPIPS, version 0.1 (Zhang et al., 2018), by the `lpips` package; lower is more similar.

    The package contains the weights fitted to human judgements. The backbone, torchvision's AlexNet
    or VGG-16, is read from torch's folder of downloads.
    """

    def __init__(self, backbone: Literal["alex", "vgg"] = "alex") -> None:
        """Raises `ModelError` where the backbone's file is missing; nothing is downloaded."""
        super().__init__()
        weights = load_features(_BACKBONES[backbone], "LPIPS")
        from lpips import LPIPS

        with warnings.catch_warnings():
            # It creates a random backbone by a deprecated interface of torchvision.
            warnings.simplefilter("ignore")
            self._distance = LPIPS(net=backbone, pnet_rand=True, verbose=False)
        features = self._distance.net
        try:
            # Its slices index the layers as torchvision's `features` does.
            names = {key: key.partition(".")[2] for key in features.state_dict()}
            features.load_state_dict({key: weights[name] for key, name in names.items()})
        except (KeyError, RuntimeError) as error:
            path = backbone_path(_BACKBONES[backbone])
            raise ModelError(f"{path}: not torchvision's weights") from error
        self.requires_grad_(False).eval()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Compare RGB pictures in [0, 1], (N, 3, H, W) to (N); sides of at least 32 pixels."""
        distance: Tensor = self._distance(output, target, normalize=True)
        return distance.flatten()


def tlp(
    distance: nn.Module, output: Tensor, previous: Tensor, target: Tensor, target_previous: Tensor
) -> float:
    """Compute tLP x 100: the difference of perceptual change between output and target.

    100 |LPIPS(previous target, target) - LPIPS(previous output, output)| of RGB (3, H, W) in
    [0, 1]; 0 is best (Chu et al., "Learning temporal coherence via self-supervision for
    GAN-based video generation", 2020).
    """
    changes = distance(torch.stack((previous, target_previous)), torch.stack((output, target)))
    return 100 * float((changes[1] - changes[0]).abs())
