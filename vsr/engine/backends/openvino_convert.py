"""From a module of torch's to a network of OpenVINO's."""

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from vsr.engine.backends.torchscript import traced

_TELEMETRY = "openvino_telemetry"
_FEWEST_CHANNELS = 8
"""Below that, planes are faster."""
_MOST_PIXELS = 1 << 24
"""As far as f32 counts one by one."""


@cache
def import_openvino() -> Any:
    """The module `openvino`, imported without its telemetry.

    OpenVINO reports its imports and conversions over the network by the package
    `openvino_telemetry`, and only if it can import that: for this moment, it can't. Holds up to
    OpenVINO 2026.4, the newest tried; `pyproject.toml` bounds it.
    """
    hides = _TELEMETRY not in sys.modules
    if hides:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        if hides:
            del sys.modules[_TELEMETRY]
    return openvino


def converted(module: nn.Module, takes: Sequence[Tensor]) -> Any:
    """An `openvino.Model` of a module, for inputs of these shapes and types alone.

    The parts of `openvino.convert_model`, which takes four times as long. Two are private,
    `openvino._offline_transformations` and the decoder of `openvino.frontend.pytorch`: they hold
    up to OpenVINO 2026.4, the newest tried; `pyproject.toml` bounds it.
    """
    openvino = import_openvino()
    from openvino._offline_transformations import (
        apply_moc_transformations,
        compress_quantize_weights_transformation,
    )
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    graph = traced(module, takes)
    decoder = TorchScriptPythonDecoder(graph, example_input=tuple(takes))  # read until the end
    loaded = frontend.load(decoder)
    for place, part in zip(loaded.get_inputs(), takes, strict=True):
        loaded.set_partial_shape(place, openvino.PartialShape(list(part.shape)))
    model = frontend.convert(loaded)
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    compress_quantize_weights_transformation(model)
    return model


def sample_by_rows(model: Any) -> None:
    """Replace those `GridSample`s of an `openvino.Model` that sample many channels.

    OpenVINO's reads planes, so that what convolutions leave channels last would be laid out anew,
    frame by frame, and read at four places for each channel. A weighted sum of rows of a table,
    which is made for embeddings, reads each place once, all channels of it. They must be bilinear
    and repeat the border, as those of `vsr.imaging.tensors.sample`.
    """
    from openvino.utils import replace_node

    for node in model.get_ops():
        if node.get_type_name() != "GridSample":
            continue
        pixels, grid = node.input_value(0), node.input_value(1)
        _, channels, height, width = pixels.get_shape()
        is_plane = min(height, width) > 1 and height * width <= _MOST_PIXELS
        if channels >= _FEWEST_CHANNELS and is_plane:
            replace_node(node, _by_rows(pixels, grid))


def _by_rows(pixels: Any, grid: Any) -> Any:
    from openvino import opset13 as ops

    _, channels, height, width = pixels.get_shape()
    last = ops.transpose(pixels, np.array([0, 2, 3, 1]))
    table = ops.reshape(last, np.array([height * width, channels]), False)
    rows = ops.embedding_bag_packed_sum(table, *_taps(ops, grid, height, width))
    sampled = ops.reshape(rows, np.array([1, height, width, channels]), False)
    return ops.transpose(sampled, np.array([0, 3, 1, 2]))


def _taps(ops: Any, grid: Any, height: int, width: int) -> tuple[Any, Any]:
    """Of each position of a grid, which four pixels it lies between, and their shares: (N, 4)."""
    sides = np.array([[width, height]], np.float32)
    last = sides - 1
    flat = ops.reshape(grid, np.array([-1, 2]), False)
    place = ops.add(ops.multiply(flat, sides / 2), last / 2)
    place = ops.minimum(ops.maximum(place, np.zeros_like(sides)), last)
    corner = ops.floor(ops.minimum(place, last - 1))
    first = ops.convert(
        ops.matmul(corner, np.array([[1], [width]], np.float32), False, False), "i32"
    )
    indices = ops.add(first, np.array([[0, 1, width, width + 1]], np.int32))
    rest = ops.subtract(place, corner)
    across, down = (ops.gather(rest, np.array([axis]), np.int64(1)) for axis in range(2))
    right, below = np.array([[0, 1, 0, 1]], np.float32), np.array([[0, 0, 1, 1]], np.float32)
    # 1 - x on the left of it, x on the right.
    shares = [
        ops.add(ops.multiply(part, 2 * side - 1), 1 - side)
        for part, side in ((across, right), (down, below))
    ]
    return indices, ops.multiply(*shares)
