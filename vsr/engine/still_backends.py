"""Choose the backend and the arithmetic for a picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.engine.backends.still import (
    OpenVinoStill,
    StillBackend,
    StillStep,
    TorchStill,
    has_openvino,
)
from vsr.models import Generator
from vsr.models.int8 import is_calibrated
from vsr.models.still import still_network
from vsr.system.machine import computes_int8

_MIN_PIXELS_TO_COMPILE = 1 << 16
"""Pixels from which on a compiled network is used. Smaller pictures take torch less time than the
first conversion of a network takes."""


class StillBackends:
    """Loads networks once, and builds a backend for each type of samples."""

    def __init__(self, load: Callable[[int], Generator[Any]], device: torch.device) -> None:
        """`load` returns the generator for a scale."""
        self._load, self._device = load, device
        self._generators: dict[int, Generator[Any]] = {}
        self._built: dict[tuple[Any, ...], StillBackend] = {}

    def generator(self, scale: int) -> Generator[Any]:
        """Return the generator for a scale."""
        if scale not in self._generators:
            self._generators[scale] = self._load(scale)
        return self._generators[scale]

    def backend(self, scale: int, pixels: NDArray[Any], output: np.dtype[Any]) -> StillBackend:
        """Return the backend for a picture (H, W, 3), from its size and type alone.

        It returns uint8 if picture and `output` are uint8, otherwise float32. Pictures of 8 bits
        are computed in int8 if the model is calibrated and the processor computes int8 exactly,
        and all others in float32.
        """
        generator = self.generator(scale)
        is_large = pixels.shape[0] * pixels.shape[1] >= _MIN_PIXELS_TO_COMPILE
        compiles = is_large and has_openvino(generator, self._device)
        is_8_bit = pixels.dtype == np.uint8
        quantises = compiles and is_8_bit and is_calibrated(generator) and computes_int8()
        has_levels = is_8_bit and output == np.uint8
        key = (scale, compiles, quantises, has_levels)
        if key not in self._built:
            step = StillStep(still_network(generator, quantises), has_levels)
            self._built[key] = OpenVinoStill(step) if compiles else TorchStill(step, self._device)
        return self._built[key]
