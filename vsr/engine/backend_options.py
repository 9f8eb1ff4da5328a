"""Values of the options that choose a backend and its arithmetic; importing them needs no torch."""

from typing import Literal

BackendName = Literal["auto", "torch", "openvino", "onnx"]
"""Software that computes the model."""
Precision = Literal["auto", "f32", "f16", "bf16", "int8"]
"""Arithmetic of the model; bf16 is for those of other projects."""
Tiling = int | Literal["auto", "off"]
"""Side of a tile in low-resolution pixels, overlap included."""
