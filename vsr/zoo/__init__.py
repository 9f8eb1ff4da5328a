"""Included models: their weights, and a model card each."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import ModelError
from vsr.system.files import file_stamp
from vsr.zoo.card import Card, read_card
from vsr.zoo.formats import MODEL_SUFFIXES
from vsr.zoo.shelf import (
    ShelfCard,
    add_model,
    check_digest,
    describe_file,
    list_shelf,
    read_shelf_card,
    shelf_path,
)

if TYPE_CHECKING:
    from vsr.models import Generator

_FOLDER = Path(__file__).parent
_MAX_HEIGHT_FOR_X4 = 576
_LARGEST_SCALE = 4
_FILTER_MODEL = "tiny-x4"
"""Model whose motion network and temporal filter steady other networks."""

QUALITIES = {"fast": "tiny", "best": "base"}
"""Families of models by quality, the fastest first."""
DEFAULT_QUALITY = "fast"


def list_models() -> list[Card]:
    """List the cards of all included models, sorted by name."""
    cards = [read_card(path) for path in (_FOLDER / "cards").glob("*.toml")]
    return sorted(cards, key=lambda card: card.name)


def add_to_shelf(file: Path, name: str | None, licence: str | None = None) -> ShelfCard:
    """Copy a model file to the user's own models, see `zoo.shelf.add_model`. Raises `VsrError`."""
    return add_model(file, name, licence, [*QUALITIES, *(card.name for card in list_models())])


def find_card(model: str) -> Card | ShelfCard:
    """Return the card of a model by name, or describe a file. Raises `VsrError`."""
    path = model_path(choose_model(model, None, 0))
    cards = {card.name: card for card in list_models()}
    if not _is_file_name(model) and path.stem in cards and path.parent.parent == _FOLDER:
        return cards[path.stem]
    return (None if _is_file_name(model) else read_shelf_card(model)) or describe_file(path)


def choose_model(
    name: str | None, scale: int | None, height: int, detail: float | None = None
) -> str:
    """Choose the model for a film or picture of `height` lines.

    The names `fast` and `best` select the first and the last family of `QUALITIES` with a model
    that computes `scale`: of the family's included models that of exactly this scale, or else that
    of x4, see `models.folding`. With `detail`, it is one that has a twin. By default, `scale` is
    `default_scale`. None is `DEFAULT_QUALITY`. Any other name is returned unchanged.
    """
    quality = name or DEFAULT_QUALITY
    if quality not in QUALITIES:
        return quality
    wanted = min(scale or default_scale(height), _LARGEST_SCALE)
    included = {card.name: card.scale for card in list_models()}
    for scale in (wanted, _LARGEST_SCALE):
        model = f"{QUALITIES[quality]}-x{scale}"
        if model in included and (not detail or f"{model}-gan" in included):
            return model
    raise ModelError(f"no model of {quality} computes x{wanted}")


def default_scale(height: int) -> int:
    """Return the default scale of films of `height` lines: 4 up to 576 lines, 2 above."""
    return _LARGEST_SCALE if height <= _MAX_HEIGHT_FOR_X4 else 2


def default_detail(name: str, scale: int | None = None) -> float:
    """Return the `detail` that an included model is upscaled with by default; 0 for a file.

    It is 0 as well at a `scale` below that of the model.
    """
    cards = {card.name: card for card in list_models()}
    if name not in cards or (scale is not None and scale < cards[name].scale):
        return 0.0
    return cards[name].default_detail


def load(
    name: str | Path,
    scale: int | None = None,
    detail: float = 0.0,
    denoise: float | None = None,
    steady: float = 0.0,
) -> "Generator[Any]":
    """Load the generator of a named model or of a file, in evaluation mode, on the CPU in f32.

    A name holds no path separator and no suffix of a model file; `fast` and `best` are names, see
    `choose_model`. Included models precede the user's own, see `zoo.shelf`. A `scale` below that of
    the model gives a generator of that scale, whose output is the model's, resampled, see
    `models.folding`. `detail` interpolates between the model's own weights, 0, and those of its
    twin `NAME-gan`, 1, which invents plausible texture (Wang et al., ESRGAN, 2018). `denoise`
    changes the weight of previous frames in the model's temporal filter: 0 is none, 0.5 as trained,
    1 the most. `steady` above 0 filters the output of a network of single pictures along motion,
    with that strength, see `models.steady`. Raises `ModelError` if there is no such model, if its
    scale is below `scale`, if it lacks the twin or the filter, or if `steady` is for another model.
    """
    from vsr.models import CommunityNetwork  # here: models are listed without torch
    from vsr.models.folding import with_scale
    from vsr.zoo.files import read_generator
    from vsr.zoo.model_file import load_generator

    text = choose_model(str(name), scale, 0, detail)
    path = model_path(text)
    if not _is_file_name(text) and (card := read_shelf_card(text)) and path == shelf_path(card):
        check_digest(card)
    generator = read_generator(path)
    if scale is not None and scale not in range(1, generator.scale + 1):
        raise ModelError(f"{text} upscales by 1 to {generator.scale}, not by {scale}")
    if not 0 <= detail <= 1:
        raise ModelError(f"detail is between 0 and 1, not {detail}")
    if detail:
        twin = path.with_name(f"{path.stem}-gan{path.suffix}")
        if not twin.is_file() or isinstance(generator, CommunityNetwork):
            raise ModelError(f"{text} has no twin for detail ({twin.name}); leave detail at 0")
        _interpolate(generator, load_generator(twin), detail, twin)
    if denoise is not None:
        _set_denoise(generator, denoise, text)
    scaled = with_scale(generator, scale or generator.scale)
    return _steadied(scaled, steady, text) if steady else scaled


def model_path(text: str) -> Path:
    """Return the file of a model by name, included or the user's own, or the file itself.

    Raises `VsrError`.
    """
    if _is_file_name(text):
        return Path(text)
    path = _FOLDER / "weights" / f"{text}.safetensors"
    if path.is_file():
        return path
    if (card := read_shelf_card(text)) is not None:
        return shelf_path(card)
    names = [card.name for card in list_models()] + [card.name for card in list_shelf()]
    known = ", ".join([*QUALITIES, *names])
    raise ModelError(f"unknown model {text!r}; there are: {known}; or give a file")


def own_file(model: str | None) -> Path | None:
    """Return the file of a model that another machine lacks; None for included models.

    Raises `VsrError`.
    """
    path = model_path(choose_model(model, None, 0))
    return None if path.parent == _FOLDER / "weights" else path


def model_stamp(model: str | None) -> tuple[str, int, int] | None:
    """Return what identifies the content of a model's file; None for included models.

    Raises `VsrError`.
    """
    path = own_file(model)
    return None if path is None else file_stamp(path)


def _is_file_name(text: str) -> bool:
    return text.lower().endswith(MODEL_SUFFIXES) or "/" in text or "\\" in text


def _set_denoise(generator: "Generator[Any]", denoise: float, name: str) -> None:
    if not 0 <= denoise <= 1:
        raise ModelError(f"denoise is between 0 and 1, not {denoise}")
    if not generator.filters_input:
        known = (card.name for card in list_models() if card.scale == generator.scale)
        advice = (
            f", or use a model that has one, such as {first}" if (first := next(known, "")) else ""
        )
        raise ModelError(f"{name} has no temporal filter; leave out denoise{advice}")
    generator.set_denoise(denoise)


def _steadied(generator: "Generator[Any]", strength: float, name: str) -> "Generator[Any]":
    """Filter the output of a generator by motion and filter of an included model."""
    if not 0 <= strength <= 1:
        raise ModelError(f"steady is between 0 and 1, not {strength}")
    if generator.is_recurrent:
        advice = "leave it out" + (", or for a film use denoise" if generator.filters_input else "")
        raise ModelError(f"steady is for models of single pictures; {name} has a memory: {advice}")
    from vsr.models import Recurrent
    from vsr.models.steady import Steadied
    from vsr.zoo.model_file import load_generator

    trained = load_generator(_FOLDER / "weights" / f"{_FILTER_MODEL}.safetensors")
    assert isinstance(trained, Recurrent)
    trained.set_denoise(strength)
    assert trained.steady is not None
    return Steadied(generator, trained.flow, trained.steady).eval()


def _interpolate(
    generator: "Generator[Any]", twin: "Generator[Any]", weight: float, twin_path: Path
) -> None:
    """Interpolate a generator's weights towards those of its twin."""
    own, others = generator.state_dict(), twin.state_dict()
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in others.items()}:
        raise ModelError(f"{twin_path}: its shape differs from that of the model it is a twin of")
    generator.load_state_dict({key: own[key].lerp(others[key], weight) for key in own})
    generator.int8_ranges = {
        name: (min(least, twin.int8_ranges[name][0]), max(greatest, twin.int8_ranges[name][1]))
        for name, (least, greatest) in generator.int8_ranges.items()
        if name in twin.int8_ranges
    }


__all__ = [
    "DEFAULT_QUALITY",
    "QUALITIES",
    "Card",
    "ShelfCard",
    "add_to_shelf",
    "choose_model",
    "default_detail",
    "default_scale",
    "find_card",
    "list_models",
    "load",
    "model_path",
    "model_stamp",
    "own_file",
    "read_card",
]
