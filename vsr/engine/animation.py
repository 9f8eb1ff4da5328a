"""Upscale animations: frame by frame, with the network's memory of the frames before."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vsr.engine.image import StillUpscaler
from vsr.engine.output_size import InputFrame
from vsr.engine.still_samples import resize_plane, without_rim
from vsr.engine.upscaler import Upscaler
from vsr.errors import OutputError
from vsr.frames.shots import mark_cuts
from vsr.imaging.tensors import resize_bicubic, to_float, to_uint8
from vsr.media.animation.frame import AnimationFrame
from vsr.media.animation.reader import Animation
from vsr.media.animation.writer import (
    animation_losses,
    animation_writer,
    check_animation_output,
)
from vsr.media.frame import Frame
from vsr.system.files import check_distinct

_LOOP_FRAMES = 8
"""Last frames that the network sees before the first one of an animation that repeats."""
_BAND_PIXELS = 1_000_000
_OVERLAP_LINES = 32


def upscale_animation(
    upscaler: StillUpscaler,
    animation: Animation,
    output: Path,
    overwrite: bool = False,
    strict: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Upscale all frames of an animation to a GIF, APNG or WebP file.

    The frames are a film: shots begin at cuts, and the first frame of an animation that repeats
    follows its last ones. What can't be kept is reported to `tell` beforehand; if `strict`, it is
    an error. `watch` is called with the number of finished and of all frames. Raises `MediaError`
    or `OutputError`.
    """
    check_distinct([output], [animation.path])
    low_size = animation.first.rgb.shape[:2]
    height, width = upscaler.output_size(*low_size)
    check_animation_output(output, overwrite, (width, height))
    lost = animation_losses(output, animation)
    if strict and lost:
        raise OutputError(f"{output}: would lack {'; '.join(lost)}")
    for line in lost:
        tell(f"{animation.path}: not kept: {line}")
    network = _FrameUpscaler(upscaler, low_size, (height, width))
    with animation_writer(
        output,
        (width, height),
        plays=animation.plays,
        has_alpha=animation.has_alpha,
        like=animation.first,
    ) as writer:
        for done, frame in enumerate(_upscaled(animation, network), start=1):
            writer.add(frame)
            watch(done, len(animation.seconds))


class _ShotFrame(NamedTuple):
    frame: AnimationFrame
    begins_shot: bool


class _FrameUpscaler:
    """Upscales frames in order, large ones in overlapping bands with a state each."""

    def __init__(
        self, upscaler: StillUpscaler, low_size: tuple[int, int], size: tuple[int, int]
    ) -> None:
        """Upscale frames of `low_size` to `size`, each (height, width)."""
        self._upscaler, self._size = upscaler, size
        self._count = 0
        height, width = low_size
        needed = upscaler.network_scale(size, InputFrame(width, height))
        lines = max(2 * _OVERLAP_LINES, _BAND_PIXELS // width)
        if upscaler.is_foreign or upscaler.steady:  # bands would show seams
            lines = height
        self._bands = [
            (top, min(top + lines, height), upscaler.network(needed))
            for top in range(0, height, lines)
        ]

    def upscale(self, frame: AnimationFrame, begins_shot: bool) -> AnimationFrame:
        """Upscale the next frame."""
        rgb, alpha = frame.rgb, frame.alpha
        if alpha is not None:
            rgb = without_rim(rgb, alpha).astype(np.uint8, copy=False)
            alpha = resize_plane(alpha, self._size, np.dtype(np.uint8)).astype(np.uint8, copy=False)
        parts = [
            self._band(network, rgb, top, bottom, begins_shot)
            for top, bottom, network in self._bands
        ]
        high = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        if tuple(high.shape[1:]) != self._size:
            high = resize_bicubic(high[None], self._size)[0]
        pixels = to_uint8(high).permute(1, 2, 0).contiguous().cpu().numpy()
        pixels = self._upscaler.add_grain(pixels, self._count).astype(np.uint8, copy=False)
        self._count += 1
        return AnimationFrame(pixels, alpha, frame.seconds)

    def _band(
        self,
        network: Upscaler,
        rgb: NDArray[np.uint8],
        top: int,
        bottom: int,
        begins_shot: bool,
    ) -> torch.Tensor:
        first, last = max(0, top - _OVERLAP_LINES), min(len(rgb), bottom + _OVERLAP_LINES)
        low = to_float(torch.from_numpy(rgb[first:last]).to(network.device)).permute(2, 0, 1)
        high = network.upscale(low, begins_shot)
        scale = network.scale
        return high[:, (top - first) * scale : (bottom - first) * scale]


def _upscaled(animation: Animation, network: _FrameUpscaler) -> Iterator[AnimationFrame]:
    """Upscale the frames; those that repeat the frame before are computed once."""
    count = len(animation.seconds)
    ahead = min(count, _LOOP_FRAMES) if animation.loops and count > 1 else 0
    frames: Iterable[AnimationFrame] = animation.frames()
    if ahead:
        frames = chain(animation.frames(count - ahead), frames)
    low: AnimationFrame | None = None
    high: AnimationFrame | None = None
    for index, (frame, begins_shot) in enumerate(_in_shots(frames)):
        if high is None or low is None or begins_shot or not frame.has_pixels_of(low):
            low, high = frame, network.upscale(frame, begins_shot)
        if index >= ahead:
            yield high._replace(seconds=frame.seconds)


def _in_shots(frames: Iterable[AnimationFrame]) -> Iterator[_ShotFrame]:
    """Flag the first frame of each shot."""
    waiting: deque[AnimationFrame] = deque()

    def as_film() -> Iterator[Frame]:
        for index, frame in enumerate(frames):
            waiting.append(frame)
            pixels = np.asarray(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2YCrCb), np.uint8)
            yield Frame(planes=(pixels[..., 0], pixels[..., 2], pixels[..., 1]), pts=index)

    for _, begins_shot in mark_cuts(as_film()):
        yield _ShotFrame(waiting.popleft(), begins_shot)
