"""The network that decides where a taught target agrees with the original."""

from vsr.data.clips import DataConfig
from vsr.data.targets import Features
from vsr.models.backbone import Vgg19Features


def agreement_features(data: DataConfig) -> Features | None:
    """The features of VGG-19 if a recipe asks for them, else None; raises `ModelError`."""
    if data.targets != "agreeing":
        return None
    return Vgg19Features(("2_2", "3_4"))
