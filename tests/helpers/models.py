"""Models with random weights."""

from pathlib import Path

import torch

from vsr.models import Recurrent, RecurrentConfig
from vsr.zoo.model_file import save_generator


def write_model(path: Path, *, memory: int = 4, flow_channels: int = 4) -> Path:
    """A generator of few channels with random weights, x4; faster without memory or motion."""
    torch.manual_seed(3)
    config = RecurrentConfig(
        channels=4, blocks=1, memory=memory, flow_channels=flow_channels, flow_levels=2
    )
    save_generator(path, Recurrent(config).state_dict(), config)
    return path
