"""Features by which taught targets are compared with the originals."""

from vsr.data.agreement import Features
from vsr.data.config import DataConfig
from vsr.models.vgg16 import Vgg16Features


def agreement_features(data: DataConfig) -> Features | None:
    """The features of VGG-16 if a recipe asks for them, else None; raises `ModelError`."""
    if data.targets != "agreeing":
        return None
    return Vgg16Features(("1_2", "2_2", "3_3"), what_for='data.targets = "agreeing"')
