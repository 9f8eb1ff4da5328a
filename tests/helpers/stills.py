"""What a network returns for single pictures, computed by the generator of films."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vsr.models import Recurrent
from vsr.models.still import rest_motion
from vsr.zoo import load


class _ConstantMotion(nn.Module):
    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.motion = torch.tensor([x, y]).view(1, 2, 1, 1)

    def forward(self, current: torch.Tensor, *_: object) -> torch.Tensor:
        return self.motion.expand(1, 2, *current.shape[-2:])


def first_frame(
    model: Path | str, pixels: NDArray[Any], scale: int | None = None, detail: float = 0.0
) -> NDArray[np.float32]:
    """Upscale RGB (H, W, 3) in [0, 1] as a film of one frame with the motion of a still."""
    generator = load(str(model), scale, detail)
    assert isinstance(generator, Recurrent)
    generator.steady = None
    generator.flow = _ConstantMotion(*rest_motion(generator))  # type: ignore[assignment]
    low = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None, None]
    with torch.inference_mode():
        high: NDArray[np.float32] = generator(low)[0, 0].permute(1, 2, 0).numpy()
    return high
