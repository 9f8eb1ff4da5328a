"""SRResNet, the still-image generator of SRGAN, without batch normalisation."""

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.config import Config
from vsr.models.generator import StillGenerator


class SrresnetConfig(Config):
    """The shape of an `Srresnet`; by default Ledig et al.'s (2017)."""

    kind: Literal["srresnet"] = "srresnet"
    scale: Literal[2, 4] = 4
    """Output side over input side."""
    channels: PositiveInt = 64
    """Feature maps of each layer."""
    blocks: PositiveInt = 16
    """Residual pairs of 3x3 convolutions."""


class Srresnet(StillGenerator):
    """Ledig et al., "Photo-realistic single image super-resolution using a GAN", 2017.

    Residual blocks at the input's resolution, one skip over them all, and a pixel shuffle
    for each doubling. Batch normalisation is left out, as is usual since EDSR (Lim et
    al., 2017): it costs time and causes artefacts.
    """

    architecture = "srresnet"

    def __init__(self, config: SrresnetConfig) -> None:
        super().__init__()
        self.scale = config.scale
        channels = config.channels
        self.entry = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), nn.PReLU())
        self.trunk = nn.Sequential(*(_Block(channels) for _ in range(config.blocks)))
        self.exit = nn.Conv2d(channels, channels, 3, padding=1)
        doublings = config.scale.bit_length() - 1
        self.enlarge = nn.Sequential(*(_Doubling(channels) for _ in range(doublings)))
        self.head = nn.Conv2d(channels, 3, 9, padding=4)

    def upscale(self, low: Tensor) -> Tensor:
        """Upscale (B, 3, H, W) to (B, 3, sH, sW), RGB in [0, 1]."""
        features = self.entry(low)
        features = features + self.exit(self.trunk(features))
        high: Tensor = self.head(self.enlarge(features))
        return high


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.PReLU()
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(self.act(self.first(x)))
        return x + change


class _Doubling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = self.act(F.pixel_shuffle(self.conv(x), 2))
        return larger
