"""The card of a model: what it is, what it learnt from, and what was measured."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field

from vsr.config import Config, load_toml
from vsr.system.files import write_text


class DegradationScores(Config):
    """On films never learnt from, by one degradation: means over films of means over frames."""

    model_config = ConfigDict(allow_inf_nan=True)  # NaN where a score wasn't measured

    psnr_y: float
    """Luma PSNR in dB."""
    ssim_y: float
    tof: float
    """Pixels; lower is better."""
    sharpness: float = math.nan
    """Energy over the target's in the upper half of the spectrum; 1 is best."""
    warping_error: float = math.nan
    """1000 times the squared change along the target's motion; lower is steadier."""
    flicker: float = math.nan
    """Change along the input's motion in code values, less bicubic's."""
    bicubic_psnr_y: float
    """Of bicubic interpolation on the same frames, as the next."""
    bicubic_ssim_y: float
    bicubic_tof: float
    bicubic_sharpness: float = math.nan
    bicubic_warping_error: float = math.nan
    bicubic_flicker: float = math.nan
    frames: int = 0
    """Of each film, from its start; 0 is all of it."""

    @property
    def gain(self) -> float:
        """Luma PSNR over bicubic, in dB."""
        return self.psnr_y - self.bicubic_psnr_y


class PictureScores(Config):
    """What the first frames of held-out films look like, beside other ways to upscale them."""

    model_config = ConfigDict(allow_inf_nan=True)  # NaN where a score wasn't measured

    frames: int
    """Of each film, from its start."""
    psnr_y: float
    """Luma PSNR in dB."""
    bicubic_psnr_y: float
    """Of bicubic interpolation of the same frames."""
    features: float
    """Distance of VGG-16's unit features; lower is better."""
    sharpness: float
    """Energy over the target's in the upper half of the spectrum."""
    flicker: float
    """Change along the input's motion in code values, less bicubic's."""
    excess_flicker: float
    """Flicker above that of the target blurred to the same sharpness, in code values."""
    tof: float
    """Distance of the motion from the target's in pixels."""
    cvvdp: float
    """ColorVideoVDP in JOD; 10 is no visible difference."""
    memory_gain: float = math.nan
    """Luma PSNR in dB over the same network with every frame a cut."""

    @property
    def gain(self) -> float:
        """Luma PSNR over bicubic, in dB."""
        return self.psnr_y - self.bicubic_psnr_y


class Card(Config):
    """All that a model says of itself."""

    name: str
    scale: int
    summary: str
    parameters: int
    multiplies_per_pixel: int
    """Multiply-accumulates of convolutions for each low-resolution pixel."""
    licence: str
    """Of the weights."""
    machine: str
    """On which it was trained."""
    minutes: float
    """Of training."""
    iterations: int
    recipe: str
    """The command that makes it again."""
    data: tuple[str, ...]
    """What it learnt from, each with its terms."""
    validation: tuple[str, ...]
    """The films it was scored on."""
    scores: dict[str, DegradationScores] = Field(default_factory=dict)
    """By degradation; none where no film was held back."""
    pictures: dict[str, PictureScores] = Field(default_factory=dict)
    """By degradation, as `tools/compare_models.py` measures them."""


def read_card(path: Path) -> Card:
    """The card in a TOML file; raises `ConfigError` where it isn't one."""
    return load_toml(path, Card)


def write_card(path: Path, card: Card) -> None:
    """As TOML, whole or not at all. Raises `OutputError`."""
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
    """Write TOML, whole or not at all: values at the top, then tables by their headings.

    Raises `OutputError`.
    """
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    for heading, table in tables.items():
        lines += [""] if lines else []
        lines += [f"[{heading}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    write_text(path, "\n".join(lines) + "\n")


def _toml(value: object) -> str:
    """Text, numbers and lists of text are written in TOML as in JSON, but for not-a-number."""
    if isinstance(value, list):
        return "[\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]" if value else "[]"
    return "nan" if value is None or value != value else json.dumps(value, ensure_ascii=False)
