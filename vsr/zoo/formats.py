"""Files of models, known by their suffix and their hash."""

import hashlib
from pathlib import Path

from vsr.errors import ModelError

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
"""Suffixes of torch's own files."""
MODEL_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES, ".onnx")
"""Suffixes of the files that are read, in lower case."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises `ModelError`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from error
