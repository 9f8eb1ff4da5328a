"""Choose the backend and the arithmetic for a film and a device."""

from typing import Any

import torch

from vsr.engine.backend_options import BackendName, Precision, Tiling
from vsr.engine.backends.adaptive import AdaptiveTilingBackend, is_out_of_memory
from vsr.engine.backends.base import Backend
from vsr.engine.backends.cuda_graph import GraphBackend
from vsr.engine.backends.onnx import OnnxBackend
from vsr.engine.backends.onnx_providers import Provider
from vsr.engine.backends.openvino import OpenVinoBackend, openvino_version
from vsr.engine.backends.openvino_community import (
    CommunityBackend,
    ConversionError,
    can_convert,
    is_worth_converting,
    read_converted,
)
from vsr.engine.backends.tile_size import pick_tile_size, tile_margin
from vsr.engine.backends.torch_eager import TorchBackend
from vsr.errors import VsrError, first_line
from vsr.imaging.colour import ColourSpec
from vsr.models import Generator, multiplies_per_pixel
from vsr.models.half import to_half
from vsr.models.int8 import is_calibrated, quantise
from vsr.system.machine import computes_bf16, computes_int8

_MIN_MULTIPLIES_TO_COMPILE = 700e9
"""Multiply-accumulates of a film from which on a network compiled for its frame size saves more
time than compiling takes: nine million low-resolution pixels of `tiny-x4`."""


def pick_backend(
    name: BackendName,
    precision: Precision,
    generator: Generator[Any],
    device: torch.device,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    frames: int | None,
    tiling: Tiling = "auto",
    memory: int | None = None,
    openvino_device: str = "CPU",
    provider: Provider = Provider("cpu"),
) -> AdaptiveTilingBackend:
    """Return the backend for films of `size` = (height, width).

    `specs` are the colour formats of input and output; `frames` is the length of the film, if
    known. `openvino_device` is where OpenVINO computes, and `provider` what ONNX Runtime computes
    by, see `placement.place`.

    On a CPU, "auto" is OpenVINO if that is installed, if it can compute the network, and if the
    film is long enough to be worth its start-up time; its precision is int8 if the model is
    calibrated and the processor computes int8 exactly. By CUDA, "auto" is torch in f16, compiled
    for long films; on other GPUs, in f32. Frames that don't fit into `memory` bytes, by default all
    of the device's, are computed in tiles.
    Raises `VsrError` if a requested combination isn't available.
    """
    on_intel = openvino_device != "CPU"
    if precision == "bf16":
        _check_bf16(name, generator)
    if not generator.compiles:
        _check_community(name, precision, on_intel, generator)
    is_long = _is_long(generator, None if frames is None else frames * size[0] * size[1])
    runtime = _runtime(name, precision, device, is_long or on_intel)
    if runtime == "onnx":
        arithmetic = _provider_arithmetic(precision, provider)
    elif on_intel:
        arithmetic = _intel_arithmetic(precision, openvino_device, generator)
    else:
        arithmetic = _arithmetic(precision, runtime, generator, device)
    if arithmetic == "int8":
        generator = quantise(generator, generator.int8_ranges)

    notes: list[str] = []
    model: Any = None
    """A network of another project, converted."""
    if runtime == "openvino" and not generator.compiles:
        try:
            model = read_converted(generator)
        except ConversionError as error:
            if name == "openvino" or precision == "bf16":
                raise VsrError(f"{error}; use --backend torch, in f32") from error
            notes.append(f"{error}; computed by torch")
            runtime = "torch"

    def build(size: tuple[int, int], tiled: bool) -> Backend:
        if model is not None:
            return CommunityBackend(generator, model, specs, arithmetic)
        if runtime == "openvino":
            return OpenVinoBackend(
                generator,
                specs=specs,
                size=size,
                precision=arithmetic,
                tiled=tiled,
                device=openvino_device,
            )
        if runtime == "onnx":
            return OnnxBackend(
                generator,
                specs=specs,
                size=size,
                provider=provider,
                precision=arithmetic,
                tiled=tiled,
            )
        if device.type != "cuda":
            return TorchBackend(generator, device, specs)
        if not generator.compiles:
            half = to_half(generator) if arithmetic == "f16" else generator
            return TorchBackend(half, device, specs)
        return _build_graph(
            generator,
            device,
            specs=specs,
            size=size,
            precision=arithmetic,
            tiled=tiled,
            compiles=is_long,
            notes=notes,
        )

    return AdaptiveTilingBackend(
        build=build,
        size=size,
        tile=pick_tile_size(tiling, generator, device, size, memory),
        scale=generator.scale,
        specs=specs,
        flow=generator.flow,
        shrinks=tiling != "off",
        notes=notes,
        margin=lambda: tile_margin(generator),
    )


def _check_bf16(name: BackendName, generator: Generator[Any]) -> None:
    """Raise `VsrError` where bf16 isn't available."""
    if generator.compiles:
        raise VsrError("bf16 is for models of other projects; omit --precision bf16")
    if name == "torch":
        raise VsrError("bf16 needs backend openvino; omit --backend torch")
    if not computes_bf16():
        raise VsrError("bf16 needs a processor with AVX512-BF16 or AMX; use f32")


def _check_community(
    name: BackendName, precision: Precision, on_intel: bool, generator: Generator[Any]
) -> None:
    """Raise `VsrError` for what models of other projects don't have."""
    if name == "onnx":
        raise VsrError("models of other projects run on backend torch or openvino, not onnx")
    if precision == "int8":
        raise VsrError("int8 is for models of vsr; those of other projects run in f32, f16 or bf16")
    if on_intel:
        raise VsrError(
            "models of other projects run on a CPU, or by torch on a GPU; use another --device"
        )
    if (name == "openvino" or precision == "bf16") and not can_convert(generator):
        raise VsrError("ONNX files are computed by ONNX Runtime; omit --backend and --precision")


def _is_long(generator: Generator[Any], pixels: int | None) -> bool:
    """Return whether a film of so many pixels is worth compiling; None is an unknown length."""
    if not generator.compiles:
        return can_convert(generator) and is_worth_converting(generator, pixels)
    return pixels is None or pixels * multiplies_per_pixel(generator) >= _MIN_MULTIPLIES_TO_COMPILE


def _build_graph(
    generator: Generator[Any],
    device: torch.device,
    *,
    specs: tuple[ColourSpec, ColourSpec],
    size: tuple[int, int],
    precision: str,
    tiled: bool,
    compiles: bool,
    notes: list[str],
) -> Backend:
    """Build a `GraphBackend`, uncompiled if compiling fails; the reason is added to `notes`."""

    def build(compiles: bool | None) -> Backend:
        return GraphBackend(
            generator,
            device,
            specs=specs,
            size=size,
            precision=precision,
            compiles=compiles,
            tiled=tiled,
        )

    if not compiles:
        return build(False)
    try:
        return build(None)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # Everything but compiling works without a complete compiler.
        reason = first_line(error)
        note = f"torch.compile failed ({reason}): frames are computed uncompiled, and slower"
        if note not in notes:  # `build` is called again for smaller tiles
            notes.append(note)
        return build(False)


def _runtime(name: BackendName, precision: Precision, device: torch.device, is_long: bool) -> str:
    """Choose "torch", "openvino" or "onnx"."""
    if name == "onnx":
        return name
    if name == "openvino" or (precision in ("int8", "bf16") and name == "auto"):
        if device.type != "cpu":
            raise VsrError(f"backend openvino computes on the CPU, not on {device}")
        if openvino_version() is None:
            raise VsrError("backend openvino isn't installed: pip install openvino")
        return "openvino"
    if name == "auto" and device.type == "cpu" and openvino_version() is not None and is_long:
        return "openvino"
    return "torch"


def _provider_arithmetic(precision: Precision, provider: Provider) -> str:
    """Choose "f32" or "f16" for ONNX Runtime."""
    if precision == "int8":
        raise VsrError("int8 needs backend openvino; backend onnx computes in f32 or f16")
    if precision == "f16" and not provider.is_gpu:
        raise VsrError(f"f16 is for GPUs, and slower than f32 by provider {provider}; use f32")
    return "f16" if precision == "f16" else "f32"


def _intel_arithmetic(precision: Precision, device: str, generator: Generator[Any]) -> str:
    """Choose "f32", "f16" or "int8" for an Intel GPU or NPU; an NPU has no f32."""
    if precision == "int8" and not is_calibrated(generator):
        raise VsrError("int8 needs a model with measured ranges (tools/calibrate.py)")
    is_npu = device.startswith("NPU")
    if precision == "f32" and is_npu:
        raise VsrError("intel-npu computes in f16 or int8; omit --precision f32")
    if precision != "auto":
        return precision
    return "f16" if is_npu else "f32"


def _arithmetic(
    precision: Precision, runtime: str, generator: Generator[Any], device: torch.device
) -> str:
    """Choose "f32", "f16", "bf16" or "int8"."""
    calibrated = is_calibrated(generator)
    if precision == "int8" and runtime != "openvino":
        raise VsrError("int8 needs backend openvino")
    if precision == "int8" and not calibrated:
        raise VsrError("int8 needs a model with measured ranges (tools/calibrate.py); use f32")
    if precision == "f16" and not generator.supports_half:
        raise VsrError("f16: this model computes in f32 alone; leave out --precision")
    if precision == "f16" and device.type != "cuda":
        raise VsrError(f"f16 is for GPUs, and slower than f32 on {device}; use f32")
    if precision != "auto":
        return precision
    if runtime == "openvino":
        return "int8" if calibrated and computes_int8() else "f32"
    return "f16" if device.type == "cuda" and generator.supports_half else "f32"
