"""Read a generator from a file of any known format."""

from pathlib import Path
from typing import Any

from vsr.errors import ModelError
from vsr.models import Generator
from vsr.zoo.community import read_community_model
from vsr.zoo.formats import MODEL_SUFFIXES, PICKLE_SUFFIXES
from vsr.zoo.model_file import is_own_model, load_generator
from vsr.zoo.onnx_file import read_onnx_model


def read_generator(path: Path) -> Generator[Any]:
    """Read the generator in a file, in evaluation mode, on the CPU in f32.

    It is one of vsr's, one that spandrel reads, or an ONNX file. Raises `ModelError`.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return read_onnx_model(path)
    if suffix in PICKLE_SUFFIXES or (suffix == ".safetensors" and not is_own_model(path)):
        return read_community_model(path)
    if suffix != ".safetensors":
        raise ModelError(f"{path}: unknown model format; use {', '.join(MODEL_SUFFIXES)}")
    return load_generator(path)
