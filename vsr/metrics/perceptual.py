"""How different two pictures look to a network that learnt what people see."""

import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vsr.errors import ModelError

Backbone = Literal["alex", "vgg"]

_FILES: dict[Backbone, str] = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
}
_HOME = "https://download.pytorch.org/models"

LPIPS_SMALLEST_SIDE = 32
"""Pixels under which nothing is left at the backbone's last layer."""


class Lpips(nn.Module):
    """LPIPS, version 0.1 (Zhang et al., 2018), by the `lpips` package; lower is more alike.

    The package brings what was learnt of people; the backbone, torchvision's AlexNet or
    VGG-16, lies in torch's own folder of downloads.
    """

    def __init__(self, backbone: Backbone = "alex") -> None:
        """Raises `ModelError` where the backbone's file is missing; nothing is downloaded."""
        super().__init__()
        path = backbone_path(backbone)
        if not path.is_file():
            raise ModelError(
                f"LPIPS needs {path.name}: get {_HOME}/{path.name} and put it into {path.parent}"
            )
        from lpips import LPIPS

        with warnings.catch_warnings():
            # It asks torchvision for a random backbone in a way of its earlier versions.
            warnings.simplefilter("ignore")
            self._distance = LPIPS(net=backbone, pnet_rand=True, verbose=False)
        try:
            given = torch.load(path, map_location="cpu", weights_only=True)
            features = self._distance.net
            # Its slices number the layers as torchvision's `features` do.
            own = {key: f"features.{key.partition('.')[2]}" for key in features.state_dict()}
            features.load_state_dict({key: given[name] for key, name in own.items()})
        except Exception as error:  # a broken file can fail in any of torch's ways
            raise ModelError(
                f"{path}: not torchvision's weights; get {_HOME}/{path.name} again"
            ) from error
        self.requires_grad_(False).eval()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """RGB pictures in [0, 1], (N, 3, H, W) to (N); sides of 32 pixels and more."""
        distance: Tensor = self._distance(output, target, normalize=True)
        return distance.flatten()


def backbone_path(backbone: Backbone) -> Path:
    """Where torch keeps the file of a backbone's weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _FILES[backbone]


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
