"""Choose the backend and the arithmetic for a picture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vsr.engine.backends.openvino_community import (
    ConversionError,
    OpenVinoNetwork,
    computed_by,
    is_worth_converting,
    read_converted,
)
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
        compiles = self._compiles(generator, pixels.shape[0] * pixels.shape[1])
        is_8_bit = pixels.dtype == np.uint8
        quantises = compiles and is_8_bit and is_calibrated(generator) and computes_int8()
        has_levels = is_8_bit and output == np.uint8
        key = (scale, compiles, quantises, has_levels)
        if key not in self._built:
            if compiles and generator.compiles:
                step = StillStep(still_network(generator, quantises), has_levels)
                self._built[key] = OpenVinoStill(step)
            else:
                network = still_network(generator, computed_by=_twin(generator, compiles))
                self._built[key] = TorchStill(StillStep(network, has_levels), self._device)
        return self._built[key]

    def _compiles(self, generator: Generator[Any], pixels: int) -> bool:
        """Return whether OpenVINO computes a picture of so many pixels."""
        if not has_openvino(generator, self._device):
            return False
        if not generator.compiles:
            return is_worth_converting(generator, pixels)
        return pixels >= _MIN_PIXELS_TO_COMPILE


def _twin(generator: Generator[Any], compiles: bool) -> Generator[Any] | None:
    """Return a copy whose network of another project is computed by OpenVINO; None by torch."""
    if not compiles:
        return None
    try:
        return computed_by(generator, OpenVinoNetwork(read_converted(generator)))
    except ConversionError:
        return None
