"""The networks. Adding one is a file, an entry in the union and a `case`."""

from typing import Any

from vsr.models.generator import Generator, multiplies_per_pixel
from vsr.models.recurrent import Recurrent, RecurrentConfig

GeneratorConfig = RecurrentConfig
"""The configuration of any generator, told apart by its `kind`."""


def build_generator(config: GeneratorConfig) -> Generator[Any]:
    """A generator with fresh weights, in training mode, on the CPU in f32."""
    match config:
        case RecurrentConfig():
            return Recurrent(config)


__all__ = [
    "Generator",
    "GeneratorConfig",
    "Recurrent",
    "RecurrentConfig",
    "build_generator",
    "multiplies_per_pixel",
]
