"""Images as RGB tensors, with the cuts between shots."""

from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from vsr.frames.shots import mark_cuts
from vsr.frames.yuv import rgb_to_planes
from vsr.imaging.colour import ColourSpec, Matrix
from vsr.imaging.tensors import to_float
from vsr.media.frame import Frame
from vsr.media.still import Still

_CUT_SPEC = ColourSpec(Matrix.BT601)
"""Of the planes that cuts are detected in; they serve for nothing else."""


def rgb_frames(
    images: Iterable[Still], device: torch.device, detect_cuts: bool = True
) -> Iterator[tuple[Tensor, bool]]:
    """Convert images to RGB (3, H, W) in [0, 1], each with whether it starts a shot.

    No image starts a shot unless `detect_cuts` is set. With it, two images are read ahead.
    """
    if not detect_cuts:
        yield from ((_to_rgb(image, device), False) for image in images)
        return
    pending: deque[Tensor] = deque()

    def planes() -> Iterator[Frame]:
        for index, image in enumerate(images):
            rgb = _to_rgb(image, device)
            pending.append(rgb)
            yield Frame(rgb_to_planes(rgb, _CUT_SPEC), index)

    for _, starts_shot in mark_cuts(planes()):
        yield pending.popleft(), starts_shot


def _to_rgb(image: Still, device: torch.device) -> Tensor:
    return to_float(torch.from_numpy(image.rgb).to(device)).clamp(0, 1).permute(2, 0, 1)
