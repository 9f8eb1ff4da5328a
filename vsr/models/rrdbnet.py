"""RRDBNet, the still-image generator of ESRGAN: residual-in-residual dense blocks."""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from vsr.config import Config
from vsr.models.generator import StillGenerator

_RESIDUAL_SCALE = 0.2
_SLOPE = 0.2


class RrdbnetConfig(Config):
    """The shape of an `Rrdbnet`; by default Wang et al.'s (2018)."""

    kind: Literal["rrdbnet"] = "rrdbnet"
    scale: Literal[2, 4] = 4
    """Output side over input side."""
    channels: PositiveInt = 64
    """Feature maps between blocks."""
    growth: PositiveInt = 32
    """Feature maps that each layer of a dense block adds."""
    blocks: PositiveInt = 23
    """Residual-in-residual dense blocks."""


class Rrdbnet(StillGenerator):
    """Wang et al., "ESRGAN: Enhanced super-resolution generative adversarial networks", 2018."""

    architecture = "rrdbnet"

    def __init__(self, config: RrdbnetConfig) -> None:
        super().__init__()
        self.scale = config.scale
        channels = config.channels
        self.entry = nn.Conv2d(3, channels, 3, padding=1)
        self.trunk = nn.Sequential(
            *(_Rrdb(channels, config.growth) for _ in range(config.blocks)),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        doublings = config.scale.bit_length() - 1
        self.enlarge = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(doublings)
        )
        self.refine = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Conv2d(channels, 3, 3, padding=1)

    def upscale(self, low: Tensor) -> Tensor:
        """Upscale (B, 3, H, W) to (B, 3, sH, sW), RGB in [0, 1]."""
        features = self.entry(low)
        features = features + self.trunk(features)
        for layer in self.enlarge:
            larger = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = F.leaky_relu(layer(larger), _SLOPE)
        high: Tensor = self.head(F.leaky_relu(self.refine(features), _SLOPE))
        return high


class _DenseBlock(nn.Module):
    """Five convolutions, each applied to the outputs of all before it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + n * growth, growth if n < 4 else channels, 3, padding=1)
            for n in range(5)
        )
        with torch.no_grad():
            for layer in self.layers:
                nn.init.kaiming_normal_(layer.weight, a=_SLOPE)  # type: ignore[arg-type]
                layer.weight.mul_(0.1)  # type: ignore[operator]
                layer.bias.zero_()  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for layer in self.layers[:-1]:
            outputs.append(F.leaky_relu(layer(torch.cat(outputs, dim=1)), _SLOPE))
        change: Tensor = self.layers[-1](torch.cat(outputs, dim=1))
        return x + _RESIDUAL_SCALE * change


class _Rrdb(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_DenseBlock(channels, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.blocks(x)
        return x + _RESIDUAL_SCALE * change
