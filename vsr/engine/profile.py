"""Profiles: options of `vsr upscale` for a type of source, in TOML files."""

import os
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

_NOT_IN_PROFILES = {"settings", "part", "options", "rate"}
"""Fields without a key: part and rate belong to one film, and encoder options are a list."""

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
    options = read_profile(str(name))
    settings = {key: options.pop(key) for key in ENCODER_KEYS & options.keys()}
    for field, option in _OPTION_NAMES.items():
        if option in options:
            options[field] = options.pop(option)
    return options | ({"settings": EncoderSettings(**settings)} if settings else {})


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
