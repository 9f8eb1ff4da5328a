"""Decide where a film is computed, from the options of the user."""

import copy
from typing import Any, NamedTuple

import torch

from vsr.engine.backends.onnx_providers import AUTO, Provider, pick_provider
from vsr.engine.backends.openvino import check_openvino_device
from vsr.errors import VsrError, first_line
from vsr.models import Generator
from vsr.system.machine import openvino_device, other_accelerator, pick_device

_CPU = torch.device("cpu")
_TRIAL_SIZE = (48, 64)
_TRIAL_FRAMES = 3
_LARGEST_DIFFERENCE = 1 / 255


class Placement(NamedTuple):
    """Where a film is computed."""

    device: torch.device
    """Of torch: where it computes, and where planes are prepared for others."""
    openvino_device: str = "CPU"
    provider: Provider = Provider("cpu")
    is_automatic: bool = False
    """Whether the CPU replaces a device that fails its trial."""


def place(backend: str, device: str, provider: str, precision: str = "auto") -> Placement:
    """Return where to compute, from `--backend`, `--device`, `--provider` and `--precision`.

    Raises `VsrError` for a device or provider that is missing, and for options that contradict
    each other.
    """
    torch_device, intel = pick_device(device), openvino_device(device)
    if backend == "onnx":
        return Placement(_CPU, provider=pick_provider(provider, device))
    if provider != AUTO:
        raise VsrError(f"provider {provider} is for ONNX Runtime; add --backend onnx")
    if intel is not None:
        if backend == "torch":
            raise VsrError(f"backend torch doesn't compute on {device}; use openvino or onnx")
        check_openvino_device(intel, device)
        return Placement(_CPU, openvino_device=intel)
    if device == AUTO and backend != "openvino" and precision in ("auto", "f32"):
        other = None if torch_device.type == "cuda" else other_accelerator()
        return Placement(other or torch_device, is_automatic=True)
    return Placement(torch_device)


def after_trial(placement: Placement, generator: Generator[Any]) -> tuple[Placement, str]:
    """Return the placement if its device computes `generator` as the CPU does, and a note.

    Otherwise the CPU is used if the device was chosen automatically, or `VsrError` is raised. CPU
    and CUDA need no trial.
    """
    device = placement.device
    if device.type in ("cpu", "cuda") or (reason := _find_fault(generator, device)) is None:
        return placement, ""
    if not placement.is_automatic:
        raise VsrError(f"{device} can't compute this model ({reason}); use --device cpu")
    note = f"{device} can't compute this model ({reason}): computed on the CPU"
    return placement._replace(device=_CPU), note


@torch.inference_mode()
def _find_fault(generator: Generator[Any], device: torch.device) -> str | None:
    """Return why a device doesn't compute a generator as the CPU does; None if it does."""
    height, width = _TRIAL_SIZE
    noise = torch.rand(3, height, width + _TRIAL_FRAMES, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise[None], 3, stride=1, padding=1)
    frames = [smooth[..., n : n + width] for n in range(_TRIAL_FRAMES)]  # motion of a pixel a frame
    try:
        found = _compute(copy.deepcopy(generator).to(device), frames)
    except Exception as error:  # a missing operator, a missing type, a fault of a driver
        return first_line(error)
    difference = float((found - _compute(generator, frames)).abs().max())
    if difference <= _LARGEST_DIFFERENCE:
        return None
    return f"it differs from the CPU by {255 * difference:.0f} of 255 levels"


def _compute(generator: Generator[Any], frames: list[torch.Tensor]) -> torch.Tensor:
    """Upscale frames (1, 3, H, W) on the generator's device; return the last on the CPU."""
    device = next(iter(generator.state_dict().values()), torch.empty(0)).device
    state: Any = None
    for low in frames:
        low = low.to(device)
        state = generator.start(low) if state is None else state
        high, state = generator.step(low, state)
    return high.clamp(0, 1).cpu()
