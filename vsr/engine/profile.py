"""Profiles: options of `vsr upscale` for a type of source, in TOML files."""

import os
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import create_model

from vsr.config import Config, load_toml
from vsr.engine.upscale_options import UpscaleOptions
from vsr.errors import ConfigError
from vsr.media.encode.settings import EncoderSettings

_FOLDER = Path(__file__).parents[1] / "profiles"
_SUMMARY = "summary"
_OPTION_NAMES = {"tiling": "tile"}
"""Options of the command line whose names differ from those of their fields."""

_NOT_IN_PROFILES = {"settings", "part", "options"}
"""Fields without a key: a part belongs to one film, and encoder options are a list."""

SIZE_KEYS = frozenset({"scale", "width", "height", "size"})
"""Keys that exclude each other."""
ENCODER_KEYS = frozenset(field.name for field in fields(EncoderSettings))
"""Keys that belong to the encoder."""


def list_profiles() -> dict[str, str]:
    """Return the summaries of the included profiles by name."""
    return {path.stem: str(_read(path)[_SUMMARY]) for path in sorted(_FOLDER.glob("*.toml"))}


def profile_path(name: str) -> Path:
    """Return the file of an included profile, or the file itself; raises `ConfigError`."""
    if name.endswith(".toml") or os.sep in name or "/" in name:
        return Path(name)
    path = _FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(list_profiles())
        raise ConfigError(f"unknown profile {name!r}; there are: {known}; or name a .toml file")
    return path


def read_profile(name: str) -> dict[str, Any]:
    """Read the options of a profile, by their names on the command line.

    Only options that the profile sets are included. Raises `ConfigError`.
    """
    options = _read(profile_path(name))
    options.pop(_SUMMARY, None)
    return options


def load_profile(name: Path | str) -> dict[str, Any]:
    """Load a profile as keyword arguments of `vsr.upscale_video`.

    `name` is that of an included profile (`vsr profiles`), or a TOML file. Replace an option by
    `load_profile("vhs") | {"scale": 2}`. Raises `VsrError`.
    """
    return as_keywords(read_profile(str(name)))


def as_keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options by their names in profiles to keyword arguments of `UpscaleOptions`.

    Raises `ConfigError` for values of a wrong type.
    """
    options = dict(options)
    settings = {key: options.pop(key) for key in ENCODER_KEYS & options.keys()}
    for field, option in _OPTION_NAMES.items():
        if option in options:
            options[field] = options.pop(option)
    return options | ({"settings": EncoderSettings(**settings)} if settings else {})


def without_overridden(
    profile: Mapping[str, Any], given: Mapping[str, Any], suffix: str, to_pipe: bool = False
) -> dict[str, Any]:
    """Return the options of a profile that are in effect beside those that a user gave.

    `given` holds the user's options by name. An option that is given overrides the profile's, and
    those of the profile that belong to it: a size excludes the others, another codec has other
    values, and a named model has one scale and may have no twin. `suffix` is that of the output.
    """
    overridden = set(given)
    codec = given.get("codec")
    codec = codec or ("av1" if suffix == ".webm" and profile.get("codec") != "av1" else None)
    if to_pipe or (codec and codec != profile.get("codec", "h264")):
        overridden |= ENCODER_KEYS
    if given.keys() & SIZE_KEYS:
        overridden |= SIZE_KEYS
    if given.get("model") not in (None, "fast", "best"):
        overridden |= {"scale", "detail"}
    return {key: value for key, value in profile.items() if key not in overridden}


def _read(path: Path) -> dict[str, Any]:
    return load_toml(path, _profile_type()).model_dump(exclude_unset=True)


@cache
def _profile_type() -> type[Config]:
    """Return the class of profiles: a key for each option, of the same type."""
    keys: dict[str, Any] = {}
    for options in (UpscaleOptions, EncoderSettings):
        types = get_type_hints(options, include_extras=True)
        for field in fields(options):
            if field.name not in _NOT_IN_PROFILES:
                key = _OPTION_NAMES.get(field.name, field.name)
                keys[key] = types[field.name], field.default
    return create_model("Profile", __base__=Config, summary=(str, ""), **keys)
