"""The models that ship: their weights, and a card each that says what they are."""

from pathlib import Path
from typing import Any

from vsr.errors import ModelError
from vsr.models import Generator
from vsr.zoo.card import Card, read_card
from vsr.zoo.model_file import load_generator

_HERE = Path(__file__).parent
_MOST_LINES_FOR_X4 = 576

QUALITIES = {"fast": "tiny", "best": "base"}
"""Families of models by what they are chosen for, the fastest first."""
DEFAULT_QUALITY = "fast"


def list_models() -> list[Card]:
    """The cards of all models that ship, by name."""
    cards = [read_card(path) for path in (_HERE / "cards").glob("*.toml")]
    return sorted(cards, key=lambda card: card.name)


def choose_model(name: str | None, scale: int | None, height: int) -> str:
    """The model for a film or picture of `height` lines, by what was asked for.

    `fast` and `best` name the first and the last family of `QUALITIES` that ships at the scale;
    that is `scale`, or 4 up to 576 lines and 2 above. None is `DEFAULT_QUALITY`; any other name is
    returned as it is.
    """
    quality = name or DEFAULT_QUALITY
    if quality not in QUALITIES:
        return quality
    scale = scale or (4 if height <= _MOST_LINES_FOR_X4 else 2)
    shipped = {card.name for card in list_models()}
    families = [f for f in QUALITIES.values() if f"{f}-x{scale}" in shipped]
    family = QUALITIES[quality]
    return f"{family if family in families else families[-1]}-x{scale}"


def load(name: str | Path, scale: int | None = None, detail: float = 0.0) -> Generator[Any]:
    """The generator of a model that ships, or of a file; evaluation mode, CPU, f32.

    A name holds no path separator and no `.safetensors`; `fast` and `best` are names, see
    `choose_model`. `detail` goes from the model's own
    weights, 0, to those of its twin `NAME-gan`, 1, which invents what can't be known: between
    the two, weights are interpolated (Wang et al., ESRGAN, 2018). Raises `ModelError` where
    there is none such, where it doesn't upscale by `scale`, or where it has no twin.
    """
    text = choose_model(str(name), scale, 0)
    path = model_path(text)
    generator = load_generator(path)
    if scale is not None and generator.scale != scale:
        raise ModelError(f"{text} upscales by {generator.scale}, not by {scale}")
    if not 0 <= detail <= 1:
        raise ModelError(f"detail is between 0 and 1, not {detail}")
    if detail:
        twin = path.with_name(f"{path.stem}-gan{path.suffix}")
        if not twin.is_file():
            raise ModelError(f"{text} has no twin for detail ({twin.name}); leave detail at 0")
        _interpolate(generator, load_generator(twin), detail, twin)
    return generator


def model_path(text: str) -> Path:
    """The file of a model that ships, by name, or the file itself; raises `ModelError`."""
    if text.endswith(".safetensors") or "/" in text or "\\" in text:
        return Path(text)
    path = _HERE / "weights" / f"{text}.safetensors"
    if not path.is_file():
        known = ", ".join(card.name for card in list_models()) or "none"
        raise ModelError(f"unknown model {text!r}; there are: {known}; or give a file")
    return path


def _interpolate(
    generator: Generator[Any], other: Generator[Any], share: float, where: Path
) -> None:
    """Move the weights of a generator towards those of another of its shape."""
    own, theirs = generator.state_dict(), other.state_dict()
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in theirs.items()}:
        raise ModelError(f"{where}: has another shape than the model that it is to be a twin of")
    generator.load_state_dict({key: own[key].lerp(theirs[key], share) for key in own})
    generator.int8_ranges = {
        name: (min(least, other.int8_ranges[name][0]), max(most, other.int8_ranges[name][1]))
        for name, (least, most) in generator.int8_ranges.items()
        if name in other.int8_ranges
    }


__all__ = [
    "DEFAULT_QUALITY",
    "QUALITIES",
    "Card",
    "choose_model",
    "list_models",
    "load",
    "model_path",
    "read_card",
]
