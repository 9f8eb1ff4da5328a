"""The user's own models, kept in the data folder under names, each with a hash and a card."""

import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import Field

from vsr.config import Config, load_toml
from vsr.errors import ConfigError, ModelError, first_line
from vsr.system.cache import data_folder
from vsr.system.files import atomic_path, make_folder, output_errors
from vsr.zoo.card import write_tables
from vsr.zoo.formats import MODEL_SUFFIXES, file_digest

if TYPE_CHECKING:
    from vsr.models import Generator

_NAME = r"[a-z0-9][a-z0-9-]*"
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
_LONGEST_NAME = 60
"""Names are those that the server accepts as well."""
_PROBE_SIZE = (24, 32)
"""Height and width of the picture that an added model must compute."""


class ShelfCard(Config):
    """The card of a user's own model."""

    name: str
    suffix: str = Field(pattern=r"^\.[a-z]+$")
    """Suffix of the file, in lower case."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Hash of the file."""
    bytes: int
    """Size of the file."""
    architecture: str
    """Name of the network's architecture."""
    scale: int
    parameters: int
    """Weights; 0 for ONNX files."""
    sizes: str
    """Sizes of pictures that are computed without padding."""
    half: bool
    """Whether it computes in f16 on a GPU."""
    licence: str
    """Licence of the weights; empty if unknown."""
    source: str
    """Name of the file that was added."""
    added: str
    """Date, YYYY-MM-DD."""


def shelf_folder() -> Path:
    """Return the folder of the user's own models; it may not exist yet."""
    return data_folder("models")


def list_shelf() -> list[ShelfCard]:
    """List the cards of the user's own models, sorted by name. Raises `ConfigError`."""
    cards = [_read_card(path) for path in shelf_folder().glob("*.toml")]
    return sorted(cards, key=lambda card: card.name)


def read_shelf_card(name: str) -> ShelfCard | None:
    """Read the card of a user's own model; None if there is none. Raises `ConfigError`."""
    if not re.fullmatch(_NAME, name) or not (path := _card_path(name)).is_file():
        return None
    return _read_card(path)


def _read_card(path: Path) -> ShelfCard:
    try:
        card = load_toml(path, ShelfCard)
    except ConfigError as error:
        raise ConfigError(f"{error}; delete this card, and add the model again") from error
    if card.name != path.stem:
        raise ConfigError(f"{path}: is the card of {card.name!r}; delete it")
    return card


def shelf_path(card: ShelfCard) -> Path:
    """Return the file of a user's own model."""
    return shelf_folder() / f"{card.name}{card.suffix}"


def check_digest(card: ShelfCard) -> None:
    """Raise `ModelError` if the file of a model differs from the one that was added."""
    path = shelf_path(card)
    if not path.is_file():
        raise ModelError(f"{path}: is missing; remove {card.name}, and add it again")
    if file_digest(path) != card.sha256:
        raise ModelError(
            f"{path}: has changed since it was added; remove {card.name}, and add it again"
        )


def add_model(
    source: Path, name: str | None, licence: str | None, taken: Collection[str]
) -> ShelfCard:
    """Copy a model file to the shelf, after loading it and computing a small picture.

    `name` is by default that of the file. `licence` is that of the weights, by default as the file
    names it. `taken` are names that can't be used. Raises `VsrError`.
    """
    name = name or default_name(source)
    if not re.fullmatch(_NAME, name) or len(name) > _LONGEST_NAME:
        raise ModelError(
            f"{name!r} can't be a name: use --name with lower-case letters, digits and hyphens, "
            f"at most {_LONGEST_NAME}"
        )
    if name in taken:
        raise ModelError(f"{name} is the name of an included model; use another --name")
    if _RESERVED.fullmatch(name):
        raise ModelError(f"{name} is a device on Windows; use another --name")
    _check_absent(name)
    from vsr.zoo.files import read_generator  # here: cards are listed without torch

    generator = read_generator(source)
    _check_output(generator, source)
    card = _describe(generator, source, name, licence)
    folder = shelf_folder()
    make_folder(folder)
    with _locked():
        _check_absent(name)  # another process may have added it
        with atomic_path(shelf_path(card)) as partial:
            shutil.copyfile(source, partial)
            if file_digest(partial) != card.sha256:
                raise ModelError(f"{source}: changed while it was copied; add it again")
        # A model without a card is no model: the card is written last, and removed first.
        write_tables(_card_path(name), card.model_dump(mode="json"), {})
    return card


def _check_absent(name: str) -> None:
    if read_shelf_card(name) is not None:
        raise ModelError(f"{name} exists; use another --name, or: vsr models remove {name}")


@contextmanager
def _locked() -> Iterator[None]:
    """Exclude other processes that add or remove models."""
    path = shelf_folder().with_suffix(".lock")
    with output_errors(path), FileLock(path):
        yield


def describe_file(source: Path, name: str | None = None, licence: str | None = None) -> ShelfCard:
    """Load a model file, and describe it as its card does. Raises `ModelError`."""
    from vsr.zoo.files import read_generator  # here: cards are listed without torch

    name = name or default_name(source)
    return _describe(read_generator(source), source, name, licence)


def remove_model(name: str) -> None:
    """Remove a model from the shelf. Raises `ModelError` if there is none of this name."""
    path = _card_path(name)
    if not re.fullmatch(_NAME, name) or not path.is_file():
        known = ", ".join(sorted(file.stem for file in shelf_folder().glob("*.toml"))) or "none"
        raise ModelError(f"{name!r} is none of your own models; there are: {known}")
    with _locked():
        path.unlink(missing_ok=True)
        for suffix in MODEL_SUFFIXES:
            (shelf_folder() / f"{name}{suffix}").unlink(missing_ok=True)


def default_name(source: Path) -> str:
    """Return the name for a file: its own in lower case, other characters replaced by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", source.stem.lower()).strip("-")[:_LONGEST_NAME].rstrip("-")


def _check_output(generator: "Generator[Any]", source: Path) -> None:
    """Compute a small picture; raise `ModelError` if that fails, or if the output is no picture."""
    import torch  # here: cards are listed without torch

    low = torch.full((1, 3, *_PROBE_SIZE), 0.5)
    try:
        with torch.inference_mode():
            high, _ = generator.step(low, generator.start(low))
    except Exception as error:  # whatever unusual weights lead to
        raise ModelError(f"{source}: can't compute a picture: {first_line(error)}") from error
    if high.shape[-2:] != tuple(generator.scale * side for side in _PROBE_SIZE):
        raise ModelError(
            f"{source}: its output isn't {generator.scale} times as large as its input"
        )
    if not bool(high.isfinite().all()):
        raise ModelError(f"{source}: its output has values that aren't finite numbers")


def _describe(
    generator: "Generator[Any]", source: Path, name: str, licence: str | None
) -> ShelfCard:
    from vsr.models import CommunityNetwork
    from vsr.zoo.community import describe_sizes
    from vsr.zoo.model_file import read_origin

    facts = generator.facts if isinstance(generator, CommunityNetwork) else None
    origin = read_origin(source) if facts is None else None
    found = facts.licence if facts else origin.licence if origin else ""
    return ShelfCard(
        name=name,
        suffix=source.suffix.lower(),
        sha256=file_digest(source),
        bytes=source.stat().st_size,
        architecture=facts.architecture if facts else generator.architecture,
        scale=generator.scale,
        parameters=sum(weight.numel() for weight in generator.parameters()),
        sizes=describe_sizes(facts.sizes) if facts else "any",
        half=generator.supports_half,
        licence=_one_line(licence or found),
        source=_one_line(source.name),
        added=date.today().isoformat(),
    )


def _one_line(text: str) -> str:
    """Replace line breaks, control characters and undecodable bytes of file names."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _card_path(name: str) -> Path:
    return shelf_folder() / f"{name}.toml"
