"""Configurations: TOML files read into strict, frozen classes."""

import tomllib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vsr.errors import ConfigError


class Config(BaseModel):
    """Base of all configurations: strict and frozen.

    Unknown keys are refused, and so are infinite values and NaN. Keys are a file format (recipes,
    cards, model files, data-set indices, training states). A field that is renamed keeps its key:
    `channels: int = Field(alias="features")`.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


ConfigType = TypeVar("ConfigType", bound=Config)


def load_toml(path: Path, kind: type[ConfigType], overrides: Sequence[str] = ()) -> ConfigType:
    """Read `path` as a `kind`; each override is a `key.key=value` that replaces a value.

    Values of overrides are TOML (`training.batch=4`); what isn't valid TOML is text.
    Raises `ConfigError` naming the key, what was given and what is allowed.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ConfigError(f"{path}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for override in overrides:
        _apply(tree, override)
    return parse(tree, kind, str(path))


def parse(tree: dict[str, Any], kind: type[ConfigType], where: str) -> ConfigType:
    """Turn a tree of plain values into a `kind`; errors name `where` and the key."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_describe(error, kind)}") from error


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: expected key=value, such as training.batch=4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, name = key.strip().split(".")
    for table in tables:
        tree = tree.setdefault(table, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override}: {table} is a value, not a table")
    tree[name] = value


def _describe(error: ValidationError, kind: type[Config]) -> str:
    """The first fault of `error` in one line, and how many more there are."""
    faults = error.errors()
    fault = faults[0]
    place = [str(part) for part in fault["loc"]]
    key = ".".join(place)
    if fault["type"] == "extra_forbidden":
        allowed = sorted(_keys_at(kind, fault["loc"][:-1]))
        near = get_close_matches(place[-1], allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(allowed)}"
        line = f"unknown key {key}{hint}"
    elif fault["type"] == "missing":
        line = f"{key} is missing"
    else:
        reason = fault["msg"].removeprefix("Value error, ")
        given = f"{key} = {fault['input']!r}"
        if isinstance(fault["input"], dict):  # of several keys, which the reason names
            given = key
        line = f"{given}: {reason}" if given else reason
    return line + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def _keys_at(kind: type[Config], location: Iterable[int | str]) -> set[str]:
    """The keys allowed at `location`, as far as plain nested tables go."""
    current = kind
    for part in location:
        annotation = _keys_of(current).get(str(part))
        if not (isinstance(annotation, type) and issubclass(annotation, Config)):
            return set()
        current = annotation
    return set(_keys_of(current))


def _keys_of(kind: type[Config]) -> dict[str, Any]:
    """The types of a configuration's values by their keys."""
    return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
