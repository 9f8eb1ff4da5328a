"""ONNX files of other projects' networks, computed by ONNX Runtime on the CPU.

The usual shape is read: one input (1, 3, H, W) and one output (1, 3, sH, sW), RGB in [0, 1]. Height
and width are free, or fixed.
"""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsr.errors import ModelError, first_line
from vsr.models.community import CommunityNetwork, Facts, SizeRules

_PROBE_SIDE = 64
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""Multiples of sides that are tried, since a file doesn't state them."""
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_MAX_SCALE = 16
_THREADS = 4
"""Threads on every machine: the last bits depend on their count, and workers have fewer cores."""
_MAX_FIXED_PIXELS = 1 << 24
"""Pixels of the largest fixed size."""
_FOLDER_OF_WEIGHTS = "session.model_external_initializers_file_folder_path"
_SIGNS_OF_NEWER = ("model IR version", "is under development")
"""What ONNX Runtime says about files of newer versions of ONNX."""
_ASSUMED_CHANNELS = 64
"""Feature maps of a network, for the estimate of its memory."""


class OnnxNetwork(nn.Module):
    """A network in an ONNX file, (B, 3, H, W) to (B, 3, sH, sW)."""

    def __init__(self, content: bytes) -> None:
        """Raises the errors of ONNX Runtime. Weights in other files aren't read."""
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # on fewer cores
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        with TemporaryDirectory() as empty:  # by default, the working directory
            options.add_session_config_entry(_FOLDER_OF_WEIGHTS, empty)
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        self.version: str = onnxruntime.__version__
        digest = hashlib.sha256(content).digest()
        self.register_buffer("digest", torch.frombuffer(bytearray(digest), dtype=torch.uint8))
        self.inputs = self._session.get_inputs()
        self.outputs = self._session.get_outputs()

    digest: Tensor
    """SHA-256 of the file, which identifies the weights."""

    def extra_repr(self) -> str:
        """Show the values that no tensor holds."""
        return ", ".join(f"{port.name}: {port.shape}" for port in (*self.inputs, *self.outputs))

    def forward(self, low: Tensor) -> Tensor:
        """Upscale RGB in [0, 1], picture by picture."""
        dtype = _TYPES[self.inputs[0].type]
        pictures = low.detach().cpu().numpy().astype(dtype)
        outputs = [
            self._session.run(None, {self.inputs[0].name: np.ascontiguousarray(picture[None])})[0]
            for picture in pictures
        ]
        return torch.from_numpy(np.concatenate(outputs).astype(np.float32)).to(low.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxNetwork":
        """Share the session, which has no state."""
        return self


def read_onnx_model(path: Path) -> CommunityNetwork:
    """Read the network in an ONNX file.

    Raises `ModelError` for a file that is damaged, or isn't a network from RGB to RGB.
    """
    try:
        network = OnnxNetwork(path.read_bytes()).eval()
    except ImportError as error:
        raise ModelError(
            f"{path}: ONNX files need onnxruntime: pip install 'vsr[community]'"
        ) from error
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from error
    except Exception as error:  # ONNX Runtime has no class of its own for all of them
        reason = first_line(error)
        if "xternal data" in reason:
            raise ModelError(
                f"{path}: has weights in other files, which aren't read; save it as one file"
            ) from error
        if any(sign in reason for sign in _SIGNS_OF_NEWER):
            raise ModelError(
                f"{path}: needs a newer onnxruntime; or export it with an older opset"
            ) from error
        raise ModelError(f"{path}: not an ONNX file, or damaged: {reason}") from error
    fixed = _fixed_size(network, path)
    scale, multiple = _measure(network, fixed, path)
    facts = Facts(
        architecture="ONNX",
        scale=scale,
        software=f"onnxruntime {network.version}",
        sizes=SizeRules(multiple=multiple, fixed=fixed),
        bytes_per_pixel=4 * _ASSUMED_CHANNELS * (8 + 3 * scale**2),
        is_traceable=False,
    )
    return CommunityNetwork(network, facts).eval()


def _fixed_size(network: OnnxNetwork, path: Path) -> tuple[int, int] | None:
    """Return the only (height, width) of an input, if it is fixed; check the shapes."""
    wanted = "usual are one input (1, 3, H, W) and one output (1, 3, sH, sW) in f32 or f16"
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        counts = f"inputs: {len(network.inputs)}, outputs: {len(network.outputs)}"
        raise ModelError(f"{path}: {counts}; {wanted}")
    for port in (network.inputs[0], network.outputs[0]):
        free = [side if isinstance(side, int) else None for side in port.shape]
        is_usual = len(free) == 4 and free[0] in (1, None) and free[1] in (3, None)
        if not is_usual or port.type not in _TYPES:
            raise ModelError(f"{path}: {_describe(port)}; {wanted}")
    height, width = network.inputs[0].shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        if not (min(height, width) >= 1 and height * width <= _MAX_FIXED_PIXELS):
            raise ModelError(f"{path}: takes pictures of {width}x{height}, which can't be computed")
        return height, width
    if isinstance(height, int) or isinstance(width, int):
        raise ModelError(f"{path}: {_describe(network.inputs[0])}, with one side fixed; {wanted}")
    return None


def _describe(port: Any) -> str:
    """Describe an input or output."""
    return f"{port.name} is ({', '.join(map(str, port.shape))}) of {port.type}"


def _measure(network: OnnxNetwork, fixed: tuple[int, int] | None, path: Path) -> tuple[int, int]:
    """Return the scale and the multiple of sides, as found by running the network."""
    reason = "no size of pictures is accepted"
    for multiple in (1,) if fixed else _MULTIPLES:
        side = _PROBE_SIDE + multiple
        height, width = fixed or (side, side + 2 * multiple)
        try:
            high = network(torch.full((1, 3, height, width), 0.5))
        except Exception as error:
            reason = first_line(error)
            continue
        scale = high.shape[-1] // width
        if high.shape != (1, 3, scale * height, scale * width) or not 1 <= scale <= _MAX_SCALE:
            reason = f"{width}x{height} becomes {high.shape[-1]}x{high.shape[-2]}"
            continue
        if not bool(high.isfinite().all()):
            reason = "its output has values that aren't finite numbers"
            continue
        return scale, multiple
    raise ModelError(f"{path}: isn't a network that upscales pictures: {reason}")
