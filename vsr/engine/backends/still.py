"""Compute pictures: tiles of samples in, cells of samples out, without a state.

A cell holds the output samples of a low-resolution pixel: rows, columns, colours.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsr.engine.backends.openvino import (
    compile_network,
    describe_rounding,
    network_name,
    openvino_version,
    read_network,
)
from vsr.engine.backends.openvino_community import can_convert
from vsr.engine.backends.openvino_convert import converted
from vsr.models import Generator
from vsr.models.reach import Reach
from vsr.models.still import StillNetwork

_MAX_SHAPES = 8
"""Compiled shapes of tiles that are kept."""
_EXAMPLE_PIXELS = 64


class StillStep(nn.Module):
    """A network from samples (1, H, W, 3) to cells (1, H, W, s s 3) of the same type.

    Samples are uint8, or float32 in [0, 1], which are neither clamped nor rounded.
    """

    def __init__(self, network: StillNetwork, has_levels: bool) -> None:
        """`has_levels` is for uint8."""
        super().__init__()
        self.network = network
        self.has_levels = has_levels

    def forward(self, samples: Tensor) -> Tensor:
        """Return the cells of a tile."""
        low = samples.permute(0, 3, 1, 2)
        cells: Tensor = self.network(low.float() / 255 if self.has_levels else low)
        if self.has_levels:
            cells = (255 * cells + 0.5).clamp(0, 255).to(torch.uint8)
        return cells.permute(0, 2, 3, 1)


class StillBackend(ABC):
    """Computes the cells of tiles."""

    def __init__(self, step: StillStep) -> None:
        self.step = step.eval()
        self.scale = step.network.scale
        self.bytes_per_pixel = step.network.bytes_per_pixel

    device = torch.device("cpu")

    @property
    def reach(self) -> Reach | None:
        """How tiles must be cut; None if only whole pictures are right."""
        return self.step.network.reach()

    @abstractmethod
    def cells(self, tile: NDArray[Any]) -> NDArray[Any]:
        """Upscale samples (H, W, 3) to cells (H, W, s s 3), which the next call may overwrite."""


class TorchStill(StillBackend):
    """Computes tiles of any size by torch, on a CPU or a GPU."""

    def __init__(self, step: StillStep, device: torch.device) -> None:
        super().__init__(step)
        self.device = device
        self.step.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def cells(self, tile: NDArray[Any]) -> NDArray[Any]:
        """Upscale samples (H, W, 3) to cells (H, W, s s 3)."""
        samples = torch.from_numpy(np.array(tile)).to(self.device)[None]
        cells: NDArray[Any] = self.step(samples)[0].cpu().numpy()
        return cells


class OpenVinoStill(StillBackend):
    """Computes tiles by OpenVINO on the CPU, compiled for each shape of tiles.

    A network is converted once for all shapes, and kept in the cache of films. To compile it for a
    shape takes a tenth of a second.
    """

    def __init__(self, step: StillStep) -> None:
        """Raises TypeError for a network whose description is incomplete."""
        super().__init__(step)
        dtype = torch.uint8 if step.has_levels else torch.float32
        description = step.network.description()
        if not description:
            raise TypeError(f"no cache key for networks of type {type(step.network).__name__}")
        example = torch.zeros(1, _EXAMPLE_PIXELS, _EXAMPLE_PIXELS, 3, dtype=dtype)
        name = network_name(
            {
                "inputs": [str(dtype), -1, -1],
                "generator": {**description, "rounding": describe_rounding(step)},
            },
            step,
        )
        self._model = read_network(name, lambda: converted(self.step, [example], [[1, -1, -1, 3]]))
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        """By shape, the latest last."""

    def cells(self, tile: NDArray[Any]) -> NDArray[Any]:
        """Upscale samples (H, W, 3) to cells (H, W, s s 3), which the next call overwrites."""
        request = self._request(tile.shape)
        results = request.infer(
            [np.ascontiguousarray(tile)[None]], share_inputs=True, share_outputs=True
        )
        cells: NDArray[Any] = results[0][0]
        return cells

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape not in self._requests:
            model = self._model.clone()
            model.reshape([1, *shape])
            self._requests[shape] = compile_network(model).create_infer_request()
        self._requests.move_to_end(shape)
        while len(self._requests) > _MAX_SHAPES:
            self._requests.popitem(last=False)
        return self._requests[shape]


def has_openvino(generator: Generator[Any], device: torch.device) -> bool:
    """Whether OpenVINO can compute a generator's network of pictures on a device."""
    can_compile = bool(generator.architecture) if generator.compiles else can_convert(generator)
    return device.type == "cpu" and openvino_version() is not None and can_compile
