"""Files of other projects' networks: weights for the architectures of the package `spandrel`.

Weights alone are read, and no code of a file is run. The architecture is recognised by the names
and shapes of the weights.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vsr.errors import ModelError, first_line
from vsr.models.community import CommunityNetwork, Facts, SizeRules

_NOT_UPSCALING = ("GFPGAN", "RestoreFormer", "LaMa")
"""Architectures of spandrel that are refused: they restore faces, or fill holes."""
_LICENCE_KEYS = ("license", "licence", "modelspec.license")
_MAX_EXPANSION = 4
"""Bytes of weights over bytes of the file. Weights that share memory take less in a file."""
_SMALL_FILE = 4096
"""Bytes that a file may describe whatever its size."""
_INDEX = re.compile(r"(?<![^.])\d{1,9}(?![^.])")
"""An index of a layer in a name, such as `23` in `model.1.sub.23.weight`."""
_UNNAMED_LAYERS = 64
"""Layers without weights, such as activations, that the indices in names may count."""


def read_community_model(path: Path) -> CommunityNetwork:
    """Read a network by `spandrel`, in evaluation mode, on the CPU in f32.

    Raises `ModelError` for a file that is damaged, runs code, or isn't a network from RGB to RGB.
    """
    spandrel = _import_spandrel(path)
    weights, metadata = _read_weights(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Any = spandrel.MAIN_REGISTRY.load(spandrel.canonicalize_state_dict(weights))
    except spandrel.UnsupportedModelError as error:
        raise ModelError(
            f"{path}: its weights are those of no known architecture; "
            f"read are: {', '.join(known_architectures())}; and ONNX files"
        ) from error
    except Exception as error:  # whatever weights of unexpected shapes lead to
        reason = first_line(error)
        raise ModelError(f"{path}: its weights don't fit their architecture: {reason}") from error
    _check_purpose(found, path)
    tensors = found.model.state_dict().values()
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise ModelError(f"{path}: holds weights that aren't finite numbers")
    rules = found.size_requirements
    facts = Facts(
        architecture=found.architecture.name,
        scale=found.scale,
        sizes=SizeRules(max(1, rules.multiple_of), max(1, rules.minimum), rules.square),
        supports_half=found.supports_half,
        software=f"spandrel {version('spandrel')}",
        licence=next((metadata[key] for key in _LICENCE_KEYS if key in metadata), ""),
    )
    call = found._call_fn  # some architectures return more than the picture
    network = CommunityNetwork(found.model.float(), facts, call).eval().requires_grad_(False)
    _settle(network)
    return network


def _settle(network: CommunityNetwork) -> None:
    """Compute the weights that SPAN computes from others whenever it is called.

    The hash of the weights is then the same before and after the first picture.
    """
    for part in network.modules():
        if callable(update := getattr(part, "update_params", None)):
            update()


def known_architectures() -> list[str]:
    """List the names of the architectures that are read, sorted."""
    spandrel = _import_spandrel(None)
    architectures = [support.architecture for support in spandrel.MAIN_REGISTRY]
    names = [one.name for one in architectures if one.id not in _NOT_UPSCALING]
    return sorted(names, key=str.lower)


def _import_spandrel(path: Path | None) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import spandrel
    except ImportError as error:
        what = f"{path}: isn't one of vsr's own models; " if path else ""
        raise ModelError(
            f"{what}models of other projects need spandrel: pip install 'vsr[community]'"
        ) from error
    return spandrel


def _read_weights(path: Path) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Read tensors by name, and the metadata of the file."""
    metadata: dict[str, str] = {}
    try:
        if path.suffix.lower() == ".safetensors":
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                weights: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            _check_archive(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                weights = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ModelError(f"{path}: not a model file (safetensors): {error}") from error
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror or error}") from error
    except ModelError:
        raise
    except MemoryError as error:
        raise ModelError(f"{path}: its weights don't fit into memory") from error
    except Exception as error:  # the reader of pickles passes on what broken files lead to
        raise ModelError(f"{path}: {_refusal(error)}") from error
    if not isinstance(weights, dict):
        raise ModelError(f"{path}: holds no weights by name, as a .pth file of a network does")
    tensors = _named_tensors(weights)
    _check_tensors([tensor for _, tensor in tensors], path)
    _check_indices([name for name, _ in tensors], path)
    return weights, metadata


def _check_archive(path: Path) -> None:
    """Raise `ModelError` for a file that is neither an archive nor a pickle.

    An archive whose unpacked files are much larger than itself is refused as well.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_expansion(sum(entry.file_size for entry in archive.infolist()), path)
        return
    with path.open("rb") as file:
        if file.read(1) != pickle.PROTO:
            raise ModelError(f"{path}: not a model file of torch, or incomplete; get it again")


def _check_expansion(described: int, path: Path) -> None:
    if described > _MAX_EXPANSION * path.stat().st_size + _SMALL_FILE:
        raise ModelError(f"{path}: describes more weights than the file holds")


def _check_tensors(tensors: list[Tensor], path: Path) -> None:
    """Raise `ModelError` for tensors that aren't plain arrays of real numbers."""
    for tensor in tensors:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise ModelError(f"{path}: holds sparse, quantised or complex weights; use plain ones")
    _check_expansion(sum(tensor.nbytes for tensor in tensors), path)


def _check_indices(names: list[str], path: Path) -> None:
    """Raise `ModelError` for names with larger indices than there are weights.

    Architectures take their count of layers from the largest index: one small weight could demand
    all memory.
    """
    largest = max((int(digits) for name in names for digits in _INDEX.findall(name)), default=0)
    if largest > 2 * len(names) + _UNNAMED_LAYERS:
        raise ModelError(f"{path}: names layer {largest}, but holds only {len(names)} weights")


def _refusal(error: Exception) -> str:
    """Explain why a file of torch isn't read, in one line."""
    text = str(error)
    if "TorchScript" in text:
        return "is a TorchScript program; only files of weights are read, or export it to ONNX"
    if "Weights only load failed" in text or "Unsupported" in text:
        return "holds more than weights, and its code isn't run; ask for a .safetensors file"
    return f"not a model file of torch, or damaged: {first_line(error)}"


def _named_tensors(tree: Mapping[Any, Any], depth: int = 3) -> list[tuple[str, Tensor]]:
    """List the tensors in dictionaries, and in those that they contain, with their names."""
    found = []
    for name, value in tree.items():
        if isinstance(value, Tensor):
            found.append((str(name), value))
        elif isinstance(value, dict) and depth:
            found += _named_tensors(value, depth - 1)
    return found


def _check_purpose(found: Any, path: Path) -> None:
    """Raise `ModelError` for a network that doesn't map a picture in RGB to a picture in RGB."""
    name = found.architecture.name
    if found.purpose == "Inpainting":
        raise ModelError(f"{path}: {name} fills holes and needs a mask of them; it can't upscale")
    if found.purpose == "FaceSR":
        raise ModelError(f"{path}: {name} restores faces alone, cut out and of one size")
    channels = (found.input_channels, found.output_channels)
    if channels != (3, 3):
        kind = "is for greyscale" if channels == (1, 1) else "isn't from RGB to RGB"
        raise ModelError(
            f"{path}: {name} {kind} ({channels[0]} channels to {channels[1]}); "
            "use a model from RGB to RGB"
        )


def describe_sizes(sizes: SizeRules) -> str:
    """Describe the sizes of pictures that a network accepts without padding."""
    if sizes.fixed is not None:
        return f"{sizes.fixed[1]}x{sizes.fixed[0]}"
    parts = [f"multiples of {sizes.multiple}"] if sizes.multiple > 1 else []
    parts += [f"at least {sizes.minimum}"] if sizes.minimum > 1 else []
    parts += ["square"] if sizes.square else []
    return ", ".join(parts) or "any"
