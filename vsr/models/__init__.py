"""The networks. A new one is a file, an entry in the union and a `case`."""

from typing import Annotated, Any

from pydantic import Field

from vsr.models.community import CommunityNetwork
from vsr.models.generator import Generator, multiplies_per_pixel
from vsr.models.recurrent import Recurrent, RecurrentConfig
from vsr.models.rrdbnet import Rrdbnet, RrdbnetConfig
from vsr.models.srresnet import Srresnet, SrresnetConfig

GeneratorConfig = Annotated[
    RecurrentConfig | SrresnetConfig | RrdbnetConfig, Field(discriminator="kind")
]
"""The configuration of any generator; `kind` selects the class."""


def build_generator(config: GeneratorConfig) -> Generator[Any]:
    """Build a generator with random weights, in training mode, on the CPU in f32."""
    match config:
        case RecurrentConfig():
            return Recurrent(config)
        case SrresnetConfig():
            return Srresnet(config)
        case RrdbnetConfig():
            return Rrdbnet(config)


__all__ = [
    "CommunityNetwork",
    "Generator",
    "GeneratorConfig",
    "Recurrent",
    "RecurrentConfig",
    "Rrdbnet",
    "RrdbnetConfig",
    "Srresnet",
    "SrresnetConfig",
    "build_generator",
    "multiplies_per_pixel",
]
