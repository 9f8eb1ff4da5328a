"""A model's step as a file for other runtimes, ONNX or OpenVINO's IR, its state explicit."""

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

_PROOF_FRAMES = 30
_MOST_DIFFERENCE = 1e-4
SUFFIXES = (".onnx", ".xml")


class Step(nn.Module):
    """`step` with tensors alone: (low, *state) to (high, *state)."""

    def __init__(self, generator: Generator[Any], low: Tensor) -> None:
        super().__init__()
        self.generator = generator
        self._kind: Any = type(generator.start(low))

    def forward(self, low: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """(1, 3, H, W) RGB in [0, 1] to (1, 3, sH, sW), and the next state."""
        high, following = self.generator.step(low, self._kind(*state))
        return (high, *following)


def export_model(
    name: str, output: Path, size: tuple[int, int], detail: float = 0.0, overwrite: bool = False
) -> float:
    """Write a model's step for frames of `size` = (height, width) to `output`, .onnx or .xml.

    Inputs are `low` and `state0`, `state1` and so on; outputs `high` and `next0`, `next1`. The
    first state of a shot is the first frame itself, and zeros. Thirty frames then go through
    the file as its runtime computes it and through torch: the largest difference is given back,
    and more than 1e-4 is an error, as is a runtime that isn't there. Raises `VsrError`.
    """
    is_onnx = output.suffix.lower() == ".onnx"
    check_output_path(output, "exported model", SUFFIXES, overwrite)
    for path in _files(output)[1:]:
        check_writable(path, overwrite)
    check_distinct(_files(output), [Path(name)])
    generator = load(name, None, detail)
    low = torch.zeros(1, 3, *size)
    state = tuple(generator.start(low))
    step = Step(generator, low).eval()
    names = ["low", *(f"state{number}" for number in range(len(state)))]
    made = ["high", *(f"next{number}" for number in range(len(state)))]
    partial = partial_path(output)
    partial = partial.with_suffix(output.suffix.lower())  # OpenVINO knows no other
    try:
        write = write_onnx if is_onnx else _write_openvino
        write(step, (low, *state), partial, inputs=names, outputs=made)
        runner = _onnx_runner if is_onnx else _openvino_runner
        worst = _prove(runner(partial), generator, size)
        if not worst <= _MOST_DIFFERENCE:
            raise VsrError(f"{output}: differs from torch by {worst:.1e}; nothing was written")
        for path, target in zip(_files(partial), _files(output), strict=True):
            path.replace(target)
    except ImportError as error:
        raise VsrError(f"{output}: needs {error.name}: pip install 'vsr[export]'") from error
    except OSError as error:
        raise OutputError(f"{output}: can't be written: {error.strerror or error}") from error
    finally:
        for path in _files(partial):
            path.unlink(missing_ok=True)
    return worst


def _write_openvino(
    step: nn.Module,
    takes: Sequence[Tensor],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    model = converted(step, takes)
    for ports, wanted in ((model.inputs, inputs), (model.outputs, outputs)):
        for port, word in zip(ports, wanted, strict=True):
            port.get_tensor().set_names({word})
    import_openvino().save_model(model, path, compress_to_fp16=False)


def _files(path: Path) -> list[Path]:
    """A model file, and the weights that IR keeps beside it."""
    return [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]


def _onnx_runner(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    return lambda given: session.run(None, dict(zip(names, given, strict=True)))


def _openvino_runner(path: Path) -> Any:
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_core().compile_model(path, "CPU", settings)

    def run(given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        made = compiled(given)
        return [made[port].copy() for port in compiled.outputs]

    return run


@torch.inference_mode()
def _prove(run: Any, generator: Generator[Any], size: tuple[int, int]) -> float:
    """The largest difference from torch over thirty frames, each with its own state."""
    frames = _moving_frames(size)
    state = generator.start(frames[0][None])
    theirs: Sequence[NDArray[Any]] = [part.numpy() for part in state]
    worst = 0.0
    for low in frames:
        high, state = generator.step(low[None], state)
        output, *theirs = run([low[None].numpy(), *theirs])
        worst = max(worst, float(np.abs(output - high.numpy()).max()))
    return worst


def _moving_frames(size: tuple[int, int]) -> Tensor:
    """(T, 3, H, W): soft noise that drifts."""
    height, width = size
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 4 + 24, width // 4 + 24, generator=random)
    fine = nn.functional.interpolate(coarse, scale_factor=4.0, mode="bilinear")[0]
    return torch.stack(
        [fine[:, n : n + height, 2 * n : 2 * n + width] for n in range(_PROOF_FRAMES)]
    )
