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


def load(name: str | Path, scale: int | None = None, detail: float = 0.0) -> Generator[Any]:
    """The generator of a model that ships, or of a file; evaluation mode, CPU, f32.

    A name holds no path separator and no `.safetensors`. `detail` goes from the model's own
    weights, 0, to those of its twin `NAME-gan`, 1, which invents what can't be known: between
    the two, weights are interpolated (Wang et al., ESRGAN, 2018). Raises `ModelError` where
    there is none such, where it doesn't upscale by `scale`, or where it has no twin.
    """
    text = str(name)
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
    generator.ranges = {
        name: (min(least, other.ranges[name][0]), max(most, other.ranges[name][1]))
        for name, (least, most) in generator.ranges.items()
        if name in other.ranges
    }


__all__ = ["Card", "default_model", "list_models", "load", "model_path", "read_card"]
