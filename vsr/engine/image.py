"""Upscale still pictures: the API behind `vsr image` and `vsr.upscale_image`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.engine.batch import Pairs, find_files, pair_files, pair_several
from vsr.engine.upscaler import Upscaler
from vsr.errors import MediaError, OutputError
from vsr.imaging.grain import Grain
from vsr.imaging.tensors import bleed, resize_bicubic, to_float, to_uint8
from vsr.media.image import (
    IMAGE_SUFFIXES,
    check_still_output,
    read_still,
    still_losses,
    write_still,
)
from vsr.models import Generator
from vsr.system.files import check_distinct, make_folder
from vsr.system.folders import STILL_SUFFIXES, skipped
from vsr.system.machine import pick_device
from vsr.zoo import choose_model, default_detail, load

_JPEGS = (".jpe", ".jfif")
_BAND_LINES = 256
_OVERLAP_LINES = 32


class StillUpscaler:
    """Upscales pictures, each as the first frame of a shot."""

    def __init__(
        self,
        model: str | None = None,
        scale: int | None = None,
        device: str = "auto",
        detail: float | None = None,
        grain: float = 0.0,
    ) -> None:
        """Load `model`, or the default one for `scale` (4). Raises `VsrError`.

        `grain` is the strength of film grain, from 0 to 1.
        """
        self._grain = grain
        name = choose_model(model, scale or 4, 0)
        if detail is None:
            detail = default_detail(name)
        generator: Generator[Any] = load(name, scale, detail)
        self._upscaler = Upscaler(generator, pick_device(device))

    @property
    def scale(self) -> int:
        """Output side over input side."""
        return self._upscaler.scale

    def upscale_array(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Upscale RGB (H, W, 3) to (sH, sW, 3), in overlapping bands to limit memory."""
        scale, height = self.scale, pixels.shape[0]
        output = np.empty((height * scale, pixels.shape[1] * scale, 3), np.uint8)
        for top in range(0, height, _BAND_LINES):
            bottom = min(top + _BAND_LINES, height)
            first, last = max(0, top - _OVERLAP_LINES), min(height, bottom + _OVERLAP_LINES)
            band = torch.from_numpy(np.ascontiguousarray(pixels[first:last]))
            low = to_float(band.to(self._upscaler.device)).permute(2, 0, 1)
            high = to_uint8(self._upscaler.upscale(low, begins_shot=True))
            inner = high[:, (top - first) * scale : (bottom - first) * scale]
            output[top * scale : bottom * scale] = inner.permute(1, 2, 0).cpu().numpy()
        if not self._grain:
            return output
        grain = Grain(
            self._grain,
            height=output.shape[0],
            width=output.shape[1],
            bit_depth=8,
            full_range=True,
        )
        return grain.apply_to_rgb(output)

    def upscale_file(
        self,
        source: Path,
        output: Path,
        overwrite: bool = False,
        strict: bool = False,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Upscale one picture; its transparency is upscaled bicubically.

        What can't be kept is reported to `tell` beforehand; if `strict`, it is an error. Raises
        `MediaError` or `OutputError`.
        """
        still = read_still(source)
        check_distinct([output], [source])
        height, width = (self.scale * side for side in still.rgb.shape[:2])
        check_still_output(output, still.alpha is not None, overwrite, (width, height), still)
        lost = still_losses(output, still)
        if strict and lost:
            raise OutputError(f"{output}: would lack {'; '.join(lost)}")
        for line in lost:
            tell(f"{source}: not kept: {line}")
        rgb = still.rgb if still.alpha is None else _without_rim(still.rgb, still.alpha)
        alpha = None if still.alpha is None else _resize_plane(still.alpha, self.scale)
        high = replace(still, rgb=self.upscale_array(rgb), alpha=alpha)
        write_still(output, high, overwrite)


def upscale_image(
    pixels: NDArray[np.uint8],
    model: str | None = None,
    scale: int | None = None,
    device: str = "auto",
    detail: float | None = None,
    grain: float = 0.0,
) -> NDArray[np.uint8]:
    """Upscale one RGB picture, uint8 (H, W, 3) to (sH, sW, 3).

    `model` is a name from `vsr.list_models()` or a file, by default the model for `scale`, which
    is 4 by default. `detail` is that of `vsr.load`, by default that of the model's card. `grain` is
    the strength of film grain, from 0 to 1. Raises ValueError for another shape or type, and
    `VsrError`.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    upscaler = StillUpscaler(model, scale, device=device, detail=detail, grain=grain)
    return upscaler.upscale_array(pixels)


def pair_images(
    sources: Sequence[Path], output: Path, tell: Callable[[str], None] = lambda line: None
) -> Pairs:
    """Pair pictures, and each picture of folders, with their outputs.

    The folder's tree is created in `output`; several inputs are paired as films are, see
    `batch.pair_films`. A picture keeps its suffix if such pictures can be written; otherwise it
    becomes .png. `tell` is called with skipped files. Raises `MediaError` or `OutputError`.
    """
    source = sources[0]
    if len(sources) > 1:
        pairs = pair_several(
            sources,
            output,
            rename=_name,
            pair_folder=lambda folder, target: _pair_folder(folder, target, output, tell),
            suffixes=IMAGE_SUFFIXES,
        )
    elif source.is_dir():
        pairs = _pair_folder(source, output, output, tell)
    else:
        return [(source, output / _name(Path(source.name)) if output.is_dir() else output)]
    for folder in {target.parent for _, target in pairs}:
        make_folder(folder)
    return pairs


def _pair_folder(source: Path, output: Path, without: Path, tell: Callable[[str], None]) -> Pairs:
    """Pair the pictures of a folder, except those in the folder `without`."""
    pictures, others = find_files(source, output, STILL_SUFFIXES, without)
    if not pictures:
        raise MediaError(f"{source}: holds no picture ({', '.join(sorted(STILL_SUFFIXES))})")
    for line in skipped(source, others, "pictures"):
        tell(line)
    return pair_files(source, output, pictures, _name)


def _name(picture: Path) -> Path:
    if picture.suffix.lower() in IMAGE_SUFFIXES:
        return picture
    return picture.with_suffix(".jpg" if picture.suffix.lower() in _JPEGS else ".png")


def _without_rim(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace hidden colours (H, W, 3) by visible ones nearby, by transparency (H, W)."""
    if (alpha == 255).all():
        return rgb
    colours = torch.from_numpy(rgb).permute(2, 0, 1).float()
    bled = bleed(colours, torch.from_numpy(alpha).float() / 255)
    return bled.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _resize_plane(plane: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    height, width = plane.shape
    values = to_float(torch.from_numpy(plane))[None, None]
    return to_uint8(resize_bicubic(values, (height * scale, width * scale)))[0, 0].numpy()
