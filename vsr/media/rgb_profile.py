"""ICC profiles of RGB colours, from chromaticities and a transfer curve.

A profile is of version 4.3 (ICC.1:2010): a matrix, and a parametric curve for all channels.
"""

import struct

import numpy as np
from numpy.typing import NDArray

Chromaticities = tuple[float, ...]
"""CIE x and y of red, green, blue and white."""

BT709: Chromaticities = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
"""Also those of sRGB."""
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_HEADER_BYTES = 128


def rgb_profile(chromaticities: Chromaticities, gamma: float | None = None) -> bytes:
    """Return the profile of RGB colours; `gamma` is None for the curve of sRGB.

    Raises ValueError where the chromaticities are not those of three primaries.
    """
    adaptation, colours = _adapted(chromaticities)
    curve = (0, gamma) if gamma is not None else (3, *_SRGB_CURVE)
    content = struct.pack(">4s4xH2x", b"para", curve[0]) + _fixed(*curve[1:])
    name = "linear RGB" if gamma == 1 else "RGB"
    tags = [
        (b"desc", _text(name)),
        (b"cprt", _text("No copyright")),
        (b"wtpt", b"XYZ \0\0\0\0" + _fixed(*_D50)),
        (b"chad", b"sf32\0\0\0\0" + _fixed(*adaptation.ravel())),
        *((name, b"XYZ \0\0\0\0" + _fixed(*xyz)) for name, xyz in _columns(colours)),
        *((name, content) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    position = _HEADER_BYTES + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags:
        table += struct.pack(">4s2I", tag, position + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        *(">I4x4s4s4s4s12x4s28x12s48x", position + len(body), b"\4\x30\0\0", b"mntr"),
        *(b"RGB ", b"XYZ ", b"acsp", _fixed(*_D50)),
    )
    return header + table + body


def _adapted(
    chromaticities: Chromaticities,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrices of Bradford from white to D50, and from RGB to XYZ of D50."""
    points = np.array(chromaticities, np.float64).reshape(4, 2)
    if not np.isfinite(points).all() or (points[:, 1] == 0).any():
        raise ValueError(f"no chromaticities: {chromaticities}")
    xyz = np.stack([points[:, 0], points[:, 1], 1 - points.sum(axis=1)]) / points[:, 1]
    try:
        to_xyz = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
        cones = _BRADFORD @ xyz[:, 3]
        scaled = (_BRADFORD @ _D50 / cones)[:, None] * _BRADFORD
    except np.linalg.LinAlgError as error:
        raise ValueError(f"no chromaticities: {chromaticities}") from error
    adaptation = np.linalg.solve(_BRADFORD, scaled)
    if not np.isfinite(adaptation).all() or max(abs(adaptation).max(), abs(to_xyz).max()) > 1e3:
        raise ValueError(f"no chromaticities: {chromaticities}")
    return adaptation, adaptation @ to_xyz


def _columns(matrix: NDArray[np.float64]) -> list[tuple[bytes, NDArray[np.float64]]]:
    return list(zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True))


def _fixed(*values: float) -> bytes:
    """Encode numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return struct.pack(">4s4x2I4s2I", b"mluc", 1, 12, b"enUS", len(content), 28) + content
