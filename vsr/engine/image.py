"""Upscale still pictures: what `vsr image` and `vsr.upscale_image` do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.engine.upscaler import Upscaler
from vsr.errors import MediaError, OutputError
from vsr.imaging.tensors import bleed, resize_bicubic, to_float, to_uint8
from vsr.media.image import SUFFIXES, check_still_output, read_still, still_losses, write_still
from vsr.models import Generator
from vsr.system.files import check_distinct, make_folder
from vsr.system.folders import STILL_SUFFIXES, files_in, skipped
from vsr.system.machine import pick_device
from vsr.zoo import choose_model, load

_JPEGS = (".jpe", ".jfif")
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

    def upscale_file(
        self,
        source: Path,
        output: Path,
        overwrite: bool = False,
        strict: bool = False,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Upscale one picture; transparency bicubically.

        `tell` hears beforehand of what can't be kept, which is an error if `strict`. Raises
        `MediaError`.
        """
        still = read_still(source)
        check_distinct([output], [source])
        height, width = (self.scale * side for side in still.rgb.shape[:2])
        check_still_output(output, still.alpha is not None, overwrite, (width, height), still)
        lost = still_losses(output, still)
        if strict and lost:
            raise OutputError(f"{output}: would lack {'; '.join(lost)}")
        for what in lost:
            tell(f"{source}: not kept: {what}")
        rgb = still.rgb if still.alpha is None else _without_rim(still.rgb, still.alpha)
        alpha = None if still.alpha is None else _resize_plane(still.alpha, self.scale)
        high = replace(still, rgb=self.upscale_array(rgb), alpha=alpha)
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


def pair_images(
    source: Path, output: Path, tell: Callable[[str], None] = lambda line: None
) -> list[tuple[Path, Path]]:
    """Pair what is read with what is written: one pair, or one for each picture of a folder.

    A folder's subfolders are made in `output` too. A picture keeps its suffix where such are
    written, and becomes .png where not. `tell` hears of files that are no pictures. Raises
    `MediaError`.
    """
    if not source.is_dir():
        target = output / _name(Path(source.name)) if output.is_dir() else output
        return [(source, target)]
    if output.is_file():
        raise OutputError(f"{output}: is a file, but the input is a folder")
    pictures, others = files_in(source, STILL_SUFFIXES, without=output)
    if not pictures:
        raise MediaError(f"{source}: holds no picture ({', '.join(sorted(STILL_SUFFIXES))})")
    jobs = [(path, output / _name(path.relative_to(source))) for path in pictures]
    taken: dict[Path, Path] = {}
    for picture, target in jobs:
        if target in taken:
            raise OutputError(f"{picture} and {taken[target]} would both become {target}")
        taken[target] = picture
    for folder in {target.parent for target in taken}:
        make_folder(folder)
    for line in skipped(source, others, "pictures"):
        tell(line)
    return jobs


def _name(picture: Path) -> Path:
    if picture.suffix.lower() in SUFFIXES:
        return picture
    return picture.with_suffix(".jpg" if picture.suffix.lower() in _JPEGS else ".png")


def _without_rim(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours (H, W, 3) that show nothing of what transparency (H, W) hides."""
    if (alpha == 255).all():
        return rgb
    colours = torch.from_numpy(rgb).permute(2, 0, 1).float()
    bled = bleed(colours, torch.from_numpy(alpha).float() / 255)
    return bled.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _resize_plane(plane: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    height, width = plane.shape
    values = to_float(torch.from_numpy(plane))[None, None]
    return to_uint8(resize_bicubic(values, (height * scale, width * scale)))[0, 0].numpy()
