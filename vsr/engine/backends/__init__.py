"""Backends compute frames: planes in, planes out, the recurrent state kept in between."""

from vsr.engine.backends.adaptive import AdaptiveTilingBackend
from vsr.engine.backends.base import Backend
from vsr.engine.backends.cuda_graph import GraphBackend
from vsr.engine.backends.openvino import OpenVinoBackend, openvino_version
from vsr.engine.backends.select import pick_backend
from vsr.engine.backends.tiling import TiledBackend
from vsr.engine.backends.torch_eager import TorchBackend

__all__ = [
    "AdaptiveTilingBackend",
    "Backend",
    "GraphBackend",
    "OpenVinoBackend",
    "TiledBackend",
    "TorchBackend",
    "openvino_version",
    "pick_backend",
]
