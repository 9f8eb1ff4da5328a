"""ColorVideoVDP: visibility of the difference of two films to a viewer, in JOD."""

import importlib
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from vsr.errors import ModelError
from vsr.metrics.blur import filtered, gaussian_taps
from vsr.metrics.image import filters_by_opencv

DISPLAY = "standard_4k"
"""A 30-inch monitor of 3840x2160 and 200 cd/m2 in an office (250 lux), viewed from twice its
height: 75 pixels a degree. A film is shown on it pixel for pixel."""

CVVDP_SMALLEST_SIDE = 32
"""Minimal side in pixels for a meaningful number of bands in the pyramid."""

_VERSIONS = "cvvdp>=0.5.7,<0.6"
_SERIES = "0.5."
_COLOURS = "DKLd65"
_CHANNELS = 4
"""Sustained luminance, red-green, violet-yellow, transient luminance."""

_SLOPE, _EXPONENT, _LINEAR_BELOW = 0.0439569391310215, 0.9302042722702026, 0.1
"""Mapping of the pooled difference Q to JOD: 10 - slope Q^exponent, linear for small Q."""


class ColorVideoVdp:
    """ColorVideoVDP of one film, computed frame by frame.

    Mantiuk et al., "ColorVideoVDP: A visual difference predictor for image, video and display
    distortions", 2024, by the package `cvvdp`. Only the frames of the temporal filter are kept, a
    quarter of a second. `pooled` computes the quality of the film.
    """

    def __init__(self, frame_rate: float, device: torch.device) -> None:
        """`frame_rate` in frames a second. Raises `ModelError` without the package."""
        self._library = _library()
        self._metric = self._library.cvvdp(display_name=DISPLAY, quiet=True, device=device)
        self._metric.pu_blur = _Blur(self._metric.pu_blur, self._metric.pu_dilate)
        self._metric.F, _ = self._metric.get_temporal_filters(frame_rate)
        self._metric.filter_len = len(self._metric.F[0])
        self._pyramid: Any = None
        self._buffers: Any = None
        self._index = 0

    def add(self, output: Tensor, target: Tensor, starts_shot: bool = False) -> float:
        """Measure the next frame, RGB (3, H, W) in [0, 1] as sRGB: its quality in JOD, at most 10.

        The first frame of a film or shot is treated as preceded by a still of itself.
        """
        height, width = target.shape[-2:]
        if self._pyramid is None:
            self._pyramid = self._library.weber_contrast_pyr(
                width,
                height,
                self._metric.pix_per_deg,
                self._metric.device,
                contrast=self._metric.contrast,
            )
        if self._buffers is None or starts_shot:
            self._buffers, self._index = self._library.cvvdp_frame_buffers(), 0
        pair = _Pair(output, target, self._metric.display_photometry)
        channels = self._metric.read_block_of_frames(
            vid_source=pair,
            no_channels=_CHANNELS,
            fb=self._buffers,
            block_N_frames=1,
            met_colorspace=_COLOURS,
            ff=self._index,
            cur_block_N_frames=1,
        )
        self._index += 1
        difference, _ = self._metric.process_block_of_frames(
            R=channels, vid_sz=pair.get_video_size(), temp_ch=2, lpyr=self._pyramid, is_image=False
        )
        # Repeated, because a single frame would be pooled as a photograph.
        return float(self._metric.do_pooling_and_jods(difference.expand(-1, -1, 2, -1)))


def pooled(qualities: Sequence[float]) -> float:
    """Pool the qualities of frames in JOD; NaN if there are none.

    ColorVideoVDP pools over time by the root of the mean square of the frames' differences Q,
    and maps the result to JOD by 10 - a Q^b. A few bad frames weigh more than in a mean.
    """
    known = [quality for quality in qualities if not math.isnan(quality)]
    if not known:
        return math.nan
    return _jod(math.sqrt(sum(_difference(quality) ** 2 for quality in known) / len(known)))


def require_cvvdp() -> None:
    """Raise `ModelError`, in one line, if the package is missing or of another version."""
    try:
        found = version("cvvdp")
    except PackageNotFoundError as error:
        raise ModelError(
            "the metric 'cvvdp' needs ColorVideoVDP: pip install 'vsr[metrics]'"
        ) from error
    if not found.startswith(_SERIES):
        raise ModelError(f"the metric 'cvvdp' needs {_VERSIONS}, not {found}")


def _jod(difference: float) -> float:
    if difference > _LINEAR_BELOW:
        return 10 - _SLOPE * math.pow(difference, _EXPONENT)
    return 10 - _SLOPE * math.pow(_LINEAR_BELOW, _EXPONENT - 1) * difference


def _difference(jod: float) -> float:
    loss = max(10 - jod, 0.0) / _SLOPE
    linear = loss / math.pow(_LINEAR_BELOW, _EXPONENT - 1)
    return linear if linear <= _LINEAR_BELOW else math.pow(loss, 1 / _EXPONENT)


class _Pair:
    """One frame of output and target as a video source of the package.

    The package's own sources log warnings about dark frames to the root logger.
    """

    def __init__(self, output: Tensor, target: Tensor, display: Any) -> None:
        self._pictures = (output, target)
        self._display = display

    def get_video_size(self) -> tuple[int, int, int]:
        """Height, width and a frame count above one, as of a film, not a photograph."""
        height, width = self._pictures[0].shape[-2:]
        return height, width, 2

    def get_batch_size(self) -> int:
        return 1

    def get_test_frame(self, frame: int, device: torch.device, colorspace: str) -> Tensor:
        return self._shown(self._pictures[0], colorspace)

    def get_reference_frame(self, frame: int, device: torch.device, colorspace: str) -> Tensor:
        return self._shown(self._pictures[1], colorspace)

    def _shown(self, picture: Tensor, colorspace: str) -> Tensor:
        """Light emitted by the display, (1, 3, 1, H, W)."""
        batch = picture.float().clamp(0, 1)[None, :, None]
        emitted: Tensor = self._display.source_2_target_colorspace(batch, colorspace)
        return emitted


class _Blur:
    """Separable version of the package's Gaussian blur, three times as fast on a CPU."""

    def __init__(self, original: Any, sigma: float) -> None:
        self._original = original
        reach = original.kernel_size[0] // 2
        self._taps = gaussian_taps(sigma, reach)

    def forward(self, planes: Tensor) -> Tensor:
        """Blur planes (N, 1, H, W)."""
        if filters_by_opencv(planes):
            return filtered(planes, self._taps)
        blurred: Tensor = self._original.forward(planes)
        return blurred


@cache
def _library() -> Any:
    """Import the module that computes the metric; raises `ModelError` without the package."""
    require_cvvdp()
    spec = find_spec("pycvvdp")
    if spec is None:
        raise ModelError("the metric 'cvvdp' needs ColorVideoVDP: pip install 'vsr[metrics]'")
    with _bare_package(module_from_spec(spec)):
        return importlib.import_module("pycvvdp.cvvdp_metric")


@contextmanager
def _bare_package(package: ModuleType) -> Iterator[None]:
    """Import modules of pycvvdp without the dependencies that the metric doesn't need.

    The package's `__init__` imports readers of files, the client of a model hub and a plotting
    library; the module of the metric runs a command to query the processor's name, prepares
    benchmarks and extends `sys.path`. Stubs replace them during the import, after which
    `sys.modules` and `sys.path` are restored.
    """
    stubs: dict[str, ModuleType | None] = {
        "pycvvdp": package,
        "pycvvdp.video_writer": _stub("pycvvdp.video_writer", "VideoWriter", "ImageWriter"),
        "third_party": _stub("third_party"),
        "third_party.cpuinfo": _stub("third_party.cpuinfo", "cpuinfo"),
        "torch.utils.benchmark": _stub("torch.utils.benchmark"),
        "matplotlib": None,
        "pynvml": None,
    }

    def is_affected(name: str) -> bool:
        return name in stubs or name.split(".")[0] in ("pycvvdp", "third_party", "interp")

    before = {name: module for name, module in sys.modules.items() if is_affected(name)}
    path = list(sys.path)
    for name in before:
        del sys.modules[name]
    sys.modules.update(stubs)  # type: ignore[arg-type]  # None blocks an import
    try:
        yield
    finally:
        for name in [name for name in sys.modules if is_affected(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        sys.path[:] = path


def _stub(name: str, *attributes: str) -> ModuleType:
    module = ModuleType(name)
    for attribute in attributes:
        setattr(module, attribute, None)
    return module
