"""The models that ship: their weights, and a card each that says what they are."""

from pathlib import Path
from typing import Any

from vsr.checkpoint import load_generator
from vsr.errors import ModelError
from vsr.models import Generator
from vsr.zoo.card import Card, read_card

_HERE = Path(__file__).parent
_MOST_LINES_FOR_X4 = 576


def list_models() -> list[Card]:
    """The cards of all models that ship, by name."""
    cards = [read_card(path) for path in (_HERE / "cards").glob("*.toml")]
    return sorted(cards, key=lambda card: card.name)


def default_model(scale: int | None, height: int) -> str:
    """The model for a film of `height` lines: x4 up to 576, x2 above, unless `scale` says."""
    return f"tiny-x{scale or (4 if height <= _MOST_LINES_FOR_X4 else 2)}"


def load(name: str | Path, scale: int | None = None) -> Generator[Any]:
    """The generator of a model that ships, or of a file; evaluation mode, CPU, f32.

    A name holds no path separator and no `.safetensors`. Raises `ModelError` where
    there is none such, or where it doesn't upscale by `scale`.
    """
    text = str(name)
    if text.endswith(".safetensors") or "/" in text or "\\" in text:
        path = Path(text)
    else:
        path = _HERE / "weights" / f"{text}.safetensors"
        if not path.is_file():
            known = ", ".join(card.name for card in list_models()) or "none"
            raise ModelError(f"unknown model {text!r}; there are: {known}; or give a file")
    generator = load_generator(path)
    if scale is not None and generator.scale != scale:
        raise ModelError(f"{text} upscales by {generator.scale}, not by {scale}")
    return generator


__all__ = ["Card", "default_model", "list_models", "load", "read_card"]
