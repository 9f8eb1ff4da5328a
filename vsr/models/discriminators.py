"""The networks that tell upscaled pictures from real ones, pixel by pixel."""

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from vsr.config import Config
from vsr.imaging.tensors import warp

_SLOPE = 0.2
_CENTRAL = 0.75
"""Share of each side that a discriminator of motion looks at: beyond it, warping has nothing."""

_ENLARGED = 4.0

DiscriminatorInput = Literal["spatio_temporal", "spatial", "picture"]


class DiscriminatorConfig(Config):
    """The shape of a discriminator, and what it is shown."""

    sight: DiscriminatorInput = "spatio_temporal"
    """The detail of three frames, the same warped onto the middle one, and their inputs,
    upscaled; or one frame's and its input; or a picture alone."""
    head: Literal["unet", "patch", "vgg"] = "unet"
    """A logit for each pixel; for each patch; or SRGAN's one for the whole picture."""
    channels: PositiveInt = 32
    """Feature maps at full resolution; they double with each halving, three times at most."""
    levels: PositiveInt = 3
    """Halvings, for `unet` and `patch`."""


class DiscriminatorOutput(NamedTuple):
    """What a discriminator says."""

    logits: Tensor
    """(N, 1, h, w), or (N, 1): above zero where it takes a picture for real."""
    features: list[Tensor]
    """Of its layers on the way down, for matching."""


class Discriminator(nn.Module):
    """A U-Net, or its way down alone, under spectral normalisation and without any other.

    Per-pixel logits by a U-Net are Schoenfeld et al.'s (2020) and Real-ESRGAN's (Wang et
    al., 2021); spectral normalisation is Miyato et al.'s (2018).
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [config.channels * 2 ** min(level, 3) for level in range(config.levels + 1)]
        self.entry = spectral_norm(nn.Conv2d(input_channels(config.sight), widths[0], 3, padding=1))
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1))
            for before, after in pairwise(widths)
        )
        self.up = nn.ModuleList()
        if config.head == "unet":
            self.up.extend(
                spectral_norm(nn.Conv2d(below, above, 3, padding=1))
                for above, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
            )
        last = widths[0] if config.head == "unet" else widths[-1]
        self.middle = spectral_norm(nn.Conv2d(last, last, 3, padding=1))
        self.head = nn.Conv2d(last, 1, 3, padding=1)

    def forward(self, seen: Tensor) -> DiscriminatorOutput:
        """(N, C, H, W), C as `input_channels`, to logits and features."""
        x = F.leaky_relu(self.entry(seen), _SLOPE)
        found = [x]
        for layer in self.down:
            x = F.leaky_relu(layer(x), _SLOPE)
            found.append(x)
        features = found[1:]
        for layer, beside in zip(self.up, found[-2::-1], strict=False):
            larger = F.interpolate(x, size=beside.shape[-2:], mode="bilinear")
            x = F.leaky_relu(layer(larger), _SLOPE) + beside
        return DiscriminatorOutput(self.head(F.leaky_relu(self.middle(x), _SLOPE)), features)


class VggDiscriminator(nn.Module):
    """SRGAN's (Ledig et al., 2017), spectral instead of batch normalisation.

    Eight convolutions, every other one halving, then two dense layers. Pictures of 96
    pixels squared give the 6 x 6 places that the dense layers see; of other sizes, these are
    means.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [config.channels * n for n in (1, 1, 2, 2, 4, 4, 8, 8)]
        before = [input_channels(config.sight), *widths[:-1]]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(one, other, 3, stride=1 + number % 2, padding=1))
            for number, (one, other) in enumerate(zip(before, widths, strict=True))
        )
        self.dense = spectral_norm(nn.Linear(widths[-1] * 36, 16 * config.channels))
        self.head = nn.Linear(16 * config.channels, 1)

    def forward(self, seen: Tensor) -> DiscriminatorOutput:
        """(N, C, H, W), C as `input_channels`, to logits (N, 1) and features."""
        features = []
        x = seen
        for number, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), _SLOPE)
            if number % 2:
                features.append(x)
        x = F.adaptive_avg_pool2d(x, 6).flatten(1)
        return DiscriminatorOutput(self.head(F.leaky_relu(self.dense(x), _SLOPE)), features)


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """A discriminator with fresh weights, on the CPU in f32; it gives `DiscriminatorOutput`."""
    return VggDiscriminator(config) if config.head == "vgg" else Discriminator(config)


def input_channels(sight: DiscriminatorInput) -> int:
    """Channels of a discriminator's input."""
    return {"spatio_temporal": 27, "spatial": 6, "picture": 3}[sight]


def added_detail(frames: Tensor, upscaled: Tensor) -> Tensor:
    """What pictures add to their interpolated inputs, enlarged; any equal shapes.

    It is the small part by which outputs and targets differ; a network under spectral
    normalisation, which can't enlarge anything, would be slow to see it.
    """
    return _ENLARGED * (frames - upscaled)


def spatio_temporal_input(frames: Tensor, upscaled: Tensor, flows: Tensor) -> Tensor:
    """What a spatio-temporal discriminator is shown of three frames in a row.

    `frames` and `upscaled` are (N, 3, 3, sH, sW), pictures and their inputs interpolated to
    the same size; `flows` (N, 2, 2, sH, sW) lead from the middle frame to the one before and
    to the one after, in pixels. Gives (N, 27, h, w), the central three quarters of each
    side: the frames' `added_detail`, the same warped onto the middle one, and the inputs. The
    three times three are Chu et al.'s (2020), who show whole frames.
    """
    detail = added_detail(frames, upscaled)
    before = warp(detail[:, 0], flows[:, 0])
    after = warp(detail[:, 2], flows[:, 1])
    warped = torch.stack((before, detail[:, 1], after), dim=1)
    seen = torch.cat((detail, warped, upscaled), dim=1).flatten(1, 2)
    height, width = seen.shape[-2:]
    top, left = (round(side * (1 - _CENTRAL) / 2) for side in (height, width))
    return seen[..., top : height - top, left : width - left]


def spatial_input(frames: Tensor, upscaled: Tensor) -> Tensor:
    """What a spatial discriminator is shown of frames (N, 3, sH, sW): (N, 6, sH, sW)."""
    return torch.cat((added_detail(frames, upscaled), upscaled), dim=1)
