"""Convert a torch module to an OpenVINO network."""

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from vsr.engine.backends.torchscript import traced

_TELEMETRY = "openvino_telemetry"
_MIN_CHANNELS = 8
"""With fewer channels, sampling planes is faster."""
_MAX_PIXELS = 1 << 24
"""Largest integer up to which f32 represents every integer."""


@cache
def import_openvino() -> Any:
    """Import `openvino` without its telemetry.

    OpenVINO reports its imports and conversions over the network with the package
    `openvino_telemetry`, if it can import that. The package is hidden during the import. Tested up
    to OpenVINO 2026.4; `pyproject.toml` bounds the version.
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


def converted(
    module: nn.Module, inputs: Sequence[Tensor], shapes: Sequence[Sequence[int]] | None = None
) -> Any:
    """Convert a module to an `openvino.Model` for inputs of these types.

    `shapes` are those of the inputs by default; in others, a side of -1 is any length.

    This calls the parts of `openvino.convert_model` that are needed; the whole takes four times as
    long. Two are private, `openvino._offline_transformations` and the decoder of
    `openvino.frontend.pytorch`. Tested up to OpenVINO 2026.4; `pyproject.toml` bounds the version.
    """
    openvino = import_openvino()
    from openvino._offline_transformations import (
        apply_moc_transformations,
        compress_quantize_weights_transformation,
    )
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    graph = traced(module, inputs)
    decoder = TorchScriptPythonDecoder(
        graph, example_input=tuple(inputs)
    )  # must outlive the conversion
    loaded = frontend.load(decoder)
    shapes = shapes or [part.shape for part in inputs]
    for port, shape in zip(loaded.get_inputs(), shapes, strict=True):
        loaded.set_partial_shape(port, openvino.PartialShape(list(shape)))
    model = frontend.convert(loaded)
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    compress_quantize_weights_transformation(model)
    return model


def normalise_by_moments(model: Any) -> None:
    """Replace the `GroupNormalization` operations of an `openvino.Model` by means and variances.

    OpenVINO 2026.4 ends the process when it compiles two of them in blocks with a skip connection.
    """
    from openvino import opset13 as ops
    from openvino.utils import replace_node

    for node in model.get_ops():
        if node.get_type_name() != "GroupNormalization":
            continue
        x, scale, bias = (node.input_value(index) for index in range(3))
        attributes = node.get_attributes()
        groups = ops.reshape(x, np.array([0, attributes["num_groups"], -1]), True)
        epsilon = attributes["epsilon"]
        unit = ops.mvn(groups, np.array([2]), True, epsilon, "inside_sqrt")
        unit = ops.reshape(unit, ops.shape_of(x), False)
        scale, bias = (ops.reshape(one, np.array([1, -1, 1, 1]), False) for one in (scale, bias))
        replace_node(node, ops.add(ops.multiply(unit, scale), bias))


def sample_by_rows(model: Any) -> None:
    """Replace the `GridSample` operations of an `openvino.Model` that sample many channels.

    OpenVINO's implementation reads planes: the channels-last output of convolutions would be
    transposed for each frame, and read at four positions per channel. A weighted sum of table
    rows, an operation for embeddings, reads all channels of a position at once. The samplings must
    be bilinear with a replicated border, as in `vsr.imaging.tensors.sample`.
    """
    from openvino.utils import replace_node

    for node in model.get_ops():
        if node.get_type_name() != "GridSample":
            continue
        pixels, grid = node.input_value(0), node.input_value(1)
        _, channels, height, width = pixels.get_shape()
        is_plane = min(height, width) > 1 and height * width <= _MAX_PIXELS
        if channels >= _MIN_CHANNELS and is_plane:
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
    """Return the four pixels around each position of a grid, and their weights: (N, 4) each."""
    sides = np.array([[width, height]], np.float32)
    last = sides - 1
    flat = ops.reshape(grid, np.array([-1, 2]), False)
    position = ops.add(ops.multiply(flat, sides / 2), last / 2)
    position = ops.minimum(ops.maximum(position, np.zeros_like(sides)), last)
    corner = ops.floor(ops.minimum(position, last - 1))
    first = ops.convert(
        ops.matmul(corner, np.array([[1], [width]], np.float32), False, False), "i32"
    )
    indices = ops.add(first, np.array([[0, 1, width, width + 1]], np.int32))
    fraction = ops.subtract(position, corner)
    across, down = (ops.gather(fraction, np.array([axis]), np.int64(1)) for axis in range(2))
    right, below = np.array([[0, 1, 0, 1]], np.float32), np.array([[0, 0, 1, 1]], np.float32)
    # 1 - x for the left pixel, x for the right one.
    weights = [
        ops.add(ops.multiply(part, 2 * side - 1), 1 - side)
        for part, side in ((across, right), (down, below))
    ]
    return indices, ops.multiply(*weights)
