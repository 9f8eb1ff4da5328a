"""How different two pictures look to a network that learnt what people see."""

import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import ModelError
from vsr.models.pretrained_features import Backbone, backbone_path, load_features

_BACKBONES: dict[Literal["alex", "vgg"], Backbone] = {"alex": "alexnet", "vgg": "vgg16"}

LPIPS_SMALLEST_SIDE = 32
"""Pixels under which nothing is left at the backbone's last layer."""


class Lpips(nn.Module):
    """LPIPS, version 0.1 (Zhang et al., 2018), by the `lpips` package; lower is more alike.

    The package brings what was learnt of people; the backbone, torchvision's AlexNet or
    VGG-16, lies in torch's own folder of downloads.
    """

    def __init__(self, backbone: Literal["alex", "vgg"] = "alex") -> None:
        """Raises `ModelError` where the backbone's file is missing; nothing is downloaded."""
        super().__init__()
        given = load_features(_BACKBONES[backbone], "LPIPS")
        from lpips import LPIPS

        with warnings.catch_warnings():
            # It asks torchvision for a random backbone in a way of its earlier versions.
            warnings.simplefilter("ignore")
            self._distance = LPIPS(net=backbone, pnet_rand=True, verbose=False)
        features = self._distance.net
        try:
            # Its slices number the layers as torchvision's `features` do.
            own = {key: key.partition(".")[2] for key in features.state_dict()}
            features.load_state_dict({key: given[name] for key, name in own.items()})
        except (KeyError, RuntimeError) as error:
            path = backbone_path(_BACKBONES[backbone])
            raise ModelError(f"{path}: not torchvision's weights") from error
        self.requires_grad_(False).eval()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """RGB pictures in [0, 1], (N, 3, H, W) to (N); sides of 32 pixels and more."""
        distance: Tensor = self._distance(output, target, normalize=True)
        return distance.flatten()


def tlp(
    distance: nn.Module, output: Tensor, previous: Tensor, target: Tensor, target_previous: Tensor
) -> float:
    """tLP x 100: how far the change of a film, as it is seen, is from that of its target.

    100 |LPIPS(target before, target) - LPIPS(output before, output)| of RGB (3, H, W) in
    [0, 1]; 0 is best (Chu et al., "Learning temporal coherence via self-supervision for
    GAN-based video generation", 2020).
    """
    changes = distance(torch.stack((previous, target_previous)), torch.stack((output, target)))
    return 100 * float((changes[1] - changes[0]).abs())
