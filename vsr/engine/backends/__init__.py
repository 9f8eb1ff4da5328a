"""Backends compute frames: planes in, planes out, the recurrent state kept in between."""

from vsr.engine.backends.adaptive import AdaptiveTilingBackend
from vsr.engine.backends.base import Backend
from vsr.engine.backends.cuda_graph import GraphBackend
from vsr.engine.backends.onnx import OnnxBackend
from vsr.engine.backends.onnx_providers import Provider, installed_providers, onnxruntime_version
from vsr.engine.backends.openvino import OpenVinoBackend, openvino_core, openvino_version
from vsr.engine.backends.placement import after_trial, place
from vsr.engine.backends.select import pick_backend
from vsr.engine.backends.tiling import TiledBackend
from vsr.engine.backends.torch_eager import TorchBackend

__all__ = [
    "AdaptiveTilingBackend",
    "Backend",
    "GraphBackend",
    "OnnxBackend",
    "OpenVinoBackend",
    "Provider",
    "TiledBackend",
    "TorchBackend",
    "after_trial",
    "installed_providers",
    "onnxruntime_version",
    "openvino_core",
    "openvino_version",
    "pick_backend",
    "place",
]
