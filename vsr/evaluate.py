"""How well a generator does on films it has never seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vsr.data.footage import Film
from vsr.degrade import Degradation, degrade
from vsr.metrics.image import psnr_y
from vsr.models import Generator
from vsr.tensors import on_8_bit_levels, resize_bicubic, to_float


@dataclass(frozen=True)
class FilmScore:
    """What was measured on one film: means over its frames, in dB."""

    name: str
    frames: int
    psnr_y: float
    bicubic_psnr_y: float

    @property
    def gain(self) -> float:
        """dB over bicubic interpolation of the same frames."""
        return self.psnr_y - self.bicubic_psnr_y


@torch.inference_mode()
def score_film(
    generator: Generator[Any],
    film: Film,
    degradation: Degradation,
    most_frames: int | None = None,
) -> FilmScore:
    """Degrade a film, upscale it shot by shot, and compare with what it was.

    Luma PSNR of 8-bit pictures, whole frames (sides cut to a multiple of the scale),
    averaged over the frames; `most_frames` takes only so many from the beginning.
    """
    device = next(generator.parameters()).device
    height, width = (side - side % generator.scale for side in film.frames.shape[1:3])
    count = min(len(film.frames), most_frames or len(film.frames))
    beginnings = {first for first, _ in film.shots}
    ours, bicubics = [], []
    state: tuple[Tensor, ...] = ()
    for number in range(count):
        pixels = torch.from_numpy(film.frames[number, :height, :width].copy()).to(device)
        target = to_float(pixels).permute(2, 0, 1)[None]
        low = degrade(target, generator.scale, degradation)
        low = low.contiguous(memory_format=torch.channels_last)
        if number in beginnings:
            state = generator.start(low)
        high, state = generator.step(low, state)
        ours.append(psnr_y(on_8_bit_levels(high), target))
        bicubic = resize_bicubic(low.contiguous(), (height, width))
        bicubics.append(psnr_y(on_8_bit_levels(bicubic), target))
    return FilmScore(
        film.name, count, float(torch.cat(ours).mean()), float(torch.cat(bicubics).mean())
    )


def mean_scores(scores: Sequence[FilmScore]) -> FilmScore:
    """The mean over films, each counting alike."""
    return FilmScore(
        "mean",
        sum(score.frames for score in scores),
        sum(score.psnr_y for score in scores) / len(scores),
        sum(score.bicubic_psnr_y for score in scores) / len(scores),
    )
