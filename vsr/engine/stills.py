"""Upscale still pictures: what `vsr image` and `vsr.upscale_image` do."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.engine.upscaler import Upscaler, pick_device
from vsr.errors import MediaError, OutputError
from vsr.media.image import SUFFIXES, Still, check_still_output, read_still, write_still
from vsr.models import Generator
from vsr.tensors import resize_bicubic, to_float, to_uint8
from vsr.zoo import choose_model, load

_BAND_LINES = 256
_OVERLAP_LINES = 32


class StillUpscaler:
    """Upscales pictures, each as a film of one frame."""

    def __init__(
        self,
        model: str | None = None,
        scale: int | None = None,
        device: str = "auto",
        detail: float = 0.0,
    ) -> None:
        """Load `model`, or the default one for `scale` (4). Raises `VsrError`."""
        generator: Generator[Any] = load(choose_model(model, scale or 4, 0), scale, detail)
        self._upscaler = Upscaler(generator, pick_device(device))

    @property
    def scale(self) -> int:
        """Output side over input side."""
        return self._upscaler.scale

    def upscale_array(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB (H, W, 3) to (sH, sW, 3), in overlapping bands, so that memory stays small."""
        scale, height = self.scale, pixels.shape[0]
        output = np.empty((height * scale, pixels.shape[1] * scale, 3), np.uint8)
        for top in range(0, height, _BAND_LINES):
            bottom = min(top + _BAND_LINES, height)
            first, last = max(0, top - _OVERLAP_LINES), min(height, bottom + _OVERLAP_LINES)
            band = torch.from_numpy(np.ascontiguousarray(pixels[first:last]))
            low = to_float(band.to(self._upscaler.device)).permute(2, 0, 1)
            high = to_uint8(self._upscaler.upscale(low, begins_shot=True))
            kept = high[:, (top - first) * scale : (bottom - first) * scale]
            output[top * scale : bottom * scale] = kept.permute(1, 2, 0).cpu().numpy()
        return output

    def upscale_file(self, source: Path, output: Path, overwrite: bool = False) -> None:
        """Upscale one picture; transparency bicubically. Raises `MediaError`."""
        still = read_still(source)
        if output.exists() and output.samefile(source):
            raise OutputError(f"{output}: is the input itself; name another output")
        check_still_output(output, still.alpha is not None, overwrite)
        high = Still(
            self.upscale_array(still.rgb),
            None if still.alpha is None else _resize_plane(still.alpha, self.scale),
            still.icc_profile,
            still.exif,
        )
        write_still(output, high, overwrite)


def upscale_image(
    pixels: NDArray[np.uint8],
    model: str | None = None,
    scale: int | None = None,
    device: str = "auto",
    detail: float = 0.0,
) -> NDArray[np.uint8]:
    """Upscale one RGB picture, uint8 (H, W, 3) to (sH, sW, 3).

    `model` is a name from `vsr.list_models()` or a file; left out, the default one for
    `scale`, 4; `detail` is `vsr.load`'s. Raises ValueError for another shape or type, and
    `VsrError`.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    return StillUpscaler(model, scale, device, detail).upscale_array(pixels)


def picture_jobs(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """What to read and where to write: one pair, or one for each picture of a folder.

    A folder's subfolders are made in `output` too. Raises `MediaError`.
    """
    if not source.is_dir():
        target = output / source.name if output.is_dir() else output
        return [(source, target)]
    if output.is_file():
        raise OutputError(f"{output}: is a file, but the input is a folder")
    pictures = sorted(
        path
        for path in source.rglob("*")
        # What an earlier run left in an output folder within the input is none of the input.
        if path.suffix.lower() in SUFFIXES and not path.is_relative_to(output)
    )
    if not pictures:
        raise MediaError(f"{source}: holds no picture ({', '.join(sorted(SUFFIXES))})")
    jobs = [(path, output / path.relative_to(source)) for path in pictures]
    for _, target in jobs:
        target.parent.mkdir(parents=True, exist_ok=True)
    return jobs


def _resize_plane(plane: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    height, width = plane.shape
    values = to_float(torch.from_numpy(plane))[None, None]
    return to_uint8(resize_bicubic(values, (height * scale, width * scale)))[0, 0].numpy()
