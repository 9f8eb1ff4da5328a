"""Upscale still pictures: the API behind `vsr image` and `vsr.upscale_image`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vsr.engine.batch import (
    Pairs,
    find_files,
    is_folder_name,
    not_a_folder,
    pair_files,
    pair_several,
)
from vsr.engine.dicom_series import survey_series
from vsr.engine.digests import weights_digest
from vsr.engine.measured import upscale_measured
from vsr.engine.output_size import InputFrame, OutputSize, SizeRequest
from vsr.engine.upscaler import Upscaler
from vsr.errors import ConfigError, MediaError, OutputError
from vsr.imaging.grain import Grain
from vsr.imaging.tensors import bleed, resize_bicubic, to_float, to_uint8
from vsr.media.dicom import is_dicom
from vsr.media.encode.settings import check_frame_size
from vsr.media.image import (
    IMAGE_SUFFIXES,
    check_still_output,
    read_still,
    sample_type,
    still_losses,
    write_still,
)
from vsr.media.still import Samples, full_scale, to_levels
from vsr.system.files import check_distinct, make_folder
from vsr.system.folders import STILL_SUFFIXES, skipped
from vsr.system.machine import pick_device
from vsr.zoo import choose_model, default_detail, load

_SamplesT = TypeVar("_SamplesT", NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32])
_JPEGS = (".jpe", ".jfif")
_DICOM_INDEX = "DICOMDIR"
"""Name of the file that lists the DICOM files of a medium."""
_BAND_LINES = 256
_OVERLAP_LINES = 32
_LEVELS = 2**16 - 1
_SENSOR_LEVELS = 2**12 - 1


class StillUpscaler:
    """Upscales pictures, each as the first frame of a shot."""

    def __init__(
        self,
        model: str | None = None,
        size: SizeRequest = SizeRequest(),
        device: str = "auto",
        detail: float | None = None,
        grain: float = 0.0,
        allow_invented_detail: bool = False,
    ) -> None:
        """Upscale to `size`, by default by the scale of `model` or 4.

        `grain` is the strength of film grain, from 0 to 1. `allow_invented_detail` allows `detail`
        and `grain` for files of measured values, where both are 0 by default. Raises `VsrError`.
        """
        if not 0 <= grain <= 1:
            raise ConfigError(f"grain is between 0 and 1, not {grain}")
        self._grain = grain
        self._model, self._request, self._detail = model, size, detail
        self._allow_invented_detail = allow_invented_detail
        self._device = pick_device(device)
        self._upscalers: dict[int, Upscaler] = {}
        """By scale."""
        self._without_detail: StillUpscaler | None = None
        self._digests: dict[int, str] = {}
        """Models with digests of their weights, by scale."""
        self._ranges: dict[Path, Any] = {}
        """Ranges of measured values, by file of a series."""
        self._default = load(choose_model(model, None, 0)).scale
        # The model is checked before any picture is read.
        self._upscaler(math.ceil(size.scale or self._default))

    @property
    def scale(self) -> float | None:
        """Output side over input side; None if the size is set in pixels."""
        request = self._request
        return self._default if request.is_default else request.scale

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of the output for a picture of this size."""
        size = self._request.resolve(InputFrame(width, height), self._default)
        check_frame_size((size.width, size.height))
        return size.height, size.width

    def upscale_array(self, pixels: Samples, dtype: np.dtype[Any] | None = None) -> Samples:
        """Upscale RGB (H, W, 3) to the requested size, in overlapping bands to limit memory.

        The result is rounded once, to `dtype`, by default that of `pixels`: uint8, uint16 or
        float32. Floats below 0 or above 1 are scaled to that range for the network and back.
        """
        dtype = dtype or pixels.dtype
        height, width = pixels.shape[:2]
        size = self.output_size(height, width)
        needed = OutputSize(size[1], size[0]).network_scale(InputFrame(width, height))
        upscaler = self._upscaler(needed)
        if size == (upscaler.scale * height, upscaler.scale * width):
            return self._grained(_in_bands(upscaler, pixels, dtype))
        # More levels than those of the result, so that only the last rounding counts.
        between = np.dtype(np.uint16 if dtype == np.uint8 else np.float32)
        large = _in_bands(upscaler, pixels, between)
        output = np.empty((*size, 3), dtype)
        for channel in range(3):
            plane = torch.from_numpy(large[..., channel].astype(np.float32))[None, None]
            if between == np.uint16:
                plane /= _LEVELS
            output[..., channel] = _quantised(resize_bicubic(plane, size), dtype)[0, 0].numpy()
        return self._grained(output)

    def _grained(self, pixels: Samples) -> Samples:
        """Add film grain to an output."""
        if not self._grain:
            return pixels
        if pixels.dtype == np.float32:
            black, white = _range_of(pixels)
            codes = to_levels((pixels - black) / (white - black), np.dtype(np.uint16))
            added = self._grained(codes).astype(np.float32) - codes
            return (pixels + added * (white - black) / _LEVELS).astype(np.float32)
        height, width = pixels.shape[:2]
        depth = 8 * pixels.itemsize
        grain = Grain(self._grain, height=height, width=width, bit_depth=depth, full_range=True)
        grained: Samples = grain.apply_to_rgb(pixels)
        return grained

    def _upscaler(self, needed: int) -> Upscaler:
        """Load the model for a scale, once."""
        if needed not in self._upscalers:
            name = choose_model(self._model, needed, 0, self._detail)
            scale = min(needed, load(name).scale)
            default = default_detail(name, scale)
            detail = default if self._detail is None else self._detail
            self._upscalers[needed] = Upscaler(load(name, scale, detail), self._device)
        return self._upscalers[needed]

    def survey(self, pairs: Pairs) -> tuple[Pairs, list[str]]:
        """Examine the DICOM series among inputs, before any work.

        Returns the pairs that can be upscaled, and a line for each inconsistent series.
        """
        kept, faults, self._ranges = survey_series(pairs)
        return kept, faults

    def describe(self, height: int, width: int) -> str:
        """Describe in one line how measured values of this size are upscaled, and by what."""
        rows, columns = self.output_size(height, width)
        needed = OutputSize(columns, rows).network_scale(InputFrame(width, height))
        if needed not in self._digests:
            name = choose_model(self._model, needed, 0, self._detail)
            digest = weights_digest(load(name).state_dict())[:8]
            self._digests[needed] = f"{Path(name).stem} ({digest})"
        invented = [f"detail {self._detail:g}"] if self._detail else []
        invented += [f"grain {self._grain:g}"] if self._grain else []
        facts = ", ".join([f"vsr {version('vsr')}", self._digests[needed], *invented])
        return (
            f"Upscaled from {width}x{height} to {columns}x{rows} by a neural network "
            f"({facts}); "
            "not for diagnosis or measurement"
        )

    def faithful(self, source: Path | str) -> "StillUpscaler":
        """Return an upscaler for the measured values of `source`, with a detail of 0 by default.

        Raises `ConfigError` where this one would invent values, unless that is allowed.
        """
        is_twin = Path(self._model or "").stem.endswith("-gan")
        if not self._allow_invented_detail and (self._detail or self._grain or is_twin):
            choice = "detail" if self._detail else "grain" if self._grain else f"{self._model}"
            raise ConfigError(
                f"{source}: holds measured values, and {choice} would invent some; leave it out, "
                "or allow it with --allow-invented-detail"
            )
        if self._detail is not None:
            return self
        if self._without_detail is None:
            self._without_detail = StillUpscaler(
                self._model, self._request, str(self._device), detail=0.0, grain=self._grain
            )
        return self._without_detail

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
        if upscale_measured(
            source,
            output,
            self.faithful,
            overwrite=overwrite,
            strict=strict,
            tell=tell,
            ranges=self._ranges,
        ):
            return
        still = read_still(source)
        check_distinct([output], [source])
        height, width = self.output_size(*still.rgb.shape[:2])
        check_still_output(output, still.alpha is not None, overwrite, (width, height), still)
        lost = still_losses(output, still)
        if strict and lost:
            raise OutputError(f"{output}: would lack {'; '.join(lost)}")
        for line in lost:
            tell(f"{source}: not kept: {line}")
        rgb = still.rgb if still.alpha is None else _without_rim(still.rgb, still.alpha)
        dtype = sample_type(output, still)
        alpha = None if still.alpha is None else _resize_plane(still.alpha, (height, width), dtype)
        high = replace(still, rgb=self.upscale_array(rgb, dtype), alpha=alpha)
        write_still(output, high, overwrite)


def upscale_image(
    pixels: _SamplesT,
    model: str | None = None,
    scale: float | None = None,
    device: str = "auto",
    detail: float | None = None,
    grain: float = 0.0,
    *,
    width: int | None = None,
    height: int | None = None,
    size: str | None = None,
) -> _SamplesT:
    """Upscale one RGB picture (H, W, 3) to (sH, sW, 3): uint8, uint16, or float32 of white 1.

    `model` is a name from `vsr.list_models()` or a file, by default the included model for the
    scale. `scale` is any number above 0, by default that of a named model, or 4. `width`, `height`
    and `size` set the output instead, as those of `vsr.upscale_video`. `detail` is that of
    `vsr.load`, by default that of the model's card. `grain` is the strength of film grain, from
    0 to 1. Raises ValueError for another shape or type, and `VsrError`.
    """
    if not isinstance(pixels, np.ndarray):
        raise ValueError(f"expected an array (H, W, 3), got {type(pixels).__name__}")
    is_known = pixels.dtype in (np.uint8, np.uint16, np.float32)
    if not is_known or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        expected = "uint8, uint16 or float32 (H, W, 3)"
        raise ValueError(f"expected {expected}, got {pixels.dtype} {pixels.shape}")
    request = SizeRequest(scale=scale, width=width, height=height, screen=size)
    upscaler = StillUpscaler(model, request, device=device, detail=detail, grain=grain)
    output: Any = upscaler.upscale_array(pixels)
    typed: _SamplesT = output
    return typed


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
        return [(source, output / _name(source).name if output.is_dir() else output)]
    for folder in {target.parent for _, target in pairs}:
        make_folder(folder)
    return pairs


def _pair_folder(source: Path, output: Path, without: Path, tell: Callable[[str], None]) -> Pairs:
    """Pair the pictures of a folder, except those in the folder `without`."""
    pictures, others = find_files(source, output, STILL_SUFFIXES, without)
    dicoms = [path for path in others if is_dicom(path) and path.name != _DICOM_INDEX]
    others = [path for path in others if path not in dicoms]
    pictures = sorted([*pictures, *dicoms])
    if not pictures:
        raise MediaError(f"{source}: holds no picture ({', '.join(sorted(STILL_SUFFIXES))})")
    if not is_folder_name(without, STILL_SUFFIXES):
        raise not_a_folder(without)
    for line in skipped(source, others, "pictures"):
        tell(line)
    return pair_files(source, output, pictures, _name)


def _name(picture: Path) -> Path:
    if picture.suffix.lower() in IMAGE_SUFFIXES or is_dicom(picture):
        return picture
    return picture.with_suffix(".jpg" if picture.suffix.lower() in _JPEGS else ".png")


def _without_rim(rgb: Samples, alpha: Samples) -> Samples:
    """Replace hidden colours (H, W, 3) by visible ones nearby, by transparency (H, W)."""
    highest = full_scale(rgb.dtype)
    if (alpha == highest).all():
        return rgb
    colours = torch.from_numpy(rgb).permute(2, 0, 1).float()
    bled = bleed(colours, torch.from_numpy(alpha).float() / highest)
    bled = bled.permute(1, 2, 0).contiguous()
    if rgb.dtype == np.float32:
        return bled.numpy()
    rounded = bled.round_().clamp_(0, highest).numpy()
    return rounded.astype(np.uint8) if rgb.dtype == np.uint8 else rounded.astype(np.uint16)


def _resize_plane(plane: Samples, size: tuple[int, int], dtype: np.dtype[Any]) -> Samples:
    values = to_float(torch.from_numpy(plane))[None, None]
    resized = _quantised(resize_bicubic(values, size).clamp_(0, 1), dtype)
    return resized[0, 0].numpy().astype(dtype, copy=False)


def _in_bands(upscaler: Upscaler, pixels: Samples, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Upscale RGB (H, W, 3) to (sH, sW, 3) of `dtype`; float32 is not clamped."""
    scale, height = upscaler.scale, pixels.shape[0]
    black, white = _range_of(pixels)
    output = np.empty((height * scale, pixels.shape[1] * scale, 3), dtype)
    for top in range(0, height, _BAND_LINES):
        bottom = min(top + _BAND_LINES, height)
        first, last = max(0, top - _OVERLAP_LINES), min(height, bottom + _OVERLAP_LINES)
        band = torch.from_numpy(np.ascontiguousarray(pixels[first:last]))
        low = to_float(band.to(upscaler.device)).permute(2, 0, 1)
        if (black, white) == (0, 1):
            high = upscaler.upscale(low, begins_shot=True)
        else:
            unit = (low - black) / (white - black)
            high = upscaler.upscale(unit, begins_shot=True) * (white - black) + black
        inner = _quantised(high, dtype)[:, (top - first) * scale : (bottom - first) * scale]
        output[top * scale : bottom * scale] = inner.permute(1, 2, 0).cpu().numpy()
    return output


def _range_of(pixels: Samples) -> tuple[float, float]:
    """Return the values of black and white for the network: 0 and 1, or those of the samples.

    White is less for 16-bit samples that use no more levels than 12 bits have, as sensors do.
    """
    highest = int(pixels.max()) if pixels.dtype == np.uint16 else _LEVELS
    if 0 < highest <= _SENSOR_LEVELS:
        return 0, highest / _LEVELS
    if pixels.dtype != np.float32:
        return 0, 1
    return min(0, float(pixels.min())), max(1, float(pixels.max()))


def _quantised(pixels: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Convert float in [0, 1] to the levels of a type, rounded to nearest and clamped.

    Levels of uint16 are returned as int32; float32 is returned as it is.
    """
    if dtype == np.float32:
        return pixels
    if dtype == np.uint8:
        return to_uint8(pixels)
    return (pixels * _LEVELS).round_().clamp_(0, _LEVELS).to(torch.int32)
