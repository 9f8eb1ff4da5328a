"""Model cards: description, training data and scores of a model."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field

from vsr.config import Config, load_toml
from vsr.system.files import write_text


class DegradationScores(Config):
    """Scores on held-out films with one degradation: means over films of means over frames."""

    model_config = ConfigDict(allow_inf_nan=True)  # NaN if a score wasn't measured

    psnr_y: float
    """Luma PSNR in dB."""
    ssim_y: float
    tof: float
    """Pixels; lower is better."""
    sharpness: float = math.nan
    """Energy over the target's in the upper half of the spectrum; 1 is best."""
    warping_error: float = math.nan
    """1000 times the squared change along the target's motion; lower is more stable."""
    flicker: float = math.nan
    """Change along the input's motion in code values, minus bicubic's."""
    bicubic_psnr_y: float
    """Luma PSNR of bicubic interpolation on the same frames; so the following scores."""
    bicubic_ssim_y: float
    bicubic_tof: float
    bicubic_sharpness: float = math.nan
    bicubic_warping_error: float = math.nan
    bicubic_flicker: float = math.nan
    frames: int = 0
    """Frames of each film, from its start; 0 means all."""

    @property
    def gain(self) -> float:
        """Gain in luma PSNR over bicubic interpolation, in dB."""
        return self.psnr_y - self.bicubic_psnr_y


class PictureScores(Config):
    """Perceptual scores on the first frames of held-out films."""

    model_config = ConfigDict(allow_inf_nan=True)  # NaN if a score wasn't measured

    frames: int
    """Frames of each film, from its start; 0 means all."""
    psnr_y: float
    """Luma PSNR in dB."""
    bicubic_psnr_y: float
    """Luma PSNR of bicubic interpolation of the same frames."""
    features: float
    """Distance of unit-normalised VGG-16 features; lower is better."""
    sharpness: float
    """Energy over the target's in the upper half of the spectrum."""
    flicker: float
    """Change along the input's motion in code values, minus bicubic's."""
    excess_flicker: float
    """Flicker minus that of the target blurred to the same sharpness, in code values."""
    tof: float
    """Distance of the motion from that of the target, in pixels; lower is better."""
    cvvdp: float
    """ColorVideoVDP in JOD; 10 means no visible difference."""
    memory_gain: float = math.nan
    """Gain in luma PSNR over the same network with every frame a cut, in dB."""

    @property
    def gain(self) -> float:
        """Gain in luma PSNR over bicubic interpolation, in dB."""
        return self.psnr_y - self.bicubic_psnr_y


class Card(Config):
    """The card of a model."""

    name: str
    scale: int
    summary: str
    parameters: int
    default_detail: float = Field(default=0.0, ge=0, le=1)
    """`--detail` of upscaling if none is given."""
    multiplies_per_pixel: int
    """Multiply-accumulates of convolutions for each low-resolution pixel."""
    licence: str
    """Licence of the weights."""
    machine: str
    """The machine of the training."""
    minutes: float
    """Training time, including that of the weights from which the training started."""
    iterations: int
    """Training iterations, including those of the weights from which the training started."""
    recipe: str
    """The command of the training, and what was different from it."""
    data: tuple[str, ...]
    """Training data, each with its terms of use."""
    validation: tuple[str, ...]
    """The films it was scored on."""
    scores: dict[str, DegradationScores] = Field(default_factory=dict)
    """Scores by degradation; empty if no film was held out."""
    pictures: dict[str, PictureScores] = Field(default_factory=dict)
    """Perceptual scores by degradation, measured by `tools/compare_models.py`."""


def read_card(path: Path) -> Card:
    """Read a card from a TOML file; raises `ConfigError` for an invalid one."""
    return load_toml(path, Card)


def write_card(path: Path, card: Card) -> None:
    """Write a card as TOML, atomically. Raises `OutputError`."""
    tree = card.model_dump(mode="json")
    groups = {name: tree.pop(name) for name in ("scores", "pictures")}
    tables = {
        f"{name}.{degradation}": values
        for name, group in groups.items()
        for degradation, values in group.items()
    }
    write_tables(path, tree, tables)


def write_tables(
    path: Path, values: Mapping[str, object], tables: Mapping[str, Mapping[str, object]]
) -> None:
    """Write TOML atomically: values at the top, then tables with their headings.

    Raises `OutputError`.
    """
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    for heading, table in tables.items():
        lines += [""] if lines else []
        lines += [f"[{heading}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    write_text(path, "\n".join(lines) + "\n")


def _toml(value: object) -> str:
    """Format a string, a number or a list of strings: as in JSON, except for NaN."""
    if isinstance(value, list):
        return "[\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]" if value else "[]"
    return "nan" if value is None or value != value else json.dumps(value, ensure_ascii=False)
