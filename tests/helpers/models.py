"""Models with random weights."""

from pathlib import Path

import torch

from vsr.models import Recurrent, RecurrentConfig
from vsr.zoo.model_file import save_generator


def write_model(path: Path, *, recurrent: bool = True) -> Path:
    """A generator of few channels with random weights, x4; else of single frames, and faster."""
    torch.manual_seed(3)
    memory = 4 if recurrent else 0
    config = RecurrentConfig(
        channels=4, blocks=1, memory=memory, flow_channels=memory, flow_levels=2
    )
    save_generator(path, Recurrent(config).state_dict(), config)
    return path
