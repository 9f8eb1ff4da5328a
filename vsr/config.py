"""Read TOML files into strict, frozen configuration classes."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from vsr.errors import ConfigError


class Config(BaseModel):
    """Base of all configurations: strict and frozen.

    Unknown keys, infinite values and NaN are rejected. Keys are part of file formats (recipes,
    cards, model files, data-set indices, training states): a renamed field keeps its key by
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


def load_toml(
    path: Path, config_type: type[ConfigType], overrides: Sequence[str] = ()
) -> ConfigType:
    """Read a configuration from `path`; each override `key.key=value` replaces a value.

    Values of overrides are TOML (`training.batch=4`), or else text. Raises `ConfigError` that names
    the key, the value and the allowed values.
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
    return parse(tree, config_type, str(path))


def parse(tree: dict[str, Any], config_type: type[ConfigType], where: str) -> ConfigType:
    """Validate a tree of plain values; errors name `where` and the key."""
    try:
        return config_type.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_describe(error, config_type)}") from error


def check_dataclass(options: Any) -> None:
    """Check the types and ranges of a dataclass's fields, as its annotations state them.

    Raises `ConfigError` that names the field, the value and the allowed values.
    """
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    model = _strict_model(options.__class__)
    try:
        model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_describe(error, model)) from error


@cache
def _strict_model(options_type: type[Any]) -> type[Config]:
    hints = get_type_hints(options_type, include_extras=True)
    keys: dict[str, Any] = {field.name: (hints[field.name], ...) for field in fields(options_type)}
    return create_model(options_type.__name__, __base__=_StrictConfig, **keys)


class _StrictConfig(Config):
    """A configuration whose values are not converted."""

    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True)


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


_UNION_TAGS = {"int", "float", "str", "literal"}
"""Last parts of the locations that pydantic gives to the members of a union."""


def _describe(error: ValidationError, config_type: type[Config]) -> str:
    """Describe the first problem in one line, and count the others."""
    problems = error.errors()
    first = problems[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        allowed = sorted(_keys_at(config_type, first["loc"][:-1]))
        near = get_close_matches(location[-1], allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(allowed)}"
        line = f"unknown key {key}{hint}"
    elif first["type"] == "missing":
        line = f"{key} is missing"
    else:
        reason = first["msg"].removeprefix("Value error, ")
        if location[-1:] and location[-1].partition("[")[0] in _UNION_TAGS:
            joined = [one for one in problems if one["loc"][:-1] == first["loc"][:-1]]
            others = [one["msg"].removeprefix("Input should be ") for one in joined[1:]]
            reason, key = " or ".join([reason, *others]), ".".join(location[:-1])
            problems = [first, *(one for one in problems if one not in joined)]
        assignment = f"{key} = {first['input']!r}"
        if isinstance(first["input"], dict):  # the reason names several keys
            assignment = key
        line = f"{assignment}: {reason}" if assignment else reason
    return line + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def _keys_at(config_type: type[Config], location: Iterable[int | str]) -> set[str]:
    """Return the keys allowed at `location`, within plain nested tables."""
    current = config_type
    for part in location:
        annotation = _keys_of(current).get(str(part))
        if not (isinstance(annotation, type) and issubclass(annotation, Config)):
            return set()
        current = annotation
    return set(_keys_of(current))


def _keys_of(config_type: type[Config]) -> dict[str, Any]:
    """Return the types of a configuration's values by key."""
    return {
        field.alias or name: field.annotation for name, field in config_type.model_fields.items()
    }
