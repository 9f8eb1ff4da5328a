"""Model files: the weights in safetensors, and the configuration in its metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vsr.config import Config
from vsr.errors import ModelError
from vsr.models import Generator, GeneratorConfig, build_generator
from vsr.system.files import atomic_path

_CONFIG_KEY = "vsr.generator"
_RANGES_KEY = "vsr.ranges"
_ORIGIN_KEY = "vsr.origin"
_MAX_RANGE = 1e9

_Least = Annotated[float, Field(le=0, ge=-_MAX_RANGE)]
_Greatest = Annotated[float, Field(ge=0, le=_MAX_RANGE)]
_RANGES = TypeAdapter(dict[str, tuple[_Least, _Greatest]])


class Origin(Config):
    """The origin of a model file's weights."""

    name: str
    licence: str
    """Licence of the weights, as an SPDX identifier if there is one."""
    source: str
    """Authors, and the original file or package."""


def save_generator(
    path: Path,
    weights: Mapping[str, Tensor],
    config: GeneratorConfig,
    origin: Origin | None = None,
) -> None:
    """Write weights and configuration atomically. Raises `OutputError`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    metadata = {_CONFIG_KEY: config.model_dump_json()}
    if origin is not None:
        metadata[_ORIGIN_KEY] = origin.model_dump_json()
    _write(path, tensors, metadata)


def read_origin(path: Path) -> Origin | None:
    """Read the origin of a model file; None if it names none. Raises `ModelError`."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_ORIGIN_KEY)
        return None if text is None else Origin.model_validate_json(text)
    except (SafetensorError, OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: its origin can't be read: {reason}") from error


def read_config(path: Path) -> GeneratorConfig:
    """Read the configuration of the generator in a file. Raises `ModelError`."""
    try:
        with safe_open(path, framework="pt") as file:
            return _config(file.metadata() or {}, path)
    except (SafetensorError, OSError, ValueError) as error:
        reason = _first_line(error)
        raise ModelError(f"{path}: its configuration can't be read: {reason}") from error


def add_ranges(path: Path, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Store `Generator.int8_ranges` in a model file and keep all else."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    _write(path, tensors, metadata | {_RANGES_KEY: json.dumps(dict(ranges))})


def is_own_model(path: Path) -> bool:
    """Whether a safetensors file has a configuration of vsr, or is no safetensors file at all."""
    try:
        with safe_open(path, framework="pt") as file:
            return _CONFIG_KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return True


def load_generator(path: Path) -> Generator[Any]:
    """Load the generator in a file, in evaluation mode, on the CPU in f32.

    Raises `ModelError` if the file is missing, isn't a model of vsr, or doesn't match its own
    configuration.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            config = _config(metadata, path)
            generator = build_generator(config)
            generator.int8_ranges = _RANGES.validate_json(metadata.get(_RANGES_KEY, "{}"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            generator.load_state_dict(weights)
            if not all(bool(weight.isfinite().all()) for weight in weights.values()):
                raise ModelError(f"{path}: holds weights that aren't finite numbers")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a model file (safetensors): {error}") from error
    except ModelError:
        raise
    except (ValueError, RuntimeError, TypeError, ArithmeticError, MemoryError) as error:
        reason = _first_line(error)
        raise ModelError(f"{path}: made for another version of vsr: {reason}") from error
    return generator.eval().float()


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic_path(path) as partial:
        partial.write_bytes(save(tensors, metadata))  # save_file's files are private to the user


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".lstrip(": ")
    return (str(error) or type(error).__name__).splitlines()[0]


def _config(metadata: Mapping[str, str], path: Path) -> GeneratorConfig:
    text = metadata.get(_CONFIG_KEY)
    if text is None:
        raise ModelError(f"{path}: a safetensors file, but not one of vsr's models")
    config: GeneratorConfig = TypeAdapter(GeneratorConfig).validate_json(text)
    return config
