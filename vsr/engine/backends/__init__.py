"""How frames are computed: planes in, planes out, the state of the network kept in between."""

from typing import Any, Literal

import torch

from vsr.engine.backends.base import Backend
from vsr.engine.backends.cuda_graph import GraphBackend
from vsr.engine.backends.openvino import OpenVinoBackend, openvino_version
from vsr.engine.backends.tiling import (
    AdaptiveTilingBackend,
    TiledBackend,
    Tiling,
    is_out_of_memory,
    pick_tile_size,
)
from vsr.engine.backends.torch_eager import TorchBackend
from vsr.engine.backends.yuv_step import flow_of
from vsr.errors import VsrError
from vsr.imaging.colour import ColourSpec
from vsr.models import Generator, Recurrent
from vsr.models.int8 import is_calibrated, quantise
from vsr.system.machine import computes_int8

BackendName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "f32", "f16", "int8"]

_WORTH_COMPILING_PIXELS = 10_000_000
"""Low-resolution pixels of a film from which on a network that is built for its frame size
saves more time than it takes to build."""


def pick_backend(
    name: BackendName,
    precision: Precision,
    generator: Generator[Any],
    device: torch.device,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    frames: int | None,
    tiling: Tiling = "auto",
) -> Backend:
    """The backend for films of `size` = (height, width), read and written by `specs`.

    "auto" is OpenVINO on a CPU where it is installed and the film is long enough to be worth the
    seconds that it takes to begin; there, "auto" rounds to eight bits where the model has been
    measured for it and the processor computes so exactly. On a GPU it is torch, in f16,
    compiled for long films. Raises `VsrError` where what is asked for can't be had. Frames that
    don't fit into memory are done in tiles.
    """
    is_long = frames is None or frames * size[0] * size[1] >= _WORTH_COMPILING_PIXELS
    engine = _engine(name, precision, device, is_long)
    arithmetic = _arithmetic(precision, engine, generator, device)
    if arithmetic == "int8":
        assert isinstance(generator, Recurrent)
        generator = quantise(generator, generator.int8_ranges)

    notes: list[str] = []

    def build(size: tuple[int, int], tiled: bool) -> Backend:
        if engine == "openvino":
            return OpenVinoBackend(generator, specs, size, arithmetic, tiled)
        if device.type != "cuda":
            return TorchBackend(generator, device, specs)
        given = (generator, device, specs, size, arithmetic)
        try:
            return GraphBackend(*given, None if is_long else False, tiled)
        except Exception as error:
            if is_out_of_memory(error) or not is_long:
                raise
            # The rest works without a complete compiler.
            reason = (str(error) or type(error).__name__).splitlines()[0]
            line = f"torch.compile failed ({reason}): frames are computed uncompiled, and slower"
            if line not in notes:  # a tile is built after another
                notes.append(line)
            return GraphBackend(*given, False, tiled)

    tile = pick_tile_size(tiling, generator, device, size)
    given = (build, size, tile, generator.scale, specs, flow_of(generator))
    return AdaptiveTilingBackend(*given, shrinks=tiling != "off", notes=notes)


def _engine(name: BackendName, precision: Precision, device: torch.device, is_long: bool) -> str:
    """The backend to be, "torch" or "openvino"."""
    if name == "openvino" or (precision == "int8" and name == "auto"):
        if device.type != "cpu":
            raise VsrError(f"backend openvino computes on the CPU, not on {device}")
        if openvino_version() is None:
            raise VsrError("backend openvino isn't installed: pip install openvino")
        return "openvino"
    if name == "auto" and device.type == "cpu" and openvino_version() is not None and is_long:
        return "openvino"
    return "torch"


def _arithmetic(
    precision: Precision, engine: str, generator: Generator[Any], device: torch.device
) -> str:
    """The arithmetic to be, "f32", "f16" or "int8"."""
    known = is_calibrated(generator)
    if precision == "int8" and engine != "openvino":
        raise VsrError("int8 needs backend openvino")
    if precision == "int8" and not known:
        raise VsrError("int8 needs a model with measured ranges (tools/calibrate.py); use f32")
    if precision == "f16" and device.type != "cuda":
        raise VsrError(f"f16 is for GPUs, and slower than f32 on {device}; use f32")
    if precision != "auto":
        return precision
    if engine == "openvino":
        return "int8" if known and computes_int8() else "f32"
    return "f16" if device.type == "cuda" else "f32"


__all__ = [
    "AdaptiveTilingBackend",
    "Backend",
    "BackendName",
    "GraphBackend",
    "OpenVinoBackend",
    "Precision",
    "TiledBackend",
    "Tiling",
    "TorchBackend",
    "openvino_version",
    "pick_backend",
]
