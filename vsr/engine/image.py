"""Upscale still pictures with one model."""

import math
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr import models as networks
from vsr.engine.batch import Pairs
from vsr.engine.dicom_series import survey_series
from vsr.engine.digests import weights_digest
from vsr.engine.output_size import InputFrame, OutputSize, SizeRequest
from vsr.engine.pipeline import Stopped
from vsr.engine.still_backends import StillBackends
from vsr.engine.still_samples import (
    black_and_white,
    quantised,
    resize_plane,
    with_grain,
    without_rim,
)
from vsr.engine.still_tiles import upscale_in_bands
from vsr.engine.upscaler import Upscaler
from vsr.errors import ConfigError, OutputError
from vsr.imaging.grain import Grain
from vsr.imaging.resize_rows import resized_bands
from vsr.imaging.tensors import to_float
from vsr.media.image import read_still
from vsr.media.image_writer import check_still_output, sample_type, still_losses, write_still
from vsr.media.linear_light import from_network, to_network
from vsr.media.picture_colours import colours_for, rgb_of_inks
from vsr.media.picture_memory import check_memory
from vsr.media.still import Samples, Still
from vsr.media.still_rows import Band, joined_bands, write_rows, writes_rows
from vsr.models import CommunityNetwork
from vsr.system.files import check_distinct
from vsr.system.machine import pick_torch_device
from vsr.zoo import choose_model, default_detail, load

_ALPHA_LINES = 256


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
        steady: float = 0.0,
    ) -> None:
        """Upscale to `size`, by default by the scale of `model` or 4.

        `grain` is the strength of film grain, from 0 to 1. `allow_invented_detail` allows `detail`
        and `grain` for files of measured values, where both are 0 by default. `steady` is that of
        `zoo.load`, for animations. Raises `VsrError`.
        """
        if not 0 <= grain <= 1:
            raise ConfigError(f"grain is between 0 and 1, not {grain}")
        self._grain = grain
        self._model, self._request, self._detail = model, size, detail
        self._allow_invented_detail = allow_invented_detail
        self.steady = steady
        """Strength of the temporal filter for animations by models of single pictures."""
        self._device = pick_torch_device(device)
        self._backends = StillBackends(self._load, self._device)
        self._without_detail: StillUpscaler | None = None
        self._lock = threading.Lock()
        """Held while a picture is computed: several threads would slow each other down."""
        self._is_stopped = threading.Event()
        self._digests: dict[int, str] = {}
        """Models with digests of their weights, by scale."""
        self.ranges: dict[Path, Any] = {}
        """Ranges of measured values, by file of a series."""
        name = choose_model(model, None, 0)
        default = load(name)
        if steady:
            load(name, steady=steady)  # for its errors
        self._default = default.scale
        self.is_foreign = isinstance(default, CommunityNetwork)
        """Whether the model is another project's."""
        # The model is checked before any picture is read.
        self._backends.generator(math.ceil(size.scale or self._default))

    @property
    def scale(self) -> float | None:
        """Output side over input side; None if the size is set in pixels."""
        request = self._request
        return self._default if request.is_default else request.scale

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of the output for a picture of this size."""
        size = self._request.resolve(InputFrame(width, height), self._default)
        return size.height, size.width

    def network_scale(self, size: tuple[int, int], frame: InputFrame) -> int:
        """Return the scale of the network for an output of (height, width)."""
        return OutputSize(size[1], size[0]).network_scale(frame, self._default)

    def upscale_array(self, pixels: Samples, dtype: np.dtype[Any] | None = None) -> Samples:
        """Upscale RGB (H, W, 3) to the requested size.

        The result is rounded once, to `dtype`, by default that of `pixels`: uint8, uint16 or
        float32. Floats below 0 or above 1 are scaled to that range for the network and back.
        """
        dtype = dtype or pixels.dtype
        height, width = self.output_size(*pixels.shape[:2])
        check_memory(None, (width, height), 3 * dtype.itemsize, OutputError)
        output = np.empty((height, width, 3), dtype)
        first = 0
        with closing(self.upscale_bands(pixels, output.dtype)) as bands:
            for band in bands:
                output[first : first + len(band)] = band
                first += len(band)
        return output

    def upscale_bands(
        self, pixels: Samples, dtype: np.dtype[Any]
    ) -> Generator[Samples, None, None]:
        """Iterate over the output of `upscale_array` in bands (n, sW, 3), from top to bottom.

        One thread at a time computes a picture, until the iterator is closed. Raises `Stopped`
        after `stop`.
        """
        with self._lock:
            for band in self._bands(pixels, dtype):
                if self._is_stopped.is_set():
                    raise Stopped
                yield band

    def stop(self) -> None:
        """End the pictures that other threads compute."""
        self._is_stopped.set()

    def _bands(self, pixels: Samples, dtype: np.dtype[Any]) -> Iterator[Samples]:
        height, width = pixels.shape[:2]
        size = self.output_size(height, width)
        needed = self.network_scale(size, InputFrame(width, height))
        whole = self._backends.generator(needed).scale
        network_size = (whole * height, whole * width)
        is_direct = size == network_size
        # More levels than those of the result, so that only the last rounding counts.
        is_8_bit = is_direct and pixels.dtype == dtype == np.uint8
        between = np.dtype(np.uint8 if is_8_bit else np.float32)
        backend = self._backends.backend(needed, pixels, between)
        limits = black_and_white(pixels)
        bands = upscale_in_bands(backend, pixels, between, limits)
        if not is_direct:
            bands = resized_bands(bands, network_size, size)
        grain, first = self._film_grain(size, dtype), 0
        for band in bands:
            samples = quantised(band, dtype)
            yield samples if grain is None else with_grain(grain, samples, first, limits=limits)
            first += len(band)

    def add_grain(self, pixels: Samples, frame: int) -> Samples:
        """Add film grain to a frame of an animation; each frame has its own."""
        grain = self._film_grain((pixels.shape[0], pixels.shape[1]), pixels.dtype)
        if grain is None:
            return pixels
        return with_grain(grain, pixels, 0, limits=black_and_white(pixels), pts=frame)

    def _film_grain(self, size: tuple[int, int], dtype: np.dtype[Any]) -> Grain | None:
        if not self._grain:
            return None
        depth = 8 if dtype == np.uint8 else 16
        height, width = size
        return Grain(self._grain, height=height, width=width, bit_depth=depth, full_range=True)

    def _load(self, needed: int, steady: float = 0.0) -> networks.Generator[Any]:
        """Load the model for a scale."""
        name = choose_model(self._model, needed, 0, self._detail)
        scale = min(needed, load(name).scale)
        default = default_detail(name, scale)
        detail = default if self._detail is None else self._detail
        return load(name, scale, detail, steady=steady)

    def network(self, needed: int) -> Upscaler:
        """Load the model for the frames of an animation, with a state of its own."""
        return Upscaler(self._load(needed, self.steady), self._device)

    def survey(self, pairs: Pairs) -> tuple[Pairs, list[str]]:
        """Examine the DICOM series among inputs, before any work.

        Returns the pairs that can be upscaled, and a line for each inconsistent series.
        """
        kept, faults, self.ranges = survey_series(pairs)
        return kept, faults

    def describe(self, height: int, width: int) -> str:
        """Describe in one line how measured values of this size are upscaled, and by what."""
        rows, columns = self.output_size(height, width)
        needed = self.network_scale((rows, columns), InputFrame(width, height))
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
        if not self._allow_invented_detail and (
            self._detail or self._grain or is_twin or self.is_foreign
        ):
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
        still = read_still(source)
        check_distinct([output], [source])
        height, width = self.output_size(*still.rgb.shape[:2])
        check_still_output(output, still.alpha is not None, overwrite, (width, height), still)
        lost = still_losses(output, still)
        if strict and lost:
            raise OutputError(f"{output}: would lack {'; '.join(lost)}")
        for line in lost:
            tell(f"{source}: not kept: {line}")
        dtype = sample_type(output, still)
        still = colours_for(output, still, dtype)
        # Inks and linear light are converted as a whole.
        is_plain = still.inks is None and not still.linear
        if is_plain and writes_rows(output, (width, height), dtype):
            bands = self._still_bands(still, dtype)
            write_rows(output, still, (width, height), dtype, bands, overwrite)
            return
        check_memory(output, (width, height), 3 * dtype.itemsize, OutputError)
        write_still(output, self.upscale_still(still, dtype), overwrite)

    def upscale_still(self, still: Still, dtype: np.dtype[Any]) -> Still:
        """Upscale a picture, to samples of `dtype`; its transparency is upscaled bicubically."""
        size = self.output_size(*still.rgb.shape[:2])
        alpha = None if still.alpha is None else resize_plane(still.alpha, size, dtype)
        return replace(self._upscaled(still, dtype), alpha=alpha)

    def _upscaled(self, still: Still, dtype: np.dtype[Any]) -> Still:
        """Upscale the colours of a picture: CMYK as inks, linear light by a curve."""
        if still.inks is not None:
            return self._upscaled_inks(still, still.inks)
        rgb = still.rgb if still.alpha is None else without_rim(still.rgb, still.alpha)
        if not still.linear:
            return replace(still, rgb=self.upscale_array(rgb, dtype))
        floats = np.dtype(np.float32)
        values = to_network(rgb.astype(np.float32, copy=False))
        high = from_network(self.upscale_array(values, floats).astype(np.float32, copy=False))
        return replace(still, rgb=high)

    def _upscaled_inks(self, still: Still, inks: NDArray[np.uint8]) -> Still:
        """Upscale cyan, magenta and yellow as colours, and black as grey.

        So black stays black ink alone, and no profile limits the colours.
        """
        colours = self.upscale_array(np.ascontiguousarray(255 - inks[..., :3]))
        black = self.upscale_array(np.repeat(255 - inks[..., 3:], 3, axis=2))
        high = 255 - np.dstack([colours, black[..., 1]]).astype(np.uint8)
        rgb, _ = rgb_of_inks(high, still.ink_profile)
        return replace(still, rgb=rgb, inks=high)

    def _still_bands(self, still: Still, dtype: np.dtype[Any]) -> Iterator[Band]:
        """Iterate over bands of the output of a picture."""
        if still.alpha is None:
            with closing(self.upscale_bands(still.rgb, dtype)) as bands:
                yield from joined_bands(bands, None)
            return
        size, source = still.alpha.shape, still.alpha
        planes = (
            to_float(torch.from_numpy(source[top : top + _ALPHA_LINES]))[..., None].numpy()
            for top in range(0, size[0], _ALPHA_LINES)
        )
        resized = resized_bands(planes, (size[0], size[1]), self.output_size(*size))
        alpha = (quantised(plane.clip(0, 1)[..., 0], dtype) for plane in resized)
        with closing(self.upscale_bands(without_rim(still.rgb, source), dtype)) as bands:
            yield from joined_bands(bands, alpha)
