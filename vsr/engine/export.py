"""Export a model's step, with explicit state, to ONNX or OpenVINO IR."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vsr.engine.backends.openvino import openvino_core
from vsr.engine.backends.openvino_convert import converted, import_openvino
from vsr.engine.backends.torchscript import write_onnx
from vsr.errors import OutputError, VsrError
from vsr.models import Generator
from vsr.system.files import check_distinct, check_output_path, check_writable, partial_path
from vsr.zoo import load

_CHECK_FRAMES = 30
_MAX_DIFFERENCE = 1e-4
EXPORT_SUFFIXES = (".onnx", ".xml")


class Step(nn.Module):
    """`Generator.step` on tensors alone: (low, *state) to (high, *state)."""

    def __init__(self, generator: Generator[Any]) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, low: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Upscale RGB in [0, 1], (1, 3, H, W) to (1, 3, sH, sW), and return the next state."""
        high, next_state = self.generator.step(low, self.generator.state_type(*state))
        return (high, *next_state)


def export_model(
    name: str,
    output: Path,
    size: tuple[int, int],
    detail: float = 0.0,
    overwrite: bool = False,
    denoise: float | None = None,
    scale: int | None = None,
) -> float:
    """Write a model's step for frames of `size` = (height, width) to `output`, .onnx or .xml.

    `scale` is at most that of the model, and by default that, see `zoo.load`.

    Inputs are `low` and `state0`, `state1` and so on; outputs are `high` and `next0`, `next1`. The
    state before a shot is the first frame itself, and zeros. Thirty frames are then computed from
    the file by its runtime, and by torch. Returns the largest difference. Raises `VsrError` if it
    exceeds 1e-4 or the runtime isn't installed.
    """
    is_onnx = output.suffix.lower() == ".onnx"
    check_output_path(output, "exported model", EXPORT_SUFFIXES, overwrite)
    for path in _files(output)[1:]:
        check_writable(path, overwrite)
    check_distinct(_files(output), [Path(name)])
    generator = load(name, scale, detail, denoise)
    if not generator.compiles:
        raise VsrError(f"{name}: models of other projects can't be exported; use the file itself")
    low = torch.zeros(1, 3, *size)
    state = tuple(generator.start(low))
    step = Step(generator).eval()
    input_names = ["low", *(f"state{index}" for index in range(len(state)))]
    output_names = ["high", *(f"next{index}" for index in range(len(state)))]
    partial = partial_path(output)
    partial = partial.with_suffix(output.suffix.lower())  # OpenVINO accepts no other case
    try:
        write = write_onnx if is_onnx else _write_openvino
        write(step, (low, *state), partial, input_names=input_names, output_names=output_names)
        runner = _onnx_runner if is_onnx else _openvino_runner
        difference = _largest_difference(runner(partial), generator, size)
        if not difference <= _MAX_DIFFERENCE:
            raise VsrError(f"{output}: differs from torch by {difference:.1e}; nothing was written")
        for path, final in zip(_files(partial), _files(output), strict=True):
            path.replace(final)
    except ImportError as error:
        raise VsrError(f"{output}: needs {error.name}: pip install 'vsr[export]'") from error
    except OSError as error:
        raise OutputError(f"{output}: can't be written: {error.strerror or error}") from error
    finally:
        for path in _files(partial):
            path.unlink(missing_ok=True)
    return difference


def _write_openvino(
    step: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> None:
    model = converted(step, inputs)
    for ports, names in ((model.inputs, input_names), (model.outputs, output_names)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    import_openvino().save_model(model, path, compress_to_fp16=False)


def _files(path: Path) -> list[Path]:
    """Return the paths of an exported model: the file, and for IR its weights."""
    return [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]


def _onnx_runner(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def _openvino_runner(path: Path) -> Any:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_core().compile_model(path, "CPU", settings)

    def run(inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        outputs = compiled(inputs)
        return [outputs[port].copy() for port in compiled.outputs]

    return run


@torch.inference_mode()
def _largest_difference(run: Any, generator: Generator[Any], size: tuple[int, int]) -> float:
    """Return the largest difference between a runtime and torch over thirty frames.

    Each keeps its own state.
    """
    frames = _moving_frames(size)
    state = generator.start(frames[0][None])
    runtime_state: Sequence[NDArray[Any]] = [part.numpy() for part in state]
    largest = 0.0
    for low in frames:
        high, state = generator.step(low[None], state)
        output, *runtime_state = run([low[None].numpy(), *runtime_state])
        largest = max(largest, float(np.abs(output - high.numpy()).max()))
    return largest


def _moving_frames(size: tuple[int, int]) -> Tensor:
    """Generate smooth noise that drifts, (T, 3, H, W)."""
    height, width = size
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 4 + 24, width // 4 + 24, generator=random)
    fine = nn.functional.interpolate(coarse, scale_factor=4.0, mode="bilinear")[0]
    return torch.stack(
        [fine[:, n : n + height, 2 * n : 2 * n + width] for n in range(_CHECK_FRAMES)]
    )
